//! Progress lines on a terminal, one for each job.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use akool::JobId;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A line has room for a bar on terminals of at least this many columns.
const WIDE: u16 = 90;

#[derive(Default)]
pub(super) struct Screen {
    lines: MultiProgress,
    jobs: RefCell<BTreeMap<JobId, ProgressBar>>,
}

impl Screen {
    /// The line of a job, which is added if it does not exist. `name` is its prefix.
    pub(super) fn bar(&self, id: &JobId, name: impl FnOnce() -> String) -> ProgressBar {
        let mut jobs = self.jobs.borrow_mut();
        let bar = jobs.entry(id.clone()).or_insert_with(|| {
            let bar = self.lines.add(ProgressBar::new(100).with_prefix(name()));
            let narrow = console::Term::stderr().size().1 < WIDE;
            let template = if narrow {
                "{spinner} {prefix}  {elapsed:>4}  {wide_msg}"
            } else {
                "{spinner} {prefix}  {bar:20} {elapsed:>4}  {wide_msg}"
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("━╸ "));
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        bar.clone()
    }

    pub(super) fn close(&self, id: &JobId) {
        if let Some(bar) = self.jobs.borrow_mut().remove(id) {
            bar.finish_and_clear();
        }
    }

    /// Removes the lines while something else is written.
    pub(super) fn suspend(&self, write: impl FnOnce()) {
        self.lines.suspend(write);
    }

    /// Leaves the lines as they are: after Ctrl-C the cursor is elsewhere, because the terminal shows `^C`.
    pub(super) fn freeze(&self) {
        self.lines.set_draw_target(ProgressDrawTarget::hidden());
    }
}
