//! What is refused before anything is uploaded or created.

use akool_mock::MockServer;

use super::{CAPTIONS, Folder, VIDEO, unserved};
use crate::support::{code, objects, stderr, stdout};

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
    server.assert_creations().count(0);
}

#[cfg(unix)]
#[tokio::test]
async fn what_cannot_be_read_is_named_with_the_reason_and_the_next_step() {
    let (server, folder) = (MockServer::start().await, Folder::new());
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let video = folder.write("talk.mp4", VIDEO);
    let (pipe, none, long) = (at("pipe.mp4"), at("none.mp4"), at(&"x".repeat(300)));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    folder.write("folder/captions.srt", CAPTIONS);
    let within = at("folder");
    let lines = folder.write("a\x1b[31mred\n.mp4", VIDEO);
    // With a stage, and without one.
    for (source, with_stage, without) in [
        (&none, "none.mp4: No such file or directory", "none.mp4\" is not a URL, and as a file"),
        (&at("talk.mp4/x.mp4"), "Not a directory", "Not a directory"),
        (&long, "File name too long", "File name too long"),
        (&within, "has no videos", "folder\" is a folder of this machine"),
        (&pipe, "a device or a named pipe; use a regular file", "pipe.mp4\" is a device or a named pipe"),
        (&"/dev/zero".to_owned(), "a device or a named pipe", "/dev/zero\" is a device"),
        (&lines, "has a name that is not text", "is a file of this machine"),
        (&"talk.mp5".to_owned(), "talk.mp5: No such file", "talk.mp5\" is not a URL, and as a file"),
    ] {
        let args = ["translate", source, "--to", "es"];
        let output = unserved(&folder, &server, &args);
        assert!(code(&output) == 2 && stderr(&output).contains(with_stage), "{output:?}");
        assert!(!stderr(&output).contains('\x1b'), "{output:?}");
        let output = folder.akool(&server, &args).output().unwrap();
        assert!(code(&output) == 2 && stderr(&output).contains(without), "{output:?}");
        assert!(
            stderr(&output).contains("https:// URL") && stderr(&output).contains("--stage"),
            "{output:?}"
        );
        assert!(!stderr(&output).contains('\x1b'), "{output:?}");
    }
    let output = unserved(&folder, &server, &["translate", &none, "--to", "es"]);
    assert!(stderr(&output).contains("check its name, or write a URL with https://"), "{output:?}");
    for captions in [&none, &within, &pipe] {
        let output =
            unserved(&folder, &server, &["translate", &video, "--to", "es", "--caption-file", captions]);
        assert!(code(&output) == 2 && stderr(&output).contains("cannot read"), "{output:?}");
    }
    server.assert_creations().count(0);
}

#[tokio::test]
async fn every_file_that_is_wrong_is_named_and_all_can_be_left_out() {
    let (server, folder) = (MockServer::start().await, Folder::new());
    let video = folder.write("talk.mp4", VIDEO);
    let (notes, cut) = (folder.write("notes.txt", "notes"), folder.write("cut.mp4", &VIDEO[..99]));
    let args =
        ["translate", &video, &notes, &cut, "https://example.com/a.mp4", "--to", "es,tlh", "--dry-run"];
    let output = unserved(&folder, &server, &args);
    assert_eq!(code(&output), 2, "{output:?}");
    let text = stderr(&output);
    assert!(text.contains("notes.txt is not a video") && text.contains("cut.mp4 is damaged"), "{text}");
    assert!(text.contains("nothing was created; correct the command, or use --skip-invalid"), "{text}");
    let output = unserved(&folder, &server, &[&args[..], &["--skip-invalid", "--json"]].concat());
    assert_eq!(code(&output), 0, "{output:?}");
    let printed = objects(&output);
    let named = |event: &str| printed.iter().filter(|object| object["event"] == event).count();
    // The language is left out twice.
    assert_eq!((named("left_out"), named("planned")), (4, 4), "{output:?}");
    let output = unserved(&folder, &server, &["translate", &notes, "--to", "es", "--skip-invalid"]);
    assert!(code(&output) == 2 && stderr(&output).contains("nothing to translate"), "{output:?}");
    server.assert_creations().count(0);
}

#[tokio::test]
async fn a_folder_is_its_videos_and_the_rest_is_left_out() {
    let (server, folder) = (MockServer::start().await, Folder::new());
    for name in ["in/b.mp4", "in/a.mp4", "in/.hidden.mp4", "in/more/c.mp4"] {
        folder.write(name, [VIDEO, &[0, 0, 0, 9, b'f', b'r', b'e', b'e', name.as_bytes()[3]]].concat());
    }
    folder.write("in/a.srt", CAPTIONS);
    let within = folder.path().join("in");
    let args = ["translate", within.to_str().unwrap(), "--to", "es", "--dry-run", "--json"];
    let output = unserved(&folder, &server, &args);
    assert_eq!(code(&output), 0, "{output:?}");
    let printed = objects(&output);
    let planned = printed.iter().filter(|object| object["event"] == "planned");
    let planned: Vec<_> = planned.map(|object| object["source"].as_str().unwrap()).collect();
    assert_eq!(planned, ["in/a.mp4", "in/b.mp4"].map(|name| folder.path().join(name).display().to_string()));
    assert!(stderr(&output).contains("left out: ") && stderr(&output).contains("a.srt is not a video"));
    // What begins as a video is meant.
    folder.write("in/d.mp4", &VIDEO[..VIDEO.len() / 2]);
    let output = unserved(&folder, &server, &args);
    assert!(code(&output) == 2 && stderr(&output).contains("d.mp4 is damaged"), "{output:?}");
    let output = unserved(&folder, &server, &[&args[..], &["--skip-invalid"]].concat());
    assert_eq!(code(&output), 0, "{output:?}");
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
    // The same frames in a quarter of the time.
    let mut fast = VIDEO.to_vec();
    let timescale = VIDEO.windows(4).position(|bytes| bytes == b"mdhd").unwrap() + 16;
    let faster = u32::from_be_bytes(fast[timescale..timescale + 4].try_into().unwrap()) * 4;
    fast[timescale..timescale + 4].copy_from_slice(&faster.to_be_bytes());
    let args = ["translate", &folder.write("fast.mp4", fast), "--to", "es", "--dry-run"];
    let output = unserved(&folder, &server, &args);
    let text = stderr(&output);
    assert!(
        code(&output) == 0 && text.contains("has 32 frames per second; AKOOL's list of codes has 1210"),
        "{text}"
    );
    let output = unserved(&folder, &server, &[&args[..], &["--strict-limits"]].concat());
    assert!(code(&output) == 2 && stderr(&output).contains("1210"), "{output:?}");
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
    // Not a folder of that name.
    let args = ["translate", "https://example.com/talk.mp4", "--to", "es", "--output", "gs3://b"];
    let output = folder.akool(&server, &args).output().unwrap();
    assert!(code(&output) == 2 && stderr(&output).contains("not that of a store"), "{output:?}");
    server.assert_creations().count(0);
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
