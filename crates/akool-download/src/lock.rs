//! Locks the temporary file of a download, so that only one download writes it: [`lock`].

use std::{io, path::Path};

/// Opens and locks the temporary file. Returns `None` if another process has locked it. Refuses a
/// symbolic link and a file with another hard link, because writing would change another file.
pub(crate) fn lock(path: &Path) -> io::Result<Option<std::fs::File>> {
    loop {
        // `create_new` does not follow symbolic links. An existing file is opened without changing it,
        // and used only if `same_file` confirms that it is the file of this name.
        let options = || std::fs::OpenOptions::new().read(true).write(true).clone();
        let file = match options().create_new(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
                    return Err(not_a_file());
                }
                match options().open(path) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            // Some file systems do not support locks. Then no other process has one either.
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(_)) => {
                tracing::debug!(path = %path.display(), "the file system does not support locks");
            }
        }
        // Another process may have renamed the file between opening and locking.
        if same_file(&file, path)? {
            return Ok(Some(file));
        }
    }
}

pub(crate) fn not_a_file() -> io::Error {
    io::Error::new(
        io::ErrorKind::AlreadyExists,
        "the name belongs to something that is not a file of this program",
    )
}

#[cfg(unix)]
fn same_file(file: &std::fs::File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;

    let open = file.metadata()?;
    if open.nlink() > 1 {
        return Err(not_a_file());
    }
    match path.symlink_metadata() {
        Ok(named) => Ok(open.dev() == named.dev() && open.ino() == named.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// On these systems, no other process can rename an open file, so there is nothing to compare.
#[cfg(not(unix))]
fn same_file(_: &std::fs::File, _: &Path) -> io::Result<bool> {
    Ok(true)
}
