//! Why a call of the fleet failed: [`FleetError`].

use restate_sdk::ingress::ClientError;

/// A call of the fleet failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// No ingress address answered for a minute. A creation may have begun: repeat it, it creates nothing twice.
    #[error("the fleet does not answer")]
    NoAnswer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The fleet does not know the job or the work.
    #[error("{0}")]
    NotFound(String),
    /// The fleet has no worker that was registered, or a worker of another release.
    #[error("the fleet has no service for this call: {0}")]
    NoWorker(String),
    /// The fleet refused the call.
    #[error("the fleet refused the call (HTTP status {status}): {message}")]
    #[non_exhaustive]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Why, in the fleet's words.
        message: String,
    },
    /// The response is not one of a fleet.
    #[error("the response is not one of a fleet")]
    Undecodable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The fleet cannot be used with these addresses.
    #[error("{0}")]
    Config(String),
}

impl FleetError {
    /// What to do next, as a sentence without a capital letter and a full stop.
    pub fn help(&self) -> &'static str {
        match self {
            Self::NoAnswer(_) => "check that the Restate server runs, and its ingress addresses",
            Self::NotFound(_) => "check the id; list what the fleet knows",
            Self::NoWorker(_) => "start a worker of this release, and check that it registered itself",
            Self::Refused { .. } => "change the call as the message says",
            Self::Undecodable(_) => {
                "check that the address is the ingress of a Restate server whose workers have this release"
            }
            Self::Config(_) => "pass the addresses of the ingress, such as http://127.0.0.1:8080",
        }
    }
}

impl From<ClientError> for FleetError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Status { status, response } => {
                let document: ErrorDocument = serde_json::from_slice(response.body()).unwrap_or_default();
                let text =
                    document.message.unwrap_or_else(|| String::from_utf8_lossy(response.body()).into_owned());
                let message = akool::redact::excerpt(&text);
                match status.as_u16() {
                    404 if document.source.as_deref() == Some("ingress") => Self::NoWorker(message),
                    404 => Self::NotFound(message),
                    status => Self::Refused { status, message },
                }
            }
            ClientError::Transport { source } => Self::NoAnswer(source),
            other => Self::Undecodable(Box::new(other)),
        }
    }
}

/// How the ingress reports an error: its own, or one of a handler.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct ErrorDocument {
    message: Option<String>,
    source: Option<String>,
}
