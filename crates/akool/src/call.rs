//! One call of the API, whatever it asks: [`Client::call`].

use std::future::Future;

use akool_client::{Exchange, Recording};

use crate::{Client, Error, ErrorKind, redact, renewal::Unrenewed};

impl Client {
    /// Makes a request; after a refusal of the credential, where there is a source of new ones, makes
    /// it once more. That is safe for any request: a refused one came to nothing.
    pub(crate) async fn call<T, F>(&self, request: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let Some(renewal) = &self.renewal else {
            return request().await;
        };
        let generation = renewal.generation();
        if !self.transport.has_credential() {
            // Nothing to be refused yet: the first credential is fetched like any other.
            return match renewal.renew(generation, &self.transport).await {
                Ok(()) => request().await,
                Err(why) => Err(passing(&why)
                    .unwrap_or_else(|| {
                        let why = redact::excerpt(&cause(&why));
                        let what = format!("no credential could be had: {why}");
                        Error::new(ErrorKind::CredentialsRefused, what)
                    })
                    .without_effect()),
            };
        }
        let refused = match request().await {
            Err(error) if error.kind() == ErrorKind::CredentialsRefused => error,
            other => return other,
        };
        match renewal.renew(generation, &self.transport).await {
            Ok(()) => request().await,
            Err(why) => Err(passing(&why)
                .unwrap_or_else(|| refused.and(&format!("; it could not be renewed: {}", cause(&why))))),
        }
    }
}

/// Trouble of our own source that passes: nothing was refused for good.
fn passing(why: &Unrenewed) -> Option<Error> {
    why.downcast_ref::<Error>().filter(|error| error.is_transient()).cloned()
}

/// Why there is no new credential, without the advice of an error of our own.
fn cause(why: &Unrenewed) -> String {
    why.downcast_ref::<Error>().map_or_else(|| why.to_string(), |error| error.cause().to_owned())
}

/// The bytes that came, whatever the generated types made of them. From here on no type of the
/// generated client's library: its errors print headers and whole payloads.
pub(crate) fn answered<T>(
    sent: Result<T, akool_client::Error>,
    recording: &Recording,
) -> Result<Exchange, Error> {
    exchanged(sent, recording.take())
}

/// As [`answered`], of an exchange that was taken already.
pub(crate) fn exchanged<T>(
    sent: Result<T, akool_client::Error>,
    exchange: Option<Exchange>,
) -> Result<Exchange, Error> {
    match (sent, exchange) {
        (Err(akool_client::Error::CommunicationError(error)), _) => Err(Error::transport(error)),
        (_, Some(exchange)) => Ok(exchange),
        (Err(other), None) => Err(Error::unsent(&other.into_untyped())),
        (Ok(_), None) => Err(Error::new(ErrorKind::Interrupted, "no answer was kept")),
    }
}
