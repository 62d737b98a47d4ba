//! Progress lines on a terminal: one for each job, as far as there is room, and one for the whole run if it is long.

use std::{cell::RefCell, collections::BTreeMap, fmt::Write, time::Duration};

use akool::JobId;
use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::text::short;

/// A line has room for a bar on terminals of at least this many columns.
const WIDE: u16 = 90;
/// Lines of the terminal that are left for other text.
const LEFT_FREE: usize = 4;
/// A run of at least this many jobs has a line for all of them.
const LONG_RUN: usize = 4;

#[derive(Default)]
pub(super) struct Screen {
    lines: MultiProgress,
    jobs: RefCell<Jobs>,
}

/// The lines of jobs, in the order in which they began.
#[derive(Default)]
struct Jobs {
    began: u64,
    by_id: BTreeMap<JobId, u64>,
    lines: BTreeMap<u64, Line>,
    total: Option<ProgressBar>,
    /// For how many lines there was room, and which lines there were, when they were laid out last.
    laid_out: (usize, u16, usize, u64),
}

struct Line {
    bar: ProgressBar,
    is_shown: bool,
}

impl Screen {
    /// The line of a job, which is added if it does not exist. `name` is its prefix.
    pub(super) fn bar(&self, id: &JobId, name: impl FnOnce() -> String) -> ProgressBar {
        let mut jobs = self.jobs.borrow_mut();
        let known = jobs.by_id.get(id).and_then(|began| jobs.lines.get(began)).map(|line| line.bar.clone());
        if let Some(bar) = known {
            // The window may have another size now.
            self.lay_out(&mut jobs);
            return bar;
        }
        let bar = ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::hidden()).with_prefix(name());
        bar.enable_steady_tick(Duration::from_millis(120));
        let began = jobs.began;
        jobs.began += 1;
        jobs.by_id.insert(id.clone(), began);
        jobs.lines.insert(began, Line { bar: bar.clone(), is_shown: false });
        self.lay_out(&mut jobs);
        bar
    }

    pub(super) fn close(&self, id: &JobId) {
        let mut jobs = self.jobs.borrow_mut();
        let began = jobs.by_id.remove(id);
        if let Some(line) = began.and_then(|began| jobs.lines.remove(&began)) {
            line.bar.finish_and_clear();
            self.lines.remove(&line.bar);
        }
        self.lay_out(&mut jobs);
    }

    /// How many jobs of the run have ended.
    pub(super) fn advance(&self, ended: usize, total: usize) {
        if total < LONG_RUN {
            return;
        }
        let mut jobs = self.jobs.borrow_mut();
        let bar = jobs.total.get_or_insert_with(|| {
            let bar = self.lines.add(ProgressBar::new(0));
            let template = "{pos} of {len} ended{pace}{wide_msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.with_key("pace", pace));
            }
            bar
        });
        bar.set_length(total as u64);
        bar.set_position(ended as u64);
        // Below all others, and with the number of those that do not fit.
        jobs.laid_out = (0, 0, 0, 0);
        self.lay_out(&mut jobs);
    }

    /// Shows as many lines as the terminal has room for now, the oldest jobs first, and says how many more there are.
    fn lay_out(&self, jobs: &mut Jobs) {
        let (rows, columns) = Term::stderr().size();
        let room = usize::from(rows).saturating_sub(LEFT_FREE).max(1);
        let laid_out = (room, columns, jobs.lines.len(), jobs.began);
        if jobs.laid_out == laid_out {
            return;
        }
        jobs.laid_out = laid_out;
        let mut hidden = 0_usize;
        for (index, line) in jobs.lines.values_mut().enumerate() {
            let fits = index < room;
            if let Ok(style) = ProgressStyle::with_template(template(columns)) {
                line.bar.set_style(style.progress_chars("━╸ "));
            }
            hidden += usize::from(!fits);
            if fits && !line.is_shown {
                match &jobs.total {
                    Some(total) => drop(self.lines.insert_before(total, line.bar.clone())),
                    None => drop(self.lines.add(line.bar.clone())),
                }
            } else if !fits && line.is_shown {
                self.lines.remove(&line.bar);
                line.bar.set_draw_target(ProgressDrawTarget::hidden());
            }
            line.is_shown = fits;
        }
        if let Some(total) = &jobs.total {
            total.set_message(if hidden > 0 { format!("  + {hidden} more") } else { String::new() });
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

fn template(columns: u16) -> &'static str {
    if columns < WIDE {
        "{spinner} {prefix}  {elapsed:>4}  {wide_msg}"
    } else {
        "{spinner} {prefix}  {bar:20} {elapsed:>4}  {wide_msg}"
    }
}

/// How many jobs end in a minute, and when all will have ended if they go on like that.
fn pace(state: &ProgressState, text: &mut dyn Write) {
    let (ended, seconds) = (state.pos() as f64, state.elapsed().as_secs_f64());
    if ended > 0.0 && seconds > 1.0 {
        let left = state.len().unwrap_or_default().saturating_sub(state.pos()) as f64 * seconds / ended;
        let eta = short(Duration::try_from_secs_f64(left).unwrap_or_default());
        let _ = write!(text, ", {:.1} a minute, ETA {eta}", ended * 60.0 / seconds);
    }
}
