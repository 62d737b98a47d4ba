//! A ledger in a file: [`LedgerFile`].
//!
//! One JSON object a line, only ever appended: intents, outcomes, and what was seen of the jobs since.
//! A line is written under an exclusive lock and synced before the lock goes, so several processes can
//! share the file. A last line that was cut off by a crash is passed over, and removed by the next
//! writer: an intent cut off was never sent, an outcome cut off leaves its intent without one. While a
//! request is on its way, its process holds a lock beside the ledger, so that others can tell a request
//! that is being made from one whose process is gone.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{
    Begin, CreationOutcome, EntryId, Intent, Ledger, LedgerError, LedgerFuture,
    entry::{Contents, Entry, Outcome},
    lines::{JobLine, Line, Reading, What, created, is_later, new_id},
};
use crate::{JobId, Language, Status};

/// How long another process may hold the file: it is held for one reading and one line.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// A ledger in a file that several processes can share. Cheap to clone.
///
/// ```no_run
/// # async fn example(client: akool::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use akool::ledger::LedgerFile;
///
/// let ledger = Arc::new(LedgerFile::at("state/ledger.jsonl"));
/// client.translate("https://example.com/talk.mp4").to(["es"]).ledger(ledger.clone()).send().await?;
/// for entry in ledger.read()?.entries {
///     println!("{}: {:?}", entry.id, entry.outcome);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LedgerFile {
    path: Arc<Path>,
    /// The locks of this process's requests that are on their way.
    asking: Arc<Mutex<HashMap<EntryId, File>>>,
}

impl LedgerFile {
    /// A ledger in this file. The file comes with the first entry, and its folder where that is
    /// missing, both for this user only.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into().into(), asking: Arc::default() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads everything. A file that is not there is an empty ledger.
    ///
    /// # Errors
    /// When it cannot be read, is held by another process for more than 10 seconds, or was written by a
    /// later version of this library.
    pub fn read(&self) -> Result<Contents, LedgerError> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contents::default()),
            Err(error) => return Err(self.error("read", error)),
        };
        self.lock(|| file.try_lock_shared())?;
        self.contents(&mut file)
    }

    /// Writes down where a job stands. Of jobs that the ledger does not have, nothing is written.
    ///
    /// # Errors
    /// When it cannot be read or written; see [`read`](Self::read).
    pub fn note(&self, job: &JobId, status: Status) -> Result<(), LedgerError> {
        self.change(|contents| {
            let jobs = || contents.entries.iter().flat_map(Entry::jobs).filter(|known| known.id == *job);
            let news = jobs().any(|known| known.status != Some(status));
            Ok(news.then(|| What::Seen { job: job.clone(), status }))
        })
    }

    /// Says that a job is of no interest any more: its work is not there already, and it is not pending.
    /// True where the ledger has the job.
    ///
    /// # Errors
    /// When it cannot be read or written; see [`read`](Self::read).
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

    /// Says that what is unknown of a request, or of one language of it, is of no interest any more:
    /// somebody has found out that nothing came of it. Its jobs stay. True where the ledger has the
    /// request.
    ///
    /// # Errors
    /// When a process that lives is making the request, nothing is unknown of the language, or the ledger
    /// cannot be read or written; see [`read`](Self::read).
    pub fn forget(&self, entry: &EntryId, language: Option<&Language>) -> Result<bool, LedgerError> {
        let mut found = false;
        self.change(|contents| {
            let Some(known) = contents.entries.iter().find(|known| known.id == *entry) else {
                return Ok(None);
            };
            found = true;
            if known.outcome == Outcome::InFlight {
                return Err(LedgerError::new(format!(
                    "{entry} is being asked for just now; wait for its outcome"
                )));
            }
            let meant = |unknown: &&Language| language.is_none_or(|language| language.is(unknown));
            let languages: Vec<_> = known.unknown().iter().filter(meant).cloned().collect();
            match language {
                Some(language) if languages.is_empty() => {
                    Err(LedgerError::new(format!("nothing is unknown of {language} in {entry}")))
                }
                _ => Ok(Some(What::Forgotten { entry: entry.clone(), job: None, languages })),
            }
        })?;
        Ok(found)
    }

    /// Says that a job came of a request whose outcome was unknown: somebody has found it. Its language
    /// may be left out where only one is unknown.
    ///
    /// # Errors
    /// When the ledger does not have the request, nothing of it or several languages are unknown, or the
    /// ledger cannot be read or written; see [`read`](Self::read).
    pub fn adopt(
        &self,
        entry: &EntryId,
        language: Option<&Language>,
        job: &JobId,
    ) -> Result<(), LedgerError> {
        let refuse = |why: String| Err(LedgerError::new(why));
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
                    None => return refuse(format!("nothing is unknown of {language} in {entry}")),
                },
                (None, [only]) => only,
                (None, []) => return refuse(format!("nothing is unknown of {entry}")),
                (None, several) => {
                    let codes: Vec<_> = several.iter().map(Language::code).collect();
                    return refuse(format!(
                        "several languages of {entry} are unknown ({}); name one",
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
            if let Some(line) = contents.unreadable.first().filter(|_| !intent.again) {
                return Err(LedgerError::new(format!(
                    "line {line} of the ledger {} cannot be read, and may be a request that was paid for; mend \
                     or remove the line, or ask for the work `again`",
                    self.path.display()
                )));
            }
            // The latest word on a language counts.
            let known = |language: &Language| {
                let mut same = contents
                    .entries
                    .iter()
                    .rev()
                    .filter(|entry| intent.covers(language, &entry.base_url, &entry.request));
                same.find_map(|entry| entry.known(language))
            };
            let known: Vec<_> = intent.languages.iter().filter(|_| !intent.again).filter_map(known).collect();
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
        begin.ok_or_else(|| LedgerError::new("the ledger was not asked"))
    }

    fn record_now(&self, entry: EntryId, outcome: CreationOutcome) -> Result<(), LedgerError> {
        let held = entry.clone();
        let recorded = self.append(|_| {
            Ok(Some(match outcome {
                CreationOutcome::Created(creation) => created(entry, &creation),
                CreationOutcome::NotCreated(why) => What::NotCreated { entry, why },
                CreationOutcome::Unknown(why) => What::Unknown { entry, why },
            }))
        });
        self.release(&held);
        recorded
    }

    /// The file whose lock says that a request is being made.
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
        self.asking.lock().unwrap_or_else(PoisonError::into_inner).insert(entry.clone(), held);
        Ok(())
    }

    fn release(&self, entry: &EntryId) {
        if self.asking.lock().unwrap_or_else(PoisonError::into_inner).remove(entry).is_some() {
            // One that stays says nothing: nobody holds its lock.
            let _ = fs::remove_file(self.lock_path(entry));
        }
    }

    /// Whether a process that lives is making this request.
    fn is_asking(&self, entry: &EntryId) -> bool {
        if self.asking.lock().unwrap_or_else(PoisonError::into_inner).contains_key(entry) {
            return true;
        }
        let Ok(file) = File::open(self.lock_path(entry)) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// Like [`append`](Self::append), of a ledger that is there.
    fn change(
        &self,
        decide: impl FnOnce(&Contents) -> Result<Option<What>, LedgerError>,
    ) -> Result<(), LedgerError> {
        if self.path.exists() { self.append(decide) } else { Ok(()) }
    }

    /// Reads, decides and appends under one lock. What is appended is on the disk when this returns,
    /// and either all of it or nothing.
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
            file.set_len(start).map_err(|error| self.error("mend", error))?;
        }
        let length = file.seek(SeekFrom::End(0)).map_err(|error| self.error("read", error))?;
        if length > 0 && !self.ends_with_a_line(&mut file)? {
            text.insert(0, '\n');
        }
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // Nothing half-written stays, as far as that can be helped.
            let _ = file.set_len(length);
            return Err(self.error("write", error));
        }
        if is_new {
            self.sync_folder();
        }
        Ok(())
    }

    /// Takes a lock, for which others are given time to let go.
    fn lock(&self, try_lock: impl Fn() -> Result<(), TryLockError>) -> Result<(), LedgerError> {
        let began = Instant::now();
        loop {
            match try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) if began.elapsed() < MAX_WAIT => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(LedgerError::new(format!(
                        "the ledger {} is held by another process; try again when it has ended",
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
            LedgerError::io(format!("cannot make the folder {} for the ledger", folder.display()), error)
        })
    }

    fn ends_with_a_line(&self, file: &mut File) -> Result<bool, LedgerError> {
        let mut last = [0];
        let read = file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last));
        read.map(|()| last == *b"\n").map_err(|error| self.error("read", error))
    }

    /// So that the file's name survives a power failure too. Not every system can do that.
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
            match Line::read(line) {
                Some(line) => reading.take(line),
                _ if is_later(line) => {
                    return Err(LedgerError::new(format!(
                        "{} was written by a later version of this program (line {}); use that one",
                        self.path.display(),
                        index + 1
                    )));
                }
                // Without a line break behind it, it was being written.
                _ if start > bytes.len() as u64 => reading.contents.torn = Some(here),
                _ => reading.contents.unreadable.push(index + 1),
            }
        }
        for entry in &mut reading.contents.entries {
            if matches!(entry.outcome, Outcome::Unknown { why: None }) && self.is_asking(&entry.id) {
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

/// Waiting for the disk holds up nobody else.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, LedgerError> {
    tokio::task::spawn_blocking(work).await.map_err(LedgerError::new)?
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{CreatedJob, Creation};

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

    fn creation(jobs: &[(&str, &str)], unclear: &[&str]) -> CreationOutcome {
        let jobs = jobs
            .iter()
            .map(|(id, language)| CreatedJob { language: Some((*language).into()), ..CreatedJob::new(*id) })
            .collect();
        let unclear = unclear.iter().map(|code| Language::from(*code)).collect();
        CreationOutcome::Created(Creation::new(jobs, Vec::new(), unclear))
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
        assert_eq!(elsewhere.read().unwrap().entries[0].outcome, Outcome::InFlight, "told across processes");
        assert!(elsewhere.forget(&id, None).unwrap_err().to_string().contains("just now"));
        // The process that asked is gone.
        drop(ledger.asking.lock().unwrap().drain());
        assert_eq!(elsewhere.read().unwrap().entries[0].outcome, Outcome::Unknown { why: None });
        assert_eq!(entries[0].url(), "https://a.example/v.mp4");
    }

    #[test]
    fn the_same_work_is_there_already_until_it_failed_or_is_forgotten() {
        let (_folder, ledger) = ledger();
        let first = written(&ledger, &intent(&["es", "fr", "ja"]));
        ledger.record_now(first.clone(), creation(&[("1", "es"), ("2", "fr")], &["ja"])).unwrap();

        let there = |languages: &[&str]| match ledger.begin_now(&intent(languages)).unwrap() {
            Begin::AlreadyThere(work) => work.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            Begin::Written(entry) => {
                ledger.record_now(entry, CreationOutcome::NotCreated("a test".into())).unwrap();
                "free".to_owned()
            }
        };
        assert_eq!(there(&["es"]), "es is job 1");
        assert_eq!(there(&["de"]), "free");
        assert_eq!(there(&["de", "fr"]), "fr is job 2");
        assert_eq!(there(&["ja"]), format!("ja: outcome unknown (ledger entry {first})"));
        ledger.note(&"1".into(), Status::Processing).unwrap();
        assert_eq!(there(&["es"]), "es is job 1 (processing)");
        ledger.note(&"1".into(), Status::Failed).unwrap();
        assert_eq!(there(&["es"]), "free");
        assert!(ledger.forget(&first, Some(&"JA".into())).unwrap());
        assert!(ledger.forget(&first, Some(&"es".into())).is_err());
        assert_eq!(there(&["JA"]), "free");
        assert_eq!(there(&["fr"]), "fr is job 2", "what is known stays");
        assert!(ledger.forget_job(&"2".into()).unwrap());
        assert_eq!(there(&["fr"]), "free");
        assert!(
            !ledger.forget(&"nobody".into(), None).unwrap() && !ledger.forget_job(&"nobody".into()).unwrap()
        );

        let mut other = intent(&["fr"]);
        other.request.insert("lipsync".into(), true.into());
        assert!(matches!(ledger.begin_now(&other).unwrap(), Begin::Written(_)), "another option, other work");
        let again = Intent { again: true, ..intent(&["es"]) };
        assert!(matches!(ledger.begin_now(&again).unwrap(), Begin::Written(_)));
    }

    #[test]
    fn what_means_the_same_is_the_same_work() {
        let (_folder, ledger) = ledger();
        let first = written(&ledger, &intent(&["es"]));
        ledger.record_now(first, creation(&[("1", "es")], &[])).unwrap();
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
    fn a_job_that_somebody_found_is_adopted() {
        let (_folder, ledger) = ledger();
        let first = written(&ledger, &intent(&["es", "fr"]));
        ledger.record_now(first.clone(), CreationOutcome::Unknown("a test".into())).unwrap();
        let several = ledger.adopt(&first, None, &"1".into()).unwrap_err().to_string();
        assert!(several.contains("(es, fr); name one"), "{several}");
        ledger.adopt(&first, Some(&"ES".into()), &"1".into()).unwrap();
        ledger.adopt(&first, None, &"2".into()).unwrap();
        assert!(
            ledger.adopt(&first, None, &"3".into()).unwrap_err().to_string().contains("nothing is unknown")
        );
        assert!(ledger.adopt(&"nobody".into(), None, &"3".into()).is_err());
        match ledger.begin_now(&intent(&["es", "fr"])).unwrap() {
            Begin::AlreadyThere(work) => {
                assert!(work.iter().map(|work| work.job.as_ref().unwrap().as_str()).eq(["1", "2"]));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_outcome_that_comes_late_undoes_what_was_said_before_it() {
        let (_folder, ledger) = ledger();
        let first = written(&ledger, &intent(&["es"]));
        // As by a process that takes it for dead.
        let forgotten = What::Forgotten { entry: first.clone(), job: None, languages: vec!["es".into()] };
        ledger.append(|_| Ok(Some(forgotten))).unwrap();
        ledger.record_now(first, creation(&[("1", "es")], &[])).unwrap();
        assert!(matches!(ledger.begin_now(&intent(&["es"])).unwrap(), Begin::AlreadyThere(_)));
    }

    #[test]
    fn a_job_that_is_there_twice_is_seen_twice() {
        let (_folder, ledger) = ledger();
        let first = written(&ledger, &intent(&["es", "fr"]));
        ledger.record_now(first, creation(&[("1", "es"), ("1", "fr")], &[])).unwrap();
        ledger.note(&"1".into(), Status::Completed).unwrap();
        let contents = ledger.read().unwrap();
        assert!(contents.entries[0].jobs().iter().all(|job| job.status == Some(Status::Completed)));
    }

    #[test]
    fn a_line_that_was_cut_off_loses_nothing_else() {
        let (_folder, ledger) = ledger();
        let first = written(&ledger, &intent(&["es"]));
        ledger.record_now(first, creation(&[("1", "es")], &[])).unwrap();
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
    fn a_line_that_is_damaged_holds_up_what_might_be_paid_twice() {
        let (_folder, ledger) = ledger();
        written(&ledger, &intent(&["es"]));
        written(&ledger, &intent(&["fr"]));
        let text = fs::read_to_string(ledger.path()).unwrap();
        fs::write(ledger.path(), text.replacen("intent", "int\u{0}nt", 1)).unwrap();
        let error = ledger.begin_now(&intent(&["es"])).unwrap_err().to_string();
        assert!(error.contains("line 1 of the ledger") && error.contains("`again`"), "{error}");
        written(&ledger, &Intent { again: true, ..intent(&["es"]) });
    }

    #[test]
    fn an_outcome_whose_intent_is_unreadable_keeps_its_jobs() {
        let (_folder, ledger) = ledger();
        let first = written(&ledger, &intent(&["es"]));
        ledger.record_now(first, creation(&[("1", "es")], &[])).unwrap();
        let text = fs::read_to_string(ledger.path()).unwrap();
        fs::write(ledger.path(), text.replacen('{', "<", 1)).unwrap();
        let contents = ledger.read().unwrap();
        assert_eq!(contents.unreadable, [1]);
        assert_eq!(contents.entries[0].jobs()[0].id.as_str(), "1");
    }

    #[test]
    fn a_later_version_and_other_files_are_refused_or_passed_over_by_line() {
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
        assert_eq!(written, 1, "one of them asks");
        assert!(ledger.read().unwrap().unreadable.is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_reads_it() {
        use std::os::unix::fs::PermissionsExt;

        let (_folder, ledger) = ledger();
        written(&ledger, &intent(&["es"]));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(ledger.path()), 0o600);
        assert_eq!(mode(ledger.path().parent().unwrap()), 0o700);
    }
}
