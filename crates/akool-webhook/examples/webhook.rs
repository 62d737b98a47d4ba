//! Creates a translation and waits for it with the help of a webhook.
//!
//! Start the mock server in one terminal and this example in another:
//!
//! ```sh
//! akool sandbox
//! AKOOL_API_HOST=http://127.0.0.1:4010 AKOOL_API_KEY=sandbox-key-000000000000 AKOOL_CLIENT_ID=sandbox-client \
//!     cargo run -p akool-webhook --example webhook
//! ```
//!
//! For the real service, set `LISTEN` to the address to listen on, and `PUBLIC_URL` to the URL under which
//! the service reaches it.

use std::{env, error::Error, net::SocketAddr, time::SystemTime};

use akool::{Client, JobId, PollPolicy, Update};
use akool_webhook::{MemoryNonces, WebhookVerifier};
use axum::{Router, body::Bytes, extract::DefaultBodyLimit, extract::State, http::StatusCode, routing::post};
use tokio::sync::mpsc;

/// The state of the handler. Clones share their contents.
#[derive(Clone)]
struct App {
    verifier: WebhookVerifier,
    changed: mpsc::Sender<JobId>,
}

/// Turns a message into a poll of its job. The sender sees only the HTTP status.
async fn receive(State(app): State<App>, body: Bytes) -> StatusCode {
    match app.verifier.verify(&body, SystemTime::now()) {
        Ok(event) => {
            println!("event: {} is {}, according to the message", event.job(), event.status());
            // If the channel is full, the next poll comes by itself.
            let _ = app.changed.try_send(event.job().clone());
            StatusCode::OK
        }
        Err(error) => {
            eprintln!("message rejected: {}", error.reason());
            StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::BAD_REQUEST)
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // The API key is also the client secret.
    let client = Client::from_env()?;
    let verifier = WebhookVerifier::new(env::var("AKOOL_CLIENT_ID")?, env::var("AKOOL_API_KEY")?)?
        .nonces(MemoryNonces::new(10_000));
    let (sender, mut changed) = mpsc::channel(100);

    let listen: SocketAddr = env::var("LISTEN").as_deref().unwrap_or("127.0.0.1:0").parse()?;
    let listener = tokio::net::TcpListener::bind(listen).await?;
    let here = format!("http://{}", listener.local_addr()?);
    let webhook = env::var("PUBLIC_URL").unwrap_or(here) + "/akool";
    let limit = DefaultBodyLimit::max(verifier.max_body_bytes());
    let app = App { verifier, changed: sender };
    let router = Router::new().route("/akool", post(receive)).layer(limit).with_state(app);
    tokio::spawn(async { axum::serve(listener, router).await });

    let created =
        client.translate("https://example.com/talk.mp4").to(["es", "fr"]).webhook(webhook).send().await?;
    for rejection in &created.rejected {
        eprintln!("{rejection}");
    }
    // Slow polls continue, so a lost event costs only time.
    let mut set = client.wait_set().policy(PollPolicy::safety_net());
    set.extend(created.jobs.iter().map(|job| &job.id));
    while !set.is_empty() {
        tokio::select! {
            Some(id) = changed.recv() => drop(set.poll_now(&id)),
            Some((_, update)) = set.next() => if let Update::Finished(result) = update {
                let translation = result?;
                println!("done: {} has {} files", translation.id(), translation.files().len());
            },
        }
    }
    Ok(())
}
