//! What `akool translate` is going to create: every row is checked before the first credit is spent.

use std::collections::BTreeMap;

use akool::{Client, Language, WorkKey};
use akool_ledger::EnsureError;

use crate::{
    args::{RequestRow, Translate},
    connect::Connection,
    outcome::Outcome,
    report::Report,
    rows,
    staging::{Local, Staging},
    text,
};

/// A video, and the languages to create.
pub(crate) struct Item {
    /// The line of the file, from 1.
    pub(crate) line: Option<u64>,
    pub(crate) row: RequestRow,
    /// The files of this machine that it names.
    pub(crate) local: Local,
    pub(crate) languages: Vec<String>,
    /// The languages that are left out because the service does not list them.
    pub(crate) refused: Vec<String>,
    /// The languages that an earlier row has too, and the name of that row.
    pub(crate) repeated: Vec<(String, String)>,
}

impl Item {
    /// The request to create jobs in these languages. Files of this machine are identified, and their links do not work.
    pub(crate) fn translate(&self, client: &Client, languages: &[String]) -> akool::Translate {
        self.local.identify(self.row.translate(client, languages))
    }
}

/// What a run is going to do.
pub(crate) struct Plan {
    pub(crate) items: Vec<Item>,
    /// The rows of the file that are not valid: their lines, and why.
    pub(crate) left_out: Vec<(u64, String)>,
}

/// The videos to translate, in order. Everything that is wrong has been reported.
///
/// # Errors
/// [`Outcome::Usage`] if something is wrong and is not to be left out.
pub(crate) async fn plan(
    options: &Translate,
    connection: &Connection,
    report: &Report,
    staging: &Staging<'_>,
) -> Result<Plan, Outcome> {
    let Some(file) = &options.from_file else {
        return of_urls(options, connection, report, staging).await;
    };
    let usage = |error: String| {
        report.error(None, "usage", error);
        Outcome::Usage
    };
    let rows = rows::read(file, &options.request).map_err(usage)?;
    let supported = supported(connection, report).await;
    let (mut items, mut left_out) = (Vec::new(), Vec::new());
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
                left_out.push((line, error.clone()));
                mistake(line, error);
                continue;
            }
        };
        let languages: Vec<_> = row.request.to.iter().map(|code| code.trim().to_owned()).collect();
        let checked = local(&row, connection, staging).await.and_then(|local| {
            let request = local.identify(row.translate(&connection.client, &languages)).request();
            request.map(|_| local).map_err(|error| error.to_string())
        });
        let local = match checked {
            Ok(local) => local,
            Err(error) => {
                left_out.push((line, error.clone()));
                mistake(line, error);
                continue;
            }
        };
        let (languages, refused): (Vec<_>, Vec<_>) =
            languages.into_iter().partition(|code| is_supported(code, supported.as_deref()));
        for code in &refused {
            let command = report.command("languages");
            mistake(line, format!("{code}: not supported. `{command}` lists the codes"));
        }
        items.push(Item { line: Some(line), row, local, languages, refused, repeated: Vec::new() });
    }
    if mistakes > 0 && !options.skip_invalid {
        report.note(format_args!(
            "nothing was created; correct the file, or use --skip-invalid to leave out what is wrong"
        ));
        return Err(Outcome::Usage);
    }
    remove_duplicates(&mut items, connection, report);
    Ok(Plan { items, left_out })
}

/// The files of this machine that a row names.
async fn local(row: &RequestRow, connection: &Connection, staging: &Staging<'_>) -> Result<Local, String> {
    let mut named = [Some(&row.url), row.request.caption_file.as_ref()].into_iter().flatten();
    if connection.is_fleet()
        && let Some(file) = named.find(|named| !named.contains("://"))
    {
        return Err(format!(
            "\"{}\" is not a URL, and a fleet does not upload files of this machine; pass an https:// URL",
            akool::redact::excerpt(file)
        ));
    }
    staging.find(row).await
}

fn is_supported(code: &str, supported: Option<&[Language]>) -> bool {
    let language = Language::from(code);
    supported.is_none_or(|known| known.iter().any(|known| known.is(&language)))
}

async fn of_urls(
    options: &Translate,
    connection: &Connection,
    report: &Report,
    staging: &Staging<'_>,
) -> Result<Plan, Outcome> {
    let mut items = Vec::new();
    // A run that creates jobs leaves it to the service.
    let supported = if options.dry_run { supported(connection, report).await } else { None };
    for url in &options.urls {
        let row = RequestRow::new(url, &options.request);
        let languages: Vec<_> = row.request.to.iter().map(|code| code.trim().to_owned()).collect();
        let local = match local(&row, connection, staging).await {
            Ok(local) => local,
            Err(error) => {
                report.error(None, "usage", error);
                return Err(Outcome::Usage);
            }
        };
        if let Err(error) = local.identify(row.translate(&connection.client, &languages)).request() {
            report.not_created(&EnsureError::NotCreated(error.into()), &[]);
            return Err(Outcome::Usage);
        }
        let (languages, refused) =
            languages.into_iter().partition(|code| is_supported(code, supported.as_deref()));
        items.push(Item { line: None, row, local, languages, refused, repeated: Vec::new() });
    }
    remove_duplicates(&mut items, connection, report);
    Ok(Plan { items, left_out: Vec::new() })
}

/// The languages of the service, if they can be fetched with a credential of this machine. Otherwise the service decides.
async fn supported(connection: &Connection, report: &Report) -> Option<Vec<Language>> {
    if connection.is_fleet() {
        return None;
    }
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
fn remove_duplicates(items: &mut [Item], connection: &Connection, report: &Report) {
    let mut seen: BTreeMap<WorkKey, String> = BTreeMap::new();
    for (number, item) in items.iter_mut().enumerate() {
        let name = item.line.map_or_else(|| format!("URL {}", number + 1), |line| format!("line {line}"));
        let request = item.translate(&connection.client, &item.languages);
        item.languages.retain(|code| match request.work_key(&code.as_str().into()) {
            Ok(key) => match seen.get(&key) {
                Some(first) => {
                    report.note(format_args!("{name} repeats {first} in {code}; only one job is created"));
                    item.repeated.push((code.clone(), first.clone()));
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
}
