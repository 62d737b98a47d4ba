//! Downloads the files of completed jobs, for `akool download` and for the commands that wait.

use std::{future::IntoFuture, path::Path, time::Duration};

use akool::{Job, Translation};
use akool_download::Downloader;
use futures_util::future::join_all;

use crate::{outcome::Outcome, report::Report, text};

/// A downloader, and a folder that exists and can be written to.
pub(crate) fn downloader(folder: &Path, stall_timeout: Option<Duration>) -> Result<Downloader, String> {
    let shown = folder.display();
    // Creates a file, because permissions alone do not show whether that is possible. The file has no name
    // on systems that support this, so nothing is left behind.
    let made = std::fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder));
    made.map(drop)
        .map_err(|error| format!("cannot write to {shown}: {error}; choose another folder with --output"))?;
    let mut downloader = Downloader::builder();
    if let Some(timeout) = stall_timeout {
        downloader = downloader.stall_timeout(timeout);
    }
    downloader.build().map_err(|error| error.to_string())
}

/// How to download files.
pub(crate) struct Fetch<'a> {
    pub(crate) downloader: &'a Downloader,
    pub(crate) folder: &'a Path,
    pub(crate) report: &'a Report,
    /// Also download files that exist.
    pub(crate) overwrite: bool,
}

impl Fetch<'_> {
    /// Downloads all files of a completed job. `waited`: it was not completed at the first poll.
    pub(crate) async fn all(&self, job: &Job, translation: &Translation, waited: bool) -> Outcome {
        let Self { downloader, folder, report, overwrite } = *self;
        let id = translation.id();
        let saves = translation.files().into_iter().map(async |file| {
            let kind = file.kind;
            let (sender, mut progress) = tokio::sync::watch::channel(None);
            let mut save = downloader.save(&file, folder).renew_link_from(job).on_progress(move |now| {
                let _ = sender.send(Some(now));
            });
            if overwrite {
                save = save.overwrite();
            }
            let mut save = save.into_future();
            loop {
                tokio::select! {
                    saved = &mut save => {
                        if let Ok(file) = &saved {
                            report.saved(id, kind, file);
                        }
                        return (kind, saved);
                    }
                    Ok(()) = progress.changed() => {
                        if let Some(now) = *progress.borrow_and_update() {
                            report.progress(id, kind, now);
                        }
                    }
                }
            }
        });
        let mut outcome = Outcome::Done;
        let mut saved = Vec::new();
        for (kind, result) in join_all(saves).await {
            match result {
                Ok(file) => saved.push((kind, file)),
                Err(error) => {
                    outcome = outcome.max(Outcome::from(&error));
                    report.failure(Some(id), "download", text::with_causes(&error), Some(error.help()));
                }
            }
        }
        report.downloaded(id, waited, &saved);
        outcome
    }
}
