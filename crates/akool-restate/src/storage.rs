//! Where a worker saves files: [`Storage`].

use std::{future::Future, path::PathBuf, pin::Pin, time::Duration};

use akool::{Job, RemoteFile};
use akool_download::Downloader;

/// A download to a folder is interrupted after this time and resumed, perhaps by another worker. So a long one cannot be
/// mistaken for one that hangs.
const SLICE: Duration = Duration::from_secs(5 * 60);

/// The result of [`Storage::save`].
pub type SaveResult<'a> = Pin<
    Box<dyn Future<Output = Result<Option<String>, Box<dyn std::error::Error + Send + Sync>>> + Send + 'a>,
>;

/// A place for the files of completed jobs: a folder, set by [`WorkerBuilder::downloads`](crate::WorkerBuilder::downloads),
/// or anything else, set by [`WorkerBuilder::storage`](crate::WorkerBuilder::storage).
pub trait Storage: Send + Sync {
    /// Saves a file of a job. Returns its place as a text for people, or `None` if it takes longer and the next call
    /// resumes it.
    ///
    /// An error is repeated for a day. A call may be a repetition of one whose result was lost with a worker, so it should
    /// replace or keep what is there. One that takes more than 30 minutes is dropped and repeated.
    fn save<'a>(&'a self, job: &'a Job, file: &'a RemoteFile) -> SaveResult<'a>;
}

/// A folder, under the files' own names.
pub(crate) struct Folder {
    pub(crate) downloader: Downloader,
    pub(crate) path: PathBuf,
}

impl Storage for Folder {
    fn save<'a>(&'a self, job: &'a Job, file: &'a RemoteFile) -> SaveResult<'a> {
        Box::pin(async move {
            let save = self.downloader.save(file, &self.path).renew_link_from(job).into_future();
            match tokio::time::timeout(SLICE, save).await {
                Ok(saved) => Ok(Some(saved?.path.display().to_string())),
                Err(_) => Ok(None),
            }
        })
    }
}
