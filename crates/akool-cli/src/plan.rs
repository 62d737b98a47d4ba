//! What `akool translate` is going to create: every row is checked before the first credit is spent.

use std::collections::BTreeMap;

use akool::{Client, Language, WorkKey};

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
    /// The rows of the file, or the files of the command line, that are left out: their lines, and why.
    pub(crate) left_out: Vec<(Option<u64>, String)>,
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
    let usage = |error: String| {
        report.error(None, "usage", error);
        Outcome::Usage
    };
    let mut plan = Plan { items: Vec::new(), left_out: Vec::new() };
    let rows = match &options.from_file {
        Some(file) => {
            let rows = rows::read(file, &options.request).map_err(usage)?;
            rows.into_iter().map(|(line, row)| (Some(line), row)).collect()
        }
        None => of_command_line(options, report, staging, &mut plan),
    };
    // Without a file, a run that creates jobs leaves it to the service.
    let is_checked = options.from_file.is_some() || options.dry_run || options.skip_invalid;
    let supported = if is_checked { supported(connection, report).await } else { None };
    let mut mistakes = 0;
    let mut mistake = |line: Option<u64>, error: &str| {
        mistakes += 1;
        match line {
            _ if options.skip_invalid => report.left_out(line, error),
            Some(line) => report.error(None, "usage", format!("line {line}: {error}")),
            None => report.error(None, "usage", error),
        }
    };
    for (line, row) in rows {
        match checked(line, row, connection, staging, supported.as_deref()).await {
            Ok(item) => {
                // Without a file, the table of a dry run has them.
                let is_table = options.from_file.is_none() && !options.skip_invalid;
                for code in item.refused.iter().filter(|_| !is_table) {
                    let command = report.command("languages");
                    mistake(line, &format!("{code}: not supported. `{command}` lists the codes"));
                }
                plan.items.push(item);
            }
            Err(error) => {
                mistake(line, &error);
                plan.left_out.push((line, error));
            }
        }
    }
    if mistakes > 0 && !options.skip_invalid {
        let is_batch = options.from_file.is_some() || plan.items.len() + plan.left_out.len() > 1;
        if is_batch {
            let what = if options.from_file.is_some() { "the file" } else { "the command" };
            report.note(format_args!(
                "nothing was created; correct {what}, or use --skip-invalid to leave out what is wrong"
            ));
        }
        return Err(Outcome::Usage);
    }
    if plan.items.is_empty() && options.from_file.is_none() {
        return Err(usage("everything was left out, so there is nothing to translate".to_owned()));
    }
    remove_duplicates(&mut plan.items, connection, report);
    Ok(plan)
}

/// The rows of the command line: one for each URL and file, also those of folders. What else folders have is left out.
fn of_command_line(
    options: &Translate,
    report: &Report,
    staging: &Staging<'_>,
    plan: &mut Plan,
) -> Vec<(Option<u64>, Result<RequestRow, String>)> {
    let mut rows = Vec::new();
    for named in &options.urls {
        match staging.sources(named) {
            Ok(sources) => {
                let row = |url: &String| (None, Ok(RequestRow::new(url, &options.request)));
                rows.extend(sources.urls.iter().map(row));
                for why in sources.left_out {
                    report.left_out(None, &why);
                    plan.left_out.push((None, why));
                }
            }
            Err(error) => rows.push((None, Err(error))),
        }
    }
    rows
}

/// What a row asks for.
///
/// # Errors
/// Why it is not valid, as a message.
async fn checked(
    line: Option<u64>,
    row: Result<RequestRow, String>,
    connection: &Connection,
    staging: &Staging<'_>,
    supported: Option<&[Language]>,
) -> Result<Item, String> {
    let row = row?;
    let languages: Vec<_> = row.request.to.iter().map(|code| code.trim().to_owned()).collect();
    let local = staging.find(&row).await?;
    let request = local.identify(row.translate(&connection.client, &languages)).request();
    request.map_err(|error| error.to_string())?;
    let (languages, refused) = languages.into_iter().partition(|code| is_supported(code, supported));
    Ok(Item { line, row, local, languages, refused, repeated: Vec::new() })
}

fn is_supported(code: &str, supported: Option<&[Language]>) -> bool {
    let language = Language::from(code);
    supported.is_none_or(|known| known.iter().any(|known| known.is(&language)))
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
fn remove_duplicates(items: &mut [Item], connection: &Connection, report: &Report) {
    let mut seen: BTreeMap<WorkKey, String> = BTreeMap::new();
    for (number, item) in items.iter_mut().enumerate() {
        let name = match item.line {
            Some(line) => format!("line {line}"),
            None if item.local.is_empty() => format!("URL {}", number + 1),
            None => akool::redact::excerpt(&item.row.url),
        };
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
