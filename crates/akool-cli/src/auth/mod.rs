//! `akool auth`: prints which credential is used, and whether it works; stores and removes an API key.

mod login;
mod logout;

use serde_json::json;

use crate::{
    args::{Global, StoredKey},
    connect::Connection,
    outcome::Outcome,
    report::Report,
};

/// Stores or removes an API key.
pub(crate) async fn change(command: &StoredKey, global: &Global, report: &Report) -> Outcome {
    let changed = match command {
        #[cfg(feature = "sandbox")]
        _ if global.sandbox => {
            Err("the sandbox has a key of its own and does not use a stored one; run this without --sandbox"
                .to_owned())
        }
        StoredKey::Login => login::run(global, report).await,
        StoredKey::Logout => logout::run(global, report).await,
    };
    changed.unwrap_or_else(|error| {
        report.error(None, "usage", error);
        Outcome::Usage
    })
}

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
