//! `akool contract` and the sandbox with scenarios, as processes.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use akool_contract::{Contract, Fixture, Verdict};
use akool_mock::{Fault, MockServer, Polls, Timeline, Times};
use serde_json::Value;

const ID: &str = "64dd92c1f0b6684651e90e09";

/// The program, without anything that this environment says of AKOOL or proxies.
fn akool(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_akool"));
    command.args(args).stdin(Stdio::null()).env("XDG_STATE_HOME", "/nonexistent").env("NO_COLOR", "1");
    let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in variables.filter(|name| name.starts_with("AKOOL_") || name.to_lowercase().ends_with("_proxy"))
    {
        command.env_remove(name);
    }
    command
}

/// The program with the key of a server, and pointed at it.
fn akool_at(server: &MockServer, args: &[&str]) -> Output {
    let mut command = akool(args);
    command.env("AKOOL_API_HOST", server.url()).env("AKOOL_API_KEY", server.api_key());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Exit code, and stdout with stderr.
fn shown(output: &Output) -> (i32, String) {
    let text = text(&output.stdout) + &text(&output.stderr);
    assert!(!text.contains("sandbox-key") && !text.contains("sandbox-signature"), "{text}");
    (output.status.code().unwrap_or(-1), text)
}

async fn server() -> MockServer {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().completed());
    server
}

#[tokio::test]
async fn what_conforms_is_told_with_what_never_came() {
    let server = server().await;
    let (code, text) = shown(&akool_at(&server, &["contract", "check", ID]));
    assert_eq!(code, 0, "{text}");
    assert!(
        text.starts_with(&format!(
            "{ID}  getVideoInfo  conforming\nconforming: 1 answer, 0 violations, 0 new\n"
        )),
        "{text}"
    );
    assert!(text.contains("/body/data/team_id (the field `team_id`)"), "{text}");
    server.assert_polls(ID).count(1).with_api_key(&server.api_key());
}

#[tokio::test]
async fn a_field_that_the_vendor_renamed_is_reported_with_pointer_and_meaning() {
    let server = server().await;
    server.rename_field("/data/video_status", "status");
    let (code, text) = shown(&akool_at(&server, &["contract", "check", ID]));
    assert_eq!(code, 9, "{text}");
    for says in [
        "violation  /body/data/video_status: expected the field `video_status`, came nothing",
        "described at /components/schemas/VideoInfoResult/x-promises/0/then/required",
        "drift      /body/data/status: a field that is not described came, the integer 3",
        "described and missing are `video_status`, ",
        "violating: 1 answer, 1 violation, 1 new",
    ] {
        assert!(text.contains(says), "{says}\n{text}");
    }
    // One that is not promised is new under one name, and missing under the other.
    let server = MockServer::start().await;
    server.job(ID, Timeline::new());
    server.rename_field("/data/progress", "percent");
    let (code, text) = shown(&akool_at(&server, &["contract", "check", ID]));
    assert_eq!(code, 8, "{text}");
    assert!(text.contains("/body/data/percent: a field that is not described came"), "{text}");
    assert!(text.contains("/body/data/progress (the field `progress`)"), "{text}");
}

#[tokio::test]
async fn a_machine_reads_the_same() {
    let server = server().await;
    server.inject(Fault::StatusAsText, Times::Once);
    let output = akool_at(&server, &["contract", "check", ID, "--json"]);
    assert_eq!(shown(&output).0, 9);
    let lines: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let violation = &lines[0]["violations"][0];
    assert_eq!(lines[0]["event"], "contract");
    assert_eq!(lines[0]["id"], ID);
    assert_eq!(lines[0]["verdict"], "violating");
    assert_eq!(violation["pointer"], "/body/data/video_status");
    assert_eq!(violation["rule"], "type");
    assert_eq!(violation["expected"], "an integer");
    assert_eq!(violation["came"], "the string \"3\"");
    assert_eq!(lines[1]["event"], "contract_summary");
    assert_eq!(lines[1]["verdict"], "violating");
    assert!(
        lines[1]["never_came"]
            .as_array()
            .unwrap()
            .iter()
            .any(|never| never["pointer"] == "/body/data/team_id")
    );
}

#[tokio::test]
async fn each_ending_has_its_exit_code() {
    let cases = [
        (Fault::StatusNumber(7), 8),
        (Fault::Code(1299), 8),
        (Fault::DataMissing, 9),
        (Fault::Html, 9),
        (Fault::Http(503), 6),
        (Fault::Code(1005), 6),
        (Fault::Code(1101), 5),
        (Fault::Forgotten, 1),
    ];
    for (fault, wanted) in cases {
        let server = server().await;
        server.inject(fault, Times::Always);
        let (code, text) = shown(&akool_at(&server, &["contract", "check", ID]));
        assert_eq!(code, wanted, "{fault:?}: {text}");
    }
    // Nobody there.
    let server = server().await;
    let mut command = akool(&["contract", "check", ID]);
    command.env("AKOOL_API_HOST", server.url_for(Fault::Refused)).env("AKOOL_API_KEY", "key");
    let (code, text) = shown(&command.output().unwrap());
    assert_eq!(code, 6, "{text}");
    assert!(text.contains("no answer came"), "{text}");
    // Without a credential, and without an id.
    assert_eq!(shown(&akool(&["contract", "check", ID]).output().unwrap()).0, 2);
    assert_eq!(akool(&["contract", "check"]).output().unwrap().status.code(), Some(2));
    // Of several, the worst but an outage counts.
    server.job("other", Timeline::new());
    server.inject(Fault::Code(1014), Times::Once);
    server.rename_field("/data/video_status", "status");
    assert_eq!(shown(&akool_at(&server, &["contract", "check", ID, "other"])).0, 9);
}

#[tokio::test]
async fn the_vendors_own_page_lacks_what_overlays_add() {
    let server = server().await;
    let (code, text) = shown(&akool_at(&server, &["contract", "check", ID, "--documented"]));
    assert_eq!(code, 8, "{text}");
    assert!(text.contains("/body/data/progress: a field that is not described came"), "{text}");
}

#[tokio::test]
async fn what_is_recorded_is_redacted_and_can_be_replayed() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().processing(Polls(1)));
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new");
    let record =
        || akool_at(&server, &["contract", "record", ID, "unknown", "--output", out.to_str().unwrap()]);
    let (code, said) = shown(&record());
    assert_eq!(code, 0, "{said}");
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
        let text = text(&bytes);
        for secret in [ID, "378337", &server.api_key(), "sandbox-signature", "127.0.0.1"] {
            // The origin is the address that was asked.
            let text = text.replace(&server.url(), "");
            assert!(!text.contains(secret), "{secret} in {}: {text}", name.display());
        }
        let fixture = Fixture::from_json(&bytes).unwrap();
        let (request, response) = fixture.exchanges().remove(0);
        assert!(Contract::resolved().check_request(&request).is_conforming());
        assert_eq!(Contract::resolved().check_response(&request, &response).verdict(), Verdict::Conforming);
    }
    // A folder that cannot be.
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let (code, text) =
        shown(&akool_at(&server, &["contract", "record", ID, "--output", file.to_str().unwrap()]));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("cannot make the folder"), "{text}");
}

/// A sandbox that runs until it is dropped.
struct Sandbox {
    child: Child,
    address: String,
    lines: BufReader<std::process::ChildStdout>,
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sandbox(scenarios: &Path) -> Sandbox {
    let args = ["sandbox", "--json", "--listen", "localhost:0", "--scenarios", scenarios.to_str().unwrap()];
    let mut child = akool(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let listening: Value = serde_json::from_str(&line).unwrap();
    let address = listening["url"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    Sandbox { child, address, lines }
}

/// The whole answer to a request without a body.
fn get(address: &str, target: &str, header: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nhost: {address}\r\n{header}connection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_sandbox_takes_its_jobs_from_a_file_logs_each_request_and_shows_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scenarios.toml");
    let scenarios = "api_key = \"MARKER-key\"\n[[job]]\nid = \"mine\"\nwhat = \"fails <at once>\"\nend = \"failed\"\n\
                     error = { code = 1015, reason = \"no voice\" }\n\
                     [[fault]]\non = \"polls\"\nwhat = \"http-503\"\n";
    fs::write(&path, scenarios).unwrap();
    let mut sandbox = sandbox(&path);
    let poll = "/api/open/v3/content/video/infobymodelid?video_model_id=mine&extra=MARKER";
    let first = get(&sandbox.address, poll, "x-api-key: MARKER-key\r\n");
    assert!(first.starts_with("HTTP/1.1 503"), "{first}");
    let second = get(&sandbox.address, poll, "x-api-key: MARKER-key\r\n");
    assert!(second.contains("\"error_reason\":\"no voice\""), "{second}");
    let page = get(&sandbox.address, "/", "");
    assert!(page.contains("content-security-policy: default-src 'none'"), "{page}");
    for says in
        ["mine", "fails &lt;at once&gt;", "failed, 1015 no voice", "2 requests", "2 polls", "/query/extra"]
    {
        assert!(page.contains(says), "{says}\n{page}");
    }
    assert!(!page.contains("MARKER"), "{page}");

    let mut line = String::new();
    let mut next = || {
        line.clear();
        sandbox.lines.read_line(&mut line).unwrap();
        assert!(!line.contains("MARKER"), "{line}");
        serde_json::from_str::<Value>(&line).unwrap()
    };
    let first = next();
    assert_eq!((&first["event"], &first["http_status"]), (&"request".into(), &503.into()));
    let second = next();
    assert_eq!(second["message"], "failed, 1015 no voice");
    assert!(second["violation"].as_str().unwrap().contains("/query/extra"), "{second}");
}

#[test]
fn a_mistake_in_a_file_of_scenarios_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scenarios.toml");
    fs::write(&path, "[[job]]\nid = \"a\"\nend = \"done\"\n").unwrap();
    let run = |args: &[&str]| shown(&akool(args).output().unwrap());
    let (code, text) = run(&["sandbox", "--listen", "127.0.0.1:0", "--scenarios", path.to_str().unwrap()]);
    assert_eq!(code, 2);
    assert!(text.contains("scenarios.toml: TOML parse error at line 3"), "{text}");
    assert!(text.contains("end = \"done\"") && text.contains("\"done\" is no status"), "{text}");
    let (code, text) = run(&["sandbox", "--scenarios", "/nonexistent.toml"]);
    assert_eq!(code, 2);
    assert!(text.contains("cannot read /nonexistent.toml"), "{text}");
    let (code, text) = run(&["sandbox", "--listen", "nowhere"]);
    assert_eq!(code, 2);
    assert!(text.contains("write it as 127.0.0.1:4010 or localhost:4010"), "{text}");
}
