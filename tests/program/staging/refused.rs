//! What is refused before anything is uploaded or created.

use akool_mock::MockServer;

use super::{CAPTIONS, Folder, VIDEO, unserved};
use crate::support::{code, stderr, stdout};

#[tokio::test]
async fn a_file_without_a_stage_is_named_with_the_option() {
    let (server, folder) = (MockServer::start().await, Folder::new());
    let video = folder.write("talk.mp4", VIDEO);
    let output = folder.akool(&server, &["translate", &video, "--to", "es"]).output().unwrap();
    assert_eq!(code(&output), 2);
    assert!(
        stderr(&output).contains("is a file of this machine") && stderr(&output).contains("--stage s3://")
    );
    let url = "https://example.com/talk.mp4";
    let captions = folder.write("talk.srt", CAPTIONS);
    let args = ["translate", url, "--to", "es", "--caption-file", &captions];
    let output = folder.akool(&server, &args).output().unwrap();
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("talk.srt\" is a file of this machine"), "{output:?}");
    server.assert_creations().count(0);
}

#[tokio::test]
async fn what_is_not_a_video_with_sound_is_refused_before_the_store_is_called() {
    let (server, folder) = (MockServer::start().await, Folder::new());
    let video = folder.write("talk.mp4", VIDEO);
    for (name, contents, why) in [
        ("notes.txt", &b"These are notes."[..], "is not a video"),
        ("empty.mp4", b"", "is empty"),
        ("cut.mp4", &VIDEO[..VIDEO.len() / 2], "is damaged"),
    ] {
        let file = folder.write(name, contents);
        let output = unserved(&folder, &server, &["translate", &video, &file, "--to", "es"]);
        assert_eq!(code(&output), 2, "{output:?}");
        assert!(stderr(&output).contains(why), "{output:?}");
        assert!(!stderr(&output).contains("uploading"), "{output:?}");
    }
    let missing = folder.path().join("none.mp4");
    let output = unserved(&folder, &server, &["translate", missing.to_str().unwrap(), "--to", "es"]);
    assert!(code(&output) == 2 && stderr(&output).contains("cannot read"), "{output:?}");
    server.assert_creations().count(0);
}

#[tokio::test]
async fn limits_are_a_warning_that_names_their_source_or_an_error() {
    let (server, folder) = (MockServer::start().await, Folder::new());
    let large = folder.sparse("large.mp4", 301_000_000);
    let args = ["translate", &large, "--to", "es", "--dry-run"];
    let output = unserved(&folder, &server, &args);
    assert_eq!(code(&output), 0, "{output:?}");
    let text = stderr(&output);
    assert!(
        text.contains("warning: ") && text.contains("has 301 MB; AKOOL's list of codes has 1207"),
        "{text}"
    );
    let output = unserved(&folder, &server, &[&args[..], &["--strict-limits"]].concat());
    assert!(code(&output) == 2 && stderr(&output).contains("1207"), "{output:?}");
    let webm = folder.write("talk.webm", b"\x1A\x45\xDF\xA3...");
    let output = unserved(&folder, &server, &["translate", &webm, "--to", "es", "--dry-run"]);
    assert!(code(&output) == 0 && stderr(&output).contains("were not checked (WebM"), "{output:?}");
    assert!(stdout(&output).contains("create"), "{output:?}");
}

#[tokio::test]
async fn a_wrong_location_or_lifetime_is_wrong_usage() {
    let (server, folder) = (MockServer::start().await, Folder::new());
    let video = folder.write("talk.mp4", VIDEO);
    for (stage, why) in [
        ("bucket/prefix", "it has no scheme"),
        ("https://bucket/prefix", "not that of a store"),
        ("s3://id:MARKER@bucket/prefix", "no valid bucket"),
        ("s3://bucket/a?X-Amz-Signature=MARKER", "cannot contain"),
    ] {
        let output =
            folder.akool(&server, &["translate", &video, "--to", "es", "--stage", stage]).output().unwrap();
        let text = stderr(&output);
        assert!(code(&output) == 2 && text.contains(why) && !text.contains("MARKER"), "{output:?}");
    }
    for lifetime in ["8d", "0s", "x"] {
        let args = ["translate", &video, "--to", "es", "--stage", "s3://b", "--link-lifetime", lifetime];
        assert_eq!(code(&folder.akool(&server, &args).output().unwrap()), 2);
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_creates_nothing() {
    let (server, folder) = (MockServer::start().await, Folder::new());
    let video = folder.write("talk.mp4", VIDEO);
    let output = unserved(&folder, &server, &["translate", &video, "--to", "es", "--json"]);
    assert_eq!(code(&output), 6, "{output:?}");
    assert!(stdout(&output).contains(r#""kind":"stage""#), "{output:?}");
    assert!(!format!("{output:?}").contains("MARKER"), "{output:?}");
    server.assert_creations().count(0);
}
