//! Creations, the ledger, languages and tokens, against the mock server.

use std::sync::Arc;

use akool::{Captions, Client, CreateError, Credential, ErrorKind, Language, LanguageInfo, VoiceStyle};
use akool_ledger::{
    Begin, CreationOutcome, EnsureError, EntryId, Intent, Ledger, LedgerError, LedgerFile, LedgerFuture,
    Outcome, ensure,
};
use akool_mock::{Fault, MockServer, Timeline, Times};
use akool_tests::{ID, chain, client_of, client_with_key, listen, respond, token_client_of, wait_until};
use futures_util::future::join_all;

const VIDEO: &str = "https://example.com/talk.mp4";

fn ledger() -> (tempfile::TempDir, Arc<LedgerFile>) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = LedgerFile::at(folder.path().join("ledger.jsonl"));
    (folder, Arc::new(ledger))
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
    let ensured = ensure(&*ledger, translate).await.into_jobs();
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
        (client.translate("https:talk.mp4").to(["es"]), "without a host"),
        (ok().to(["es"]), "es is there twice"),
        (ok().to(["ES"]), "ES is there twice"),
        (ok().to([""]), "is not a language code"),
        (ok().to(["de,fr"]), "is not a language code"),
        (ok().to(["DEFAULT"]), "is not a target language"),
        (ok().source_language("e n"), "the source language \"e n\" is not a language code"),
        (ok().speakers(11), "at most 10 speakers"),
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
        .speakers(2)
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
    let jobs = ensure(&*ledger, translate(["es", "fr"])).await.into_jobs().unwrap();
    let entries = ledger.read().unwrap().entries;
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].url(), entries[0].base_url.as_str()), (VIDEO, client.base_url()));
    assert_eq!(entries[0].request["lipsync"], true);
    assert!(entries[0].jobs().iter().map(|job| &job.id).eq(&jobs));

    // The same creation is not sent unless the caller allows a duplicate.
    let ensured = ensure(&*ledger, translate(["fr", "es"])).await;
    assert!(ensured.sent.is_none());
    assert_eq!((ensured.known.len(), ensured.known[0].job.as_ref()), (2, Some(&jobs[1])));
    assert_eq!(server.created().len(), 2);
    let ensured = ensure(&*ledger, translate(["fr", "ja"])).allow_duplicate().await;
    assert!(ensured.known.is_empty() && ensured.into_jobs().unwrap().len() == 2);
    assert_eq!(server.created().len(), 4);
}

#[tokio::test]
async fn ensure_reuses_recorded_jobs_and_creates_the_others() {
    let server = MockServer::start().await;
    let (_folder, ledger) = ledger();
    let client = client_of(&server);
    let ensure = async |languages: &[&'static str]| {
        ensure(&*ledger, client.translate(VIDEO).to(languages.iter().copied())).await
    };
    let first = ensure(&["es", "fr"]).await.into_jobs().unwrap();
    assert_eq!(ensure(&["es", "fr"]).await.into_jobs().unwrap(), first);
    let more = ensure(&["ja", "fr"]).await.into_jobs().unwrap();
    assert_eq!((more.len(), &more[0]), (2, &first[1]));
    assert_eq!(server.created().len(), 3);

    server.inject_into_creations(Fault::Http(502), Times::Once);
    let unknown = ensure(&["de", "es"]).await;
    assert_eq!(
        unknown.known[0].job.as_ref(),
        Some(&first[0]),
        "the recorded job is reported beside the error"
    );
    assert!(matches!(unknown.into_jobs(), Err(EnsureError::OutcomeUnknown { .. })));
    assert!(matches!(ensure(&["de"]).await.into_jobs(), Err(EnsureError::AlreadyThere(_))));
    assert_eq!(server.created().len(), 4);
}

#[tokio::test]
async fn an_unknown_outcome_blocks_the_same_creation_until_it_is_forgotten() {
    let server = MockServer::start().await;
    server.inject_into_creations(Fault::Http(502), Times::Once);
    let (_folder, ledger) = ledger();
    let translate = client_of(&server).translate(VIDEO).to(["es"]);
    let error = ensure(&*ledger, translate.clone()).await.into_jobs().unwrap_err();
    assert!(error.may_have_created());
    let EnsureError::OutcomeUnknown { entry: id, .. } = &error else { panic!("{error}") };
    let entry = &ledger.read().unwrap().entries[0];
    assert_eq!(&entry.id, id);
    assert!(matches!(&entry.outcome, Outcome::Unknown { why: Some(why) } if why.contains("502")));
    let error = ensure(&*ledger, translate.clone()).await.into_jobs().unwrap_err();
    assert!(matches!(error, EnsureError::AlreadyThere(_)), "{error}");
    assert_eq!(server.exchanges().len(), 1);

    assert!(ledger.forget(&entry.id, None).unwrap());
    ensure(&*ledger, translate).await.into_jobs().unwrap();
}

#[tokio::test]
async fn a_creation_that_was_not_created_can_be_sent_again() {
    let server = MockServer::start().await;
    server.inject_into_creations(Fault::Code(1006), Times::Once);
    let (_folder, ledger) = ledger();
    let translate = client_of(&server).translate(VIDEO).to(["es"]);
    let error = ensure(&*ledger, translate.clone()).await.into_jobs().unwrap_err();
    assert!(matches!(error, EnsureError::NotCreated(CreateError::NotCreated(_))), "{error}");
    ensure(&*ledger, translate).await.into_jobs().unwrap();
    assert_eq!(ledger.read().unwrap().entries.len(), 2);
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
    let ensured = ensure(&*ledger, client.translate(VIDEO).to(["es", "fr"])).await;
    let Some(Ok(created)) = ensured.sent else { panic!("{ensured:?}") };
    assert_eq!(created.rejected.len(), 1);
    let shown = format!("{created:?} {}", std::fs::read_to_string(ledger.path()).unwrap());
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
    let client = client_with_key(server.tcp_url(), &server.api_key());
    let translate = client.translate(VIDEO).to(["es"]);
    let task = {
        let (ledger, translate) = (ledger.clone(), translate.clone());
        tokio::spawn(async move { ensure(&*ledger, translate).await })
    };
    wait_until("the request arrived", || !server.created().is_empty()).await;
    assert!(matches!(ledger.read().unwrap().entries[0].outcome, Outcome::InFlight));
    let ensured = ensure(&*ledger, translate).await;
    assert!(ensured.sent.is_none() && ensured.known[0].in_flight);
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert!(matches!(ledger.read().unwrap().entries[0].outcome, Outcome::Unknown { .. }));
}

/// A ledger that cannot write the outcome, or not even the intent.
#[derive(Debug)]
struct Failing {
    intent: bool,
}

impl Ledger for Failing {
    fn begin<'a>(&'a self, _: &'a Intent) -> LedgerFuture<'a, Begin> {
        let begun =
            if self.intent { Err(LedgerError::new("disk full")) } else { Ok(Begin::Written("e1".into())) };
        Box::pin(async { begun })
    }

    fn record<'a>(&'a self, _: &'a EntryId, _: &'a CreationOutcome) -> LedgerFuture<'a, ()> {
        Box::pin(async { Err(LedgerError::new("disk full")) })
    }
}

#[tokio::test]
async fn nothing_is_sent_if_the_ledger_cannot_write_the_intent() {
    let server = MockServer::start().await;
    let translate = client_of(&server).translate(VIDEO).to(["es"]);
    let error = ensure(&Failing { intent: true }, translate).await.into_jobs().unwrap_err();
    assert!(matches!(error, EnsureError::Ledger(_)), "{error}");
    assert!(chain(&error).contains("disk full"), "{}", chain(&error));
    assert!(server.exchanges().is_empty());
}

#[tokio::test]
async fn ids_that_the_ledger_cannot_write_are_in_the_error() {
    let server = MockServer::start().await;
    let translate = client_of(&server).translate(VIDEO).to(["es"]);
    let error = ensure(&Failing { intent: false }, translate).await.into_jobs().unwrap_err();
    assert!(error.may_have_created());
    assert!(error.to_string().contains(&server.created()[0].id), "{error}");
}
