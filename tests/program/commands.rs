//! What the commands that create nothing print, and their exit codes.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use akool_mock::{Fault, MockServer, Polls, Timeline, Times};

use crate::support::{
    ID, Program, Serving, akool, akool_at, code, end_of, interrupt, snapshots, stderr, stdout, wait_until,
};

/// The exit code and everything that was printed, with the folder replaced.
fn shown(output: &Output, folder: Option<&Path>) -> String {
    // Files are downloaded concurrently, so their order varies.
    let stdout = stdout(output);
    let (mut saved, others): (Vec<_>, Vec<_>) =
        stdout.split_inclusive('\n').partition(|line| line.contains(r#""event":"downloaded""#));
    saved.sort_unstable();
    let whole = format!(
        "exit code {}\n--- stdout\n{}{}--- stderr\n{}",
        code(output),
        others.concat(),
        saved.concat(),
        stderr(output)
    );
    match folder {
        Some(folder) => whole.replace(folder.to_str().unwrap(), "[dir]"),
        None => whole,
    }
}

fn assert_shown(name: &str, output: &Output, folder: Option<&Path>) {
    snapshots("commands").bind(|| insta::assert_snapshot!(name, shown(output, folder)));
}

#[tokio::test]
async fn wait_prints_changes_and_saves_the_files() {
    let server = MockServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    for (name, more) in [("wait-text", &[][..]), ("wait-repeated", &[]), ("wait-json", &["--json"])] {
        server.job(ID, Timeline::new().queueing(Polls(2)).processing(Polls(2)).completed());
        let mut args = vec!["wait", ID, "--interval", "10ms", "--output", out.to_str().unwrap()];
        args.extend(more);
        let output = akool_at(&server, &args).output().unwrap();
        assert_shown(name, &output, Some(folder.path()));
    }
    assert_eq!(fs::read_dir(&out).unwrap().count(), 4);
}

#[tokio::test]
async fn wait_without_output_prints_the_urls() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().completed());
    let output = akool_at(&server, &["wait", ID]).output().unwrap();
    assert_shown("wait-links", &output, None);
}

#[tokio::test]
async fn jobs_end_independently_and_the_worst_outcome_is_the_exit_code() {
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
    assert_shown("endings-text", &run(&["bad"], &[]), None);
    assert_shown("endings-stuck", &run(&["stuck"], &[]), None);
    assert_shown("endings-stuck-json", &run(&["stuck"], &["--json"]), None);
    assert_shown("endings-json", &run(&["bad"], &["--json"]), None);
    assert_shown("endings-unknown", &run(&["nobody"], &["--json"]), None);
    assert_eq!(code(&run(&["good"], &[])), 0);
    assert_eq!(code(&run(&["good", "stuck"], &[])), 4);
    let all = run(&["stuck", "bad", "good"], &[]);
    assert_eq!(code(&all), 3);
    assert!(stdout(&all).contains("good  completed"), "{all:?}");
    assert_eq!(code(&run(&["stuck", "bad", "good", "nobody"], &[])), 1);
}

#[tokio::test]
async fn status_polls_each_job_once_in_order() {
    let server = MockServer::start().await;
    server.job("b", Timeline::new().failed(1015, "no speech found"));
    server.job("a", Timeline::new().processing(Polls(9)));
    server.job("c", Timeline::new().status(7, Polls(9)));
    let output = akool_at(&server, &["status", "b", "a", "c"]).output().unwrap();
    assert_shown("status-text", &output, None);
    let output = akool_at(&server, &["status", "b", "nobody", "c", "--json"]).output().unwrap();
    assert_shown("status-json", &output, None);
}

#[tokio::test]
async fn rejected_credentials_exit_with_5() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new());
    for command in ["status", "wait"] {
        let output = akool_at(&server, &[command, ID]).env("AKOOL_API_KEY", "MARKER").output().unwrap();
        assert_eq!(code(&output), 5);
        let printed = shown(&output, None);
        assert!(
            printed.contains("1101") && printed.contains("check the key") && !printed.contains("MARKER"),
            "{printed}"
        );
    }
    // A token and a key from a file are accepted.
    let mut with_token = akool(&["status", ID, "--base-url", &server.url()]);
    assert_eq!(code(&with_token.env("AKOOL_TOKEN", server.token()).output().unwrap()), 0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    fs::write(&file, format!("{}\n", server.api_key())).unwrap();
    let args = ["status", ID, "--base-url", &server.url(), "--api-key-file", file.to_str().unwrap()];
    assert_eq!(code(&akool(&args).output().unwrap()), 0);
}

#[test]
fn an_unreachable_service_exits_with_6_after_max_failures() {
    let mut command =
        akool(&["wait", ID, "--interval", "10ms", "--max-failures", "2", "--base-url", "http://127.0.0.1:1"]);
    let output = command.env("AKOOL_API_KEY", "MARKER").output().unwrap();
    assert_shown("unreachable", &output, None);
    let mut command = akool(&["status", ID, "--base-url", "http://127.0.0.1:1"]);
    assert_eq!(code(&command.env("AKOOL_API_KEY", "MARKER").output().unwrap()), 6);
}

#[tokio::test]
async fn wrong_usage_is_reported_before_any_request() {
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
    const TRANSLATE: [&str; 4] = ["translate", "https://example.com/talk.mp4", "--to", "es"];
    /// Arguments, variables and a part of the message.
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
        (&["status", ID, "--base-url", "::"], key, "not a URL"),
        (&["status", ID, "--sandbox", "--api-key-file", file], &[], "cannot be used with"),
        (&["status"], key, "required"),
        (&["status", ""], key, "the id is empty"),
        (&["wait", ID, "--timeout", "soon"], key, "write it as 90s"),
        (&["wait", ID, "--interval", "1ms"], key, "10ms"),
        (&["wait", ID, "--max-failures", "0"], key, "must be a whole number, 1 or more"),
        (&["wait", ID, "--max-failures", "-1"], key, "must be a whole number, 1 or more"),
        (&["wait", ID, "--max-polls-per-second", "-1"], key, "must be a number above 0"),
        (&["wait"], key, "<ID|--pending>"),
        (&["download"], key, "<ID|--expiring>"),
        (&[&TRANSLATE[..], &["--speakers", "-1"]].concat(), key, "must be a whole number, 0 or more"),
        (&[&TRANSLATE[..], &["--max-active", "-1"]].concat(), key, "must be a whole number, 1 or more"),
        (&[&TRANSLATE[..], &["--max-credits", "-1"]].concat(), key, "must be a number, 0 or more"),
        (&[&TRANSLATE[..], &["--reserve", "-0.5"]].concat(), key, "must be a number, 0 or more"),
        (&["wait", ID, "--output", file], key, "cannot write to"),
        (&["status", ID, "--api-key", "MARKER"], &[], "unexpected argument"),
        (&["nonsense"], &[], "unrecognized"),
    ];
    for (args, variables, expected) in cases {
        let mut command = akool(args);
        let output =
            command.env("AKOOL_API_HOST", server.url()).envs(variables.iter().copied()).output().unwrap();
        let printed = shown(&output, None);
        assert_eq!(code(&output), 2, "{args:?}: {printed}");
        assert!(printed.contains(expected), "{args:?}: {printed}");
        if !args.contains(&"MARKER") {
            assert!(!printed.contains("MARK"), "{args:?}: {printed}");
        }
        assert!(output.stdout.is_empty(), "{args:?}: {printed}");
    }
    assert!(server.exchanges().is_empty(), "a request was sent");
}

#[tokio::test]
async fn unexpected_fields_are_reported_once() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().status(7, Polls(3)).status(8, Polls(3)).completed());
    server.inject(Fault::OtherTypes, Times::N(5));
    let output = akool_at(&server, &["wait", ID, "--interval", "10ms"]).output().unwrap();
    assert_shown("unexpected-fields", &output, None);
}

#[cfg(unix)]
#[tokio::test]
async fn other_files_in_the_output_folder_are_not_touched() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().completed());
    let folder = tempfile::tempdir().unwrap();
    // A folder, a dangling link and a hard link take the names of files that would be saved.
    fs::create_dir(folder.path().join(format!("{ID}.mp4"))).unwrap();
    std::os::unix::fs::symlink("/nonexistent/x", folder.path().join(format!("{ID}.original.srt"))).unwrap();
    let mine = folder.path().join("mine");
    fs::write(&mine, "precious").unwrap();
    fs::hard_link(&mine, folder.path().join(format!("{ID}.srt.part"))).unwrap();
    let args = ["wait", ID, "--output", folder.path().to_str().unwrap()];
    let output = akool_at(&server, &args).output().unwrap();
    let printed = shown(&output, None);
    assert_eq!(code(&output), 1, "{printed}");
    assert_eq!(printed.matches("not a file of this program").count(), 3, "{printed}");
    assert!(printed.contains("no-captions.mp4 ("), "one failed file does not stop the others: {printed}");
    assert_eq!(fs::read(&mine).unwrap(), b"precious");
}

#[test]
fn the_sandbox_needs_no_key_and_ignores_the_environment() {
    let mut command = akool(&["--sandbox", "status", ID]);
    command.env("AKOOL_API_KEY", "a").env("AKOOL_TOKEN", "b").env("AKOOL_API_HOST", "http://nowhere.example");
    command.env("HTTP_PROXY", "http://127.0.0.1:1");
    assert_shown("sandbox-status", &command.output().unwrap(), None);
    assert_shown("sandbox-unknown", &akool(&["--sandbox", "status", "nobody"]).output().unwrap(), None);
}

#[tokio::test]
async fn logs_do_not_contain_the_key() {
    let server = MockServer::builder().api_key("MARKER").start().await;
    server.job(ID, Timeline::default());
    let folder = tempfile::tempdir().unwrap();
    let args = ["wait", ID, "--interval", "10ms", "--output", folder.path().to_str().unwrap()];
    let output = akool_at(&server, &args).env("RUST_LOG", "trace").output().unwrap();
    let printed = shown(&output, None);
    assert_eq!(code(&output), 0, "{printed}");
    assert!(
        printed.contains("akool.poll") && printed.contains("next poll"),
        "polls and pauses are logged: {printed}"
    );
    assert!(!printed.contains("MARKER"), "{printed}");
    assert!(!printed.contains("/files/"), "a link to a file was logged: {printed}");
}

/// Waits until the job was polled.
fn wait_until_polled(server: &MockServer, id: &str, child: &mut Child) {
    wait_until(child, "the job was polled", || !server.polls_of(id).is_empty());
}

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_prints_the_command_that_resumes() {
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
        wait_until_polled(&server, &id, &mut child);
        interrupt(&child);
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        let mut output = child.wait_with_output().unwrap();
        output.stdout = format!("{first}{rest}").into_bytes();
        assert_shown(name, &output, Some(folder.path()));
    }
}

#[test]
fn the_sandbox_serves_other_programs() {
    let mut sandbox = Serving::start(akool(&["sandbox", "--listen", "127.0.0.1:0", "--json"]));
    let mut command = akool(&["status", ID, "--base-url", &format!("http://{}", sandbox.address)]);
    assert_eq!(code(&command.env("AKOOL_API_KEY", "sandbox-key-000000000000").output().unwrap()), 0);
    let request = sandbox.object();
    assert_eq!((&request["event"], &request["message"]), (&"request".into(), &"queued".into()));

    // The port is taken.
    let output = akool(&["sandbox", "--listen", &sandbox.address]).output().unwrap();
    assert_eq!(code(&output), 2);
    assert!(shown(&output, None).contains("choose another with --listen"));
}

#[test]
fn a_reader_that_stops_reading_does_not_stop_the_sandbox() {
    use std::io::Write;

    let mut command = akool(&["sandbox", "--listen", "127.0.0.1:0", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    lines.read_line(&mut line).unwrap();
    let address = line.split("http://").nth(1).unwrap().split('"').next().unwrap();
    // More than fits into a pipe. Each of these is logged.
    for number in 0..1500 {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let target = format!("/files/{}{number}/video.mp4", "x".repeat(100));
        write!(stream, "GET {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(response.starts_with("HTTP/1.1 404"), "{response}");
    }
    interrupt(&child);
    assert!(end_of(&mut child).success());
}

#[cfg(unix)]
#[test]
fn files_that_never_end_or_begin_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for file in [pipe.to_str().unwrap(), "/dev/zero", folder.path().to_str().unwrap()] {
        for args in [
            &["status", ID, "--api-key-file", file][..],
            &["jobs", "--ledger", file],
            &["--sandbox", "translate", "--from-file", file, "--to", "es"],
            &["sandbox", "--scenarios", file],
        ] {
            let output = akool(args).output().unwrap();
            let text = stderr(&output);
            assert_eq!(code(&output), 2, "{args:?}: {text}");
            let reasons = ["regular file", "it is a folder", "is a directory"];
            assert!(reasons.iter().any(|reason| text.contains(reason)), "{args:?}: {text}");
        }
        let output = akool(&["--sandbox", "webhook", "verify", file]).output().unwrap();
        assert_eq!(code(&output), 2, "{}", stderr(&output));
    }
    // A pipe that a shell makes is read.
    let script = r#"exec 4< <(echo "url,to"; echo "https://example.com/a.mp4,es"); "$0" --sandbox translate --dry-run --from-file /dev/fd/4"#;
    let mut shell = Program::new("bash");
    let output = shell.args(["-c", script, env!("CARGO_BIN_EXE_akool")]).env("XDG_STATE_HOME", folder.path());
    let output = output.output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
}

#[test]
fn settings_that_cannot_be_used_are_refused_and_not_ignored() {
    let refused = |name: &str, value: &str, wanted: &str| {
        let mut command = akool(&["status", ID]);
        let output = command.env("AKOOL_API_KEY", "a-key-000000000000").env(name, value).output().unwrap();
        let text = stderr(&output);
        assert_eq!(code(&output), 2, "{name}={value}: {text}");
        assert!(text.contains(wanted) && !text.contains("MARKER"), "{text}");
    };
    refused("AKOOL_API_HOST", "unix:/tmp/x", "it is neither https nor http");
    for value in ["socks5://127.0.0.1:1", "://", "http://", "http://user:MARKER@"] {
        refused("HTTPS_PROXY", value, "the proxy in the environment variable HTTPS_PROXY cannot be used");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn too_few_file_handles_are_an_error() {
    for handles in [8, 12, 16, 24, 30] {
        let script = format!(r#"ulimit -n {handles}; exec "$0" "$@""#);
        let mut shell = Program::new("sh");
        let output = shell.args(["-c", &script, env!("CARGO_BIN_EXE_akool"), "--sandbox", "status", ID]);
        let output = output.env("XDG_STATE_HOME", "/nonexistent").output().unwrap();
        let text = stderr(&output);
        assert!(code(&output) == 1 && text.contains("ulimit -n"), "{handles}: {text}");
    }
}

#[test]
fn a_closed_stdout_is_not_an_error() {
    let mut child = akool(&["--sandbox", "status", ID, ID])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_stdout_is_an_error() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = akool(&["--sandbox", "status", ID, "--json"]).stdout(full).output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("cannot write to stdout"), "{output:?}");
}

/// The names and contents of the files in a folder.
fn everything(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        all += &format!("{}\n{}\n", path.display(), String::from_utf8_lossy(&fs::read(&path).unwrap()));
    }
    all
}

#[tokio::test]
async fn no_fault_reveals_the_key() {
    let faults = Fault::all().into_iter().filter(|fault| {
        // This fault needs a resolver inside the process.
        *fault != Fault::NameNotFound
    });
    let mut hanging = Vec::new();
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
        let mut check = move || {
            let output = command.output().unwrap();
            let all = shown(&output, None) + &everything(folder.path());
            assert!(!all.contains("MARKER-KEY"), "{fault:?}: {all}");
            let stderr = stderr(&output);
            assert!(stderr.contains("akool.poll"), "{fault:?}: nothing was logged: {stderr}");
            assert!(!stderr.contains("/files/"), "{fault:?}: a link to a file was logged: {stderr}");
            assert!(!stderr.contains("panicked"), "{fault:?}: {stderr}");
        };
        if fault.hangs() {
            // These take 5 seconds each.
            hanging.push((server, std::thread::spawn(check)));
        } else {
            check();
        }
    }
    for (_server, check) in hanging {
        check.join().unwrap();
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_and_a_missing_permission_leave_only_complete_files_and_parts() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().completed());
    let folder = tempfile::tempdir().unwrap();
    // A limit on the size of files acts as a full disk. Its signal is ignored, because a full disk sends none.
    let script = r#"trap '' XFSZ; ulimit -f 4; exec "$0" "$@""#;
    let mut command = Program::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_akool"), "wait", ID, "--output"]).arg(folder.path());
    command.env("AKOOL_API_HOST", server.url()).env("AKOOL_API_KEY", server.api_key());
    let output = command.env_remove("AKOOL_TOKEN").output().unwrap();
    let printed = shown(&output, None);
    assert_eq!(code(&output), 1, "{printed}");
    assert!(
        printed.contains("File too large") && printed.contains("check free space and permissions"),
        "{printed}"
    );
    let names = || {
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    };
    let (parts, complete): (Vec<_>, Vec<_>) = names().into_iter().partition(|name| name.contains(".part"));
    assert_eq!(complete, ["original.srt", "srt"].map(|end| format!("{ID}.{end}")));
    assert_eq!(parts.len(), 4, "two videos do not fit; each has a part and its version: {parts:?}");

    let output = akool_at(&server, &["wait", ID, "--output"]).arg(folder.path()).output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let ends = ["mp4", "no-captions.mp4", "original.srt", "srt"];
    assert_eq!(names(), ends.map(|end| format!("{ID}.{end}")));
    let resumed = server.exchanges().into_iter().filter(|exchange| exchange.headers.contains_key("range"));
    assert_eq!(resumed.count(), 2);

    // No user can write there.
    let output = akool_at(&server, &["wait", ID, "--output", "/proc/nowhere"]).output().unwrap();
    assert_eq!(code(&output), 2);
    assert!(shown(&output, None).contains("cannot write to /proc/nowhere"));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_key_is_not_in_the_process_list() {
    let server = MockServer::builder().api_key("MARKER-KEY").start().await;
    server.job(ID, Timeline::new().stuck(2));
    let mut child =
        akool_at(&server, &["wait", ID, "--interval", "10ms"]).stdout(Stdio::null()).spawn().unwrap();
    wait_until_polled(&server, ID, &mut child);
    let line = fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!String::from_utf8_lossy(&line).contains("MARKER-KEY"));
}

#[test]
fn global_options_take_one_line_each_and_are_described_in_full_once() {
    for command in ["translate", "wait", "jobs", "status"] {
        let help = stdout(&akool(&[command, "--help"]).env("COLUMNS", "100").output().unwrap());
        let options = help.lines().skip_while(|line| *line != "Global options:").skip(1);
        let options: Vec<_> = options.take_while(|line| !line.is_empty()).collect();
        assert!(options.len() >= 6, "{help}");
        assert!(options.iter().all(|line| line.trim_start().starts_with('-')), "{help}");
    }
    let help = stdout(&akool(&["help"]).output().unwrap());
    let full = help.split_once("Global options in full:").unwrap().1;
    for option in
        ["--sandbox", "--base-url", "--api-key-file", "--ledger", "--fleet", "--json", "--quiet", "--verbose"]
    {
        assert!(full.contains(option), "{option}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_program_that_ignores_the_end_of_its_terminal_goes_on() {
    let server = MockServer::start().await;
    // What this process ignores, its children ignore too.
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
    let is_ignored_here = u64::from_str_radix(mask, 16).unwrap() & 1 == 1;
    for (script, ignores) in
        [("trap '' HUP; exec \"$0\" \"$@\"", true), ("exec \"$0\" \"$@\"", is_ignored_here)]
    {
        let id = format!("hung up {script}");
        server.job(&id, Timeline::new().stuck(2));
        let mut command = Program::new("sh");
        command.args([
            "-c",
            script,
            env!("CARGO_BIN_EXE_akool"),
            "wait",
            &id,
            "--interval",
            "10ms",
            "--json",
        ]);
        command.env("AKOOL_API_HOST", server.url()).env("AKOOL_API_KEY", server.api_key());
        command.env("XDG_STATE_HOME", "/nonexistent").stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        wait_until_polled(&server, &id, &mut child);
        assert!(Command::new("kill").args(["-HUP", &child.id().to_string()]).status().unwrap().success());
        if ignores {
            let polls = server.polls_of(&id).len();
            wait_until(&mut child, "more polls", || server.polls_of(&id).len() > polls + 3);
            child.kill().unwrap();
        }
        let status = end_of(&mut child);
        assert_eq!(status.code(), (!ignores).then_some(130));
    }
}

#[test]
fn printed_commands_have_the_options_that_they_need() {
    let state = tempfile::tempdir().unwrap();
    let ledger = state.path().join("my ledger.db");
    let ledger = ledger.to_str().unwrap();
    let run = |args: &[&str]| {
        let mut command = akool(&[&["--sandbox", "--ledger", ledger], args].concat());
        command.output().unwrap()
    };
    let output = run(&["translate", "https://example.com/talk.mp4", "--to", "klingon"]);
    let wanted =
        format!("klingon: not supported. `akool --sandbox --ledger '{ledger}' languages` lists the codes");
    assert!(stderr(&output).contains(&wanted), "{}", stderr(&output));
    assert!(!stderr(&output).contains("demo"), "no list of jobs: {}", stderr(&output));
    let output = run(&["translate", "https://example.com/talk.mp4", "--to", "es", "--interval", "100ms"]);
    assert!(stderr(&output).contains("its links with it; save files with --output"), "{}", stderr(&output));
    assert!(stdout(&output).contains("completed after"), "{}", stdout(&output));
}
