//! Creations, the ledger, languages, credits and tokens, against the mock server.

use std::time::Duration;

use akool::{
    BusinessCode, Captions, Client, CreateError, Credential, ErrorKind, Language, LanguageInfo, VoiceStyle,
};
use akool_ledger::{EnsureError, EnsureEvent, Filter, Ledger, WorkOutcome};
use akool_mock::{Fault, MockServer, Timeline, Times};
use akool_tests::{
    ID, chain, client_of, client_with_key, listen, names, respond, token_client_of, wait_until,
};
use futures_util::future::join_all;

const VIDEO: &str = "https://example.com/talk.mp4";

fn ledger() -> (tempfile::TempDir, Ledger) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(folder.path().join("ledger.db")).unwrap();
    (folder, ledger)
}

/// The last segments of the requested paths, in order.
fn requested(server: &MockServer) -> Vec<String> {
    let last = |target: &str| target.split('?').next().unwrap().rsplit('/').next().unwrap().to_owned();
    server.exchanges().iter().map(|exchange| last(&exchange.target)).collect()
}

#[tokio::test]
async fn a_creation_returns_one_job_per_language() {
    let server = MockServer::start().await;
    server.on_create(Timeline::new().completed());
    let client = client_of(&server);
    let created = client.translate(VIDEO).to(["es", "fr"]).send().await.unwrap();
    assert!(created.is_complete());
    assert_eq!((created.jobs.len(), server.created().len()), (2, 2));
    for (job, (language, on_server)) in
        created.jobs.iter().zip(["es", "fr"].into_iter().zip(server.created()))
    {
        assert_eq!(job.language, Some(Language::from(language)));
        assert_eq!((job.id.as_str(), on_server.language.as_str()), (on_server.id.as_str(), language));
        client.job(&job.id).wait().await.unwrap();
    }
}

#[tokio::test]
async fn credits_are_held_by_a_creation_and_charged_for_a_completed_job() {
    let server = MockServer::start().await;
    server.set_credits(15.5);
    server.set_credits_per_job(6);
    server.on_create(Timeline::new().completed());
    server.on_create_in("fr", Timeline::new().failed(1015, "no speech"));
    let client = client_of(&server);
    let created = client.translate(VIDEO).to(["es", "fr", "ja"]).send().await.unwrap();
    let held: Vec<_> = created.jobs.iter().map(|job| (job.credits_held, job.video_length)).collect();
    assert_eq!(held, [(Some(6.0), Some(Duration::from_millis(7910))); 2]);
    assert_eq!(created.rejected[0].code.0, 1104, "too few are left for a third job");
    assert_eq!(server.credits(), 3.5);

    let completed = client.job(&created.jobs[0].id).get().await.unwrap();
    assert_eq!((completed.credits_held(), completed.credits_charged()), (Some(6.0), Some(6.0)));
    let failed = client.job(&created.jobs[1].id).get().await.unwrap();
    assert_eq!((failed.credits_held(), failed.credits_charged()), (Some(6.0), None));
}

#[tokio::test]
async fn the_ledger_has_what_was_held_and_charged() {
    let server = MockServer::start().await;
    server.on_create(Timeline::new().processing(akool_mock::Polls(1)).completed());
    let client = client_of(&server);
    let (_folder, ledger) = ledger();
    let job = ledger.translate(client.translate(VIDEO).to(["es"])).await.unwrap().remove(0);
    assert_eq!((job.credits_held, job.credits_charged), (Some(10.0), None));
    let mut credits = Vec::new();
    for _ in 0..2 {
        let snapshot = client.job(&job.id).get().await.unwrap();
        ledger.record(client.base_url(), &snapshot, None).await.unwrap();
        let job = ledger.jobs(&Filter::all()).await.unwrap().remove(0);
        credits.push((job.credits_held, job.credits_charged));
    }
    assert_eq!(credits, [(Some(10.0), None), (Some(10.0), Some(10.0))]);
}

#[tokio::test]
async fn a_rejected_language_is_reported_beside_the_created_jobs() {
    let server = MockServer::start().await;
    server.reject_language("tlh", 1003, "The language is not supported");
    let created = client_of(&server).translate(VIDEO).to(["es", "tlh", "fr"]).send().await.unwrap();
    assert_eq!(created.jobs.len(), 2);
    assert_eq!(
        created.rejected[0].to_string(),
        "tlh: the service answered with code 1003 (parameter wrong or missing): \"The language is not supported\""
    );
    assert!(!created.is_complete() && created.unknown.is_empty());
}

#[tokio::test]
async fn a_creation_whose_languages_are_all_rejected_is_not_created() {
    let server = MockServer::start().await;
    server.reject_language("tlh", 1003, "no");
    let error = client_of(&server).translate(VIDEO).to(["tlh"]).send().await.unwrap_err();
    assert!(matches!(error, CreateError::NotCreated(_)), "{error}");
    assert!(!error.may_have_created() && server.created().is_empty());
}

#[tokio::test]
async fn a_response_with_one_job_for_two_languages_leaves_both_unknown() {
    let server = MockServer::start().await;
    server.omit_all_results();
    let created = client_of(&server).translate(VIDEO).to(["es", "fr"]).send().await.unwrap();
    assert_eq!(created.jobs[0].language, None);
    assert_eq!(created.unknown, [Language::from("es"), Language::from("fr")]);
    // `into_jobs` promises a job per language, so it is an error.
    let (_folder, ledger) = ledger();
    let translate = client_of(&server).translate(VIDEO).to(["es", "fr"]);
    let ensured = ledger.translate(translate).await;
    assert!(matches!(ensured, Err(EnsureError::Partly(_))), "{ensured:?}");
    let created = client_of(&server).translate(VIDEO).to(["ja"]).send().await.unwrap();
    assert_eq!(created.jobs[0].language, Some("ja".into()));
    assert!(created.is_complete());
}

#[tokio::test]
async fn an_invalid_request_is_not_sent() {
    let server = MockServer::start().await;
    let client = client_of(&server);
    let ok = || client.translate(VIDEO).to(["es"]);
    for (translate, message) in [
        (client.translate("").to(["es"]), "\"\" is not a URL. AKOOL downloads the video itself"),
        (client.translate("talk.mp4").to(["es"]), "is not a URL"),
        (client.translate("file:///talk.mp4").to(["es"]), "is neither an https nor an http URL"),
        (client.translate(VIDEO), "there is no target language"),
        (client.translate("https://example.com/a\nb.mp4").to(["es"]), "a control character"),
        (client.translate("https://example.com/a b.mp4").to(["es"]), "a control character"),
        (client.translate("https:talk.mp4").to(["es"]), "without a host"),
        (ok().to(["es"]), "es is listed twice"),
        (ok().to(["ES"]), "ES is listed twice"),
        (ok().to([""]), "is not a language code"),
        (ok().to(["de,fr"]), "is not a language code"),
        (ok().to(["DEFAULT"]), "is not a target language"),
        (ok().source_language("e n"), "the source language \"e n\" is not a language code"),
        (ok().caption_file("subtitles.srt"), "AKOOL downloads the file itself"),
        (ok().webhook("localhost:1"), "AKOOL calls it from outside"),
        (ok().keep_words([" "]), "a word is empty"),
    ] {
        let error = translate.send().await.unwrap_err();
        assert!(matches!(error, CreateError::Invalid(_)), "{error}");
        assert!(error.to_string().contains(message), "no `{message}` in: {error}");
    }
    let signed = client.translate("ftp://example.com/a.mp4?Signature=MARKER").to(["es"]);
    assert!(!signed.send().await.unwrap_err().to_string().contains("MARKER"));
    assert!(server.exchanges().is_empty());
}

#[tokio::test]
async fn a_request_has_only_the_fields_that_were_set() {
    let server = MockServer::start().await;
    let client = client_of(&server);
    client.translate(VIDEO).to(["es"]).send().await.unwrap();
    client
        .translate(VIDEO)
        .to(["es", "zh-CN-shandong"])
        .source_language("en")
        .lipsync(false)
        .speakers(12)
        .remove_background_music(true)
        .captions(Captions::Replaced)
        .caption_file("https://example.com/talk.srt")
        .keep_words(["AKOOL"])
        .translate_word("hello", "hola")
        .pronounce_word("SQL", "sequel")
        .style(VoiceStyle::Calm)
        .dynamic_duration(true)
        .webhook("https://example.com/hook")
        .send()
        .await
        .unwrap();
    let created = server.created();
    insta::assert_snapshot!("minimal_request", serde_json::to_string_pretty(&created[0].request).unwrap());
    insta::assert_snapshot!("full_request", serde_json::to_string_pretty(&created[1].request).unwrap());
}

#[tokio::test]
async fn languages_returns_each_language_with_its_name() {
    let server = MockServer::start().await;
    let languages = client_of(&server).languages().await.unwrap();
    let spanish: Vec<&LanguageInfo> =
        languages.iter().filter(|language| language.language.code() == "es").collect();
    assert_eq!(spanish.len(), 1);
    assert_eq!((spanish[0].name.as_str(), spanish[0].needs_voice), ("Spanish", None));
    assert!(spanish[0].flag.as_ref().unwrap().starts_with("http"));

    let wrong = client_with_key(server.url(), "another");
    assert_eq!(wrong.languages().await.unwrap_err().kind(), ErrorKind::CredentialsRefused);
}

#[tokio::test]
async fn credits_returns_the_balance_that_creations_reduce() {
    let server = MockServer::start().await;
    let client = client_of(&server);
    assert_eq!(client.credits().await.unwrap(), 1_000_000.0);
    client.translate(VIDEO).to(["es", "fr"]).send().await.unwrap();
    assert_eq!(client.credits().await.unwrap(), 999_980.0);
    server.set_credits(0.25);
    assert_eq!(client.credits().await.unwrap(), 0.25);
    let error = client.translate(VIDEO).to(["ja"]).send().await.unwrap_err();
    assert!(matches!(&error, CreateError::NotCreated(not) if not.error.code() == Some(BusinessCode(1104))));
    assert_eq!(server.credits(), 0.25);

    let wrong = client_with_key(server.url(), "another");
    assert_eq!(wrong.credits().await.unwrap_err().kind(), ErrorKind::CredentialsRefused);
}

#[tokio::test]
async fn credits_are_read_as_a_number_or_a_text_and_are_never_0_by_default() {
    for (data, expected) in [
        (r#"{"credit": 1520}"#, Some(1520.0)),
        (r#"{"credit": "12.5"}"#, Some(12.5)),
        (r#"{"credit": -3, "new": []}"#, Some(-3.0)),
        (r#"{"credit": null}"#, None),
        ("{}", None),
        ("[]", None),
    ] {
        let server = wiremock::MockServer::start().await;
        let body = format!(r#"{{"code": 1000, "msg": "OK", "data": {data}}}"#);
        respond(&server, wiremock::ResponseTemplate::new(200).set_body_string(body)).await;
        let credits = client_with_key(server.uri(), "key").credits().await;
        match expected {
            Some(expected) => assert_eq!(credits.unwrap(), expected, "{data}"),
            None => assert_eq!(credits.unwrap_err().kind(), ErrorKind::Undecodable, "{data}"),
        }
    }
}

#[tokio::test]
async fn concurrent_calls_share_one_token_and_one_renewal() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().processing(akool_mock::Polls(1000)).completed());
    let client = token_client_of(&server);
    let tokens = || requested(&server).iter().filter(|path| *path == "getToken").count();

    join_all((0..20).map(|_| async { client.clone().job(ID).get().await.unwrap() })).await;
    assert_eq!(tokens(), 1);
    assert_eq!(server.polls_of(ID).len(), 20, "a poll was sent without a token");
    client.languages().await.unwrap();
    assert_eq!(tokens(), 1, "the token was not kept");

    server.expire_token();
    join_all((0..20).map(|_| async { client.clone().job(ID).get().await.unwrap() })).await;
    assert_eq!(tokens(), 2);
    for exchange in server.exchanges().iter().filter(|exchange| exchange.target.ends_with("getToken")) {
        assert!(
            !exchange.headers.contains_key("authorization") && !exchange.headers.contains_key("x-api-key")
        );
    }
}

#[tokio::test]
async fn a_creation_with_an_expired_token_renews_it_and_creates_one_job() {
    let server = MockServer::start().await;
    let client = token_client_of(&server);
    client.languages().await.unwrap();
    server.expire_token();
    client.translate(VIDEO).to(["es"]).send().await.unwrap();
    assert_eq!(
        requested(&server),
        ["getToken", "list", "createbytranslate", "getToken", "createbytranslate"]
    );
    assert_eq!(server.created().len(), 1);
}

#[tokio::test]
async fn refused_client_credentials_are_an_error_that_does_not_show_them() {
    let server = MockServer::start().await;
    let client = Client::builder()
        .client_credentials("sandbox-client", "MARKER-SECRET")
        .base_url(server.url())
        .build()
        .unwrap();
    let error = client.job(ID).get().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CredentialsRefused);
    assert!(chain(&error).contains("no valid credential"), "{error}");
    assert!(chain(&error).contains("code 1101"), "{}", chain(&error));
    assert!(!format!("{error:?} {client:?}").contains("MARKER"), "{error:?}");
}

#[tokio::test]
async fn a_token_request_that_cannot_connect_is_a_connect_error() {
    let server = MockServer::start().await;
    let url = server.url_for(Fault::Refused);
    let client = Client::builder().client_credentials("id", "secret").base_url(url).build().unwrap();
    let error = client.job(ID).get().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
}

#[tokio::test]
async fn the_ledger_records_the_ids_and_blocks_the_same_creation() {
    let server = MockServer::start().await;
    let (_folder, ledger) = ledger();
    let client = client_of(&server);
    let translate = |languages: [&'static str; 2]| client.translate(VIDEO).to(languages).lipsync(true);
    let jobs = ledger.translate(translate(["es", "fr"])).await.unwrap();
    let works = ledger.works(&Filter::all().at(client.base_url())).await.unwrap();
    assert!(
        works
            .iter()
            .map(|work| (&work.source[..], &work.job().unwrap().id))
            .eq([(VIDEO, &jobs[0].id), (VIDEO, &jobs[1].id)])
    );
    assert_eq!(ledger.pending().await.unwrap().len(), 2);
    assert!(ledger.works(&Filter::all().at("https://other.example")).await.unwrap().is_empty());

    // The same creation is not sent unless the caller allows a duplicate.
    let ensured = ledger.translate(translate(["fr", "es"])).run().await;
    assert!(ensured.sent.is_none());
    let known = ensured.known[0].job().unwrap();
    assert_eq!((ensured.known.len(), &known.id, &known.language), (2, &jobs[1].id, &Some("fr".into())));
    assert_eq!(server.created().len(), 2);
    let ensured = ledger.translate(translate(["fr", "ja"])).allow_duplicate().run().await;
    assert!(ensured.known.is_empty() && ensured.into_jobs().unwrap().len() == 2);
    assert_eq!(server.created().len(), 4);
}

#[tokio::test]
async fn the_entry_of_a_request_is_known_before_it_is_sent() {
    let server = MockServer::start().await;
    let (_folder, ledger) = ledger();
    let client = client_of(&server);
    let (sender, entries) = std::sync::mpsc::channel();
    let translate = async |languages: &[&'static str]| {
        let (sender, created) = (sender.clone(), server.created().len());
        let request = client.translate(VIDEO).to(languages.iter().copied());
        let ensure = ledger.translate(request).on_event(move |event| {
            if let EnsureEvent::Requesting(entry) = event {
                sender.send((entry.clone(), created)).unwrap();
            }
        });
        ensure.run().await
    };
    translate(&["es", "fr"]).await;
    server.inject_into_creations(Fault::Http(502), Times::Once);
    translate(&["fr", "de"]).await;
    translate(&["es", "de"]).await;
    let mut outcomes = Vec::new();
    for (entry, created) in entries.try_iter() {
        let works = ledger.works(&Filter::entry(entry.clone())).await.unwrap();
        assert!(works.iter().all(|work| work.entry == entry));
        outcomes.push((created, works.iter().map(|work| work.job().is_some()).collect::<Vec<_>>()));
    }
    assert_eq!(outcomes, [(0, vec![true, true]), (2, vec![false])], "nothing is sent for what exists");
}

#[tokio::test]
async fn recorded_jobs_are_reused_and_the_others_are_created() {
    let server = MockServer::start().await;
    let (_folder, ledger) = ledger();
    let client = client_of(&server);
    let ensure = async |languages: &[&'static str]| {
        ledger.translate(client.translate(VIDEO).to(languages.iter().copied())).run().await
    };
    let ids = |jobs: Vec<akool_ledger::LedgerJob>| jobs.into_iter().map(|job| job.id).collect::<Vec<_>>();
    let first = ids(ensure(&["es", "fr"]).await.into_jobs().unwrap());
    assert_eq!(ids(ensure(&["es", "fr"]).await.into_jobs().unwrap()), first);
    let more = ids(ensure(&["ja", "fr"]).await.into_jobs().unwrap());
    assert_eq!((more.len(), &more[0]), (2, &first[1]));
    assert_eq!(server.created().len(), 3);

    server.inject_into_creations(Fault::Http(502), Times::Once);
    let unknown = ensure(&["de", "es"]).await;
    let known = &unknown.known[0].job().unwrap().id;
    assert_eq!(known, &first[0], "the recorded job is reported beside the error");
    assert!(matches!(unknown.into_jobs(), Err(EnsureError::OutcomeUnknown { .. })));
    assert!(matches!(ensure(&["de"]).await.into_jobs(), Err(EnsureError::AlreadyThere(_))));
    assert_eq!(server.created().len(), 4);
}

#[tokio::test]
async fn spellings_of_one_request_pay_once() {
    let server = MockServer::start().await;
    server.accept_any_language();
    let (_folder, ledger) = ledger();
    let client = client_of(&server);
    for (url, language) in [
        ("https://example.com/~ann/talk%2F1.mp4?a=1", "pt-BR"),
        ("https://EXAMPLE.com/~ann/talk%2F1.mp4?a=1", "pt-br"),
        ("https://example.com./%7Eann/talk%2f1.mp4?a=1", "PT-BR"),
        ("https://example.com:443/%7eann/talk%2F1.mp4?a=1#t=3", "pt-BR"),
        ("HTTPS://example.com/~ann/t%61lk%2F1.mp4?a=1", "pt-BR"),
    ] {
        ledger.translate(client.translate(url).to([language]).lipsync(false)).await.unwrap();
    }
    assert_eq!(server.created().len(), 1);
    for url in ["https://example.com/~ann/talk/1.mp4?a=1", "https://example.com/~ann/talk%2F1.mp4?a=2"] {
        ledger.translate(client.translate(url).to(["pt-BR"])).await.unwrap();
    }
    assert_eq!(server.created().len(), 3, "these may be other videos");
}

#[tokio::test]
async fn an_unknown_outcome_blocks_the_same_creation_until_it_is_forgotten() {
    let server = MockServer::start().await;
    server.inject_into_creations(Fault::Http(502), Times::Once);
    let (_folder, ledger) = ledger();
    let translate = client_of(&server).translate(VIDEO).to(["es"]);
    let error = ledger.translate(translate.clone()).await.unwrap_err();
    assert!(error.may_have_created());
    let EnsureError::OutcomeUnknown { entry, .. } = &error else { panic!("{error}") };
    let works = ledger.works(&Filter::pending()).await.unwrap();
    assert_eq!(&works[0].entry, entry);
    assert!(matches!(&works[0].outcome, WorkOutcome::Unknown { why: Some(why) } if why.contains("502")));
    let error = ledger.translate(translate.clone()).await.unwrap_err();
    assert!(matches!(error, EnsureError::AlreadyThere(_)), "{error}");
    assert_eq!(server.exchanges().len(), 1);

    assert!(ledger.forget(&works[0].entry, None).await.unwrap());
    ledger.translate(translate).await.unwrap();
}

#[tokio::test]
async fn a_creation_that_was_not_created_can_be_sent_again() {
    let server = MockServer::start().await;
    server.inject_into_creations(Fault::Code(1006), Times::Once);
    let (_folder, ledger) = ledger();
    let translate = client_of(&server).translate(VIDEO).to(["es"]);
    let error = ledger.translate(translate.clone()).await.unwrap_err();
    assert!(matches!(error, EnsureError::NotCreated(CreateError::NotCreated(_))), "{error}");
    ledger.translate(translate).await.unwrap();
    assert_eq!(ledger.works(&Filter::all()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_failed_job_is_created_again_after_saying_so() {
    let server = MockServer::start().await;
    server.on_create(Timeline::new().failed(1015, "no speech"));
    let (_folder, ledger) = ledger();
    let client = client_of(&server);
    let translate = client.translate(VIDEO).to(["es"]);
    let job = ledger.translate(translate.clone()).await.unwrap().remove(0);
    let snapshot = client.job(&job.id).get().await.unwrap();
    ledger.record(client.base_url(), &snapshot, None).await.unwrap();
    assert!(ledger.pending().await.unwrap().is_empty());
    let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
    let again = ledger.translate(translate).on_event(move |event| {
        if matches!(event, EnsureEvent::Requesting(_)) {
            return;
        }
        let EnsureEvent::CreatingAgain(job) = event else { panic!("{event:?}") };
        sender.send(job.clone()).unwrap();
    });
    assert_ne!(again.await.unwrap()[0].id, job.id);
    let failed = events.recv().await.unwrap();
    assert_eq!((failed.id, failed.error_reason.as_deref()), (job.id, Some("no speech")));
}

#[tokio::test]
async fn a_failed_token_request_means_that_no_job_was_created() {
    let server = MockServer::start().await;
    let refusing = server.url_for(Fault::Refused);
    let wiremock = wiremock::MockServer::start().await;
    respond(&wiremock, wiremock::ResponseTemplate::new(503)).await;
    for url in [refusing, wiremock.uri()] {
        let client = Client::builder().client_credentials("id", "secret").base_url(url).build().unwrap();
        let error = client.translate(VIDEO).to(["es"]).send().await.unwrap_err();
        assert!(matches!(error, CreateError::NotCreated(_)), "{error}");
    }
    assert_eq!(wiremock.received_requests().await.unwrap().len(), 1, "more than the token was requested");
}

/// A server that sends these bytes as its only response, valid HTTP or not.
fn serve_bytes(bytes: Vec<u8>) -> String {
    use std::io::{Read, Write};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        // The request ends with its JSON body.
        while !request.ends_with(b"}") {
            let count = stream.read(&mut buffer).unwrap();
            request.extend_from_slice(&buffer[..count]);
        }
        stream.write_all(&bytes).unwrap();
    });
    url
}

#[tokio::test]
async fn ids_that_arrive_before_the_connection_breaks_are_kept() {
    let body = r#"{"code":1000,"msg":"OK","data":{"_id":"1"}}"#;
    for (head, body) in [
        (format!("content-length: {}", body.len() + 10), body.to_owned()),
        ("transfer-encoding: chunked".to_owned(), format!("{:x}\r\n{body}\r\n", body.len())),
    ] {
        let url = serve_bytes(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").into_bytes());
        let client = client_with_key(url, "key");
        let created = client.translate(VIDEO).to(["es"]).send().await.unwrap();
        assert_eq!(created.jobs[0].id.as_str(), "1");
    }
}

#[tokio::test]
async fn a_key_that_the_server_echoes_is_redacted_in_results_and_in_the_ledger() {
    let body = serde_json::json!({"code": 1000, "all_results": [
        {"code": 1000, "data": {"_id": "1", "language": "es"}},
        {"code": 1003, "msg": format!("{} bad key MARKERKEY here", "x".repeat(145)), "data": {"language": "fr"}}]});
    let body = body.to_string();
    let url =
        serve_bytes(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes());
    let (_folder, ledger) = ledger();
    let client = client_with_key(url, "MARKERKEY");
    let ensured = ledger.translate(client.translate(VIDEO).to(["es", "fr"])).run().await;
    let Some(Ok(created)) = ensured.sent else { panic!("{ensured:?}") };
    assert_eq!(created.rejected.len(), 1);
    let mut shown = format!("{created:?}");
    for name in names(ledger.path().parent().unwrap()) {
        let bytes = std::fs::read(ledger.path().with_file_name(name)).unwrap();
        shown += &String::from_utf8_lossy(&bytes);
    }
    assert!(shown.contains("bad key"));
    assert!(!shown.contains("MARKER"), "{shown}");
}

/// HTTP/2 allows a client to retry a stream that was refused unprocessed. The client does not, because a proxy may
/// refuse the stream after the service has processed it.
#[tokio::test]
async fn the_http_client_does_not_retry_a_creation() {
    let (listener, url) = listen().await;
    let (sender, mut streams) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            sender.send(request.uri().path().to_owned()).unwrap();
            respond.send_reset(h2::Reason::REFUSED_STREAM);
        }
    });
    let client = Client::builder()
        .credential(Credential::api_key("key").unwrap())
        .base_url(url)
        .http(reqwest::Client::builder().no_proxy().http2_prior_knowledge())
        .build()
        .unwrap();
    let error = client.translate(VIDEO).to(["es"]).send().await.unwrap_err();
    assert!(matches!(error, CreateError::OutcomeUnknown(_)), "{error}");
    drop(client);
    assert!(streams.recv().await.unwrap().ends_with("createbytranslate"));
    assert!(streams.try_recv().is_err(), "sent again");
}

#[tokio::test]
async fn a_dropped_creation_is_recorded_as_unknown() {
    let server = MockServer::start().await;
    server.inject_into_creations(Fault::NeverAnswers, Times::Once);
    let (_folder, ledger) = ledger();
    let client = client_with_key(server.url(), &server.api_key());
    let translate = client.translate(VIDEO).to(["es"]);
    let task = {
        let (ledger, translate) = (ledger.clone(), translate.clone());
        tokio::spawn(async move { ledger.translate(translate).await })
    };
    wait_until("the request arrived", || !server.created().is_empty()).await;
    assert!(ledger.works(&Filter::all()).await.unwrap()[0].is_in_flight());
    let ensured = ledger.translate(translate).run().await;
    assert!(ensured.sent.is_none() && ensured.known[0].is_in_flight());
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    let works = ledger.works(&Filter::all()).await.unwrap();
    assert!(matches!(works[0].outcome, WorkOutcome::Unknown { .. }), "{works:?}");
}

#[tokio::test]
async fn a_creation_that_is_dropped_before_it_is_sent_leaves_nothing() {
    let server = MockServer::start().await;
    let (_folder, ledger) = ledger();
    let translate = client_of(&server).translate(VIDEO).to(["es"]);
    // Polled once, so that the intent is being written; then dropped.
    let mut creation = Box::pin(ledger.translate(translate.clone()).run());
    assert!(futures_util::FutureExt::now_or_never(&mut creation).is_none());
    drop(creation);
    // Operations on one ledger happen one after the other.
    let jobs = ledger.translate(translate).await;
    assert!(jobs.is_ok() || matches!(jobs, Err(EnsureError::AlreadyThere(_))), "{jobs:?}");
    // The intent of the dropped one may just be being withdrawn.
    let withdrawn =
        async { while ledger.works(&Filter::all()).await.unwrap().iter().any(|work| work.is_in_flight()) {} };
    tokio::time::timeout(std::time::Duration::from_secs(60), withdrawn)
        .await
        .expect("the intent is withdrawn");
    let works = ledger.works(&Filter::all()).await.unwrap();
    assert!(works.iter().all(|work| work.job().is_some()), "{works:?}");
    assert!(server.created().len() <= 1);
}

/// Makes a ledger that cannot write one of its tables.
fn failing(ledger: &Ledger, change: &str, table: &str) {
    let database = rusqlite::Connection::open(ledger.path()).unwrap();
    let trigger = format!(
        "CREATE TRIGGER fails BEFORE {change} ON {table} BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    );
    database.execute_batch(&trigger).unwrap();
}

#[tokio::test]
async fn nothing_is_sent_if_the_ledger_cannot_write_the_intent() {
    let server = MockServer::start().await;
    let (_folder, ledger) = ledger();
    failing(&ledger, "INSERT", "jobs");
    let error = ledger.translate(client_of(&server).translate(VIDEO).to(["es"])).await.unwrap_err();
    assert!(matches!(error, EnsureError::Ledger(_)), "{error}");
    assert!(chain(&error).contains("disk full"), "{}", chain(&error));
    assert!(server.exchanges().is_empty());
    assert_eq!(
        names(ledger.path().parent().unwrap()).iter().filter(|name| name.ends_with("lock")).count(),
        0
    );
}

#[tokio::test]
async fn ids_that_the_ledger_cannot_write_are_reported_and_written_later() {
    let server = MockServer::start().await;
    let (_folder, ledger) = ledger();
    failing(&ledger, "UPDATE", "jobs");
    let path = ledger.path().to_owned();
    let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
    let jobs = ledger.translate(client_of(&server).translate(VIDEO).to(["es"])).on_event(move |event| {
        if matches!(event, EnsureEvent::Requesting(_)) {
            return;
        }
        let EnsureEvent::Unrecorded { created, error } = event else { panic!("{event:?}") };
        sender.send((created.jobs[0].id.clone(), chain(error))).unwrap();
        // The disk has room again.
        rusqlite::Connection::open(&path).unwrap().execute_batch("DROP TRIGGER fails").unwrap();
    });
    let jobs = jobs.await.unwrap();
    let (id, error) = events.recv().await.unwrap();
    assert_eq!((&id, id.as_str()), (&jobs[0].id, &*server.created()[0].id));
    assert!(error.contains("disk full"), "{error}");
    assert_eq!(ledger.pending().await.unwrap()[0].id, id);
}
