//! The API keys that `akool auth login` stored: each belongs to one API address and is in the system's keyring, or else
//! in a file that only its owner can read.

mod file;
mod keyring;

use std::{fmt, path::PathBuf};

use akool::Secret;

use self::file::{Entry, KeyFile};
pub(crate) use self::{file::FileError, keyring::KeyringError};
use crate::report::Report;

/// Where the key of an API address is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Keyring,
    File(PathBuf),
}

impl Place {
    /// The name in JSON.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Keyring => "keyring",
            Self::File(_) => "file",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keyring => f.write_str("the keyring"),
            Self::File(path) => write!(f, "the file {}", path.display()),
        }
    }
}

/// Why a key that was stored cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GetError {
    #[error("the key is stored in the keyring, which cannot be read")]
    Keyring(#[source] KeyringError),
    #[error("the keyring does not have the stored key any more")]
    Gone,
}

/// What [`KeyStore::remove`] found in each place.
pub(crate) struct Removed {
    /// The file that had the key.
    pub(crate) file: Option<PathBuf>,
    /// Whether the key was stored in the keyring, as far as the file says.
    pub(crate) expected_in_keyring: bool,
    /// Whether the keyring had it.
    pub(crate) keyring: Result<bool, KeyringError>,
}

/// All stored keys.
pub(crate) struct KeyStore {
    file: KeyFile,
}

impl KeyStore {
    /// Reads the file. The keyring is not asked for anything.
    ///
    /// # Errors
    /// If the file exists and cannot be used.
    pub(crate) fn open() -> Result<Self, FileError> {
        Ok(Self { file: KeyFile::read()? })
    }

    /// The same, to remove a key, also if others can read the file.
    ///
    /// # Errors
    /// If the file exists and cannot be used.
    pub(crate) fn open_exposed() -> Result<Self, FileError> {
        Ok(Self { file: KeyFile::read_exposed()? })
    }

    /// The API addresses that have a key.
    pub(crate) fn addresses(&self) -> Vec<&str> {
        self.file.entries.keys().map(String::as_str).collect()
    }

    /// The key of an API address. Only if the keyring has it, the keyring is asked.
    ///
    /// # Errors
    /// If the keyring has the key and does not return it.
    pub(crate) async fn get(
        &self,
        address: &str,
        report: &Report,
    ) -> Result<Option<(Secret, Place)>, GetError> {
        let Some(entry) = self.file.entries.get(address) else { return Ok(None) };
        if let Some(key) = &entry.api_key {
            return Ok(Some((key.clone(), Place::File(self.file.path.clone()))));
        }
        if !entry.keyring {
            return Ok(None);
        }
        match keyring::get(address, report).await {
            Ok(Some(key)) => Ok(Some((key, Place::Keyring))),
            Ok(None) => Err(GetError::Gone),
            Err(error) => Err(GetError::Keyring(error)),
        }
    }

    /// Stores the key of an API address in the keyring, or else in the file. Returns where it is, and why it is not in the
    /// keyring.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) async fn put(
        &mut self,
        address: &str,
        key: &Secret,
        report: &Report,
    ) -> Result<(Place, Option<KeyringError>), FileError> {
        let problem = keyring::set(address, key, report).await.err();
        let in_file = problem.is_some();
        self.file.update(address, |before| {
            let keyring = !in_file || before.is_some_and(|before| before.keyring);
            Some(Entry { keyring, api_key: in_file.then(|| key.clone()) })
        })?;
        let place = if in_file { Place::File(self.file.path.clone()) } else { Place::Keyring };
        Ok((place, problem))
    }

    /// Removes the key of an API address from both places. The keyring is asked even if it should have none: a call that
    /// took too long may have left one there.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) async fn remove(&mut self, address: &str, report: &Report) -> Result<Removed, FileError> {
        let keyring = keyring::delete(address, report).await;
        let mut entry = None;
        if self.file.entries.contains_key(address) {
            self.file.update(address, |before| {
                entry = before;
                None
            })?;
        }
        let Entry { keyring: expected_in_keyring, api_key } = entry.unwrap_or_default();
        let file = api_key.map(|_| self.file.path.clone());
        Ok(Removed { file, expected_in_keyring, keyring })
    }
}
