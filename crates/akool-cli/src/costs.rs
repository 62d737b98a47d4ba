//! `akool jobs --costs`: sums the credits of jobs by day, language and status.

use std::collections::{BTreeMap, BTreeSet};

use akool::Status;
use akool_ledger::Work;
use serde_json::json;

use crate::{report::Report, table::Table, text::credits};

/// The jobs of one day, language and status.
#[derive(Default)]
struct Sum {
    jobs: u32,
    held: Credits,
    charged: Credits,
}

/// A sum, and how many jobs are not in it because it is not known what they cost.
#[derive(Default)]
struct Credits {
    known: f64,
    unknown: u32,
}

impl Credits {
    fn add(&mut self, credits: Option<f64>) {
        match credits {
            Some(credits) => self.known += credits,
            None => self.unknown += 1,
        }
    }

    /// `12`, `12 + 3 unknown`, `unknown`.
    fn text(&self, jobs: u32) -> String {
        match self.unknown {
            0 => credits(self.known),
            unknown if unknown == jobs => "unknown".to_owned(),
            unknown => format!("{} + {unknown} unknown", credits(self.known)),
        }
    }

    /// `None` if nothing is known: that is not 0.
    fn known(&self, jobs: u32) -> Option<f64> {
        (self.unknown < jobs).then_some(self.known)
    }
}

/// Prints the sums of all jobs among this work. A job that stands for several languages counts once.
pub(crate) fn print(works: &[Work], report: &Report) {
    let mut seen = BTreeSet::new();
    let mut sums: BTreeMap<(String, String, &str), Sum> = BTreeMap::new();
    for work in works {
        let Some(job) = work.job().filter(|job| seen.insert(job.id.clone())) else { continue };
        let day = humantime::format_rfc3339_seconds(work.requested_at).to_string();
        let day = day.split('T').next().unwrap_or_default().to_owned();
        let language = work.language.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
        let status = job.status.map_or("created", Status::name);
        let sum = sums.entry((day, language, status)).or_default();
        sum.jobs += 1;
        sum.held.add(job.credits_held);
        sum.charged.add(job.credits_charged);
    }
    if report.is_json() {
        for ((day, language, status), Sum { jobs, held, charged }) in &sums {
            report.object(&json!({
                "event": "costs", "day": day, "language": language, "status": status, "jobs": jobs,
                "credits_held": held.known(*jobs), "credits_charged": charged.known(*jobs),
                "held_unknown": held.unknown, "charged_unknown": charged.unknown,
            }));
        }
        return;
    }
    if sums.is_empty() {
        let translate = report.command("translate");
        return report.note(format_args!("no jobs; create one with `{translate}`"));
    }
    let mut table = Table::new(["DAY", "LANGUAGE", "STATUS", "JOBS", "HELD", "CHARGED"]);
    for ((day, language, status), sum) in sums {
        let (held, charged) = (sum.held.text(sum.jobs), sum.charged.text(sum.jobs));
        table.row([day, language, status.to_owned(), sum.jobs.to_string(), held, charged]);
    }
    report.line(table);
}
