//! Downloads the files of completed jobs, for `akool download` and for the commands that wait.

use std::{
    cell::Cell,
    fs,
    future::IntoFuture,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use akool::{FileKind, Job, JobId, Language, RemoteFile, Translation};
use akool_download::{DownloadError, Downloader, sha256_of, webvtt};
use akool_ledger::{Ledger, LedgerError, SavedFile};
use futures_util::future::join_all;

use crate::{
    args,
    names::Names,
    outcome::Outcome,
    report::{FileState, LocalFile, Report},
    staging::StoreTarget,
    text,
};

/// Makes sure that a folder exists and can be written to.
pub(crate) fn check_folder(folder: &Path) -> Result<(), String> {
    let shown = folder.display();
    // Creates a file, because permissions alone do not show whether that is possible. The file has no name
    // on systems that support this, so nothing is left behind.
    let made = fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder));
    made.map(drop)
        .map_err(|error| format!("cannot write to {shown}: {error}; choose another folder with --output"))
}

fn downloader(stall_timeout: Option<Duration>) -> Result<Downloader, String> {
    let mut downloader = Downloader::builder();
    if let Some(timeout) = stall_timeout {
        downloader = downloader.stall_timeout(timeout);
    }
    downloader.build().map_err(|error| error.to_string())
}

/// How to download files.
pub(crate) struct Fetch<'a> {
    downloader: Downloader,
    folder: &'a Path,
    /// A store in place of the folder.
    store: Option<StoreTarget>,
    /// The same folder, as the ledger has it.
    absolute: PathBuf,
    options: &'a args::Files,
    names: Names,
    report: &'a Report,
    /// Files are recorded here.
    ledger: Option<Ledger>,
    ledger_failed: Cell<bool>,
}

impl<'a> Fetch<'a> {
    /// Checks the names before the folder is created, and whether the folder can be written to.
    pub(crate) fn prepare(
        folder: &'a Path,
        options: &'a args::Files,
        stall_timeout: Option<Duration>,
        report: &'a Report,
    ) -> Result<Self, String> {
        let names = Names::new(options)?;
        let downloader = downloader(stall_timeout)?;
        let store = StoreTarget::of(folder)?;
        if store.is_none() {
            check_folder(folder)?;
        }
        let absolute = folder.canonicalize().or_else(|_| std::path::absolute(folder));
        let absolute = absolute.map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
        let ledger_failed = Cell::new(false);
        Ok(Self { downloader, folder, store, absolute, options, names, report, ledger: None, ledger_failed })
    }

    /// Records files in this ledger.
    pub(crate) fn set_ledger(&mut self, ledger: Option<Ledger>) {
        self.ledger = ledger;
    }

    /// Names the files of a job after what the ledger has of it.
    pub(crate) async fn learn(&self, api: &str, id: &JobId) {
        let learned = self.names.learn(self.ledger.as_ref(), api, id).await;
        self.check(learned);
    }

    /// Names the files of a job.
    pub(crate) fn name(&self, id: &JobId, language: Option<&Language>, source: Option<&str>) {
        self.names.set(id, language, source);
    }

    /// Downloads the selected files of a completed job, and returns those that are there. `waited`: it was not completed at
    /// the first poll.
    pub(crate) async fn all(
        &self,
        job: &Job,
        translation: &Translation,
        waited: bool,
    ) -> (Outcome, Vec<LocalFile>) {
        let id = translation.id();
        let files = translation.files().into_iter().filter(|file| self.options.has(file.kind));
        let saves = files.map(async |file| {
            let kind = file.kind;
            let saved = match self.file(job, &file).await {
                Ok(saved) => saved,
                Err(error) => {
                    self.report.failure(Some(id), "download", text::with_causes(&error), Some(error.help()));
                    return (Outcome::from(&error), Vec::new());
                }
            };
            self.report.saved(id, &saved);
            let mut saved = vec![saved];
            let is_subtitles = matches!(kind, FileKind::Subtitles | FileKind::OriginalSubtitles);
            if self.options.vtt && is_subtitles {
                match self.convert(id, &saved[0]).await {
                    Ok(converted) => {
                        self.report.saved(id, &converted);
                        saved.push(converted);
                    }
                    Err(why) => {
                        self.report.error(Some(id), "convert", why);
                        return (Outcome::Unexpected, saved);
                    }
                }
            }
            (Outcome::Done, saved)
        });
        let mut outcome = Outcome::Done;
        let mut all = Vec::new();
        for (result, saved) in join_all(saves).await {
            outcome = outcome.max(result);
            all.extend(saved);
        }
        self.report.downloaded(id, waited, &all);
        (outcome, all)
    }

    /// Downloads one file, or keeps it if it is there.
    pub(crate) async fn file(&self, job: &Job, file: &RemoteFile) -> Result<LocalFile, DownloadError> {
        let (id, kind) = (&file.job, file.kind);
        if let Some(store) = &self.store {
            let (names, ledger) = (self.names.names(id, kind), self.ledger.as_ref());
            return store
                .save(&self.downloader, (job, file), &names, self.options.overwrite, ledger, self.report)
                .await;
        }
        let names = match self.recorded(id, kind, self.names.names(id, kind)).await {
            Ok(recorded) => return Ok(recorded),
            Err(names) => names,
        };
        let (sender, mut progress) = tokio::sync::watch::channel(None);
        let (waits, mut waiting) = tokio::sync::watch::channel(None);
        let mut save = self
            .downloader
            .save(file, self.folder)
            .renew_link_from(job)
            .with_sha256()
            .named(&names[0])
            .on_wait(move |path| {
                let _ = waits.send(Some(path.to_owned()));
            })
            .on_progress(move |now| {
                let _ = sender.send(Some(now));
            });
        for name in &names[1..] {
            save = save.or_named(name);
        }
        if self.options.overwrite {
            save = save.overwrite();
        }
        let mut save = save.into_future();
        let saved = loop {
            tokio::select! {
                saved = &mut save => break saved?,
                Ok(()) = progress.changed() => {
                    if let Some(now) = *progress.borrow_and_update() {
                        self.report.progress(id, kind, now);
                    }
                }
                Ok(()) = waiting.changed() => {
                    if let Some(path) = &*waiting.borrow_and_update() {
                        let path = path.display();
                        self.report.note(format_args!("another download is saving {path}; waiting for it"));
                    }
                }
            }
        };
        if let Some(sha256) = saved.sha256 {
            self.record(id, kind, &saved.path, saved.bytes, sha256).await;
        }
        let state = if saved.kept { FileState::Kept } else { FileState::Saved };
        Ok(LocalFile { kind, path: saved.path, bytes: saved.bytes, state })
    }

    /// Returns the file that the ledger has under one of these names, or the names that are left: the ledger does not
    /// have a file of another job there.
    async fn recorded(
        &self,
        id: &JobId,
        kind: FileKind,
        mut names: Vec<String>,
    ) -> Result<LocalFile, Vec<String>> {
        let Some(ledger) = &self.ledger else { return Err(names) };
        let mut others = Vec::new();
        for name in &names {
            let path = self.absolute.join(name);
            let Some(Some(record)) = self.check(ledger.file_at(&path).await) else { continue };
            let Some(found) = path.symlink_metadata().ok().filter(fs::Metadata::is_file) else { continue };
            if record.job != *id || record.kind != kind.name() {
                others.push(name.clone());
            } else if !self.options.overwrite {
                let same = found.len() == record.bytes && {
                    let hashed = tokio::task::spawn_blocking(move || sha256_of(&path)).await;
                    hashed.is_ok_and(|hash| hash.is_ok_and(|hash| hash == record.sha256))
                };
                let state = if same { FileState::Kept } else { FileState::Changed };
                return Ok(LocalFile { kind, path: self.folder.join(name), bytes: found.len(), state });
            } else {
                return Err(vec![name.clone()]);
            }
        }
        if others.len() < names.len() {
            names.retain(|name| !others.contains(name));
        }
        Err(names)
    }

    async fn record(&self, id: &JobId, kind: FileKind, path: &Path, bytes: u64, sha256: [u8; 32]) {
        if let (Some(ledger), Some(name)) = (&self.ledger, path.file_name()) {
            let file = SavedFile::new(id.clone(), kind, self.absolute.join(name), bytes, sha256);
            self.check(ledger.record_file(&file).await);
        }
    }

    /// Reports the first error of the ledger. The files are more important.
    fn check<T>(&self, result: Result<T, LedgerError>) -> Option<T> {
        let error = match result {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        if !self.ledger_failed.replace(true) {
            self.report.note(format_args!("warning: {}", text::with_causes(&error)));
        }
        None
    }

    /// Writes the WebVTT file beside an SRT file.
    async fn convert(&self, id: &JobId, srt: &LocalFile) -> Result<LocalFile, String> {
        let at = |error: io::Error| format!("cannot convert {} to WebVTT: {error}", srt.path.display());
        if let Some(store) = &self.store {
            let text =
                store.read(&srt.path.to_string_lossy()).await.map_err(|error| at(io::Error::other(error)))?;
            let vtt = webvtt(&text).map_err(|error| at(io::Error::other(error)))?;
            let (names, ledger) = (self.names.vtt_names(id, srt.kind), self.ledger.as_ref());
            let written =
                store.write((id, srt.kind), vtt.into(), &names, self.options.overwrite, ledger).await;
            return written.map_err(|error| text::with_causes(&error));
        }
        let vtt = webvtt(&fs::read(&srt.path).map_err(at)?).map_err(|error| at(io::Error::other(error)))?;
        let kind = srt.kind;
        let names = match self.recorded(id, kind, self.names.vtt_names(id, kind)).await {
            Ok(recorded) => return Ok(recorded),
            Err(names) => names,
        };
        let mut state = FileState::Converted;
        let path = 'free: {
            for name in &names {
                let path = self.folder.join(name);
                match fs::read(&path) {
                    Ok(found) if found == vtt.as_bytes() => state = FileState::Kept,
                    Ok(found) if !found.is_empty() && !self.options.overwrite => continue,
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(_) => continue,
                }
                break 'free path;
            }
            let path = self.folder.join(&names[names.len() - 1]);
            return Err(format!("{} exists and is not the WebVTT file of job {id}", path.display()));
        };
        if state == FileState::Converted {
            write(&path, vtt.as_bytes())
                .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        }
        let bytes = vtt.len() as u64;
        if let Ok(Ok(sha256)) = tokio::task::spawn_blocking({
            let path = path.clone();
            move || sha256_of(&path)
        })
        .await
        {
            self.record(id, kind, &path, bytes, sha256).await;
        }
        Ok(LocalFile { kind, path, bytes, state })
    }
}

/// Writes a file under a temporary name first, so that it is complete under its own name.
fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".akool-").suffix(".part");
    // As for every other file, the umask decides.
    #[cfg(unix)]
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    #[cfg(unix)]
    builder.permissions(permissions);
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(contents)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
