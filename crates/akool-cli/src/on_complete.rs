//! Runs the program of `--on-complete`: [`run`].

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use akool::JobId;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader},
    process::Command,
};

use crate::{args::Words, outcome::Outcome, report::Report};

/// Finds a program before anything is paid for.
///
/// # Errors
/// That there is none, as a message.
pub(crate) fn check(command: &Words) -> Result<(), String> {
    let program = Path::new(&command.program);
    let places: Vec<PathBuf> = match program.components().count() {
        1 => std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect(),
        _ => vec![PathBuf::new()],
    };
    let suffix = std::env::consts::EXE_SUFFIX;
    let exists = |place: PathBuf| {
        let path = place.join(program);
        path.is_file() || Path::new(&format!("{}{suffix}", path.display())).is_file()
    };
    if places.into_iter().any(exists) {
        return Ok(());
    }
    Err(format!("--on-complete: there is no program {}", command.program))
}

/// Runs the program with a line of JSON on standard input. What it prints goes to stderr.
pub(crate) async fn run(command: &Words, id: &JobId, job: &serde_json::Value, report: &Report) -> Outcome {
    let spawned = Command::new(&command.program)
        .args(&command.args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let failed = |why: String| {
        let text = format!("--on-complete {}: {why}", command.program);
        report.failure(
            Some(id),
            "on_complete",
            text,
            Some("the job is completed; run the program for it again"),
        );
        Outcome::Unexpected
    };
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return failed(error.to_string()),
    };
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program that does not read it closes the pipe.
            let _ = stdin.write_all(format!("{job}\n").as_bytes()).await;
        }
    };
    let ((), (), (), status) =
        tokio::join!(write, pass_on(stdout, report), pass_on(stderr, report), child.wait());
    match status {
        Ok(status) if status.success() => Outcome::Done,
        Ok(status) => failed(format!("it ended with {status}")),
        Err(error) => failed(error.to_string()),
    }
}

/// Prints each line, so that it does not disturb the progress lines.
async fn pass_on(output: Option<impl AsyncRead + Unpin>, report: &Report) {
    let Some(output) = output else { return };
    let mut lines = BufReader::new(output).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        report.note(String::from_utf8_lossy(&line));
    }
}
