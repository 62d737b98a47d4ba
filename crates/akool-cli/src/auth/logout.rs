//! `akool auth logout`: removes the stored API key.

use serde_json::json;

use crate::{
    args::Global,
    connect::{self, UsageError},
    key_store::{KeyStore, KeyringError},
    outcome::Outcome,
    report::Report,
    text::with_causes,
};

pub(super) async fn run(global: &Global, report: &Report) -> Result<Outcome, UsageError> {
    let address = connect::address(global)?;
    let mut store = KeyStore::open_exposed().map_err(|error| with_causes(&error))?;
    let removed = store.remove(&address, report).await.map_err(|error| with_causes(&error))?;
    let from_keyring = matches!(removed.keyring, Ok(true));
    if report.is_json() {
        let keyring = from_keyring.then_some("keyring");
        let places: Vec<_> = keyring.into_iter().chain(removed.file.as_ref().map(|_| "file")).collect();
        report.object(&json!({ "event": "logout", "base_url": address, "removed": places }));
    } else {
        if from_keyring {
            report.line(format_args!("removed the API key for {address} from the keyring"));
        }
        if let Some(file) = &removed.file {
            report.line(format_args!("removed the API key for {address} from the file {}", file.display()));
        }
    }
    match removed.keyring {
        Err(error) if removed.expected_in_keyring => {
            let text = format!(
                "cannot remove the API key for {address} from the keyring: {}. The program does not use it any more",
                with_causes(&error)
            );
            let help = "once the keyring can be used, run the same command again";
            report.failure(None, "keyring", text, Some(help));
            return Ok(Outcome::Unexpected);
        }
        Err(KeyringError::NotBuilt) | Ok(_) => {}
        Err(error) => report.remark(format_args!("The keyring was not searched: {}", with_causes(&error))),
    }
    if !from_keyring && removed.file.is_none() && !report.is_json() {
        report.line(format_args!("no API key is stored for {address}{}", connect::others(&store)));
    }
    Ok(Outcome::Done)
}
