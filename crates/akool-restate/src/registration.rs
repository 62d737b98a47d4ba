//! Registers a worker at the admin API of the cluster.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};
use url::Url;

/// How long the admin API may not answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A worker cannot be registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// The admin API does not answer.
    #[error("the admin API of the Restate server does not answer at {admin}")]
    #[non_exhaustive]
    NoAnswer {
        /// Its address.
        admin: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The admin API refused the worker.
    #[error("the Restate server did not register the worker (HTTP status {status}): {message}")]
    #[non_exhaustive]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Why, in the server's words.
        message: String,
    },
}

/// Registers the worker that the cluster reaches at this URL. If a worker is registered there, with the same services,
/// nothing changes; with services of another release, they are replaced.
pub(crate) async fn register(
    http: &reqwest::Client,
    admin: &Url,
    url: &Url,
) -> Result<(), RegistrationError> {
    let (since, mut pause) = (Instant::now(), Duration::from_millis(100));
    loop {
        let (source, status) = match attempt(http, admin, url).await {
            Ok((200..=299, _)) => return Ok(()),
            // The server is starting, or does not reach this worker yet.
            Ok((status @ (408 | 429 | 500..), message)) => (None, Some((status, message))),
            Ok((status, message)) => return Err(RegistrationError::Refused { status, message }),
            Err(source) => (Some(source), None),
        };
        if since.elapsed() > PATIENCE {
            return Err(match (source, status) {
                (Some(source), _) => {
                    RegistrationError::NoAnswer { admin: admin.to_string(), source: source.without_url() }
                }
                (None, status) => {
                    let (status, message) = status.unwrap_or_default();
                    RegistrationError::Refused { status, message }
                }
            });
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

async fn attempt(http: &reqwest::Client, admin: &Url, url: &Url) -> Result<(u16, String), reqwest::Error> {
    let mut deployments = admin.clone();
    deployments.set_path(&format!("{}/deployments", admin.path().trim_end_matches('/')));
    let body = json!({ "uri": url.as_str(), "force": false });
    let response = http.post(deployments).json(&body).timeout(Duration::from_secs(20)).send().await?;
    let status = response.status().as_u16();
    Ok((status, akool::redact::excerpt(&response.text().await?)))
}
