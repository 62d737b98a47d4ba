//! With s3s-fs as the store, which checks signatures and their times.

use akool_mock::{MockServer, Polls, Timeline};

use super::{CAPTIONS, Folder, VIDEO, program, store::Store};
use crate::support::{Program, code, objects, stderr};

async fn sandbox() -> MockServer {
    let server = MockServer::builder().fetch_sources().start().await;
    server.on_create(Timeline::new().queueing(Polls(1)).completed());
    server
}

/// The same command with a clock that is off by this much.
fn with_clock(store: &Store, folder: &Folder, server: &MockServer, offset: &str, args: &[&str]) -> Program {
    let library = program("FAKETIME_LIBRARY");
    let mut command = store.akool(folder, server, args);
    command.env("LD_PRELOAD", library).env("FAKETIME", offset).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    command
}

/// The name is in the path of the object, which is a part of what is signed.
#[tokio::test]
#[ignore = "needs s3s-fs: tests/staging/run --full"]
async fn any_name_is_signed_and_fetched_and_nothing_is_public() {
    let folder = Folder::new();
    let (store, server) = (Store::s3s(&folder.path().join("store")), sandbox().await);
    let names = ["100% ünï.mp4", "a%20b+c&d=e.mp4", "日本語 (1).mp4", "~'quotes'!;,@$.mp4", "#1?.mp4"];
    for (number, name) in names.iter().enumerate() {
        let video = folder.write(name, VIDEO);
        let captions = folder.write(&format!("{name}.srt"), CAPTIONS);
        let args = [
            "translate",
            &video,
            "--to",
            "es",
            "--caption-file",
            &captions,
            "--interval",
            "20ms",
            "--keep-staged",
            "--json",
        ];
        let output = store.akool(&folder, &server, &args).output().unwrap();
        assert_eq!(code(&output), 0, "{name}: {output:?}");
        assert_eq!(server.created().len(), number + 1);
        let link = server.created().last().unwrap().request["url"].as_str().unwrap().to_owned();
        assert_eq!(reqwest::get(&link).await.unwrap().bytes().await.unwrap(), VIDEO);
        let unsigned = link.split('?').next().unwrap();
        assert_eq!(reqwest::get(unsigned).await.unwrap().status().as_u16(), 403, "{unsigned}");
        let put = reqwest::Client::new().put(&link).body("x").send().await.unwrap();
        assert!(put.status().is_client_error(), "a link only reads");
    }
    assert_eq!(store.status("?list-type=2").await, 403);
}

/// The clock is ten minutes late, which is allowed, and the link is valid for five.
#[tokio::test]
#[ignore = "needs s3s-fs: tests/staging/run --full"]
async fn after_an_expired_link_the_next_creation_has_a_fresh_one() {
    let folder = Folder::new();
    let (store, server) = (Store::s3s(&folder.path().join("store")), sandbox().await);
    let video = folder.write("talk.mp4", VIDEO);
    let args = ["translate", &video, "--to", "es", "--interval", "20ms", "--keep-staged", "--json"];
    let late = [&args[..], &["--link-lifetime", "5m"]].concat();
    let output = with_clock(&store, &folder, &server, "-10m", &late).output().unwrap();
    assert_eq!(code(&output), 3, "{output:?}");
    let failed = objects(&output);
    let failed = failed.iter().find(|object| object["event"] == "failed").unwrap();
    assert!(failed["error_reason"].as_str().unwrap().contains("HTTP status 403"), "{failed}");
    let output = store.akool(&folder, &server, &args).output().unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(objects(&output).iter().any(|object| object["event"] == "uploaded" && object["kept"] == true));
    let links: Vec<_> = server.created().iter().map(|job| job.request["url"].clone()).collect();
    assert!(links.len() == 2 && links[0] != links[1], "{links:?}");
}

#[tokio::test]
#[ignore = "needs s3s-fs: tests/staging/run --full"]
async fn a_wrong_clock_and_a_wrong_key_are_named_and_create_nothing() {
    let folder = Folder::new();
    let (store, server) = (Store::s3s(&folder.path().join("store")), sandbox().await);
    let video = folder.write("talk.mp4", VIDEO);
    let args = ["translate", &video, "--to", "es"];
    for offset in ["-2h", "+2h"] {
        let output = with_clock(&store, &folder, &server, offset, &args).output().unwrap();
        assert!(
            code(&output) == 2 && stderr(&output).contains("set the clock of this machine"),
            "{output:?}"
        );
    }
    for (name, value) in [("AWS_SECRET_ACCESS_KEY", "MARKER-wrong"), ("AWS_ACCESS_KEY_ID", "unknown")] {
        let output = store.akool(&folder, &server, &args).env(name, value).output().unwrap();
        let text = stderr(&output);
        assert!(
            code(&output) == 2 && text.contains("check the credentials") && !text.contains("MARKER"),
            "{text}"
        );
    }
    server.assert_creations().count(0);
}
