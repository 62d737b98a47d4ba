//! With moto as the store: an S3 interface that others wrote, which checks no signatures.

use std::{fs, process::Stdio, time::Duration};

use akool_mock::{Fault, MockServer, Polls, Timeline, Times};
use serde_json::Value;

use super::{CAPTIONS, Folder, VIDEO, store::Store};
use crate::support::{Program, Running, code, objects, stderr};

/// A sandbox that fetches its sources, and whose jobs end soon.
async fn sandbox() -> MockServer {
    let server = MockServer::builder().fetch_sources().start().await;
    server.on_create(Timeline::new().queueing(Polls(1)).completed());
    server
}

fn start(mut command: Program) -> Running {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn events<'a>(objects: &'a [Value], event: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["event"] == event).collect()
}

/// "A folder of ten local files, one of them a text file, becomes nine times two results in a bucket; it runs twice and is
/// paid for once."
#[tokio::test]
#[ignore = "needs moto: tests/staging/run"]
async fn a_folder_becomes_results_in_a_bucket_and_is_paid_for_once() {
    let folder = Folder::new();
    let files = ten_files(&folder);
    let list = files.iter().map(|file| format!("{file},\"es,fr\"\n")).collect::<String>();
    let list = folder.write("list.csv", format!("url,to\n{list}"));
    let within = folder.path().join("in").to_str().unwrap().to_owned();
    let named: Vec<_> = files.iter().map(String::as_str).chain(["--to", "es,fr"]).collect();
    for (sources, must_skip) in
        [(vec![within.as_str(), "--to", "es,fr"], false), (named, true), (vec!["--from-file", &list], true)]
    {
        fs::remove_dir_all(folder.path().join("state")).ok();
        let (store, server) = (Store::moto().await, sandbox().await);
        let more = ["--output", "s3://bucket/results", "--files", "video", "--interval", "20ms", "--json"];
        let mut args = [&["translate"][..], &sources, &more].concat();
        if must_skip {
            let output = store.akool(&folder, &server, &args).output().unwrap();
            assert_eq!(code(&output), 2, "a file that is named is meant: {output:?}");
            assert!(stderr(&output).contains("notes.txt is not a video"), "{output:?}");
            assert!(stderr(&output).contains("or use --skip-invalid"), "{output:?}");
            server.assert_creations().count(0);
            assert_eq!(store.keys().await, [""; 0], "nothing is uploaded");
            args.push("--skip-invalid");
        }

        let output = store.akool(&folder, &server, &args).output().unwrap();
        assert_eq!(code(&output), 0, "{output:?}");
        let first = objects(&output);
        let left_out = events(&first, "left_out");
        assert!(left_out.len() == 1 && left_out[0]["message"].as_str().unwrap().contains("notes.txt"));
        assert_eq!(events(&first, "uploaded").len(), 9);
        assert_eq!(events(&first, "downloaded").len(), 18);
        assert_eq!(events(&first, "removed").len(), 9);
        assert_eq!(first.last().unwrap()["rows_left_out"], 1);
        let of_file = |number| ["es", "fr"].map(|code| format!("results/talk {number}.{code}.mp4"));
        let expected: Vec<_> = (0..9).flat_map(of_file).collect();
        assert_eq!(store.keys().await, expected);

        let output = store.akool(&folder, &server, &args).output().unwrap();
        assert_eq!(code(&output), 0, "{output:?}");
        let second = objects(&output);
        assert_eq!(events(&second, "reused").len(), 18);
        assert_eq!(events(&second, "uploaded").len(), 0);
        assert!(events(&second, "downloaded").iter().all(|file| file["kept"] == true));
        assert_eq!(server.created().len(), 18, "paid once");
        assert_eq!(store.keys().await, expected);
    }
}

/// Nine videos, and a text file between them.
fn ten_files(folder: &Folder) -> Vec<String> {
    let video = |number: u8| {
        let contents = [VIDEO, &[0, 0, 0, 9, b'f', b'r', b'e', b'e', number]].concat();
        folder.write(&format!("in/talk {number}.mp4"), contents)
    };
    let mut files: Vec<_> = (0..9).map(video).collect();
    files.insert(4, folder.write("in/notes.txt", "These are notes."));
    files
}

#[tokio::test]
#[ignore = "needs moto: tests/staging/run"]
async fn captions_are_uploaded_too_and_both_are_removed() {
    let (store, server, folder) = (Store::moto().await, sandbox().await, Folder::new());
    let (video, captions) = (folder.write("talk.mp4", VIDEO), folder.write("talk.srt", CAPTIONS));
    let args =
        ["translate", &video, "--to", "es", "--caption-file", &captions, "--interval", "20ms", "--json"];
    let output = store.akool(&folder, &server, &args).output().unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(!format!("{output:?}").contains("MARKER"), "{output:?}");
    let printed = objects(&output);
    assert_eq!((events(&printed, "uploaded").len(), events(&printed, "removed").len()), (2, 2));
    let request = &server.created()[0].request;
    for name in ["url", "caption_url"] {
        let link = request[name].as_str().unwrap();
        assert!(link.contains("X-Amz-Expires=86400&") && link.contains("X-Amz-Signature="), "{link}");
    }
    assert_eq!(store.keys().await, [""; 0]);
    // Other captions are other work.
    let other = folder.write("other/talk.srt", CAPTIONS.replace("Hello", "Bye"));
    let args = ["translate", &video, "--to", "es", "--caption-file", &other, "--interval", "20ms"];
    assert_eq!(code(&store.akool(&folder, &server, &args).output().unwrap()), 0);
    assert_eq!(server.created().len(), 2);
}

#[tokio::test]
#[ignore = "needs moto: tests/staging/run"]
async fn the_same_file_in_another_folder_is_uploaded_and_paid_for_once() {
    let (store, server, folder) = (Store::moto().await, sandbox().await, Folder::new());
    let one = folder.write("a/talk.mp4", VIDEO);
    let other = folder.write("b/talk.mp4", VIDEO);
    // With other options it is other work, from the same upload.
    let row = |file: &str, options: &str| format!("{{\"url\":\"{file}\",\"to\":\"es\"{options}}}\n");
    let list = [row(&one, ""), row(&other, ""), row(&other, ",\"lipsync\":true")].concat();
    let list = folder.write("list.jsonl", list);
    let args = ["translate", "--from-file", &list, "--max-active", "1", "--interval", "20ms", "--json"];
    let output = store.akool(&folder, &server, &args).output().unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(stderr(&output).contains("line 2 repeats line 1 in es"), "{output:?}");
    assert_eq!(events(&objects(&output), "uploaded").len(), 1, "{output:?}");
    assert_eq!(server.created().len(), 2);
    assert_eq!(store.keys().await, [""; 0]);
    let renamed = folder.write("b/other.mp4", VIDEO);
    let args = ["translate", &renamed, "--to", "es", "--interval", "20ms"];
    assert_eq!(code(&store.akool(&folder, &server, &args).output().unwrap()), 0);
    assert_eq!(server.created().len(), 3, "another name is other work");
}

#[tokio::test]
#[ignore = "needs moto: tests/staging/run"]
async fn a_file_stays_while_an_outcome_is_unknown_and_with_keep_staged() {
    let (store, server, folder) = (Store::moto().await, sandbox().await, Folder::new());
    let video = folder.write("talk.mp4", VIDEO);
    let run = |args: &[&str]| store.akool(&folder, &server, args).output().unwrap();
    let staged = || objects(&run(&["jobs", "--staged", "--json"]));
    server.inject_into_creations(Fault::ResetBeforeHeaders, Times::Once);
    assert_eq!(code(&run(&["translate", &video, "--to", "es"])), 7);
    assert_eq!(store.keys().await.len(), 1);
    assert_eq!((&staged()[0]["state"], &staged()[0]["unknown"]), (&"outcome_unknown".into(), &1.into()));
    assert_eq!(code(&run(&["wait", "--pending"])), 7);
    assert_eq!(store.keys().await.len(), 1);
    let entry = objects(&run(&["jobs", "--json"]))[0]["entry"].as_str().unwrap().to_owned();
    assert_eq!(code(&run(&["jobs", "--forget", &entry])), 0);
    assert_eq!(staged()[0]["state"], "left");
    assert_eq!(code(&run(&["wait", "--pending"])), 0);
    assert_eq!((store.keys().await.len(), staged().len()), (0, 0));

    // Without a wait, it stays until the jobs have ended.
    assert_eq!(code(&run(&["translate", &video, "--to", "es", "--no-wait"])), 0);
    assert_eq!((store.keys().await.len(), &staged()[0]["state"]), (1, &"in_use".into()));
    assert_eq!(code(&run(&["wait", "--pending", "--interval", "20ms"])), 0);
    assert_eq!((store.keys().await.len(), staged().len()), (0, 0));

    assert_eq!(code(&run(&["translate", &video, "--to", "fr", "--keep-staged", "--interval", "20ms"])), 0);
    assert_eq!((store.keys().await.len(), &staged()[0]["state"]), (1, &"kept".into()));
    assert_eq!(code(&run(&["wait", "--pending"])), 0);
    assert_eq!(store.keys().await.len(), 1);
    // Later jobs use it, and the last run decides that it is removed.
    let output = run(&["translate", &video, "--to", "de", "--interval", "20ms", "--json"]);
    assert_eq!(events(&objects(&output), "uploaded")[0]["kept"], true, "{output:?}");
    assert_eq!(store.keys().await.len(), 0);
}

/// The upload is killed after its first part was stored.
#[tokio::test]
#[ignore = "needs moto: tests/staging/run"]
async fn an_upload_that_was_killed_is_aborted_and_starts_again() {
    let (store, server, folder) = (Store::moto().await, sandbox().await, Folder::new());
    let video = folder.sparse("talk.mp4", 64_000_000);
    let args = ["translate", &video, "--to", "es", "--interval", "20ms", "--json"];
    for round in 1..=2 {
        let mut running = start(store.akool(&folder, &server, &args));
        // The upload of the round before is aborted first.
        while !store.has_one_upload_with_parts().await {
            assert!(running.try_wait().unwrap().is_none(), "the program ended before it was killed");
        }
        running.kill().unwrap();
        running.wait().unwrap();
        assert_eq!((store.uploads().await.len(), store.keys().await.len()), (1, 0), "round {round}");
        let list = store.akool(&folder, &server, &["jobs", "--staged", "--json"]).output().unwrap();
        assert_eq!(objects(&list)[0]["state"], "incomplete");
    }
    server.assert_creations().count(0);
    let output = store.akool(&folder, &server, &args).output().unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!((store.uploads().await.len(), store.keys().await.len(), server.created().len()), (0, 0, 1));
}

/// Each process removes the file when its own job has ended, while others upload it or need it.
#[tokio::test]
#[ignore = "needs moto: tests/staging/run"]
async fn processes_that_share_a_file_do_not_remove_it_too_early() {
    let (store, server, folder) = (Store::moto().await, sandbox().await, Folder::new());
    let video = folder.sparse("talk.mp4", 20_000_000);
    let languages = ["es", "fr", "de", "it", "ja", "es"];
    let run = |language: &&str| {
        let args = ["translate", &video, "--to", language, "--interval", "20ms"];
        let mut command = store.akool(&folder, &server, &args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for running in languages.iter().map(run).collect::<Vec<_>>() {
        let output = running.wait_with_output().unwrap();
        // A source that cannot be fetched fails its job.
        assert_eq!(code(&output), 0, "{output:?}");
    }
    assert_eq!(server.created().len(), 5, "paid once");
    assert_eq!((store.keys().await.len(), store.uploads().await.len()), (0, 0));
}

#[tokio::test]
#[ignore = "needs moto: tests/staging/run"]
async fn an_object_that_has_vanished_is_uploaded_again() {
    let (store, server, folder) = (Store::moto().await, sandbox().await, Folder::new());
    let video = folder.write("talk.mp4", VIDEO);
    let run = |args: &[&str]| store.akool(&folder, &server, args).output().unwrap();
    assert_eq!(code(&run(&["translate", &video, "--to", "es", "--no-wait"])), 0);
    store.delete(&store.keys().await[0]).await;
    let output = run(&["translate", &video, "--to", "fr", "--interval", "20ms", "--json"]);
    let printed = objects(&output);
    assert_eq!((code(&output), &events(&printed, "uploaded")[0]["kept"]), (0, &false.into()), "{output:?}");
    // The job that lost its file has failed, or its end is not known yet.
    run(&["wait", "--pending", "--interval", "20ms"]);
    assert_eq!(store.keys().await, [""; 0]);
    // What is removed by someone else before is no error.
    assert_eq!(code(&run(&["translate", &video, "--to", "de", "--no-wait"])), 0);
    store.delete(&store.keys().await[0]).await;
    run(&["wait", "--pending", "--interval", "20ms"]);
    let staged = run(&["jobs", "--staged", "--json"]);
    assert!(objects(&staged).is_empty(), "{staged:?}");
}

#[tokio::test]
#[ignore = "needs moto: tests/staging/run"]
async fn an_interrupted_upload_leaves_nothing() {
    let (store, server, folder) = (Store::moto().await, sandbox().await, Folder::new());
    let video = folder.sparse("talk.mp4", 64_000_000);
    let args = ["translate", &video, "--to", "es"];
    let mut running = start(store.akool(&folder, &server, &args));
    while store.uploads().await.is_empty() {
        assert!(running.try_wait().unwrap().is_none());
    }
    crate::support::interrupt(&running);
    assert_eq!(crate::support::end_of(&mut running).code(), Some(130));
    assert_eq!((store.uploads().await.len(), store.keys().await.len()), (0, 0));
    server.assert_creations().count(0);
}

/// A policy of the account decides: moto checks it once it is told to.
#[tokio::test]
#[ignore = "needs moto: tests/staging/run"]
async fn a_denied_bucket_creates_nothing_and_ends_the_run() {
    let (store, server, folder) = (Store::moto().await, sandbox().await, Folder::new());
    let (one, other) = (folder.write("a.mp4", VIDEO), folder.write("b.mp4", VIDEO));
    store.post("/moto-api/reset-auth", "0").await;
    let output = store.akool(&folder, &server, &["translate", &one, &other, "--to", "es"]).output().unwrap();
    assert_eq!(code(&output), 2, "{output:?}");
    let text = stderr(&output);
    assert!(
        text.contains("cannot upload s3://bucket/videos/") && text.contains("check the credentials"),
        "{text}"
    );
    assert!(!text.contains("MARKER") && text.matches("uploading").count() == 1, "{text}");
    server.assert_creations().count(0);
    let args = ["translate", &one, "--to", "es", "--stage", "s3://other/x"];
    store.post("/moto-api/reset-auth", "1000").await;
    let output = store.akool(&folder, &server, &args).output().unwrap();
    assert!(code(&output) == 2 && stderr(&output).contains("check the name of the bucket"), "{output:?}");
}

#[tokio::test]
#[ignore = "needs moto: tests/staging/run"]
async fn links_with_temporary_credentials_are_a_warning_with_the_earlier_time() {
    let (store, server, folder) = (Store::moto().await, sandbox().await, Folder::new());
    let video = folder.write("talk.mp4", VIDEO);
    let run = |language: &str, variables: &[(&str, &str)]| {
        let mut command =
            store.akool(&folder, &server, &["translate", &video, "--to", language, "--interval", "20ms"]);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        assert_eq!(code(&output), 0, "{output:?}");
        stderr(&output)
    };
    assert!(!run("es", &[]).contains("temporary"));
    let token = ("AWS_SESSION_TOKEN", "token");
    let text = run("fr", &[token]);
    assert!(
        text.contains("warning: the links end with the temporary credentials")
            && text.contains("not known when"),
        "{text}"
    );
    let soon = std::time::SystemTime::now() + Duration::from_secs(3600);
    let soon = humantime::format_rfc3339_seconds(soon).to_string();
    let text = run("de", &[token, ("AWS_CREDENTIAL_EXPIRATION", &soon)]);
    assert!(text.contains(&format!("warning: the links end at {soon}")), "{text}");
    let text = run("ja", &[token, ("AWS_CREDENTIAL_EXPIRATION", "2099-01-01T00:00:00Z")]);
    assert!(!text.contains("temporary"), "{text}");
}

/// `STAGE_BYTES` is the length of the file: 5 GiB in the full run.
#[tokio::test]
#[ignore = "needs moto: tests/staging/run"]
async fn a_large_file_needs_little_memory() {
    let bytes = std::env::var("STAGE_BYTES").map_or(128 << 20, |bytes| bytes.parse().unwrap());
    let (server, folder) = (sandbox().await, Folder::new());
    let store = match std::env::var_os("S3S_FS") {
        Some(_) => Store::s3s(&folder.path().join("store")),
        None => Store::moto().await,
    };
    let video = folder.sparse("talk.mp4", bytes);
    let args = ["translate", &video, "--to", "es", "--interval", "20ms"];
    let mut running = start(store.akool(&folder, &server, &args));
    let status = format!("/proc/{}/status", running.id());
    let mut peak = 0;
    let code = loop {
        if let Ok(text) = std::fs::read_to_string(&status)
            && let Some(line) = text.lines().find(|line| line.starts_with("VmHWM:"))
        {
            peak = line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap();
        }
        match running.try_wait().unwrap() {
            Some(status) => break status.code(),
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    println!("{bytes} bytes: at most {peak} kB of memory");
    assert_eq!(code, Some(0));
    assert!(peak > 0 && peak < 150_000, "{peak} kB");
    assert_eq!(server.created().len(), 1);
}

#[tokio::test]
#[ignore = "needs moto: tests/staging/run"]
async fn a_result_that_was_half_written_is_aborted_by_the_next_run() {
    let (store, server, folder) = (Store::moto().await, MockServer::start().await, Folder::new());
    server.on_create(Timeline::new().completed());
    let mut large = VIDEO.to_vec();
    large.resize(40_000_000, 0);
    server.file("video.mp4", large);
    // The download breaks off again and again, and pauses in between.
    server.inject_into_files(Fault::ResetInBody, Times::Always);
    let url = "https://example.com/talk.mp4";
    let args = [
        "translate",
        url,
        "--to",
        "es",
        "--files",
        "video",
        "--interval",
        "20ms",
        "--output",
        "s3://bucket/results",
    ];
    let mut running = start(store.akool(&folder, &server, &args));
    while !store.has_one_upload_with_parts().await {
        assert!(running.try_wait().unwrap().is_none());
    }
    running.kill().unwrap();
    running.wait().unwrap();
    assert_eq!((store.uploads().await.len(), store.keys().await.len()), (1, 0));
    server.clear_faults();
    let output = store.akool(&folder, &server, &args).output().unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!((store.uploads().await.len(), server.created().len()), (0, 1));
    assert_eq!(store.keys().await, ["results/talk.es.mp4"]);

    // An object of someone else is kept, and the id of the job is added to the name.
    let output =
        store.akool(&folder, &server, &["translate", url, "--to", "fr", "--no-wait"]).output().unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    store.put("results/talk.fr.mp4", "mine").await;
    let args =
        ["wait", "--pending", "--files", "video", "--interval", "20ms", "--output", "s3://bucket/results"];
    assert_eq!(code(&store.akool(&folder, &server, &args).output().unwrap()), 0);
    let id = &server.created()[1].id;
    assert!(
        store.get("?list-type=2&prefix=results/talk.fr.mp4").await.contains("<Size>4</Size>"),
        "it is kept"
    );
    assert!(store.keys().await.contains(&format!("results/talk.fr.{id}.mp4")), "{:?}", store.keys().await);
}
