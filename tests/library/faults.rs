//! Every kind of trouble that the mock server can make, and what a wait and a creation make of it.
//!
//! [`expected`] and [`of_a_creation`] are the table; their `match`es are exhaustive, so that a new
//! fault does not compile until somebody says what it comes to. `docs/errors.md` is printed from it; to accept a
//! change, run with `UPDATE_DOCS=1`.

use std::{
    error::Error,
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use akool::{Client, CreateError, Credential, ErrorKind, Event, PollPolicy, Status, WaitError};
use akool_mock::{Fault, MockServer, Polls, Timeline, Times};
use akool_tests::ID;
use futures_util::{StreamExt, stream};
use reqwest::dns::{Name, Resolve, Resolving};

/// What a poll with a fault comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Expected {
    /// The status could be read: the wait goes on as if nothing were wrong.
    Read(Status),
    /// The status could be read, as it would have been without the fault.
    ReadAsItIs,
    /// The poll failed, and is forgiven within the failure budget.
    Forgiven(ErrorKind),
    /// The wait ends at once: polling again would change nothing.
    Ends(ErrorKind),
}

use Expected::{Ends, Forgiven, Read, ReadAsItIs};

/// The table.
fn expected(fault: Fault) -> Expected {
    match fault {
        Fault::Refused | Fault::NameNotFound | Fault::TlsFails | Fault::ConnectHangs => {
            Forgiven(ErrorKind::Connect)
        }
        Fault::NeverAnswers | Fault::Trickle => Forgiven(ErrorKind::Timeout),
        Fault::ClosedBeforeHeaders
        | Fault::ResetBeforeHeaders
        | Fault::ResetInHeaders
        | Fault::ResetInBody
        | Fault::TruncatedBody => Forgiven(ErrorKind::Interrupted),
        Fault::Http(408 | 425 | 500..=599) => Forgiven(ErrorKind::Unavailable),
        Fault::Http(429)
        | Fault::RetryAfterSeconds
        | Fault::RetryAfterDate
        | Fault::RetryAfterAbsurd
        | Fault::RetryAfterNegative => Forgiven(ErrorKind::RateLimited),
        Fault::Http(401 | 403) => Ends(ErrorKind::CredentialsRefused),
        Fault::Http(404) => Ends(ErrorKind::WrongAddress),
        Fault::Http(_) => Ends(ErrorKind::Rejected),
        Fault::Redirect(_) => Ends(ErrorKind::Redirected),
        Fault::ForeignEnvelope(_) => Forgiven(ErrorKind::UnknownCode),
        Fault::Html | Fault::TruncatedJson | Fault::EmptyBody | Fault::Utf16 | Fault::Compressed => {
            Forgiven(ErrorKind::Undecodable)
        }
        Fault::WrongContentType | Fault::NotUtf8 => ReadAsItIs,
        Fault::TooLarge => Forgiven(ErrorKind::TooLarge),
        Fault::Code(1005) => Forgiven(ErrorKind::RateLimited),
        Fault::Code(1008 | 1014) | Fault::Forgotten => Ends(ErrorKind::UnknownJob),
        Fault::Code(1101 | 1102 | 1109 | 1200) => Ends(ErrorKind::CredentialsRefused),
        Fault::Code(1299) => Forgiven(ErrorKind::UnknownCode),
        Fault::Code(_) => Ends(ErrorKind::Rejected),
        Fault::CodeAsText | Fault::MessageMissing | Fault::MessageNull => ReadAsItIs,
        Fault::CodeMissing | Fault::EnvelopeInList | Fault::EnvelopeTwice => Forgiven(ErrorKind::Undecodable),
        Fault::DataNull | Fault::DataMissing | Fault::DataString | Fault::DataArray => {
            Forgiven(ErrorKind::Undecodable)
        }
        Fault::StatusMissing | Fault::StatusRenamed | Fault::StatusNull | Fault::StatusHuge => {
            Forgiven(ErrorKind::Undecodable)
        }
        Fault::StatusNumber(number) => Read(Status::from(number)),
        Fault::StatusAsText | Fault::StatusAsFraction | Fault::OtherTypes => ReadAsItIs,
        Fault::StatusGoesBack => Read(Status::Queueing),
        Fault::NoVideo | Fault::VideoIsNoUrl => Forgiven(ErrorKind::MissingVideo),
    }
}

/// What a creation with a fault comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Made {
    /// The ids were read.
    Created,
    /// Nothing was created, for certain.
    NotCreated,
    /// Nobody knows: the outcome is unknown.
    Unknown,
}

/// The table's other half.
fn of_a_creation(fault: Fault) -> Made {
    match fault {
        Fault::Refused | Fault::NameNotFound | Fault::TlsFails | Fault::ConnectHangs => Made::NotCreated,
        Fault::NeverAnswers
        | Fault::Trickle
        | Fault::ClosedBeforeHeaders
        | Fault::ResetBeforeHeaders
        | Fault::ResetInHeaders
        | Fault::ResetInBody
        | Fault::TruncatedBody => Made::Unknown,
        Fault::Http(408 | 499) => Made::Unknown,
        Fault::Http(400..=499) => Made::NotCreated,
        // A gateway's answer says nothing of what the service behind it has done.
        Fault::Http(_) | Fault::ForeignEnvelope(_) => Made::Unknown,
        Fault::RetryAfterSeconds
        | Fault::RetryAfterDate
        | Fault::RetryAfterAbsurd
        | Fault::RetryAfterNegative => Made::NotCreated,
        Fault::Redirect(302 | 303) => Made::Unknown,
        Fault::Redirect(_) => Made::NotCreated,
        Fault::Html
        | Fault::TruncatedJson
        | Fault::EmptyBody
        | Fault::Utf16
        | Fault::Compressed
        | Fault::TooLarge => Made::Unknown,
        // Processing, creation or parsing failed: after what, only the vendor knows.
        Fault::Code(1015 | 1205 | 1208) => Made::Unknown,
        // Nobody documented it.
        Fault::Code(1299) => Made::Unknown,
        Fault::Code(_) | Fault::Forgotten => Made::NotCreated,
        Fault::WrongContentType | Fault::NotUtf8 => Made::Created,
        Fault::EnvelopeInList | Fault::EnvelopeTwice => Made::Unknown,
        // Ids that were told are ids.
        Fault::CodeMissing | Fault::CodeAsText | Fault::MessageMissing | Fault::MessageNull => Made::Created,
        // Each language's result stands beside `data`.
        Fault::DataNull | Fault::DataMissing | Fault::DataString | Fault::DataArray => Made::Created,
        Fault::StatusMissing
        | Fault::StatusRenamed
        | Fault::StatusNull
        | Fault::StatusNumber(_)
        | Fault::StatusHuge
        | Fault::StatusAsText
        | Fault::StatusAsFraction
        | Fault::StatusGoesBack
        | Fault::NoVideo
        | Fault::VideoIsNoUrl
        | Fault::OtherTypes => Made::Created,
    }
}

/// Words that the error's text must have: the cause, so that a reader knows what happened.
fn cause(fault: Fault) -> String {
    match fault {
        Fault::Refused => "refused".into(),
        Fault::NameNotFound => "no address for akool.invalid".into(),
        Fault::TlsFails | Fault::ConnectHangs => "cannot connect".into(),
        Fault::NeverAnswers | Fault::Trickle => "in time".into(),
        Fault::ClosedBeforeHeaders
        | Fault::ResetBeforeHeaders
        | Fault::ResetInHeaders
        | Fault::ResetInBody
        | Fault::TruncatedBody => "broke".into(),
        Fault::Http(status) | Fault::Redirect(status) => format!("HTTP status {status}"),
        Fault::RetryAfterSeconds
        | Fault::RetryAfterDate
        | Fault::RetryAfterAbsurd
        | Fault::RetryAfterNegative => "HTTP status 429".into(),
        Fault::ForeignEnvelope(status) => format!("code {status}"),
        Fault::Html => "Please sign in".into(),
        Fault::TruncatedJson => "EOF".into(),
        Fault::EmptyBody => "is empty".into(),
        Fault::Utf16 => "no JSON".into(),
        Fault::Compressed => "compressed (gzip)".into(),
        Fault::TooLarge => "larger than".into(),
        Fault::Code(code) => format!("code {code}"),
        Fault::Forgotten => "code 1014".into(),
        Fault::DataNull | Fault::DataMissing => "no `data`".into(),
        Fault::DataString => "`data` is the string".into(),
        Fault::DataArray => "`data` is a list".into(),
        Fault::CodeMissing | Fault::EnvelopeInList => "no readable `code`".into(),
        Fault::StatusMissing | Fault::StatusRenamed | Fault::StatusNull | Fault::EnvelopeTwice => {
            "no `video_status`".into()
        }
        Fault::StatusHuge => "`video_status` is the number 1e".into(),
        Fault::NoVideo | Fault::VideoIsNoUrl => "no usable link".into(),
        _ => String::new(),
    }
}

/// Finds no host, and asks nobody.
struct Nowhere;

impl Resolve for Nowhere {
    fn resolve(&self, name: Name) -> Resolving {
        let error: Box<dyn Error + Send + Sync> = format!("no address for {}", name.as_str()).into();
        Box::pin(async move { Err(error) })
    }
}

/// A client that meets this fault at this server.
fn client_for(server: &MockServer, fault: Fault) -> Client {
    let mut builder = Client::builder()
        .credential(Credential::api_key(server.api_key()).unwrap())
        // Long for a machine that is busy, short for a test of a server that never answers.
        .request_timeout(Duration::from_millis(if hangs(fault) { 500 } else { 20_000 }))
        .create_timeout(Duration::from_millis(if hangs(fault) { 500 } else { 20_000 }))
        .connect_timeout(Duration::from_millis(if fault == Fault::ConnectHangs { 200 } else { 10_000 }));
    let mut http = reqwest::Client::builder().no_proxy();
    if fault == Fault::NameNotFound {
        http = http.dns_resolver(Arc::new(Nowhere));
        builder = builder.base_url("http://akool.invalid").allow_plain_http();
    } else {
        builder = builder.base_url(server.url_for(fault));
    }
    builder.http(http).build().unwrap()
}

fn hangs(fault: Fault) -> bool {
    matches!(fault, Fault::NeverAnswers | Fault::Trickle | Fault::ConnectHangs)
}

fn is_before_any_server(fault: Fault) -> bool {
    matches!(fault, Fault::Refused | Fault::NameNotFound | Fault::TlsFails | Fault::ConnectHangs)
}

fn eager(budget: u32) -> PollPolicy {
    PollPolicy::fixed(Duration::from_millis(10)).with_max_failures(budget)
}

fn early(error: &WaitError) -> &akool::LastKnown {
    match error {
        WaitError::RetriesExhausted(end) | WaitError::Rejected(end) | WaitError::Timeout(end) => end,
        other => panic!("{other}"),
    }
}

/// What came, and what to do about it, in the text that a person reads.
fn assert_says(fault: Fault, kind: ErrorKind, text: &str) {
    assert!(text.contains(&cause(fault)), "{fault:?}: no `{}` in: {text}", cause(fault));
    assert!(text.contains(kind.advice()), "{fault:?}: no advice in: {text}");
}

/// A fault that does not go away.
async fn a_lasting(fault: Fault) {
    const BUDGET: u32 = 3;
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().processing(Polls(2)).completed());
    server.inject(fault, Times::Always);
    let mut wait = client_for(&server, fault).job(ID).wait().policy(eager(BUDGET));
    if matches!(fault, Fault::RetryAfterSeconds | Fault::RetryAfterDate | Fault::RetryAfterAbsurd) {
        // One honoured pause is enough; `honoured_pauses` measures it.
        wait = wait.policy(eager(1));
    }
    if matches!(expected(fault), Read(status) if !status.is_terminal()) {
        wait = wait.timeout(Duration::from_millis(200));
    }
    let end = wait.await;
    let seen = server.polls_of(ID).len();
    match expected(fault) {
        ReadAsItIs => {
            end.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
            assert_eq!(seen, 3, "{fault:?}");
        }
        Read(status) => {
            let error = end.unwrap_err();
            assert!(matches!(error, WaitError::Timeout(_)), "{fault:?}: {error}");
            let end = early(&error);
            assert_eq!(end.last_snapshot.as_ref().unwrap().status(), status, "{fault:?}");
            assert_eq!((end.polls, end.failures), (end.answers, 0), "{fault:?}");
        }
        Forgiven(kind) => {
            let error = end.unwrap_err();
            assert!(matches!(error, WaitError::RetriesExhausted(_)), "{fault:?}: {error}");
            let end = early(&error);
            let trouble = end.last_error.as_ref().unwrap();
            assert_eq!(trouble.kind(), kind, "{fault:?}: {error}");
            assert_eq!(end.polls, end.failures, "{fault:?}");
            if end.polls != 1 {
                assert_eq!(end.polls, BUDGET, "{fault:?}");
            }
            if !is_before_any_server(fault) {
                assert_eq!(seen, end.polls as usize, "{fault:?}");
            }
            assert_says(fault, kind, &error.to_string());
            // A job that is completed does not go on; all others do.
            let goes_on = error.to_string().contains("the job goes on");
            assert_eq!(goes_on, kind != ErrorKind::MissingVideo, "{fault:?}: {error}");
        }
        Ends(kind) => {
            let error = end.unwrap_err();
            assert!(matches!(error, WaitError::Rejected(_)), "{fault:?}: {error}");
            let end = early(&error);
            assert_eq!(end.last_error.as_ref().unwrap().kind(), kind, "{fault:?}: {error}");
            assert_eq!((end.polls, seen), (1, 1), "{fault:?}: polled again");
            assert_says(fault, kind, &error.to_string());
        }
    }
}

/// A fault that happens once, after which all is well.
async fn a_passing(fault: Fault) {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().processing(Polls(1)).completed());
    server.inject(fault, Times::Once);
    // A budget of two: one failure is forgiven. Where time is short on purpose, a machine that is
    // busy may fail more polls than one.
    let budget = if hangs(fault) { 20 } else { 2 };
    let wait = client_for(&server, fault).job(ID).wait().policy(eager(budget));
    let events: Vec<_> = wait.events().collect().await;
    let troubles: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Trouble { error, .. } => Some(error.kind()),
            _ => None,
        })
        .collect();
    let Some(Event::Ended(end)) = events.last() else { panic!("{fault:?}: no end") };
    match expected(fault) {
        Read(_) | ReadAsItIs => assert_eq!(troubles, [], "{fault:?}"),
        Forgiven(kind) => assert!(troubles.contains(&kind), "{fault:?}: {troubles:?}"),
        Ends(_) => return assert!(end.is_err(), "{fault:?}"),
    }
    assert!(end.is_ok(), "{fault:?}: {end:?}");
    if !hangs(fault) {
        assert!(troubles.len() <= 1, "{fault:?}: {troubles:?}");
        assert_eq!(server.polls_of(ID).len(), 2, "{fault:?}");
    }
}

/// A creation under a fault that does not go away: it is sent once, whatever comes of it.
async fn a_creation_under(fault: Fault) {
    let server = MockServer::start().await;
    server.inject_into_creations(fault, Times::Always);
    let translate = client_for(&server, fault).translate("https://example.com/talk.mp4").to(["es", "fr"]);
    let sent = translate.send().await;
    let requests = server.exchanges().len();
    let made = match &sent {
        Ok(_) => Made::Created,
        Err(CreateError::NotCreated(_)) => Made::NotCreated,
        Err(CreateError::OutcomeUnknown(_)) => Made::Unknown,
        Err(other) => panic!("{fault:?}: {other}"),
    };
    assert_eq!(made, of_a_creation(fault), "{fault:?}: {sent:?}");
    assert_eq!(requests, usize::from(!is_before_any_server(fault)), "{fault:?}: sent again");

    let created = server.created();
    match sent {
        Ok(creation) => {
            let ids: Vec<_> = creation.jobs().iter().map(|job| job.id.as_str().to_owned()).collect();
            assert_eq!(ids, created.iter().map(|job| job.id.clone()).collect::<Vec<_>>(), "{fault:?}");
        }
        Err(error) if made == Made::NotCreated => {
            assert!(created.is_empty(), "{fault:?}: paid for, and nobody was told");
            assert!(!error.may_have_created());
            assert!(error.to_string().starts_with("nothing was created: "), "{fault:?}: {error}");
        }
        Err(error) => {
            assert_eq!(created.len(), 2, "{fault:?}");
            assert!(error.may_have_created());
            let text = error.to_string();
            assert!(text.contains("the outcome is unknown"), "{fault:?}: {text}");
            assert!(text.contains("may have been created and paid for"), "{fault:?}: {text}");
        }
    }
}

async fn some_at_once(cases: impl Iterator<Item = impl Future<Output = ()>>) {
    stream::iter(cases).for_each_concurrent(8, |case| case).await;
}

#[tokio::test]
async fn every_fault_that_lasts_ends_as_the_table_says() {
    some_at_once(Fault::all().into_iter().map(a_lasting)).await;
}

#[tokio::test]
async fn every_fault_that_passes_costs_nothing_but_a_poll() {
    let passing = Fault::all().into_iter().filter(|fault| {
        // Pauses of seconds to minutes are measured in `honoured_pauses`.
        !is_before_any_server(*fault)
            && !matches!(fault, Fault::RetryAfterSeconds | Fault::RetryAfterDate | Fault::RetryAfterAbsurd)
    });
    some_at_once(passing.map(a_passing)).await;
}

#[tokio::test]
async fn a_creation_is_sent_once_under_every_fault() {
    some_at_once(Fault::all().into_iter().map(a_creation_under)).await;
}

#[tokio::test]
async fn honoured_pauses() {
    for (fault, at_least, at_most) in [
        (Fault::RetryAfterSeconds, 1, 1),
        (Fault::RetryAfterDate, 1, 2),
        (Fault::RetryAfterAbsurd, 900, 900),
        (Fault::RetryAfterNegative, 0, 0),
        (Fault::Http(429), 0, 0),
    ] {
        let server = MockServer::start().await;
        server.job(ID, Timeline::new().completed());
        server.inject(fault, Times::Once);
        let mut events = client_for(&server, fault).job(ID).wait().policy(eager(2)).events();
        let Some(Event::Trouble { next_poll_in, .. }) = events.next().await else { panic!("{fault:?}") };
        let pause = next_poll_in.as_secs();
        assert!((at_least..=at_most).contains(&pause), "{fault:?}: {next_poll_in:?}");
    }
}

#[tokio::test]
async fn a_timeout_cuts_an_absurd_pause_short() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().completed());
    server.inject(Fault::RetryAfterAbsurd, Times::Once);
    let began = Instant::now();
    let wait = client_for(&server, Fault::RetryAfterAbsurd).job(ID).wait().policy(eager(5));
    // The last poll, at the timeout, finds it completed.
    wait.timeout(Duration::from_millis(200)).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(200));
}

/// The table for people.
fn printed() -> String {
    let mut text = String::from(
        "# What is made of trouble\n\n\
         <!-- Printed by tests/library/faults.rs from its table; run it with UPDATE_DOCS=1 to accept a change. -->\n\n\
         Each row is a fault that the mock server can make, and has a test over a real socket. *Forgiven* counts\n\
         against the failure budget (20 polls in a row unless set); a poll that succeeds refills it. *Ends* ends\n\
         the wait at once; the job itself goes on.\n\n\
         A creation is sent once, whatever happens. *Not created* is certain: the same request may be sent\n\
         again. *Outcome unknown* is not: jobs may exist and be paid for, so nothing sends it again by itself.\n\n\
         | trouble | what a wait does | what it is (`ErrorKind`) | what to do | what a creation comes to |\n\
         |---|---|---|---|---|\n",
    );
    for fault in Fault::all() {
        let (does, kind) = match expected(fault) {
            Read(status) => (format!("goes on, status {status}"), None),
            ReadAsItIs => ("goes on, the status is read".to_owned(), None),
            Forgiven(kind) => ("forgiven, polls again".to_owned(), Some(kind)),
            Ends(kind) => ("ends".to_owned(), Some(kind)),
        };
        let name = kind.map_or("-".to_owned(), |kind| format!("`{kind:?}`"));
        let advice = kind.map_or("-", ErrorKind::advice);
        let what = match fault {
            Fault::Code(code) => match akool::BusinessCode(code).meaning() {
                Some(meaning) => format!("code {code}: {meaning}"),
                None => format!("code {code}: undocumented"),
            },
            other => other.description(),
        };
        let made = match of_a_creation(fault) {
            Made::Created => "created, the ids are read",
            Made::NotCreated => "not created",
            Made::Unknown => "**outcome unknown**",
        };
        writeln!(text, "| {what} | {does} | {name} | {advice} | {made} |").unwrap();
    }
    text
}

#[test]
fn the_printed_table_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");
    let printed = printed();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs")).unwrap();
        std::fs::write(path, &printed).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == printed, "docs/errors.md is out of date; run with UPDATE_DOCS=1");
}

#[test]
fn every_documented_code_is_a_fault() {
    for (code, _, _) in akool::BusinessCode::TABLE {
        let listed = Fault::all().contains(&Fault::Code(code.0));
        assert_eq!(listed, *code != akool::BusinessCode::SUCCESS, "{code}");
    }
}
