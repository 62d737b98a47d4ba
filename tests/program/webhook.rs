//! `akool webhook`: receives messages, and verifies saved ones.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::{Output, Stdio},
    time::{Duration, SystemTime},
};

use akool_mock::{MockServer, Timeline, Times, WebhookFault};

use crate::support::{ID, Program, Serving, akool, akool_at, code, stderr, stdout};

const SECRET: &str = "MARKER-secret-24-bytes!!";

fn akool_as_client(args: &[&str]) -> Program {
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

/// The exit code, stdout and stderr, neither of which has the secret.
fn shown(output: &Output) -> (i32, String, String) {
    let (out, errors) = (stdout(output), stderr(output));
    assert!(!out.contains("MARKER") && !errors.contains("MARKER"), "{out}{errors}");
    (code(output), out, errors)
}

fn verify(body: &[u8], more: &[&str]) -> (i32, String, String) {
    let args = [&["webhook", "verify"], more].concat();
    let mut command = akool_as_client(&args);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(body).unwrap();
    shown(&child.wait_with_output().unwrap())
}

/// The whole response to these bytes.
fn send(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    // The server may respond before everything was sent.
    let _ = stream.write_all(bytes);
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response);
    String::from_utf8(response).unwrap()
}

fn post(address: &str, body: &[u8]) -> String {
    let head = format!("POST /any/path HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    send(address, &[head.as_bytes(), body].concat())
}

#[test]
fn connections_that_send_nothing_do_not_delay_messages_for_long() {
    let listening = Serving::start(akool_as_client(&LISTEN));
    let connect = |sent: &[u8]| {
        let mut stream = TcpStream::connect(&listening.address).unwrap();
        stream.write_all(sent).unwrap();
        stream
    };
    // As many as are served at a time: half of them without a head, half without a body.
    let idle: Vec<_> = (0..64)
        .map(|number| match number % 2 {
            0 => connect(b"POST / HTTP/1.1\r\n"),
            _ => connect(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n"),
        })
        .collect();
    let began = std::time::Instant::now();
    assert!(post(&listening.address, message(0, DONE).as_bytes()).starts_with("HTTP/1.1 200"));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    drop(idle);
}

const DONE: &str = r#"{"_id":"a","status":3,"url":"https://x/v?Signature=MARKER"}"#;

const LISTEN: [&str; 5] = ["webhook", "listen", "--listen", "127.0.0.1:0", "--json"];

#[tokio::test]
async fn messages_of_the_mock_server_are_received() {
    let mut listening = Serving::start(akool(&[&["--sandbox"], &LISTEN[..]].concat()));
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
        assert!(akool_at(&server, &["status", id]).output().unwrap().status.success());
        // The stale message is also sent again.
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
fn a_rejection_does_not_reveal_its_reason_to_the_sender() {
    let mut listening = Serving::start(akool_as_client(&LISTEN));
    let good = message(0, DONE);
    let wrong_key = akool_mock::seal("client-7", "another-secret-24-bytes!", now(), &1.into(), DONE).unwrap();
    let wrong_signer = akool_mock::seal("client-8", SECRET, now(), &1.into(), DONE).unwrap();
    let mut answers = Vec::new();
    for (body, expected) in [
        ("", "not a webhook message"),
        ("hello", "not a webhook message"),
        (wrong_key.as_str(), "`dataEncrypt`"),
        (wrong_signer.as_str(), "signature"),
        (&message(10 * 60 * 1000, DONE), "600 s old"),
        (&message(0, "{}"), "does not contain an event"),
        (&" ".repeat(100_000), "limit"),
    ] {
        answers.push(post(&listening.address, body.as_bytes()));
        let object = listening.object();
        assert_eq!(object["event"], "webhook_rejected");
        assert!(object["message"].as_str().unwrap().contains(expected), "{object}");
    }
    // The responses differ only in the date.
    let cut = |answer: &String| answer.split("date:").next().unwrap().to_owned();
    answers.dedup_by_key(|answer| cut(answer));
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers[0].starts_with("HTTP/1.1 400 ") && answers[0].ends_with("\r\n\r\n"), "{answers:?}");

    assert!(send(&listening.address, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").starts_with("HTTP/1.1 405 "));
    send(&listening.address, b"\x16\x03\x01 no http");
    assert!(post(&listening.address, good.as_bytes()).starts_with("HTTP/1.1 200 "));
    assert_eq!(listening.object()["event"], "webhook");
    assert!(
        post(&listening.address, good.as_bytes()).starts_with("HTTP/1.1 200 "),
        "the sender stops repeating it"
    );
    assert!(listening.object()["message"].as_str().unwrap().contains("already received"));
}

#[test]
fn verify_prints_a_valid_message() {
    let event = r#"{"_id":"64dd","status":4,"error_code":1015,"error_reason":"no\u001b[31m speech"}"#;
    let (code, stdout, stderr) = verify(message(1000, event).as_bytes(), &[]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(stdout, "64dd  reported as failed: no [31m speech (error code 1015)\n");

    let old = message(3 * 3600 * 1000, event);
    let (code, stdout, stderr) = verify(old.as_bytes(), &["--json"]);
    assert!(code == 0 && stderr.contains("it is 3h old"), "{stderr}");
    let object: serde_json::Value = serde_json::from_str(&stdout).unwrap();
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
    assert_eq!(shown(&output).0, 0);
}

#[test]
fn verify_reports_what_is_wrong_with_a_message() {
    let event = r#"{"_id":"64dd","status":3}"#;
    let good = message(0, event);
    for (body, more, expected) in [
        (good.replace("1529", "1530"), &[][..], "the signature does not match"),
        (good.clone(), &["--client-id", "client-8"], "is the client id"),
        (String::new(), &[], "pass only the body of the request"),
        (format!("POST / HTTP/1.1\r\n\r\n{good}"), &[], "pass only the body of the request"),
        (" ".repeat(70_000), &[], "larger than 65536 bytes"),
        (message(0, "[]"), &[], "does not contain an event"),
    ] {
        let (code, stdout, stderr) = verify(body.as_bytes(), more);
        assert!(code == 1 && stdout.is_empty() && stderr.contains(expected), "{code} {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn a_missing_id_or_secret_is_reported_with_the_variable_to_set() {
    let run = |command: &mut Program| shown(&command.output().unwrap());
    let verify = || akool(&["webhook", "verify"]);
    for (mut command, expected) in [
        (verify(), "set AKOOL_CLIENT_ID"),
        (akool(&["webhook", "verify", "--client-id", "x"]), "set AKOOL_CLIENT_SECRET"),
        (akool(&["webhook", "verify", "--api-key-file", "x"]), "set AKOOL_CLIENT_SECRET"),
        (akool(&["webhook", "listen", "--listen", "127.0.0.1:0"]), "set AKOOL_CLIENT_ID"),
    ] {
        let (code, stdout, stderr) = run(&mut command);
        assert!(code == 2 && stdout.is_empty() && stderr.contains(expected), "{code} {stderr}");
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
