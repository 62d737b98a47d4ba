//! The program as a process: text, JSON and exit codes.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use akool_mock::{MockServer, Polls, Timeline};

const ID: &str = "64dd92c1f0b6684651e90e09";

/// The program, without anything that this environment says of AKOOL or proxies.
fn akool(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_akool"));
    // No ledger: what is tested here creates nothing.
    command.args(args).stdin(Stdio::null()).env("XDG_STATE_HOME", "/nonexistent");
    for variable in [
        "AKOOL_API_KEY",
        "AKOOL_TOKEN",
        "AKOOL_CLIENT_ID",
        "AKOOL_CLIENT_SECRET",
        "AKOOL_API_HOST",
        "RUST_LOG",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        command.env_remove(variable);
    }
    command
}

/// The program with the key of a server, and pointed at it.
fn akool_at(server: &MockServer, args: &[&str]) -> Command {
    let mut command = akool(args);
    command.env("AKOOL_API_HOST", server.url()).env("AKOOL_API_KEY", server.api_key());
    command
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Everything that a run printed, with what differs from run to run taken out.
fn shown(output: &Output, folder: Option<&Path>) -> String {
    // Files are fetched at the same time, and told in the order in which they arrive.
    let stdout = text(&output.stdout);
    let (mut saved, others): (Vec<_>, Vec<_>) =
        stdout.split_inclusive('\n').partition(|line| line.contains(r#""event":"downloaded""#));
    saved.sort_unstable();
    let whole = format!(
        "exit code {}\n--- stdout\n{}{}--- stderr\n{}",
        code(output),
        others.concat(),
        saved.concat(),
        text(&output.stderr)
    );
    match folder {
        Some(folder) => whole.replace(folder.to_str().unwrap(), "[dir]"),
        None => whole,
    }
}

fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_snapshot_path("snapshots/commands");
    settings.set_prepend_module_to_snapshot(false);
    settings.add_filter(r"127\.0\.0\.1:\d{2,}", "127.0.0.1:[port]");
    settings.add_filter(r"\d+(\.\d)? ?s\b", "[time]");
    settings.add_filter(r"\d+ polls, \d+ answered", "[n] polls, [n] answered");
    settings
}

macro_rules! assert_shown {
    ($name:literal, $output:expr, $folder:expr) => {
        settings().bind(|| insta::assert_snapshot!($name, shown($output, $folder)));
    };
}

#[tokio::test]
async fn a_wait_shows_changes_and_saves_the_files() {
    let server = MockServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    for (name, more) in [("wait-text", &[][..]), ("wait-again", &[]), ("wait-json", &["--json"])] {
        server.job(ID, Timeline::new().queueing(Polls(2)).processing(Polls(2)).completed());
        let mut args = vec!["wait", ID, "--interval", "10ms", "--output", out.to_str().unwrap()];
        args.extend(more);
        let output = akool_at(&server, &args).output().unwrap();
        settings().bind(|| insta::assert_snapshot!(name, shown(&output, Some(folder.path()))));
    }
    assert_eq!(fs::read_dir(&out).unwrap().count(), 4);
}

#[tokio::test]
async fn without_a_folder_the_links_are_shown() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().completed());
    let output = akool_at(&server, &["wait", ID]).output().unwrap();
    assert_shown!("wait-links", &output, None);
}

#[tokio::test]
async fn several_jobs_end_each_on_its_own_and_the_worst_counts() {
    let server = MockServer::start().await;
    let restart = || {
        server.job("good", Timeline::new().completed());
        server.job("bad", Timeline::new().failed(1015, "no speech\x1b[31m found"));
        server.job("stuck", Timeline::new().stuck(2));
    };
    let run = |ids: &[&str], more: &[&str]| {
        restart();
        let mut args = vec!["wait", "--interval", "10ms", "--timeout", "300ms"];
        args.extend(ids);
        args.extend(more);
        akool_at(&server, &args).output().unwrap()
    };
    assert_shown!("endings-text", &run(&["bad"], &[]), None);
    assert_shown!("endings-stuck", &run(&["stuck"], &[]), None);
    assert_shown!("endings-stuck-json", &run(&["stuck"], &["--json"]), None);
    assert_shown!("endings-json", &run(&["bad"], &["--json"]), None);
    assert_shown!("endings-unknown", &run(&["nobody"], &["--json"]), None);
    assert_eq!(code(&run(&["good"], &[])), 0);
    assert_eq!(code(&run(&["good", "stuck"], &[])), 4);
    let all = run(&["stuck", "bad", "good"], &[]);
    assert_eq!(code(&all), 3);
    assert!(text(&all.stdout).contains("good  completed"), "{all:?}");
    assert_eq!(code(&run(&["stuck", "bad", "good", "nobody"], &[])), 1);
}

#[tokio::test]
async fn status_reads_each_job_once_in_order() {
    let server = MockServer::start().await;
    server.job("b", Timeline::new().failed(1015, "no speech found"));
    server.job("a", Timeline::new().processing(Polls(9)));
    server.job("c", Timeline::new().status(7, Polls(9)));
    let output = akool_at(&server, &["status", "b", "a", "c"]).output().unwrap();
    assert_shown!("status-text", &output, None);
    let output = akool_at(&server, &["status", "b", "nobody", "c", "--json"]).output().unwrap();
    assert_shown!("status-json", &output, None);
}

#[tokio::test]
async fn refused_credentials_have_an_exit_code_of_their_own() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new());
    for command in ["status", "wait"] {
        let output = akool_at(&server, &[command, ID]).env("AKOOL_API_KEY", "MARKER").output().unwrap();
        assert_eq!(code(&output), 5);
        let said = shown(&output, None);
        assert!(
            said.contains("1101") && said.contains("check the key") && !said.contains("MARKER"),
            "{said}"
        );
    }
    // A token, and a key from a file.
    let mut with_token = akool(&["status", ID, "--base-url", &server.url()]);
    assert_eq!(code(&with_token.env("AKOOL_TOKEN", server.token()).output().unwrap()), 0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    fs::write(&file, format!("{}\n", server.api_key())).unwrap();
    let args = ["status", ID, "--base-url", &server.url(), "--api-key-file", file.to_str().unwrap()];
    assert_eq!(code(&akool(&args).output().unwrap()), 0);
}

#[test]
fn a_service_out_of_reach_is_told_after_the_budget() {
    let mut command =
        akool(&["wait", ID, "--interval", "10ms", "--max-failures", "2", "--base-url", "http://127.0.0.1:1"]);
    let output = command.env("AKOOL_API_KEY", "MARKER").output().unwrap();
    assert_shown!("unreachable", &output, None);
    let mut command = akool(&["status", ID, "--base-url", "http://127.0.0.1:1"]);
    assert_eq!(code(&command.env("AKOOL_API_KEY", "MARKER").output().unwrap()), 6);
}

#[tokio::test]
async fn wrong_use_is_told_before_anything_is_asked() {
    let server = MockServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "key").unwrap();
    let file = file.to_str().unwrap();
    let missing = folder.path().join("missing").display().to_string();
    let binary = folder.path().join("binary");
    fs::write(&binary, [0xff, 0xfe, 0]).unwrap();
    let huge = folder.path().join("huge");
    fs::write(&huge, "x".repeat(20_000)).unwrap();
    let key = &[("AKOOL_API_KEY", "MARKER")][..];
    /// Arguments, variables, and what must be said.
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);
    let cases: &[Case<'_>] = &[
        (&["status", ID], &[], "AKOOL_API_KEY"),
        (&["status", ID], &[("AKOOL_API_KEY", "MARKER"), ("AKOOL_TOKEN", "MARKER")], "two credentials"),
        (&["status", ID, "--api-key-file", file], key, "two credentials"),
        (&["status", ID, "--api-key-file", &missing], &[], "cannot read the API key"),
        (&["status", ID, "--api-key-file", binary.to_str().unwrap()], &[], "cannot read the API key"),
        (&["status", ID, "--api-key-file", huge.to_str().unwrap()], &[], "too large"),
        (&["status", ID], &[("AKOOL_API_KEY", "MARK\nER")], "cannot carry"),
        (&["status", ID, "--base-url", "http://akool.example"], key, "plain http"),
        (&["status", ID, "--base-url", "::"], key, "no URL"),
        (&["status", ID, "--sandbox", "--api-key-file", file], &[], "cannot be used with"),
        (&["status"], key, "required"),
        (&["status", ""], key, "an id is not empty"),
        (&["wait", ID, "--timeout", "soon"], key, "write it as 90s"),
        (&["wait", ID, "--interval", "1ms"], key, "10ms"),
        (&["wait", ID, "--max-failures", "0"], key, "0"),
        (&["wait", ID, "--output", file], key, "cannot write into"),
        (&["status", ID, "--api-key", "MARKER"], &[], "unexpected argument"),
        (&["nonsense"], &[], "unrecognized"),
    ];
    for (args, variables, says) in cases {
        let mut command = akool(args);
        let output =
            command.env("AKOOL_API_HOST", server.url()).envs(variables.iter().copied()).output().unwrap();
        let said = shown(&output, None);
        assert_eq!(code(&output), 2, "{args:?}: {said}");
        assert!(said.contains(says), "{args:?}: {said}");
        if !args.contains(&"MARKER") {
            assert!(!said.contains("MARK"), "{args:?}: {said}");
        }
        assert!(output.stdout.is_empty(), "{args:?}: {said}");
    }
    assert!(server.exchanges().is_empty(), "something was asked");
}

#[tokio::test]
async fn what_is_not_as_described_is_told_once() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().status(7, Polls(3)).status(8, Polls(3)).completed());
    server.inject(akool_mock::Fault::OtherTypes, akool_mock::Times::Times(5));
    let output = akool_at(&server, &["wait", ID, "--interval", "10ms"]).output().unwrap();
    assert_shown!("unexpected-fields", &output, None);
}

#[cfg(unix)]
#[tokio::test]
async fn looking_whether_a_folder_can_be_written_harms_nothing() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().completed());
    let folder = tempfile::tempdir().unwrap();
    // A folder, a link to nowhere and a file of somebody else where ours would go.
    fs::create_dir(folder.path().join(format!("{ID}.mp4"))).unwrap();
    std::os::unix::fs::symlink("/nonexistent/x", folder.path().join(format!("{ID}.original.srt"))).unwrap();
    let mine = folder.path().join("mine");
    fs::write(&mine, "precious").unwrap();
    fs::hard_link(&mine, folder.path().join(format!("{ID}.translated.srt.part"))).unwrap();
    let args = ["wait", ID, "--output", folder.path().to_str().unwrap()];
    let output = akool_at(&server, &args).output().unwrap();
    let said = shown(&output, None);
    assert_eq!(code(&output), 1, "{said}");
    assert_eq!(said.matches("something else than a file of our own").count(), 3, "{said}");
    assert!(said.contains("no-captions.mp4 ("), "one file's trouble does not stop the others: {said}");
    assert_eq!(fs::read(&mine).unwrap(), b"precious");
}

#[test]
fn the_sandbox_needs_no_key_and_ignores_the_environment() {
    let mut command = akool(&["--sandbox", "status", ID]);
    command.env("AKOOL_API_KEY", "a").env("AKOOL_TOKEN", "b").env("AKOOL_API_HOST", "http://nowhere.example");
    command.env("HTTP_PROXY", "http://127.0.0.1:1");
    assert_shown!("sandbox-status", &command.output().unwrap(), None);
    assert_shown!("sandbox-unknown", &akool(&["--sandbox", "status", "nobody"]).output().unwrap(), None);
}

#[tokio::test]
async fn nothing_that_is_logged_holds_the_key() {
    let server = MockServer::builder().api_key("MARKER").start().await;
    server.job(ID, Timeline::default());
    let folder = tempfile::tempdir().unwrap();
    let args = ["wait", ID, "--interval", "10ms", "--output", folder.path().to_str().unwrap()];
    let output = akool_at(&server, &args).env("RUST_LOG", "trace").output().unwrap();
    let said = shown(&output, None);
    assert_eq!(code(&output), 0, "{said}");
    assert!(
        said.contains("akool.poll") && said.contains("akool.pause"),
        "polls and pauses are logged: {said}"
    );
    assert!(!said.contains("MARKER"), "{said}");
    assert!(!said.contains("Signature="), "a signed link was logged: {said}");
}

/// Waits until the job was looked at; the server tells.
fn until_seen(server: &MockServer, id: &str, child: &mut Child) {
    while server.polls_of(id).is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "the program ended before it polled");
        std::thread::yield_now();
    }
}

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_says_how_to_go_on() {
    let server = MockServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    for (name, more) in [("interrupted-text", &[][..]), ("interrupted-json", &["--json"])] {
        let id = format!("stuck {name}");
        server.job(&id, Timeline::new().stuck(2));
        let out = folder.path().display().to_string();
        let mut args = vec!["wait", &id, "--interval", "10ms", "--output", &out];
        args.extend(more);
        let mut child =
            akool_at(&server, &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        stdout.read_line(&mut first).unwrap();
        until_seen(&server, &id, &mut child);
        let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        let mut output = child.wait_with_output().unwrap();
        output.stdout = format!("{first}{rest}").into_bytes();
        settings().bind(|| insta::assert_snapshot!(name, shown(&output, Some(folder.path()))));
    }
}

#[test]
fn the_sandbox_serves_other_programs() {
    let mut child = akool(&["sandbox", "--listen", "127.0.0.1:0", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let listening: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let url = listening["url"].as_str().unwrap();
    let mut command = akool(&["status", ID, "--base-url", url]);
    assert_eq!(code(&command.env("AKOOL_API_KEY", "sandbox-key-000000000000").output().unwrap()), 0);
    let request: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((&request["event"], &request["message"]), (&"request".into(), &"queueing".into()));

    // The port is taken: a second one says so.
    let taken = url.trim_start_matches("http://");
    let output = akool(&["sandbox", "--listen", taken]).output().unwrap();
    assert_eq!(code(&output), 2);
    assert!(shown(&output, None).contains("choose another with --listen"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let mut child = akool(&["--sandbox", "status", ID, ID])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), text(&output.stderr).as_str()), (0, ""));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_below_stdout_is_told() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = akool(&["--sandbox", "status", ID, "--json"]).stdout(full).output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(text(&output.stderr).contains("cannot write to stdout"), "{output:?}");
}

/// Everything below a folder, names and contents.
fn everything(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        all += &format!("{}\n{}\n", path.display(), String::from_utf8_lossy(&fs::read(&path).unwrap()));
    }
    all
}

#[tokio::test]
async fn no_fault_brings_the_key_to_light() {
    use akool_mock::{Fault, Times};

    let faults = Fault::all().into_iter().filter(|fault| {
        // A resolver cannot be given to a process.
        *fault != Fault::NameNotFound
    });
    for fault in faults {
        let server = MockServer::builder().api_key("MARKER-KEY").start().await;
        server.job(ID, Timeline::default());
        server.inject(fault, Times::Always);
        let folder = tempfile::tempdir().unwrap();
        let args = [
            "wait",
            ID,
            "--interval",
            "10ms",
            "--max-failures",
            "1",
            "--timeout",
            "50ms",
            "--json",
            "--output",
        ];
        let mut command = akool_at(&server, &args);
        command.arg(folder.path()).env("AKOOL_API_HOST", server.url_for(fault)).env("RUST_LOG", "trace");
        let slow = matches!(fault, Fault::NeverAnswers | Fault::Trickle | Fault::ConnectHangs);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        if slow {
            // It would wait for its timeouts: what it says until it is interrupted is enough.
            let mut line = String::new();
            let mut stderr = BufReader::new(child.stderr.take().unwrap());
            stderr.read_line(&mut line).unwrap();
            child.kill().unwrap();
            stderr.read_to_string(&mut line).unwrap();
            assert!(!line.contains("MARKER-KEY"), "{fault:?}: {line}");
        }
        let output = child.wait_with_output().unwrap();
        let all = shown(&output, None) + &everything(folder.path());
        assert!(!all.contains("MARKER-KEY"), "{fault:?}: {all}");
        let stderr = text(&output.stderr);
        assert!(!stderr.contains("Signature="), "{fault:?}: a signed link was logged: {stderr}");
        assert!(!stderr.contains("panicked"), "{fault:?}: {stderr}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_room_and_no_permission_are_told_and_leave_nothing() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().completed());
    let folder = tempfile::tempdir().unwrap();
    // A limit on the size of files stands for a disk that is full; its signal is ignored, as a
    // full disk sends none.
    let script = r#"trap '' XFSZ; ulimit -f 4; exec "$0" "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_akool"), "wait", ID, "--output"]).arg(folder.path());
    command.env("AKOOL_API_HOST", server.url()).env("AKOOL_API_KEY", server.api_key());
    let output = command.env_remove("AKOOL_TOKEN").output().unwrap();
    let said = shown(&output, None);
    assert_eq!(code(&output), 1, "{said}");
    assert!(said.contains("File too large") && said.contains("check room and permissions"), "{said}");
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [format!("{ID}.original.srt"), format!("{ID}.translated.srt")],
        "what fits is there, whole"
    );

    // Nobody may write there, whoever they are.
    let output = akool_at(&server, &["wait", ID, "--output", "/proc/nowhere"]).output().unwrap();
    assert_eq!(code(&output), 2);
    assert!(shown(&output, None).contains("cannot write into /proc/nowhere"));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_key_is_not_in_the_process_list() {
    let server = MockServer::builder().api_key("MARKER-KEY").start().await;
    server.job(ID, Timeline::new().stuck(2));
    let mut child =
        akool_at(&server, &["wait", ID, "--interval", "10ms"]).stdout(Stdio::null()).spawn().unwrap();
    until_seen(&server, ID, &mut child);
    let line = fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!String::from_utf8_lossy(&line).contains("MARKER-KEY"));
}

#[test]
fn every_event_of_json_is_documented() {
    let documented = include_str!("../../docs/json.md");
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut events = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = fs::read_to_string(&path).unwrap();
            for pattern in [r#""event": ""#, r#"event: ""#, r#".of(""#] {
                for rest in source.split(pattern).skip(1) {
                    let event = rest.split('"').next().unwrap();
                    events += 1;
                    assert!(documented.contains(&format!("`{event}`")), "{event} of {}", path.display());
                }
            }
        }
    }
    assert!(events > 15, "only {events} were found");
}
