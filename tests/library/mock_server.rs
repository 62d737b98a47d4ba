//! The mock server: its answers match the description unless a test configures otherwise, and it reports requests that
//! do not match.

use std::{
    io::{Read, Write},
    net::TcpStream,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, SystemTime},
};

use akool_contract::{Contract, Fixture, Report, Verdict};
use akool_mock::{Fault, MockServer, Polls, Timeline, Times, sandbox};
use bytes::Bytes;
use http::{Request, Response};
use proptest::prelude::*;
use serde_json::{Value, json};

const POLL: &str = "/api/open/v3/content/video/infobymodelid?video_model_id=64dd";
const CREATE: &str = "/api/open/v3/content/video/createbytranslate";

/// Starts a server for a test in virtual time, which sends no requests over the network.
fn start() -> MockServer {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(MockServer::start())
}

fn poll(server: &MockServer) -> Request<Bytes> {
    Request::get(POLL).header("x-api-key", server.api_key()).body(Bytes::new()).unwrap()
}

fn post(server: &MockServer, path: &str, body: &Value) -> Request<Bytes> {
    let request = Request::post(path).header("x-api-key", server.api_key());
    request.header("content-type", "application/json").body(body.to_string().into()).unwrap()
}

fn send(server: &MockServer, request: &Request<Bytes>, after: Duration) -> (Response<Bytes>, Report) {
    let response = server.respond(request, SystemTime::UNIX_EPOCH + after);
    let report = Contract::resolved().check_response(request, &response);
    (response, report)
}

/// Runs a function that panics, and returns the message.
fn panic_of(run: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("it should have panicked");
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

#[test]
fn every_own_answer_matches_the_description() {
    let server = start();
    server.seed_demo_jobs();
    let mut requests = Vec::new();
    for scenario in sandbox::scenarios() {
        let target = POLL.replace("64dd", scenario.id);
        let request = Request::get(target).header("x-api-key", server.api_key());
        requests.push(request.body(Bytes::new()).unwrap());
    }
    let unknown = POLL.replace("64dd", "nothing");
    requests.push(Request::get(unknown).header("x-api-key", server.api_key()).body(Bytes::new()).unwrap());
    requests.push(Request::get(POLL).header("x-api-key", "wrong").body(Bytes::new()).unwrap());
    let languages = Request::get("/api/open/v3/language/list").header("x-api-key", server.api_key());
    requests.push(languages.body(Bytes::new()).unwrap());
    for body in [
        json!({"url": "https://a.example/a.mp4", "language": "es,fr"}),
        json!({"url": "https://a.example/fail.mp4", "language": "es"}),
        json!({"url": "", "language": "es"}),
    ] {
        requests.push(post(&server, CREATE, &body));
    }
    let secret = server.api_key().to_owned();
    for secret in [secret.as_str(), "wrong"] {
        let body = json!({"clientId": server.client_id(), "clientSecret": secret});
        requests.push(post(&server, "/api/open/v3/getToken", &body));
    }
    server.reject_language("xx", 1003, "no such language");
    requests.push(post(&server, CREATE, &json!({"url": "https://a.example/a.mp4", "language": "xx,es"})));
    requests.push(post(&server, CREATE, &json!({"url": "https://a.example/a.mp4", "language": "xx"})));
    for millis in [0, 500, 1200, 2000, 3000, 4000, 10_000] {
        for request in &requests {
            let (response, report) = send(&server, request, Duration::from_millis(millis));
            let body = String::from_utf8_lossy(response.body()).into_owned();
            let configured = body.contains("\"video_status\":7");
            let wanted = if configured { Verdict::Drifting } else { Verdict::Conforming };
            assert_eq!(report.verdict(), wanted, "{} {}: {report}\n{body}", request.method(), request.uri());
        }
    }
    assert!(server.violations().is_empty(), "{:#?}", server.violations());
}

/// Any JSON that contains names from the description.
fn json_of_any_shape() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(json!(1000)),
        Just(json!("https://user:pw@cdn.example/a?MARKER#é")),
        any::<String>().prop_map(Value::from),
    ];
    let name = prop_oneof![
        prop::sample::select(vec![
            "code",
            "msg",
            "data",
            "_id",
            "video_status",
            "video",
            "audio_splits",
            "token"
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Any exchange gets a report that is short and hides query values, and can be recorded and parsed.
    #[test]
    fn any_exchange_can_be_checked_and_recorded(
        body in prop_oneof![
            json_of_any_shape().prop_map(|body| body.to_string().into_bytes()),
            prop::collection::vec(any::<u8>(), 0..300),
        ],
        path in prop::sample::select(vec![POLL, CREATE, "/api/open/v3/getToken", "/api/open/v3/language/list", "/x"]),
        method in prop::sample::select(vec!["GET", "POST", "PATCH"]),
        status in prop::sample::select(vec![200_u16, 404, 500]),
    ) {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = request.body(body.clone()).unwrap();
        let response = Response::builder().status(status).header("content-type", "application/json");
        let response = response.body(body).unwrap();
        let mut coverage = Contract::resolved().coverage();
        for contract in [Contract::resolved(), Contract::vendored()] {
            for report in [contract.check_request(&request), contract.check_response(&request, &response)] {
                let shown = format!("{report}");
                prop_assert!(!shown.contains("MARKER") && shown.len() < 100_000, "{shown}");
            }
        }
        coverage.record(&request, &response);
        coverage.not_received();
        let mut fixture = Fixture::new("a test");
        fixture.capture(&request, &response);
        let text = fixture.to_json();
        prop_assert!(!text.contains("MARKER"), "{text}");
        prop_assert_eq!(Fixture::from_json(text.as_bytes()).unwrap().exchanges().len(), 1);
    }

    /// Answers to polls are valid for any timeline of documented statuses.
    #[test]
    fn any_timeline_matches_the_description(
        steps in proptest::collection::vec((1..=4_i64, 0..3_u32, any::<bool>()), 0..6),
        end in 0..6_i64,
        polls in 1..20_u64,
    ) {
        let mut timeline = Timeline::new();
        for (status, span, by_polls) in steps {
            timeline = match by_polls {
                true => timeline.status(status, Polls(span)),
                false => timeline.status(status, Duration::from_secs(span.into())),
            };
        }
        timeline = match end {
            0 => timeline.completed(),
            1 => timeline.failed(1015, "a reason"),
            status => timeline.stuck(status - 1),
        };
        let server = start();
        server.job("64dd", timeline);
        let request = poll(&server);
        for second in 0..polls {
            let (_, report) = send(&server, &request, Duration::from_secs(second));
            prop_assert!(report.is_conforming(), "{report}");
        }
        prop_assert!(server.violations().is_empty());
    }
}

#[test]
fn the_contract_detects_every_fault_that_violates_the_description() {
    // The answers under these faults are documented; any header may be added.
    let is_documented = |fault: Fault| {
        matches!(fault, Fault::Code(code) if code != 1299)
            || matches!(fault, Fault::ExpiredJob | Fault::StatusGoesBack | Fault::OversizedHeaders)
    };
    let at_the_answer = Fault::all().into_iter().filter(|fault| {
        let server = start();
        server.job("64dd", Timeline::new());
        let request = poll(&server);
        let before = server.respond(&request, SystemTime::UNIX_EPOCH);
        server.inject(*fault, Times::Once);
        let after = server.respond(&request, SystemTime::UNIX_EPOCH);
        (before.status(), before.headers(), before.body()) != (after.status(), after.headers(), after.body())
    });
    let mut seen = 0;
    for fault in at_the_answer {
        let server = start();
        server.job("64dd", Timeline::new().processing(Polls(5)));
        server.inject(fault, Times::Once);
        let request = poll(&server);
        let (_, report) = send(&server, &request, Duration::ZERO);
        assert_eq!(report.is_conforming(), is_documented(fault), "{fault:?}: {report}");
        assert!(server.violations().is_empty(), "{:?}", server.violations());
        seen += 1;
    }
    assert!(seen > 60, "{seen}");
}

#[tokio::test]
async fn an_invalid_request_fails_the_test_with_the_reason() {
    let cases = [
        (
            "/api/open/v3/content/video/infobymodelid?id=64dd",
            true,
            "/query/video_model_id: expected the parameter `video_model_id`, got nothing",
        ),
        (
            POLL,
            false,
            "expected the header `x-api-key` or `Authorization: Bearer ...`, got no such credential",
        ),
        (
            "/api/open/v3/content/video/infobymodelid?video_model_id=64dd&verbose=1",
            true,
            "/query/verbose: undocumented parameter",
        ),
        ("/api/open/v3/nowhere", true, "no operation matches GET /api/open/v3/nowhere"),
    ];
    for (target, with_key, expected) in cases {
        let server = MockServer::start().await;
        server.job("64dd", Timeline::new());
        let mut request = client().get(format!("{}{target}", server.url()));
        if with_key {
            request = request.header("x-api-key", server.api_key());
        }
        request.send().await.unwrap();
        let message = panic_of(|| drop(server));
        assert!(message.contains(expected), "{message}");
    }
    let server = MockServer::builder().allow_undocumented().start().await;
    let target = format!("{}{POLL}&verbose=1", server.url());
    client().get(target).header("x-api-key", server.api_key()).send().await.unwrap();
    drop(server);
}

#[tokio::test]
async fn a_typo_in_a_creation_is_a_violation() {
    let server = MockServer::start().await;
    let body = json!({"url": "https://a.example/a.mp4", "language": "es", "lip_sync": true});
    let request = client().post(format!("{}{CREATE}", server.url())).header("x-api-key", server.api_key());
    request.header("content-type", "application/json").body(body.to_string()).send().await.unwrap();
    let recorded = &server.exchanges()[0];
    assert_eq!(serde_json::from_slice::<Value>(&recorded.body).unwrap(), body);
    let message = panic_of(|| drop(server));
    assert!(message.contains("/body/lip_sync: undocumented field: the boolean true"), "{message}");
    assert!(message.contains("`lipsync`"), "the message names the documented field: {message}");
}

#[tokio::test]
async fn failed_assertions_list_the_received_requests() {
    let server = MockServer::start().await;
    server.job("64dd", Timeline::new().queueing(Polls(1)));
    for key in [server.api_key(), "MARKER".to_owned()] {
        client().get(server.url() + POLL).header("x-api-key", key).send().await.unwrap();
    }
    server
        .assert_polls("64dd")
        .count(1)
        .with_api_key(&server.api_key())
        .at_least_apart(Duration::from_secs(9));
    server.assert_requests().at_least(2).at_most(2).at_most_apart(Duration::from_secs(60));
    server.assert_downloads("64dd").count(0).without_credentials();

    let shown = |run: &dyn Fn()| {
        let message = panic_of(run);
        assert!(!message.contains("MARKER") && !message.contains(&server.api_key()), "{message}");
        // Times differ from run to run.
        let mut text = String::new();
        for word in message.split_inclusive([' ', '\n']) {
            text.push_str(if word.starts_with("+0.") { "+[time] " } else { word });
        }
        text
    };
    insta::assert_snapshot!(shown(&|| drop(server.assert_polls("64dd").count(4))), @r"
    polls of 64dd: expected 4, received 1
    received polls of 64dd:
        1  +[time]  GET /api/open/v3/content/video/infobymodelid?video_model_id=64dd  with the server's key  -> queued
    received other requests:
        1  +[time]  GET /api/open/v3/content/video/infobymodelid?video_model_id=64dd  with another key  -> code 1101, The token is invalid or has expired
    ");
    insta::assert_snapshot!(shown(&|| drop(server.assert_requests().with_api_key(&server.api_key()))), @r"
    requests: expected each with this API key, but number 2 is different
    received requests:
        1  +[time]  GET /api/open/v3/content/video/infobymodelid?video_model_id=64dd  with the server's key  -> queued
        2  +[time]  GET /api/open/v3/content/video/infobymodelid?video_model_id=64dd  with another key  -> code 1101, The token is invalid or has expired
    ");
    insta::assert_snapshot!(shown(&|| drop(server.assert_creations().at_least(1))), @r"
    creations: expected at least 1, received 0
    received no creations
    received other requests:
        1  +[time]  GET /api/open/v3/content/video/infobymodelid?video_model_id=64dd  with the server's key  -> queued
        2  +[time]  GET /api/open/v3/content/video/infobymodelid?video_model_id=64dd  with another key  -> code 1101, The token is invalid or has expired
    ");
    for run in [
        &(|| drop(server.assert_requests().at_least_apart(Duration::from_secs(3600)))) as &dyn Fn(),
        &|| drop(server.assert_requests().at_most_apart(Duration::ZERO)),
        &|| drop(server.assert_requests().with_token(&server.token())),
        &|| drop(server.assert_requests().without_credentials()),
        &|| drop(server.assert_requests().at_most(1)),
    ] {
        assert!(shown(run).starts_with("requests: expected"));
    }
}

#[tokio::test]
async fn unmet_expectations_are_reported() {
    let server = MockServer::start().await;
    server.job("64dd", Timeline::new());
    server.job("other", Timeline::new());
    server.inject(Fault::Http(503), Times::N(3));
    server.inject_into_files(Fault::Html, Times::Always);
    client().get(server.url() + POLL).header("x-api-key", server.api_key()).send().await.unwrap();
    let message = panic_of(|| server.assert_expectations_met());
    assert_eq!(
        message,
        "akool-mock has unmet expectations:\n  job other was never polled\n  \
         the fault \"HTTP 503 without an envelope\" for polls has not happened 2 more times"
    );
    assert!(format!("{server:?}").contains("job other was never polled"));
    for id in ["64dd", "other", "64dd"] {
        let target = server.url() + &POLL.replace("64dd", id);
        client().get(target).header("x-api-key", server.api_key()).send().await.unwrap();
    }
    server.assert_expectations_met();
}

#[test]
fn a_fault_with_a_probability_affects_the_same_requests_for_the_same_seed() {
    let statuses = |seed| {
        let server = start();
        server.job("64dd", Timeline::new());
        server.inject(Fault::Http(503), Times::WithProbability { percent: 30, seed });
        server.inject(Fault::Http(500), Times::Once);
        let request = poll(&server);
        let polls = (0..1000).map(|_| server.respond(&request, SystemTime::UNIX_EPOCH).status().as_u16());
        polls.collect::<Vec<_>>()
    };
    let one = statuses(7);
    assert_eq!(one, statuses(7));
    assert_ne!(one, statuses(8));
    let count = one.iter().filter(|status| **status == 503).count();
    assert!((230..370).contains(&count), "{count} of 1000");
    assert_eq!(
        one.iter().filter(|status| **status == 500).count(),
        1,
        "a request that the first fault spares gets the next one"
    );
}

#[test]
fn a_renamed_field_is_reported_with_both_names_and_is_not_a_violation() {
    let server = start();
    server.job("64dd", Timeline::new());
    server.rename_field("/data/video_status", "status");
    let request = poll(&server);
    let (_, report) = send(&server, &request, Duration::ZERO);
    assert_eq!(report.violations[0].pointer, "/body/data/video_status");
    assert_eq!(report.drift[0].pointer, "/body/data/status");
    assert!(server.violations().is_empty());
}

#[test]
fn the_contents_of_a_file_can_be_set_for_one_job() {
    let server = start();
    server.job("one", Timeline::new());
    server.job("two", Timeline::new());
    server.file("translated.srt", "for all");
    server.file_of("one", "translated.srt", "for one");
    for (id, wanted) in [("one", "for one"), ("two", "for all")] {
        let target = format!("/files/{id}/translated.srt");
        let request = Request::get(target).body(Bytes::new()).unwrap();
        assert_eq!(server.respond(&request, SystemTime::UNIX_EPOCH).body(), wanted);
    }
}

#[test]
fn recorded_answers_are_replayed_in_order() {
    let request = Request::get(POLL).header("x-api-key", "MARKER").body(Bytes::new()).unwrap();
    let answer = |status: i64, video: &str| {
        let data = json!({"_id": "64dd", "video_status": status, "video": video, "uid": 378_337});
        let body = json!({"code": 1000, "msg": "OK", "data": data}).to_string();
        Response::builder().header("content-type", "application/json").body(body).unwrap()
    };
    let mut fixture = Fixture::new("a test");
    fixture.capture(&request, &answer(2, ""));
    fixture.capture(&request, &answer(3, "https://cdn.example/a.mp4?Signature=MARKER"));

    let server = start();
    server.replay(&Fixture::from_json(fixture.to_json().as_bytes()).unwrap());
    let request = Request::get(POLL.replace("64dd", &format!("{:024x}", 1)));
    let request = request.header("x-api-key", "any").body(Bytes::new()).unwrap();
    let status = || {
        let response = server.respond(&request, SystemTime::UNIX_EPOCH);
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        (body["data"]["video_status"].as_i64(), body["data"]["uid"].as_i64())
    };
    assert_eq!([status(), status(), status()], [(Some(2), Some(1)), (Some(3), Some(1)), (Some(3), Some(1))]);
    assert!(server.violations().is_empty(), "{:?}", server.violations());
}

#[test]
fn endless_answers_keep_sending() {
    let server = start();
    server.job("64dd", Timeline::new());
    for (fault, start, more) in [
        (Fault::DrippingHeaders, "H", "HT"),
        (Fault::DrippingBody, "\r\n\r\n{", "\r\n\r\n{\""),
        (
            Fault::EndlessInformational,
            "HTTP/1.1 103 Early Hints\r\n\r\n",
            "\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n",
        ),
    ] {
        server.inject(fault, Times::Once);
        let address = server.url_for(fault).replace("http://", "");
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let key = server.api_key();
        let request = format!("GET {POLL} HTTP/1.1\r\nhost: {address}\r\nx-api-key: {key}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        for end in [start, more] {
            while !text.ends_with(end) {
                let mut byte = [0];
                stream
                    .read_exact(&mut byte)
                    .unwrap_or_else(|error| panic!("{fault:?}: {error} after {text}"));
                text.push(byte[0].into());
            }
        }
        assert_eq!(text.contains("HTTP/1.1 200 OK\r\n"), fault == Fault::DrippingBody, "{text}");
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[tokio::test]
async fn two_hundred_servers_in_one_process_do_not_affect_each_other() {
    let one = async |number: u32| {
        let server = MockServer::start().await;
        let polls = 1 + number % 5;
        server.job("64dd", Timeline::new().processing(Polls(polls)).completed());
        server.inject(Fault::Http(503), Times::N(number % 3));
        server.set_credits(f64::from(number));
        server.stop_clock();
        server.advance(Duration::from_secs(number.into()));
        let (client, url) = (client(), format!("{}{POLL}", server.url()));
        let mut statuses = Vec::new();
        while statuses.last() != Some(&3) {
            let response = client.get(&url).header("x-api-key", server.api_key()).send().await.unwrap();
            let status = response.status();
            let answer: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default();
            statuses.push(answer["data"]["video_status"].as_i64().unwrap_or(status.as_u16().into()));
        }
        let expected = [vec![503; number as usize % 3], vec![2; polls as usize], vec![3]].concat();
        assert_eq!(statuses, expected, "server {number}");
        assert_eq!((server.exchanges().len(), server.credits()), (expected.len(), number.into()));
        server.assert_expectations_met();
    };
    futures_util::future::join_all((0..200).map(one)).await;
}

#[test]
fn the_description_of_the_control_api_has_every_fault() {
    let description = include_str!("../../openapi/sandbox.yaml");
    // These have an address of their own; the control API cannot inject them.
    let without_connection = [Fault::Refused, Fault::NameNotFound, Fault::TlsFails, Fault::ConnectHangs];
    for fault in Fault::all().into_iter().filter(|fault| !without_connection.contains(fault)) {
        // A fault with a value is a pattern of its own, such as `http-[1-5][0-9]{2}`.
        let has_value = format!("{fault:?}").contains(['(', '{']);
        let name = fault.name();
        let is_listed = ["|", ")$"].iter().any(|end| description.contains(&format!("|{name}{end}")));
        assert!(has_value || is_listed, "{name} is not in the pattern of `fault` in openapi/sandbox.yaml");
    }
}
