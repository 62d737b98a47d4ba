//! `--metrics`: serves the metrics of a worker for Prometheus.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use akool::metrics::{CREDITS_BUCKETS, METRICS, MetricKind, SECONDS_BUCKETS, describe};
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};
use url::Url;

use super::Failure;
use crate::report::Report;

/// How long a connection may take.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the values of histograms are put into their buckets, also if nobody reads them.
const UPKEEP: Duration = Duration::from_secs(5);

/// How often the engine is asked how many jobs wait.
const REFRESH: Duration = Duration::from_secs(15);
/// What no process knows by itself.
const FLEET_WAITING_JOBS: &str = "akool_fleet_waiting_jobs";
/// A waiting job has one call that is scheduled.
const WAITING: &str = "SELECT count(*) AS jobs FROM sys_invocation WHERE target_service_name = 'Job' \
                       AND target_handler_name = 'poll' AND status = 'scheduled'";

/// Ends with the value.
pub(super) struct Served([JoinHandle<()>; 2]);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Records the metrics of this process from now on, and serves them at this address. `admin`: the engine's.
pub(super) async fn serve(
    address: Option<SocketAddr>,
    admin: Url,
    report: &Report,
) -> Result<Option<Served>, Failure> {
    let Some(address) = address else { return Ok(None) };
    let unusable = |error: &dyn std::fmt::Display| {
        Failure::Usage(format!("cannot serve metrics on {address}: {error}; choose another with --metrics"))
    };
    let listener = TcpListener::bind(address).await.map_err(|error| unusable(&error))?;
    let address = listener.local_addr().map_err(|error| unusable(&error))?;
    let mut builder = PrometheusBuilder::new();
    for metric in METRICS.iter().filter(|metric| metric.kind == MetricKind::Histogram) {
        let buckets = if metric.unit == "seconds" { &SECONDS_BUCKETS[..] } else { &CREDITS_BUCKETS[..] };
        let matcher = Matcher::Full(metric.name.to_owned());
        builder = builder.set_buckets_for_metric(matcher, buckets).map_err(|error| unusable(&error))?;
    }
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|error| unusable(&error))?;
    describe();
    let meaning = "Jobs that the fleet waits for; every worker reports the same number";
    metrics::describe_gauge!(FLEET_WAITING_JOBS, metrics::Unit::Count, meaning);
    report.line(format_args!("Metrics are at http://{address}/metrics"));
    Ok(Some(Served([tokio::spawn(accept(listener, handle)), tokio::spawn(refresh(admin))])))
}

/// Sets the gauge again and again.
async fn refresh(admin: Url) {
    let (Ok(http), Ok(url)) = (reqwest::Client::builder().timeout(REFRESH).build(), admin.join("query"))
    else {
        return;
    };
    let query = serde_json::json!({ "query": WAITING }).to_string();
    let mut interval = tokio::time::interval(REFRESH);
    loop {
        interval.tick().await;
        let request = http.post(url.clone()).header("accept", "application/json");
        let sent = request.header("content-type", "application/json").body(query.clone()).send();
        // An engine that does not answer now will later.
        let Ok(answer) = sent.await else { continue };
        let answer = answer.bytes().await.unwrap_or_default();
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        if let Some(jobs) = answer["rows"][0]["jobs"].as_f64() {
            metrics::gauge!(FLEET_WAITING_JOBS).set(jobs);
        }
    }
}

async fn accept(listener: TcpListener, handle: PrometheusHandle) {
    let mut upkeep = tokio::time::interval(UPKEEP);
    loop {
        tokio::select! {
            _ = upkeep.tick() => handle.run_upkeep(),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let handle = handle.clone();
                    let service = service_fn(move |request| std::future::ready(answer(&request, &handle)));
                    let mut http = http1::Builder::new();
                    http.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(CONNECTION_TIMEOUT);
                    let connection = http.serve_connection(TokioIo::new(stream), service);
                    tokio::spawn(tokio::time::timeout(CONNECTION_TIMEOUT, connection));
                }
                // For example, no file handle is free until a connection is closed.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
        }
    }
}

fn answer(
    request: &Request<Incoming>,
    handle: &PrometheusHandle,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::default();
    if request.method() != Method::GET || request.uri().path() != "/metrics" {
        *response.status_mut() = StatusCode::NOT_FOUND;
        return Ok(response);
    }
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    *response.body_mut() = Full::from(handle.render());
    Ok(response)
}
