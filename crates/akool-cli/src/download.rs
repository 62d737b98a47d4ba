//! `akool download`: downloads the files of completed jobs.

use std::{collections::BTreeSet, path::Path};

use akool::{ErrorKind, JobId, Status, Translation};
use akool_ledger::Filter;

use crate::{
    args::Download, connect::Connection, fetch::Fetch, interrupt::interruption, ledger, outcome::Outcome,
    report::Report, text,
};

pub(crate) async fn run(options: &Download, connection: &Connection, report: &Report) -> Outcome {
    let output = options.output.as_deref().unwrap_or(Path::new("."));
    let mut fetch = match Fetch::prepare(output, &options.files, options.stall_timeout, report) {
        Ok(fetch) => fetch,
        Err(error) => {
            report.error(None, "usage", error);
            return Outcome::Usage;
        }
    };
    let mut ids: BTreeSet<_> = options.ids.iter().map(|id| JobId::from(id.as_str())).collect();
    ledger::label_jobs(connection, ids.iter().cloned(), |id, language, source| {
        report.label(id, language, source);
    })
    .await;
    let ledger = match ledger::open_existing(connection).await {
        Ok(ledger) => ledger,
        Err(error) if options.expiring => {
            report.error(None, "ledger", error);
            return Outcome::Usage;
        }
        // Only `--expiring` needs the ledger.
        Err(error) => {
            report.note(format_args!("warning: the files are not recorded: {error}"));
            None
        }
    };
    if let Some(ledger) = ledger.as_ref().filter(|_| options.expiring) {
        match ledger.jobs(&Filter::expiring().at(ledger::api(connection))).await {
            Ok(jobs) => {
                for job in jobs {
                    report.label(&job.id, job.language.as_ref(), job.source_url.as_deref());
                    ids.insert(job.id);
                }
            }
            Err(error) => {
                report.error(None, "ledger", text::with_causes(&error));
                return Outcome::Unexpected;
            }
        }
    }
    if ids.is_empty() {
        report.note("no unsaved files expire within a day");
    }
    fetch.set_ledger(ledger);
    for id in &ids {
        fetch.learn(ledger::api(connection), id).await;
    }
    let all = async {
        let mut outcome = Outcome::Done;
        for id in ids {
            let job = connection.client.job(&id);
            report.start(&id);
            let snapshot = match job.get().await {
                Ok(snapshot) => snapshot,
                Err(error) => {
                    report.call_failed(Some(&id), &error);
                    outcome = outcome.max(Outcome::from(&error));
                    continue;
                }
            };
            let status = snapshot.status();
            let result = match Translation::from_snapshot(snapshot.clone()) {
                Some(translation) => fetch.all(&job, &translation, false).await.0,
                None if status == Status::Failed => {
                    report.status(&snapshot);
                    Outcome::JobFailed
                }
                None if status == Status::Completed => {
                    let kind = ErrorKind::MissingVideo;
                    let text = format!(
                        "job {id} is completed, but without a usable link to the video; {}",
                        kind.help()
                    );
                    report.error(Some(&id), kind.name(), text);
                    Outcome::Unreachable
                }
                None => {
                    let text = format!(
                        "job {id} is not completed yet (status: {}); wait for it with: {}",
                        text::status(status),
                        report.wait_command(&id, output)
                    );
                    report.error(Some(&id), "not_completed", text);
                    Outcome::Timeout
                }
            };
            outcome = outcome.max(result);
        }
        outcome
    };
    tokio::select! {
        outcome = all => outcome,
        () = interruption() => {
            report.note("interrupted; run the same command to resume the downloads");
            Outcome::Interrupted
        }
    }
}
