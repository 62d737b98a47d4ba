//! A ledger in a file: [`LedgerFile`].
//!
//! The file has one JSON object per line and is append-only: intents, outcomes, and the last known
//! status of the jobs. A line is written under an exclusive lock and synced before the lock is released,
//! so several processes can share the file. Readers skip a last line that a crash cut off, and the next
//! writer removes it: a request whose intent was cut off was never sent, and an outcome that was cut off
//! leaves its intent without one. While a process makes a request, it holds a lock on a file beside the
//! ledger. So other processes can distinguish a request in flight from one whose process has died.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use akool::{JobId, Language, Status};

use crate::{
    entry::{Contents, Entry, Outcome},
    error::LedgerError,
    intent::Intent,
    lines::{JobLine, Line, Reading, What, created, is_later, new_id},
    store::{Begin, CreationOutcome, Ledger, LedgerFuture},
    work::EntryId,
};

/// How long to wait for the lock of the file. A process holds it only to read the file and write a line.
const MAX_LOCK_WAIT: Duration = Duration::from_secs(10);

/// A ledger in a file that several processes can share. Cheap to clone.
///
/// ```no_run
/// # fn example() -> Result<(), akool_ledger::LedgerError> {
/// use akool_ledger::LedgerFile;
///
/// let ledger = LedgerFile::at("state/ledger.jsonl");
/// for entry in ledger.read()?.entries {
///     println!("{}: {:?}", entry.id, entry.outcome);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LedgerFile {
    path: Arc<Path>,
    /// The locks of the requests that this process is making.
    in_flight: Arc<Mutex<HashMap<EntryId, File>>>,
}

impl LedgerFile {
    /// Creates a ledger in this file. The first entry creates the file, and its folder if necessary,
    /// readable only by this user.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into().into(), in_flight: Arc::default() }
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads everything. A file that does not exist is an empty ledger.
    ///
    /// # Errors
    /// If the file cannot be read, another process locks it for more than 10 seconds, or a later version
    /// of this library has written it.
    pub fn read(&self) -> Result<Contents, LedgerError> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contents::default()),
            Err(error) => return Err(self.error("read", error)),
        };
        self.lock(|| file.try_lock_shared())?;
        self.contents(&mut file)
    }

    /// Stores the status of a job. Does nothing if the ledger does not have the job.
    ///
    /// # Errors
    /// If the file cannot be read or written; see [`read`](Self::read).
    pub fn note(&self, job: &JobId, status: Status) -> Result<(), LedgerError> {
        self.change(|contents| {
            let jobs = || contents.entries.iter().flat_map(Entry::jobs).filter(|known| known.id == *job);
            let news = jobs().any(|known| known.status != Some(status));
            Ok(news.then(|| What::Seen { job: job.clone(), status }))
        })
    }

    /// Removes a job: it is not pending any more, and the same work may be created again. Returns whether
    /// the ledger has the job.
    ///
    /// # Errors
    /// If the file cannot be read or written; see [`read`](Self::read).
    pub fn forget_job(&self, job: &JobId) -> Result<bool, LedgerError> {
        let mut found = false;
        self.change(|contents| {
            let entry =
                contents.entries.iter().find(|entry| entry.jobs().iter().any(|known| known.id == *job));
            found = entry.is_some();
            Ok(entry.map(|entry| What::Forgotten {
                entry: entry.id.clone(),
                job: Some(job.clone()),
                languages: Vec::new(),
            }))
        })?;
        Ok(found)
    }

    /// Removes the unknown outcomes of a request, or that of one language: use this when you have found
    /// out that nothing was created. The jobs of the request stay. Returns whether the ledger has the
    /// request.
    ///
    /// # Errors
    /// If a running process is making the request, the outcome of the language is not unknown, or the
    /// file cannot be read or written; see [`read`](Self::read).
    pub fn forget(&self, entry: &EntryId, language: Option<&Language>) -> Result<bool, LedgerError> {
        let mut found = false;
        self.change(|contents| {
            let Some(known) = contents.entries.iter().find(|known| known.id == *entry) else {
                return Ok(None);
            };
            found = true;
            if known.outcome == Outcome::InFlight {
                return Err(LedgerError::new(format!(
                    "a running process is creating {entry}; wait for its outcome"
                )));
            }
            let selected = |unknown: &&Language| language.is_none_or(|language| language.is(unknown));
            let languages: Vec<_> = known.unknown().iter().filter(selected).cloned().collect();
            match language {
                Some(language) if languages.is_empty() => {
                    Err(LedgerError::new(format!("the outcome of {language} in {entry} is not unknown")))
                }
                _ => Ok(Some(What::Forgotten { entry: entry.clone(), job: None, languages })),
            }
        })?;
        Ok(found)
    }

    /// Stores the job of a request whose outcome was unknown: use this when you have found the job. The
    /// language may be omitted if the outcome of only one language is unknown.
    ///
    /// # Errors
    /// If the ledger does not have the request, its outcome is not unknown, the language is omitted and
    /// several are unknown, or the file cannot be read or written; see [`read`](Self::read).
    pub fn adopt(
        &self,
        entry: &EntryId,
        language: Option<&Language>,
        job: &JobId,
    ) -> Result<(), LedgerError> {
        let fail = |why: String| Err(LedgerError::new(why));
        let mut found = false;
        self.change(|contents| {
            let Some(known) = contents.entries.iter().find(|known| known.id == *entry) else {
                return Ok(None);
            };
            found = true;
            let unknown = known.unknown();
            let language = match (language, unknown) {
                (Some(language), _) => match unknown.iter().find(|unknown| unknown.is(language)) {
                    Some(language) => language,
                    None => return fail(format!("the outcome of {language} in {entry} is not unknown")),
                },
                (None, [only]) => only,
                (None, []) => return fail(format!("the outcome of {entry} is not unknown")),
                (None, several) => {
                    let codes: Vec<_> = several.iter().map(Language::code).collect();
                    return fail(format!(
                        "the outcomes of several languages in {entry} are unknown ({}); name one",
                        codes.join(", ")
                    ));
                }
            };
            let job = JobLine { id: job.clone(), language: Some(language.clone()), status: None };
            Ok(Some(What::Adopted { entry: entry.clone(), job }))
        })?;
        if found { Ok(()) } else { Err(LedgerError::new(format!("the ledger has no {entry}"))) }
    }

    fn begin_now(&self, intent: &Intent) -> Result<Begin, LedgerError> {
        let mut begin = None;
        self.append(|contents| {
            if let Some(line) = contents.unreadable.first().filter(|_| !intent.allow_duplicate) {
                return Err(LedgerError::new(format!(
                    "line {line} of the ledger {} cannot be read, and may be a request that was paid for; repair \
                     or remove the line, or allow a duplicate",
                    self.path.display()
                )));
            }
            // The latest entry of a language counts.
            let known = |language: &Language| {
                contents.entries.iter().rev().find_map(|entry| {
                    let covers = |_: &_| intent.covers(language, &entry.base_url, &entry.request);
                    entry.known(language).filter(covers)
                })
            };
            let languages = intent.languages.iter().filter(|_| !intent.allow_duplicate);
            let known: Vec<_> = languages.filter_map(known).collect();
            if !known.is_empty() {
                begin = Some(Begin::AlreadyThere(known));
                return Ok(None);
            }
            let entry = new_id(contents);
            self.hold(&entry)?;
            begin = Some(Begin::Written(entry.clone()));
            Ok(Some(What::Intent {
                entry,
                base_url: intent.base_url.clone(),
                languages: intent.languages.clone(),
                request: intent.request.clone(),
            }))
        })
        .inspect_err(|_| {
            if let Some(Begin::Written(entry)) = &begin {
                self.release(entry);
            }
        })?;
        begin.ok_or_else(|| LedgerError::new("the ledger did not answer"))
    }

    fn record_now(&self, entry: EntryId, outcome: CreationOutcome) -> Result<(), LedgerError> {
        let held = entry.clone();
        let recorded = self.append(|_| {
            Ok(Some(match outcome {
                CreationOutcome::Created(jobs) => created(entry, &jobs),
                CreationOutcome::NotCreated(why) => What::NotCreated { entry, why },
                CreationOutcome::Unknown(why) => What::Unknown { entry, why },
            }))
        });
        self.release(&held);
        recorded
    }

    /// The file that is locked while a request is being made.
    fn lock_path(&self, entry: &EntryId) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        self.path.with_file_name(format!("{name}.{entry}.lock"))
    }

    fn hold(&self, entry: &EntryId) -> Result<(), LedgerError> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let held = options.open(self.lock_path(entry)).and_then(|file| {
            file.try_lock()?;
            Ok(file)
        });
        let held = held.map_err(|error| self.error("lock a request beside", error))?;
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).insert(entry.clone(), held);
        Ok(())
    }

    fn release(&self, entry: &EntryId) {
        if self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).remove(entry).is_some() {
            // A file that stays does no harm: nobody holds its lock.
            let _ = fs::remove_file(self.lock_path(entry));
        }
    }

    /// Returns whether a running process is making this request.
    fn is_in_flight(&self, entry: &EntryId) -> bool {
        if self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).contains_key(entry) {
            return true;
        }
        let Ok(file) = File::open(self.lock_path(entry)) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// Like [`append`](Self::append), but does nothing if the file does not exist.
    fn change(
        &self,
        decide: impl FnOnce(&Contents) -> Result<Option<What>, LedgerError>,
    ) -> Result<(), LedgerError> {
        if self.path.exists() { self.append(decide) } else { Ok(()) }
    }

    /// Reads, decides and appends under one lock. When this returns, either the whole line is on disk or
    /// nothing was written.
    fn append(
        &self,
        decide: impl FnOnce(&Contents) -> Result<Option<What>, LedgerError>,
    ) -> Result<(), LedgerError> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let is_new = !self.path.exists();
        if is_new {
            self.make_folder()?;
        }
        let mut file = options.open(&*self.path).map_err(|error| self.error("open", error))?;
        self.lock(|| file.try_lock())?;
        let contents = self.contents(&mut file)?;
        let Some(what) = decide(&contents)? else {
            return Ok(());
        };
        let mut text = serde_json::to_string(&Line::now(what)).map_err(LedgerError::new)? + "\n";
        if let Some(start) = contents.torn {
            file.set_len(start).map_err(|error| self.error("repair", error))?;
        }
        let length = file.seek(SeekFrom::End(0)).map_err(|error| self.error("read", error))?;
        if length > 0 && !self.ends_with_a_line(&mut file)? {
            text.insert(0, '\n');
        }
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // Try not to leave an incomplete line.
            let _ = file.set_len(length);
            return Err(self.error("write", error));
        }
        if is_new {
            self.sync_folder();
        }
        Ok(())
    }

    /// Takes a lock, and waits for a process that holds it.
    fn lock(&self, try_lock: impl Fn() -> Result<(), TryLockError>) -> Result<(), LedgerError> {
        let began = Instant::now();
        loop {
            match try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) if began.elapsed() < MAX_LOCK_WAIT => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(LedgerError::new(format!(
                        "another process has locked the ledger {}; try again when it has ended",
                        self.path.display()
                    )));
                }
                Err(TryLockError::Error(error)) => return Err(self.error("lock", error)),
            }
        }
    }

    fn make_folder(&self) -> Result<(), LedgerError> {
        let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
            return Ok(());
        };
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder).map_err(|error| {
            LedgerError::io(format!("cannot create the folder {} for the ledger", folder.display()), error)
        })
    }

    fn ends_with_a_line(&self, file: &mut File) -> Result<bool, LedgerError> {
        let mut last = [0];
        let read = file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last));
        read.map(|()| last == *b"\n").map_err(|error| self.error("read", error))
    }

    /// Makes the name of a new file survive a power failure. Not every system can sync a folder.
    fn sync_folder(&self) {
        #[cfg(unix)]
        if let Some(folder) = self.path.parent() {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let _ = File::open(folder).and_then(|folder| folder.sync_all());
        }
    }

    fn contents(&self, file: &mut File) -> Result<Contents, LedgerError> {
        let mut bytes = Vec::new();
        let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut bytes));
        read.map_err(|error| self.error("read", error))?;
        let mut reading = Reading::default();
        let mut start = 0;
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let here = start;
            start += line.len() as u64 + 1;
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match Line::parse(line) {
                Some(line) => reading.take(line),
                _ if is_later(line) => {
                    return Err(LedgerError::new(format!(
                        "a later version of this program has written {} (line {}); use that version",
                        self.path.display(),
                        index + 1
                    )));
                }
                // A last line without a line break was not completely written.
                _ if start > bytes.len() as u64 => reading.contents.torn = Some(here),
                _ => reading.contents.unreadable.push(index + 1),
            }
        }
        for entry in &mut reading.contents.entries {
            if matches!(entry.outcome, Outcome::Unknown { why: None }) && self.is_in_flight(&entry.id) {
                entry.outcome = Outcome::InFlight;
            }
        }
        Ok(reading.contents)
    }

    fn error(&self, verb: &str, error: io::Error) -> LedgerError {
        LedgerError::io(format!("cannot {verb} the ledger {}", self.path.display()), error)
    }
}

impl Ledger for LedgerFile {
    fn begin<'a>(&'a self, intent: &'a Intent) -> LedgerFuture<'a, Begin> {
        let (ledger, intent) = (self.clone(), intent.clone());
        Box::pin(async move { blocking(move || ledger.begin_now(&intent)).await })
    }

    fn abandon(&self, entry: &EntryId) {
        self.release(entry);
    }

    fn record<'a>(&'a self, entry: &'a EntryId, outcome: &'a CreationOutcome) -> LedgerFuture<'a, ()> {
        let (ledger, entry, outcome) = (self.clone(), entry.clone(), outcome.clone());
        Box::pin(async move { blocking(move || ledger.record_now(entry, outcome)).await })
    }
}

/// Runs blocking work on another thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, LedgerError> {
    tokio::task::spawn_blocking(work).await.map_err(LedgerError::new)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use akool::{Created, CreatedJob};
    use serde_json::{Value, json};

    fn ledger() -> (tempfile::TempDir, LedgerFile) {
        let folder = tempfile::tempdir().unwrap();
        let ledger = LedgerFile::at(folder.path().join("state/akool/ledger.jsonl"));
        (folder, ledger)
    }

    fn intent(languages: &[&str]) -> Intent {
        let languages: Vec<_> = languages.iter().map(|code| Language::from(*code)).collect();
        let joined: Vec<_> = languages.iter().map(Language::code).collect();
        let request = json!({"url": "https://a.example/v.mp4", "language": joined.join(",")});
        let Value::Object(request) = request else { panic!() };
        Intent::new("https://x", languages, request)
    }

    fn written(ledger: &LedgerFile, intent: &Intent) -> EntryId {
        match ledger.begin_now(intent).unwrap() {
            Begin::Written(entry) => entry,
            known => panic!("{known:?}"),
        }
    }

    fn created(jobs: &[(&str, &str)], unknown: &[&str]) -> CreationOutcome {
        let jobs = jobs
            .iter()
            .map(|(id, language)| {
                let mut job = CreatedJob::new(*id);
                job.language = Some((*language).into());
                job
            })
            .collect();
        let unknown = unknown.iter().map(|code| Language::from(*code)).collect();
        CreationOutcome::Created(Created::new(jobs, Vec::new(), unknown))
    }

    #[test]
    fn an_intent_without_an_outcome_is_unknown() {
        let (_folder, ledger) = ledger();
        assert!(ledger.read().unwrap().entries.is_empty());
        let id = written(&ledger, &intent(&["es"]));
        let entries = ledger.read().unwrap().entries;
        assert_eq!((entries.len(), &entries[0].id), (1, &id));
        assert_eq!(entries[0].outcome, Outcome::InFlight);
        let elsewhere = LedgerFile::at(ledger.path());
        assert_eq!(
            elsewhere.read().unwrap().entries[0].outcome,
            Outcome::InFlight,
            "other processes know it too"
        );
        assert!(elsewhere.forget(&id, None).unwrap_err().to_string().contains("running process"));
        // The process that made the request has died.
        drop(ledger.in_flight.lock().unwrap().drain());
        assert_eq!(elsewhere.read().unwrap().entries[0].outcome, Outcome::Unknown { why: None });
        assert_eq!(entries[0].url(), "https://a.example/v.mp4");
    }

    #[test]
    fn work_is_known_until_its_job_fails_or_is_forgotten() {
        let (_folder, ledger) = ledger();
        let first = written(&ledger, &intent(&["es", "fr", "ja"]));
        ledger.record_now(first.clone(), created(&[("1", "es"), ("2", "fr")], &["ja"])).unwrap();

        let known = |languages: &[&str]| match ledger.begin_now(&intent(languages)).unwrap() {
            Begin::AlreadyThere(work) => work.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            Begin::Written(entry) => {
                ledger.record_now(entry, CreationOutcome::NotCreated("a test".into())).unwrap();
                "free".to_owned()
            }
        };
        assert_eq!(known(&["es"]), "es is job 1");
        assert_eq!(known(&["de"]), "free");
        assert_eq!(known(&["de", "fr"]), "fr is job 2");
        assert_eq!(known(&["ja"]), format!("ja: outcome unknown (ledger entry {first})"));
        ledger.note(&"1".into(), Status::Processing).unwrap();
        assert_eq!(known(&["es"]), "es is job 1 (processing)");
        ledger.note(&"1".into(), Status::Failed).unwrap();
        assert_eq!(known(&["es"]), "free");
        assert!(ledger.forget(&first, Some(&"JA".into())).unwrap());
        assert!(ledger.forget(&first, Some(&"es".into())).is_err());
        assert_eq!(known(&["JA"]), "free");
        assert_eq!(known(&["fr"]), "fr is job 2", "its job stays");
        assert!(ledger.forget_job(&"2".into()).unwrap());
        assert_eq!(known(&["fr"]), "free");
        assert!(
            !ledger.forget(&"nobody".into(), None).unwrap() && !ledger.forget_job(&"nobody".into()).unwrap()
        );

        let mut other = intent(&["fr"]);
        other.request.insert("lipsync".into(), true.into());
        assert!(
            matches!(ledger.begin_now(&other).unwrap(), Begin::Written(_)),
            "another option is other work"
        );
        let duplicate = Intent { allow_duplicate: true, ..intent(&["es"]) };
        assert!(matches!(ledger.begin_now(&duplicate).unwrap(), Begin::Written(_)));
    }

    #[test]
    fn defaults_spelling_and_webhooks_do_not_make_other_work() {
        let (_folder, ledger) = ledger();
        let first = written(&ledger, &intent(&["es"]));
        ledger.record_now(first, created(&[("1", "es")], &[])).unwrap();
        for (name, value) in [
            ("url", json!("HTTPS://A.example:443/v.mp4#t=1")),
            ("lipsync", json!(false)),
            ("caption_type", json!(0)),
            ("speaker_num", json!(0)),
            ("source_language", json!("DEFAULT")),
            ("studio_voice", json!({"style": "professional"})),
            ("webhookUrl", json!("https://a.example/hook")),
            ("voices_map", json!({"fr": {"voice_id": "v"}})),
        ] {
            let mut same = intent(&["ES"]);
            same.request.insert(name.to_owned(), value);
            let begun = ledger.begin_now(&same).unwrap();
            assert!(matches!(begun, Begin::AlreadyThere(_)), "{name}");
        }
        for (name, value) in [
            ("url", json!("https://a.example/v.mp4?v=2")),
            ("lipsync", json!(true)),
            ("voices_map", json!({"ES": {"voice_id": "v"}})),
        ] {
            let mut other = intent(&["es"]);
            other.request.insert(name.to_owned(), value);
            let begun = ledger.begin_now(&other).unwrap();
            assert!(matches!(begun, Begin::Written(_)), "{name}");
        }
    }

    #[test]
    fn an_adopted_job_is_known_work() {
        let (_folder, ledger) = ledger();
        let first = written(&ledger, &intent(&["es", "fr"]));
        ledger.record_now(first.clone(), CreationOutcome::Unknown("a test".into())).unwrap();
        let several = ledger.adopt(&first, None, &"1".into()).unwrap_err().to_string();
        assert!(several.contains("(es, fr); name one"), "{several}");
        ledger.adopt(&first, Some(&"ES".into()), &"1".into()).unwrap();
        ledger.adopt(&first, None, &"2".into()).unwrap();
        assert!(ledger.adopt(&first, None, &"3".into()).unwrap_err().to_string().contains("is not unknown"));
        assert!(ledger.adopt(&"nobody".into(), None, &"3".into()).is_err());
        match ledger.begin_now(&intent(&["es", "fr"])).unwrap() {
            Begin::AlreadyThere(work) => {
                assert!(work.iter().map(|work| work.job.as_ref().unwrap().as_str()).eq(["1", "2"]));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_late_outcome_overrides_an_earlier_forget() {
        let (_folder, ledger) = ledger();
        let first = written(&ledger, &intent(&["es"]));
        // As another process does that takes this one for dead.
        let forgotten = What::Forgotten { entry: first.clone(), job: None, languages: vec!["es".into()] };
        ledger.append(|_| Ok(Some(forgotten))).unwrap();
        ledger.record_now(first, created(&[("1", "es")], &[])).unwrap();
        assert!(matches!(ledger.begin_now(&intent(&["es"])).unwrap(), Begin::AlreadyThere(_)));
    }

    #[test]
    fn a_status_is_stored_for_every_entry_of_the_job() {
        let (_folder, ledger) = ledger();
        let first = written(&ledger, &intent(&["es", "fr"]));
        ledger.record_now(first, created(&[("1", "es"), ("1", "fr")], &[])).unwrap();
        ledger.note(&"1".into(), Status::Completed).unwrap();
        let contents = ledger.read().unwrap();
        assert!(contents.entries[0].jobs().iter().all(|job| job.status == Some(Status::Completed)));
    }

    #[test]
    fn a_cut_off_line_does_not_affect_the_others() {
        let (_folder, ledger) = ledger();
        let first = written(&ledger, &intent(&["es"]));
        ledger.record_now(first, created(&[("1", "es")], &[])).unwrap();
        let whole = fs::read(ledger.path()).unwrap();
        for cut in 0..whole.len() {
            fs::write(ledger.path(), &whole[..cut]).unwrap();
            let before = ledger.read().unwrap();
            assert!(before.unreadable.is_empty(), "cut at {cut}");
            let second = written(&ledger, &intent(&["fr"]));
            let after = ledger.read().unwrap();
            assert_eq!(after.entries.len(), before.entries.len() + 1, "cut at {cut}");
            assert_eq!(after.entries.last().unwrap().id, second, "cut at {cut}");
            assert!(after.unreadable.is_empty() && after.torn.is_none(), "cut at {cut}");
        }
    }

    #[test]
    fn a_damaged_line_blocks_requests_that_may_be_duplicates() {
        let (_folder, ledger) = ledger();
        written(&ledger, &intent(&["es"]));
        written(&ledger, &intent(&["fr"]));
        let text = fs::read_to_string(ledger.path()).unwrap();
        fs::write(ledger.path(), text.replacen("intent", "int\u{0}nt", 1)).unwrap();
        let error = ledger.begin_now(&intent(&["es"])).unwrap_err().to_string();
        assert!(error.contains("line 1 of the ledger") && error.contains("allow a duplicate"), "{error}");
        written(&ledger, &Intent { allow_duplicate: true, ..intent(&["es"]) });
    }

    #[test]
    fn an_outcome_whose_intent_is_unreadable_keeps_its_jobs() {
        let (_folder, ledger) = ledger();
        let first = written(&ledger, &intent(&["es"]));
        ledger.record_now(first, created(&[("1", "es")], &[])).unwrap();
        let text = fs::read_to_string(ledger.path()).unwrap();
        fs::write(ledger.path(), text.replacen('{', "<", 1)).unwrap();
        let contents = ledger.read().unwrap();
        assert_eq!(contents.unreadable, [1]);
        assert_eq!(contents.entries[0].jobs()[0].id.as_str(), "1");
    }

    #[test]
    fn a_later_version_is_an_error_and_other_text_is_unreadable_lines() {
        let (_folder, ledger) = ledger();
        ledger.make_folder().unwrap();
        fs::write(ledger.path(), "{\"v\":2,\"at\":1,\"news\":{}}\n").unwrap();
        let error = ledger.read().unwrap_err().to_string();
        assert!(error.contains("later version") && error.contains("line 1"), "{error}");
        fs::write(ledger.path(), b"\xff\xfe\nnull\n[]\n{\"v\":1}\n\n").unwrap();
        assert_eq!(ledger.read().unwrap().unreadable, [1, 2, 3, 4]);
        fs::remove_file(ledger.path()).unwrap();
        fs::create_dir(ledger.path()).unwrap();
        let error = ledger.begin_now(&intent(&["es"])).unwrap_err().to_string();
        assert!(error.contains("cannot open the ledger"), "{error}");
    }

    #[test]
    fn several_writers_share_one_file() {
        let (_folder, ledger) = ledger();
        let work = intent(&["es"]);
        let begun: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| ledger.begin_now(&work).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let written = begun.iter().filter(|begin| matches!(begin, Begin::Written(_))).count();
        assert_eq!(written, 1, "one of them makes the request");
        assert!(ledger.read().unwrap().unreadable.is_empty());
    }

    #[test]
    fn files_of_earlier_versions_are_read() {
        let (_folder, ledger) = ledger();
        ledger.make_folder().unwrap();
        let lines = [
            json!({"v": 1, "at": 1_700_000_000_000_u64, "intent": {"entry": "t1", "base_url": "https://x",
                "languages": ["es", "fr", "ja"], "request": {"url": "https://a.example/v.mp4",
                "language": "es,fr,ja", "voices_map": {"es": {"voice_id": "v"}}}}}),
            json!({"v": 1, "at": 1_700_000_000_001_u64, "created": {"entry": "t1",
                "jobs": [{"id": "1", "language": "es", "status": 1}],
                "refused": [{"language": "fr", "code": 1003, "message": "no"}], "unclear": ["ja"]}}),
            json!({"v": 1, "at": 1_700_000_000_002_u64, "seen": {"job": "1", "status": 2}}),
            json!({"v": 1, "at": 1_700_000_000_003_u64, "forgotten": {"entry": "t1", "languages": ["ja"]}}),
            json!({"v": 1, "at": 1_700_000_000_004_u64, "adopted": {"entry": "t1",
                "job": {"id": "2", "language": "ja"}}}),
            json!({"v": 1, "at": 1_700_000_000_005_u64, "not_created": {"entry": "t2", "why": "w"}}),
            json!({"v": 1, "at": 1_700_000_000_006_u64, "unknown": {"entry": "t3", "why": "w"}}),
        ];
        fs::write(ledger.path(), lines.map(|line| format!("{line}\n")).concat()).unwrap();
        let Contents { entries, unreadable, .. } = ledger.read().unwrap();
        assert!(unreadable.is_empty(), "{unreadable:?}");
        let Outcome::Created { jobs, rejected, unknown } = &entries[0].outcome else { panic!() };
        assert_eq!((jobs[0].status, jobs[1].id.as_str()), (Some(Status::Processing), "2"));
        assert_eq!((rejected[0].code.0, unknown.len(), entries[0].forgotten.len()), (1003, 0, 1));
        assert_eq!(entries[1].outcome, Outcome::NotCreated { why: "w".into() });
        assert_eq!(entries[2].outcome, Outcome::Unknown { why: Some("w".into()) });

        // A request with a voice is other work, in that language only.
        let plain = intent(&["es", "ja"]);
        assert!(plain.covers(&"ja".into(), "https://x", &entries[0].request));
        assert!(!plain.covers(&"es".into(), "https://x", &entries[0].request));
    }

    #[test]
    fn the_names_in_the_file_do_not_change() {
        let (_folder, ledger) = ledger();
        let entry = written(&ledger, &intent(&["es", "fr", "ja"]));
        let CreationOutcome::Created(mut outcome) = created(&[("1", "es")], &["ja"]) else { panic!() };
        outcome.rejected.push(akool::Rejection::new(akool::BusinessCode(1003), "no"));
        ledger.record_now(entry, CreationOutcome::Created(outcome)).unwrap();
        let text = fs::read_to_string(ledger.path()).unwrap();
        for part in [
            r#""intent":{"entry":"#,
            r#""base_url":"https://x""#,
            r#""created":{"entry":"#,
            r#""jobs":[{"id":"1","language":"es"}]"#,
            r#""refused":[{"code":1003,"message":"no"}]"#,
            r#""unclear":["ja"]"#,
        ] {
            assert!(text.contains(part), "no {part} in {text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn only_the_user_can_read_the_file() {
        use std::os::unix::fs::PermissionsExt;

        let (_folder, ledger) = ledger();
        written(&ledger, &intent(&["es"]));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(ledger.path()), 0o600);
        assert_eq!(mode(ledger.path().parent().unwrap()), 0o700);
    }
}
