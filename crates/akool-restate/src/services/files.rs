//! `Files`: saves the files of a completed job, whose id is the key, where the worker puts them.

use std::sync::Arc;

use akool::JobId;
use restate_sdk::prelude::*;
use serde::{Deserialize, Serialize};
use tracing::{Instrument as _, debug_span};

use crate::{
    context::{Shared, for_a_day},
    model::Outcome,
};

/// The places of the files that were saved.
const STATE: &str = "saved";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Save {
    pub(crate) outcome: Outcome,
    pub(crate) credential: String,
    /// The trace of the caller that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) traceparent: Option<String>,
}

pub(crate) struct Files(pub(crate) Arc<Shared>);

#[restate_sdk::object(
    client_visibility = "pub(crate)",
    ingress_private,
    inactivity_timeout = "1m",
    abort_timeout = "30m",
    journal_retention = "0s",
    invocation_retry_policy(
        initial_interval = "1s",
        factor = 2.0,
        max_interval = "1m",
        max_attempts = 1_000_000_000
    )
)]
impl Files {
    /// Saves all files of the job, each once.
    #[handler]
    async fn save(&self, ctx: ObjectContext<'_>, save: Json<Save>) -> HandlerResult<()> {
        let Save { outcome, credential, traceparent } = save.0;
        let Some(translation) = outcome.translation() else { return Ok(()) };
        let job = JobId::from(ctx.key());
        let mut saved = Vec::new();
        for file in translation.files() {
            loop {
                let (worker, file, name) = (Arc::clone(&self.0), file.clone(), credential.clone());
                let span = debug_span!(parent: None, "akool.fleet.save", %job);
                let span = self.0.traced(span, traceparent.as_deref());
                let slice = || save_for_a_while(worker, file, name).instrument(span);
                let path = ctx.run(slice).name("save").retry_policy(for_a_day()).await;
                let path = path.inspect_err(|error| {
                    tracing::error!(%job, %error, "a download was given up");
                })?;
                if let Some(path) = path {
                    saved.push(path);
                    break;
                }
            }
        }
        ctx.set(STATE, Json(saved));
        Ok(())
    }

    /// The paths of the files that were saved. Empty until all are.
    #[handler]
    async fn saved(&self, ctx: SharedObjectContext<'_>) -> HandlerResult<Json<Vec<String>>> {
        Ok(ctx.get::<Json<Vec<String>>>(STATE).await?.unwrap_or_default())
    }

    /// Forgets the paths. The files stay.
    #[handler]
    async fn forget(&self, ctx: ObjectContext<'_>) -> HandlerResult<()> {
        ctx.clear_all();
        Ok(())
    }
}

/// Saves a file, and returns its place. `None`: it takes longer, and what there is of it stays.
async fn save_for_a_while(
    worker: Arc<Shared>,
    file: akool::RemoteFile,
    credential: String,
) -> HandlerResult<Option<String>> {
    let Some(storage) = &worker.storage else {
        return Err("this worker saves no files; start one with a folder or a store for them".into());
    };
    let job = worker.account(&credential)?.client.job(&file.job);
    Ok(storage.save(&job, &file).await?)
}
