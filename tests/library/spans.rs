//! Spans: a parent for each wait and each creation, and a child for each attempt, with what the service answered.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    future::Future,
    sync::{Arc, Mutex},
};

use akool::Client;
use akool_mock::{Fault, MockServer, Polls, Timeline, Times};
use akool_tests::{ID, client_of, eager, token_client_of};
use tracing::{
    Instrument, Subscriber,
    field::{Field, Visit},
    info_span,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

#[derive(Clone, Debug, Default)]
struct Recorded {
    name: &'static str,
    /// The number of its parent among all spans.
    parent: Option<usize>,
    fields: BTreeMap<&'static str, String>,
    is_closed: bool,
}

impl Recorded {
    fn get(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }

    fn response(&self) -> [Option<&str>; 3] {
        ["http.response.status_code", "akool.code", "error.type"].map(|field| self.get(field))
    }
}

impl Visit for Recorded {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

/// The spans of this project, in the order in which they were made.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Recorded>>>);

struct Number(usize);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if !attributes.metadata().target().starts_with("akool") && attributes.metadata().name() != "request" {
            return;
        }
        let span = context.span(id).unwrap();
        let parents = span.scope().skip(1);
        let parent = parents.into_iter().find_map(|span| Some(span.extensions().get::<Number>()?.0));
        let mut recorded = Recorded { name: attributes.metadata().name(), parent, ..Recorded::default() };
        attributes.record(&mut recorded);
        let mut all = self.0.lock().unwrap();
        span.extensions_mut().insert(Number(all.len()));
        all.push(recorded);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        if let Some(Number(number)) = span.extensions().get() {
            values.record(&mut self.0.lock().unwrap()[*number]);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        if let Some(Number(number)) = span.extensions().get() {
            self.0.lock().unwrap()[*number].is_closed = true;
        }
    }
}

/// The spans of this work, all of which have ended.
fn spans(work: impl Future<Output = ()>) -> Vec<Recorded> {
    let spans = Spans::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(spans.clone()), || {
        runtime.block_on(work);
    });
    let all = spans.0.lock().unwrap().clone();
    assert!(all.iter().all(|span| span.is_closed), "{all:?}");
    all
}

#[test]
fn a_wait_has_a_child_for_each_poll() {
    let spans = spans(async {
        let server = MockServer::start().await;
        server.job(ID, Timeline::new().processing(Polls(1)).completed());
        server.inject(Fault::Http(503), Times::Once);
        server.inject(Fault::Code(1005), Times::Once);
        let wait = async { client_of(&server).job(ID).wait().policy(eager()).await };
        wait.instrument(info_span!("request")).await.unwrap();
    });
    let names: Vec<_> = spans.iter().map(|span| (span.name, span.parent)).collect();
    let poll = ("akool.poll", Some(1));
    assert_eq!(names, [("request", None), ("akool.wait", Some(0)), poll, poll, poll, poll]);
    let wait = &spans[1];
    assert_eq!(
        [wait.get("job"), wait.get("polls"), wait.get("end")],
        [Some(ID), Some("4"), Some("Completed")]
    );
    let attempts = spans[2..].iter().map(|poll| poll.get("attempt").unwrap());
    assert!(attempts.eq(["1", "2", "3", "4"]));
    let responses: Vec<_> = spans[2..].iter().map(Recorded::response).collect();
    let success = [Some("200"), Some("1000"), None];
    assert_eq!(
        responses[..2],
        [[Some("503"), None, Some("unavailable")], [Some("200"), Some("1005"), Some("rate_limited")],]
    );
    assert_eq!(responses[2..], [success, success]);
}

#[test]
fn a_wait_that_is_dropped_or_times_out_ends_its_span() {
    let spans = spans(async {
        let server = MockServer::start().await;
        server.job(ID, Timeline::new().stuck(2));
        let mut set = client_of(&server).wait_set().policy(eager());
        set.insert(ID);
        set.next().await.unwrap();
        drop(set);
        let wait = client_of(&server).job(ID).wait().timeout(std::time::Duration::ZERO);
        wait.await.unwrap_err();
    });
    let ends: Vec<_> =
        spans.iter().filter(|span| span.name == "akool.wait").map(|span| span.get("end")).collect();
    assert_eq!(ends, [None, Some("Timeout")]);
}

async fn create(client: Client, languages: &[&str]) {
    let request = client.translate("https://example.com/talk.mp4").to(languages.iter().copied());
    drop(request.send().await);
}

#[test]
fn a_creation_has_a_child_for_each_attempt() {
    let spans = spans(async {
        let server = MockServer::start().await;
        let client = token_client_of(&server);
        client.credits().await.unwrap();
        server.expire_token();
        create(client, &["es", "fr"]).await;
        server.inject_into_creations(Fault::ClosedBeforeHeaders, Times::Once);
        create(client_of(&server), &["es"]).await;
        server.reject_language("tlh", 1003, "no");
        create(client_of(&server), &["tlh"]).await;
    });
    let creations: Vec<_> =
        spans.iter().enumerate().filter(|(_, span)| span.name == "akool.create").collect();
    let shown: Vec<_> = creations
        .iter()
        .map(|(number, creation)| {
            let attempts = spans.iter().filter(|span| span.parent == Some(*number));
            let attempts = attempts.map(|span| (span.get("operation").unwrap(), span.response()));
            (["languages", "jobs", "outcome"].map(|field| creation.get(field).unwrap()), attempts.collect())
        })
        .collect();
    let create = "create_translation";
    let wanted: Vec<([&str; 3], Vec<_>)> = vec![
        (
            ["es,fr", "2", "created"],
            vec![
                (create, [Some("200"), Some("1101"), Some("credentials_refused")]),
                ("get_token", [Some("200"), Some("1000"), None]),
                (create, [Some("200"), Some("1000"), None]),
            ],
        ),
        (["es", "0", "unknown"], vec![(create, [None, None, Some("interrupted")])]),
        (["tlh", "0", "not_created"], vec![(create, [Some("200"), Some("1003"), Some("rejected")])]),
    ];
    assert_eq!(shown, wanted);
}
