//! `akool jobs --staged`: the objects that are in stores.

use akool_ledger::{Ledger, LedgerError, Staged};
use serde_json::json;

use crate::{report::Report, table::Table, text};

pub(crate) async fn list(ledger: Option<&Ledger>, report: &Report) -> Result<(), LedgerError> {
    let (mut staged, mut uploads) = (Vec::new(), Vec::new());
    if let Some(ledger) = ledger {
        (staged, uploads) = (ledger.staged().await?, ledger.uploads().await?);
    }
    if report.is_json() {
        for staged in &staged {
            report.object(&json!({
                "event": "staged",
                "url": staged.url,
                "state": state(staged),
                "bytes": staged.bytes,
                "staged_at": humantime::format_rfc3339_seconds(staged.staged_at).to_string(),
                "active": staged.active,
                "unknown": staged.unknown,
            }));
        }
        for (url, _) in &uploads {
            report.object(&json!({
                "event": "staged", "url": url, "state": "incomplete", "bytes": null, "staged_at": null, "active": 0,
                "unknown": 0,
            }));
        }
        return Ok(());
    }
    if staged.is_empty() && uploads.is_empty() {
        report.note("no file of this machine is in a store");
        return Ok(());
    }
    let mut table = Table::new(["OBJECT", "SIZE", "STATE", "UPLOADED"]);
    for staged in &staged {
        let state = state(staged).replace('_', " ");
        table.row([staged.url.clone(), text::size(staged.bytes), state, text::ago(staged.staged_at)]);
    }
    for (url, _) in &uploads {
        table.row([url.clone(), "?".to_owned(), "incomplete".to_owned(), "-".to_owned()]);
    }
    report.line(table);
    if staged.iter().any(Staged::is_left) || !uploads.is_empty() {
        let wait = report.command("wait --pending");
        report.note(format_args!("`{wait}` removes what is left or incomplete"));
    }
    Ok(())
}

fn state(staged: &Staged) -> &'static str {
    match staged {
        _ if staged.unknown > 0 => "outcome_unknown",
        _ if staged.active > 0 => "in_use",
        _ if staged.is_kept => "kept",
        _ => "left",
    }
}
