//! Downloads that stall: the exit code, the message, and that the same command resumes. Names of files, and which
//! existing files count as downloaded.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use akool_mock::{Fault, MockServer, Timeline, Times};
use serde_json::Value;

use crate::support::{ID, akool_at, code, objects, stderr, stdout};

const VIDEO: &str = "https://example.com/a/talk.mp4?Signature=MARKER";
const DEFAULT_NAMES: [&str; 4] =
    ["talk.es.mp4", "talk.es.no-captions.mp4", "talk.es.original.srt", "talk.es.srt"];

/// A service, a ledger and a folder for files.
struct Runs {
    server: MockServer,
    folder: tempfile::TempDir,
}

impl Runs {
    async fn start() -> Self {
        let server = MockServer::start().await;
        server.on_create(Timeline::new().completed());
        Self { server, folder: tempfile::tempdir().unwrap() }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = akool_at(&self.server, args);
        command.env("XDG_STATE_HOME", self.folder.path().join("state")).arg("--output").arg(self.out());
        command.output().unwrap()
    }

    /// Translates this video into Spanish.
    fn translate(&self, url: &str, more: &[&str]) -> Output {
        let output = self.run(&[&["translate", url, "--to", "es", "--interval", "10ms"], more].concat());
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        output
    }

    fn names(&self) -> Vec<String> {
        names(&self.out())
    }

    /// The requests for files so far.
    fn file_requests(&self) -> usize {
        self.server.exchanges().iter().filter(|exchange| exchange.target.starts_with("/files/")).count()
    }
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[tokio::test]
async fn files_that_the_ledger_has_are_not_requested_again() {
    let runs = Runs::start().await;
    runs.translate(VIDEO, &[]);
    assert_eq!(runs.names(), DEFAULT_NAMES);
    let before = runs.file_requests();
    assert_eq!(stdout(&runs.translate(VIDEO, &[])).matches("already downloaded").count(), 4);
    assert_eq!(runs.file_requests(), before);
    // A file that was removed is downloaded again.
    fs::remove_file(runs.out().join("talk.es.srt")).unwrap();
    assert_eq!(stdout(&runs.translate(VIDEO, &[])).matches("already downloaded").count(), 3);
    assert_eq!((runs.names().len(), runs.file_requests()), (4, before + 1));
}

#[tokio::test]
async fn a_file_that_was_changed_is_kept_and_named() {
    let runs = Runs::start().await;
    runs.translate(VIDEO, &[]);
    let path = runs.out().join("talk.es.srt");
    let same_length = fs::read_to_string(&path).unwrap().replace("Buenos", "Malos_");
    for mine in [same_length.as_str(), "mine"] {
        fs::write(&path, mine).unwrap();
        let shown = stdout(&runs.translate(VIDEO, &[]));
        assert_eq!(shown.matches("changed since it was downloaded, kept").count(), 1, "{shown}");
        let changed: Vec<_> = objects(&runs.translate(VIDEO, &["--json"]))
            .into_iter()
            .filter(|object| object["changed"] == true)
            .collect();
        assert!(changed.len() == 1 && changed[0]["file"] == "subtitles" && changed[0]["kept"] == true);
        assert_eq!(fs::read_to_string(&path).unwrap(), mine);
    }
    runs.translate(VIDEO, &["--overwrite"]);
    assert!(fs::read_to_string(&path).unwrap().contains("Buenos"));
    assert_eq!(runs.names(), DEFAULT_NAMES);
}

#[tokio::test]
async fn a_file_without_a_record_counts_only_if_it_matches_the_servers() {
    let runs = Runs::start().await;
    runs.translate(VIDEO, &[]);
    let id = runs.server.created()[0].id.to_string();
    fs::remove_dir_all(runs.folder.path().join("state")).unwrap();
    fs::write(runs.out().join("talk.es.srt"), "mine").unwrap();
    // The ledger is new, so the job is, too; the mock server's files are all the same.
    let shown = stdout(&runs.translate(VIDEO, &[]));
    assert_eq!(shown.matches("already downloaded").count(), 3, "{shown}");
    let other = runs.server.created()[1].id.to_string();
    assert_ne!(id, other);
    let own = format!("talk.es.{other}.srt");
    assert!(runs.names().contains(&own) && runs.names().len() == 5, "{:?}", runs.names());
    assert_eq!(fs::read_to_string(runs.out().join("talk.es.srt")).unwrap(), "mine");
    // And that is where the next run finds it.
    assert_eq!(stdout(&runs.translate(VIDEO, &[])).matches("already downloaded").count(), 4);

    // A job that nothing is known of has its id as its name. Such a file is not replaced either.
    runs.server.job(ID, Timeline::new().completed());
    fs::write(runs.out().join(format!("{ID}.mp4")), "mine").unwrap();
    let output = runs.run(&["wait", ID, "--files", "video"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("exists and is not the video of job"), "{}", stderr(&output));
}

#[tokio::test]
async fn jobs_whose_files_would_get_the_same_names_get_their_ids() {
    let runs = Runs::start().await;
    runs.translate(VIDEO, &[]);
    // Another video of the same name, later: the ledger knows whose file this is.
    runs.translate("https://example.com/b/TALK.mp4", &["--files", "video"]);
    runs.translate("https://example.com/c/talk.mp4", &["--files", "video"]);
    let ids: Vec<_> = runs.server.created().iter().map(|job| job.id.to_string()).collect();
    let mut expected: Vec<_> = DEFAULT_NAMES.map(str::to_owned).into();
    expected.extend(["TALK.es.mp4".to_owned(), format!("talk.es.{}.mp4", ids[2])]);
    expected.sort();
    assert_eq!(runs.names(), expected);

    // In one run, also names that differ only in case.
    fs::remove_dir_all(runs.out()).unwrap();
    let output = runs.run(&["download", &ids[0], &ids[1], "--files", "video"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(runs.names(), [format!("TALK.es.{}.mp4", ids[1]), format!("talk.es.{}.mp4", ids[0])]);
}

#[tokio::test]
async fn files_are_selected_and_named_by_a_template() {
    let runs = Runs::start().await;
    let template = "{language} {kind} of {source}.{ext}";
    runs.translate(VIDEO, &["--files", "subtitles,video", "--name-template", template]);
    assert_eq!(runs.names(), ["es subtitles of talk.srt", "es video of talk.mp4"]);
}

#[tokio::test]
async fn names_that_cannot_be_used_create_nothing() {
    let runs = Runs::start().await;
    for (args, why) in [
        (&["--name-template", "{source}.{ext}"][..], "would get the same name; add {kind}"),
        (&["--name-template", "{title}"], "{title} is not a placeholder"),
        (&["--name-template", "../{id}"], "not allowed"),
        (&["--files", "audio"], "original-subtitles"),
    ] {
        let output = runs.run(&[&["translate", VIDEO, "--to", "es"], args].concat());
        assert_eq!(code(&output), 2, "{args:?}");
        assert!(stderr(&output).contains(why), "{}", stderr(&output));
    }
    let output = akool_at(&runs.server, &["wait", ID, "--vtt"]).output().unwrap();
    assert!(code(&output) == 2 && stderr(&output).contains("need --output"), "{}", stderr(&output));
    assert!(runs.server.exchanges().is_empty() && names(runs.folder.path()).is_empty());
}

#[tokio::test]
async fn subtitles_are_also_saved_as_webvtt() {
    let runs = Runs::start().await;
    let args = ["--files", "subtitles,original-subtitles", "--vtt"];
    let shown = stdout(&runs.translate(VIDEO, &args));
    assert_eq!(shown.matches(", converted)").count(), 2, "{shown}");
    let expected = ["talk.es.original.srt", "talk.es.original.vtt", "talk.es.srt", "talk.es.vtt"];
    assert_eq!(runs.names(), expected);
    let path = runs.out().join("talk.es.vtt");
    let vtt = fs::read_to_string(&path).unwrap();
    assert!(vtt.starts_with("WEBVTT\n\n00:00:0") && vtt.contains("Buenos"), "{vtt}");
    assert_eq!(stdout(&runs.translate(VIDEO, &args)).matches("already downloaded").count(), 4);

    fs::write(&path, "mine").unwrap();
    let shown = stdout(&runs.translate(VIDEO, &args));
    assert_eq!(shown.matches("changed since it was downloaded, kept").count(), 1, "{shown}");
    runs.translate(VIDEO, &[&args[..], &["--overwrite"]].concat());
    assert_eq!(fs::read_to_string(&path).unwrap(), vtt);
    assert_eq!(runs.names(), expected);
    let paths = objects(&runs.translate(VIDEO, &[&args[..], &["--json"]].concat()));
    let paths =
        paths.iter().filter_map(|object| object["path"].as_str()).filter(|path| path.ends_with(".vtt"));
    assert_eq!(paths.count(), 2);
}

#[tokio::test]
async fn two_processes_that_save_the_same_files_wait_for_each_other() {
    let runs = Runs::start().await;
    runs.translate(VIDEO, &["--files", "subtitles"]);
    // Large enough that the downloads overlap.
    runs.server.file("video.mp4", [&b"\0\0\0\0mdat"[..], &vec![0; 20_000_000]].concat());
    let id = runs.server.created()[0].id.to_string();
    let outputs = std::thread::scope(|scope| {
        let run = || runs.run(&["download", &id, "--json"]);
        [scope.spawn(run), scope.spawn(run)].map(|thread| thread.join().unwrap())
    });
    let mut kept = 0;
    for output in &outputs {
        assert_eq!(code(output), 0, "{}", stderr(output));
        kept += objects(output).iter().filter(|object| object["kept"] == Value::Bool(true)).count();
    }
    // The subtitles twice, and each of the others once.
    assert_eq!(kept, 5);
    assert_eq!(runs.names(), DEFAULT_NAMES);
}

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
        let run = || akool_at(&server, args).env("AKOOL_API_HOST", server.url()).output().unwrap();
        server.inject_into_files(Fault::TruncatedBody, Times::N(4));
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
