//! `akool webhook` as a process.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::{Duration, SystemTime},
};

use akool_mock::{MockServer, Timeline, Times, WebhookFault};
use serde_json::Value;

const ID: &str = "64dd92c1f0b6684651e90e09";
const SECRET: &str = "MARKER-secret-24-bytes!!";

/// The program, without anything that this environment says of AKOOL.
fn akool(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_akool"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for variable in
        ["AKOOL_API_KEY", "AKOOL_TOKEN", "AKOOL_API_HOST", "AKOOL_CLIENT_ID", "AKOOL_CLIENT_SECRET"]
    {
        command.env_remove(variable);
    }
    command.env_remove("RUST_LOG");
    command
}

fn akool_as_client(args: &[&str]) -> Command {
    let mut command = akool(args);
    command.env("AKOOL_CLIENT_ID", "client-7").env("AKOOL_CLIENT_SECRET", SECRET);
    command
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

fn message(age_ms: u64, event: &str) -> String {
    akool_mock::seal("client-7", SECRET, now() - age_ms, &"1529".into(), event).unwrap()
}

/// Its exit code, stdout and stderr; the secret is in neither.
fn shown(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(!stdout.contains("MARKER") && !stderr.contains("MARKER"), "{stdout}{stderr}");
    (output.status.code().unwrap(), stdout, stderr)
}

fn verify(body: &[u8], more: &[&str]) -> (i32, String, String) {
    let args = [&["webhook", "verify"], more].concat();
    let mut child = akool_as_client(&args).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(body).unwrap();
    shown(child.wait_with_output().unwrap())
}

/// `akool webhook listen` on a port of its own, ended when it is dropped.
struct Listening {
    child: Child,
    lines: BufReader<ChildStdout>,
    address: String,
}

impl Listening {
    fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let object: Value = serde_json::from_str(&line).unwrap();
        let address = object["url"].as_str().unwrap().trim_start_matches("http://").trim_end_matches('/');
        Self { child, address: address.to_owned(), lines }
    }

    fn object(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        assert!(!line.contains("MARKER"), "{line}");
        serde_json::from_str(&line).unwrap()
    }

    /// The whole answer to bytes as they are.
    fn send(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        // It may have answered before everything was sent.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    fn post(&self, body: &[u8]) -> String {
        let head = format!("POST /any/path HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
        self.send(&[head.as_bytes(), body].concat())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const LISTEN: [&str; 5] = ["webhook", "listen", "--listen", "127.0.0.1:0", "--json"];

#[tokio::test]
async fn what_the_stand_in_sends_is_received() {
    let mut listening = Listening::start(akool(&[&["--sandbox"], &LISTEN[..]].concat()));
    let (sender, calls) = std::sync::mpsc::channel();
    let builder = MockServer::builder().on_webhook_call(move |call| {
        let _ = sender.send((call.job.clone(), call.answer.unwrap().as_u16()));
    });
    let server = builder.start().await;
    server.inject_into_webhooks(WebhookFault::Stale, Times::Once);
    server.job("stale", Timeline::new());
    server.job(ID, Timeline::new().failed(1015, "no\u{7} speech"));
    for (id, event, answer) in [("stale", "webhook_rejected", 400), (ID, "webhook", 200)] {
        server.webhook(id, format!("http://{}/akool", listening.address));
        let mut poll = akool(&["status", id]);
        poll.env("AKOOL_API_HOST", server.url()).env("AKOOL_API_KEY", server.api_key());
        assert!(poll.output().unwrap().status.success());
        // The stale one is sent again meanwhile.
        let mut objects = std::iter::repeat_with(|| listening.object());
        let object = objects.find(|object| object["event"] == event).unwrap();
        let long = Duration::from_secs(20);
        let mut made = std::iter::repeat_with(|| calls.recv_timeout(long).unwrap());
        assert_eq!(made.find(|(job, _)| job == id).unwrap().1, answer);
        if id == "stale" {
            assert!(object["message"].as_str().unwrap().contains("3600 s old"), "{object}");
        } else {
            assert_eq!((&object["id"], &object["status"]), (&ID.into(), &"failed".into()));
            assert_eq!(
                (&object["error_code"], &object["error_reason"]),
                (&1015.into(), &"no\u{7} speech".into())
            );
        }
    }
}

#[test]
fn the_sender_of_anything_else_learns_nothing() {
    let mut listening = Listening::start(akool_as_client(&LISTEN));
    let done = r#"{"_id":"a","status":3,"url":"https://x/v?Signature=MARKER"}"#;
    let good = message(0, done);
    let wrong_key = akool_mock::seal("client-7", "another-secret-24-bytes!", now(), &1.into(), done).unwrap();
    let wrong_signer = akool_mock::seal("client-8", SECRET, now(), &1.into(), done).unwrap();
    let mut answers = Vec::new();
    for (body, says) in [
        ("", "not a webhook message"),
        ("hello", "not a webhook message"),
        (wrong_key.as_str(), "`dataEncrypt`"),
        (wrong_signer.as_str(), "signature"),
        (&message(10 * 60 * 1000, done), "600 s old"),
        (&message(0, "{}"), "does not contain an event"),
        (&" ".repeat(100_000), "limit"),
    ] {
        answers.push(listening.post(body.as_bytes()));
        let object = listening.object();
        assert_eq!(object["event"], "webhook_rejected");
        assert!(object["message"].as_str().unwrap().contains(says), "{object}");
    }
    // But for the date, which is cut off here.
    let cut = |answer: &String| answer.split("date:").next().unwrap().to_owned();
    answers.dedup_by_key(|answer| cut(answer));
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers[0].starts_with("HTTP/1.1 400 ") && answers[0].ends_with("\r\n\r\n"), "{answers:?}");

    assert!(listening.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").starts_with("HTTP/1.1 405 "));
    listening.send(b"\x16\x03\x01 no http");
    assert!(listening.post(good.as_bytes()).starts_with("HTTP/1.1 200 "));
    assert_eq!(listening.object()["event"], "webhook");
    assert!(listening.post(good.as_bytes()).starts_with("HTTP/1.1 200 "), "its sender is to stop");
    assert!(listening.object()["message"].as_str().unwrap().contains("already received"));
}

#[test]
fn a_saved_message_is_checked() {
    let event = r#"{"_id":"64dd","status":4,"error_code":1015,"error_reason":"no\u001b[31m speech"}"#;
    let (code, stdout, stderr) = verify(message(1000, event).as_bytes(), &[]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(stdout, "64dd  is said to be failed: no [31m speech (error code 1015)\n");

    let old = message(3 * 3600 * 1000, event);
    let (code, stdout, stderr) = verify(old.as_bytes(), &["--json"]);
    assert!(code == 0 && stderr.contains("it is 3h old"), "{stderr}");
    let object: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (&object["event"], &object["id"], &object["status_code"]),
        (&"webhook".into(), &"64dd".into(), &4.into())
    );
    let (code, _, stderr) = verify(old.as_bytes(), &["--max-age", "1h"]);
    assert!(code == 1 && stderr.contains("10800 s old"), "{stderr}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("message.json");
    std::fs::write(&file, message(0, event)).unwrap();
    let output = akool_as_client(&["webhook", "verify", file.to_str().unwrap()]).output().unwrap();
    assert_eq!(shown(output).0, 0);
}

#[test]
fn what_is_wrong_with_a_saved_message_is_said() {
    let event = r#"{"_id":"64dd","status":3}"#;
    let good = message(0, event);
    for (body, more, says) in [
        (good.replace("1529", "1530"), &[][..], "the signature does not match"),
        (good.clone(), &["--client-id", "client-8"], "is the client id"),
        (String::new(), &[], "give the request's body alone"),
        (format!("POST / HTTP/1.1\r\n\r\n{good}"), &[], "give the request's body alone"),
        (" ".repeat(70_000), &[], "larger than 65536 bytes"),
        (message(0, "[]"), &[], "does not contain an event"),
    ] {
        let (code, stdout, stderr) = verify(body.as_bytes(), more);
        assert!(code == 1 && stdout.is_empty() && stderr.contains(says), "{code} {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn without_id_and_secret_it_says_what_to_set() {
    let run = |command: &mut Command| shown(command.output().unwrap());
    let verify = || akool(&["webhook", "verify"]);
    for (mut command, says) in [
        (verify(), "set AKOOL_CLIENT_ID"),
        (akool(&["webhook", "verify", "--client-id", "x"]), "set AKOOL_CLIENT_SECRET"),
        (akool(&["webhook", "verify", "--api-key-file", "x"]), "set AKOOL_CLIENT_SECRET"),
        (akool(&["webhook", "listen", "--listen", "127.0.0.1:0"]), "set AKOOL_CLIENT_ID"),
    ] {
        let (code, stdout, stderr) = run(&mut command);
        assert!(code == 2 && stdout.is_empty() && stderr.contains(says), "{code} {stderr}");
    }
    let (code, _, stderr) = run(verify().env("AKOOL_CLIENT_ID", "x").env("AKOOL_CLIENT_SECRET", "MARKER"));
    assert!(code == 2 && stderr.contains("16, 24 or 32 bytes"), "{stderr}");
    let (code, ..) = run(verify().env("AKOOL_CLIENT_ID", "x").env("AKOOL_API_KEY", SECRET));
    assert_eq!(code, 1, "an empty message, but a key");
    let (code, _, stderr) = run(&mut akool_as_client(&["webhook", "verify", "/nowhere/message"]));
    assert!(code == 2 && stderr.contains("cannot read /nowhere/message"), "{stderr}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, stderr) = run(&mut akool_as_client(&["webhook", "listen", "--listen", &address]));
    assert!(code == 2 && stderr.contains("choose another with --listen"), "{stderr}");
}
