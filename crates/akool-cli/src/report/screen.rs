//! Progress lines on a terminal: one for each job, as far as there is room, and one for the whole run if it is long.

use std::{cell::RefCell, collections::BTreeMap, fmt::Write, time::Duration};

use akool::JobId;
use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::text::short;

/// A line has room for a bar on terminals of at least this many columns.
const WIDE: u16 = 90;
/// A line has room for the age of the job on terminals of at least this many columns.
const MEDIUM: u16 = 60;
/// Lines of the terminal that are left for other text.
const LEFT_FREE: usize = 4;
/// A run of at least this many jobs has a line for all of them.
const LONG_RUN: usize = 4;

pub(super) struct Screen {
    lines: MultiProgress,
    jobs: RefCell<Jobs>,
    /// The rows and columns of the terminal now.
    size: Box<dyn Fn() -> (u16, u16)>,
    /// How often the lines are drawn without news. `None`: never.
    tick: Option<Duration>,
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
    pub(super) fn new() -> Self {
        Self {
            lines: MultiProgress::new(),
            jobs: RefCell::default(),
            size: Box::new(|| Term::stderr().size()),
            tick: Some(Duration::from_millis(120)),
        }
    }

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
        if let Some(tick) = self.tick {
            bar.enable_steady_tick(tick);
        }
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
        let bar = jobs.total.get_or_insert_with(|| self.lines.add(ProgressBar::new(0)));
        bar.set_length(total as u64);
        bar.set_position(ended as u64);
        // Below all others, and with the number of those that do not fit.
        jobs.laid_out = (0, 0, 0, 0);
        self.lay_out(&mut jobs);
    }

    /// Lays the lines out again if the window has another size now.
    pub(super) fn resize(&self) {
        self.lay_out(&mut self.jobs.borrow_mut());
    }

    /// Shows as many lines as the terminal has room for now, the oldest jobs first, and says how many more there are.
    fn lay_out(&self, jobs: &mut Jobs) {
        let (rows, columns) = (self.size)();
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
            if let Ok(style) = ProgressStyle::with_template(total_template(columns)) {
                total.set_style(style.with_key("rate", rate).with_key("eta", eta));
            }
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
    match columns {
        WIDE.. => "{spinner} {prefix:30!}  {bar:20} {elapsed:>4}  {wide_msg}",
        MEDIUM.. => "{spinner} {prefix:30!}  {elapsed:>4}  {wide_msg}",
        _ => "{spinner} {prefix:16!}  {wide_msg}",
    }
}

fn total_template(columns: u16) -> &'static str {
    match columns {
        MEDIUM.. => "{pos} of {len} ended{rate}{eta}{wide_msg}",
        _ => "{pos} of {len}{eta}{wide_msg}",
    }
}

/// How long each job of the run took on average, if that is known.
fn seconds_each(state: &ProgressState) -> Option<f64> {
    let (ended, seconds) = (state.pos() as f64, state.elapsed().as_secs_f64());
    (ended > 0.0 && seconds > 1.0).then_some(seconds / ended)
}

/// How many jobs end in a minute.
fn rate(state: &ProgressState, text: &mut dyn Write) {
    if let Some(seconds) = seconds_each(state) {
        let _ = write!(text, ", {:.1} a minute", 60.0 / seconds);
    }
}

/// When all jobs will have ended, if they go on like that.
fn eta(state: &ProgressState, text: &mut dyn Write) {
    if let Some(seconds) = seconds_each(state) {
        let left = state.len().unwrap_or_default().saturating_sub(state.pos()) as f64 * seconds;
        let _ = write!(text, ", ETA {}", short(Duration::try_from_secs_f64(left).unwrap_or_default()));
    }
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;

    use super::*;

    fn screen(rows: u16, columns: u16) -> (Screen, InMemoryTerm) {
        let term = InMemoryTerm::new(rows, columns);
        let lines = MultiProgress::with_draw_target(ProgressDrawTarget::term_like(Box::new(term.clone())));
        let size = Box::new(move || (rows, columns));
        (Screen { lines, jobs: RefCell::default(), size, tick: None }, term)
    }

    /// Jobs of a run of 200, some of which have ended.
    fn run(screen: &Screen) {
        screen.advance(0, 200);
        for number in 1..=20 {
            let id = JobId::from(format!("6b0a81cea096b52fa50000{number:02}"));
            let name = match number {
                1 => "zh-CN 6b0a81cea096b52fa5000001".to_owned(),
                2 => "es    a-talk-with-a-name-that-is-long".to_owned(),
                number => format!("fr    talk{number}"),
            };
            let bar = screen.bar(&id, || name);
            bar.set_position(number * 4);
            bar.set_message(match number {
                3 => "downloading the video without captions, 12 %".to_owned(),
                number => format!("processing, {} %", number * 4),
            });
        }
        screen.close(&"6b0a81cea096b52fa5000005".into());
        screen.advance(40, 200);
        let jobs = screen.jobs.borrow();
        let total = jobs.total.clone().unwrap().with_elapsed(Duration::from_millis(120_100));
        jobs.lines.values().for_each(|line| line.bar.force_draw());
        total.force_draw();
    }

    #[test]
    fn a_run_on_terminals_of_several_widths() {
        for columns in [40, 80, 160] {
            let (screen, term) = screen(12, columns);
            run(&screen);
            insta::assert_snapshot!(format!("{columns}-columns"), term.contents());
        }
    }

    #[test]
    fn other_text_is_above_the_lines() {
        let (screen, term) = screen(12, 80);
        run(&screen);
        screen.suspend(|| indicatif::TermLike::write_line(&term, "talk5.fr  failed: no speech").unwrap());
        let contents = term.contents();
        let first = contents.lines().next().unwrap();
        assert!(first.starts_with("talk5.fr  failed"), "{contents}");
        assert!(contents.lines().last().unwrap().starts_with("40 of 200 ended"), "{contents}");
    }
}
