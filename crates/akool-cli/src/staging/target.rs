//! A place in an object store for results: [`StoreTarget`].

use std::{io, path::PathBuf};

use akool::{FileKind, Job, JobId, RemoteFile};
use akool_download::{DownloadError, Downloader};
use akool_ledger::{Ledger, SavedFile};
use akool_stage::{Location, Stage, StageError};

use super::{clean::abort_left, log::LedgerLog};
use crate::{
    report::{FileState, LocalFile, Report},
    text,
};

/// Where results are put, in place of a folder.
pub(crate) struct StoreTarget {
    pub(super) stage: Stage,
}

/// What is known of an object with the name of a file.
enum Found {
    /// It is that file.
    Same(LocalFile),
    /// The name is free, or the object may be replaced.
    Free,
    /// It is something else.
    Other,
}

impl StoreTarget {
    /// The store of `--output`, or `None` if it is a folder.
    ///
    /// # Errors
    /// What is wrong, as a message.
    pub(crate) fn of(output: &std::path::Path) -> Result<Option<Self>, String> {
        let Some(text) = output.to_str().filter(|text| text::is_url(text)) else { return Ok(None) };
        let opened = text.parse::<Location>().and_then(|location| Stage::open(&location));
        let stage = opened.map_err(|error| format!("{}; {}", text::with_causes(&error), error.help()))?;
        Ok(Some(Self { stage }))
    }

    /// Streams a file of a job into the store, under the first of these names that is free, and records it.
    pub(crate) async fn save(
        &self,
        downloader: &Downloader,
        (job, file): (&Job, &RemoteFile),
        names: &[String],
        overwrite: bool,
        ledger: Option<&Ledger>,
        report: &Report,
    ) -> Result<LocalFile, DownloadError> {
        let Some(ledger) = ledger else {
            return Err(failed("the store", "the ledger is needed to record results in a store"));
        };
        let (id, kind) = (&file.job, file.kind);
        let url = match self.find(names, id, kind, overwrite, ledger).await? {
            Ok(url) => url,
            Err(found) => return Ok(found),
        };
        let waits = || report.note(format_args!("another process is writing {url}; waiting for it"));
        let _lock = ledger.lock_staged(&url, waits).await.map_err(|error| failed(&url, error))?;
        // Another process may have written it before it released the lock.
        if let Found::Same(found) = self.look_up(&url, id, kind, overwrite, ledger).await? {
            return Ok(found);
        }
        abort_left(&self.stage, ledger, &url).await.map_err(|failure| failed(&url, failure.text))?;
        let (sender, mut progress) = tokio::sync::watch::channel(None);
        let transfer = downloader.fetch(file).renew_link_from(job).on_progress(move |now| {
            let _ = sender.send(Some(now));
        });
        let log = LedgerLog(ledger.clone());
        let mut sink = self.stage.sink(&url, &log).map_err(|error| failed(&url, error))?;
        let written = {
            let mut writing = std::pin::pin!(transfer.write_to(&mut sink));
            loop {
                tokio::select! {
                    biased;
                    written = &mut writing => break written,
                    Ok(()) = progress.changed() => {
                        if let Some(now) = *progress.borrow_and_update() {
                            report.progress(id, kind, now);
                        }
                    }
                }
            }
        };
        match written {
            Ok(bytes) => {
                let sha256 = sink.finish().await.map_err(|error| failed(&url, error))?;
                self.record(ledger, id, kind, &url, bytes, sha256).await?;
                Ok(LocalFile { kind, path: url.into(), bytes, state: FileState::Saved })
            }
            Err(error) => {
                // The first error says more, and what stays is aborted later.
                let _ = sink.abort().await;
                Err(error)
            }
        }
    }

    /// Writes a file that was made from another one.
    pub(crate) async fn write(
        &self,
        (id, kind): (&JobId, FileKind),
        contents: Vec<u8>,
        names: &[String],
        overwrite: bool,
        ledger: Option<&Ledger>,
    ) -> Result<LocalFile, DownloadError> {
        use akool_download::Sink as _;
        let Some(ledger) = ledger else {
            return Err(failed("the store", "the ledger is needed to record results in a store"));
        };
        let url = match self.find(names, id, kind, overwrite, ledger).await? {
            Ok(url) => url,
            Err(found) => return Ok(found),
        };
        let _lock = ledger.lock_staged(&url, || {}).await.map_err(|error| failed(&url, error))?;
        let (bytes, log) = (contents.len() as u64, LedgerLog(ledger.clone()));
        let mut sink = self.stage.sink(&url, &log).map_err(|error| failed(&url, error))?;
        sink.write(contents.into()).await?;
        let sha256 = sink.finish().await.map_err(|error| failed(&url, error))?;
        self.record(ledger, id, kind, &url, bytes, sha256).await?;
        Ok(LocalFile { kind, path: url.into(), bytes, state: FileState::Converted })
    }

    /// The contents of a small object.
    pub(crate) async fn read(&self, url: &str) -> Result<Vec<u8>, StageError> {
        self.stage.read(url).await.map(Vec::from)
    }

    /// The first name that is free, as a URL, or the file if it is there.
    async fn find(
        &self,
        names: &[String],
        id: &JobId,
        kind: FileKind,
        overwrite: bool,
        ledger: &Ledger,
    ) -> Result<Result<String, LocalFile>, DownloadError> {
        for name in names {
            let url = self.stage.url_of(name);
            match self.look_up(&url, id, kind, overwrite, ledger).await? {
                Found::Same(file) => return Ok(Err(file)),
                Found::Free => return Ok(Ok(url)),
                Found::Other => {}
            }
        }
        let last = names.last().map(|name| self.stage.url_of(name)).unwrap_or_default();
        Err(DownloadError::Exists { file: kind, job: id.clone(), path: last.into() })
    }

    async fn look_up(
        &self,
        url: &str,
        id: &JobId,
        kind: FileKind,
        overwrite: bool,
        ledger: &Ledger,
    ) -> Result<Found, DownloadError> {
        let record = ledger.file_at(url.as_ref()).await.map_err(|error| failed(url, error))?;
        let length = self.stage.length(url).await.map_err(|error| failed(url, error))?;
        let is_own = record.as_ref().is_some_and(|record| record.job == *id && record.kind == kind.name());
        Ok(match (record, length) {
            (_, None) => Found::Free,
            // Of another job of this ledger.
            (Some(_), Some(_)) if !is_own => Found::Other,
            _ if overwrite => Found::Free,
            (Some(record), Some(bytes)) => {
                let state = if bytes == record.bytes { FileState::Kept } else { FileState::Changed };
                Found::Same(LocalFile { kind, path: url.into(), bytes, state })
            }
            (None, Some(_)) => Found::Other,
        })
    }

    async fn record(
        &self,
        ledger: &Ledger,
        id: &JobId,
        kind: FileKind,
        url: &str,
        bytes: u64,
        sha256: [u8; 32],
    ) -> Result<(), DownloadError> {
        let file = SavedFile::new(id.clone(), kind, PathBuf::from(url), bytes, sha256);
        ledger.record_file(&file).await.map_err(|error| failed(url, error))
    }
}

fn failed(url: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> DownloadError {
    DownloadError::Io { path: url.into(), source: io::Error::other(error) }
}
