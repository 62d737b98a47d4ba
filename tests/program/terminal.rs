//! The progress lines on a real terminal whose window is resized, in tmux. Skipped where tmux is not installed, unless the
//! variable `REQUIRE_TMUX` is set.

use std::{
    fmt::Write as _,
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use akool_mock::{MockServer, Timeline};

/// A terminal of its own, which ends with this value.
struct Terminal {
    socket: String,
}

impl Terminal {
    /// `None` if there is no tmux.
    fn start(folder: &std::path::Path, variables: &[(&str, &str)], args: &[&str]) -> Option<Self> {
        let version = Command::new("tmux").arg("-V").stdout(Stdio::null()).status();
        if version.is_err() && std::env::var_os("REQUIRE_TMUX").is_none() {
            eprintln!("skipped: tmux is not installed");
            return None;
        }
        let terminal = Self { socket: folder.join("tmux").to_str().unwrap().to_owned() };
        let mut command = terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "16"]);
        for (name, value) in variables {
            command.args(["-e", &format!("{name}={value}")]);
        }
        command.arg(env!("CARGO_BIN_EXE_akool")).args(args);
        command.args([";", "set", "remain-on-exit", "on"]);
        assert!(command.status().unwrap().success());
        Some(terminal)
    }

    fn tmux(&self, args: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-S", &self.socket]).args(args).env_remove("TMUX");
        command
    }

    fn resize(&self, columns: u16, rows: u16) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        assert!(self.tmux(&["resize-window", "-x", &columns, "-y", &rows]).status().unwrap().success());
    }

    /// The lines of the window, once they are as wanted.
    fn wait_for(&self, what: &str, is_wanted: impl Fn(&[String]) -> bool) {
        let give_up = Instant::now() + Duration::from_secs(60);
        loop {
            let output = self.tmux(&["capture-pane", "-p"]).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let lines: Vec<_> = text.trim_end().lines().map(str::to_owned).collect();
            if is_wanted(&lines) {
                return;
            }
            assert!(Instant::now() < give_up, "not within a minute: {what}\n{text}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]).stderr(Stdio::null()).status();
    }
}

/// Whether the last lines are those of so many jobs, and one for the run with this text. When a window becomes narrower,
/// terminals break the lines that are there, so there may be remains above.
fn shows(lines: &[String], jobs: usize, total: &str) -> bool {
    let mut last = lines.iter().rev();
    last.next().is_some_and(|line| line.contains(total))
        && last.clone().count() >= jobs
        && last.take(jobs).all(|line| line.contains("es    talk") && line.contains("processing"))
}

#[tokio::test]
async fn a_resized_window_is_laid_out_again() {
    let server = MockServer::start().await;
    server.on_create(Timeline::new().stuck(2));
    let folder = tempfile::tempdir().unwrap();
    let mut text = "url,to\n".to_owned();
    for row in 1..=30 {
        let _ = writeln!(text, "https://example.com/talk{row}.mp4,es");
    }
    let file = folder.path().join("videos.csv");
    fs::write(&file, text).unwrap();
    let url = server.url();
    let state = folder.path().to_str().unwrap();
    let variables =
        [("AKOOL_API_HOST", url.as_str()), ("AKOOL_API_KEY", &server.api_key()), ("XDG_STATE_HOME", state)];
    let args = ["translate", "--from-file", file.to_str().unwrap(), "--interval", "50ms"];
    let Some(terminal) = Terminal::start(folder.path(), &variables, &args) else { return };
    // Of twenty active jobs, as many have a line as fit.
    terminal.wait_for("12 of 20 jobs are shown", |lines| shows(lines, 12, "0 of 30 ended  + 8 more"));
    terminal.resize(40, 10);
    terminal.wait_for("6 of 20 jobs are shown", |lines| {
        shows(lines, 6, "0 of 30  + 14 more") && lines.iter().all(|line| line.chars().count() <= 40)
    });
    terminal.resize(120, 30);
    terminal.wait_for("all jobs are shown, with bars", |lines| {
        shows(lines, 20, "0 of 30 ended") && lines.iter().any(|line| line.contains('╸'))
    });
    server.on_create(Timeline::new().completed());
    for job in server.created() {
        server.job(job.id, Timeline::new().completed());
    }
    terminal
        .wait_for("the last line", |lines| lines.iter().any(|line| line.starts_with("30 of 30 completed")));
}
