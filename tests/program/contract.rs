//! `akool contract`, and the sandbox with a scenario file.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Output,
};

use akool_contract::{Contract, Fixture, Verdict};
use akool_mock::{Fault, MockServer, Polls, Timeline, Times};

use crate::support::{ID, Serving, akool, akool_at, code, objects, snapshots, stderr, stdout};

fn run_at(server: &MockServer, args: &[&str]) -> Output {
    akool_at(server, args).output().unwrap()
}

/// The exit code, and stdout followed by stderr.
fn shown(output: &Output) -> (i32, String) {
    let text = stdout(output) + &stderr(output);
    assert!(!text.contains("sandbox-key") && !text.contains("/files/"), "{text}");
    (code(output), text)
}

async fn server() -> MockServer {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().completed());
    server
}

#[tokio::test]
async fn a_base_url_with_a_path_does_not_hide_the_responses() {
    let server = MockServer::builder().lenient().start().await;
    let mut command = akool(&["contract", "check", ID]);
    command.env("AKOOL_API_HOST", server.url() + "/prefix").env("AKOOL_API_KEY", server.api_key());
    let (code, text) = shown(&command.output().unwrap());
    assert_eq!(code, 6, "{text}");
    assert!(text.contains("drifting: 1 response,"), "{text}");
}

#[tokio::test]
async fn conforming_responses_are_reported_with_the_fields_that_were_not_received() {
    let server = server().await;
    let (code, text) = shown(&run_at(&server, &["contract", "check", ID]));
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("conforming: 1 response, 0 violations, 0 undocumented\n"), "{text}");
    assert!(text.contains("were in none of these responses (-v lists them)"), "{text}");
    assert!(!text.contains("/body/data/team_id"), "{text}");
    let (_, text) = shown(&run_at(&server, &["contract", "check", ID, "-v"]));
    assert!(text.starts_with(&format!("{ID}  getVideoInfo  conforming\n")), "{text}");
    assert!(text.contains("/body/data/team_id (the field `team_id`)"), "{text}");
    server.assert_polls(ID).count(2).with_api_key(&server.api_key());
}

#[tokio::test]
async fn a_renamed_field_is_reported_with_its_pointer_and_meaning() {
    let server = server().await;
    server.rename_field("/data/video_status", "status");
    let (code, text) = shown(&run_at(&server, &["contract", "check", ID]));
    assert_eq!(code, 9, "{text}");
    for expected in [
        "violation  /body/data/video_status: expected the field `video_status`, got nothing",
        "rule `required` at /components/schemas/VideoInfoResult/x-promises/0/then/required",
        "drift      /body/data/status: undocumented field: the integer 3",
        "documented but missing: `video_status`, ",
        "violating: 1 response, 1 violation, 1 undocumented\nfingerprint: ",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    // A field that is not required is drift under its new name, and not received under its old name.
    let server = MockServer::start().await;
    server.job(ID, Timeline::new());
    server.rename_field("/data/progress", "percent");
    let (code, text) = shown(&run_at(&server, &["contract", "check", ID, "-v"]));
    assert_eq!(code, 8, "{text}");
    assert!(text.contains("/body/data/percent: undocumented field"), "{text}");
    assert!(text.contains("/body/data/progress (the field `progress`)"), "{text}");
}

#[tokio::test]
async fn json_has_the_same_findings() {
    let server = server().await;
    server.inject(Fault::StatusAsText, Times::Once);
    let output = run_at(&server, &["contract", "check", ID, "--json"]);
    assert_eq!(shown(&output).0, 9);
    let lines = objects(&output);
    let violation = &lines[0]["violations"][0];
    assert_eq!(lines[0]["event"], "contract");
    assert_eq!(lines[0]["id"], ID);
    assert_eq!(lines[0]["verdict"], "violating");
    assert_eq!(violation["pointer"], "/body/data/video_status");
    assert_eq!(violation["rule"], "type");
    assert_eq!(violation["expected"], "an integer");
    assert_eq!(violation["actual"], "the string \"3\"");
    assert_eq!(lines[1]["event"], "contract_summary");
    assert_eq!(lines[1]["verdict"], "violating");
    assert!(
        lines[1]["not_received"]
            .as_array()
            .unwrap()
            .iter()
            .any(|never| never["pointer"] == "/body/data/team_id")
    );
}

/// The output of a check of a job with a violation and drift, and of an unknown one.
async fn formatted(format: &[&str]) -> (i32, String) {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().completed());
    server.rename_field("/data/video_status", "status");
    let output = run_at(&server, &[&["contract", "check", ID, "a,b:c|`%"], format].concat());
    shown(&output);
    (code(&output), stdout(&output))
}

#[tokio::test]
async fn every_format_has_the_same_findings_and_fingerprint() {
    let (code, fingerprint) = formatted(&["--fingerprint"]).await;
    assert_eq!((code, fingerprint.trim_end().len()), (9, 16), "{fingerprint}");
    let fingerprint = fingerprint.trim_end();
    for (format, place) in [
        ("text", format!("\nfingerprint: {fingerprint}\n")),
        ("json", format!("\"fingerprint\":\"{fingerprint}\"")),
        ("junit", format!("<property name=\"fingerprint\" value=\"{fingerprint}\"/>")),
        ("github", format!("%0Afingerprint: {fingerprint}\n")),
        ("markdown", format!("\n<!-- akool-contract-fingerprint: {fingerprint} -->\n")),
    ] {
        let (code, text) = formatted(&["--format", format]).await;
        assert_eq!(code, 9, "{text}");
        assert!(text.contains(&place), "{place}\n{text}");
        let mut settings = snapshots("contract");
        settings.add_filter(fingerprint, "[fingerprint]");
        settings.bind(|| {
            if format != "json" {
                insta::assert_snapshot!(format, text);
            }
        });
    }
}

/// GitHub reads workflow commands from every line of a log, whatever wrote it.
#[tokio::test]
async fn no_received_name_starts_a_line_or_controls_the_terminal() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().completed());
    server.rename_field("/data/video_status", "\r\n::error::MARK\u{1b}[31m\u{202e}");
    for format in ["text", "json", "junit", "github", "markdown"] {
        let output = run_at(&server, &["contract", "check", ID, "--format", format]);
        let text = stdout(&output) + &stderr(&output);
        assert!(text.contains("::error::MARK"), "{format}: {text}");
        assert!(!text.contains(['\r', '\u{1b}', '\u{202e}']), "{format}: {text:?}");
        assert!(!text.lines().any(|line| line.trim_start().starts_with("::error::MARK")), "{format}: {text}");
    }
}

#[tokio::test]
async fn without_findings_there_is_no_fingerprint() {
    let server = server().await;
    let output = run_at(&server, &["contract", "check", ID, "--fingerprint"]);
    assert_eq!((code(&output), stdout(&output).as_str()), (0, ""));
    let output = run_at(&server, &["contract", "check", ID, "--format", "json"]);
    assert!(objects(&output)[1]["fingerprint"].is_null());
    assert_eq!(stdout(&output), stdout(&run_at(&server, &["contract", "check", ID, "--json"])));
    for args in [["--json", "--format", "junit"], ["--fingerprint", "--format", "text"]] {
        assert_eq!(code(&run_at(&server, &[&["contract", "check", ID], &args[..]].concat())), 2);
    }
}

#[tokio::test]
async fn each_outcome_has_its_exit_code() {
    let cases = [
        (Fault::StatusNumber(7), 8),
        (Fault::Code(1299), 8),
        (Fault::DataMissing, 9),
        (Fault::Html, 9),
        (Fault::Http(503), 6),
        (Fault::Code(1005), 6),
        (Fault::Code(1101), 5),
        (Fault::ExpiredJob, 1),
    ];
    for (fault, wanted) in cases {
        let server = server().await;
        server.inject(fault, Times::Always);
        let (code, text) = shown(&run_at(&server, &["contract", "check", ID]));
        assert_eq!(code, wanted, "{fault:?}: {text}");
    }
    // No server listens.
    let server = server().await;
    let mut command = akool(&["contract", "check", ID]);
    command.env("AKOOL_API_HOST", server.url_for(Fault::Refused)).env("AKOOL_API_KEY", "key");
    let (code, text) = shown(&command.output().unwrap());
    assert_eq!(code, 6, "{text}");
    assert!(text.contains("received no response"), "{text}");
    // Without a credential, and without an id.
    assert_eq!(shown(&akool(&["contract", "check", ID]).output().unwrap()).0, 2);
    assert_eq!(akool(&["contract", "check"]).output().unwrap().status.code(), Some(2));
    // A violation takes precedence over an unknown job.
    server.job("other", Timeline::new());
    server.inject(Fault::Code(1014), Times::Once);
    server.rename_field("/data/video_status", "status");
    assert_eq!(shown(&run_at(&server, &["contract", "check", ID, "other"])).0, 9);
}

#[tokio::test]
async fn the_vendored_description_lacks_what_overlays_add() {
    let server = server().await;
    let (code, text) = shown(&run_at(&server, &["contract", "check", ID, "--vendored"]));
    assert_eq!(code, 8, "{text}");
    assert!(text.contains("/body/data/progress: undocumented field"), "{text}");
}

#[tokio::test]
async fn recorded_fixtures_are_redacted_and_conform() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().processing(Polls(1)));
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new");
    let record =
        || run_at(&server, &["contract", "record", ID, "unknown", "--output", out.to_str().unwrap()]);
    let (code, printed) = shown(&record());
    assert_eq!(code, 0, "{printed}");
    assert_eq!(shown(&record()).0, 0);
    assert_eq!(shown(&record()).0, 0);
    let mut names: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "poll-code-1008-2.json",
            "poll-code-1008-3.json",
            "poll-code-1008.json",
            "poll-completed-2.json",
            "poll-completed.json",
            "poll-processing.json"
        ]
    );
    for name in names {
        let bytes = fs::read(out.join(&name)).unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        for secret in [ID, "378337", &server.api_key(), "/files/", "127.0.0.1"] {
            // Of the base URL, the host is the origin.
            let text = text.replace("\"origin\": \"127.0.0.1\"", "");
            assert!(!text.contains(secret), "{secret} in {}: {text}", name.display());
        }
        let fixture = Fixture::from_json(&bytes).unwrap();
        let (request, response) = fixture.exchanges().remove(0);
        assert!(Contract::resolved().check_request(&request).is_conforming());
        assert_eq!(Contract::resolved().check_response(&request, &response).verdict(), Verdict::Conforming);
    }
    // The folder cannot be created.
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let (code, text) =
        shown(&run_at(&server, &["contract", "record", ID, "--output", file.to_str().unwrap()]));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("cannot make the folder"), "{text}");
}

/// The whole response to a request without a body.
fn get(address: &str, target: &str, header: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nhost: {address}\r\n{header}connection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_sandbox_reads_scenarios_logs_requests_and_shows_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scenarios.toml");
    let scenarios = "api_key = \"MARKER-key\"\n[[job]]\nid = \"mine\"\nwhat = \"fails <at once>\"\nend = \"failed\"\n\
                     error = { code = 1015, reason = \"no voice\" }\n\
                     [[fault]]\non = \"polls\"\nwhat = \"http-503\"\n";
    fs::write(&path, scenarios).unwrap();
    let args = ["sandbox", "--json", "--listen", "localhost:0", "--scenarios", path.to_str().unwrap()];
    let mut sandbox = Serving::start(akool(&args));
    let poll = "/api/open/v3/content/video/infobymodelid?video_model_id=mine&extra=MARKER";
    let first = get(&sandbox.address, poll, "x-api-key: MARKER-key\r\n");
    assert!(first.starts_with("HTTP/1.1 503"), "{first}");
    let second = get(&sandbox.address, poll, "x-api-key: MARKER-key\r\n");
    assert!(second.contains("\"error_reason\":\"no voice\""), "{second}");
    let page = get(&sandbox.address, "/", "");
    assert!(page.contains("content-security-policy: default-src 'none'"), "{page}");
    for expected in [
        "mine",
        "fails &lt;at once&gt;",
        "failed, 1015 no voice",
        "2 requests",
        "\"Polls\">2<",
        "/query/extra",
    ] {
        assert!(page.contains(expected), "{expected}\n{page}");
    }
    assert!(!page.contains("MARKER"), "{page}");

    let first = sandbox.object();
    assert_eq!((&first["event"], &first["http_status"]), (&"request".into(), &503.into()));
    let second = sandbox.object();
    assert_eq!(second["message"], "failed, 1015 no voice");
    assert!(second["violation"].as_str().unwrap().contains("/query/extra"), "{second}");
}

#[cfg(unix)]
#[test]
fn servers_end_as_they_should_on_a_signal_right_after_their_first_line() {
    for command in ["sandbox", "webhook listen"] {
        let args: Vec<_> = command.split(' ').chain(["--listen", "localhost:0", "--json"]).collect();
        let mut program = akool(&args);
        program.env("AKOOL_CLIENT_ID", "client-7").env("AKOOL_CLIENT_SECRET", "secret-of-24-bytes-12345");
        assert_eq!(Serving::start(program).stop().1, 0, "{command}");
    }
}

#[test]
fn an_error_in_a_scenario_file_is_reported_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scenarios.toml");
    fs::write(&path, "[[job]]\nid = \"a\"\nend = \"done\"\n").unwrap();
    let run = |args: &[&str]| shown(&akool(args).output().unwrap());
    let (code, text) = run(&["sandbox", "--listen", "127.0.0.1:0", "--scenarios", path.to_str().unwrap()]);
    assert_eq!(code, 2);
    assert!(text.contains("scenarios.toml: line 3: "), "{text}");
    assert!(text.contains("end = \"done\"") && text.contains("\"done\" is not a status"), "{text}");
    let (code, text) = run(&["sandbox", "--scenarios", "/nonexistent.toml"]);
    assert_eq!(code, 2);
    assert!(text.contains("cannot read /nonexistent.toml"), "{text}");
    let (code, text) = run(&["sandbox", "--listen", "nowhere"]);
    assert_eq!(code, 2);
    assert!(text.contains("write it as 127.0.0.1:4010 or localhost:4010"), "{text}");
}
