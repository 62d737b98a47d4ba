//! A new credential where the service refuses the present one: [`CredentialSource`].

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
};

use akool_client::{Credential, Transport};
use tokio::sync::Mutex;

/// Where new credentials come from, for
/// [`ClientBuilder::credential_source`](crate::ClientBuilder::credential_source).
///
/// ```
/// use std::{future::Future, pin::Pin};
/// use akool::{Client, Credential, CredentialSource};
///
/// struct FromVault;
///
/// impl CredentialSource for FromVault {
///     fn renew(&self) -> Pin<Box<dyn Future<Output = Result<Credential, Box<dyn std::error::Error + Send + Sync>>> + Send + '_>> {
///         Box::pin(async { Ok(Credential::bearer("a token from the vault")?) })
///     }
/// }
///
/// # fn example() -> Result<(), akool::ConfigError> {
/// let client = Client::builder().credential_source(FromVault).build()?;
/// # Ok(())
/// # }
/// # example().unwrap();
/// ```
pub trait CredentialSource: Send + Sync {
    /// Gets a new credential.
    ///
    /// # Errors
    /// Whatever is in the way. Its text reaches the error of the wait: keep secrets out of it.
    fn renew(&self) -> Pin<Box<dyn Future<Output = Renewed> + Send + '_>>;
}

/// What a [`CredentialSource`] comes to.
pub type Renewed = Result<Credential, Box<dyn std::error::Error + Send + Sync>>;

/// Why there is no new credential.
pub(crate) type Unrenewed = Box<dyn std::error::Error + Send + Sync>;

/// A source, and which credential of it is in use.
pub(crate) struct Renewal {
    source: Box<dyn CredentialSource>,
    /// Counts the credentials that were put to use.
    generation: AtomicU64,
    /// Held while a new one is fetched.
    fetching: Mutex<()>,
}

impl Renewal {
    pub(crate) fn new(source: Box<dyn CredentialSource>) -> Self {
        Self { source, generation: AtomicU64::new(0), fetching: Mutex::new(()) }
    }

    /// Which credential is in use. Asked before a poll, to be handed to [`renew`](Self::renew).
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Puts a newer credential to use than the one that was refused: fetches one, or waits for the
    /// one that another poll is fetching.
    pub(crate) async fn renew(&self, refused: u64, transport: &Transport) -> Result<(), Unrenewed> {
        let _fetching = self.fetching.lock().await;
        if self.generation() != refused {
            return Ok(());
        }
        let credential = self.source.renew().await?;
        transport.set_credential(credential);
        self.generation.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Renewal(generation {})", self.generation())
    }
}
