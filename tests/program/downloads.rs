//! Downloads that stall: the exit code, the message, and that the same command resumes.

use std::fs;

use akool_mock::{Fault, MockServer, Timeline, Times};

use crate::support::{ID, akool_at, code, stderr};

#[tokio::test]
async fn a_stalled_download_exits_with_6_and_the_same_command_resumes() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().completed());
    let mut contents = vec![0; 1_000_000];
    contents[..8].copy_from_slice(b"\0\0\0\0mdat");
    server.file("video.mp4", contents.clone());
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().to_str().unwrap();
    for args in [
        &["download", ID, "--stall-timeout", "2s", "--output", output][..],
        &["wait", ID, "--stall-timeout", "2s", "--output", output],
    ] {
        // Each file is truncated, and then the server does not respond.
        let path = folder.path().join(format!("{ID}.mp4"));
        let _ = fs::remove_file(&path);
        let run = || akool_at(&server, args).env("AKOOL_API_HOST", server.tcp_url()).output().unwrap();
        server.inject_into_files(Fault::TruncatedBody, Times::Times(4));
        server.inject_into_files(Fault::NeverAnswers, Times::Always);
        let output = run();
        assert_eq!(code(&output), 6, "{}", stderr(&output));
        let message = stderr(&output);
        assert!(message.contains("the video of job") && message.contains("stalled"), "{message}");
        assert!(message.contains("2s") && message.contains("\n  try again later"), "{message}");
        assert!(!path.exists());
        assert!(path.with_extension("mp4.part").exists());

        server.clear_faults();
        let before = server.exchanges().len();
        let output = run();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        assert_eq!(fs::read(&path).unwrap(), contents);
        let resumed = server.exchanges().split_off(before);
        assert!(resumed.iter().any(|exchange| exchange.headers.contains_key("range")));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
}
