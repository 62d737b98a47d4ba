//! The configuration file.

use std::{fs, path::Path, process::Output};

use akool_mock::{MockServer, Polls, Timeline};

use crate::support::{akool_at, code, stderr};

const URL: &str = "https://example.com/talk.mp4";

/// Runs the program in a folder, with this configuration file.
fn run(server: &MockServer, folder: &Path, config: &[u8], variable: Option<&str>, args: &[&str]) -> Output {
    fs::create_dir_all(folder.join("akool")).unwrap();
    fs::write(folder.join("akool/config.toml"), config).unwrap();
    let mut command = akool_at(server, args);
    command.env("XDG_CONFIG_HOME", folder).env("XDG_STATE_HOME", folder.join("state"));
    if let Some(stage) = variable {
        command.env("AKOOL_STAGE", stage);
    }
    command.output().unwrap()
}

#[tokio::test]
async fn an_option_is_used_before_a_variable_and_a_variable_before_the_file() {
    let (server, folder) = (MockServer::start().await, tempfile::tempdir().unwrap());
    let video = folder.path().join("talk.mp4");
    fs::write(&video, include_bytes!("../../crates/akool-mock/assets/video.mp4")).unwrap();
    let args = ["translate", video.to_str().unwrap(), "--to", "es", "--dry-run"];
    // A wrong location says which one is used. That of the file is checked first.
    let config = b"stage = \"s3://from.the.file/a\"";
    let with_option = [&args[..], &["--stage", "option"]].concat();
    let output = run(&server, folder.path(), config, Some("variable"), &with_option);
    assert!(stderr(&output).contains("\"option\" is not a location"), "{output:?}");
    let output = run(&server, folder.path(), config, Some("variable"), &args);
    assert!(stderr(&output).contains("\"variable\" is not a location"), "{output:?}");
    let output = run(&server, folder.path(), b"", None, &args);
    assert!(stderr(&output).contains("Add --stage"), "{output:?}");
    if cfg!(feature = "stage") {
        for empty in [None, Some("")] {
            let output = run(&server, folder.path(), config, empty, &args);
            assert_eq!(code(&output), 0, "{output:?}");
        }
    }
}

#[tokio::test]
async fn results_are_saved_where_the_file_says_unless_an_option_says_otherwise() {
    let (server, folder) = (MockServer::start().await, tempfile::tempdir().unwrap());
    server.on_create(Timeline::new().queueing(Polls(1)).completed());
    let (of_file, of_option) = (folder.path().join("file"), folder.path().join("option"));
    let config = format!("# Results\noutput = {:?}\n", of_file.to_str().unwrap());
    let run = |args: &[&str]| run(&server, folder.path(), config.as_bytes(), None, args);
    let translate = ["translate", URL, "--to", "es", "--files", "subtitles", "--interval", "10ms"];
    assert_eq!(code(&run(&translate)), 0);
    assert!(of_file.join("talk.es.srt").is_file());
    let id = server.created()[0].id.to_string();
    let of_option = of_option.to_str().unwrap();
    let output = run(&["wait", &id, "--files", "subtitles", "--output", of_option]);
    assert!(code(&output) == 0 && Path::new(of_option).join("talk.es.srt").is_file(), "{output:?}");
    fs::remove_dir_all(&of_file).unwrap();
    assert_eq!(code(&run(&["download", &id])), 0);
    assert!(of_file.join("talk.es.mp4").is_file());
    assert_eq!(code(&run(&["translate", URL, "--to", "fr", "--no-wait"])), 0);
}

#[tokio::test]
async fn a_mistake_is_named_with_its_line_and_without_a_secret() {
    let (server, folder) = (MockServer::start().await, tempfile::tempdir().unwrap());
    let args = ["translate", URL, "--to", "es"];
    for (config, line, why) in [
        (&b"\napi_key = \"MARKER\"\n"[..], 2, "unknown field `api_key`"),
        (b"output = 1", 1, "expected a string"),
        (b"# a\n\nstage = \"MARKER", 3, "akool auth login"),
        (b"stage = \"s3://b\"\nstage = \"s3://b\"", 2, "duplicate key"),
        (b"output = \"~/videos\"", 1, "without ~"),
        (b"output = \"x\"\nstage = \"bucket\"", 2, "no scheme"),
    ] {
        let output = run(&server, folder.path(), config, None, &args);
        let text = stderr(&output);
        assert!(code(&output) == 2 && text.contains(why) && !text.contains("MARKER"), "{text}");
        assert!(text.contains(&format!("config.toml, line {line}: ")), "{text}");
    }
    for config in [&b"\xff"[..], &[b'#'; 70_000]] {
        let output = run(&server, folder.path(), config, None, &args);
        assert!(code(&output) == 2 && stderr(&output).contains("config.toml"), "{output:?}");
    }
    // What uses nothing of it goes on.
    assert_eq!(code(&run(&server, folder.path(), b"x", None, &["jobs"])), 0);
    assert!(server.exchanges().is_empty());
}
