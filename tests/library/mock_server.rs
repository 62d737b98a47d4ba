//! That the mock server can be trusted: its answers are as described, it tells who does not keep to the
//! description, and what is outside of it was asked for by name.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, SystemTime},
};

use akool_contract::{Contract, Fixture, Report, Verdict};
use akool_mock::{Fault, MockServer, Polls, ServiceState, Timeline, Times, sandbox};
use bytes::Bytes;
use http::{Request, Response};
use proptest::prelude::*;
use serde_json::{Value, json};

const POLL: &str = "/api/open/v3/content/video/infobymodelid?video_model_id=64dd";
const CREATE: &str = "/api/open/v3/content/video/createbytranslate";

fn poll(machine: &ServiceState) -> Request<Bytes> {
    Request::get(POLL).header("x-api-key", machine.api_key()).body(Bytes::new()).unwrap()
}

fn post(machine: &ServiceState, path: &str, body: &Value) -> Request<Bytes> {
    let request = Request::post(path).header("x-api-key", machine.api_key());
    request.header("content-type", "application/json").body(body.to_string().into()).unwrap()
}

fn ask(machine: &mut ServiceState, request: &Request<Bytes>, after: Duration) -> (Response<Bytes>, Report) {
    let response = machine.respond(request, SystemTime::UNIX_EPOCH + after);
    let report = Contract::resolved().check_response(request, &response);
    (response, report)
}

/// What a panic says.
fn panic_of(run: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("it should have panicked");
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

#[test]
fn every_answer_of_its_own_is_as_described() {
    let mut machine = ServiceState::new("http://127.0.0.1:1");
    sandbox::seed_demo_jobs(&mut machine);
    let mut requests = Vec::new();
    for scenario in sandbox::scenarios() {
        let target = POLL.replace("64dd", scenario.id);
        let request = Request::get(target).header("x-api-key", machine.api_key());
        requests.push(request.body(Bytes::new()).unwrap());
    }
    let unknown = POLL.replace("64dd", "nothing");
    requests.push(Request::get(unknown).header("x-api-key", machine.api_key()).body(Bytes::new()).unwrap());
    requests.push(Request::get(POLL).header("x-api-key", "wrong").body(Bytes::new()).unwrap());
    let languages = Request::get("/api/open/v3/language/list").header("x-api-key", machine.api_key());
    requests.push(languages.body(Bytes::new()).unwrap());
    for body in [
        json!({"url": "https://a.example/a.mp4", "language": "es,fr"}),
        json!({"url": "https://a.example/fail.mp4", "language": "es"}),
        json!({"url": "", "language": "es"}),
    ] {
        requests.push(post(&machine, CREATE, &body));
    }
    let secret = machine.api_key().to_owned();
    for secret in [secret.as_str(), "wrong"] {
        let body = json!({"clientId": machine.client_id(), "clientSecret": secret});
        requests.push(post(&machine, "/api/open/v3/getToken", &body));
    }
    machine.refuse_language("xx", 1003, "no such language");
    requests.push(post(&machine, CREATE, &json!({"url": "https://a.example/a.mp4", "language": "xx,es"})));
    requests.push(post(&machine, CREATE, &json!({"url": "https://a.example/a.mp4", "language": "xx"})));
    // At the beginning, on the way and at the end.
    for millis in [0, 500, 1200, 2000, 3000, 4000, 10_000] {
        for request in &requests {
            let (response, report) = ask(&mut machine, request, Duration::from_millis(millis));
            let body = String::from_utf8_lossy(response.body()).into_owned();
            let asked_for = body.contains("\"video_status\":7");
            let wanted = if asked_for { Verdict::Drifting } else { Verdict::Conforming };
            assert_eq!(report.verdict(), wanted, "{} {}: {report}\n{body}", request.method(), request.uri());
        }
    }
    assert!(machine.violations().is_empty(), "{:#?}", machine.violations());
}

/// Any JSON, with the description's own names in it.
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
    /// Whatever comes is judged, shown in short, and can be kept and read again.
    #[test]
    fn nothing_that_comes_breaks_the_check(
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
        for contract in [Contract::resolved(), Contract::described()] {
            for report in [contract.check_request(&request), contract.check_response(&request, &response)] {
                let shown = format!("{report}");
                prop_assert!(!shown.contains("MARKER") && shown.len() < 100_000, "{shown}");
            }
        }
        coverage.see(&request, &response);
        coverage.never_came();
        let mut fixture = Fixture::new("a test");
        fixture.capture(&request, &response);
        let text = fixture.to_json();
        prop_assert!(!text.contains("MARKER"), "{text}");
        prop_assert_eq!(Fixture::from_json(text.as_bytes()).unwrap().exchanges().len(), 1);
    }

    /// Whatever a job lives through, of what is documented.
    #[test]
    fn any_timeline_is_as_described(
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
        let mut machine = ServiceState::new("http://127.0.0.1:1");
        machine.job("64dd", timeline);
        let request = poll(&machine);
        for second in 0..polls {
            let (_, report) = ask(&mut machine, &request, Duration::from_secs(second));
            prop_assert!(report.is_conforming(), "{report}");
        }
        prop_assert!(machine.violations().is_empty());
    }
}

#[test]
fn what_a_fault_makes_of_an_answer_is_seen_by_the_contract() {
    // These leave an answer as described: the business codes, and what happens to the connection.
    let described = |fault: Fault| {
        matches!(fault, Fault::Code(code) if code != 1299)
            || matches!(fault, Fault::Forgotten | Fault::StatusGoesBack)
    };
    let at_the_answer = Fault::all().into_iter().filter(|fault| {
        let mut machine = ServiceState::new("http://127.0.0.1:1");
        machine.job("64dd", Timeline::new());
        let request = poll(&machine);
        let before = machine.respond(&request, SystemTime::UNIX_EPOCH);
        machine.inject(*fault, Times::Once);
        let after = machine.respond(&request, SystemTime::UNIX_EPOCH);
        (before.status(), before.headers(), before.body()) != (after.status(), after.headers(), after.body())
    });
    let mut seen = 0;
    for fault in at_the_answer {
        let mut machine = ServiceState::new("http://127.0.0.1:1");
        machine.job("64dd", Timeline::new().processing(Polls(5)));
        machine.inject(fault, Times::Once);
        let request = poll(&machine);
        let (_, report) = ask(&mut machine, &request, Duration::ZERO);
        assert_eq!(report.is_conforming(), described(fault), "{fault:?}: {report}");
        assert!(machine.violations().is_empty(), "it was asked for: {:?}", machine.violations());
        seen += 1;
    }
    assert!(seen > 60, "{seen}");
}

#[tokio::test]
async fn a_request_that_is_not_as_described_fails_the_test_with_the_reason() {
    let cases = [
        (
            "/api/open/v3/content/video/infobymodelid?id=64dd",
            true,
            "/query/video_model_id: expected the parameter `video_model_id`, came nothing",
        ),
        (
            POLL,
            false,
            "expected the header `x-api-key` or `Authorization: Bearer ...`, came no such credential",
        ),
        (
            "/api/open/v3/content/video/infobymodelid?video_model_id=64dd&verbose=1",
            true,
            "/query/verbose: a parameter that is not described came",
        ),
        ("/api/open/v3/nowhere", true, "nothing here answers GET /api/open/v3/nowhere"),
    ];
    for (target, with_key, says) in cases {
        let server = MockServer::start().await;
        server.job("64dd", Timeline::new());
        let mut request = client().get(format!("{}{target}", server.url()));
        if with_key {
            request = request.header("x-api-key", server.api_key());
        }
        request.send().await.unwrap();
        let said = panic_of(|| drop(server));
        assert!(said.contains(says), "{said}");
    }
    // Asked for by name.
    let server = MockServer::builder().allow_undocumented().start().await;
    let target = format!("{}{POLL}&verbose=1", server.url());
    client().get(target).header("x-api-key", server.api_key()).send().await.unwrap();
    drop(server);
}

#[tokio::test]
async fn a_typo_in_a_creation_is_told() {
    let server = MockServer::start().await;
    let body = json!({"url": "https://a.example/a.mp4", "language": "es", "lip_sync": true});
    let request = client().post(format!("{}{CREATE}", server.url())).header("x-api-key", server.api_key());
    request.header("content-type", "application/json").body(body.to_string()).send().await.unwrap();
    let recorded = &server.exchanges()[0];
    assert_eq!(serde_json::from_slice::<Value>(&recorded.body).unwrap(), body);
    let said = panic_of(|| drop(server));
    assert!(said.contains("/body/lip_sync: a field that is not described came, the boolean true"), "{said}");
    assert!(said.contains("`lipsync`"), "the reader sees what was meant: {said}");
}

#[tokio::test]
async fn assertions_say_what_came() {
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
        let said = panic_of(run);
        assert!(!said.contains("MARKER") && !said.contains(&server.api_key()), "{said}");
        // Times differ from run to run.
        let mut text = String::new();
        for word in said.split_inclusive([' ', '\n']) {
            text.push_str(if word.starts_with("+0.") { "+[time] " } else { word });
        }
        text
    };
    insta::assert_snapshot!(shown(&|| drop(server.assert_polls("64dd").count(4))), @r"
    polls 64dd: expected 4, came 1
    polls 64dd that came:
        1  +[time]  GET /api/open/v3/content/video/infobymodelid?video_model_id=64dd  with the server's key  -> queueing
    other requests that came:
        1  +[time]  GET /api/open/v3/content/video/infobymodelid?video_model_id=64dd  with another key  -> code 1101, The token is invalid or has expired
    ");
    insta::assert_snapshot!(shown(&|| drop(server.assert_requests().with_api_key(&server.api_key()))), @r"
    requests: expected each with this API key, number 2 came otherwise
    requests that came:
        1  +[time]  GET /api/open/v3/content/video/infobymodelid?video_model_id=64dd  with the server's key  -> queueing
        2  +[time]  GET /api/open/v3/content/video/infobymodelid?video_model_id=64dd  with another key  -> code 1101, The token is invalid or has expired
    ");
    insta::assert_snapshot!(shown(&|| drop(server.assert_creations().at_least(1))), @r"
    requests that create: expected 1 or more, came 0
    no requests that create came
    other requests that came:
        1  +[time]  GET /api/open/v3/content/video/infobymodelid?video_model_id=64dd  with the server's key  -> queueing
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
async fn what_was_never_asked_is_told() {
    let server = MockServer::start().await;
    server.job("64dd", Timeline::new());
    server.job("other", Timeline::new());
    server.inject(Fault::Http(503), Times::Times(3));
    server.inject_into_files(Fault::Html, Times::Always);
    client().get(server.url() + POLL).header("x-api-key", server.api_key()).send().await.unwrap();
    let said = panic_of(|| server.assert_expectations_met());
    assert_eq!(
        said,
        "akool-mock never received:\n  a poll job other\n  \
         a request (poll) for the fault \"HTTP 503 without an envelope\", 2 more"
    );
    assert!(format!("{server:?}").contains("a poll job other"));
    for id in ["64dd", "other", "64dd"] {
        let target = server.url() + &POLL.replace("64dd", id);
        client().get(target).header("x-api-key", server.api_key()).send().await.unwrap();
    }
    server.assert_expectations_met();
}

#[test]
fn a_fault_by_chance_strikes_the_same_requests_for_the_same_seed() {
    let struck = |seed| {
        let mut machine = ServiceState::new("http://127.0.0.1:1");
        machine.job("64dd", Timeline::new());
        machine.inject(Fault::Http(503), Times::WithProbability { percent: 30, seed });
        machine.inject(Fault::Http(500), Times::Once);
        let request = poll(&machine);
        let statuses = (0..1000).map(|_| machine.respond(&request, SystemTime::UNIX_EPOCH).status().as_u16());
        statuses.collect::<Vec<_>>()
    };
    let one = struck(7);
    assert_eq!(one, struck(7));
    assert_ne!(one, struck(8));
    let count = one.iter().filter(|status| **status == 503).count();
    assert!((230..370).contains(&count), "{count} of 1000");
    assert_eq!(one.iter().filter(|status| **status == 500).count(), 1, "the next fault has its turn");
}

#[test]
fn a_renamed_field_is_reported_under_both_names_and_is_no_fault_of_the_stand_in() {
    let mut machine = ServiceState::new("http://127.0.0.1:1");
    machine.job("64dd", Timeline::new());
    machine.rename_field("/data/video_status", "status");
    let request = poll(&machine);
    let (_, report) = ask(&mut machine, &request, Duration::ZERO);
    assert_eq!(report.violations[0].pointer, "/body/data/video_status");
    assert_eq!(report.drift[0].pointer, "/body/data/status");
    assert!(machine.violations().is_empty());
}

#[test]
fn a_files_contents_can_be_set_for_one_job() {
    let mut machine = ServiceState::new("http://127.0.0.1:1");
    machine.job("one", Timeline::new());
    machine.job("two", Timeline::new());
    machine.file("translated.srt", "for all");
    machine.file_of("one", "translated.srt", "for one");
    for (id, wanted) in [("one", "for one"), ("two", "for all")] {
        let target = format!("/files/{id}/translated.srt?Signature=sandbox-signature");
        let request = Request::get(target).body(Bytes::new()).unwrap();
        assert_eq!(machine.respond(&request, SystemTime::UNIX_EPOCH).body(), wanted);
    }
}

#[test]
fn a_recorded_exchange_is_answered_as_it_was() {
    let request = Request::get(POLL).header("x-api-key", "MARKER").body(Bytes::new()).unwrap();
    let answer = |status: i64, video: &str| {
        let data = json!({"_id": "64dd", "video_status": status, "video": video, "uid": 378_337});
        let body = json!({"code": 1000, "msg": "OK", "data": data}).to_string();
        Response::builder().header("content-type", "application/json").body(body).unwrap()
    };
    let mut fixture = Fixture::new("a test");
    fixture.capture(&request, &answer(2, ""));
    fixture.capture(&request, &answer(3, "https://cdn.example/a.mp4?Signature=MARKER"));

    let mut machine = ServiceState::new("http://127.0.0.1:1");
    machine.replay(&Fixture::from_json(fixture.to_json().as_bytes()).unwrap());
    let request = Request::get(POLL.replace("64dd", &format!("{:024x}", 1)));
    let request = request.header("x-api-key", "any").body(Bytes::new()).unwrap();
    let mut status = || {
        let response = machine.respond(&request, SystemTime::UNIX_EPOCH);
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        (body["data"]["video_status"].as_i64(), body["data"]["uid"].as_i64())
    };
    assert_eq!([status(), status(), status()], [(Some(2), Some(1)), (Some(3), Some(1)), (Some(3), Some(1))]);
    assert!(machine.violations().is_empty(), "{:?}", machine.violations());
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}
