//! A ledger in a file: [`LedgerFile`].
//!
//! One JSON object a line, only ever appended: intents, outcomes, and what was seen of the jobs since.
//! A line is written under an exclusive lock and synced before the lock goes, so several processes can
//! share the file. A line that was cut off by a crash is passed over: an intent cut off was never sent,
//! an outcome cut off leaves its intent without one.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Begin, EntryId, Intent, KnownWork, Ledger, LedgerError, LedgerFuture, Settlement};
use crate::{Creation, JobId, Language, Status, translate::Refusal};

/// The version of the lines that this code writes.
const VERSION: u32 = 1;

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
}

/// Everything in a ledger.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Contents {
    /// The requests, oldest first.
    pub entries: Vec<Entry>,
    /// The numbers of lines that could not be read, from 1. A crash leaves at most one at a time.
    pub unreadable: Vec<usize>,
}

/// A request, and what is known of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// Under what the ledger has it.
    pub id: EntryId,
    /// When it was asked for.
    pub at: SystemTime,
    /// The service's address.
    pub base_url: String,
    /// The target languages.
    pub languages: Vec<Language>,
    /// The request's members as they were sent. The source's link may be signed: guard it.
    pub request: Map<String, Value>,
    /// What became of it.
    pub outcome: Outcome,
    /// Whether somebody said that it is of no interest any more.
    pub forgotten: bool,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// Nobody knows: jobs may have been created and paid for.
    Unknown {
        /// Why, where the process that asked lived to say it.
        why: Option<String>,
    },
    /// Jobs were created.
    Created {
        /// The jobs.
        jobs: Vec<LedgerJob>,
        /// The languages that were refused.
        refused: Vec<Refusal>,
        /// The languages of which the answer said nothing clear.
        unclear: Vec<Language>,
    },
    /// Nothing was created.
    NotCreated {
        /// Why.
        why: String,
    },
}

/// A job that was created, and what was seen of it since.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LedgerJob {
    /// The job's id.
    pub id: JobId,
    /// Its target language, where the answer told which of several it was.
    pub language: Option<Language>,
    /// Where it stood when it was last seen.
    pub status: Option<Status>,
    /// When that was.
    pub seen: Option<SystemTime>,
}

impl Entry {
    /// The link to the source, as it was sent.
    pub fn url(&self) -> &str {
        self.request.get("url").and_then(Value::as_str).unwrap_or_default()
    }

    /// The jobs that were created.
    pub fn jobs(&self) -> &[LedgerJob] {
        match &self.outcome {
            Outcome::Created { jobs, .. } => jobs,
            _ => &[],
        }
    }

    /// What of its work is there already, by language: failed jobs are not.
    fn known(&self, language: &Language) -> Option<KnownWork> {
        let known = |job: Option<&LedgerJob>| KnownWork {
            entry: self.id.clone(),
            at: self.at,
            language: language.clone(),
            job: job.map(|job| job.id.clone()),
            status: job.and_then(|job| job.status),
        };
        match &self.outcome {
            _ if self.forgotten => None,
            Outcome::NotCreated { .. } => None,
            Outcome::Unknown { .. } => self.languages.contains(language).then(|| known(None)),
            Outcome::Created { jobs, unclear, .. } => {
                let job = jobs.iter().find(|job| job.language.as_ref() == Some(language));
                match job {
                    Some(job) if job.status == Some(Status::Failed) => None,
                    Some(job) => Some(known(Some(job))),
                    None => unclear.contains(language).then(|| known(None)),
                }
            }
        }
    }
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    v: u32,
    /// Milliseconds since 1970.
    at: u64,
    #[serde(flatten)]
    what: What,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Intent { entry: EntryId, base_url: String, languages: Vec<Language>, request: Map<String, Value> },
    Created { entry: EntryId, creation: Creation },
    NotCreated { entry: EntryId, why: String },
    Unknown { entry: EntryId, why: String },
    Seen { job: JobId, status: Status },
    Forgotten { entry: EntryId },
}

impl LedgerFile {
    /// A ledger in this file. The file comes with the first entry, and its folder where that is
    /// missing, both for this user only.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into().into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads everything. A file that is not there is an empty ledger.
    ///
    /// # Errors
    /// When it cannot be read, or was written by a later version of this library.
    pub fn read(&self) -> Result<Contents, LedgerError> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contents::default()),
            Err(error) => return Err(self.error("read", error)),
        };
        file.lock_shared().map_err(|error| self.error("lock", error))?;
        self.contents(&mut file)
    }

    /// Writes down where a job stands. Of jobs that the ledger does not have, nothing is written.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn note(&self, job: &JobId, status: Status) -> Result<(), LedgerError> {
        if !self.path.exists() {
            return Ok(());
        }
        self.append(|contents| {
            let mut jobs = contents.entries.iter().flat_map(Entry::jobs);
            let known = jobs.find(|known| known.id == *job)?;
            (known.status != Some(status)).then(|| What::Seen { job: job.clone(), status })
        })
        .map(drop)
    }

    /// Says that a request is of no interest any more: its work is not there already, and it is not
    /// pending. True where there is such a request.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn forget(&self, entry: &EntryId) -> Result<bool, LedgerError> {
        let mut found = false;
        if !self.path.exists() {
            return Ok(found);
        }
        self.append(|contents| {
            let known = contents.entries.iter().find(|known| known.id == *entry)?;
            found = true;
            (!known.forgotten).then(|| What::Forgotten { entry: entry.clone() })
        })?;
        Ok(found)
    }

    fn begin_now(&self, intent: &Intent) -> Result<Begin, LedgerError> {
        let mut begin = None;
        self.append(|contents| {
            let known: Vec<_> = if intent.again {
                Vec::new()
            } else {
                // The latest word on a language counts.
                let known = |language: &Language| {
                    let mut same = contents
                        .entries
                        .iter()
                        .rev()
                        .filter(|entry| intent.covers(language, &entry.base_url, &entry.request));
                    same.find_map(|entry| entry.known(language))
                };
                intent.languages.iter().filter_map(known).collect()
            };
            if !known.is_empty() {
                begin = Some(Begin::AlreadyThere(known));
                return None;
            }
            let entry = new_id(contents);
            begin = Some(Begin::Written(entry.clone()));
            Some(What::Intent {
                entry,
                base_url: intent.base_url.clone(),
                languages: intent.languages.clone(),
                request: intent.request.clone(),
            })
        })?;
        begin.ok_or_else(|| LedgerError::new("the ledger was not asked"))
    }

    fn settle_now(&self, entry: EntryId, outcome: Settlement) -> Result<(), LedgerError> {
        self.append(|_| {
            Some(match outcome {
                Settlement::Created(creation) => What::Created { entry, creation },
                Settlement::NotCreated(why) => What::NotCreated { entry, why },
                Settlement::Unknown(why) => What::Unknown { entry, why },
            })
        })
    }

    /// Reads, decides and appends under one lock. What is appended is on the disk when this returns,
    /// and either all of it or nothing.
    fn append(&self, decide: impl FnOnce(&Contents) -> Option<What>) -> Result<(), LedgerError> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let is_new = !self.path.exists();
        if is_new {
            self.make_folder()?;
        }
        let mut file = options.open(&*self.path).map_err(|error| self.error("open", error))?;
        file.lock().map_err(|error| self.error("lock", error))?;
        let contents = self.contents(&mut file)?;
        let Some(what) = decide(&contents) else {
            return Ok(());
        };
        let line = Line { v: VERSION, at: millis(SystemTime::now()), what };
        let mut text = serde_json::to_string(&line).map_err(LedgerError::new)? + "\n";
        let length = file.seek(SeekFrom::End(0)).map_err(|error| self.error("read", error))?;
        if length > 0 && !self.ends_with_a_line(&mut file)? {
            // What a crash cut off stays on a line of its own.
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
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match serde_json::from_slice::<Line>(line) {
                Ok(line) if line.v == VERSION => reading.take(line),
                _ if is_later(line) => {
                    return Err(LedgerError::new(format!(
                        "{} was written by a later version of this program (line {}); use that one",
                        self.path.display(),
                        index + 1
                    )));
                }
                _ => reading.contents.unreadable.push(index + 1),
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

    fn settle<'a>(&'a self, entry: &'a EntryId, outcome: &'a Settlement) -> LedgerFuture<'a, ()> {
        let (ledger, entry, outcome) = (self.clone(), entry.clone(), outcome.clone());
        Box::pin(async move { blocking(move || ledger.settle_now(entry, outcome)).await })
    }
}

/// Waiting for the disk holds up nobody else.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, LedgerError> {
    tokio::task::spawn_blocking(work).await.map_err(LedgerError::new)?
}

/// Entries as they come together, line by line.
#[derive(Default)]
struct Reading {
    contents: Contents,
    /// Where each entry is, and each job: entry and place.
    entries: HashMap<EntryId, usize>,
    jobs: HashMap<JobId, (usize, usize)>,
}

impl Reading {
    fn take(&mut self, line: Line) {
        let at = time(line.at);
        match line.what {
            What::Intent { entry, base_url, languages, request } => {
                let index = self.entry(entry, at);
                let known = &mut self.contents.entries[index];
                (known.base_url, known.languages, known.request) = (base_url, languages, request);
            }
            What::Created { entry, creation } => {
                let index = self.entry(entry, at);
                let (jobs, refused, unclear) = creation.into_parts();
                let jobs: Vec<_> = jobs
                    .into_iter()
                    .map(|job| LedgerJob {
                        id: job.id,
                        language: job.language,
                        status: job.status,
                        seen: job.status.map(|_| at),
                    })
                    .collect();
                for (place, job) in jobs.iter().enumerate() {
                    self.jobs.insert(job.id.clone(), (index, place));
                }
                self.contents.entries[index].outcome = Outcome::Created { jobs, refused, unclear };
            }
            What::NotCreated { entry, why } => {
                let index = self.entry(entry, at);
                self.contents.entries[index].outcome = Outcome::NotCreated { why };
            }
            What::Unknown { entry, why } => {
                let index = self.entry(entry, at);
                self.contents.entries[index].outcome = Outcome::Unknown { why: Some(why) };
            }
            What::Seen { job, status } => {
                if let Some((entry, place)) = self.jobs.get(&job)
                    && let Outcome::Created { jobs, .. } = &mut self.contents.entries[*entry].outcome
                {
                    (jobs[*place].status, jobs[*place].seen) = (Some(status), Some(at));
                }
            }
            What::Forgotten { entry } => {
                let index = self.entry(entry, at);
                self.contents.entries[index].forgotten = true;
            }
        }
    }

    /// The entry of this name; one whose intent could not be read is made up, so that its jobs stay.
    fn entry(&mut self, id: EntryId, at: SystemTime) -> usize {
        let next = self.contents.entries.len();
        let index = *self.entries.entry(id.clone()).or_insert(next);
        if index == next {
            self.contents.entries.push(Entry {
                id,
                at,
                base_url: String::new(),
                languages: Vec::new(),
                request: Map::new(),
                outcome: Outcome::Unknown { why: None },
                forgotten: false,
            });
        }
        index
    }
}

/// Whether a line says that it is of a later version than this.
fn is_later(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    serde_json::from_slice::<Version>(line).is_ok_and(|line| line.v > VERSION)
}

/// A short name that is free.
fn new_id(contents: &Contents) -> EntryId {
    loop {
        let id = EntryId(format!("t{:07x}", fastrand::u32(..1 << 28)));
        if contents.entries.iter().all(|entry| entry.id != id) {
            return id;
        }
    }
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn time(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis)).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::CreatedJob;

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
        Intent { base_url: "https://x".into(), languages, request, at: SystemTime::now(), again: false }
    }

    fn written(ledger: &LedgerFile, intent: &Intent) -> EntryId {
        match ledger.begin_now(intent).unwrap() {
            Begin::Written(entry) => entry,
            known => panic!("{known:?}"),
        }
    }

    fn creation(jobs: &[(&str, &str)], unclear: &[&str]) -> Settlement {
        let jobs = jobs
            .iter()
            .map(|(id, language)| CreatedJob {
                id: (*id).into(),
                language: Some((*language).into()),
                status: None,
            })
            .collect();
        let unclear = unclear.iter().map(|code| Language::from(*code)).collect();
        Settlement::Created(Creation::from_parts(jobs, Vec::new(), unclear))
    }

    #[test]
    fn an_intent_without_an_outcome_is_unknown() {
        let (_folder, ledger) = ledger();
        assert!(ledger.read().unwrap().entries.is_empty());
        let id = written(&ledger, &intent(&["es"]));
        let entries = ledger.read().unwrap().entries;
        assert_eq!((entries.len(), &entries[0].id), (1, &id));
        assert_eq!(entries[0].outcome, Outcome::Unknown { why: None });
        assert_eq!(entries[0].url(), "https://a.example/v.mp4");
    }

    #[test]
    fn the_same_work_is_there_already_until_it_failed_or_is_forgotten() {
        let (_folder, ledger) = ledger();
        let first = written(&ledger, &intent(&["es", "fr", "ja"]));
        ledger.settle_now(first.clone(), creation(&[("1", "es"), ("2", "fr")], &["ja"])).unwrap();

        let there = |languages: &[&str]| match ledger.begin_now(&intent(languages)).unwrap() {
            Begin::AlreadyThere(work) => work.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            Begin::Written(entry) => {
                ledger.settle_now(entry, Settlement::NotCreated("a test".into())).unwrap();
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
        assert!(ledger.forget(&first).unwrap());
        assert_eq!(there(&["fr", "ja"]), "free");
        assert!(!ledger.forget(&"nobody".into()).unwrap());

        let mut other = intent(&["fr"]);
        other.request.insert("lipsync".into(), true.into());
        assert!(matches!(ledger.begin_now(&other).unwrap(), Begin::Written(_)), "another option, other work");
        let again = Intent { again: true, ..intent(&["es"]) };
        assert!(matches!(ledger.begin_now(&again).unwrap(), Begin::Written(_)));
    }

    #[test]
    fn a_line_that_was_cut_off_loses_nothing_else() {
        let (_folder, ledger) = ledger();
        let first = written(&ledger, &intent(&["es"]));
        ledger.settle_now(first, creation(&[("1", "es")], &[])).unwrap();
        let whole = fs::read(ledger.path()).unwrap();
        for cut in 0..whole.len() {
            fs::write(ledger.path(), &whole[..cut]).unwrap();
            let before = ledger.read().unwrap();
            let again = Intent { again: true, ..intent(&["fr"]) };
            let second = written(&ledger, &again);
            let after = ledger.read().unwrap();
            assert_eq!(after.entries.len(), before.entries.len() + 1, "cut at {cut}");
            assert_eq!(after.entries.last().unwrap().id, second, "cut at {cut}");
            assert!(after.unreadable.len() <= 1);
        }
    }

    #[test]
    fn an_outcome_whose_intent_is_unreadable_keeps_its_jobs() {
        let (_folder, ledger) = ledger();
        let first = written(&ledger, &intent(&["es"]));
        ledger.settle_now(first, creation(&[("1", "es")], &[])).unwrap();
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
