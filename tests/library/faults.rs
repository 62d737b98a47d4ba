//! How a wait and a creation react to every fault that the mock server can inject.
//!
//! [`poll_result`] and [`creation_result`] are the table. Their `match`es are exhaustive, so a new fault does not
//! compile until its results are in the table. `docs/errors.md` is printed from it: run with `UPDATE_DOCS=1` to accept
//! a change.

use std::{error::Error, fmt::Write as _, sync::Arc, time::Duration};

use akool::{Client, CreateError, Credential, ErrorKind, Status, Update, WaitError};
use akool_mock::{Fault, MockServer, Polls, RetryAfter, Timeline, Times};
use akool_tests::{ID, chain, eager};
use futures_util::{StreamExt, stream};
use reqwest::dns::{Name, Resolve, Resolving};

/// The result of a poll with a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
enum PollResult {
    /// This status is read, and the wait continues.
    Read(Status),
    /// The same status is read as without the fault.
    ReadUnchanged,
    /// The poll fails and is retried, up to the maximum number of failures in a row.
    Retried(ErrorKind),
    /// The wait ends at once, because a retry would fail too.
    Ends(ErrorKind),
}

use PollResult::{Ends, Read, ReadUnchanged, Retried};

/// The table of polls.
fn poll_result(fault: Fault) -> PollResult {
    match fault {
        Fault::Refused | Fault::NameNotFound | Fault::TlsFails | Fault::ConnectHangs => {
            Retried(ErrorKind::Connect)
        }
        Fault::NeverAnswers
        | Fault::Trickle
        | Fault::DrippingHeaders
        | Fault::DrippingBody
        | Fault::EndlessInformational => Retried(ErrorKind::Timeout),
        Fault::ClosedBeforeHeaders
        | Fault::ResetBeforeHeaders
        | Fault::ResetInHeaders
        | Fault::ResetInBody
        | Fault::TruncatedBody
        | Fault::OversizedHeaders => Retried(ErrorKind::Interrupted),
        Fault::Http(408 | 425 | 500..=599) => Retried(ErrorKind::Unavailable),
        Fault::Http(429) | Fault::RateLimited { .. } => Retried(ErrorKind::RateLimited),
        Fault::Http(401 | 403) => Ends(ErrorKind::CredentialsRefused),
        Fault::Http(404) => Ends(ErrorKind::WrongAddress),
        Fault::Http(_) => Ends(ErrorKind::Rejected),
        Fault::Redirect(_) => Ends(ErrorKind::Redirected),
        Fault::ForeignEnvelope(_) => Retried(ErrorKind::UnknownCode),
        Fault::Html | Fault::TruncatedJson | Fault::EmptyBody | Fault::Utf16 | Fault::Compressed => {
            Retried(ErrorKind::Undecodable)
        }
        Fault::WrongContentType | Fault::NotUtf8 => ReadUnchanged,
        Fault::TooLarge => Retried(ErrorKind::TooLarge),
        Fault::Code(1005) => Retried(ErrorKind::RateLimited),
        Fault::Code(1008 | 1014) | Fault::ExpiredJob => Ends(ErrorKind::UnknownJob),
        Fault::Code(1101 | 1102 | 1109 | 1200) => Ends(ErrorKind::CredentialsRefused),
        Fault::Code(1299) => Retried(ErrorKind::UnknownCode),
        Fault::Code(_) => Ends(ErrorKind::Rejected),
        Fault::CodeAsText | Fault::MessageMissing | Fault::MessageNull => ReadUnchanged,
        Fault::CodeMissing | Fault::EnvelopeInList | Fault::EnvelopeTwice => Retried(ErrorKind::Undecodable),
        Fault::DataNull | Fault::DataMissing | Fault::DataString | Fault::DataArray => {
            Retried(ErrorKind::Undecodable)
        }
        Fault::StatusMissing | Fault::StatusRenamed | Fault::StatusNull | Fault::StatusHuge => {
            Retried(ErrorKind::Undecodable)
        }
        Fault::StatusNumber(number) => Read(Status::from(number)),
        Fault::StatusAsText | Fault::StatusAsFraction | Fault::OtherTypes => ReadUnchanged,
        Fault::StatusGoesBack => Read(Status::Queueing),
        Fault::NoVideo | Fault::VideoInvalidUrl => Retried(ErrorKind::MissingVideo),
    }
}

/// The result of a creation with a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
enum CreationResult {
    /// The ids are read.
    Created,
    /// It is certain that no job was created.
    NotCreated,
    /// Jobs may have been created.
    OutcomeUnknown,
}

/// The table of creations.
fn creation_result(fault: Fault) -> CreationResult {
    match fault {
        Fault::Refused | Fault::NameNotFound | Fault::TlsFails | Fault::ConnectHangs => {
            CreationResult::NotCreated
        }
        Fault::NeverAnswers
        | Fault::Trickle
        | Fault::DrippingHeaders
        | Fault::DrippingBody
        | Fault::EndlessInformational
        | Fault::ClosedBeforeHeaders
        | Fault::ResetBeforeHeaders
        | Fault::ResetInHeaders
        | Fault::OversizedHeaders => CreationResult::OutcomeUnknown,
        // The first id arrives.
        Fault::ResetInBody | Fault::TruncatedBody => CreationResult::Created,
        Fault::Http(408 | 499) => CreationResult::OutcomeUnknown,
        Fault::Http(400..=499) => CreationResult::NotCreated,
        // A gateway's response does not show what the service behind it has done.
        Fault::Http(_) | Fault::ForeignEnvelope(_) => CreationResult::OutcomeUnknown,
        Fault::RateLimited { .. } => CreationResult::NotCreated,
        Fault::Redirect(302 | 303) => CreationResult::OutcomeUnknown,
        Fault::Redirect(_) => CreationResult::NotCreated,
        Fault::Html
        | Fault::TruncatedJson
        | Fault::EmptyBody
        | Fault::Utf16
        | Fault::Compressed
        | Fault::TooLarge => CreationResult::OutcomeUnknown,
        // Processing, creation or parsing failed. It is not documented whether a job exists by then.
        Fault::Code(1015 | 1205 | 1208) => CreationResult::OutcomeUnknown,
        // An undocumented code.
        Fault::Code(1299) => CreationResult::OutcomeUnknown,
        Fault::Code(_) | Fault::ExpiredJob => CreationResult::NotCreated,
        Fault::WrongContentType | Fault::NotUtf8 => CreationResult::Created,
        Fault::EnvelopeInList | Fault::EnvelopeTwice => CreationResult::OutcomeUnknown,
        // The ids are in the response.
        Fault::CodeMissing | Fault::CodeAsText | Fault::MessageMissing | Fault::MessageNull => {
            CreationResult::Created
        }
        // The ids are also in `all_results`, beside `data`.
        Fault::DataNull | Fault::DataMissing | Fault::DataString | Fault::DataArray => {
            CreationResult::Created
        }
        Fault::StatusMissing
        | Fault::StatusRenamed
        | Fault::StatusNull
        | Fault::StatusNumber(_)
        | Fault::StatusHuge
        | Fault::StatusAsText
        | Fault::StatusAsFraction
        | Fault::StatusGoesBack
        | Fault::NoVideo
        | Fault::VideoInvalidUrl
        | Fault::OtherTypes => CreationResult::Created,
    }
}

/// The text that the error's message must contain to state the cause.
fn cause(fault: Fault) -> String {
    match fault {
        Fault::Refused => "refused".into(),
        Fault::NameNotFound => "no address for akool.invalid".into(),
        Fault::TlsFails | Fault::ConnectHangs => "cannot connect".into(),
        Fault::NeverAnswers
        | Fault::Trickle
        | Fault::DrippingHeaders
        | Fault::DrippingBody
        | Fault::EndlessInformational => "in time".into(),
        Fault::ClosedBeforeHeaders
        | Fault::ResetBeforeHeaders
        | Fault::ResetInHeaders
        | Fault::ResetInBody
        | Fault::TruncatedBody
        | Fault::OversizedHeaders => "broke".into(),
        Fault::Http(status) | Fault::Redirect(status) => format!("HTTP status {status}"),
        Fault::RateLimited { .. } => "HTTP status 429".into(),
        Fault::ForeignEnvelope(status) => format!("code {status}"),
        Fault::Html => "page for browsers".into(),
        Fault::TruncatedJson => "EOF".into(),
        Fault::EmptyBody => "is empty".into(),
        Fault::Utf16 => "not JSON".into(),
        Fault::Compressed => "compressed (gzip)".into(),
        Fault::TooLarge => "larger than".into(),
        Fault::Code(code) => format!("code {code}"),
        Fault::ExpiredJob => "code 1014".into(),
        Fault::DataNull | Fault::DataMissing => "`data` is missing".into(),
        Fault::DataString | Fault::DataArray => "`data` has an unexpected form".into(),
        Fault::CodeMissing | Fault::EnvelopeInList => "no readable `code`".into(),
        Fault::StatusMissing | Fault::StatusRenamed | Fault::StatusNull | Fault::EnvelopeTwice => {
            "`video_status` is missing".into()
        }
        Fault::StatusHuge => "`video_status` has an unexpected form".into(),
        Fault::NoVideo | Fault::VideoInvalidUrl => "no usable link".into(),
        other => panic!("{other:?} does not end a poll with an error"),
    }
}

/// Resolves no host name, and sends no DNS request.
struct NoDns;

impl Resolve for NoDns {
    fn resolve(&self, name: Name) -> Resolving {
        let error: Box<dyn Error + Send + Sync> = format!("no address for {}", name.as_str()).into();
        Box::pin(async move { Err(error) })
    }
}

/// A client whose requests to this server meet this fault.
fn client_for(server: &MockServer, fault: Fault) -> Client {
    // Long enough for a busy machine; short if the fault is a response that never arrives. A connection that is never
    // established has a limit of its own, which must pass first.
    let hangs = fault.hangs() && fault != Fault::ConnectHangs;
    let timeout = Duration::from_millis(if hangs { 500 } else { 20_000 });
    let mut builder = Client::builder()
        .credential(Credential::api_key(server.api_key()).unwrap())
        .request_timeout(timeout)
        .create_timeout(timeout)
        .connect_timeout(Duration::from_millis(if fault == Fault::ConnectHangs { 200 } else { 10_000 }));
    let mut http = reqwest::Client::builder().no_proxy();
    if fault == Fault::NameNotFound {
        http = http.dns_resolver(Arc::new(NoDns));
        builder = builder.base_url("http://akool.invalid").allow_plain_http();
    } else {
        builder = builder.base_url(server.url_for(fault));
    }
    builder.http(http).build().unwrap()
}

/// Whether the fault happens before a request reaches a server.
fn is_before_any_server(fault: Fault) -> bool {
    matches!(fault, Fault::Refused | Fault::NameNotFound | Fault::TlsFails | Fault::ConnectHangs)
}

/// Asserts that the error, its causes and its help say what happened and what to do, each once.
fn assert_message(fault: Fault, kind: ErrorKind, error: &WaitError) {
    let text = chain(error);
    assert!(text.contains(&cause(fault)), "{fault:?}: no `{}` in: {text}", cause(fault));
    let source = error.last_error().unwrap().to_string();
    assert_eq!(text.matches(&source).count(), 1, "{fault:?}: {text}");
    assert_eq!(error.help(), kind.help(), "{fault:?}");
}

fn rate_limited(retry_after: RetryAfter) -> Fault {
    Fault::RateLimited { retry_after }
}

/// Whether the fault asks for a pause of at least a second.
fn is_pause(fault: Fault) -> bool {
    matches!(fault, Fault::RateLimited { retry_after: RetryAfter::Seconds(1..) | RetryAfter::Date(_) })
}

/// Waits under a fault that persists.
async fn wait_under_persistent(fault: Fault) {
    // One pause is enough; `a_retry_after_sets_the_next_poll` measures them.
    let pauses = is_pause(fault);
    let max_failures = if pauses { 1 } else { 3 };
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().processing(Polls(2)).completed());
    // A readable answer must not stop the job.
    server.inject_advancing(fault, Times::Always);
    let mut wait = client_for(&server, fault).job(ID).wait().policy(eager().with_max_failures(max_failures));
    if matches!(poll_result(fault), Read(status) if !status.is_terminal()) {
        wait = wait.timeout(Duration::from_millis(200));
    }
    let end = wait.await;
    let seen = server.polls_of(ID).len();
    match poll_result(fault) {
        ReadUnchanged => {
            end.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
            assert_eq!(seen, 3, "{fault:?}");
        }
        Read(status) => {
            let error = end.unwrap_err();
            assert!(matches!(error, WaitError::Timeout { source: None, .. }), "{fault:?}: {error}");
            assert_eq!(error.last_known().unwrap().status, Some(status), "{fault:?}");
        }
        Retried(kind) => {
            let error = end.unwrap_err();
            assert!(matches!(error, WaitError::RetriesExhausted { .. }), "{fault:?}: {error}");
            let last = error.last_known().unwrap();
            assert_eq!(last.last_error, Some(kind), "{fault:?}: {error}");
            assert_eq!(last.attempts, last.failures, "{fault:?}");
            assert_eq!(last.attempts, max_failures, "{fault:?}");
            if !is_before_any_server(fault) {
                assert_eq!(seen, last.attempts as usize, "{fault:?}");
            }
            assert_message(fault, kind, &error);
        }
        Ends(kind) => {
            let error = end.unwrap_err();
            assert!(matches!(error, WaitError::Rejected { .. }), "{fault:?}: {error}");
            assert_eq!(error.last_error().unwrap().kind(), kind, "{fault:?}: {error}");
            assert_eq!((error.last_known().unwrap().attempts, seen), (1, 1), "{fault:?}: polled again");
            assert_message(fault, kind, &error);
        }
    }
}

/// Waits under a fault that happens once.
async fn wait_under_transient(fault: Fault) {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().processing(Polls(1)).completed());
    server.inject(fault, Times::Once);
    // With at most two failures, one is retried. If the request timeout is short on purpose, a busy machine
    // may fail more polls than one.
    let max_failures = if fault.hangs() { 20 } else { 2 };
    let wait = client_for(&server, fault).job(ID).wait().policy(eager().with_max_failures(max_failures));
    let updates: Vec<_> = wait.updates().collect().await;
    let errors: Vec<_> = updates
        .iter()
        .filter_map(|update| match update {
            Update::Retrying { error, .. } => Some(error.kind()),
            _ => None,
        })
        .collect();
    let Some(Update::Finished(end)) = updates.last() else { panic!("{fault:?}: no end") };
    match poll_result(fault) {
        Read(_) | ReadUnchanged => assert_eq!(errors, [], "{fault:?}"),
        Retried(kind) => assert!(errors.contains(&kind), "{fault:?}: {errors:?}"),
        Ends(_) => return assert!(end.is_err(), "{fault:?}"),
    }
    assert!(end.is_ok(), "{fault:?}: {end:?}");
    if !fault.hangs() {
        assert!(errors.len() <= 1, "{fault:?}: {errors:?}");
        assert_eq!(server.polls_of(ID).len(), 3, "{fault:?}: the job needs two polls, and one met the fault");
    }
}

/// Creates under a fault that persists: the request is sent exactly once.
async fn create_under(fault: Fault) {
    let server = MockServer::start().await;
    server.inject_into_creations(fault, Times::Always);
    let translate =
        client_for(&server, fault).translate("https://example.com/talk.mp4").to(["es", "fr", "ja"]);
    let sent = translate.send().await;
    let requests = server.exchanges().len();
    let result = match &sent {
        Ok(_) => CreationResult::Created,
        Err(CreateError::NotCreated(_)) => CreationResult::NotCreated,
        Err(CreateError::OutcomeUnknown(_)) => CreationResult::OutcomeUnknown,
        Err(other) => panic!("{fault:?}: {other}"),
    };
    // A reset may reach the client before the first id.
    if fault != Fault::ResetInBody || result != CreationResult::OutcomeUnknown {
        assert_eq!(result, creation_result(fault), "{fault:?}: {sent:?}");
    }
    assert_eq!(requests, usize::from(!is_before_any_server(fault)), "{fault:?}: sent again");

    let created = server.created();
    match sent {
        Ok(creation) => {
            let ids: Vec<_> = creation.jobs.iter().map(|job| job.id.as_str().to_owned()).collect();
            let breaks_off = matches!(fault, Fault::ResetInBody | Fault::TruncatedBody);
            // Where exactly the body breaks off varies, and so does whether the language of the job is known.
            let read = if breaks_off { 1..created.len() } else { created.len()..created.len() + 1 };
            assert!(read.contains(&ids.len()), "{fault:?}: {ids:?}");
            assert!(ids.iter().all(|id| created.iter().any(|job| job.id == *id)), "{fault:?}");
            assert_eq!(creation.unknown.is_empty(), !breaks_off, "{fault:?}");
        }
        Err(error) if result == CreationResult::NotCreated => {
            assert!(created.is_empty(), "{fault:?}: jobs were created that the error does not report");
            assert!(!error.may_have_created());
            assert!(error.to_string().starts_with("nothing was created: "), "{fault:?}: {error}");
        }
        Err(error) => {
            assert_eq!(created.len(), 3, "{fault:?}");
            assert!(error.may_have_created());
            let text = error.to_string();
            assert!(text.contains("the outcome is unknown"), "{fault:?}: {text}");
            assert!(text.contains("may have been created and paid for"), "{fault:?}: {text}");
        }
    }
}

async fn run_concurrently(cases: impl Iterator<Item = impl Future<Output = ()>>) {
    stream::iter(cases).for_each_concurrent(8, |case| case).await;
}

#[tokio::test]
async fn a_persistent_fault_ends_the_wait_as_the_table_says() {
    run_concurrently(Fault::all().into_iter().map(wait_under_persistent)).await;
}

#[tokio::test]
async fn a_transient_fault_costs_one_poll() {
    let transient = Fault::all().into_iter().filter(|fault| {
        // `a_retry_after_sets_the_next_poll` measures the pauses of seconds to minutes.
        !is_before_any_server(*fault) && !is_pause(*fault)
    });
    run_concurrently(transient.map(wait_under_transient)).await;
}

#[tokio::test]
async fn a_creation_is_sent_once_under_every_fault() {
    run_concurrently(Fault::all().into_iter().map(create_under)).await;
}

#[tokio::test]
async fn a_retry_after_sets_the_next_poll() {
    for (fault, at_least, at_most) in [
        (rate_limited(RetryAfter::Seconds(1)), 1, 1),
        (rate_limited(RetryAfter::Date(2)), 1, 2),
        (rate_limited(RetryAfter::Seconds(9_999_999_999)), 900, 900),
        (rate_limited(RetryAfter::Seconds(-5)), 0, 0),
        (Fault::Http(429), 0, 0),
    ] {
        let server = MockServer::start().await;
        server.job(ID, Timeline::new().completed());
        server.inject(fault, Times::Once);
        let mut updates =
            client_for(&server, fault).job(ID).wait().policy(eager().with_max_failures(2)).updates();
        let Some(Update::Retrying { next_poll_in, .. }) = updates.next().await else { panic!("{fault:?}") };
        let pause = next_poll_in.as_secs();
        assert!((at_least..=at_most).contains(&pause), "{fault:?}: {next_poll_in:?}");
    }
}

/// The table as a document.
fn document() -> String {
    let mut text = String::from(
        "# Errors\n\n\
         <!-- Printed from the table in tests/library/faults.rs; run that test with UPDATE_DOCS=1 to accept a change. -->\n\n\
         Each row is a fault that the mock server can inject, and is tested over a real socket.\n\n\
         A wait:\n\n\
         - *retried*: the wait continues, and polls again. It gives up after 20 failed polls in a row (default of\n  \
           `PollPolicy::with_max_failures`); a successful poll resets the count.\n\
         - *ends the wait*: the wait ends at once with an error. The job itself continues.\n\
         - *continues*: the status can be read despite the fault.\n\n\
         A creation is one request. The client never retries it; it only renews a refused credential and then sends the\n\
         request once more.\n\n\
         - *created*: the ids of the jobs that arrived are returned, and the other languages are reported as unknown.\n\
         - *not created*: no job was created. It is safe to send the same request again.\n\
         - *outcome unknown*: jobs may have been created and paid for. Check before you send the request again.\n\n\
         | fault | what a wait does | `ErrorKind` | what to do | creation |\n\
         |---|---|---|---|---|\n",
    );
    for fault in Fault::all() {
        let (does, kind) = match poll_result(fault) {
            Read(status) => (format!("continues, status {status}"), None),
            ReadUnchanged => ("continues".to_owned(), None),
            Retried(kind) => ("retried".to_owned(), Some(kind)),
            Ends(kind) => ("ends the wait".to_owned(), Some(kind)),
        };
        let name = kind.map_or("-".to_owned(), |kind| format!("`{kind:?}`"));
        let help = kind.map_or("-", ErrorKind::help);
        let what = match fault {
            Fault::Code(code) => match akool::BusinessCode(code).meaning() {
                Some(meaning) => format!("code {code}: {meaning}"),
                None => format!("code {code}: undocumented"),
            },
            other => other.description(),
        };
        let creation = match creation_result(fault) {
            CreationResult::Created => "created",
            CreationResult::NotCreated => "not created",
            CreationResult::OutcomeUnknown => "**outcome unknown**",
        };
        writeln!(text, "| {what} | {does} | {name} | {help} | {creation} |").unwrap();
    }
    text
}

#[test]
fn the_committed_document_matches_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");
    let document = document();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs")).unwrap();
        std::fs::write(path, &document).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == document, "docs/errors.md is out of date; run this test with UPDATE_DOCS=1");
}

#[test]
fn every_documented_code_can_be_injected() {
    for code in akool::BusinessCode::documented() {
        let listed = Fault::all().contains(&Fault::Code(code.0));
        assert_eq!(listed, code != akool::BusinessCode::SUCCESS, "{code}");
    }
}
