//! `akool languages`: lists the target languages.

use akool::{LanguageInfo, redact::excerpt};
use serde_json::json;

use crate::{args::Languages, connect::Connection, outcome::Outcome, report::Report, table::Table};

pub(crate) async fn run(options: &Languages, connection: &Connection, report: &Report) -> Outcome {
    let mut languages = match connection.client.languages().await {
        Ok(languages) => languages,
        Err(error) => {
            report.call_failed(None, &error);
            return Outcome::from(&error);
        }
    };
    if let Some(filter) = &options.filter {
        let filter = filter.to_lowercase();
        let matches = |text: &str| text.to_lowercase().contains(&filter);
        languages.retain(|language| matches(language.language.code()) || matches(&language.name));
        if languages.is_empty() {
            report.error(
                None,
                "no_match",
                format_args!(
                    "no language matches \"{filter}\"; `{}` lists them all",
                    report.command("languages")
                ),
            );
            return Outcome::Unexpected;
        }
    }
    languages.sort_by(|a, b| a.language.cmp(&b.language));
    if report.is_json() {
        for LanguageInfo { language, name, flag, needs_voice, .. } in &languages {
            report.object(&json!({
                "event": "language", "language": language, "name": name, "flag": flag, "needs_voice": needs_voice,
            }));
        }
        return Outcome::Done;
    }
    let mut table = Table::new(["CODE", "LANGUAGE"]);
    for language in languages {
        table.row([language.language.to_string(), excerpt(&language.name)]);
    }
    report.line(table);
    Outcome::Done
}
