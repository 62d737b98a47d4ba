//! A worker whose spans are part of its callers' traces, with OpenTelemetry: they are printed to standard output.
//!
//! Replace the exporter by that of the crate `opentelemetry-otlp` to send them to a collector.
//!
//! ```sh
//! AKOOL_API_KEY=... cargo run -p akool-restate --example traced_worker -- 127.0.0.1:9080
//! ```
//!
//! Then create with `WaitOptions::traceparent`, or with a header `traceparent` at the ingress.

use std::collections::HashMap;

use akool_restate::Worker;
use opentelemetry::{propagation::TextMapPropagator as _, trace::TracerProvider as _};
use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SdkTracerProvider};
use opentelemetry_stdout::SpanExporter;
use tracing::{Level, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{
    Layer as _, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// Makes a span a child of the caller's.
fn set_parent(span: &Span, traceparent: &str) {
    let headers = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    // A span that no subscriber wants has no parent.
    let _ = span.set_parent(TraceContextPropagator::new().extract(&headers));
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let provider = SdkTracerProvider::builder().with_simple_exporter(SpanExporter::default()).build();
    let wanted = Targets::new().with_target("akool", Level::DEBUG).with_target("akool_restate", Level::DEBUG);
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("worker")).with_filter(wanted);
    tracing_subscriber::registry().with(layer).init();

    let worker = Worker::builder()
        .credential("default", akool::Client::from_env()?)
        .ingress([variable("INGRESS", "http://127.0.0.1:8080").parse()?])
        .admin(variable("ADMIN", "http://127.0.0.1:9070").parse()?)
        .listen(std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9080".to_owned()).parse()?)
        .trace_parent(set_parent)
        .bind()?;
    worker.serve(async { drop(tokio::signal::ctrl_c().await) }).await?;
    provider.shutdown()?;
    Ok(())
}
