//! A handler of your own that is told each outcome, exactly once: a virtual object whose key is the job's id.
//!
//! ```sh
//! cargo run -p akool-restate --example outcomes -- 127.0.0.1:9081
//! curl http://127.0.0.1:9070/deployments --json '{"uri": "http://127.0.0.1:9081"}'
//! ```
//!
//! Then create with `WaitOptions::deliver(Target::Handler { service: "Outcomes", key: Some("{id}"), handler: "record" })`.

use akool_restate::Outcome;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use restate_sdk::{endpoint::Endpoint, hyper::HyperEndpoint, prelude::*};
use tokio::net::TcpListener;

struct Outcomes;

#[restate_sdk::object(client_visibility = "pub(crate)")]
impl Outcomes {
    /// Counts, so that a test can tell once from twice.
    #[handler(ingress_private)]
    async fn record(&self, ctx: ObjectContext<'_>, outcome: Json<Outcome>) -> HandlerResult<()> {
        let count = ctx.get::<u64>("count").await?.unwrap_or_default();
        println!("{}: {:?}", outcome.0.job, outcome.0.end);
        ctx.set("count", count + 1);
        // The W3C trace context of the caller: the parent of this handler's spans.
        if let Some(traceparent) = ctx.headers().get("traceparent") {
            ctx.set("traceparent", traceparent.to_owned());
        }
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9081".to_owned());
    let listener = TcpListener::bind(address).await?;
    let service = HyperEndpoint::new(Endpoint::builder().bind(Outcomes).build());
    loop {
        let (stream, _) = listener.accept().await?;
        let connection = http2::Builder::new(TokioExecutor::new());
        tokio::spawn(connection.serve_connection(TokioIo::new(stream), service.clone()));
    }
}
