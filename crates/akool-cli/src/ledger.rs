//! The ledger of the program: which file it is, and under which API address work is stored.

use std::{fs::File, path::PathBuf, time::Duration};

use akool::{JobId, Language};
use akool_ledger::{Filter, Ledger};
use etcetera::BaseStrategy;

use crate::{connect::Connection, env, text};

/// Stands for the address of every embedded sandbox, whose port differs in each run.
const SANDBOX: &str = "sandbox";

/// How often to read the ledger while another process is creating jobs.
pub(crate) const IN_FLIGHT_INTERVAL: Duration = Duration::from_millis(200);

/// The API address under which the work of this run is stored.
pub(crate) fn api(connection: &Connection) -> &str {
    if connection.is_sandbox() { SANDBOX } else { connection.client.base_url() }
}

/// Opens the ledger, and creates it if it does not exist.
///
/// # Errors
/// Why it cannot be used, as a message.
pub(crate) async fn open(connection: &Connection) -> Result<Ledger, String> {
    let (path, from) = path(connection)?;
    let opened = tokio::task::spawn_blocking(|| Ledger::open(path)).await;
    match opened {
        Ok(Ok(ledger)) => Ok(ledger),
        Ok(Err(error)) => Err(format!("{}; {from}", text::with_causes(&error))),
        Err(_) => Err("the program is ending".to_owned()),
    }
}

/// The same, if something can be written to it now.
pub(crate) async fn open_to_write(connection: &Connection) -> Result<Ledger, String> {
    let ledger = open(connection).await?;
    let (_, from) = path(connection)?;
    ledger.check_writable().await.map_err(|error| format!("{}; {from}", text::with_causes(&error)))?;
    Ok(ledger)
}

/// Opens the ledger if it exists.
///
/// # Errors
/// Why it cannot be used, as a message.
pub(crate) async fn open_existing(connection: &Connection) -> Result<Option<Ledger>, String> {
    let (path, _) = path(connection)?;
    if path.exists() || path.with_extension("jsonl").exists() {
        return open(connection).await.map(Some);
    }
    Ok(None)
}

/// Waits until no other process that shares the ledger is between reading the balance and creating jobs. That lasts until
/// the file is closed. `None` if the file system has no locks.
pub(crate) async fn lock_balance(ledger: &Ledger) -> Option<File> {
    let mut path = ledger.path().as_os_str().to_owned();
    path.push("-balance");
    let lock = move || {
        let file = File::options().create(true).truncate(false).write(true).open(path).ok()?;
        file.lock().ok()?;
        Some(file)
    };
    tokio::task::spawn_blocking(lock).await.ok().flatten()
}

/// The file of the ledger, and how to select another one. The sandbox has its own.
fn path(connection: &Connection) -> Result<(PathBuf, &'static str), String> {
    if let Some(file) = &connection.ledger {
        return Ok((file.clone(), "--ledger selects the file"));
    }
    if let Some(file) = env::get(env::LEDGER)?.filter(|_| !connection.is_sandbox()) {
        return Ok((file.into(), "AKOOL_LEDGER selects the file"));
    }
    let strategy = etcetera::choose_base_strategy().map_err(|_| {
        "there is no folder for the ledger of created jobs: set XDG_STATE_HOME or HOME, or use --ledger"
            .to_owned()
    })?;
    let folder = strategy.state_dir().unwrap_or_else(|| strategy.data_dir()).join("akool");
    let name = if connection.is_sandbox() { "sandbox.db" } else { "ledger.db" };
    Ok((folder.join(name), "XDG_STATE_HOME sets its folder, and --ledger selects another file"))
}

/// Passes on the language and the source of each of these jobs that the ledger has. A ledger that cannot be read is ignored.
pub(crate) async fn label_jobs(
    connection: &Connection,
    ids: impl IntoIterator<Item = JobId>,
    label: impl Fn(&JobId, Option<&Language>, Option<&str>),
) {
    if let Ok(Some(ledger)) = open_existing(connection).await {
        self::label(&ledger, api(connection), ids, label).await;
    }
}

/// The same, from this ledger and for jobs of this API address.
pub(crate) async fn label(
    ledger: &Ledger,
    api: &str,
    ids: impl IntoIterator<Item = JobId>,
    label: impl Fn(&JobId, Option<&Language>, Option<&str>),
) {
    for id in ids {
        let jobs = ledger.jobs(&Filter::job(id).at(api)).await;
        for job in jobs.into_iter().flatten() {
            label(&job.id, job.language.as_ref(), job.source_url.as_deref());
        }
    }
}
