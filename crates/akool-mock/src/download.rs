//! The requests for result files, which a CDN serves in reality.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{
    HeaderValue, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};

use crate::{
    answer::Outcome,
    files,
    request::{self, FILES, FLAGS},
    service_state::ServiceState,
};

/// How long files are kept: `openapi/README.md`, "Differences between the vendor's sources". That a deleted one gets
/// HTTP 404 is not documented.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The flag of every language: one transparent pixel.
const FLAG: &[u8] = include_bytes!("../assets/flag.png");

impl ServiceState {
    /// Serves a result file at its link, until seven days after the job completed.
    pub(crate) fn serve_file(&mut self, request: &Request<Bytes>, now: SystemTime) -> Outcome {
        let (headers, path) = (request.headers(), request.uri().path());
        if headers.contains_key(AUTHORIZATION) || headers.contains_key("x-api-key") {
            return Outcome {
                violation: Some(format!("a credential was sent to the CDN: GET {path}")),
                ..Outcome::plain(StatusCode::BAD_REQUEST, "result files need no credentials; send none")
            };
        }
        if path.starts_with(FLAGS) {
            let mut outcome = Outcome::plain(StatusCode::OK, "flag");
            outcome.response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("image/png"));
            *outcome.response.body_mut() = Bytes::from_static(FLAG);
            return outcome;
        }
        let mut steps = path.trim_start_matches(FILES).splitn(2, '/');
        let id = steps.next().and_then(request::segment);
        let name = steps.next().unwrap_or_default();
        let completed_at = id.as_ref().and_then(|id| self.jobs.get_mut(id)?.completed_at(now));
        if completed_at.is_some_and(|at| now.duration_since(at).unwrap_or_default() >= LIFETIME) {
            let gone = "the file was deleted 7 days after the job completed";
            return Outcome { job: id, ..Outcome::plain(StatusCode::NOT_FOUND, gone) };
        }
        let file = files::ALL.into_iter().find(|file| file.name == name);
        let contents = |id: &str| {
            let of = |id: Option<&str>| self.contents.get(&(id.map(str::to_owned), name.to_owned()));
            of(Some(id)).or_else(|| of(None))
        };
        match (id.filter(|id| self.jobs.contains_key(id)), file) {
            (Some(id), Some(file)) => Outcome {
                response: file.serve(headers, contents(&id)),
                summary: format!("file {name}"),
                job: Some(id),
                violation: None,
            },
            _ => Outcome::plain(StatusCode::NOT_FOUND, "no such file"),
        }
    }
}
