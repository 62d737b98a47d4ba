//! What identifies a file of this machine: [`LocalFile`].

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use akool::SourceId;
use akool_download::sha256_of;

use crate::error::StageError;

/// A file of this machine, and what identifies it: its name without its folder, its length and its SHA-256.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("talk.mp4");
/// # std::fs::write(&path, "a video")?;
/// let file = akool_stage::LocalFile::read(&path)?;
/// assert_eq!((file.name.as_str(), file.bytes), ("talk.mp4", 7));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its name, without its folder.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: [u8; 32],
}

impl LocalFile {
    /// Reads the whole file, in bounded memory. This blocks: about a second for each gigabyte.
    ///
    /// # Errors
    /// If it cannot be read, is empty, is not a regular file, or if its name is not UTF-8 or has control characters.
    pub fn read(path: impl Into<PathBuf>) -> Result<Self, StageError> {
        let path = path.into();
        let found = regular(&path)?;
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.filter(|name| !name.chars().any(char::is_control));
        let Some(name) = name.map(str::to_owned) else {
            return Err(StageError::Refused { path, why: "has a name that is not text".to_owned() });
        };
        if found.len() == 0 {
            return Err(StageError::Refused { path, why: "is empty".to_owned() });
        }
        match sha256_of(&path) {
            Ok(sha256) => Ok(Self { name, bytes: found.len(), sha256, path }),
            Err(source) => Err(StageError::File { path, source }),
        }
    }

    /// Identifies the file in place of a link to it. The same file in another folder is the same source.
    pub fn source_id(&self) -> SourceId {
        SourceId::file(self.sha256, self.bytes, &self.name)
    }

    /// The beginning of its SHA-256, which keeps files of one name apart in a store.
    pub(crate) fn digits(&self) -> String {
        self.sha256.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The metadata of a regular file: a pipe or a device would block or never end.
pub(crate) fn regular(path: &Path) -> Result<fs::Metadata, StageError> {
    let failed = |source| StageError::File { path: path.to_owned(), source };
    let found = fs::metadata(path).map_err(failed)?;
    if found.is_dir() {
        return Err(failed(io::Error::other("it is a folder")));
    }
    if !found.is_file() {
        return Err(failed(io::Error::other("it is a device or a named pipe; use a regular file")));
    }
    // Whether it can be read is known before anything else is done.
    File::open(path).map_err(failed)?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_file_in_another_folder_is_the_same_source() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            LocalFile::read(path)
        };
        let source = |name: &str, text: &str| write(name, text).unwrap().source_id();
        let one = source("a/ünï 100%.mp4", "video");
        assert_eq!(source("b/c/ünï 100%.mp4", "video"), one);
        assert_ne!(source("a/talk.mp4", "video"), one);
        assert_ne!(source("d/ünï 100%.mp4", "other"), one);
        assert_eq!(
            write("empty", "").unwrap_err().to_string(),
            folder.path().join("empty").display().to_string() + " is empty"
        );
        LocalFile::read(folder.path()).unwrap_err();
        LocalFile::read(folder.path().join("none")).unwrap_err();
        write("a/line\nbreak.mp4", "video").unwrap_err();
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_not_read() {
        LocalFile::read("/dev/zero").unwrap_err();
    }
}
