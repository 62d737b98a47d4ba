//! What `akool-contract` says of the mock servers of `mutants.rs`.
//!
//! `contract URL KEY JOB NAME...` prints one JSON object a line: the mutant's name, and what was called
//! `wrong` (a violation) or `odd` (drift), if anything.

use std::error::Error;

use akool_contract::{Contract, DriftKind};
use serde_json::{Value, json};

const PATH: &str = "/api/open/v3/content/video/infobymodelid";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().ok_or("usage: contract URL KEY JOB NAME...");
    let (url, key, job) = (next()?, next()?, next()?);
    let target = format!("{PATH}?video_model_id={job}");
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
    for name in args {
        let request =
            client.get(format!("{url}{target}")).header("x-api-key", &key).header("x-mutant", &name);
        let said = said(&target, &key, request.send().await?).await?;
        println!("{}", json!({ "name": name, "akool-contract": said }));
    }
    Ok(())
}

async fn said(target: &str, key: &str, answer: reqwest::Response) -> Result<Value, Box<dyn Error>> {
    let mut response = http::Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        response = response.header(name, value);
    }
    let Ok(body) = answer.bytes().await else {
        // Whoever asks is told by the connection; there is no answer to judge.
        return Ok(json!({}));
    };
    let request = http::Request::get(target).header("x-api-key", key).body("")?;
    let report = Contract::resolved().check_response(&request, &response.body(body)?);
    let shown = |value: &mut dyn Iterator<Item = String>| value.collect::<Vec<_>>().join("; ");
    let mut violations = report
        .violations
        .iter()
        .map(|one| format!("{} ({}): expected {}, came {}", one.pointer, one.rule, one.expected, one.actual));
    let mut drift = report
        .drift
        .iter()
        .filter(|one| one.kind != DriftKind::NotReceived)
        .map(|one| format!("{} ({:?}): {}", one.pointer, one.kind, one.actual));
    Ok(match (shown(&mut violations), shown(&mut drift)) {
        (wrong, _) if !wrong.is_empty() => json!({ "wrong": wrong }),
        (_, odd) if !odd.is_empty() => json!({ "odd": odd }),
        _ => json!({}),
    })
}
