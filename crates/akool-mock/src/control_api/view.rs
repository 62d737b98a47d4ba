//! The JSON that the control API sends.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::{
    answer::millis,
    record::{Exchange, shown},
    service_state::ServiceState,
    times::{FaultQueue, Times},
};

/// How many jobs and requests one answer lists: the latest.
const MAX_LISTED: usize = 1_000;

pub(super) fn state(state: &ServiceState, now: SystemTime) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "clock": clock(state, now),
        "jobs": state.jobs.len(),
        "requests": state.log.count(),
        "violations": state.violations.count(),
        "unmet_expectations": state.unmet_expectations().len(),
    })
}

pub(super) fn clock(state: &ServiceState, now: SystemTime) -> Value {
    json!({ "now_ms": millis(now), "stopped": state.clock.is_stopped() })
}

pub(super) fn account(state: &ServiceState) -> Value {
    json!({ "credits": state.credits, "credits_per_job": state.credits_per_job })
}

pub(super) fn jobs(state: &ServiceState, now: SystemTime) -> Value {
    let jobs: Vec<_> = state.jobs.keys().take(MAX_LISTED).map(|id| job(state, id, now)).collect();
    json!({ "total": state.jobs.len(), "jobs": jobs })
}

/// A job, or null if there is none with this id.
pub(super) fn job(state: &ServiceState, id: &str, now: SystemTime) -> Value {
    let Some(job) = state.jobs.get(id) else { return Value::Null };
    let seen = job.preview(now);
    let mut shown = json!({
        "id": id,
        "status": seen.status,
        "progress": seen.progress,
        "polls": job.poll_count(),
        "credits": seen.credits,
    });
    let created = state.created.iter().rev().find(|created| created.id == id);
    let texts = [
        ("description", state.notes.get(id).map(String::as_str)),
        ("source", created.and_then(|created| created.request["url"].as_str())),
        ("language", created.map(|created| created.language.as_str())),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            shown[name] = text.into();
        }
    }
    if let Some((code, reason)) = seen.error {
        shown["error"] = json!({ "code": code, "reason": reason });
    }
    shown
}

pub(super) fn faults(state: &ServiceState) -> Value {
    let mut faults = Vec::new();
    list("polls", &state.poll_faults, |fault| fault.name(), &mut faults);
    list("files", &state.file_faults, |fault| fault.name(), &mut faults);
    list("creations", &state.creation_faults, |fault| fault.name(), &mut faults);
    list("webhooks", &state.webhooks.faults, |fault| fault.to_string(), &mut faults);
    json!({ "faults": faults })
}

fn list<F: Copy>(on: &str, queue: &FaultQueue<F>, name: impl Fn(F) -> String, faults: &mut Vec<Value>) {
    for injected in queue.iter() {
        let mut fault = json!({ "on": on, "fault": name(injected.fault) });
        match injected.times {
            Times::Once => fault["times"] = 1.into(),
            Times::N(left) => fault["times"] = left.into(),
            Times::Always => fault["times"] = "always".into(),
            Times::WithProbability { percent, .. } => fault["percent"] = percent.into(),
        }
        if injected.advances {
            fault["advances_timeline"] = true.into();
        }
        faults.push(fault);
    }
}

pub(super) fn requests(state: &ServiceState, job: Option<&str>) -> Value {
    let of_job = |exchange: &&Exchange| job.is_none_or(|job| exchange.job.as_deref() == Some(job));
    let mut requests: Vec<_> = state.log.iter().rev().filter(of_job).take(MAX_LISTED).map(request).collect();
    requests.reverse();
    json!({ "total": state.log.count(), "requests": requests })
}

/// A request without its headers and body, which may hold credentials.
fn request(exchange: &Exchange) -> Value {
    let mut shown = json!({
        "at_ms": millis(exchange.at),
        "method": exchange.method.as_str(),
        "target": shown(&exchange.target),
        "http_status": exchange.status.as_u16(),
        "summary": exchange.summary,
    });
    for (name, text) in [("job", &exchange.job), ("violation", &exchange.violation)] {
        if let Some(text) = text {
            shown[name] = text.as_str().into();
        }
    }
    shown
}
