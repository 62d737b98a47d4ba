//! Uploads the files of a row, once for all rows and processes that need them.

use akool_ledger::{Ledger, Staged};
use akool_stage::{LocalFile, Stage, StageError};
use tokio::sync::watch;

use super::{Failure, Local, Staging, clean::abort_left, log::LedgerLog};

impl Staging<'_> {
    /// Uploads the files that are not in the store yet.
    pub(crate) async fn upload(&self, local: &Local, ledger: &Ledger) -> Result<(), Failure> {
        for file in local.files() {
            self.upload_file(file, ledger).await?;
        }
        Ok(())
    }

    async fn upload_file(&self, file: &LocalFile, ledger: &Ledger) -> Result<(), Failure> {
        let Some(stage) = self.stage.get() else { return Ok(()) };
        let url = stage.url(file);
        if self.held.borrow().contains_key(&url) {
            return Ok(());
        }
        let name = &file.name;
        // Other processes may use it at the same time.
        if let Some(lock) = ledger.try_share_staged(&url)?
            && self.is_there(stage, file, &url, ledger).await?
        {
            self.record(file, &url, ledger, true).await?;
            self.held.borrow_mut().insert(url, lock);
            return Ok(());
        }
        loop {
            let waits =
                || self.report.note(format_args!("another process is working on {name}; waiting for it"));
            let lock = ledger.lock_staged(&url, waits).await?;
            abort_left(stage, ledger, &url).await?;
            let is_there = self.is_there(stage, file, &url, ledger).await?;
            if !is_there {
                self.send(stage, file, ledger).await?;
            }
            self.record(file, &url, ledger, is_there).await?;
            let shared = lock.share();
            shared.map_err(|error| StageError::Log { url: url.clone(), source: error.into() })?;
            // Another process may have removed it between the two locks.
            if lock.is_valid() && ledger.staged_at(&url).await?.is_some() {
                self.held.borrow_mut().insert(url, lock);
                return Ok(());
            }
        }
    }

    /// Whether the file was uploaded before.
    async fn is_there(
        &self,
        stage: &Stage,
        file: &LocalFile,
        url: &str,
        ledger: &Ledger,
    ) -> Result<bool, Failure> {
        Ok(ledger.staged_at(url).await?.is_some() && stage.length(url).await? == Some(file.bytes))
    }

    async fn record(
        &self,
        file: &LocalFile,
        url: &str,
        ledger: &Ledger,
        is_there: bool,
    ) -> Result<(), Failure> {
        let staged = Staged::new(url, &file.name, file.bytes).keep(self.options.keep_staged);
        ledger.record_staged(&staged).await?;
        self.report.uploaded(file, url, is_there);
        Ok(())
    }

    async fn send(&self, stage: &Stage, file: &LocalFile, ledger: &Ledger) -> Result<(), StageError> {
        let (sender, mut progress) = watch::channel(0);
        self.report.uploading(file, stage.location());
        let log = LedgerLog(ledger.clone());
        let mut upload = std::pin::pin!(stage.upload(file, &log, |sent| {
            let _ = sender.send(sent);
        }));
        loop {
            tokio::select! {
                biased;
                done = &mut upload => {
                    self.report.upload_ended(file);
                    return done;
                }
                Ok(()) = progress.changed() => {
                    let sent = *progress.borrow_and_update();
                    self.report.upload_progress(file, sent);
                }
            }
        }
    }
}
