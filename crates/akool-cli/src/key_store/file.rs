//! The file of stored keys. For each API address it has the key, or says that the keyring has it, so that only runs that
//! need the keyring ask it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use akool::Secret;
use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};

/// A file that is larger is not one of this program.
const MAX_BYTES: u64 = 1024 * 1024;

/// What is stored for an API address.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Entry {
    /// Whether the keyring has a key. Next to a key in the file it is an older one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) keyring: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) api_key: Option<Secret>,
}

/// Why the file cannot be used. No message has a part of its contents.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("there is no folder for the stored key: set XDG_CONFIG_HOME or HOME")]
    NoFolder,
    #[error("cannot read the stored key from {}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[cfg(unix)]
    #[error(
        "others can read the stored key: {shown} has mode {mode:04o}. Run `chmod 600 {shown}`. If someone may have \
         read the key, replace it",
        shown = .path.display()
    )]
    Exposed { path: PathBuf, mode: u32 },
    #[error(
        "{} is not a valid file of stored keys (line {line}, column {column}): remove it and run `akool auth login`",
        .path.display()
    )]
    Invalid { path: PathBuf, line: usize, column: usize },
    #[error("cannot write the stored key to {}", .path.display())]
    Write { path: PathBuf, source: io::Error },
}

pub(super) struct KeyFile {
    pub(super) path: PathBuf,
    /// By API address.
    pub(super) entries: BTreeMap<String, Entry>,
}

impl KeyFile {
    /// Reads the file; if there is none, there are no entries.
    pub(super) fn read() -> Result<Self, FileError> {
        Self::read_with(true)
    }

    /// Reads the file, to remove a key, also if others can read it.
    pub(super) fn read_exposed() -> Result<Self, FileError> {
        Self::read_with(false)
    }

    fn read_with(must_be_private: bool) -> Result<Self, FileError> {
        let strategy = etcetera::choose_base_strategy().map_err(|_| FileError::NoFolder)?;
        let path = strategy.config_dir().join("akool").join("credentials.json");
        let text = match contents(&path, must_be_private) {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(Self { path, entries: BTreeMap::new() }),
            Err(error) => return Err(error),
        };
        match serde_json::from_slice(&text) {
            Ok(entries) => Ok(Self { path, entries }),
            // The message of the error may quote a key.
            Err(error) => Err(FileError::Invalid { path, line: error.line(), column: error.column() }),
        }
    }

    /// Changes the entry of an API address in the file as it is now: another process may have changed it meanwhile.
    pub(super) fn update(
        &mut self,
        address: &str,
        change: impl FnOnce(Option<Entry>) -> Option<Entry>,
    ) -> Result<(), FileError> {
        let _locked = self.lock();
        let current = Self::read_exposed()?;
        self.entries = current.entries;
        let changed = change(self.entries.remove(address));
        self.entries.extend(changed.map(|entry| (address.to_owned(), entry)));
        self.write()
    }

    /// Held while the file changes. `None` if the folder does not exist or has no locks.
    fn lock(&self) -> Option<File> {
        let lock =
            File::options().create(true).truncate(false).write(true).open(self.path.with_extension("lock"));
        lock.ok().filter(|lock| lock.lock().is_ok())
    }

    /// Replaces the file in one step; without entries, removes it.
    fn write(&self) -> Result<(), FileError> {
        let written = if self.entries.is_empty() { remove(&self.path) } else { self.replace() };
        written.map_err(|source| FileError::Write { path: self.path.clone(), source })
    }

    fn replace(&self) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(folder)?;
        // On Unix it is created with mode 0600.
        let mut file = tempfile::Builder::new().prefix(".credentials").tempfile_in(folder)?;
        serde_json::to_writer_pretty(&mut file, &self.entries)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// `None` if there is no such file.
fn contents(path: &Path, must_be_private: bool) -> Result<Option<Vec<u8>>, FileError> {
    let unreadable = |source| FileError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::MetadataExt::mode(&file.metadata().map_err(unreadable)?) & 0o7777;
        if must_be_private && mode & 0o077 != 0 {
            return Err(FileError::Exposed { path: path.to_owned(), mode });
        }
    }
    let mut text = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut text).map_err(unreadable)?;
    Ok(Some(text))
}
