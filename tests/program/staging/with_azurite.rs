//! With Azurite as the store: Microsoft's emulator of Azure, which checks signatures and their times.

use std::process::Command;

use akool_mock::{MockServer, Polls, Timeline};

use super::{Folder, VIDEO, program, store::Store};
use crate::support::{Program, code, objects, stderr};

fn akool(store: &Store, folder: &Folder, server: &MockServer, args: &[&str]) -> Program {
    let mut command = folder.akool(server, args);
    command.env("AZURE_STORAGE_USE_EMULATOR", "true").env("AZURITE_BLOB_STORAGE_URL", store.url());
    command.env("AKOOL_STAGE", "az://bucket/videos");
    command
}

/// Runs `tests/staging/container.py`, which uses Azure's own library.
fn azure(store: &Store, action: &str) -> Vec<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/staging/container.py");
    let output =
        Command::new(program("STAGING_PYTHON")).args([script, store.url(), action]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
#[ignore = "needs Azurite: tests/staging/run --full"]
async fn files_are_uploaded_fetched_and_removed_and_results_are_stored() {
    let folder = Folder::new();
    let (store, server) = (Store::azurite(), MockServer::builder().fetch_sources().start().await);
    server.on_create(Timeline::new().queueing(Polls(1)).completed());
    azure(&store, "create");
    // In one request, and in parts.
    let names = ["100% ünï.mp4", "a%20b+c&d=e.mp4", "#1?.mp4"];
    let mut files: Vec<_> =
        names.iter().map(|name| folder.write(name, [VIDEO, &free(name)].concat())).collect();
    files.push(folder.sparse("large.mp4", 30_000_000));
    let output = "az://bucket/re sül%ts";
    let more = ["--to", "es", "--output", output, "--files", "video", "--interval", "20ms", "--json"];
    let mut args = vec!["translate"];
    args.extend(files.iter().map(String::as_str).chain(more));
    for round in 0..2 {
        let output = akool(&store, &folder, &server, &args).output().unwrap();
        assert_eq!(code(&output), 0, "{output:?}");
        let printed = objects(&output);
        let count = |event: &str| printed.iter().filter(|object| object["event"] == event).count();
        let uploads = if round == 0 { 4 } else { 0 };
        assert_eq!((count("uploaded"), count("removed"), count("downloaded")), (uploads, uploads, 4));
        // The names of results are those of the objects, which are plain.
        let results = ["100___n_", "1_", "a_20b_c_d_e", "large"];
        assert_eq!(azure(&store, "list"), results.map(|name| format!("re sül%ts/{name}.es.mp4")));
    }
    assert_eq!(server.created().len(), 4, "paid once");
    // Who has only the address of an object cannot read it.
    let link = server.created()[0].request["url"].as_str().unwrap().to_owned();
    let unsigned = reqwest::get(link.split('?').next().unwrap()).await.unwrap();
    assert!(unsigned.status().is_client_error(), "{unsigned:?}");
}

#[tokio::test]
#[ignore = "needs Azurite: tests/staging/run --full"]
async fn a_wrong_key_container_or_prefix_is_named_and_creates_nothing() {
    let folder = Folder::new();
    let (store, server) = (Store::azurite(), MockServer::start().await);
    azure(&store, "create");
    let video = folder.write("talk.mp4", VIDEO);
    let args = ["translate", &video, "--to", "es"];
    let output =
        akool(&store, &folder, &server, &args).env("AZURE_STORAGE_ACCOUNT_KEY", "TUFSS0VS").output().unwrap();
    assert!(code(&output) == 2 && stderr(&output).contains("check the credentials"), "{output:?}");
    assert!(!stderr(&output).contains("TUFSS0VS"), "{output:?}");
    for (stage, help) in
        [("az://none/a", "check the name of the bucket"), ("az://bucket/a b", "ASCII letters")]
    {
        let output =
            akool(&store, &folder, &server, &[&args[..], &["--stage", stage]].concat()).output().unwrap();
        assert!(code(&output) == 2 && stderr(&output).contains(help), "{output:?}");
    }
    assert!(azure(&store, "list").is_empty());
    server.assert_creations().count(0);
}

/// A box that makes a video another one.
fn free(text: &str) -> Vec<u8> {
    [&(text.len() as u32 + 8).to_be_bytes()[..], b"free", text.as_bytes()].concat()
}
