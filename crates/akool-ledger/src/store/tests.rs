use std::{fs, path::PathBuf};

use akool::{BusinessCode, Client, Created, CreatedJob, Credential, Rejection};
use sha2::{Digest, Sha256};

use super::*;
use crate::{
    creation::{Begin, CreationOutcome, Intent, insert},
    database,
    in_flight::InFlight,
    plan::select_held,
    rows::{state, time},
    work::LedgerJob,
};

const API: &str = "https://api.example";

struct Ledger {
    _folder: tempfile::TempDir,
    path: PathBuf,
    connection: Connection,
    /// Held like a running process holds them.
    in_flight: Vec<InFlight>,
}

impl Ledger {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/akool/ledger.db");
        Self { connection: database::open(&path).unwrap(), _folder: folder, path, in_flight: Vec::new() }
    }

    fn store(&mut self) -> Store<'_> {
        Store { path: &self.path, connection: &mut self.connection }
    }

    /// Another process.
    fn elsewhere(&self) -> Connection {
        database::open(&self.path).unwrap()
    }

    fn begin(&mut self, intent: &Intent) -> Result<(EntryId, Vec<LedgerJob>), Vec<Work>> {
        match self.store().begin(intent).unwrap() {
            Begin::Written { entry, in_flight, failed } => {
                self.in_flight.push(in_flight);
                Ok((entry, failed))
            }
            Begin::AlreadyThere(works) => Err(works),
        }
    }

    fn written(&mut self, intent: &Intent) -> EntryId {
        self.begin(intent).unwrap().0
    }

    fn record(&mut self, entry: &EntryId, outcome: &CreationOutcome) {
        self.store().record_outcome(entry, outcome).unwrap();
        self.in_flight.clear();
    }

    /// The work that the ledger has already, as text; "free" if there is none.
    fn known(&mut self, languages: &[&str]) -> String {
        match self.begin(&intent(languages)) {
            Err(works) => works.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            Ok((entry, _)) => {
                self.record(&entry, &CreationOutcome::NotCreated("a test".into()));
                "free".to_owned()
            }
        }
    }

    fn works(&mut self, filter: &Filter) -> Vec<Work> {
        self.store().works(filter).unwrap()
    }

    fn set_status(&mut self, job: &str, status: Status) {
        self.store().record(API, &seen(job, status)).unwrap();
    }
}

fn intent(languages: &[&str]) -> Intent {
    let client = Client::new(Credential::api_key("sandbox-key-000000000000").unwrap()).unwrap();
    let translate =
        client.translate("https://a.example/v.mp4?Signature=MARKER").to(languages.iter().copied());
    Intent {
        api: API.to_owned(),
        languages: translate.languages().to_vec(),
        request: translate.request().unwrap(),
        identity: translate.identity().unwrap(),
        staged: Vec::new(),
        allow_duplicate: false,
    }
}

fn created(jobs: &[(&str, &str)], unknown: &[&str]) -> CreationOutcome {
    let jobs = jobs.iter().map(|(id, language)| {
        let mut job = CreatedJob::new(*id);
        job.language = Some((*language).into());
        job
    });
    let unknown = unknown.iter().map(|code| Language::from(*code)).collect();
    CreationOutcome::Created(Created::new(jobs.collect(), Vec::new(), unknown))
}

fn seen(job: &str, status: Status) -> Seen {
    Seen {
        job: job.into(),
        status,
        age: Some(Duration::from_secs(190)),
        running_until: Some(Duration::from_secs(170)),
        video_length: None,
        error_reason: (status == Status::Failed).then(|| "no speech".to_owned()),
        credits_held: Some(9.0),
        credits_charged: (status == Status::Completed).then_some(3.5),
    }
}

#[test]
fn an_intent_without_an_outcome_is_in_flight_until_its_process_dies() {
    let mut ledger = Ledger::new();
    assert!(ledger.works(&Filter::all()).is_empty());
    let entry = ledger.written(&intent(&["es"]));
    let works = ledger.works(&Filter::pending());
    assert_eq!((works.len(), &works[0].entry, works[0].is_in_flight()), (1, &entry, true));
    assert_eq!(works[0].source, "https://a.example/v.mp4?[redacted]");
    assert!(ledger.known(&["es"]).starts_with("es is being created now"));
    let mut elsewhere = ledger.elsewhere();
    let path = ledger.path.clone();
    let mut other = Store { path: &path, connection: &mut elsewhere };
    assert!(other.works(&Filter::all()).unwrap()[0].is_in_flight(), "other processes know it too");
    other.mark_dead().unwrap();
    assert!(other.forget(&entry, None).unwrap_err().to_string().contains("running process"));
    assert!(other.adopt(&entry, None, &"1".into()).unwrap_err().to_string().contains("running process"));
    // The process that made the request has died.
    ledger.in_flight.clear();
    let unknown = WorkOutcome::Unknown { why: None };
    assert_eq!(other.works(&Filter::pending()).unwrap()[0].outcome, unknown);
    other.mark_dead().unwrap();
    assert_eq!(other.works(&Filter::pending()).unwrap()[0].outcome, unknown);
    assert_eq!(ledger.known(&["es"]), format!("es: outcome unknown (ledger entry {entry})"));
}

#[test]
fn work_is_known_until_its_job_fails_or_is_forgotten() {
    let mut ledger = Ledger::new();
    let first = ledger.written(&intent(&["es", "fr", "ja"]));
    ledger.record(&first, &created(&[("1", "ES"), ("2", "fr")], &["ja"]));
    assert_eq!(ledger.known(&["es"]), "es is job 1");
    assert_eq!(ledger.known(&["de"]), "free");
    assert_eq!(ledger.known(&["de", "fr"]), "fr is job 2");
    assert_eq!(ledger.known(&["ja"]), format!("ja: outcome unknown (ledger entry {first})"));
    ledger.set_status("1", Status::Processing);
    assert_eq!(ledger.known(&["es"]), "es is job 1 (processing)");
    ledger.set_status("1", Status::Failed);
    assert_eq!(ledger.known(&["es"]), "free");
    assert!(ledger.store().forget(&first, Some(&"JA".into())).unwrap());
    assert!(ledger.store().forget(&first, Some(&"es".into())).is_err());
    assert_eq!(ledger.known(&["JA"]), "free");
    assert_eq!(ledger.known(&["fr"]), "fr is job 2", "its job stays");
    assert!(ledger.store().forget_job(&"2".into()).unwrap());
    assert_eq!(ledger.known(&["fr"]), "free");
    assert!(!ledger.store().forget(&"nobody".into(), None).unwrap());
    assert!(!ledger.store().forget_job(&"nobody".into()).unwrap());
}

#[test]
fn another_option_another_address_and_an_allowed_duplicate_are_other_work() {
    let mut ledger = Ledger::new();
    let first = ledger.written(&intent(&["es"]));
    ledger.record(&first, &created(&[("1", "es")], &[]));
    let mut other = intent(&["es"]);
    other.identity.lipsync = Some(true);
    ledger.written(&other);
    ledger.written(&Intent { api: "https://other.example".to_owned(), ..intent(&["es"]) });
    let duplicate = ledger.written(&Intent { allow_duplicate: true, ..intent(&["es"]) });
    ledger.record(&duplicate, &created(&[("2", "es")], &[]));
    assert_eq!(ledger.known(&["es"]), "es is job 2", "the latest one is reused");
    assert_eq!(ledger.works(&Filter::pending().at(API)).len(), 3);
    assert_eq!(ledger.works(&Filter::pending()).len(), 4);
}

#[test]
fn a_failed_job_is_named_before_it_is_created_again() {
    let mut ledger = Ledger::new();
    let first = ledger.written(&intent(&["es", "fr"]));
    ledger.record(&first, &created(&[("1", "es"), ("2", "fr")], &[]));
    ledger.set_status("1", Status::Failed);
    ledger.set_status("2", Status::Failed);
    ledger.store().forget_job(&"2".into()).unwrap();
    let (_, failed) = ledger.begin(&intent(&["es", "fr", "de"])).unwrap();
    assert_eq!(failed.len(), 1);
    assert_eq!((failed[0].id.as_str(), failed[0].error_reason.as_deref()), ("1", Some("no speech")));
}

#[test]
fn an_adopted_job_is_known_work() {
    let mut ledger = Ledger::new();
    let first = ledger.written(&intent(&["es", "fr"]));
    ledger.record(&first, &CreationOutcome::Unknown("a test".into()));
    let several = ledger.store().adopt(&first, None, &"1".into()).unwrap_err().to_string();
    assert!(several.contains("(es, fr); name one"), "{several}");
    ledger.store().adopt(&first, Some(&"ES".into()), &"1".into()).unwrap();
    ledger.store().adopt(&first, None, &"2".into()).unwrap();
    let known = ledger.store().adopt(&first, None, &"3".into()).unwrap_err().to_string();
    assert!(known.contains("already has an outcome"), "{known}");
    assert!(ledger.store().adopt(&"nobody".into(), None, &"3".into()).is_err());
    assert_eq!(ledger.known(&["fr", "es"]), "fr is job 2; es is job 1");
}

#[test]
fn a_late_outcome_overrides_an_earlier_forget() {
    let mut ledger = Ledger::new();
    let first = ledger.written(&intent(&["es"]));
    // As another process does that takes this one for dead.
    ledger.in_flight.clear();
    ledger.store().forget(&first, None).unwrap();
    ledger.record(&first, &created(&[("1", "es")], &[]));
    assert_eq!(ledger.known(&["es"]), "es is job 1");
    // Unless the work was requested again meanwhile: then that job is the one to reuse.
    let second = ledger.written(&intent(&["fr"]));
    ledger.in_flight.clear();
    ledger.store().forget(&second, None).unwrap();
    let third = ledger.written(&intent(&["fr"]));
    ledger.record(&third, &created(&[("3", "fr")], &[]));
    ledger.record(&second, &created(&[("2", "fr")], &[]));
    assert_eq!(ledger.known(&["fr"]), "fr is job 3");
    assert_eq!(ledger.works(&Filter::pending()).len(), 3, "all of them were paid for");
}

#[test]
fn a_withdrawn_intent_leaves_nothing() {
    let mut ledger = Ledger::new();
    let entry = ledger.written(&intent(&["es"]));
    ledger.store().withdraw(&entry).unwrap();
    assert!(ledger.works(&Filter::all()).is_empty());
    assert_eq!(ledger.known(&["es"]), "free");
}

#[test]
fn a_job_whose_language_is_not_known_stands_for_all_languages() {
    let mut ledger = Ledger::new();
    let entry = ledger.written(&intent(&["es", "fr"]));
    let unknown = vec!["es".into(), "fr".into()];
    let outcome = Created::new(vec![CreatedJob::new("1")], Vec::new(), unknown);
    ledger.record(&entry, &CreationOutcome::Created(outcome));
    let works = ledger.works(&Filter::all());
    assert_eq!((works.len(), works[0].job().unwrap().id.as_str(), &works[0].language), (1, "1", &None));
    assert!(ledger.known(&["fr"]).starts_with("fr: outcome unknown"));
    // Rejections and outcomes by language.
    let second = ledger.written(&intent(&["de", "it"]));
    let mut rejection = Rejection::new(BusinessCode(1003), "no");
    rejection.language = Some("DE".into());
    let outcome = Created::new(Vec::new(), vec![rejection], vec!["it".into()]);
    ledger.record(&second, &CreationOutcome::Created(outcome));
    let works = ledger.works(&Filter::all());
    let WorkOutcome::Rejected(rejection) = &works[1].outcome else { panic!("{works:?}") };
    assert_eq!((rejection.code.0, &*rejection.message), (1003, "no"));
    assert!(matches!(works[2].outcome, WorkOutcome::Unknown { why: Some(_) }));
    assert_eq!(ledger.known(&["de"]), "free");
}

#[test]
fn a_status_counts_at_its_api_address_and_for_every_language_of_the_job() {
    let mut ledger = Ledger::new();
    let first = ledger.written(&intent(&["es", "fr"]));
    ledger.record(&first, &created(&[("1", "es"), ("1", "fr")], &[]));
    ledger.store().record("https://other.example", &seen("1", Status::Completed)).unwrap();
    assert_eq!(ledger.works(&Filter::pending()).len(), 2);
    ledger.set_status("1", Status::Completed);
    assert!(ledger.works(&Filter::pending()).is_empty());
    assert_eq!(ledger.store().durations(API).unwrap().count(), 2);
    assert_eq!(ledger.store().durations("https://other.example").unwrap().count(), 0);
}

#[test]
fn credits_are_held_at_the_creation_and_charged_at_the_end() {
    let mut ledger = Ledger::new();
    let entry = ledger.written(&intent(&["es", "fr", "ja"]));
    let CreationOutcome::Created(mut outcome) = created(&[("1", "es"), ("2", "fr")], &[]) else { panic!() };
    outcome.jobs[0].credits_held = Some(4.0);
    outcome.jobs[0].video_length = Some(Duration::from_millis(16_440));
    let mut nameless = CreatedJob::new("3");
    nameless.credits_held = Some(2.5);
    outcome.jobs.push(nameless);
    ledger.record(&entry, &CreationOutcome::Created(outcome));
    let credits = |ledger: &mut Ledger, id: &str| {
        let work = ledger.works(&Filter::job(id)).remove(0);
        let job = work.job().unwrap();
        (job.credits_held, job.credits_charged)
    };
    assert_eq!(credits(&mut ledger, "1"), (Some(4.0), None));
    assert_eq!(credits(&mut ledger, "2"), (None, None), "unknown is not 0");
    assert_eq!(credits(&mut ledger, "3"), (Some(2.5), None));
    ledger.set_status("1", Status::Processing);
    assert_eq!(credits(&mut ledger, "1"), (Some(4.0), None));
    ledger.set_status("1", Status::Completed);
    assert_eq!(credits(&mut ledger, "1"), (Some(4.0), Some(3.5)), "the creation knows what was held");
    ledger.set_status("2", Status::Failed);
    assert_eq!(credits(&mut ledger, "2"), (Some(9.0), None), "a failed job has no charge");
    let length = "SELECT video_length FROM jobs WHERE job = '1'";
    let length: i64 = ledger.connection.query_row(length, [], |row| row.get(0)).unwrap();
    assert_eq!(length, 16_440, "a poll without a length keeps it");
}

/// A request for a video into these languages, one job each, which hold these credits.
fn held(ledger: &mut Ledger, url: &str, lipsync: bool, jobs: &[(&str, &str, Option<f64>)]) -> EntryId {
    let mut intent = intent(&jobs.iter().map(|(_, language, _)| *language).collect::<Vec<_>>());
    intent.request.url = url.to_owned();
    intent.request.lipsync = Some(lipsync);
    intent.identity = intent.request.clone();
    let entry = ledger.written(&intent);
    let ids: Vec<_> = jobs.iter().map(|(id, language, _)| (*id, *language)).collect();
    let CreationOutcome::Created(mut outcome) = created(&ids, &[]) else { panic!() };
    for (job, (_, _, credits)) in outcome.jobs.iter_mut().zip(jobs) {
        job.credits_held = *credits;
    }
    ledger.record(&entry, &CreationOutcome::Created(outcome));
    entry
}

#[test]
fn an_estimate_is_made_from_jobs_with_the_same_options() {
    let mut ledger = Ledger::new();
    let estimate = |ledger: &mut Ledger, url: &str, api: &str| {
        let mut intent = intent(&["it"]);
        (intent.request.url, intent.api) = (url.to_owned(), api.to_owned());
        intent.identity = intent.request.clone();
        ledger.store().plan(&intent).unwrap().estimate.map(|found| (found.credits, found.is_same_video))
    };
    assert_eq!(estimate(&mut ledger, "https://a.example/1", API), None);
    held(&mut ledger, "https://a.example/1", true, &[("a", "es", Some(50.0))]);
    held(&mut ledger, "https://a.example/1", false, &[("b", "es", None)]);
    assert_eq!(estimate(&mut ledger, "https://a.example/1", API), None, "unknown is not 0");
    held(&mut ledger, "https://a.example/1", false, &[("c", "fr", Some(4.0)), ("d", "de", Some(5.0))]);
    held(&mut ledger, "https://a.example/2", false, &[("e", "fr", Some(9.0))]);
    held(&mut ledger, "https://a.example/4", false, &[("f", "fr", Some(12.0)), ("f", "es", Some(12.0))]);
    assert_eq!(estimate(&mut ledger, "HTTPS://A.example:443/1#t", API), Some((5.0, true)));
    assert_eq!(estimate(&mut ledger, "https://a.example/2", API), Some((9.0, true)));
    assert_eq!(estimate(&mut ledger, "https://a.example/4", API), Some((6.0, true)));
    assert_eq!(estimate(&mut ledger, "https://a.example/3", API), Some((6.0, false)), "the average");
    assert_eq!(estimate(&mut ledger, "https://a.example/1", "https://other.example"), None);
}

#[test]
fn a_plan_says_what_there_is_and_changes_nothing() {
    let mut ledger = Ledger::new();
    let entry = ledger.written(&intent(&["es", "fr"]));
    ledger.record(&entry, &created(&[("1", "es"), ("2", "fr")], &[]));
    ledger.set_status("2", Status::Failed);
    let before = ledger.works(&Filter::all());
    let plan = ledger.store().plan(&intent(&["fr", "ES", "de"])).unwrap();
    let known: Vec<_> = plan.known.iter().map(ToString::to_string).collect();
    assert_eq!(known, ["es is job 1"]);
    assert_eq!(plan.failed.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["2"]);
    assert_eq!(plan.missing.iter().map(Language::code).collect::<Vec<_>>(), ["fr", "de"]);
    let mut again = intent(&["es"]);
    again.allow_duplicate = true;
    assert_eq!(ledger.store().plan(&again).unwrap().missing, ["es".into()]);
    assert_eq!(ledger.works(&Filter::all()), before);
}

#[test]
fn files_expire_seven_days_after_the_request() {
    const HOUR: i64 = 60 * 60 * 1000;
    let mut ledger = Ledger::new();
    let now = millis(SystemTime::now());
    let ages = [("new", 1), ("soon", 144 + 1), ("saved", 145), ("failed", 145), ("last", 167), ("over", 169)];
    for (id, hours) in ages {
        let entry = held(&mut ledger, &format!("https://a.example/{id}"), false, &[(id, "es", None)]);
        let update = "UPDATE requests SET requested_at = ? WHERE id = ?";
        ledger.connection.execute(update, params![now - hours * HOUR, entry.as_str()]).unwrap();
    }
    ledger.set_status("soon", Status::Completed);
    ledger.set_status("failed", Status::Failed);
    let file = SavedFile::new("saved".into(), akool::FileKind::Video, "/out/a.mp4".into(), 7, [0; 32]);
    ledger.store().record_file(&file).unwrap();
    let file = SavedFile::new("soon".into(), akool::FileKind::Subtitles, "/out/b.srt".into(), 7, [0; 32]);
    ledger.store().record_file(&file).unwrap();
    let ids = |ledger: &mut Ledger| {
        let works = ledger.works(&Filter::expiring().at(API));
        works.iter().map(|work| work.job().unwrap().id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&mut ledger), ["soon", "last"]);
    ledger.store().forget_job(&"last".into()).unwrap();
    assert_eq!(ids(&mut ledger), ["soon"]);
}

#[test]
fn each_question_has_its_index() {
    let ledger = Ledger::new();
    for (select, index) in [
        (format!("{WORK} WHERE {PENDING} AND jobs.api = 'x' ORDER BY number"), "pending_jobs"),
        (in_flight(), "pending_jobs"),
        (
            format!("{WORK} WHERE work = x'00' ORDER BY open IS NULL, number DESC LIMIT 1"),
            "sqlite_autoindex_jobs",
        ),
        (format!("{WORK} WHERE true AND jobs.api = 'x' AND job = 'x'"), "jobs_by_id"),
        (
            "SELECT running_until FROM jobs WHERE api = 'x' AND ended_by IS NOT NULL ORDER BY number DESC"
                .to_owned(),
            "ended_jobs",
        ),
        (format!("{WORK} WHERE true AND :api IS NULL AND {EXPIRING} ORDER BY number"), "requests_by_time"),
        (select_held("requests.options = ?"), "requests_by_options"),
        (select_held("requests.source = ? AND requests.options = ?"), "requests_by_source"),
    ] {
        let mut plan = ledger.connection.prepare(&format!("EXPLAIN QUERY PLAN {select}")).unwrap();
        // Without values for the parameters.
        let mut rows = plan.raw_query();
        let mut steps = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            steps.push(row.get::<_, String>(3).unwrap());
        }
        assert!(steps[0].contains(&format!("INDEX {index}")), "{select}: {steps:?}");
    }
}

#[test]
fn several_processes_share_one_ledger() {
    let ledger = Ledger::new();
    let path = &*ledger.path;
    let written = std::thread::scope(|scope| {
        let processes: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(move || {
                    let mut connection = database::open(path).unwrap();
                    let mut store = Store { path, connection: &mut connection };
                    // Held until all are done.
                    store.begin(&intent(&["es"])).unwrap()
                })
            })
            .collect();
        let begun: Vec<_> = processes.into_iter().map(|process| process.join().unwrap()).collect();
        begun.iter().filter(|begin| matches!(begin, Begin::Written { .. })).count()
    });
    assert_eq!(written, 1, "one of them makes the request");
}

#[test]
fn several_processes_can_create_one_ledger() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let path = &*folder.path().join("ledger.db");
        std::thread::scope(|scope| {
            let open = |_| scope.spawn(move || database::open(path).map(drop));
            let opened: Vec<_> = (0..16).map(open).collect();
            opened.into_iter().for_each(|opened| opened.join().unwrap().unwrap());
        });
    }
}

#[test]
fn later_versions_other_databases_and_damaged_files_are_refused_unchanged() {
    let refused = |path: &Path| {
        let before = fs::read(path).unwrap_or_default();
        let error = database::open(path).unwrap_err().to_string();
        assert_eq!(fs::read(path).unwrap_or_default(), before, "{error}");
        error
    };
    let mut ledger = Ledger::new();
    ledger.connection.pragma_update(None, "user_version", 99).unwrap();
    let path = ledger.path.clone();
    drop(std::mem::replace(&mut ledger.connection, Connection::open_in_memory().unwrap()));
    assert!(refused(&path).contains("a later version of this program"), "{}", refused(&path));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    assert!(refused(&path).contains("database of another program"));
    fs::write(&path, "not a database, but a text that is long enough to be taken for one".repeat(100))
        .unwrap();
    assert!(refused(&path).contains("is damaged"));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(refused(&path).contains("cannot open the ledger"));
}

#[cfg(unix)]
#[test]
fn only_the_user_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;

    let mut ledger = Ledger::new();
    ledger.written(&intent(&["es"]));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = ledger.path.parent().unwrap();
    assert_eq!(mode(folder), 0o700);
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

/// Fills a ledger with jobs that have ended, each of its own request.
fn fill(ledger: &mut Ledger, jobs: u32) {
    let transaction = ledger.connection.transaction().unwrap();
    for number in 0..jobs {
        let entry = EntryId::from(format!("x{number}"));
        let request = format!(r#"{{"language":"es","url":"https://a.example/{number}.mp4"}}"#);
        transaction
            .prepare_cached("INSERT INTO requests VALUES (?, ?, 0, ?, x'00', NULL)")
            .unwrap()
            .execute(params![entry.as_str(), API, request])
            .unwrap();
        let work: [u8; 32] = Sha256::digest(number.to_le_bytes()).into();
        insert(&transaction, &entry, API, Some(&"es".into()), state::CREATED, work, true).unwrap();
    }
    transaction.execute_batch("UPDATE jobs SET job = 'job' || number, status = 3, ended_by = 1000").unwrap();
    transaction.commit().unwrap();
}

/// The times of opening the ledger, of listing what is pending, and of accepting and recording new work.
fn times(ledger: &mut Ledger, number: u32) -> [Duration; 3] {
    let time = |work: &mut dyn FnMut()| {
        let began = std::time::Instant::now();
        work();
        began.elapsed()
    };
    let open = time(&mut || {
        let mut connection = ledger.elsewhere();
        Store { path: &ledger.path, connection: &mut connection }.mark_dead().unwrap();
    });
    let pending = time(&mut || assert!(ledger.works(&Filter::pending()).len() < 100));
    let mut new = intent(&["es"]);
    new.identity.url = format!("https://b.example/{number}.mp4");
    let create = time(&mut || {
        let entry = ledger.written(&new);
        ledger.record(&entry, &created(&[(&*format!("new{number}"), "es")], &[]));
    });
    [open, pending, create]
}

/// With `LEDGER_JOBS=1000000`, this takes a quarter of a minute in a release build.
#[test]
fn a_large_ledger_is_as_fast_as_a_small_one() {
    const ROUNDS: u32 = 41;
    let large = std::env::var("LEDGER_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(20_000);
    let (mut few, mut many) = (Ledger::new(), Ledger::new());
    fill(&mut few, 1_000);
    fill(&mut many, large);
    // In turn, so that what else the machine does slows both down.
    let rounds: Vec<_> =
        (0..ROUNDS).map(|number| (times(&mut few, number), times(&mut many, number))).collect();
    let median = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    for (index, what) in ["open", "pending", "create"].into_iter().enumerate() {
        let few = median(rounds.iter().map(|(few, _)| few[index]).collect());
        let many = median(rounds.iter().map(|(_, many)| many[index]).collect());
        let ratio = many.as_secs_f64() / few.as_secs_f64();
        println!("{what}: {few:?} with 1,000 jobs, {many:?} with {large}: {ratio:.2} x");
        assert!(ratio <= 1.5, "{what}: {few:?} with 1,000 jobs, {many:?} with {large}");
    }
}

#[test]
fn a_path_has_the_record_of_the_file_that_was_saved_there_last() {
    let mut ledger = Ledger::new();
    let path = PathBuf::from("/out/talk.es.mp4");
    let file = |job: &str, path: &Path, byte| {
        let mut file = SavedFile::new(job.into(), akool::FileKind::Video, path.to_owned(), 7, [byte; 32]);
        file.saved_at = time(1000 + i64::from(byte));
        file
    };
    let (one, two, three) = (file("a", &path, 1), file("a", Path::new("/out/a.mp4"), 2), file("b", &path, 3));
    for saved in [&one, &two] {
        ledger.store().record_file(saved).unwrap();
    }
    assert_eq!(ledger.store().files(&"a".into()).unwrap(), [one, two.clone()]);
    ledger.store().record_file(&three).unwrap();
    assert_eq!(ledger.store().files(&"a".into()).unwrap(), [two]);
    assert_eq!(ledger.store().file_at(&path).unwrap(), Some(three));
    assert_eq!(ledger.store().file_at(Path::new("/out/b.mp4")).unwrap(), None);
}
