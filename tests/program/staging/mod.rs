//! Files of this machine in an object store. The tests that need a store are ignored by default: `tests/staging/run` starts
//! them with stores that others wrote.

mod refused;
mod store;
#[cfg(unix)]
mod with_azurite;
#[cfg(unix)]
mod with_moto;
#[cfg(unix)]
mod with_s3s;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use akool_mock::MockServer;
use tempfile::TempDir;

use crate::support::{Program, akool_at};

/// A video with a sound track, which others made.
const VIDEO: &[u8] = include_bytes!("../../../crates/akool-mock/assets/video.mp4");
const CAPTIONS: &str = "1\n00:00:00,000 --> 00:00:01,000\nHello\n";

/// A folder with the ledger and the files of a test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file and returns its path.
    fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A video of at least this many bytes. Nothing of it is on disk but its start: the rest is a hole.
    fn sparse(&self, name: &str, bytes: u64) -> String {
        let path = self.write(name, VIDEO);
        let rest = bytes.saturating_sub(VIDEO.len() as u64).max(16);
        let header = [&1u32.to_be_bytes()[..], b"free", &rest.to_be_bytes()].concat();
        let mut file = fs::File::options().append(true).open(&path).unwrap();
        std::io::Write::write_all(&mut file, &header).unwrap();
        file.set_len(VIDEO.len() as u64 + rest).unwrap();
        path
    }

    /// The program with the ledger of this folder, no profile of a store and no store.
    fn akool(&self, server: &MockServer, args: &[&str]) -> Program {
        let mut command = akool_at(server, args);
        command.env("XDG_STATE_HOME", self.path().join("state")).env("HOME", self.path());
        for (name, _) in std::env::vars_os() {
            if ["AWS_", "AZURE_", "GOOGLE_"].iter().any(|start| name.to_string_lossy().starts_with(start)) {
                command.env_remove(&name);
            }
        }
        command
    }
}

/// The same with a location in a store that nobody serves.
fn unserved(folder: &Folder, server: &MockServer, args: &[&str]) -> Output {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = folder.akool(server, args);
    command.env("AWS_ENDPOINT_URL", format!("http://{closed}")).env("AKOOL_STAGE", "s3://bucket/prefix");
    command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "MARKER").output().unwrap()
}

/// The file that `tests/staging/run` names in this variable.
fn program(name: &str) -> PathBuf {
    let file = std::env::var_os(name).map(PathBuf::from);
    assert!(file.is_some(), "{name} is not set; use tests/staging/run");
    file.unwrap()
}
