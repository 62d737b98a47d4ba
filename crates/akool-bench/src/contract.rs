//! The row `contract`: the validation of a poll's request and response against the description.

use std::{hint::black_box, time::Instant};

use akool_contract::{Contract, Report, Verdict};
use anyhow::{Result, bail};
use http::{Request, Response};
use serde_json::Value;

use crate::{
    callgrind::instructions_each,
    process,
    row::{Plot, Row},
    server::example,
};

const REQUEST: &str = "check the request";
const RESPONSE: &str = "check the response";
/// The limit: what every check of a response has to do.
const PARSE: &str = "parse the response";

/// Checks a message so many times in this process, and prints the microseconds that each took.
pub(crate) fn probe(work: &str, times: usize) -> Result<()> {
    let request = Request::get("/api/open/v3/content/video/infobymodelid?video_model_id=64dd")
        .header("x-api-key", "key")
        .body("")?;
    let body = example("64dd92c1f0b6684651e90e09", "2", "");
    let response = Response::builder().header("content-type", "application/json").body(body)?;
    let contract = Contract::resolved();
    let conforms = |report: Report| report.verdict() == Verdict::Conforming;
    let work = || {
        Ok(match work {
            REQUEST => conforms(contract.check_request(&request)),
            RESPONSE => conforms(contract.check_response(&request, &response)),
            PARSE => serde_json::from_str::<Value>(response.body())?.is_object(),
            other => bail!("unknown work {other}"),
        })
    };
    // The first check builds the validator.
    anyhow::ensure!(work()?, "the documented messages do not conform");
    let began = Instant::now();
    for _ in 0..times {
        black_box(work()?);
    }
    println!("{}", began.elapsed().as_secs_f64() / times as f64 * 1e6);
    Ok(())
}

/// The instructions of a check of the request, and of the response.
pub(crate) fn instructions() -> Result<[(&'static str, f64); 2]> {
    let count = |work| instructions_each(&["probe-contract", work], 1_000, 3_000);
    Ok([(REQUEST, count(REQUEST)?), (RESPONSE, count(RESPONSE)?)])
}

pub(crate) fn run(quick: bool) -> Result<Row> {
    let (samples, times) = if quick { (3, 2_000) } else { (15, 50_000) };
    let mut row = Row::new(
        "contract",
        "One check of a poll's request, and of its documented response, against the description, and what the JSON \
         parser alone takes for that response.",
    );
    let mut medians = Vec::new();
    for work in [PARSE, REQUEST, RESPONSE] {
        let mut measured = Vec::new();
        for _ in 0..samples {
            measured.push(process::probe(&["probe-contract", work, &times.to_string()])?);
        }
        medians.push(row.add("", work, "time", "µs", &measured));
    }
    for (work, count) in instructions()? {
        row.add("", work, "instructions", "", &[count]);
    }
    row.at_most("µs per response", medians[2], 10.0);
    row.at_most("µs per request", medians[1], 10.0);
    row.plot = Some(Plot::Ratios(PARSE.to_owned()));
    Ok(row)
}
