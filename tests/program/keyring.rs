//! `akool auth login` and `logout`, and the stored key, with a keyring that cannot be used. On Linux only, where the keyring
//! is a service on a D-Bus whose address is a variable.

use std::{
    io::ErrorKind,
    os::unix::net::UnixListener,
    process::Output,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    auth::{Home, all, server},
    support::{ID, Program, code, stderr, stdout},
};

/// A session bus that accepts connections and never answers.
struct SilentBus {
    folder: tempfile::TempDir,
    listener: UnixListener,
}

impl SilentBus {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("bus")).unwrap();
        // A connection is established by the system, also if this process does not accept it.
        listener.set_nonblocking(true).unwrap();
        Self { folder, listener }
    }

    /// The output of a run with this bus, which ends although the bus does not answer.
    fn run(&self, mut command: Program) -> Output {
        let address = format!("unix:path={}", self.folder.path().join("bus").display());
        let began = Instant::now();
        let output = command.env("DBUS_SESSION_BUS_ADDRESS", address).output().unwrap();
        // 2 s, and what a busy machine takes to start and end a program.
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        output
    }

    /// Whether a program has connected since the last call.
    fn was_used(&self) -> bool {
        let accepted = self.listener.accept();
        if let Err(error) = &accepted {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        }
        accepted.is_ok()
    }
}

#[tokio::test]
async fn a_keyring_that_does_not_answer_is_given_up_after_2_seconds() {
    let server = server("MARKER-KEY").await;
    let (home, bus) = (Home::new(), SilentBus::new());
    let output = bus.run(home.login(&server.url(), "MARKER-KEY", &[]));
    assert_eq!(code(&output), 0, "{}", all(&output));
    assert!(stdout(&output).contains("in the file"), "{}", all(&output));
    assert!(
        stderr(&output).contains("The keyring was not used: it did not respond within 2 s"),
        "{}",
        all(&output)
    );
    assert!(bus.was_used());

    // The file has the key, so nobody asks the keyring for it.
    assert_eq!(code(&bus.run(home.akool(&server.url(), &["status", ID]))), 0);
    // Neither does a run without a stored key.
    assert_eq!(code(&bus.run(home.akool("http://127.0.0.1:1", &["status", ID]))), 2);
    assert!(!bus.was_used());

    let output = bus.run(home.akool(&server.url(), &["auth", "logout"]));
    assert_eq!(code(&output), 0, "{}", all(&output));
    assert!(stdout(&output).contains("from the file"), "{}", all(&output));
    assert!(stderr(&output).contains("The keyring was not searched: it did not respond"), "{}", all(&output));
}

#[tokio::test]
async fn a_key_in_a_keyring_that_cannot_be_used_is_an_error_that_names_the_keyring() {
    let server = server("good").await;
    let (home, bus) = (Home::new(), SilentBus::new());
    let stored = json!({ server.url(): { "keyring": true } }).to_string();
    home.store(&stored);
    let output = bus.run(home.akool(&server.url(), &["status", ID]));
    assert_eq!(code(&output), 2, "{}", all(&output));
    let silent = "in the keyring, which cannot be read: it did not respond within 2 s";
    assert!(stderr(&output).contains(silent), "{}", all(&output));
    assert!(stderr(&output).contains("unlock the keyring"), "{}", all(&output));
    // There is no bus.
    let output = home.run(&server, &["status", ID]);
    assert_eq!(code(&output), 2, "{}", all(&output));
    let absent = "in the keyring, which cannot be read: No such file or directory";
    assert!(stderr(&output).contains(absent), "{}", all(&output));
    assert!(server.exchanges().is_empty());

    let output = home.run(&server, &["auth", "logout"]);
    assert_eq!(code(&output), 1, "{}", all(&output));
    assert!(stderr(&output).contains("cannot remove the API key"), "{}", all(&output));
    assert!(!home.file().exists());
    // A key that is stored now is used instead, and the one in the keyring is not forgotten.
    home.store(&stored);
    home.log_in(&server);
    assert_eq!(code(&home.run(&server, &["status", ID])), 0);
    let output = home.run(&server, &["auth", "logout"]);
    assert_eq!(code(&output), 1, "{}", all(&output));
    assert!(stdout(&output).contains("from the file"), "{}", all(&output));
    assert!(stderr(&output).contains("cannot remove the API key"), "{}", all(&output));
}
