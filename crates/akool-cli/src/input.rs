//! Opens the files that a user names: [`open`].

use std::{
    fs::{self, File},
    io,
    path::Path,
};

/// Opens a file to read it. Devices and named pipes are refused, because they may never end, or never begin. A pipe that a
/// shell made for this program, as for `<(command)`, is read.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let kind = fs::metadata(path)?.file_type();
    let is_own = ["/dev/fd", "/proc/self/fd"].iter().any(|folder| path.starts_with(folder))
        || path == Path::new("/dev/stdin");
    if kind.is_dir() {
        return Err(io::Error::other("it is a folder"));
    }
    if !kind.is_file() && !is_own {
        return Err(io::Error::other("it is a device or a named pipe; use a regular file"));
    }
    File::open(path)
}

/// Checks that the program can open as many files as its shortest run needs. Some libraries panic if they cannot.
///
/// # Errors
/// That it cannot, as a message.
pub(crate) fn check_file_handles() -> Result<(), String> {
    #[cfg(unix)]
    {
        const NEEDED: usize = 32;
        // Pairs of sockets, because a container may not have any file to open.
        let opened: io::Result<Vec<_>> =
            (0..NEEDED / 2).map(|_| std::os::unix::net::UnixStream::pair()).collect();
        if let Err(error) = opened {
            return Err(format!(
                "the program cannot open {NEEDED} files at a time: {error}; allow more, for example with `ulimit -n 256`"
            ));
        }
    }
    Ok(())
}
