//! Entry points for fuzzing.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Request;

use crate::{
    control_api::{self, Access},
    request::GET_VIDEO_INFO,
    service::Service,
    service_state::{DEFAULT_API_KEY, ServiceState},
    webhook::Deliverer,
};

/// A service with its control API, without a connection.
#[allow(missing_debug_implementations)]
pub struct Control {
    service: Service,
    _deliverer: Deliverer,
}

impl Default for Control {
    fn default() -> Self {
        let state = Arc::new(Mutex::new(ServiceState::new("http://127.0.0.1:1")));
        let deliverer = Deliverer::start(Arc::clone(&state), false, None);
        Self { service: Service::new(state, None, deliverer.waker()), _deliverer: deliverer }
    }
}

impl Control {
    /// Sends a request below `/__sandbox/`, and returns status and body. The status is 0 if this is not a valid target.
    pub fn send(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let request = Request::builder()
            .method(method)
            .uri(format!("/__sandbox/{path}"))
            .header("content-type", "application/json")
            .body(Bytes::copy_from_slice(body));
        let access = Access { is_loopback: true, token: None };
        let response =
            request.ok().and_then(|request| control_api::respond(&access, &self.service, &request));
        response.map_or((0, Vec::new()), |response| (response.status().as_u16(), response.body().to_vec()))
    }

    /// Polls a job.
    pub fn poll(&self, id: &str) {
        let target = format!("{GET_VIDEO_INFO}?video_model_id={id}");
        let request = Request::get(target).header("x-api-key", DEFAULT_API_KEY).body(Bytes::new());
        if let Ok(request) = request {
            let now = self.service.state().clock.now();
            self.service.respond(&request, now);
        }
    }
}
