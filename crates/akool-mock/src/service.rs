//! The running service: [`Service`] shares the state between the servers, and answers requests for them.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use bytes::Bytes;
use http::{Request, Response};

use crate::{record::Exchange, service_state::ServiceState, webhook::Waker};

/// Callback after each exchange.
pub(crate) type Hook = Box<dyn Fn(&Exchange) + Send + Sync>;

/// A handle to the running service.
#[derive(Clone)]
pub(crate) struct Service {
    state: Arc<Mutex<ServiceState>>,
    hook: Option<Arc<Hook>>,
    waker: Waker,
    fetcher: Option<Waker>,
}

impl Service {
    pub(crate) fn new(state: Arc<Mutex<ServiceState>>, hook: Option<Hook>, waker: Waker) -> Self {
        Self { state, hook: hook.map(Arc::new), waker, fetcher: None }
    }

    /// Also wakes the thread that fetches sources.
    pub(crate) fn with_fetcher(mut self, fetcher: Option<Waker>) -> Self {
        self.fetcher = fetcher;
        self
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, ServiceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn respond(&self, request: &Request<Bytes>, now: SystemTime) -> Response<Bytes> {
        let mut state = self.state();
        let response = state.respond(request, now);
        let exchange = self.hook.as_ref().and_then(|_| state.log.last().cloned());
        drop(state);
        // A slow hook must not delay other requests.
        if let (Some(hook), Some(exchange)) = (&self.hook, exchange) {
            hook(&exchange);
        }
        self.wake();
        response
    }

    /// Wakes the threads that call webhooks and fetch sources.
    pub(crate) fn wake(&self) {
        self.waker.wake();
        self.fetcher.iter().for_each(Waker::wake);
    }
}
