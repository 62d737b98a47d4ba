//! Runs the program of `--on-complete`: [`run`].

use std::{
    path::{Path, PathBuf},
    pin::pin,
    process::Stdio,
    time::Duration,
};

use akool::JobId;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    process::Command,
};

use crate::{args::Words, outcome::Outcome, report::Report};

/// How long output is read after the end of the program.
const MAX_DRAIN: Duration = Duration::from_secs(1);
/// Longer lines are printed in parts.
const MAX_LINE: u64 = 64 * 1024;

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
        is_program(&path) || is_program(Path::new(&format!("{}{suffix}", path.display())))
    };
    if places.into_iter().any(exists) {
        return Ok(());
    }
    Err(format!("--on-complete: there is no program {} that can be run", command.program))
}

fn is_program(path: &Path) -> bool {
    let Some(found) = path.metadata().ok().filter(std::fs::Metadata::is_file) else { return false };
    #[cfg(unix)]
    return std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o111 != 0;
    #[cfg(not(unix))]
    return found.len() > 0;
}

/// Runs the program with a line of JSON on standard input. What it prints goes to stderr.
pub(crate) async fn run(command: &Words, id: &JobId, job: &serde_json::Value, report: &Report) -> Outcome {
    let spawned = Command::new(&command.program)
        .args(&command.args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // It ends with this program.
        .kill_on_drop(true)
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
    let output = async {
        tokio::join!(write, pass_on(stdout, report), pass_on(stderr, report));
    };
    let mut output = pin!(output);
    let status = tokio::select! {
        status = child.wait() => {
            // What it left running may keep its output open.
            let _ = tokio::time::timeout(MAX_DRAIN, output).await;
            status
        }
        () = &mut output => child.wait().await,
    };
    match status {
        Ok(status) if status.success() => Outcome::Done,
        Ok(status) => failed(format!("it ended with {status}")),
        Err(error) => failed(error.to_string()),
    }
}

/// Prints each line, so that it does not disturb the progress lines.
async fn pass_on(output: Option<impl AsyncRead + Unpin>, report: &Report) {
    let Some(output) = output else { return };
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while let Ok(1..) = (&mut output).take(MAX_LINE).read_until(b'\n', &mut line).await {
        report.note(String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)));
        line.clear();
    }
}
