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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn only_one_lock_is_held_and_only_on_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.part");
        let locked = lock(&path).unwrap().unwrap();
        assert!(lock(&path).unwrap().is_none());
        drop(locked);
        assert!(lock(&path).unwrap().is_some());
        assert_eq!(lock(&folder.path().join("b/c")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(lock(folder.path()).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        std::fs::hard_link(&path, folder.path().join("linked")).unwrap();
        assert_eq!(lock(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists, "it has another name");
    }

    #[test]
    fn a_file_that_was_renamed_or_removed_is_not_the_one_of_this_name() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a"), folder.path().join("b"));
        let file = std::fs::File::create(&path).unwrap();
        std::fs::write(&other, "other").unwrap();
        assert!(same_file(&file, &path).unwrap() && !same_file(&file, &other).unwrap());
        assert!(!same_file(&file, &folder.path().join("c")).unwrap());
        let below = same_file(&file, &path.join("below")).unwrap_err();
        assert_eq!(below.kind(), io::ErrorKind::NotADirectory);
    }
}
