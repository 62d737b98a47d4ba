//! `akool translate`: creates jobs, waits for them and downloads their files.

use std::{collections::BTreeMap, pin::pin};

use tokio::sync::mpsc;

use crate::{
    args::Translate, connect::Connection, create::Creator, dry_run, follow::Follow, interrupt::interruption,
    outcome::Outcome, place::Place, plan::plan, report::Report, row_report::RowReport, staging::Staging,
};

pub(crate) async fn run(options: &Translate, connection: &Connection, report: &Report) -> Outcome {
    let usage = |error: String| {
        report.error(None, "usage", error);
        Outcome::Usage
    };
    let staging = match Staging::new(&options.staging, report) {
        Ok(staging) => staging,
        Err(error) => return usage(error),
    };
    // A mistake on the command line or in the file leaves no file behind.
    let plan = match plan(options, connection, report, &staging).await {
        Ok(plan) => plan,
        Err(outcome) => return outcome,
    };
    if options.dry_run {
        return match Follow::check(&options.follow) {
            Ok(()) => dry_run::run(options, connection, report, &plan.items).await,
            Err(error) => usage(error),
        };
    }
    let file = match options.report.as_deref().map(RowReport::open).transpose() {
        Ok(file) => file,
        Err(error) => return usage(error),
    };
    let follow = match Follow::prepare(&options.follow, connection, report) {
        Ok(follow) => follow,
        Err(error) => return usage(error),
    };
    let place = match Place::open_to_write(connection).await {
        Ok(place) => place,
        Err(failure) => return report.failed(None, &failure),
    };
    let follow = follow.with_ledger_of(&place).await;
    let creator = Creator::new(options, connection, report, &place, follow.settings(), plan, &staging);
    let work = async {
        let outcome = create_and_wait(options, report, &place, &creator, &follow).await;
        creator.stop();
        outcome
    };
    let (outcome, ()) = tokio::join!(work, creator.tidy());
    outcome.max(creator.summarize(file))
}

async fn create_and_wait(
    options: &Translate,
    report: &Report,
    place: &Place,
    creator: &Creator<'_>,
    follow: &Follow<'_>,
) -> Outcome {
    let (sender, jobs) = mpsc::unbounded_channel();
    let mut create = pin!(creator.run(sender));
    let mut wait = pin!(follow.drive(place, jobs, |ended| creator.end(&ended)));
    let mut created = None;
    loop {
        tokio::select! {
            biased;
            outcome = &mut create, if created.is_none() => {
                if options.no_wait {
                    return outcome;
                }
                created = Some(outcome);
            }
            outcome = &mut wait, if !options.no_wait => return outcome.max(created.unwrap_or(Outcome::Done)),
            () = interruption() => break,
        }
    }
    if created.is_none() && creator.is_creating() {
        report.note("interrupted while creating jobs; waiting for their ids (interrupt again to quit)");
        creator.interrupt();
        tokio::select! {
            _ = &mut create => {}
            () = interruption() => {
                report.interrupted_creation();
                return Outcome::Interrupted;
            }
        }
    }
    let active = creator.active().into_iter().map(|id| (id.clone(), follow.last_snapshot(&id)));
    let open: BTreeMap<_, _> = active.chain(follow.downloading()).collect();
    report.interrupted(&open, true);
    if creator.has_more() {
        report.note("not all jobs were created; run the same command again to create the others");
    }
    Outcome::Interrupted
}
