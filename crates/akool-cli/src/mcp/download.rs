//! The tool `download`.

use std::pin::pin;

use akool::{FileKind, JobId, RemoteFile, Translation};
use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use rmcp::model::{CallToolResult, Resource};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot, watch},
    time::Instant,
};
use url::Url;

use crate::{
    fetch::Fetch,
    report::{FileState, LocalFile},
    text,
};

use super::{
    call::Server,
    output::{DownloadResult, Failure, Saved, SavedFile, mime_type, refused, result},
};

/// How many jobs are downloaded at a time, also for calls that have returned.
const MAX_DOWNLOADS: usize = 200;

/// A job that is being downloaded.
struct Downloading<'a> {
    server: &'a Server<'a>,
    id: &'a JobId,
}

impl Drop for Downloading<'_> {
    fn drop(&mut self) {
        self.server.downloading.borrow_mut().remove(self.id);
        self.server.downloaded.notify_waiters();
    }
}

impl Server<'_> {
    /// Saves files, and replies when all are saved or the time is over. Then the downloads go on, so that a later call finds
    /// their files.
    pub(super) async fn download(
        &self,
        ids: Vec<JobId>,
        kinds: &[FileKind],
        progress: &watch::Sender<String>,
        mut reply: oneshot::Sender<CallToolResult>,
        slot: OwnedSemaphorePermit,
    ) {
        let Some((folder, fetch)) = self.fetch else {
            let message = "nothing was saved: this server was started without --output";
            let help = "Use the links that `status` returns, or ask the person who runs this server to start it with \
                        `akool mcp --output DIR`.";
            let _ = reply.send(refused(&Failure::new("not_allowed", message, help)));
            return;
        };
        if !folder.canonicalize().is_ok_and(|now| now == folder) {
            let message = "nothing was saved: the folder of --output was moved, or a link has replaced it";
            let help =
                "Ask the person who runs this server to restore the folder, or to start the server again.";
            let _ = reply.send(refused(&Failure::new("not_allowed", message, help)));
            return;
        }
        let deadline = Instant::now() + self.max_wait;
        let mut time_is_over = pin!(tokio::time::sleep_until(deadline));
        let mut jobs: Vec<_> = ids.iter().map(Saved::new).collect();
        let save = async |number: usize, id| (number, self.save_in_turn(fetch, id, kinds, deadline).await);
        let mut saves: FuturesUnordered<_> =
            ids.iter().enumerate().map(|(number, id)| save(number, id)).collect();
        loop {
            tokio::select! {
                biased;
                () = reply.closed() => return,
                saved = saves.next() => match saved {
                    Some((number, Some(saved))) => jobs[number] = saved,
                    Some((_, None)) => {}
                    None => break,
                },
                () = &mut time_is_over => break,
            }
            let done = jobs.iter().filter(|job| !job.is_downloading).count();
            progress.send_replace(format!("{done} of {} jobs are done", jobs.len()));
        }
        let _ = reply.send(answer(jobs));
        drop(slot);
        while saves.next().await.is_some() {}
    }

    /// Saves the files of a job when no other call saves them. `None` if that lasts too long.
    async fn save_in_turn(
        &self,
        fetch: &Fetch<'_>,
        id: &JobId,
        kinds: &[FileKind],
        deadline: Instant,
    ) -> Option<Saved> {
        if self.downloading.borrow().len() >= MAX_DOWNLOADS {
            let error = Failure::new("busy", "too many downloads at a time", "Call `download` again later.");
            return Some(Saved { is_downloading: false, errors: vec![error], ..Saved::new(id) });
        }
        while !self.downloading.borrow_mut().insert(id.clone()) {
            tokio::time::timeout_at(deadline, self.downloaded.notified()).await.ok()?;
        }
        let _downloading = Downloading { server: self, id };
        Some(self.save(fetch, id, kinds).await)
    }

    async fn save(&self, fetch: &Fetch<'_>, id: &JobId, kinds: &[FileKind]) -> Saved {
        let mut saved = Saved { is_downloading: false, ..Saved::new(id) };
        let job = self.client.job(id);
        let snapshot = match job.get().await {
            Ok(snapshot) => snapshot,
            Err(error) => {
                saved.errors.push((&error).into());
                return saved;
            }
        };
        self.record(&snapshot).await;
        let status = snapshot.status();
        let Some(translation) = Translation::from_snapshot(snapshot) else {
            let message = format!("the job has no files: its status is {}", status.name());
            let help = "Call `wait` first. A job that has failed has no files.";
            saved.errors.push(Failure::new("not_completed", &message, help));
            return saved;
        };
        fetch.learn(self.api, id).await;
        let files: Vec<RemoteFile> = translation.files();
        let files = files.iter().filter(|file| kinds.contains(&file.kind));
        for file in join_all(files.map(|file| fetch.file(&job, file))).await {
            match file {
                Ok(file) => saved.files.push(SavedFile::from(&file)),
                Err(error) => {
                    saved.errors.push(Failure::untrusted(
                        "download",
                        &text::with_causes(&error),
                        error.help(),
                    ));
                }
            }
        }
        saved
    }
}

impl Saved {
    /// A job whose download has begun.
    fn new(id: &JobId) -> Self {
        Self { id: id.as_str().to_owned(), files: Vec::new(), errors: Vec::new(), is_downloading: true }
    }
}

impl From<&LocalFile> for SavedFile {
    fn from(file: &LocalFile) -> Self {
        Self {
            kind: file.kind.name().to_owned(),
            path: file.path.display().to_string(),
            bytes: file.bytes,
            kept: matches!(file.state, FileState::Kept | FileState::Changed),
            changed: file.state == FileState::Changed,
        }
    }
}

fn answer(jobs: Vec<Saved>) -> CallToolResult {
    let is_pending = |job: &&Saved| job.is_downloading || !job.errors.is_empty();
    let pending: Vec<_> = jobs.iter().filter(is_pending).map(|job| job.id.clone()).collect();
    let next = match (pending.is_empty(), jobs.iter().any(|job| job.is_downloading)) {
        (true, _) => "All files are saved.",
        (false, true) => "The downloads go on. Call `download` again with the ids in `pending`.",
        (false, false) => "Some files are missing: see the errors.",
    };
    let links: Vec<_> = jobs.iter().flat_map(|job| &job.files).filter_map(link).collect();
    let is_error = jobs.iter().any(|job| !job.errors.is_empty());
    let next = next.to_owned();
    result(&DownloadResult { all_saved: pending.is_empty(), jobs, pending, next }, links, is_error)
}

/// The link to a file on this machine.
fn link(file: &SavedFile) -> Option<Resource> {
    let path = std::path::Path::new(&file.path);
    let name = path.file_name()?.to_string_lossy();
    let url = Url::from_file_path(path).ok()?;
    Some(Resource::new(url, name).with_mime_type(mime_type(&file.kind)).with_size(file.bytes))
}
