//! The verdicts of `akool-contract` on the mock servers of `mutants.rs`.
//!
//! `contract URL KEY JOB NAME...` prints a JSON object for each mutant: its name, and its `violation` or
//! `drift`.

use std::error::Error;

use akool_contract::Contract;
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
        let verdict = verdict(&target, &key, request.send().await?).await?;
        println!("{}", json!({ "name": name, "akool-contract": verdict }));
    }
    Ok(())
}

async fn verdict(target: &str, key: &str, received: reqwest::Response) -> Result<Value, Box<dyn Error>> {
    let mut response = http::Response::builder().status(received.status());
    for (name, value) in received.headers() {
        response = response.header(name, value);
    }
    let Ok(body) = received.bytes().await else {
        // The connection reports the error, and there is no body to validate.
        return Ok(json!({}));
    };
    let request = http::Request::get(target).header("x-api-key", key).body("")?;
    let report = Contract::resolved().check_response(&request, &response.body(body)?);
    let violations: Vec<_> = report.violations.iter().map(ToString::to_string).collect();
    let drift: Vec<_> = report.drift.iter().map(ToString::to_string).collect();
    Ok(if !violations.is_empty() {
        json!({ "violation": violations.join("; ") })
    } else if !drift.is_empty() {
        json!({ "drift": drift.join("; ") })
    } else {
        json!({})
    })
}
