//! Metrics: each one has the right value after real calls to the mock server. `docs/metrics.md` is printed from the list
//! in the code: run with `UPDATE_DOCS=1` to accept a change.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    future::Future,
    time::Duration,
};

use akool::{
    ErrorKind, PollPolicy, Status, Update, WaitSet,
    metrics::{METRICS, MetricKind},
};
use akool_mock::{Fault, MockServer, Polls, RetryAfter, Timeline, Times};
use akool_tests::{ID, client_of, eager};
use futures_util::StreamExt;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use serde_json::Value;

const VIDEO: &str = "https://example.com/talk.mp4";

/// The metrics that were recorded: by name, and by label if there is one. Histograms have all their values.
type Recorded = BTreeMap<String, Vec<f64>>;

/// Runs this on one thread with a recorder of its own.
fn recorded(work: impl Future<Output = ()>) -> Recorded {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        akool::metrics::describe();
        runtime.block_on(work);
    });
    let value = |value| match value {
        DebugValue::Counter(count) => vec![count as f64],
        DebugValue::Gauge(value) => vec![value.into_inner()],
        DebugValue::Histogram(values) => values.into_iter().map(Into::into).collect(),
    };
    let mut recorded = Recorded::new();
    for (key, unit, description, debug) in snapshotter.snapshot().into_vec() {
        let metric = METRICS.iter().find(|metric| metric.name == key.key().name()).expect("a listed metric");
        assert_eq!(description.as_deref(), Some(metric.meaning), "{}", metric.name);
        assert_eq!(unit.is_some_and(|unit| unit.as_str() == "seconds"), metric.unit == "seconds");
        let kind = match &debug {
            DebugValue::Counter(_) => MetricKind::Counter,
            DebugValue::Gauge(_) => MetricKind::Gauge,
            DebugValue::Histogram(_) => MetricKind::Histogram,
        };
        assert_eq!(metric.kind, kind, "{}", metric.name);
        let mut name = metric.name.to_owned();
        for label in key.key().labels() {
            assert_eq!(Some(label.key()), metric.label, "{}", metric.name);
            name += &format!(" {}", label.value());
        }
        recorded.insert(name, value(debug));
    }
    recorded
}

#[test]
fn creations_count_jobs_credits_and_unknown_outcomes() {
    let recorded = recorded(async {
        let server = MockServer::start().await;
        server.set_credits_per_job(6);
        server.reject_language("tlh", 1003, "no");
        let client = client_of(&server);
        client.translate(VIDEO).to(["es", "fr", "tlh"]).send().await.unwrap();
        client.translate(VIDEO).to(["tlh"]).send().await.unwrap_err();
        server.inject_into_creations(Fault::ClosedBeforeHeaders, Times::Once);
        client.translate(VIDEO).to(["es", "ja"]).send().await.unwrap_err();
        akool::metrics::record_unknown(3);
    });
    assert_eq!(
        recorded,
        of([
            ("akool_credits_held", &[6.0, 6.0]),
            ("akool_jobs_created_total", &[2.0]),
            ("akool_jobs_unknown_total", &[5.0]),
        ])
    );
}

fn of<const N: usize>(values: [(&str, &[f64]); N]) -> Recorded {
    values.map(|(name, values)| (name.to_owned(), values.to_vec())).into()
}

#[test]
fn waits_count_polls_errors_ends_and_credits() {
    let recorded = recorded(async {
        let server = MockServer::start().await;
        server.job("completes", Timeline::new().processing(Polls(2)).completed());
        server.job("fails", Timeline::new().failed(1015, "no speech"));
        server.inject(Fault::Http(503), Times::Once);
        let client = client_of(&server);
        client.job("completes").wait().policy(eager()).await.unwrap();
        client.job("fails").wait().policy(eager()).await.unwrap_err();
        // Nobody waits for the job, so this poll is only a poll.
        client.job("completes").get().await.unwrap();
    });
    assert_eq!(
        recorded,
        of([
            ("akool_credits_charged", &[10.0]),
            ("akool_jobs_completed_total", &[1.0]),
            ("akool_jobs_failed_total", &[1.0]),
            ("akool_polls_total", &[6.0]),
            ("akool_transient_errors_total unavailable", &[1.0]),
            ("akool_waiting_jobs", &[0.0]),
        ])
    );
}

#[test]
fn the_gauge_has_the_jobs_that_are_waited_for() {
    let waiting = |more: fn(&mut WaitSet)| {
        let recorded = recorded(async {
            let server = MockServer::start().await;
            let mut set = client_of(&server).wait_set();
            set.extend(["a", "b", "b", "c"]);
            more(&mut set);
            // The recorder reads the gauge after the runtime has ended; the set is still there.
            std::mem::forget(set);
        });
        recorded["akool_waiting_jobs"].clone()
    };
    assert_eq!(waiting(|_| {}), [3.0]);
    assert_eq!(waiting(|set| assert!(set.remove(&"b".into()))), [2.0]);
    let dropped = recorded(async {
        let server = MockServer::start().await;
        client_of(&server).wait_set().extend(["a", "b"]);
    });
    assert_eq!(dropped, of([("akool_waiting_jobs", &[0.0])]));
}

#[test]
fn times_in_the_queue_and_in_processing_are_those_that_the_polls_saw() {
    let interval = Duration::from_millis(40);
    let mut recorded = recorded(async {
        let server = MockServer::start().await;
        server.stop_clock();
        server.job(ID, Timeline::new().queueing(Polls(1)).processing(Polls(2)).completed());
        let mut updates = client_of(&server).job(ID).wait().policy(PollPolicy::fixed(interval)).updates();
        while let Some(update) = updates.next().await {
            if let Update::Polled { snapshot, .. } = update
                && snapshot.status() == Status::Queueing
            {
                server.advance(Duration::from_secs(90));
            }
        }
        // A wait that begins when the job is processed does not know since when.
        server.job("late", Timeline::new().processing(Polls(1)).completed());
        client_of(&server).job("late").wait().policy(eager()).await.unwrap();
    });
    let queued = recorded.remove("akool_queue_seconds").unwrap();
    // The service tells its time in whole seconds.
    assert!(queued.len() == 1 && (89.0..=90.0).contains(&queued[0]), "{queued:?}");
    let processing = recorded.remove("akool_processing_seconds").unwrap();
    assert_eq!(processing.len(), 1);
    // Two intervals, which vary by a tenth.
    assert!(processing[0] >= 1.5 * interval.as_secs_f64() && processing[0] < 60.0, "{processing:?}");
}

#[test]
fn pauses_count_once_for_all_polls_that_meet_them() {
    let recorded = recorded(async {
        let server = MockServer::start().await;
        let mut set = client_of(&server).wait_set().max_concurrent_polls(4);
        for job in ["a", "b", "c", "d"] {
            server.job(job, Timeline::new().completed());
            set.insert(job);
        }
        server.inject(Fault::RateLimited { retry_after: RetryAfter::Seconds(3) }, Times::Always);
        // The polls under way are answered; the others wait for the end of the pause.
        let mut retrying = 0;
        while retrying < 4 {
            retrying += usize::from(matches!(set.next().await, Some((_, Update::Retrying { .. }))));
        }
    });
    let pauses = &recorded["akool_throttled_seconds"];
    let (sum, limited) =
        (pauses.iter().sum::<f64>(), recorded["akool_transient_errors_total rate_limited"][0]);
    assert!((3.0..4.0).contains(&sum), "{pauses:?}");
    assert_eq!((limited, recorded["akool_polls_total"][0]), (4.0, 4.0));
}

#[test]
fn every_kind_of_error_is_a_label() {
    let recorded = recorded(async {
        let server = MockServer::start().await;
        server.job(ID, Timeline::new().completed());
        server.inject(Fault::Html, Times::Once);
        client_of(&server).job(ID).wait().policy(eager()).await.unwrap();
    });
    let name = format!("akool_transient_errors_total {}", ErrorKind::Undecodable.name());
    assert_eq!(recorded[&name], [1.0]);
}

/// The list as a document.
fn document() -> String {
    let mut table = String::from("| name | kind | unit | label | meaning |\n|---|---|---|---|---|\n");
    for metric in METRICS {
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
            other => panic!("{other:?}"),
        };
        let label = metric.label.map_or("-".to_owned(), |label| format!("`{label}`"));
        writeln!(table, "| `{}` | {kind} | {} | {label} | {} |", metric.name, metric.unit, metric.meaning)
            .unwrap();
    }
    table
}

fn path(name: &str) -> String {
    format!("{}/../docs/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_document_has_the_names_of_the_code() {
    const MARKS: [&str; 2] = ["<!-- names -->\n", "<!-- end of names -->\n"];
    let committed = std::fs::read_to_string(path("metrics.md")).unwrap();
    let (before, rest) = committed.split_once(MARKS[0]).unwrap();
    let (_, after) = rest.split_once(MARKS[1]).unwrap();
    let document = [before, MARKS[0], &document(), MARKS[1], after].concat();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path("metrics.md"), &document).unwrap();
    } else {
        assert!(committed == document, "docs/metrics.md is out of date; run this test with UPDATE_DOCS=1");
    }
    assert_eq!(METRICS.iter().map(|metric| metric.name).collect::<BTreeSet<_>>().len(), METRICS.len());
}

/// The names that an expression of a dashboard has, with the suffixes of histograms.
fn names_in(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Array(elements) => elements.iter().for_each(|element| names_in(element, names)),
        Value::Object(members) => {
            for (key, member) in members {
                match member.as_str().filter(|_| key == "expr") {
                    None => names_in(member, names),
                    Some(expression) => {
                        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                        names.extend(words.filter(|word| word.starts_with("akool")).map(ToOwned::to_owned));
                    }
                }
            }
        }
        _ => {}
    }
}

#[test]
fn the_dashboard_shows_every_metric_and_no_other() {
    let dashboard = std::fs::read_to_string(path("grafana/akool.json")).unwrap();
    let mut shown = BTreeSet::new();
    names_in(&serde_json::from_str(&dashboard).unwrap(), &mut shown);
    let mut missing: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    // `akool fleet worker --metrics` adds this one.
    assert!(shown.remove("akool_fleet_waiting_jobs"), "the dashboard shows fleets");
    for name in &shown {
        let metric = METRICS.iter().find(|metric| match metric.kind {
            MetricKind::Histogram => {
                let suffix = name.strip_prefix(metric.name);
                suffix.is_some_and(|suffix| ["_bucket", "_sum", "_count"].contains(&suffix))
            }
            _ => name == metric.name,
        });
        missing.remove(metric.unwrap_or_else(|| panic!("the dashboard has an unknown metric {name}")).name);
    }
    assert!(missing.is_empty(), "the dashboard does not show {missing:?}");
}
