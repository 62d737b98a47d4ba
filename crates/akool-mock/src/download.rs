//! The requests for result files, which a CDN serves in reality.

use bytes::Bytes;
use http::{Request, StatusCode, header::AUTHORIZATION};

use crate::{answer::Outcome, files, request::FILES, service_state::ServiceState};

impl ServiceState {
    /// Serves a result file at its link.
    pub(crate) fn serve_file(&self, request: &Request<Bytes>) -> Outcome {
        let (headers, path) = (request.headers(), request.uri().path());
        if headers.contains_key(AUTHORIZATION) || headers.contains_key("x-api-key") {
            return Outcome {
                violation: Some(format!("a credential was sent to the CDN: GET {path}")),
                ..Outcome::plain(StatusCode::BAD_REQUEST, "result files need no credentials; send none")
            };
        }
        let mut steps = path.trim_start_matches(FILES).splitn(2, '/');
        let id = steps.next().and_then(|step| {
            // A path segment is decoded like a query value, except for `+`.
            let (_, id) = url::form_urlencoded::parse(format!("={}", step.replace('+', "%2B")).as_bytes())
                .next()
                .map(|(name, id)| (name.into_owned(), id.into_owned()))?;
            Some(id)
        });
        let name = steps.next().unwrap_or_default();
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
