//! `akool auth login`: stores an API key that AKOOL accepts.

use std::io::{self, IsTerminal};

use serde_json::json;

use crate::{
    api_key,
    args::Global,
    connect::{self, UsageError},
    key_store::{KeyStore, KeyringError, Place},
    outcome::Outcome,
    report::Report,
    text::with_causes,
};

pub(super) async fn run(global: &Global, report: &Report) -> Result<Outcome, UsageError> {
    let address = connect::address(global)?;
    // Before anyone types a key that could not be stored.
    let mut store = KeyStore::open().map_err(|error| with_causes(&error))?;
    let key = match &global.api_key_file {
        Some(file) => api_key::from_file(file)?,
        None if io::stdin().is_terminal() => api_key::from_terminal(&address)?,
        None => api_key::from_file("-".as_ref())?,
    };
    // This call is free, changes nothing and needs a credential.
    if let Err(error) = connect::with_key(global, &key)?.languages().await {
        report.call_failed(None, &error);
        let outcome = Outcome::from(&error);
        report.note(if outcome == Outcome::CredentialsRefused {
            "The key was not stored, because it was rejected."
        } else {
            "The key was not stored, because it could not be checked."
        });
        return Ok(outcome);
    }
    let (place, problem) = store.put(&address, &key, report).await.map_err(|error| with_causes(&error))?;
    let path = match &place {
        Place::Keyring => None,
        Place::File(path) => Some(path),
    };
    if report.is_json() {
        report.object(&json!({ "event": "login", "base_url": address, "store": place.name(), "path": path }));
    } else {
        report.line(format_args!("stored the API key for {address} in {place}"));
    }
    if let Some(error) = problem.filter(|error| !matches!(error, KeyringError::NotBuilt)) {
        report.remark(format_args!("The keyring was not used: {}", with_causes(&error)));
    }
    if let Some(credential) = connect::from_environment() {
        report.remark(format_args!("The {credential} takes precedence over the stored key."));
    }
    Ok(Outcome::Done)
}
