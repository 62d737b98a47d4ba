//! `akool contract proxy`, in front of servers that send what a test gives them.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::Stdio,
    sync::mpsc,
    thread,
    time::Duration,
};

use akool_mock::{Fault, MockServer, Timeline, Times};
use serde_json::Value;

use crate::support::{ID, Serving, akool, code, end_of, interrupt, objects, snapshots, stderr};

const POLL: &str = "/api/open/v3/content/video/infobymodelid?video_model_id=64dd92c1f0b6684651e90e09";
const CREATE: &str = "/api/open/v3/content/video/createbytranslate";
const VALID: &str = r#"{"code":1000,"msg":"OK","data":{"_id":"64dd92c1f0b6684651e90e09","video_status":2}}"#;

/// A test that waits longer has failed.
const GIVE_UP: Duration = Duration::from_secs(60);

fn proxy(upstream: &str) -> Serving {
    Serving::start(akool(&["contract", "proxy", "--json", "--listen", "127.0.0.1:0", "--upstream", upstream]))
}

/// A server that hands each connection, with the head of its first request, to `serve`.
fn upstream(serve: impl Fn(String, TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let head = head(&mut stream);
            serve(head, stream);
        }
    });
    url
}

/// A server that answers each request with these bytes and closes the connection.
fn answering(response: impl Into<Vec<u8>>) -> String {
    let response = response.into();
    upstream(move |_, mut stream| {
        let _ = stream.write_all(&response);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

/// Everything up to the first empty line.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn json_response(body: &str, header: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{header}content-length: {length}\r\n\r\n{body}"
    )
}

fn connect(proxy: &Serving, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(&proxy.address).unwrap();
    stream.set_read_timeout(Some(GIVE_UP)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn received<T>(channel: &mpsc::Receiver<T>) -> T {
    channel.recv_timeout(GIVE_UP).unwrap()
}

/// The whole response to a request, which must close the connection.
fn send(proxy: &Serving, request: &str) -> String {
    let mut answer = Vec::new();
    connect(proxy, request).read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(proxy: &Serving, target: &str, header: &str) -> String {
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {}\r\nX-API-Key: MARKER-key\r\n{header}Connection: close\r\n\r\n",
        proxy.address
    );
    send(proxy, &request)
}

/// The address of a server that has ended.
fn refused() -> String {
    format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

fn reasons(event: &Value) -> String {
    event["not_validated"].to_string()
}

#[test]
fn requests_and_responses_are_passed_on_unchanged() {
    let (sender, heads) = mpsc::channel();
    let body = r#"{"code":1000,"msg":"OK","data":{"_id":"64dd","video_status":"2"}}"#;
    let response = format!(
        "HTTP/1.1 200 Fine Indeed\r\nX-Second: 2\r\nx-First: 1\r\nContent-Type: application/json\r\nConnection: X-Hop\r\n\
         X-Hop: 1\r\nKeep-Alive: timeout=9\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let server = upstream(move |head, mut stream| {
        sender.send(head).unwrap();
        stream.write_all(response.as_bytes()).unwrap();
    });
    let mut proxy = proxy(&(server.clone() + "/base"));
    let target = "/api/open/v3/content/video/../video/infobymodelid?video_model_id=%41b&&x=[|]";
    let request = format!(
        "GET {target} HTTP/1.1\r\nX-Hop: 1\r\nTE: trailers\r\nAccept-Encoding: zstd\r\nHOST: {}\r\nX-Api-KEY: MARKER-key\r\n\
         Connection: close, X-Hop\r\nx-b: 1\r\nX-a: 2\r\nX-a: 3\r\nUpgrade: websocket\r\n\r\n",
        proxy.address
    );
    let answer = send(&proxy, &request);
    let host = server.trim_start_matches("http://");
    assert_eq!(
        received(&heads),
        format!(
            "GET /base{target} HTTP/1.1\r\nAccept-Encoding: zstd\r\nHOST: {host}\r\nX-Api-KEY: MARKER-key\r\nx-b: 1\r\nX-a: 2\r\n\
             X-a: 3\r\n\r\n"
        )
    );
    assert_eq!(
        answer,
        format!(
            "HTTP/1.1 200 Fine Indeed\r\nX-Second: 2\r\nx-First: 1\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    );
    let event = proxy.object();
    assert_eq!(event["operation"], Value::Null);
    assert_eq!(event["request"]["violations"][0]["rule"], "path");

    get(&proxy, POLL, "");
    let event = proxy.object();
    assert_eq!((&event["operation"], &event["verdict"]), (&"getVideoInfo".into(), &"violating".into()));
    assert_eq!(event["response"]["violations"][0]["pointer"], "/body/data/video_status");
    assert_eq!(event["request"]["violations"].as_array().unwrap().len(), 0);
    let (summary, code) = proxy.stop();
    assert_eq!(code, 9);
    assert_eq!((&summary["exchanges"], &summary["violations"]), (&2.into(), &2.into()));
    assert_eq!(summary["fingerprint"].as_str().unwrap().len(), 16);
}

#[test]
fn both_directions_are_passed_on_while_they_arrive() {
    let (to_server, from_client) = mpsc::channel();
    let (to_client, from_server) = mpsc::channel();
    let server = upstream(move |_, mut stream| {
        let mut half = [0; 4];
        stream.read_exact(&mut half).unwrap();
        to_client.send(half).unwrap();
        stream.read_exact(&mut half).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n").unwrap();
        from_client.recv().unwrap();
        stream.write_all(b"3\r\ntwo\r\n0\r\n\r\n").unwrap();
    });
    let mut proxy = proxy(&server);
    let head = format!("POST {CREATE} HTTP/1.1\r\nhost: {}\r\ncontent-length: 8\r\n", proxy.address);
    let mut client = connect(&proxy, &format!("{head}expect: 100-continue\r\nconnection: close\r\n\r\n"));
    assert!(self::head(&mut client).starts_with("HTTP/1.1 100 "));
    client.write_all(b"half").unwrap();
    assert_eq!(&received(&from_server), b"half");
    client.write_all(b"rest").unwrap();
    assert!(self::head(&mut client).contains("transfer-encoding: chunked"));
    let mut one = [0; 8];
    client.read_exact(&mut one).unwrap();
    assert_eq!(&one, b"3\r\none\r\n");
    to_server.send(()).unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "3\r\ntwo\r\n0\r\n\r\n");
    let event = proxy.object();
    assert!(event["request"]["violations"].to_string().contains("not valid JSON"), "{event}");
    assert!(event["response"]["violations"].to_string().contains("not valid JSON"), "{event}");
}

#[test]
fn bodies_beyond_the_limit_are_passed_on_and_not_validated() {
    let large = "x".repeat(3_000_000);
    let mut proxy = proxy(&answering(json_response(&large, "")));
    let answer = get(&proxy, POLL, "");
    assert!(answer.ends_with(&large));
    let event = proxy.object();
    assert!(reasons(&event).contains("response: its body is larger than 262144 bytes"), "{event}");
    assert_eq!(event["verdict"], "conforming", "of the request");
    let (summary, code) = proxy.stop();
    assert_eq!((&summary["not_validated"], code), (&1.into(), 1), "nothing was validated completely");
}

#[test]
fn a_response_without_a_body_is_passed_on() {
    for (status, drift) in [("204 No Content", true), ("304 Not Modified", true)] {
        let mut proxy = proxy(&answering(format!("HTTP/1.1 {status}\r\nETag: \"x\"\r\n\r\n")));
        let answer = get(&proxy, POLL, "");
        assert_eq!(answer, format!("HTTP/1.1 {status}\r\nETag: \"x\"\r\nconnection: close\r\n\r\n"));
        assert_eq!(proxy.object()["response"]["drift"].as_array().unwrap().len() == 1, drift);
        assert_eq!(proxy.stop().1, 8);
    }
    // A response to HEAD has the length of the body that it does not have.
    let mut proxy = proxy(&answering("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"));
    let answer = send(
        &proxy,
        &format!("HEAD {POLL} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", proxy.address),
    );
    assert_eq!(answer, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\n");
    assert_eq!(proxy.object()["request"]["violations"][0]["rule"], "method");
}

#[test]
fn a_response_that_ends_early_ends_early_for_the_client() {
    let mut proxy = proxy(&answering("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this"));
    let answer = get(&proxy, POLL, "");
    assert!(answer.contains("content-length: 100") && answer.ends_with("only this"), "{answer}");
    let event = proxy.object();
    assert!(reasons(&event).contains("response: the connection was closed before its end"), "{event}");
}

#[test]
fn no_response_is_a_502_with_the_reason() {
    for (server, expected) in [
        (refused(), "cannot connect: Connection refused"),
        (answering(""), "sent no valid response: "),
        (answering("no http at all\r\n\r\n"), "sent no valid response: "),
        (
            answering(format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(600_000))),
            "sent no valid response: ",
        ),
        (
            answering("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
            "the protocol",
        ),
    ] {
        let mut proxy = proxy(&server);
        let answer = get(&proxy, POLL, "");
        assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains(expected), "{answer}");
        let event = proxy.object();
        assert!(event["http_status"] == 502 && reasons(&event).contains(expected), "{event}");
        assert_eq!(proxy.stop().1, 6);
    }
}

#[test]
fn a_client_that_gives_up_is_no_finding() {
    let (sender, arrived) = mpsc::channel();
    let server = upstream(move |_, mut stream| {
        sender.send(()).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let mut proxy = proxy(&server);
    let head = |length| {
        format!("POST {CREATE} HTTP/1.1\r\nhost: {}\r\ncontent-length: {length}\r\n\r\n", proxy.address)
    };
    let waiting = connect(&proxy, &head(0));
    received(&arrived);
    drop(waiting);
    let half = connect(&proxy, &head(10));
    received(&arrived);
    drop(half);
    let events = [proxy.object(), proxy.object()];
    for event in &events {
        assert!(reasons(event).contains("response: "), "{event}");
        assert_eq!(event["response"]["violations"].as_array().unwrap().len(), 0);
    }
    let both = events.map(|event| reasons(&event)).concat();
    assert!(both.contains("the client closed the connection before it arrived"), "{both}");
    assert!(both.contains("request: "), "{both}");
}

#[test]
fn requests_that_are_not_for_the_proxy_are_refused() {
    let mut proxy = proxy(&answering(json_response(VALID, "")));
    let own = proxy.address.clone();
    for (request, status) in [
        (format!("GET {POLL} HTTP/1.1\r\nhost: attacker.example\r\n\r\n"), 403),
        (format!("GET {POLL} HTTP/1.1\r\n\r\n"), 403),
        (format!("GET http://{own}{POLL} HTTP/1.1\r\nhost: {own}\r\n\r\n"), 400),
        ("CONNECT other.example:443 HTTP/1.1\r\nhost: other.example:443\r\n\r\n".to_owned(), 400),
        (format!("OPTIONS * HTTP/1.1\r\nhost: {own}\r\n\r\n"), 400),
    ] {
        let answer = send(&proxy, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}{answer}");
        let event = proxy.object();
        assert!(event["verdict"].is_null() && reasons(&event).contains("not passed on"), "{event}");
    }
    for request in [
        "\x16\x03\x01 no http\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    ] {
        assert!(send(&proxy, request).starts_with("HTTP/1.1 400 "), "{request}");
    }
    let answer = get(&proxy, POLL, "");
    assert!(answer.ends_with(VALID), "{answer}");
}

#[test]
fn a_compressed_response_is_validated_if_it_was_requested() {
    let gzip: &[u8] = &[
        31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 171, 86, 74, 206, 79, 73, 85, 178, 50, 52, 48, 48, 208, 81, 202, 45,
        78, 87, 178, 82, 242, 247, 86, 170, 5, 0, 13, 31, 32, 233, 24, 0, 0, 0,
    ];
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        gzip.len()
    );
    let mut proxy = proxy(&answering([head.as_bytes(), gzip].concat()));
    get(&proxy, POLL, "accept-encoding: br, GZIP;q=0.5\r\n");
    let event = proxy.object();
    // The body is {"code":1000,"msg":"OK"}, which lacks what a success promises.
    assert_eq!(event["response"]["violations"][0]["pointer"], "/body/data", "{event}");
    get(&proxy, POLL, "");
    assert_eq!(proxy.object()["response"]["violations"][0]["rule"], "content-encoding");
}

#[test]
fn credentials_are_never_printed() {
    let body = VALID.replace("\"_id\"", "\"echo\":\"MARKER-key\",\"_id\"");
    let mut proxy = proxy(&answering(json_response(&body, "")));
    // `Serving::object` checks for the marker.
    let answer = get(
        &proxy,
        &format!("{POLL}&api_key=MARKER-query&other=MARKER"),
        "authorization: Bearer MARKER-token\r\n",
    );
    assert!(answer.contains("MARKER-key"), "the client receives everything");
    let event = proxy.object();
    assert!(event["response"]["drift"].to_string().contains("[redacted]"), "{event}");
}

#[test]
fn an_exchange_that_has_not_ended_is_counted_before_the_end() {
    let (sender, arrived) = mpsc::channel();
    let server = upstream(move |_, stream| sender.send(stream).unwrap());
    let proxy = proxy(&server);
    let client = connect(&proxy, &format!("GET {POLL} HTTP/1.1\r\nhost: {}\r\n\r\n", proxy.address));
    let hanging = received(&arrived);
    // The last event is the summary.
    let (summary, code) = proxy.stop();
    assert_eq!(summary["event"], "exchange_summary");
    assert_eq!(
        (&summary["exchanges"], &summary["violations"], code),
        (&1.into(), &1.into(), 9),
        "no credential"
    );
    drop((client, hanging));
}

#[test]
fn a_length_beside_chunks_is_not_passed_on() {
    let (sender, received_head) = mpsc::channel();
    let server = upstream(move |head, mut stream| {
        sender.send(head).unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    });
    let proxy = proxy(&server);
    let answer = send(
        &proxy,
        &format!(
            "POST {CREATE} HTTP/1.1\r\nhost: {}\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\
             connection: close\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            proxy.address
        ),
    );
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.matches("HTTP/1.1").count() == 1, "{answer}");
    let head = received(&received_head);
    assert!(!head.contains("content-length: 5") && head.contains("transfer-encoding: chunked"), "{head}");
}

#[test]
fn many_connections_are_served() {
    let server = refused();
    let proxy = proxy(&server);
    let idle: Vec<_> = (0..100).map(|_| TcpStream::connect(&proxy.address).unwrap()).collect();
    let answers: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = (0..100).map(|_| scope.spawn(|| get(&proxy, POLL, ""))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| answer.starts_with("HTTP/1.1 502 ")));
    let (summary, code) = proxy.stop();
    assert_eq!((&summary["exchanges"], code), (&100.into(), 6));
    drop(idle);
}

#[tokio::test]
async fn the_exit_code_is_the_result_of_all_exchanges() {
    for (fault, wanted) in [(None, 0), (Some(Fault::StatusNumber(7)), 8), (Some(Fault::Html), 9)] {
        let server = MockServer::start().await;
        server.job(ID, Timeline::new().completed());
        if let Some(fault) = fault {
            server.inject(fault, Times::Always);
        }
        let proxy = proxy(&server.url());
        let key = format!("x-api-key: {}\r\n", server.api_key());
        let request =
            format!("GET {POLL} HTTP/1.1\r\nhost: {}\r\n{key}connection: close\r\n\r\n", proxy.address);
        assert!(send(&proxy, &request).starts_with("HTTP/1.1 200 "));
        let (summary, code) = proxy.stop();
        assert_eq!(code, wanted, "{summary}");
        assert_eq!(summary["fingerprint"].is_null(), wanted == 0, "{summary}");
    }
    // No request: a client that does not use the proxy must not pass.
    let proxy = proxy("http://127.0.0.1:9");
    assert_eq!(proxy.stop().1, 1);
}

#[test]
fn findings_and_counts_are_printed_for_people() {
    let args = ["--sandbox", "contract", "proxy", "--listen", "127.0.0.1:0"];
    let mut child = akool(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    stdout.read_line(&mut text).unwrap();
    let url = text.split_once("http://").unwrap().1.split_whitespace().next().unwrap();
    let send = |method: &str, target: &str, body: &str| {
        let mut stream = TcpStream::connect(url).unwrap();
        let key = if method == "HEAD" { "" } else { "x-api-key: sandbox-key-000000000000\r\n" };
        let length = body.len();
        let head = format!("{method} {target} HTTP/1.1\r\nhost: {url}\r\n{key}connection: close\r\n");
        let json = format!("content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}");
        write!(stream, "{head}{json}").unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    };
    send("GET", POLL, "");
    send("POST", CREATE, r#"{"url": 5, "language": "es", "mine": true}"#);
    send("GET", "/elsewhere\u{1b}", "");
    send("GET", "/elsewhere", "");
    interrupt(&child);
    stdout.read_to_string(&mut text).unwrap();
    assert_eq!(end_of(&mut child).code(), Some(9), "{text}");
    snapshots("contract").bind(|| insta::assert_snapshot!("proxy", text));
}

#[test]
fn wrong_usage_is_reported_before_the_proxy_listens() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (options, expected) in [
        (vec!["--upstream", "http://example.com"], "https"),
        (vec!["--upstream", "ftp://x"], "https"),
        (vec!["--upstream", "http://127.0.0.1:1", "--base-url", "http://127.0.0.1:1"], "cannot be used with"),
        (vec!["--upstream", "http://127.0.0.1:1", "--sandbox"], "use only one of"),
        (vec!["--upstream", "http://127.0.0.1:1", "--listen", &taken], "choose another with --listen"),
    ] {
        let output = akool(&[&["contract", "proxy", "--json"], &*options].concat()).output().unwrap();
        assert!(code(&output) == 2 && stderr(&output).contains(expected), "{options:?} {}", stderr(&output));
        assert_eq!(objects(&output).last().unwrap()["kind"], "usage");
    }
}
