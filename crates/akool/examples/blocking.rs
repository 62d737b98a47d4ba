//! Translates a video without `async`: `cargo run -p akool --features blocking --example blocking -- URL LANGUAGE...`
//!
//! It reads the variables that the program reads, such as `AKOOL_API_KEY`. On a sandbox, also set `AKOOL_API_HOST`.

use std::{env, error::Error};

use akool::{ClientBuilder, Update, blocking::Client};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let url = arguments.next().ok_or("pass the URL of a video, and at least one language")?;
    let client = Client::new(ClientBuilder::from_env()?.base_url_from_env()?.build()?)?;

    let created = client.translate(url).to(arguments.collect::<Vec<_>>()).send()?;
    let mut waits = client.wait_set().max_polls_per_second(8.0);
    waits.extend(created.jobs.iter().map(|job| &job.id));
    for (job, update) in waits {
        match update {
            Update::Polled { snapshot, changed: true, .. } => println!("{job} {}", snapshot.status()),
            Update::Finished(Ok(translation)) => println!("{job} {}", translation.video()),
            Update::Finished(Err(error)) => eprintln!("{error}; {}", error.help()),
            _ => {}
        }
    }
    Ok(())
}
