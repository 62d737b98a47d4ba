//! Traces of a translation with OpenTelemetry: the spans of a creation and of each wait, printed to standard output.
//!
//! Replace the exporter by that of the crate `opentelemetry-otlp` to send them to a collector. Against the sandbox
//! (`akool sandbox`), which needs no key of yours:
//!
//! ```sh
//! AKOOL_API_HOST=http://127.0.0.1:4010 AKOOL_API_KEY=sandbox-key-000000000000 \
//!     cargo run -p akool --example opentelemetry -- https://example.com/talk.mp4 es
//! ```

use akool::Client;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use opentelemetry_stdout::SpanExporter;
use tracing::{Instrument, Level, info_span};
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(url), languages) = (args.next(), args.collect::<Vec<_>>()) else {
        return Err("usage: opentelemetry URL LANGUAGE...".into());
    };
    let provider = SdkTracerProvider::builder().with_simple_exporter(SpanExporter::default()).build();
    let tracer = provider.tracer("translations");
    // The spans of the library have the level debug.
    let wanted = Targets::new().with_target("akool", Level::DEBUG).with_default(Level::INFO);
    let layer = tracing_opentelemetry::layer().with_tracer(tracer).with_filter(wanted);
    tracing_subscriber::registry().with(layer).init();

    // All spans of the translation are in this one, and so in one trace.
    let translated = translate(url, languages).instrument(info_span!("translation")).await;
    provider.shutdown()?;
    translated
}

async fn translate(url: String, languages: Vec<String>) -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::from_env()?;
    let created = client.translate(url).to(languages).send().await?;
    for job in &created.jobs {
        let translation = client.job(&job.id).wait().await?;
        eprintln!("{}: {}", job.id, translation.video());
    }
    Ok(())
}
