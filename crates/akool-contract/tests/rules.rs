//! Breaks each rule once and checks the report.
#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::{path::Path, sync::LazyLock};

use akool_contract::{Contract, DriftKind, Report, Verdict};
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

const POLL: &str = "/api/open/v3/content/video/infobymodelid?video_model_id=64dd";

/// The description from which the contract is generated.
static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi/akool.resolved.yaml");
    openapi_keeper::description::read(&path).unwrap()
});

fn poll() -> Request<Vec<u8>> {
    Request::get(POLL).header("x-api-key", "key").body(Vec::new()).unwrap()
}

/// The documented response.
fn documented() -> Value {
    DESCRIPTION["paths"]["/api/open/v3/content/video/infobymodelid"]["get"]["responses"]["200"]["content"]
        ["application/json"]["example"]
        .clone()
}

fn response(body: impl Into<Vec<u8>>) -> Response<Vec<u8>> {
    Response::builder().header("content-type", "application/json; charset=utf-8").body(body.into()).unwrap()
}

fn check(body: &Value) -> Report {
    Contract::resolved().check_response(&poll(), &response(body.to_string()))
}

/// The report on the documented response with one value changed or removed.
fn changed(pointer: &str, value: Option<Value>) -> Report {
    let mut body = documented();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = body.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => drop(parent.insert(name.to_owned(), value)),
        None => drop(parent.remove(name).unwrap()),
    }
    check(&body)
}

/// The only violation of a report: pointer, rule, expected and place in the description.
fn only(report: &Report) -> (&str, &str, &str, &str) {
    assert_eq!(report.violations.len(), 1, "{report}");
    let violation = &report.violations[0];
    assert!(
        DESCRIPTION.pointer(&violation.spec_pointer).is_some(),
        "{} is not in the description",
        violation.spec_pointer
    );
    (&violation.pointer, &violation.rule, &violation.expected, &violation.spec_pointer)
}

#[test]
fn the_documented_response_conforms() {
    let report = check(&documented());
    assert!(report.is_conforming(), "{report}");
    assert_eq!(report.operation.as_deref(), Some("getVideoInfo"));
    assert_eq!(report.to_string(), "conforming");
    let report = Contract::vendored().check_response(&poll(), &response(documented().to_string()));
    assert!(report.is_conforming(), "{report}");
    assert!(Contract::resolved().check_request(&poll()).is_conforming());
}

#[test]
fn an_error_envelope_conforms_and_an_unknown_code_is_drift() {
    let report = check(&json!({ "code": 1008, "msg": "The content does not exist" }));
    assert!(report.is_conforming(), "{report}");
    let report = check(&json!({ "code": 1299, "msg": "?" }));
    assert_eq!(report.verdict(), Verdict::Drifting);
    assert_eq!(
        (report.drift[0].kind, report.drift[0].pointer.as_str()),
        (DriftKind::UnknownValue, "/body/code")
    );
}

#[test]
fn each_broken_rule_of_a_body_is_reported_with_its_place() {
    let info = "/components/schemas/VideoInfoResult";
    let schema = "/paths/~1api~1open~1v3~1content~1video~1infobymodelid/get/responses/200/content/application~1json/schema";
    let cases = [
        (
            "/code",
            None,
            "/body/code",
            "required",
            "the field `code`",
            "/components/schemas/ApiResponse/required".to_owned(),
        ),
        (
            "/msg",
            Some(json!(5)),
            "/body/msg",
            "type",
            "a string",
            "/components/schemas/ApiResponse/properties/msg/type".to_owned(),
        ),
        (
            "/data",
            None,
            "/body/data",
            "required",
            "the field `data`, as promised when `code` is 1000",
            format!("{schema}/x-promises/0/then/required"),
        ),
        ("/data", Some(Value::Null), "/body/data", "type", "an object", format!("{info}/type")),
        ("/data", Some(json!("text")), "/body/data", "type", "an object", format!("{info}/type")),
        ("/data", Some(json!([])), "/body/data", "type", "an object", format!("{info}/type")),
        (
            "/data/_id",
            None,
            "/body/data/_id",
            "required",
            "the field `_id`",
            format!("{info}/x-promises/0/then/required"),
        ),
        (
            "/data/video_status",
            None,
            "/body/data/video_status",
            "required",
            "the field `video_status`",
            format!("{info}/x-promises/0/then/required"),
        ),
        (
            "/data/video_status",
            Some(json!("2")),
            "/body/data/video_status",
            "type",
            "an integer",
            format!("{info}/properties/video_status/type"),
        ),
        (
            "/data/video_status",
            Some(json!(2.0)),
            "/body/data/video_status",
            "type",
            "an integer",
            format!("{info}/properties/video_status/type"),
        ),
        (
            "/data/video_status",
            Some(Value::Null),
            "/body/data/video_status",
            "type",
            "an integer",
            format!("{info}/properties/video_status/type"),
        ),
        (
            "/data/video_status",
            Some(json!(3)),
            "/body/data/video",
            "pattern",
            "pattern \"^https?://[^/]\", as promised when `video_status` is 3",
            format!("{info}/x-promises/1/then/properties/video/pattern"),
        ),
        (
            "/data/video_status",
            Some(json!(4)),
            "/body/data",
            "anyOf",
            "one of the documented alternatives, as promised when `video_status` is 4",
            format!("{info}/x-promises/2/then/anyOf"),
        ),
        (
            "/data/uid",
            Some(json!({"deep": [1]})),
            "/body/data/uid",
            "type",
            "an integer",
            format!("{info}/properties/uid/type"),
        ),
        (
            "/data/audio_splits/original_srt_url",
            Some(Value::Null),
            "/body/data/audio_splits/original_srt_url",
            "type",
            "a string",
            "/components/schemas/AudioSplits/properties/original_srt_url/type".to_owned(),
        ),
    ];
    for (what, value, pointer, rule, expected, spec_pointer) in cases {
        let report = changed(what, value);
        assert_eq!(only(&report), (pointer, rule, expected, spec_pointer.as_str()), "{report}");
        assert!(report.drift.is_empty(), "{what}: {report}");
    }
}

#[test]
fn undocumented_fields_and_values_are_drift() {
    let report = changed("/data/mood", Some(json!("happy")));
    assert_eq!(report.verdict(), Verdict::Drifting);
    assert_eq!(report.drift.len(), 1);
    assert_eq!(report.drift[0].pointer, "/body/data/mood");
    assert_eq!(report.drift[0].kind, DriftKind::UnknownField);
    assert_eq!(report.drift[0].actual, "the string \"happy\"");

    let report = changed("/data/video_status", Some(json!(7)));
    assert_eq!(report.verdict(), Verdict::Drifting);
    assert_eq!(report.drift[0].kind, DriftKind::UnknownValue);
    assert_eq!(report.drift[0].documented, "1, 2, 3, 4");
    // The vendored description has a closed list, so this is a violation.
    let mut body = documented();
    body["data"]["video_status"] = json!(7);
    let report = Contract::vendored().check_response(&poll(), &response(body.to_string()));
    assert_eq!(report.violations[0].rule, "enum");
    assert_eq!(report.violations[0].expected, "one of 1, 2, 3, 4");
}

#[test]
fn a_renamed_field_is_reported_under_both_names() {
    let mut body = documented();
    body["data"].as_object_mut().unwrap().remove("video_status");
    body["data"]["status"] = json!(2);
    let report = check(&body);
    assert_eq!(only(&report).0, "/body/data/video_status");
    assert_eq!(report.drift[0].pointer, "/body/data/status");
    assert!(report.drift[0].documented.starts_with("`video_status`"), "{report}");

    // The old name of an optional field is not received.
    let mut body = documented();
    body["data"].as_object_mut().unwrap().remove("audio_splits");
    body["data"]["splits"] = json!({});
    let mut coverage = Contract::resolved().coverage();
    coverage.record(&poll(), &response(body.to_string()));
    let missing: Vec<_> = coverage.not_received().drift.into_iter().map(|drift| drift.pointer).collect();
    assert!(missing.contains(&"/body/data/audio_splits".to_owned()), "{missing:?}");
    assert!(!missing.iter().any(|pointer| pointer.starts_with("/body/data/audio_splits/")), "{missing:?}");
    assert!(!missing.contains(&"/body/data/uid".to_owned()), "{missing:?}");
}

#[test]
fn fields_are_not_received_only_for_operations_with_a_response() {
    let mut coverage = Contract::resolved().coverage();
    assert!(coverage.not_received().drift.is_empty());
    let languages = Request::get("/api/open/v3/language/list").body("").unwrap();
    let body = json!({"code": 1000, "msg": "OK", "data": {"lang_list": [{"lang_code": "es"}, {"url": "x"}]}});
    coverage.record(&languages, &response(body.to_string()));
    let report = coverage.not_received();
    let missing: Vec<_> = report
        .drift
        .iter()
        .filter(|drift| drift.pointer != "/body/code")
        .map(|drift| drift.pointer.as_str())
        .collect();
    assert_eq!(missing, ["/body/data/lang_list/*/lang_name", "/body/data/lang_list/*/need_voice_id"]);
    assert!(report.is_conforming(), "fields that were not received do not change the verdict");
}

#[test]
fn an_invalid_json_body_is_one_short_violation() {
    let cases: [(&[u8], &str); 6] = [
        (b"", "body"),
        (b"<!doctype html><p>Sign in", "json"),
        (b"{\"code\": 1000,", "json"),
        (b"\xef\xbb\xbf{}", "json"),
        (b"{\"code\": 1000, \"msg\": \"\xff\"}", "utf-8"),
        (&[b'['; 100_000], "json"),
    ];
    for (bytes, rule) in cases {
        let report = Contract::resolved().check_response(&poll(), &response(bytes));
        let (pointer, own, expected, _) = only(&report);
        assert_eq!((pointer, own, expected), ("/body", rule, "JSON"));
        assert!(report.to_string().len() < 1000, "{report}");
    }
    // Not an object at all.
    for body in [json!(null), json!([]), json!("x"), json!(1)] {
        assert_eq!(only(&check(&body)).1, "type");
    }
}

#[test]
fn reports_on_huge_messages_are_short() {
    let mut body = documented();
    for number in 0..10_000 {
        body["data"][format!("field{number}")] = json!("x".repeat(1000));
    }
    body["data"]["x".repeat(100_000)] = json!(1);
    let report = check(&body);
    assert_eq!(report.drift.len(), 100);
    assert!(report.to_string().len() < 100_000);

    let report = changed("/data/video", Some(json!(vec!["x"; 100_000])));
    assert_eq!(report.violations[0].actual, "a list of 100000");
    let report = changed("/data/uid", Some(json!("x".repeat(1_000_000))));
    assert!(report.to_string().len() < 1000);
}

#[test]
fn content_type_and_encoding_of_a_response_are_checked() {
    let body = documented().to_string();
    for (name, value, pointer) in [
        ("content-type", "text/html", "/headers/content-type"),
        ("content-type", "application/jsonx", "/headers/content-type"),
        ("x-other", "x", "/headers/content-type"),
    ] {
        let response = Response::builder().header(name, value).body(body.as_bytes()).unwrap();
        let report = Contract::resolved().check_response(&poll(), &response);
        assert_eq!((only(&report).0, only(&report).2), (pointer, "application/json"));
    }
    let response = Response::builder()
        .header("content-type", "APPLICATION/JSON")
        .header("content-encoding", "gzip")
        .body(b"\x1f\x8b")
        .unwrap();
    assert_eq!(only(&Contract::resolved().check_response(&poll(), &response)).1, "content-encoding");
}

#[test]
fn an_undocumented_http_status_is_drift_and_its_envelope_is_checked() {
    let check = |status, body: &str| {
        let response = Response::builder().status(StatusCode::from_u16(status).unwrap());
        Contract::resolved().check_response(&poll(), &response.body(body.as_bytes().to_vec()).unwrap())
    };
    let report = check(502, "<h1>Bad gateway</h1>");
    assert_eq!(report.verdict(), Verdict::Drifting);
    assert_eq!(report.drift[0].kind, DriftKind::UnknownStatus);
    assert_eq!(report.drift[0].pointer, "/status");
    assert_eq!(check(401, r#"{"code": 1101, "msg": "expired"}"#).verdict(), Verdict::Drifting);
    assert_eq!(check(401, r#"{"code": "1101", "msg": "expired"}"#).verdict(), Verdict::Violating);
}

#[test]
fn path_method_parameters_and_security_of_a_request_are_checked() {
    let check = |method: &str, target: &str, headers: &[(&str, &str)], body: &str| {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Contract::resolved().check_request(&request.body(body.as_bytes().to_vec()).unwrap())
    };
    let key = ("x-api-key", "MARKER");
    assert_eq!(only(&check("GET", "/nowhere", &[key], "")).0, "/path");
    let report = check("POST", POLL, &[key], "");
    assert_eq!((only(&report).0, only(&report).2), ("/method", "GET"));
    let report = check("GET", "/api/open/v3/content/video/infobymodelid?id=64dd", &[key], "");
    assert_eq!((only(&report).0, only(&report).1), ("/query/video_model_id", "required"));
    assert_eq!(report.drift[0].kind, DriftKind::UnknownParameter);
    let report = check("GET", &format!("{POLL}&video_model_id=b"), &[key], "");
    assert_eq!((only(&report).0, only(&report).1), ("/query/video_model_id", "parameter"));
    let report = check("GET", POLL, &[], "");
    assert_eq!((only(&report).0, only(&report).1), ("/headers", "security"));
    assert_eq!(only(&report).2, "the header `x-api-key` or `Authorization: Bearer ...`");
    assert_eq!(only(&check("GET", POLL, &[("authorization", "Basic MARKER")], "")).1, "security");
    assert!(check("GET", POLL, &[("authorization", "bearer MARKER")], "").is_conforming());
    assert_eq!(only(&check("GET", POLL, &[key], "{}")).1, "body");
    let token = "/api/open/v3/getToken";
    let json = ("content-type", "application/json");
    assert!(check("POST", token, &[json], r#"{"clientId": "a", "clientSecret": "b"}"#).is_conforming());
    assert_eq!(only(&check("POST", token, &[json], "")).1, "body");
}

#[test]
fn a_balance_is_a_number_and_part_of_every_success() {
    let check = |body: Value| {
        let request = Request::get("/api/open/v3/faceswap/quota/info").body("").unwrap();
        Contract::resolved().check_response(&request, &response(body.to_string()))
    };
    for data in [json!({"credit": 1520}), json!({"credit": 0.5})] {
        assert!(check(json!({"code": 1000, "msg": "OK", "data": data})).is_conforming());
    }
    assert!(check(json!({"code": 1101, "msg": "no"})).is_conforming());
    let report = check(json!({"code": 1000, "msg": "OK", "data": {}}));
    assert_eq!(only(&report).0, "/body/data/credit");
    let report = check(json!({"code": 1000, "msg": "OK", "data": {"credit": "1520"}}));
    assert_eq!(only(&report).2, "a number");
}

#[test]
fn the_body_of_a_creation_is_checked_against_its_schema() {
    let check = |body: Value| {
        let request = Request::post("/api/open/v3/content/video/createbytranslate")
            .header("x-api-key", "key")
            .header("content-type", "application/json");
        Contract::resolved().check_request(&request.body(body.to_string()).unwrap())
    };
    let good = json!({"url": "https://a.example/a.mp4", "language": "es", "speaker_num": 11,
        "studio_voice": {"style": "calm", "fixed_words": {"a": "b"}}});
    assert!(check(good.clone()).is_conforming(), "{}", check(good));
    for (name, value, pointer, expected) in [
        ("speaker_num", json!(-1), "/body/speaker_num", "minimum 0"),
        ("lipsync", json!("yes"), "/body/lipsync", "a boolean"),
        ("url", json!(null), "/body/url", "a string"),
        (
            "studio_voice",
            json!({"no_translate_words": [1]}),
            "/body/studio_voice/no_translate_words/0",
            "a string",
        ),
    ] {
        let mut body = good.clone();
        body[name] = value;
        let report = check(body);
        assert_eq!((only(&report).0, only(&report).2), (pointer, expected));
    }
    let mut body = good.clone();
    body["studio_voice"]["style"] = json!("furious");
    assert_eq!(only(&check(body)).1, "enum");
    // A misspelt field name.
    let mut body = good;
    body["webhook_url"] = json!("https://me.example/hook?token=MARKER");
    let report = check(body);
    assert_eq!(report.drift[0].pointer, "/body/webhook_url");
    assert!(!report.to_string().contains("MARKER"), "{report}");
}

#[test]
fn the_message_and_the_event_of_a_webhook_are_checked() {
    let contract = Contract::resolved();
    let message = |body: &Value| {
        let request = Request::post("/anywhere").header("content-type", "application/json");
        contract.check_webhook(&request.body(body.to_string()).unwrap())
    };
    let good =
        json!({"signature": "00", "dataEncrypt": "YQ==", "timestamp": 1_700_000_000_000_i64, "nonce": "5"});
    assert!(message(&good).is_conforming(), "{}", message(&good));
    let mut number = good.clone();
    number["nonce"] = json!(5);
    assert!(message(&number).is_conforming());
    number["nonce"] = json!({});
    assert_eq!(only(&message(&number)).1, "oneOf");
    number = good.clone();
    number["timestamp"] = json!(u64::MAX);
    let report = message(&number);
    assert_eq!((only(&report).0, only(&report).2), ("/body/timestamp", "format \"int64\""));
    number = good;
    number.as_object_mut().unwrap().remove("signature");
    assert_eq!(only(&message(&number)).0, "/body/signature");

    assert!(contract.check_webhook_event(r#"{"_id": "64dd", "status": 3, "url": "u"}"#).is_conforming());
    assert_eq!(contract.check_webhook_event(r#"{"_id": "64dd", "status": 9}"#).verdict(), Verdict::Drifting);
    assert_eq!(contract.check_webhook_event(r#"{"status": 3}"#).violations[0].pointer, "/body/_id");
    assert_eq!(contract.check_schema("Nothing", "{}").verdict(), Verdict::Violating);
    // The vendored description has no webhook.
    assert_eq!(Contract::vendored().check_webhook_event("{}").verdict(), Verdict::Violating);
}

#[test]
fn reports_contain_no_credentials_and_no_signatures() {
    let contract = Contract::resolved();
    let shown = |report: &Report| {
        let json = serde_json::to_string(report).unwrap();
        let shown = format!("{report} {report:?} {json}");
        assert_ne!(report.verdict(), Verdict::Conforming, "{shown}");
        assert!(!shown.contains("MARKER"), "{shown}");
    };
    shown(&changed("/data/uid", Some(json!("https://cdn.example/a.mp4?Signature=MARKER"))));
    shown(&changed("/data/new", Some(json!("https://cdn.example/a.mp4?Signature=MARKER"))));
    shown(&changed("/data/access_token", Some(json!("MARKER"))));
    let token = |body: &str| {
        let request = Request::post("/api/open/v3/getToken").header("content-type", "application/json");
        contract.check_request(&request.body(body.to_owned()).unwrap())
    };
    shown(&token(r#"{"clientId": "a", "clientSecret": 5, "secret": "MARKER"}"#));
    shown(&token(r#"{"clientId": "a", "clientSecret": "MARKER"#));
    shown(&token(r#"{"clientId": "a", "clientSecret": ["MARKER"]}"#));
    let request = Request::post("/api/open/v3/getToken").body("").unwrap();
    shown(&contract.check_response(&request, &response(r#"{"code": 1000, "token": "MARKER"#)));
    shown(&contract.check_response(
        &request,
        &response(r#"{"code": "1000", "token": "MARKER", "x": {"token": "MARKER"}}"#),
    ));
    let request =
        Request::get(format!("{POLL}&api_key=MARKER")).header("authorization", "MARKER").body("").unwrap();
    shown(&contract.check_request(&request));
}
