//! The ledger on a file system that is full.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use akool_mock::{Fault, MockServer, Timeline, Times};

use crate::support::{self, Program, Running, code, objects, stderr, wait_until};

const TRANSLATE: [&str; 6] =
    ["translate", "https://example.com/talk.mp4", "--to", "es", "--interval", "10ms"];

/// A file system of its own, in memory and small.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// `None` if this process may not mount file systems.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        let disk = Self { folder };
        if mounted.is_ok_and(|status| status.success()) {
            return Some(disk);
        }
        eprintln!("skipped: this process may not mount a file system");
        None
    }

    fn filler(&self) -> PathBuf {
        self.folder.path().join("filler")
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let mut file = File::create(self.filler()).unwrap();
        for size in [4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn akool(&self, server: &MockServer) -> Program {
        let mut command = support::akool_at(server, &TRANSLATE);
        command.env("XDG_STATE_HOME", self.folder.path());
        command
    }

    fn spawn(&self, server: &MockServer) -> Running {
        let mut command = self.akool(server);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.folder.path()).stderr(Stdio::null()).status();
    }
}

/// The program with its request at the service, whose response finds the disk full, and the id of the job.
fn paid_for_on_a_full_disk(disk: &Disk, server: &MockServer) -> (Running, String) {
    // The response arrives one byte at a time, so there is time to fill the disk.
    server.inject_into_creations(Fault::Trickle, Times::Once);
    let mut child = disk.spawn(server);
    wait_until(&mut child, "the request arrived", || !server.created().is_empty());
    disk.fill();
    let id = server.created()[0].id.clone();
    (child, id)
}

async fn server() -> MockServer {
    let server = MockServer::start().await;
    server.on_create(Timeline::new().completed());
    server
}

#[tokio::test]
async fn a_full_disk_is_reported_before_anything_is_paid_for() {
    let Some(disk) = Disk::mount() else { return };
    let server = server().await;
    // Neither a new ledger nor one that exists has room for an intent.
    for exists in [false, true] {
        if exists {
            fs::remove_file(disk.filler()).unwrap();
            let mut jobs =
                support::akool_at(&server, &["translate", "https://example.com/1.mp4", "--to", "es"]);
            let created = jobs.arg("--no-wait").env("XDG_STATE_HOME", disk.folder.path()).output().unwrap();
            assert_eq!(code(&created), 0, "{}", stderr(&created));
        }
        let before = server.created().len();
        disk.fill();
        let output = disk.akool(&server).output().unwrap();
        assert!([1, 2].contains(&code(&output)), "{}", stderr(&output));
        assert!(stderr(&output).contains("the ledger"), "{}", stderr(&output));
        assert_eq!(server.created().len(), before, "nothing was created");
    }
}

#[tokio::test]
async fn ids_are_printed_while_the_disk_is_full_and_recorded_once_it_has_room() {
    let Some(disk) = Disk::mount() else { return };
    let server = server().await;
    let (mut child, id) = paid_for_on_a_full_disk(&disk, &server);
    let mut errors = child.stderr.take().unwrap();
    let mut printed = String::new();
    while !printed.contains("Save their ids") {
        let mut byte = [0];
        std::io::Read::read_exact(&mut errors, &mut byte).unwrap();
        printed.push(char::from(byte[0]));
    }
    let mut rest = vec![0; id.len() + 2];
    std::io::Read::read_exact(&mut errors, &mut rest).unwrap();
    assert!(String::from_utf8(rest).unwrap().contains(&id), "{printed}");
    assert!(printed.contains("the disk is full"), "{printed}");
    fs::remove_file(disk.filler()).unwrap();
    assert!(child.wait().unwrap().success());
    let output = disk.akool(&server).arg("--json").output().unwrap();
    assert_eq!((code(&output), objects(&output)[0]["event"].as_str()), (0, Some("reused")));
    assert_eq!(server.created().len(), 1);
}

#[tokio::test]
async fn if_the_disk_stays_full_the_run_ends_after_half_a_minute_and_nothing_is_created_again() {
    let Some(disk) = Disk::mount() else { return };
    let server = server().await;
    let (child, id) = paid_for_on_a_full_disk(&disk, &server);
    let output = child.wait_with_output().unwrap();
    let text = stderr(&output);
    assert_eq!(code(&output), 7, "{text}");
    assert!(text.contains(&id) && text.contains("the ids above could not be recorded"), "{text}");
    fs::remove_file(disk.filler()).unwrap();
    // Its process has died, so the outcome is unknown until the id that it printed is recorded.
    let output = disk.akool(&server).output().unwrap();
    let text = stderr(&output);
    assert_eq!((code(&output), server.created().len()), (7, 1), "{text}");
    let adopt = text.split("jobs --adopt ").nth(1).unwrap().split("=ID").next().unwrap();
    let mut jobs = support::akool_at(&server, &["jobs", "--adopt", &format!("{adopt}={id}")]);
    assert_eq!(code(&jobs.env("XDG_STATE_HOME", disk.folder.path()).output().unwrap()), 0);
    let output = disk.akool(&server).output().unwrap();
    assert_eq!((code(&output), server.created().len()), (0, 1), "{}", stderr(&output));
}

/// A limit on the size of files acts like a full disk, for those who may not mount one. Its signal is ignored, because a
/// full disk sends none.
#[tokio::test]
async fn a_ledger_that_may_not_grow_is_reported_before_anything_is_paid_for() {
    let server = server().await;
    let state = tempfile::tempdir().unwrap();
    let script = r#"trap '' XFSZ; ulimit -f 8; exec "$0" "$@""#;
    let mut command = Program::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_akool")]).args(TRANSLATE);
    command.env("XDG_STATE_HOME", state.path()).env("AKOOL_API_HOST", server.url());
    let output = command.env("AKOOL_API_KEY", server.api_key()).output().unwrap();
    assert_eq!(code(&output), 2, "{}", stderr(&output));
    assert!(stderr(&output).contains("cannot prepare the ledger"), "{}", stderr(&output));
    assert!(server.created().is_empty());
    assert!(Path::new(state.path()).exists());
}
