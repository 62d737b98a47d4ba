//! Imports the ledger of an earlier version, once: [`import`].

mod lines;

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use akool::{
    BusinessCode, Created, CreatedJob, Language, Rejection, SourceId, WorkKey,
    types::CreateTranslationRequest,
};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use serde_json::Value;
use sha2::{Digest, Sha256};

use self::lines::{Entry, Outcome, Unreadable};
use crate::{
    creation::{CreationOutcome, insert, insert_request, record_outcome, work_hash},
    error::{LedgerError, failed, io_failed},
    in_flight::is_in_flight,
    rows::{millis, state},
};

/// How long to wait for a process of an earlier version. It locks the file only to write a line.
const MAX_LOCK_WAIT: Duration = Duration::from_secs(10);

/// Imports the ledger of an earlier version: the file of the same name that ends in `.jsonl`. It is imported as a whole
/// or not at all, and renamed afterwards. If the program is killed before it is renamed, it is not imported again.
pub(crate) fn import(ledger: &Path, connection: &mut Connection) -> Result<(), LedgerError> {
    let old = ledger.with_extension("jsonl");
    let mut file = match File::open(&old) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_failed(&old, "read", error)),
    };
    lock(&old, &file)?;
    // Another process may have imported and renamed it meanwhile.
    if !old.exists() {
        return Ok(());
    }
    let mut text = Vec::new();
    file.read_to_end(&mut text).map_err(|error| io_failed(&old, "read", error))?;
    let entries = lines::read(&text).map_err(|unreadable| explain(&old, &unreadable))?;
    if let Some(entry) = entries.iter().find(|entry| is_in_flight(&old, &entry.id)) {
        return Err(LedgerError::new(format!(
            "a process of an earlier version is creating {} in {}; try again when it has ended",
            entry.id,
            old.display()
        )));
    }
    let failed = |error| failed(ledger, "import an earlier ledger into", error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let hash: [u8; 32] = Sha256::digest(&text).into();
    let now = millis(SystemTime::now());
    let is_new = transaction
        .execute("INSERT OR IGNORE INTO imports VALUES (?, ?)", params![hash, now])
        .map_err(failed)?;
    if is_new == 1 {
        for entry in &entries {
            import_entry(&transaction, entry).map_err(failed)?;
        }
    }
    transaction.commit().map_err(failed)?;
    fs::rename(&old, imported(&old)).map_err(|error| io_failed(&old, "rename", error))
}

/// The name of a file that was imported: the first one that does not exist.
fn imported(old: &Path) -> PathBuf {
    let name = |number: u32| {
        let mut name = old.as_os_str().to_owned();
        name.push(if number == 1 { ".imported".to_owned() } else { format!(".imported-{number}") });
        PathBuf::from(name)
    };
    (1..).map(name).find(|name| !name.exists()).unwrap_or_else(|| name(1))
}

fn explain(old: &Path, unreadable: &Unreadable) -> LedgerError {
    let shown = old.display();
    LedgerError::new(match unreadable {
        Unreadable::Line(line) => format!(
            "line {line} of the ledger {shown} cannot be read, and may be a request that was paid for; repair or remove \
             the line"
        ),
        Unreadable::LaterVersion(line) => {
            format!("a later version of this program has written {shown} (line {line}); use that version")
        }
    })
}

/// Locks the file against processes of earlier versions.
fn lock(old: &Path, file: &File) -> Result<(), LedgerError> {
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if began.elapsed() < MAX_LOCK_WAIT => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(LedgerError::new(format!(
                    "another process has locked the ledger {}; try again when it has ended",
                    old.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(io_failed(old, "lock", error)),
        }
    }
}

fn import_entry(transaction: &Transaction<'_>, entry: &Entry) -> rusqlite::Result<()> {
    let request = Value::Object(entry.request.clone());
    let text = request.to_string();
    let typed = serde_json::from_value::<CreateTranslationRequest>(request).ok();
    insert_request(transaction, &entry.id, &entry.api, entry.at, &text, typed.as_ref())?;
    for language in &entry.languages {
        // A later request of the same work is the one that is reused.
        let work = work(entry, language, typed.as_ref());
        transaction.execute("UPDATE jobs SET open = NULL WHERE work = ? AND open = 1", [work])?;
        insert(transaction, &entry.id, &entry.api, Some(language), state::UNKNOWN, work, true)?;
    }
    match &entry.outcome {
        Outcome::Unknown { why: None } => {}
        Outcome::Unknown { why: Some(why) } => {
            record_outcome(transaction, &entry.id, &CreationOutcome::Unknown(why.clone()), entry.at)?;
        }
        Outcome::NotCreated { why } => {
            record_outcome(transaction, &entry.id, &CreationOutcome::NotCreated(why.clone()), entry.at)?;
        }
        Outcome::Created { .. } => import_created(transaction, entry)?,
    }
    for language in &entry.forgotten {
        let update = "UPDATE jobs SET forgotten = 1, open = NULL
            WHERE request = ? AND language = ? COLLATE NOCASE AND state = 1";
        transaction.execute(update, [entry.id.as_str(), language.code()])?;
    }
    Ok(())
}

fn import_created(transaction: &Transaction<'_>, entry: &Entry) -> rusqlite::Result<()> {
    let Outcome::Created { jobs, rejected, unknown } = &entry.outcome else { return Ok(()) };
    let created = jobs.iter().map(|job| {
        let mut created = CreatedJob::new(&job.id);
        created.language.clone_from(&job.language);
        created
    });
    let rejections = rejected.iter().map(|rejected| {
        let mut rejection = Rejection::new(BusinessCode(rejected.code), &*rejected.message);
        rejection.language.clone_from(&rejected.language);
        rejection
    });
    let outcome = Created::new(created.collect(), rejections.collect(), unknown.clone());
    record_outcome(transaction, &entry.id, &CreationOutcome::Created(outcome), entry.at)?;
    for job in jobs {
        let update = "UPDATE jobs SET status = ?2, changed_at = ?3, forgotten = ?4,
                open = CASE WHEN ?4 OR ?2 = 4 THEN NULL ELSE open END
            WHERE request = ?1 AND job = ?5";
        let (status, seen) = (job.status.map(i64::from), job.seen.map(millis));
        let values = params![entry.id.as_str(), status, seen, job.is_forgotten, job.id.as_str()];
        transaction.execute(update, values)?;
    }
    Ok(())
}

/// What the request asked for in a language. Requests of earlier versions could choose a voice for each language, which
/// makes other work; and a request that cannot be read is like no other.
fn work(entry: &Entry, language: &Language, request: Option<&CreateTranslationRequest>) -> [u8; 32] {
    let Some(request) = request else {
        return Sha256::digest(format!("{} {language}", entry.id)).into();
    };
    let key = WorkKey::new(&SourceId::url(&request.url), language, request);
    let hash = work_hash(&entry.api, &key);
    let voices = entry.request.get("voices_map").and_then(Value::as_object);
    let voice = voices.into_iter().flatten().find(|(name, _)| language.is(&Language::from(name.as_str())));
    match voice {
        Some((_, voice)) => {
            Sha256::new().chain_update(hash).chain_update(voice.to_string()).finalize().into()
        }
        None => hash,
    }
}

#[cfg(test)]
mod tests {
    use akool::Status;
    use serde_json::json;

    use super::*;
    use crate::{
        database,
        store::Store,
        work::{Filter, Work, WorkOutcome},
    };

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new(lines: &str) -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            fs::write(folder.old(), lines).unwrap();
            folder
        }

        fn old(&self) -> PathBuf {
            self.0.path().join("ledger.jsonl")
        }

        fn open(&self) -> Result<Vec<Work>, String> {
            let path = self.0.path().join("ledger.db");
            let opened = database::open(&path).and_then(|mut connection| {
                import(&path, &mut connection)?;
                Ok(connection)
            });
            let mut connection = opened.map_err(|error| error.to_string())?;
            Ok(Store { path: &path, connection: &mut connection }.works(&Filter::all()).unwrap())
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.0.path()).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    fn lines() -> String {
        let request = |url: &str, languages: &[&str], entry: &str| {
            json!({"v": 1, "at": 1_700_000_000_000_u64, "intent": {"entry": entry, "base_url": "https://x",
                "languages": languages, "request": {"url": url, "language": languages.join(",")}}})
        };
        let mut with_voice = request("https://a.example/v.mp4", &["es", "fr", "ja"], "t1");
        with_voice["intent"]["request"]["voices_map"] = json!({"es": {"voice_id": "v"}});
        let lines = [
            with_voice,
            json!({"v": 1, "at": 1_700_000_000_001_u64, "created": {"entry": "t1",
                "jobs": [{"id": "1", "language": "es", "status": 1}],
                "refused": [{"language": "fr", "code": 1003, "message": "no"}], "unclear": ["ja"]}}),
            json!({"v": 1, "at": 1_700_000_000_002_u64, "seen": {"job": "1", "status": 2}}),
            json!({"v": 1, "at": 1_700_000_000_003_u64, "forgotten": {"entry": "t1", "languages": ["ja"]}}),
            json!({"v": 1, "at": 1_700_000_000_004_u64, "adopted": {"entry": "t1",
                "job": {"id": "2", "language": "ja"}}}),
            request("https://a.example/2", &["es"], "t2"),
            json!({"v": 1, "at": 1_700_000_000_005_u64, "not_created": {"entry": "t2", "why": "w2"}}),
            request("https://a.example/3", &["es"], "t3"),
            json!({"v": 1, "at": 1_700_000_000_006_u64, "unknown": {"entry": "t3", "why": "w3"}}),
            request("https://a.example/4", &["es", "fr"], "t4"),
            request("https://a.example/5", &["es"], "t5"),
            json!({"v": 1, "at": 1_700_000_000_007_u64, "created": {"entry": "t5",
                "jobs": [{"id": "5", "language": "es"}]}}),
            json!({"v": 1, "at": 1_700_000_000_008_u64, "seen": {"job": "5", "status": 4}}),
            request("https://a.example/5", &["es"], "t6"),
            json!({"v": 1, "at": 1_700_000_000_009_u64, "created": {"entry": "t6",
                "jobs": [{"id": "6", "language": "es"}]}}),
        ];
        lines.map(|line| format!("{line}\n")).concat()
    }

    #[test]
    fn everything_is_imported_once() {
        let folder = Folder::new(&lines());
        let works = folder.open().unwrap();
        let shown: Vec<_> = works.iter().map(|work| format!("{} {work}", work.entry)).collect();
        assert_eq!(
            shown,
            [
                "t1 es is job 1 (processing)",
                "t1 fr was rejected",
                "t1 ja is job 2",
                "t2 es was not created",
                "t3 es: outcome unknown (ledger entry t3)",
                "t4 es: outcome unknown (ledger entry t4)",
                "t4 fr: outcome unknown (ledger entry t4)",
                "t5 es is job 5 (failed)",
                "t6 es is job 6",
            ]
        );
        assert_eq!(works[0].job().unwrap().status, Some(Status::Processing));
        assert_eq!(works[4].outcome, WorkOutcome::Unknown { why: Some("w3".into()) });
        assert_eq!(works[0].requested_at, SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000));
        assert!(works.iter().all(|work| !work.is_forgotten && work.source.starts_with("https://a.example/")));
        assert_eq!(folder.names(), ["ledger.db", "ledger.jsonl.imported"]);
        assert_eq!(folder.open().unwrap(), works, "opened again");
        // As after a kill before the file was renamed.
        fs::rename(folder.0.path().join("ledger.jsonl.imported"), folder.old()).unwrap();
        assert_eq!(folder.open().unwrap(), works, "the same file again");
        // An earlier version was used once more.
        fs::write(folder.old(), lines().replace("t1", "t11").replace("t2", "t12")).unwrap();
        assert!(folder.open().unwrap().len() > works.len());
        assert_eq!(folder.names(), ["ledger.db", "ledger.jsonl.imported", "ledger.jsonl.imported-2"]);
    }

    #[test]
    fn imported_work_is_compared_like_new_work() {
        let folder = Folder::new(&lines());
        folder.open().unwrap();
        let path = folder.0.path().join("ledger.db");
        let connection = database::open(&path).unwrap();
        let open = |url: &str, language: &str| {
            let request = json!({"url": url, "language": language});
            let request: CreateTranslationRequest = serde_json::from_value(request).unwrap();
            let key = WorkKey::new(&SourceId::url(url), &language.into(), &request);
            let select = "SELECT job FROM jobs WHERE work = ? AND open = 1";
            let found = connection.query_row(select, [work_hash("https://x", &key)], |row| row.get(0));
            found.ok().map(Option::<String>::unwrap_or_default)
        };
        assert_eq!(open("https://A.example/v.mp4", "JA").as_deref(), Some("2"));
        assert_eq!(open("https://a.example/v.mp4", "es"), None, "with a voice, it is other work");
        assert_eq!(open("https://a.example/v.mp4", "fr"), None, "it was rejected");
        assert_eq!(open("https://a.example/3", "es").as_deref(), Some(""), "its outcome is unknown");
        assert_eq!(open("https://a.example/5", "es").as_deref(), Some("6"), "the first job failed");
    }

    #[test]
    fn a_line_that_cannot_be_read_stops_the_import() {
        for (damage, wanted) in [
            (lines().replacen("intent", "int\u{0}nt", 2).replacen("int\u{0}nt", "intent", 1), "line 6"),
            (format!("{}{{\"v\":2,\"at\":1,\"news\":{{}}}}\n", lines()), "later version"),
            (format!("{}null\n", lines()), "line 16"),
        ] {
            let folder = Folder::new(&damage);
            let error = folder.open().unwrap_err();
            assert!(error.contains(wanted), "{error}");
            assert_eq!(fs::read_to_string(folder.old()).unwrap(), damage);
            // Once it is repaired, everything is imported.
            fs::write(folder.old(), lines()).unwrap();
            assert_eq!(folder.open().unwrap().len(), 9);
        }
    }

    #[test]
    fn a_last_line_that_a_crash_cut_off_is_ignored() {
        let whole = lines();
        let mut last = 0;
        for cut in 0..whole.len() {
            let entries = lines::read(&whole.as_bytes()[..cut]).unwrap().len();
            assert!(entries >= last, "cut at {cut}");
            last = entries;
        }
        assert_eq!(last, 6);
    }

    #[test]
    fn a_request_of_a_running_process_is_not_imported() {
        let folder = Folder::new(&lines());
        let in_flight = crate::in_flight::InFlight::begin(&folder.old(), &"t4".into()).unwrap();
        assert!(folder.open().unwrap_err().contains("creating t4"));
        drop(in_flight);
        folder.open().unwrap();
    }
}
