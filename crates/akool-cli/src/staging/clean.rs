//! Removes what no job needs any more: objects whose jobs have ended, and uploads whose process has died.

use akool_ledger::{Ledger, Staged};
use akool_stage::{Location, Stage, StageError};

use super::Failure;
use crate::{interrupt::interruption, report::Report};

/// Removes the objects that are left, and aborts the uploads. What another process works on is skipped. An error is only
/// reported: the next run tries again.
pub(crate) async fn clean(ledger: &Ledger, report: &Report) {
    let cleaned = tokio::select! {
        cleaned = try_clean(ledger, report) => cleaned,
        // The next run does it.
        () = interruption() => return,
    };
    if let Err(failure) = cleaned {
        let list = report.command("jobs --staged");
        report.note(format_args!("warning: {}; `{list}` lists what is left in the store", failure.text));
    }
}

async fn try_clean(ledger: &Ledger, report: &Report) -> Result<(), Failure> {
    for (url, _) in ledger.uploads().await? {
        if let Some(_locked) = ledger.try_lock_staged(&url)? {
            abort_left(&open(&url)?, ledger, &url).await?;
        }
    }
    for Staged { url, name, .. } in ledger.staged().await?.into_iter().filter(Staged::is_left) {
        let Some(_locked) = ledger.try_lock_staged(&url)? else { continue };
        // It may be in use again.
        if ledger.staged_at(&url).await?.is_some_and(|staged| staged.is_left()) {
            open(&url)?.remove(&url).await?;
            ledger.forget_staged(&url).await?;
            report.removed(&name, &url);
        }
    }
    Ok(())
}

/// Aborts the uploads to an object that nobody works on. The caller has its lock.
pub(super) async fn abort_left(stage: &Stage, ledger: &Ledger, url: &str) -> Result<(), Failure> {
    for (left, upload) in ledger.uploads().await?.into_iter().filter(|(left, _)| left == url) {
        stage.abort(&left, &upload).await?;
        ledger.end_upload(&left, &upload).await?;
    }
    Ok(())
}

/// The bucket of an object.
fn open(url: &str) -> Result<Stage, StageError> {
    Stage::open(&Location::of_object(url)?)
}
