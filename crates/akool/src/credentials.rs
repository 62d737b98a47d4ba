//! Credentials that are renewed: [`CredentialSource`].

use std::{error::Error as StdError, future::Future, pin::Pin};

use akool_client::Credential;

/// Supplies new credentials, for
/// [`ClientBuilder::credential_source`](crate::ClientBuilder::credential_source).
///
/// ```
/// use akool::{Client, Credential, CredentialSource, Renewal};
///
/// struct Vault;
///
/// impl CredentialSource for Vault {
///     fn renew(&self) -> Renewal<'_> {
///         Box::pin(async { Ok(Credential::bearer("a token from the vault")?) })
///     }
/// }
///
/// # fn example() -> Result<(), akool::ConfigError> {
/// let client = Client::builder().credential_source(Vault).build()?;
/// # Ok(())
/// # }
/// # example().unwrap();
/// ```
pub trait CredentialSource: Send + Sync {
    /// Gets a new credential. The client calls this once for all calls that were refused at the same time.
    ///
    /// The error becomes the source of the failed call's error: keep secrets out of it.
    fn renew(&self) -> Renewal<'_>;
}

/// The future of [`CredentialSource::renew`].
pub type Renewal<'a> =
    Pin<Box<dyn Future<Output = Result<Credential, Box<dyn StdError + Send + Sync>>> + Send + 'a>>;
