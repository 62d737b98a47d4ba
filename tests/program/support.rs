//! Runs the program as a process.

use std::{
    ffi::OsStr,
    io::{self, BufRead, BufReader},
    ops::{Deref, DerefMut},
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use akool_mock::MockServer;
use serde_json::Value;

use crate::events;

/// The job id of the vendor's example. The sandbox has a job with this id.
pub(crate) const ID: &str = "64dd92c1f0b6684651e90e09";

/// Kills of each test that kills the program at random moments.
pub(crate) const KILLS: u32 = 100;

/// Held by tests that need an idle machine: those that kill the program.
pub(crate) static QUIET: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A command that runs the program. The events that it prints are checked against their schema.
pub(crate) struct Program(Command);

/// A process of a [`Program`].
pub(crate) struct Running(Child);

impl Program {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self(Command::new(program))
    }

    pub(crate) fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.0.arg(arg);
        self
    }

    pub(crate) fn args(&mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        self.0.args(args);
        self
    }

    pub(crate) fn env(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.0.env(name, value);
        self
    }

    pub(crate) fn envs<'a>(&mut self, variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> &mut Self {
        self.0.envs(variables);
        self
    }

    pub(crate) fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.0.env_remove(name);
        self
    }

    pub(crate) fn stdin(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.0.stdin(stdio);
        self
    }

    pub(crate) fn stdout(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.0.stdout(stdio);
        self
    }

    pub(crate) fn stderr(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.0.stderr(stdio);
        self
    }

    pub(crate) fn output(&mut self) -> io::Result<Output> {
        let output = self.0.output()?;
        events::check(&output.stdout);
        Ok(output)
    }

    pub(crate) fn status(&mut self) -> io::Result<ExitStatus> {
        Ok(self.output()?.status)
    }

    pub(crate) fn spawn(&mut self) -> io::Result<Running> {
        self.0.spawn().map(Running)
    }
}

impl Running {
    pub(crate) fn wait_with_output(self) -> io::Result<Output> {
        let output = self.0.wait_with_output()?;
        events::check(&output.stdout);
        Ok(output)
    }
}

impl Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

/// The program, without the variables of this environment that it reads, without a folder for the ledger, and without
/// stored keys and a keyring.
pub(crate) fn akool(args: &[&str]) -> Program {
    let mut command = Program::new(env!("CARGO_BIN_EXE_akool"));
    command.args(args).stdin(Stdio::null()).env("XDG_STATE_HOME", "/nonexistent");
    command.env("XDG_CONFIG_HOME", "/nonexistent").env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let read = text.starts_with("AKOOL_") || text.to_lowercase().ends_with("_proxy");
        if read || ["RUST_LOG", "COLUMNS", "NO_COLOR", "CLICOLOR_FORCE"].contains(&&*text) {
            command.env_remove(&name);
        }
    }
    command
}

/// The program with the address and the key of a mock server.
pub(crate) fn akool_at(server: &MockServer, args: &[&str]) -> Program {
    let mut command = akool(args);
    command.env("AKOOL_API_HOST", server.url()).env("AKOOL_API_KEY", server.api_key());
    command
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The JSON lines on stdout.
pub(crate) fn objects(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Settings of snapshots in this folder: each is named without its module.
pub(crate) fn snapshots(folder: &str) -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_snapshot_path(format!("snapshots/{folder}"));
    settings.set_prepend_module_to_snapshot(false);
    settings.add_filter(r"127\.0\.0\.1:\d{2,}", "127.0.0.1:[port]");
    settings.add_filter(r"\d+(\.\d)? ?s\b", "[time]");
    settings.add_filter(r"\d+ polls, \d+ ", "[n] polls, [n] ");
    settings
}

/// Waits until a condition holds that this process brings about.
pub(crate) fn wait_until(child: &mut Child, what: &str, mut condition: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(child.try_wait().unwrap().is_none(), "the program ended before: {what}");
        assert!(Instant::now() < give_up, "not within a minute: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The exit status of a process that ends by itself.
pub(crate) fn end_of(child: &mut Child) -> ExitStatus {
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > give_up {
            child.kill().unwrap();
        }
        assert!(Instant::now() <= give_up, "the program did not end within a minute");
        thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn interrupt(child: &Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

/// A command that serves until it is dropped, with `--json`.
pub(crate) struct Serving {
    child: Running,
    lines: BufReader<ChildStdout>,
    pub(crate) address: String,
}

impl Serving {
    pub(crate) fn start(mut command: Program) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut serving = Self { child, lines, address: String::new() };
        let url = serving.object()["url"].as_str().unwrap().to_owned();
        serving.address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        serving
    }

    /// The next JSON line.
    pub(crate) fn object(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        assert!(!line.contains("MARKER"), "{line}");
        events::check(line.as_bytes());
        serde_json::from_str(&line).unwrap()
    }

    /// Interrupts it. Returns the last JSON line and the exit code.
    pub(crate) fn stop(mut self) -> (Value, i32) {
        interrupt(&self.child);
        let mut last = Value::Null;
        let mut line = String::new();
        while self.lines.read_line(&mut line).unwrap() > 0 {
            events::check(line.as_bytes());
            last = serde_json::from_str(&line).unwrap();
            line.clear();
        }
        (last, end_of(&mut self.child).code().unwrap_or(-1))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
