//! `akool auth login` and `logout`, and which credential is used afterwards. On Linux only, because elsewhere these tests
//! would use the keyring of the person who runs them.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Output,
};

use akool_mock::{MockServer, Timeline};
use serde_json::json;

use crate::support::{self, ID, Program, code, objects, stderr, stdout};

/// The folder of the configuration of one person.
pub(crate) struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("config/akool/credentials.json")
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    /// Writes a file of stored keys.
    pub(crate) fn store(&self, contents: &str) {
        fs::create_dir_all(self.file().parent().unwrap()).unwrap();
        fs::write(self.file(), contents).unwrap();
        fs::set_permissions(self.file(), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn akool(&self, address: &str, args: &[&str]) -> Program {
        let mut command = support::akool(args);
        command.env("XDG_CONFIG_HOME", self.folder.path().join("config")).env("AKOOL_API_HOST", address);
        command
    }

    pub(crate) fn run(&self, server: &MockServer, args: &[&str]) -> Output {
        self.akool(&server.url(), args).output().unwrap()
    }

    /// `akool auth login` with this text on standard input.
    pub(crate) fn login(&self, address: &str, input: &str, args: &[&str]) -> Program {
        let file = self.folder.path().join("input");
        fs::write(&file, input).unwrap();
        let mut command = self.akool(address, &[&["auth", "login"], args].concat());
        command.stdin(File::open(file).unwrap());
        command
    }

    pub(crate) fn log_in(&self, server: &MockServer) {
        let output = self.login(&server.url(), &server.api_key(), &[]).output().unwrap();
        assert_eq!(code(&output), 0, "{}", all(&output));
    }
}

/// Everything that was printed.
pub(crate) fn all(output: &Output) -> String {
    stdout(output) + &stderr(output)
}

/// A mock server with this key and a job.
pub(crate) async fn server(key: &str) -> MockServer {
    let server = MockServer::builder().api_key(key).start().await;
    server.job(ID, Timeline::new());
    server
}

#[tokio::test]
async fn an_accepted_key_is_stored_in_a_file_that_only_its_owner_can_read() {
    let server = server("MARKER-KEY").await;
    let home = Home::new();
    let output = home.login(&server.url(), "\u{feff}MARKER-KEY\r\n", &[]).output().unwrap();
    assert_eq!(code(&output), 0, "{}", all(&output));
    let file = home.file().display().to_string();
    let wanted = format!("stored the API key for {} in the file {file}\n", server.url());
    assert_eq!(stdout(&output), wanted);
    assert!(!all(&output).contains("MARKER"), "{}", all(&output));
    assert_eq!(Home::mode(&home.file()), 0o600);
    assert_eq!(Home::mode(home.file().parent().unwrap()), 0o700);
    let names = fs::read_dir(home.file().parent().unwrap()).unwrap().count();
    assert_eq!(names, 1, "no temporary file is left");

    let output = home.run(&server, &["auth"]);
    assert_eq!(code(&output), 0, "{}", all(&output));
    assert!(stdout(&output).starts_with(&format!("credential  stored API key in the file {file}\n")));
    assert!(stdout(&output).contains("works       yes"), "{}", stdout(&output));
    let output = home.akool(&server.url(), &["status", ID]).env("RUST_LOG", "trace").output().unwrap();
    assert_eq!(code(&output), 0, "{}", all(&output));
    assert!(!all(&output).contains("MARKER"), "{}", all(&output));
    // Another spelling of the same address.
    assert_eq!(code(&home.akool(&format!("{}/", server.url()), &["status", ID]).output().unwrap()), 0);
}

#[tokio::test]
async fn the_key_can_come_from_a_file_and_programs_can_read_where_it_is() {
    let server = server("MARKER-KEY").await;
    let home = Home::new();
    let key = home.folder.path().join("key");
    fs::write(&key, "MARKER-KEY").unwrap();
    let output = home.run(&server, &["auth", "login", "--json", "--api-key-file", key.to_str().unwrap()]);
    assert_eq!(code(&output), 0, "{}", all(&output));
    let wanted = json!({ "event": "login", "base_url": server.url(), "store": "file", "path": home.file() });
    assert_eq!(objects(&output), [wanted]);
    let output = home.run(&server, &["auth", "logout", "--json"]);
    let wanted = json!({ "event": "logout", "base_url": server.url(), "removed": ["file"] });
    assert_eq!((code(&output), objects(&output)), (0, vec![wanted]));
    let output = home.run(&server, &["auth", "logout", "--json"]);
    let wanted = json!({ "event": "logout", "base_url": server.url(), "removed": [] });
    assert_eq!((code(&output), objects(&output)), (0, vec![wanted]));
}

#[tokio::test]
async fn a_key_that_was_not_accepted_is_not_stored() {
    let server = server("good").await;
    let home = Home::new();
    let output = home.login(&server.url(), "MARKER-KEY", &[]).output().unwrap();
    assert_eq!(code(&output), 5, "{}", all(&output));
    assert!(
        stderr(&output).contains("1101")
            && stderr(&output).contains("was not stored, because it was rejected")
    );
    assert!(!all(&output).contains("MARKER"), "{}", all(&output));
    let output = home.login("http://127.0.0.1:1", "MARKER-KEY", &[]).output().unwrap();
    assert_eq!(code(&output), 6, "{}", all(&output));
    assert!(stderr(&output).contains("was not stored, because it could not be checked"), "{}", all(&output));
    // The key that was stored before is kept.
    home.log_in(&server);
    assert_eq!(code(&home.login(&server.url(), "MARKER-KEY", &[]).output().unwrap()), 5);
    assert_eq!(code(&home.run(&server, &["status", ID])), 0);
}

#[tokio::test]
async fn what_is_not_a_key_is_not_sent() {
    let server = server("good").await;
    let home = Home::new();
    for (input, message) in [
        ("", "standard input: the credential is empty"),
        ("MARKER\nMARKER", "has a line break"),
        ("AKOOL_API_KEY=MARKER", "holds more than an API key"),
    ] {
        let output = home.login(&server.url(), input, &[]).output().unwrap();
        assert_eq!(code(&output), 2, "{}", all(&output));
        assert!(stderr(&output).contains(message), "{}", all(&output));
        assert!(!all(&output).contains("MARKER"), "{}", all(&output));
    }
    // A key is no argument, where every user of the machine could read it.
    assert_eq!(code(&home.run(&server, &["auth", "login", "MARKER"])), 2);
    assert!(server.exchanges().is_empty());
    assert!(!home.file().exists());
}

#[tokio::test]
async fn the_environment_and_a_key_file_take_precedence_over_the_stored_key() {
    let server = server("good").await;
    let home = Home::new();
    home.log_in(&server);
    let rejected = home.akool(&server.url(), &["status", ID]).env("AKOOL_API_KEY", "other").output().unwrap();
    assert_eq!(code(&rejected), 5);
    let file = home.folder.path().join("key");
    fs::write(&file, "other").unwrap();
    assert_eq!(code(&home.run(&server, &["status", ID, "--api-key-file", file.to_str().unwrap()])), 5);
    let token = home.akool(&server.url(), &["auth"]).env("AKOOL_TOKEN", server.token()).output().unwrap();
    assert!(stdout(&token).contains("bearer token from AKOOL_TOKEN"), "{}", all(&token));
    let client = home.akool(&server.url(), &["status", ID]).env("AKOOL_CLIENT_ID", "id").output().unwrap();
    assert!(stderr(&client).contains("incomplete credential"), "{}", all(&client));

    let output = home.login(&server.url(), "good", &[]).env("AKOOL_API_KEY", "other").output().unwrap();
    assert_eq!(code(&output), 0);
    let note = "The API key from AKOOL_API_KEY takes precedence over the stored key.";
    assert!(stderr(&output).contains(note), "{}", all(&output));
    // With these, a file that cannot be used does no harm.
    home.store("nonsense");
    let output = home.akool(&server.url(), &["status", ID]).env("AKOOL_API_KEY", "good").output().unwrap();
    assert_eq!(code(&output), 0, "{}", all(&output));
}

#[tokio::test]
async fn a_stored_key_is_not_sent_to_another_address() {
    let (first, second) = (server("first").await, server("second").await);
    let home = Home::new();
    home.log_in(&first);
    let output = home.run(&first, &["status", ID, "--base-url", &second.url()]);
    assert_eq!(code(&output), 2);
    assert!(second.exchanges().is_empty());
    for text in [
        format!("`akool --base-url {} auth login`", second.url()),
        format!("a key is stored for {}", first.url()),
    ] {
        assert!(stderr(&output).contains(&text), "{}", all(&output));
    }
    home.log_in(&second);
    for server in [&first, &second] {
        assert_eq!(code(&home.run(server, &["status", ID])), 0);
    }
    // Each is removed on its own.
    let output = home.run(&first, &["auth", "logout"]);
    let wanted = format!("removed the API key for {} from the file {}\n", first.url(), home.file().display());
    assert_eq!((code(&output), stdout(&output)), (0, wanted));
    assert_eq!(code(&home.run(&first, &["status", ID])), 2);
    assert_eq!(code(&home.run(&second, &["status", ID])), 0);
    let output = home.run(&first, &["auth", "logout"]);
    let wanted = format!("no API key is stored for {} (a key is stored for {})\n", first.url(), second.url());
    assert_eq!((code(&output), stdout(&output)), (0, wanted));
    assert_eq!(code(&home.run(&second, &["auth", "logout"])), 0);
    assert!(!home.file().exists());
}

#[test]
fn without_a_credential_the_next_step_is_named() {
    let output = support::akool(&["auth"]).output().unwrap();
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("`akool auth login`"), "{}", all(&output));
}

#[tokio::test]
async fn a_file_that_others_can_read_or_that_is_not_valid_is_refused() {
    let server = server("good").await;
    let home = Home::new();
    home.log_in(&server);
    fs::set_permissions(home.file(), fs::Permissions::from_mode(0o640)).unwrap();
    let before = server.exchanges().len();
    for args in [&["status", ID][..], &["auth"], &["auth", "login"]] {
        let output = home.run(&server, args);
        assert_eq!(code(&output), 2, "{}", all(&output));
        let wanted = format!("mode 0640. Run `chmod 600 {}`", home.file().display());
        assert!(stderr(&output).contains(&wanted), "{}", all(&output));
    }
    for contents in
        ["", "MARKER", r#"{"http://127.0.0.1:1":"MARKER"}"#, r#"{"http://127.0.0.1:1":{"MARKER":1}}"#]
    {
        home.store(contents);
        let output = home.run(&server, &["status", ID]);
        assert_eq!(code(&output), 2, "{}", all(&output));
        assert!(stderr(&output).contains("is not a valid file of stored keys (line"), "{}", all(&output));
        assert!(!all(&output).contains("MARKER"), "{}", all(&output));
    }
    assert_eq!(server.exchanges().len(), before);
}

#[test]
fn the_sandbox_ignores_the_stored_key() {
    let home = Home::new();
    home.store("nonsense");
    let sandbox = |args: &[&str]| home.akool("", &[&["--sandbox"], args].concat()).output().unwrap();
    assert!(stdout(&sandbox(&["auth"])).contains("the sandbox's own key"));
    for command in ["login", "logout"] {
        let output = sandbox(&["auth", command]);
        assert_eq!(code(&output), 2);
        assert!(stderr(&output).contains("without --sandbox"), "{}", all(&output));
    }
}
