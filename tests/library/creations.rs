//! Creating translations, languages and tokens, against the mock server.

use std::sync::Arc;

use akool::{
    Captions, Client, CreateError, Credential, ErrorKind, Language, LanguageInfo, VoiceStyle,
    ledger::{
        Begin, CreationOutcome, EntryId, Intent, Ledger, LedgerError, LedgerFile, LedgerFuture, Outcome,
    },
};
use akool_mock::{Fault, MockServer, Timeline, Times};
use akool_tests::{ID, client_at, client_of};
use futures_util::future::join_all;

const VIDEO: &str = "https://example.com/talk.mp4";

fn ledger() -> (tempfile::TempDir, Arc<LedgerFile>) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = LedgerFile::at(folder.path().join("ledger.jsonl"));
    (folder, Arc::new(ledger))
}

fn credentials_of(server: &MockServer) -> Client {
    Client::builder()
        .client_credentials(server.client_id(), server.api_key())
        .base_url(server.url())
        .build()
        .unwrap()
}

/// The paths that were asked for, in order.
fn asked(server: &MockServer) -> Vec<String> {
    let last = |target: &str| target.split('?').next().unwrap().rsplit('/').next().unwrap().to_owned();
    server.exchanges().iter().map(|exchange| last(&exchange.target)).collect()
}

#[tokio::test]
async fn one_job_comes_of_each_language() {
    let server = MockServer::start().await;
    server.on_create(Timeline::new().completed());
    let client = client_of(&server);
    let creation = client.translate(VIDEO).to(["es", "fr"]).send().await.unwrap();
    assert!(creation.is_complete());
    for (job, (language, created)) in
        creation.jobs().iter().zip(["es", "fr"].into_iter().zip(server.created()))
    {
        assert_eq!(job.language, Some(Language::from(language)));
        assert_eq!((job.id.as_str(), created.language.as_str()), (created.id.as_str(), language));
        client.job(&job.id).wait().await.unwrap();
    }
}

#[tokio::test]
async fn a_language_that_is_refused_is_told_beside_those_that_are_created() {
    let server = MockServer::start().await;
    server.refuse_language("tlh", 1003, "The language is not supported");
    let creation = client_of(&server).translate(VIDEO).to(["es", "tlh", "fr"]).send().await.unwrap();
    assert_eq!(creation.jobs().len(), 2);
    assert_eq!(
        creation.refused()[0].to_string(),
        "tlh: the service answered with code 1003 (parameter wrong or missing): \"The language is not supported\""
    );
    assert!(!creation.is_complete() && creation.unclear().is_empty());
}

#[tokio::test]
async fn a_request_of_which_every_language_is_refused_created_nothing() {
    let server = MockServer::start().await;
    server.refuse_language("tlh", 1003, "no");
    let error = client_of(&server).translate(VIDEO).to(["tlh"]).send().await.unwrap_err();
    assert!(matches!(error, CreateError::NotCreated(_)), "{error}");
    assert!(!error.may_have_created() && server.created().is_empty());
}

#[tokio::test]
async fn an_answer_with_one_job_for_several_languages_leaves_the_rest_unclear() {
    let server = MockServer::start().await;
    server.omit_all_results();
    let creation = client_of(&server).translate(VIDEO).to(["es", "fr"]).send().await.unwrap();
    assert_eq!(creation.jobs()[0].language, None);
    assert_eq!(creation.unclear(), [Language::from("es"), Language::from("fr")]);
    // Who wants a job for each language hears of it.
    let ensured = client_of(&server).translate(VIDEO).to(["es", "fr"]).ensure().await.into_jobs();
    assert!(matches!(ensured, Err(CreateError::Partly(_))), "{ensured:?}");
    let creation = client_of(&server).translate(VIDEO).to(["ja"]).send().await.unwrap();
    assert_eq!(creation.jobs()[0].language, Some("ja".into()));
    assert!(creation.is_complete());
}

#[tokio::test]
async fn what_breaks_a_rule_is_not_sent() {
    let server = MockServer::start().await;
    let client = client_of(&server);
    let ok = || client.translate(VIDEO).to(["es"]);
    for (translate, says) in [
        (client.translate("").to(["es"]), "the video's link \"\" is empty"),
        (client.translate("talk.mp4").to(["es"]), "is no link"),
        (client.translate("file:///talk.mp4").to(["es"]), "is neither https nor http"),
        (client.translate(VIDEO), "no target language is set"),
        (client.translate("https://example.com/a\nb.mp4").to(["es"]), "a control character"),
        (client.translate("https:talk.mp4").to(["es"]), "has no host"),
        (ok().to(["es"]), "es is set twice"),
        (ok().to(["ES"]), "ES is set twice"),
        (ok().to([""]), "is no language code"),
        (ok().to(["de,fr"]), "is no language code"),
        (ok().to(["DEFAULT"]), "is no target language"),
        (ok().source_language("e n"), "the source language \"e n\" is no language code"),
        (ok().speakers(11), "at most 10 speakers"),
        (ok().caption_file("subtitles.srt"), "the subtitles' link"),
        (ok().webhook("localhost:1"), "the webhook's link"),
        (ok().keep_words([" "]), "a word is empty"),
    ] {
        let error = translate.send().await.unwrap_err();
        assert!(matches!(error, CreateError::Invalid(_)), "{error}");
        assert!(error.to_string().contains(says), "no `{says}` in: {error}");
    }
    let signed = client.translate("ftp://example.com/a.mp4?Signature=MARKER").to(["es"]);
    assert!(!signed.send().await.unwrap_err().to_string().contains("MARKER"));
    assert!(server.exchanges().is_empty());
}

#[tokio::test]
async fn only_what_was_set_is_sent() {
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
    insta::assert_snapshot!("create_least", serde_json::to_string_pretty(&created[0].request).unwrap());
    insta::assert_snapshot!("create_most", serde_json::to_string_pretty(&created[1].request).unwrap());
}

#[tokio::test]
async fn the_languages_are_listed() {
    let server = MockServer::start().await;
    let languages = client_of(&server).languages().await.unwrap();
    let spanish: Vec<&LanguageInfo> =
        languages.iter().filter(|language| language.language.code() == "es").collect();
    assert_eq!(spanish.len(), 1);
    assert_eq!((spanish[0].name.as_str(), spanish[0].needs_voice), ("Spanish", None));
    assert!(spanish[0].flag.as_ref().unwrap().starts_with("http"));

    let wrong = client_at(server.url(), Credential::api_key("another").unwrap()).unwrap();
    assert_eq!(wrong.languages().await.unwrap_err().kind(), ErrorKind::CredentialsRefused);
}

#[tokio::test]
async fn many_callers_share_one_token_and_one_renewal() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().processing(akool_mock::Polls(1000)).completed());
    let client = credentials_of(&server);
    let tokens = || asked(&server).iter().filter(|path| *path == "getToken").count();

    join_all((0..20).map(|_| async { client.clone().job(ID).get().await.unwrap() })).await;
    assert_eq!(tokens(), 1, "one token for all");
    assert_eq!(server.polls_of(ID).len(), 20, "and no poll without it");
    client.languages().await.unwrap();
    assert_eq!(tokens(), 1, "which is kept");

    server.expire_token();
    join_all((0..20).map(|_| async { client.clone().job(ID).get().await.unwrap() })).await;
    assert_eq!(tokens(), 2, "one renewal for all");
    for exchange in server.exchanges().iter().filter(|exchange| exchange.target.ends_with("getToken")) {
        assert!(
            !exchange.headers.contains_key("authorization") && !exchange.headers.contains_key("x-api-key")
        );
    }
}

#[tokio::test]
async fn a_creation_with_an_expired_token_is_sent_once_more_and_paid_once() {
    let server = MockServer::start().await;
    let client = credentials_of(&server);
    client.languages().await.unwrap();
    server.expire_token();
    client.translate(VIDEO).to(["es"]).send().await.unwrap();
    assert_eq!(asked(&server), ["getToken", "list", "createbytranslate", "getToken", "createbytranslate"]);
    assert_eq!(server.created().len(), 1);
}

#[tokio::test]
async fn credentials_that_get_no_token_are_a_clear_error_that_shows_none() {
    let server = MockServer::start().await;
    let client = Client::builder()
        .client_credentials("sandbox-client", "MARKER-SECRET")
        .base_url(server.url())
        .build()
        .unwrap();
    let error = client.job(ID).get().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CredentialsRefused);
    assert!(error.to_string().contains("no credential could be had"), "{error}");
    assert!(!format!("{error:?} {client:?}").contains("MARKER"), "{error:?}");
}

#[tokio::test]
async fn a_token_that_cannot_be_had_for_now_is_no_refusal() {
    let server = MockServer::start().await;
    let url = server.url_for(Fault::Refused);
    let client = Client::builder().client_credentials("id", "secret").base_url(url).build().unwrap();
    let error = client.job(ID).get().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
}

#[tokio::test]
async fn the_ledger_has_the_intent_before_and_the_ids_after() {
    let server = MockServer::start().await;
    let (_folder, ledger) = ledger();
    let client = client_of(&server);
    let creation =
        client.translate(VIDEO).to(["es", "fr"]).lipsync(true).ledger(ledger.clone()).send().await.unwrap();
    let entries = ledger.read().unwrap().entries;
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].url(), entries[0].base_url.as_str()), (VIDEO, client.base_url()));
    assert_eq!(entries[0].request["lipsync"], true);
    let ids = |jobs: &mut dyn Iterator<Item = &akool::JobId>| jobs.cloned().collect::<Vec<_>>();
    assert_eq!(
        ids(&mut entries[0].jobs().iter().map(|job| &job.id)),
        ids(&mut creation.jobs().iter().map(|job| &job.id))
    );

    // The same again: it is there, and nothing is sent.
    let again = client.translate(VIDEO).to(["fr", "ja"]).lipsync(true).ledger(ledger.clone());
    let error = again.clone().send().await.unwrap_err();
    let CreateError::AlreadyThere(work) = &error else { panic!("{error}") };
    assert_eq!((work.len(), work[0].job.as_ref()), (1, Some(&creation.jobs()[1].id)));
    assert_eq!(server.created().len(), 2);
    again.again().send().await.unwrap();
    assert_eq!(server.created().len(), 4);
}

#[tokio::test]
async fn ensuring_takes_what_is_there_and_creates_the_rest() {
    let server = MockServer::start().await;
    let (_folder, ledger) = ledger();
    let client = client_of(&server);
    let ensure = async |languages: &[&'static str]| {
        client.translate(VIDEO).to(languages.iter().copied()).ledger(ledger.clone()).ensure().await
    };
    let first = ensure(&["es", "fr"]).await.into_jobs().unwrap();
    assert_eq!(ensure(&["es", "fr"]).await.into_jobs().unwrap(), first);
    let more = ensure(&["ja", "fr"]).await.into_jobs().unwrap();
    assert_eq!((more.len(), &more[0]), (2, &first[1]));
    assert_eq!(server.created().len(), 3);

    server.inject_into_creations(Fault::Http(502), Times::Once);
    let unknown = ensure(&["de", "es"]).await;
    assert_eq!(unknown.known[0].job.as_ref(), Some(&first[0]), "what is there is told beside the trouble");
    assert!(matches!(unknown.into_jobs(), Err(CreateError::OutcomeUnknown(_))));
    assert!(matches!(ensure(&["de"]).await.into_jobs(), Err(CreateError::AlreadyThere(_))));
    assert_eq!(server.created().len(), 4);
}

#[tokio::test]
async fn an_unknown_outcome_stays_in_the_ledger_and_is_not_sent_again() {
    let server = MockServer::start().await;
    server.inject_into_creations(Fault::Http(502), Times::Once);
    let (_folder, ledger) = ledger();
    let translate = client_of(&server).translate(VIDEO).to(["es"]).ledger(ledger.clone());
    let error = translate.clone().send().await.unwrap_err();
    let CreateError::OutcomeUnknown(maybe) = &error else { panic!("{error}") };
    let entry = &ledger.read().unwrap().entries[0];
    assert_eq!(Some(&entry.id), maybe.entry.as_ref());
    assert!(matches!(&entry.outcome, Outcome::Unknown { why: Some(why) } if why.contains("502")));
    assert!(matches!(translate.clone().send().await, Err(CreateError::AlreadyThere(_))));
    assert_eq!(server.exchanges().len(), 1);

    // Somebody has polled and says so: then it is free to be asked for.
    assert!(ledger.forget(&entry.id, None).unwrap());
    translate.send().await.unwrap();
}

#[tokio::test]
async fn what_was_not_created_may_be_asked_for_again() {
    let server = MockServer::start().await;
    server.inject_into_creations(Fault::Code(1006), Times::Once);
    let (_folder, ledger) = ledger();
    let translate = client_of(&server).translate(VIDEO).to(["es"]).ledger(ledger.clone());
    assert!(matches!(translate.clone().send().await, Err(CreateError::NotCreated(_))));
    translate.send().await.unwrap();
    assert_eq!(ledger.read().unwrap().entries.len(), 2);
}

#[tokio::test]
async fn trouble_with_a_token_is_no_unknown_outcome() {
    let server = MockServer::start().await;
    let refusing = server.url_for(Fault::Refused);
    let wiremock = wiremock::MockServer::start().await;
    let unavailable = wiremock::ResponseTemplate::new(503);
    wiremock::Mock::given(wiremock::matchers::any()).respond_with(unavailable).mount(&wiremock).await;
    for url in [refusing, wiremock.uri()] {
        let client = Client::builder().client_credentials("id", "secret").base_url(url).build().unwrap();
        let error = client.translate(VIDEO).to(["es"]).send().await.unwrap_err();
        assert!(matches!(error, CreateError::NotCreated(_)), "{error}");
    }
    assert_eq!(wiremock.received_requests().await.unwrap().len(), 1, "a token was asked for, and no job");
}

/// A server for one answer, which is made of these bytes, whatever they say of themselves.
fn answering(bytes: Vec<u8>) -> String {
    use std::io::{Read, Write};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        // The body is the last thing that comes.
        while !request.ends_with(b"}") {
            let count = stream.read(&mut buffer).unwrap();
            request.extend_from_slice(&buffer[..count]);
        }
        stream.write_all(&bytes).unwrap();
    });
    url
}

#[tokio::test]
async fn ids_that_came_before_the_connection_broke_are_kept() {
    let body = r#"{"code":1000,"msg":"OK","data":{"_id":"1"}}"#;
    for (head, body) in [
        (format!("content-length: {}", body.len() + 10), body.to_owned()),
        ("transfer-encoding: chunked".to_owned(), format!("{:x}\r\n{body}\r\n", body.len())),
    ] {
        let url = answering(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").into_bytes());
        let client = client_at(url, Credential::api_key("key").unwrap()).unwrap();
        let creation = client.translate(VIDEO).to(["es"]).send().await.unwrap();
        assert_eq!(creation.jobs()[0].id.as_str(), "1");
    }
}

#[tokio::test]
async fn a_credential_that_comes_back_is_shown_and_written_nowhere() {
    let body = serde_json::json!({"code": 1000, "all_results": [
        {"code": 1000, "data": {"_id": "1", "language": "es"}},
        {"code": 1003, "msg": format!("{} bad key MARKERKEY here", "x".repeat(145)), "data": {"language": "fr"}}]});
    let body = body.to_string();
    let url =
        answering(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes());
    let (_folder, ledger) = ledger();
    let client = client_at(url, Credential::api_key("MARKERKEY").unwrap()).unwrap();
    let creation = client.translate(VIDEO).to(["es", "fr"]).ledger(ledger.clone()).send().await.unwrap();
    assert_eq!(creation.refused().len(), 1);
    let shown = format!("{creation:?} {}", std::fs::read_to_string(ledger.path()).unwrap());
    assert!(!shown.contains("MARKER"), "{shown}");
}

/// What is refused unprocessed by HTTP/2 may be sent again, says its standard; here it is not, for
/// something in between may say so too.
#[tokio::test]
async fn a_creation_is_not_sent_again_by_the_http_client() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
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
async fn a_request_that_is_dropped_is_unknown_and_in_flight_no_more() {
    let server = MockServer::start().await;
    server.inject_into_creations(Fault::NeverAnswers, Times::Once);
    let (_folder, ledger) = ledger();
    let client = client_at(server.tcp_url(), Credential::api_key(server.api_key()).unwrap()).unwrap();
    let request = client.translate(VIDEO).to(["es"]).ledger(ledger.clone());
    let task = tokio::spawn(request.clone().send());
    while server.created().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(matches!(ledger.read().unwrap().entries[0].outcome, Outcome::InFlight));
    let CreateError::AlreadyThere(work) = request.send().await.unwrap_err() else { panic!() };
    assert!(work[0].in_flight);
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert!(matches!(ledger.read().unwrap().entries[0].outcome, Outcome::Unknown { .. }));
}

/// A ledger that fails to write the outcome, or the intent.
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
async fn without_the_intent_written_down_nothing_is_sent() {
    let server = MockServer::start().await;
    let translate = client_of(&server).translate(VIDEO).to(["es"]);
    let error = translate.ledger(Arc::new(Failing { intent: true })).send().await.unwrap_err();
    assert!(matches!(error, CreateError::Ledger(_)), "{error}");
    assert!(error.to_string().contains("disk full"));
    assert!(server.exchanges().is_empty());
}

#[tokio::test]
async fn ids_that_cannot_be_written_down_are_in_the_error() {
    let server = MockServer::start().await;
    let translate = client_of(&server).translate(VIDEO).to(["es"]);
    let error = translate.ledger(Arc::new(Failing { intent: false })).send().await.unwrap_err();
    assert!(error.may_have_created());
    assert!(error.to_string().contains(&server.created()[0].id), "{error}");
}
