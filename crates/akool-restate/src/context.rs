//! What the handlers of one worker share: [`Shared`].

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use akool::{Client, Error};
use restate_sdk::prelude::{HandlerError, RunRetryPolicy};
use tracing::Span;
use url::Url;

use crate::{
    claim::Now,
    leases::Leases,
    model::millis,
    permits::{Permit, Permits, now_ms},
    storage::Storage,
};

/// How a call to another server is repeated: after a second at first, later every 5 minutes, and for a day.
pub(crate) fn for_a_day() -> RunRetryPolicy {
    RunRetryPolicy::new()
        .initial_delay(Duration::from_secs(1))
        .exponentiation_factor(2.0)
        .max_delay(Duration::from_secs(5 * 60))
        .max_duration(Duration::from_secs(24 * 60 * 60))
}

/// A credential of a worker.
pub(crate) struct Account {
    pub(crate) client: Client,
    pub(crate) permits: Permits,
}

/// Makes a span a child of a W3C trace context.
pub(crate) type TraceParent = Box<dyn Fn(&Span, &str) + Send + Sync>;

pub(crate) struct Shared {
    pub(crate) accounts: HashMap<String, Account>,
    pub(crate) storage: Option<Box<dyn Storage>>,
    pub(crate) leases: Leases,
    /// For callbacks and queries of the admin API. Without a credential.
    pub(crate) http: reqwest::Client,
    pub(crate) admin: Url,
    pub(crate) creations: Creations,
    pub(crate) started: Instant,
    pub(crate) trace_parent: Option<TraceParent>,
}

impl Shared {
    /// The credential of this name.
    ///
    /// Without it, the call is repeated until a worker has it.
    pub(crate) fn account(&self, name: &str) -> Result<&Account, HandlerError> {
        self.accounts.get(name).ok_or_else(|| {
            format!("this worker has no credential named \"{name}\"; start one that has it").into()
        })
    }

    /// The span as a part of the caller's trace, if the worker knows how.
    pub(crate) fn traced(&self, span: Span, traceparent: Option<&str>) -> Span {
        if let (Some(set), Some(traceparent)) = (&self.trace_parent, traceparent) {
            set(&span, traceparent);
        }
        span
    }

    pub(crate) fn now(&self) -> Now {
        Now { monotonic: self.started.elapsed(), wall: Duration::from_millis(now_ms()) }
    }

    /// Waits for a permit to call the service. If no ingress address answers, the call is repeated by the engine.
    pub(crate) async fn permit(&self, account: &Account) -> Result<Permit, HandlerError> {
        Ok(account.permits.acquire(&self.leases).await?)
    }

    /// Tells all workers if the service asked for a pause.
    pub(crate) async fn note_pause(&self, name: &str, account: &Account, error: &Error) {
        let Some(pause) = error.retry_after() else { return };
        let until_ms = now_ms().saturating_add(millis(pause.min(akool::MAX_RETRY_AFTER)));
        account.permits.pause(until_ms);
        if let Err(error) = self.leases.pause(name, until_ms).await {
            tracing::warn!(%error, credential = name, "cannot tell the other workers of a pause");
        }
    }
}

/// The creations that a worker has begun, so that it does not stop in the middle of one.
#[derive(Default)]
pub(crate) struct Creations {
    under_way: AtomicUsize,
    is_draining: AtomicBool,
}

/// A creation that is under way.
pub(crate) struct UnderWay<'a>(&'a Creations);

impl Creations {
    /// Counts one more, and says whether the worker is about to stop.
    pub(crate) fn begin(&self) -> (UnderWay<'_>, bool) {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        (UnderWay(self), self.is_draining.load(Ordering::SeqCst))
    }

    pub(crate) fn drain(&self) {
        self.is_draining.store(true, Ordering::SeqCst);
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}
