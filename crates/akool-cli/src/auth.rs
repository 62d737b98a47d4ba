//! `akool auth`: prints which credential is used, and whether it works.

use serde_json::json;

use crate::{connect::Connection, outcome::Outcome, report::Report};

pub(crate) async fn run(connection: &Connection, report: &Report) -> Outcome {
    let (credential, base_url) = (&connection.credential, connection.client.base_url());
    // This call is free, changes nothing and needs a credential.
    let languages = connection.client.languages().await;
    let (works, outcome) = match &languages {
        Ok(_) => (Some(true), Outcome::Done),
        Err(error) => match Outcome::from(error) {
            Outcome::CredentialsRefused => (Some(false), Outcome::CredentialsRefused),
            other => (None, other),
        },
    };
    if report.is_json() {
        report.object(&json!({
            "event": "auth", "credential": credential, "base_url": base_url, "works": works,
        }));
    } else {
        report.line(format_args!("credential  {credential}"));
        report.line(format_args!("service     {base_url}"));
        report.line(match works {
            Some(true) => "works       yes",
            Some(false) => "works       no, AKOOL rejected it",
            None => "works       unknown",
        });
    }
    if let Err(error) = languages {
        report.call_failed(None, &error);
    }
    outcome
}
