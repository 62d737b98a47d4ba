//! The file of `--report`: [`RowReport`]. It is opened before the first job is created, and written at the end.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

pub(crate) enum RowReport {
    /// A file that replaces the one of this name in one step.
    File(NamedTempFile, PathBuf),
    /// Something else that can be written to, such as `/dev/stderr`.
    Other(File),
}

impl RowReport {
    /// # Errors
    /// If it cannot be written, as a message.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        Self::try_open(path).map_err(|error| {
            // Without the name of the temporary file.
            let error = io::Error::from(error.kind());
            format!("cannot write the report {}: {error}; choose another file with --report", path.display())
        })
    }

    fn try_open(path: &Path) -> io::Result<Self> {
        let target = match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(found) if !found.is_file() => return Ok(Self::Other(other(path, &found)?)),
            // Through a symbolic link, its target is replaced.
            Ok(_) => path.canonicalize()?,
            Err(_) => path.to_owned(),
        };
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut builder = tempfile::Builder::new();
        builder.prefix(".akool-report");
        // As for every other file, the umask decides.
        #[cfg(unix)]
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        #[cfg(unix)]
        builder.permissions(permissions);
        Ok(Self::File(builder.tempfile_in(folder.unwrap_or(Path::new(".")))?, target))
    }

    /// Writes one line for each value: all of them, or nothing.
    pub(crate) fn write(self, lines: &[serde_json::Value]) -> io::Result<()> {
        let mut text = String::new();
        for line in lines {
            text += &format!("{line}\n");
        }
        match self {
            Self::File(mut file, target) => {
                file.write_all(text.as_bytes())?;
                file.persist(target).map_err(|error| error.error)?;
                Ok(())
            }
            Self::Other(mut file) => file.write_all(text.as_bytes()),
        }
    }
}

/// Opens a device, or a pipe that a shell made. A named pipe may have no reader.
fn other(path: &Path, found: &fs::Metadata) -> io::Result<File> {
    #[cfg(unix)]
    let is_device = std::os::unix::fs::FileTypeExt::is_char_device(&found.file_type());
    #[cfg(not(unix))]
    let is_device = !found.is_dir();
    let is_own = ["/dev/fd", "/proc/self/fd"].iter().any(|folder| path.starts_with(folder));
    if !is_device && !is_own {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    File::options().write(true).open(path)
}
