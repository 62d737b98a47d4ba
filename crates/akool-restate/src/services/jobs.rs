//! `Jobs`: lists what the fleet knows, from the engine's own state. So no job pays for an index, and callers do not need
//! the admin API.

use std::{sync::Arc, time::Duration};

use restate_sdk::prelude::*;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use url::Url;

use super::work_state::WorkState;
use crate::{
    context::Shared,
    headers::refuse_pages,
    model::{Creation, JobView, Unknown, WorkView},
    step::JobState,
    work::WorkId,
};

/// How many rows a page has.
pub(crate) const PAGE: usize = 500;

/// How long the admin API may take for a page.
const QUERY_TIMEOUT: Duration = Duration::from_secs(60);

/// Which page to list. Rows are sorted by key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Page {
    /// Rows with keys after this one.
    pub(crate) after: String,
}

/// A page, and the key after which the next one begins.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Listing<T> {
    pub(crate) rows: Vec<T>,
    pub(crate) next: Option<String>,
}

pub(crate) struct Jobs(pub(crate) Arc<Shared>);

#[restate_sdk::service(
    client_visibility = "pub(crate)",
    inactivity_timeout = "90s",
    journal_retention = "0s",
    idempotency_retention = "1s",
    invocation_retry_policy(max_attempts = 3, on_max_attempts = "kill")
)]
impl Jobs {
    /// The jobs that the fleet waits for, or waited for.
    #[handler]
    async fn list(&self, ctx: Context<'_>, page: Json<Page>) -> HandlerResult<Json<Listing<JobView>>> {
        refuse_pages(ctx.headers())?;
        let read = |key: &str, state: JobState| Some(state.view(key.into()));
        Ok(Json(self.page("Job", "job", &page.0, read).await?))
    }

    /// The creations whose outcome is unknown, and those that are under way.
    #[handler]
    async fn unknown(&self, ctx: Context<'_>, page: Json<Page>) -> HandlerResult<Json<Listing<WorkView>>> {
        refuse_pages(ctx.headers())?;
        let read = |key: &str, state: WorkState| {
            let is_open = state.is_claimed || matches!(state.creation, Some(Creation::OutcomeUnknown(_)));
            is_open.then(|| open(WorkId::from_text(key), state))
        };
        Ok(Json(self.page("Translation", "work", &page.0, read).await?))
    }
}

/// A claim without an outcome looks like an unknown outcome, until its call has ended.
fn open(id: WorkId, state: WorkState) -> WorkView {
    let unknown: Option<Unknown> = state
        .is_claimed
        .then(|| state.unknown("the creation is under way, or was ended by an administrator"));
    let mut view = state.view(id);
    if let Some(unknown) = unknown {
        view.creation = Some(Creation::OutcomeUnknown(unknown));
    }
    view
}

impl Jobs {
    async fn page<S: DeserializeOwned, T>(
        &self,
        service: &str,
        key: &str,
        page: &Page,
        read: impl Fn(&str, S) -> Option<T>,
    ) -> HandlerResult<Listing<T>> {
        let rows = query(&self.0, service, key, &page.after).await?;
        let next = (rows.len() == PAGE).then(|| rows.last().map(|row| row.service_key.clone())).flatten();
        let rows = rows.iter().filter_map(|row| {
            let state = serde_json::from_str(row.value_utf8.as_deref()?);
            match state {
                Ok(state) => read(&row.service_key, state),
                Err(error) => {
                    tracing::warn!(%error, "a state cannot be read");
                    None
                }
            }
        });
        Ok(Listing { rows: rows.collect(), next })
    }
}

#[derive(Deserialize)]
struct Rows {
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    service_key: String,
    value_utf8: Option<String>,
}

/// One page of a state, by the engine's SQL.
async fn query(worker: &Shared, service: &str, key: &str, after: &str) -> HandlerResult<Vec<Row>> {
    let after = after.replace('\'', "''");
    let query = format!(
        "SELECT service_key, value_utf8 FROM state WHERE service_name = '{service}' AND key = '{key}' \
         AND service_key > '{after}' ORDER BY service_key LIMIT {PAGE}"
    );
    let url: Url = worker.admin.join("query")?;
    let request = worker.http.post(url).timeout(QUERY_TIMEOUT).header("accept", "application/json");
    let response = request.json(&serde_json::json!({ "query": query })).send().await?.error_for_status()?;
    Ok(response.json::<Rows>().await?.rows)
}
