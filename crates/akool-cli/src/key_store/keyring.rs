//! The system's keyring. It may wait until a person unlocks it, so each call has a thread of its own and a timeout.

use std::{
    error::Error,
    io::{self, IsTerminal},
    thread,
    time::Duration,
};

use akool::Secret;
use tokio::{sync::oneshot, time::timeout};

use crate::report::Report;

/// How long a call may take without a terminal: nobody is there to unlock the keyring.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long a call may take with a terminal.
const TIMEOUT_WITH_TERMINAL: Duration = Duration::from_secs(60);
/// After this time a person is told what the program waits for.
const NOTE_AFTER: Duration = Duration::from_secs(1);

/// Why the keyring did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyringError {
    #[error("it did not respond within {} s, perhaps because it is locked", .0.as_secs())]
    Timeout(Duration),
    #[error("it cannot be reached or refused the request")]
    #[cfg_attr(not(feature = "keyring"), allow(dead_code, reason = "only a keyring fails"))]
    Failed(#[source] Box<dyn Error + Send + Sync>),
    #[error("this program was built without the feature `keyring`")]
    #[cfg_attr(feature = "keyring", allow(dead_code, reason = "it is built with the feature"))]
    NotBuilt,
    #[error("the call of the keyring ended without a result")]
    NoResult,
}

/// The key of an API address, if the keyring has one.
pub(super) async fn get(address: &str, report: &Report) -> Result<Option<Secret>, KeyringError> {
    let address = address.to_owned();
    call(report, move || system::get(&address)).await
}

pub(super) async fn set(address: &str, key: &Secret, report: &Report) -> Result<(), KeyringError> {
    let (address, key) = (address.to_owned(), key.clone());
    call(report, move || system::set(&address, &key)).await
}

/// Returns whether the keyring had a key.
pub(super) async fn delete(address: &str, report: &Report) -> Result<bool, KeyringError> {
    let address = address.to_owned();
    call(report, move || system::delete(&address)).await
}

/// A call that takes too long goes on until the program ends.
async fn call<T: Send + 'static>(
    report: &Report,
    call: impl FnOnce() -> Result<T, KeyringError> + Send + 'static,
) -> Result<T, KeyringError> {
    let (sender, mut result) = oneshot::channel();
    let thread = thread::Builder::new().name("keyring".to_owned());
    let started = thread.spawn(move || drop(sender.send(call())));
    started.map_err(|error| KeyringError::Failed(error.into()))?;
    let mut limit = TIMEOUT;
    if io::stderr().is_terminal() {
        limit = TIMEOUT_WITH_TERMINAL;
        if let Ok(result) = timeout(NOTE_AFTER, &mut result).await {
            return result.unwrap_or(Err(KeyringError::NoResult));
        }
        let secs = limit.as_secs();
        report.note(format_args!("Waiting up to {secs} s for the keyring: unlock it if it asks you to."));
    }
    match timeout(limit, result).await {
        Ok(result) => result.unwrap_or(Err(KeyringError::NoResult)),
        Err(_) => Err(KeyringError::Timeout(limit)),
    }
}

/// The calls themselves, which block.
#[cfg(feature = "keyring")]
mod system {
    use akool::Secret;
    use keyring::{Entry, Error};

    use super::KeyringError;

    /// The name of this program's keys.
    const SERVICE: &str = "akool";

    fn entry(address: &str) -> Result<Entry, KeyringError> {
        match Entry::store_status() {
            Ok(()) => Entry::new(SERVICE, address).map_err(failed),
            Err(error) => Err(KeyringError::Failed(Box::new(error))),
        }
    }

    fn failed(error: Error) -> KeyringError {
        KeyringError::Failed(Box::new(error))
    }

    pub(super) fn get(address: &str) -> Result<Option<Secret>, KeyringError> {
        match entry(address)?.get_password() {
            Ok(key) => Ok(Some(key.into())),
            Err(Error::NoEntry) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    pub(super) fn set(address: &str, key: &Secret) -> Result<(), KeyringError> {
        entry(address)?.set_password(key.expose()).map_err(failed)
    }

    pub(super) fn delete(address: &str) -> Result<bool, KeyringError> {
        match entry(address)?.delete_credential() {
            Ok(()) => Ok(true),
            Err(Error::NoEntry) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }
}

#[cfg(not(feature = "keyring"))]
mod system {
    use akool::Secret;

    use super::KeyringError::{self, NotBuilt};

    pub(super) fn get(_: &str) -> Result<Option<Secret>, KeyringError> {
        Err(NotBuilt)
    }

    pub(super) fn set(_: &str, _: &Secret) -> Result<(), KeyringError> {
        Err(NotBuilt)
    }

    pub(super) fn delete(_: &str) -> Result<bool, KeyringError> {
        Err(NotBuilt)
    }
}
