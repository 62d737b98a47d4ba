//! A store as the place for what a worker of a fleet saves: [`WorkerStore`].

use akool::{Job, RemoteFile};
use akool_download::Downloader;
use akool_restate::{SaveResult, Storage, WorkerBuilder};
use akool_stage::{NoLog, Stage};

use super::StoreTarget;

/// Puts files into a store under their own names.
struct WorkerStore {
    stage: Stage,
    downloader: Downloader,
}

impl StoreTarget {
    /// Makes this the place for what a worker saves. It has no ledger.
    pub(crate) fn of_worker(self, worker: WorkerBuilder, downloader: Downloader) -> WorkerBuilder {
        worker.storage(WorkerStore { stage: self.stage, downloader })
    }
}

impl Storage for WorkerStore {
    /// Replaces what is there: it is from a call whose worker died.
    fn save<'a>(&'a self, job: &'a Job, file: &'a RemoteFile) -> SaveResult<'a> {
        Box::pin(async move {
            let url = self.stage.url_of(&file.file_name());
            let mut sink = self.stage.sink(&url, &NoLog)?;
            if let Err(error) = self.downloader.fetch(file).renew_link_from(job).write_to(&mut sink).await {
                // The first error says more.
                let _ = sink.abort().await;
                return Err(error.into());
            }
            sink.finish().await?;
            Ok(Some(url))
        })
    }
}
