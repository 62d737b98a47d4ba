//! `akool credits`: prints the credits that the account has left.

use serde_json::json;

use crate::{connect::Connection, outcome::Outcome, report::Report};

pub(crate) async fn run(connection: &Connection, report: &Report) -> Outcome {
    let credits = match connection.client.credits().await {
        Ok(credits) => credits,
        Err(error) => {
            report.call_failed(None, &error);
            return Outcome::from(&error);
        }
    };
    if report.is_json() {
        report.object(&json!({ "event": "credits", "credits": credits }));
    } else {
        report.line(format_args!("{credits} credits"));
    }
    Outcome::Done
}
