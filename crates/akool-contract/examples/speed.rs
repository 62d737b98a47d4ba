//! Measures how long a check takes: `cargo run --release -p akool-contract --example speed`.

use std::{hint::black_box, time::Instant};

use akool_contract::Contract;
use http::{Request, Response};

fn main() -> Result<(), http::Error> {
    let start = Instant::now();
    let contract = Contract::resolved();
    println!("compiling: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);

    let example = &contract.document()["paths"]["/api/open/v3/content/video/infobymodelid"]["get"]["responses"]
        ["200"]["content"]["application/json"]["example"];
    let request = Request::get("/api/open/v3/content/video/infobymodelid?video_model_id=64dd")
        .header("x-api-key", "key")
        .body("")?;
    let response =
        Response::builder().header("content-type", "application/json").body(example.to_string())?;
    let measure = |what: &str, check: &dyn Fn()| {
        const RUNS: u32 = 20_000;
        for _ in 0..RUNS / 10 {
            check();
        }
        let start = Instant::now();
        for _ in 0..RUNS {
            check();
        }
        println!("{what}: {:.1} µs", start.elapsed().as_secs_f64() * 1e6 / f64::from(RUNS));
    };
    measure("a poll", &|| drop(black_box(contract.check_request(&request))));
    measure("the documented response", &|| drop(black_box(contract.check_response(&request, &response))));
    Ok(())
}
