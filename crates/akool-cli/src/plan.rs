//! What `akool translate` is going to create: every row is checked before the first credit is spent.

use std::collections::BTreeMap;

use akool::{Language, WorkKey};
use akool_ledger::EnsureError;

use crate::{
    args::{RequestRow, Translate},
    connect::Connection,
    outcome::Outcome,
    report::Report,
    rows, text,
};

/// A video, and the languages to create.
pub(crate) struct Item {
    /// The line of the file, from 1.
    pub(crate) line: Option<u64>,
    pub(crate) row: RequestRow,
    pub(crate) languages: Vec<String>,
    /// The languages that are left out because the service does not list them.
    pub(crate) refused: Vec<String>,
}

/// The videos to translate, in order. Everything that is wrong has been reported.
///
/// # Errors
/// [`Outcome::Usage`] if something is wrong and is not to be left out.
pub(crate) async fn plan(
    options: &Translate,
    connection: &Connection,
    report: &Report,
) -> Result<Vec<Item>, Outcome> {
    let Some(file) = &options.from_file else {
        return of_urls(options, connection, report);
    };
    let usage = |error: String| {
        report.error(None, "usage", error);
        Outcome::Usage
    };
    let rows = rows::read(file, &options.request).map_err(usage)?;
    let supported = supported(connection, report).await;
    let mut items = Vec::new();
    let mut mistakes = 0;
    let mut mistake = |line: u64, error: String| {
        mistakes += 1;
        if options.skip_invalid {
            report.left_out(line, &error);
        } else {
            report.error(None, "usage", format!("line {line}: {error}"));
        }
    };
    for (line, row) in rows {
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                mistake(line, error);
                continue;
            }
        };
        let languages: Vec<_> = row.request.to.iter().map(|code| code.trim().to_owned()).collect();
        if let Err(error) = row.translate(&connection.client, &languages).request() {
            mistake(line, error.to_string());
            continue;
        }
        let is_supported = |code: &String| {
            let language = Language::from(code.as_str());
            supported.as_ref().is_none_or(|known| known.iter().any(|known| known.is(&language)))
        };
        let (languages, refused): (Vec<_>, Vec<_>) = languages.into_iter().partition(is_supported);
        for code in &refused {
            mistake(line, format!("{code}: not supported. `akool languages` lists the codes"));
        }
        if !languages.is_empty() || !refused.is_empty() {
            items.push(Item { line: Some(line), row, languages, refused });
        }
    }
    if mistakes > 0 && !options.skip_invalid {
        report.note(format_args!(
            "nothing was created; correct the file, or use --skip-invalid to leave out what is wrong"
        ));
        return Err(Outcome::Usage);
    }
    remove_duplicates(&mut items, connection, report);
    Ok(items)
}

fn of_urls(options: &Translate, connection: &Connection, report: &Report) -> Result<Vec<Item>, Outcome> {
    let mut items = Vec::new();
    for url in &options.urls {
        let row = RequestRow::new(url, &options.request);
        let languages: Vec<_> = row.request.to.iter().map(|code| code.trim().to_owned()).collect();
        if let Err(error) = row.translate(&connection.client, &languages).request() {
            report.not_created(&EnsureError::NotCreated(error.into()));
            return Err(Outcome::Usage);
        }
        items.push(Item { line: None, row, languages, refused: Vec::new() });
    }
    remove_duplicates(&mut items, connection, report);
    Ok(items)
}

/// The languages of the service, if they can be fetched. Otherwise the service decides.
async fn supported(connection: &Connection, report: &Report) -> Option<Vec<Language>> {
    match connection.client.languages().await {
        Ok(languages) => Some(languages.into_iter().map(|language| language.language).collect()),
        Err(error) => {
            report.note(format_args!(
                "warning: the languages are not checked before the first job is created: {}",
                text::with_causes(&error)
            ));
            None
        }
    }
}

/// Removes work that an earlier row has too, so that a job which fails in this run is not created again in this run.
fn remove_duplicates(items: &mut Vec<Item>, connection: &Connection, report: &Report) {
    let mut seen: BTreeMap<WorkKey, String> = BTreeMap::new();
    for (number, item) in items.iter_mut().enumerate() {
        let name = item.line.map_or_else(|| format!("URL {}", number + 1), |line| format!("line {line}"));
        let request = item.row.translate(&connection.client, &item.languages);
        item.languages.retain(|code| match request.work_key(&code.as_str().into()) {
            Ok(key) => match seen.get(&key) {
                Some(first) => {
                    report.note(format_args!(
                        "{name}: {code} is the same work as in {first}; it is created once"
                    ));
                    false
                }
                None => {
                    seen.insert(key, name.clone());
                    true
                }
            },
            Err(_) => true,
        });
    }
    items.retain(|item| !item.languages.is_empty() || !item.refused.is_empty());
}
