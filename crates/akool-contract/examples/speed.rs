//! Measures how long a check takes: `cargo run --release -p akool-contract --example speed`.

use std::{error::Error, hint::black_box, path::Path, time::Instant};

use akool_contract::Contract;
use http::{Request, Response};

/// The documented response.
const EXAMPLE: &str = "/paths/~1api~1open~1v3~1content~1video~1infobymodelid/get/responses/200/content/application~1json/example";

fn main() -> Result<(), Box<dyn Error>> {
    let description = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi/akool.resolved.yaml");
    let description = openapi_keeper::description::read(&description)?;
    let example = description.pointer(EXAMPLE).ok_or("the description has no example of a poll")?;
    let request = Request::get("/api/open/v3/content/video/infobymodelid?video_model_id=64dd")
        .header("x-api-key", "key")
        .body("")?;
    let response =
        Response::builder().header("content-type", "application/json").body(example.to_string())?;
    let start = Instant::now();
    let contract = Contract::resolved();
    println!("reading the schemas: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    let start = Instant::now();
    black_box((contract.check_request(&request), contract.check_response(&request, &response)));
    println!("the first poll with its response: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
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
