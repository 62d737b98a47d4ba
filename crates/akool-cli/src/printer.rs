//! Prints the lines of a server on a thread of its own: [`Printer`]. A reader that stops reading must not stop the server.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

/// How many lines wait to be printed.
const MAX_WAITING: usize = 10_000;
/// How long the end of the program waits for the lines that are left.
const MAX_FINISH: Duration = Duration::from_secs(1);

/// A line and where it goes.
enum Line {
    Stdout(String),
    Stderr(String),
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Printer {
    lines: mpsc::Sender<Line>,
    /// How many lines were not printed since the last one that was.
    lost: Arc<AtomicU64>,
}

/// The thread of a [`Printer`].
pub(crate) struct Printing(JoinHandle<()>);

impl Printer {
    /// Starts the thread.
    ///
    /// # Errors
    /// If there are too many threads.
    pub(crate) fn start() -> io::Result<(Self, Printing)> {
        let (lines, mut waiting) = mpsc::channel(MAX_WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let not_printed = Arc::clone(&lost);
        let thread = thread::Builder::new().spawn(move || {
            // A closed pipe must not stop the server.
            while let Some(line) = waiting.blocking_recv() {
                let _ = match line {
                    Line::Stdout(line) => writeln!(io::stdout(), "{line}"),
                    Line::Stderr(line) => writeln!(io::stderr(), "{line}"),
                };
                let lost = not_printed.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    let _ = writeln!(io::stderr(), "{lost} lines were not printed: nobody read the output");
                }
            }
        })?;
        Ok((Self { lines, lost }, Printing(thread)))
    }

    /// Prints a line to stdout soon. If too many lines wait, it is lost and counted.
    pub(crate) fn offer(&self, line: String) {
        if self.lines.try_send(Line::Stdout(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Prints a line to stdout, and waits if too many lines wait.
    pub(crate) async fn stdout(&self, line: String) {
        let _ = self.lines.send(Line::Stdout(line)).await;
    }

    /// The same for stderr.
    pub(crate) async fn stderr(&self, line: String) {
        let _ = self.lines.send(Line::Stderr(line)).await;
    }
}

impl Printing {
    /// Waits a moment for the lines that are left. All printers must be gone.
    pub(crate) fn finish(self) {
        let give_up = Instant::now() + MAX_FINISH;
        while !self.0.is_finished() && Instant::now() < give_up {
            thread::sleep(Duration::from_millis(5));
        }
    }
}
