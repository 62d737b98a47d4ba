//! Which documented fields and values were received: [`Coverage`].

use std::collections::BTreeMap;

use http::{Request, Response};

use crate::{
    check::{Check, parse},
    contract::Contract,
    report::Report,
    shape::Seen,
};

/// Collects the fields and values of responses, for [`not_received`](Coverage::not_received).
///
/// ```
/// use akool_contract::Contract;
/// use http::{Request, Response};
///
/// let request = Request::get("/api/open/v3/content/video/infobymodelid?video_model_id=64dd").body("")?;
/// let response = Response::new(r#"{"code": 1000, "msg": "OK", "data": {"_id": "64dd", "video_status": 2}}"#);
/// let mut coverage = Contract::resolved().coverage();
/// coverage.record(&request, &response);
/// let report = coverage.not_received();
/// assert!(report.drift.iter().any(|drift| drift.pointer == "/body/data/audio_splits"));
/// assert!(!report.drift.iter().any(|drift| drift.pointer == "/body/data/_id"));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Debug)]
pub struct Coverage<'a> {
    contract: &'a Contract,
    /// By the pointer of an operation, what its responses contained.
    seen: BTreeMap<&'a str, Seen>,
}

impl Contract {
    /// Returns an empty collection of received fields and values.
    pub fn coverage(&self) -> Coverage<'_> {
        Coverage { contract: self, seen: BTreeMap::new() }
    }
}

impl Coverage<'_> {
    /// Records the contents of a response. One that belongs to no operation or is not valid JSON is
    /// ignored.
    pub fn record<A, B: AsRef<[u8]>>(&mut self, request: &Request<A>, response: &Response<B>) {
        let compiled = &self.contract.compiled;
        let Some((operation, _)) = Check::new(compiled).operation(request) else { return };
        let Some((documented, _)) = operation.response(response.status().as_u16()) else { return };
        let Some(media) = documented.content.first() else { return };
        let Ok(value) = parse(response.body().as_ref()) else { return };
        let seen = self.seen.entry(&operation.pointer).or_default();
        let shapes = &compiled.messages(&media.schema).shapes;
        shapes.record(&media.schema.shape, &value, &mut "/body".to_owned(), seen);
    }

    /// The documented fields and values that were in no response, for operations with a response. The
    /// fields below a missing field are not listed.
    pub fn not_received(&self) -> Report {
        let mut report = Report::default();
        let compiled = &self.contract.compiled;
        for operation in &compiled.operations {
            if let Some(seen) = self.seen.get(operation.pointer.as_str())
                && let Some((documented, _)) = operation.response(200)
                && let Some(media) = documented.content.first()
            {
                report.operation = report.operation.take().or_else(|| operation.id.clone());
                let shapes = &compiled.messages(&media.schema).shapes;
                shapes.not_received(&media.schema.shape, &mut "/body".to_owned(), seen, &mut report);
            }
        }
        report
    }
}
