//! The bounded copies of a request and its response, which are validated when the exchange has ended: [`Exchange`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use akool::redact::excerpt;
use akool_contract::{Contract, Report as Findings, Verdict};
use http::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING},
    request, response,
};
use serde_json::json;

use super::{decode::decoded, mask::Mask, totals::Totals};
use crate::{printer::Printer, text};

/// How many bytes of each body are kept for validation, also after decoding.
const MAX_COPY: usize = 256 * 1024;

/// Validates all exchanges, prints what it finds, and counts it.
pub(super) struct Observer {
    contract: &'static Contract,
    printer: Printer,
    is_json: bool,
    is_verbose: bool,
    totals: Mutex<Totals>,
}

#[derive(Clone, Copy)]
pub(super) enum Side {
    Request,
    Response,
}

/// One exchange. It is validated when it is dropped.
pub(super) struct Exchange {
    observer: Arc<Observer>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    progress: Mutex<Progress>,
}

/// What has arrived.
#[derive(Default)]
struct Progress {
    request: Copied,
    response: Copied,
    head: Option<(StatusCode, HeaderMap)>,
    /// The answer of the proxy in place of a response, and its reason.
    answer: Option<(StatusCode, String)>,
    is_refused: bool,
    is_unreachable: bool,
}

/// The copy of a body.
#[derive(Default)]
struct Copied {
    bytes: Vec<u8>,
    is_too_large: bool,
    is_complete: bool,
    failure: Option<String>,
}

impl Copied {
    /// The body, or the reason why it cannot be validated.
    fn body(&self, without_end: &str) -> Result<&[u8], String> {
        match &self.failure {
            Some(reason) => Err(reason.clone()),
            None if self.is_too_large => Err(format!("its body is larger than {MAX_COPY} bytes")),
            None if !self.is_complete => Err(without_end.to_owned()),
            None => Ok(&self.bytes),
        }
    }
}

impl Observer {
    pub(super) fn new(
        contract: &'static Contract,
        printer: Printer,
        is_json: bool,
        is_verbose: bool,
    ) -> Self {
        Self { contract, printer, is_json, is_verbose, totals: Mutex::default() }
    }

    pub(super) fn totals(&self) -> Totals {
        lock(&self.totals).clone()
    }
}

impl Exchange {
    pub(super) fn new(observer: &Arc<Observer>, request: &request::Parts) -> Self {
        Self {
            observer: Arc::clone(observer),
            method: request.method.clone(),
            uri: request.uri.clone(),
            headers: request.headers.clone(),
            progress: Mutex::default(),
        }
    }

    pub(super) fn copy(&self, side: Side, data: &[u8]) {
        self.with(side, |copied| {
            if copied.bytes.len() + data.len() > MAX_COPY {
                copied.is_too_large = true;
                copied.bytes = Vec::new();
            }
            if !copied.is_too_large {
                copied.bytes.extend_from_slice(data);
            }
        });
    }

    /// The whole body has arrived.
    pub(super) fn complete(&self, side: Side) {
        self.with(side, |copied| copied.is_complete = true);
    }

    /// The body ended early.
    pub(super) fn fail(&self, side: Side, reason: &str) {
        self.with(side, |copied| copied.failure = Some(reason.to_owned()));
    }

    /// Why a body ended early.
    pub(super) fn failure(&self, side: Side) -> Option<String> {
        let mut failure = None;
        self.with(side, |copied| failure.clone_from(&copied.failure));
        failure
    }

    /// The head of the response has arrived.
    pub(super) fn respond(&self, response: &response::Parts) {
        lock(&self.progress).head = Some((response.status, response.headers.clone()));
    }

    /// The proxy itself answers.
    pub(super) fn answer(&self, status: StatusCode, reason: &str) {
        lock(&self.progress).answer = Some((status, reason.to_owned()));
    }

    /// The request is not passed on.
    pub(super) fn refuse(&self) {
        lock(&self.progress).is_refused = true;
    }

    /// The upstream sent no response.
    pub(super) fn unreachable(&self) {
        lock(&self.progress).is_unreachable = true;
    }

    fn with(&self, side: Side, change: impl FnOnce(&mut Copied)) {
        let mut progress = lock(&self.progress);
        change(match side {
            Side::Request => &mut progress.request,
            Side::Response => &mut progress.response,
        });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let progress = std::mem::take(&mut *lock(&self.progress));
        let validated = Validated::new(self, &progress);
        validated.count(&mut lock(&self.observer.totals), &progress);
        validated.print(self, &progress);
    }
}

/// The result of an exchange.
#[derive(Default)]
struct Validated {
    request: Findings,
    response: Findings,
    verdict: Option<Verdict>,
    /// Which side was not validated, and why.
    skipped: Vec<String>,
}

impl Validated {
    fn new(exchange: &Exchange, progress: &Progress) -> Self {
        let mut validated = Self::default();
        if progress.is_refused {
            let reason = progress.answer.as_ref().map_or("", |(_, reason)| reason);
            validated.skipped.push(format!("request: not passed on: {reason}"));
            return validated;
        }
        let contract = exchange.observer.contract;
        let mut request = Request::new(Vec::new());
        *request.method_mut() = exchange.method.clone();
        *request.uri_mut() = exchange.uri.clone();
        *request.headers_mut() = exchange.headers.clone();
        match progress.request.body("it did not arrive completely") {
            Ok(body) => {
                *request.body_mut() = body.to_vec();
                validated.request = contract.check_request(&request);
                validated.verdict = Some(validated.request.verdict());
            }
            Err(reason) => validated.skipped.push(format!("request: {reason}")),
        }
        match response(exchange, progress) {
            Ok(response) => {
                let findings = contract.check_response(&request, &response);
                // Without an operation, there is nothing to compare the response with.
                if findings.operation.is_some() {
                    validated.verdict = validated.verdict.max(Some(findings.verdict()));
                    validated.response = findings;
                } else {
                    validated.skipped.push("response: the request is no documented operation".to_owned());
                }
            }
            Err(reason) => validated.skipped.push(format!("response: {reason}")),
        }
        validated
    }

    fn count(&self, totals: &mut Totals, progress: &Progress) {
        totals.exchanges += 1;
        totals.validated += u64::from(self.skipped.is_empty());
        totals.unreachable += u64::from(progress.is_unreachable);
        for findings in [&self.request, &self.response] {
            totals.violations += findings.violations.len() as u64;
            totals.drift += findings.drift.len() as u64;
        }
        totals.fingerprint.request(&self.request);
        totals.fingerprint.response(&self.response);
    }

    fn print(&self, exchange: &Exchange, progress: &Progress) {
        let observer = &exchange.observer;
        let is_conforming = self.verdict == Some(Verdict::Conforming) && self.skipped.is_empty();
        if is_conforming && !observer.is_verbose && !observer.is_json {
            return;
        }
        let mask = mask(exchange, progress);
        let operation = self.request.operation.as_ref().or(self.response.operation.as_ref());
        let status = progress.head.as_ref().map(|(status, _)| status);
        let status = status.or(progress.answer.as_ref().map(|(status, _)| status)).map(StatusCode::as_u16);
        let (method, target) = (excerpt(exchange.method.as_str()), excerpt(exchange.uri.path()));
        let line = if observer.is_json {
            let of =
                |findings: &Findings| json!({ "violations": findings.violations, "drift": findings.drift });
            let mut object = json!({
                "event": "exchange", "method": method, "target": target, "http_status": status,
                "operation": operation, "verdict": self.verdict, "request": of(&self.request),
                "response": of(&self.response), "not_validated": self.skipped,
            });
            for member in ["target", "request", "response", "not_validated"] {
                mask.apply_to(&mut object[member]);
            }
            text::json(&object).unwrap_or_default()
        } else {
            let status = status.map_or_else(|| "no response".to_owned(), |status| status.to_string());
            let operation = operation.map_or("unknown operation", String::as_str);
            let verdict = self.verdict.map_or("not validated".to_owned(), |verdict| verdict.to_string());
            let mut text = format!("{method} {target} -> {status}  {operation}  {verdict}");
            for (side, findings) in [("request", &self.request), ("response", &self.response)] {
                if !findings.is_conforming() {
                    let separator = format!("\n  {side:<8}  ");
                    text += &format!("{separator}{}", findings.to_string().replace('\n', &separator));
                }
            }
            for skipped in &self.skipped {
                text += &format!("\n  not validated  {}", excerpt(skipped));
            }
            mask.apply(&text)
        };
        observer.printer.offer(line);
    }
}

/// The response as it was before its compression, or the reason why it cannot be validated.
fn response(exchange: &Exchange, progress: &Progress) -> Result<Response<Vec<u8>>, String> {
    if let Some((_, reason)) = &progress.answer {
        return Err(reason.clone());
    }
    let Some((status, headers)) = &progress.head else {
        return Err("the client closed the connection before it arrived".to_owned());
    };
    let body = progress.response.body("the client did not read it to its end")?;
    let mut response = Response::new(Vec::new());
    (*response.status_mut(), *response.headers_mut()) = (*status, headers.clone());
    let coding = headers.get(CONTENT_ENCODING).and_then(|coding| coding.to_str().ok()).unwrap_or_default();
    let coding = coding.trim().to_ascii_lowercase();
    // A compression that was not requested is a violation, which the contract reports.
    *response.body_mut() =
        if coding.is_empty() || body.is_empty() || !is_requested(&coding, &exchange.headers) {
            body.to_vec()
        } else {
            response.headers_mut().remove(CONTENT_ENCODING);
            decoded(body, &coding, MAX_COPY)?
        };
    Ok(response)
}

/// Whether a client accepts this compression.
fn is_requested(coding: &str, headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut accepted = values.flat_map(|value| value.split(','));
    accepted.any(|item| {
        let name = item.split(';').next().unwrap_or_default().trim();
        name == "*" || name.eq_ignore_ascii_case(coding)
    })
}

/// The credentials of the exchange.
fn mask(exchange: &Exchange, progress: &Progress) -> Mask {
    let mut mask = Mask::default();
    mask.add_headers(&exchange.headers);
    mask.add_query(exchange.uri.query().unwrap_or_default());
    mask.add_body(&progress.request.bytes);
    mask.add_body(&progress.response.bytes);
    mask
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
