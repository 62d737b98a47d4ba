//! What `akool translate` may cost, and what happens when a job is completed or its files expire.

use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
};

use akool_mock::{MockServer, Timeline};

use crate::support::{self, akool_at, code, objects, stderr, stdout};

const TALKS: [&str; 6] = [
    "https://example.com/talk.mp4",
    "https://example.com/intro.mp4",
    "--to",
    "es,fr,de",
    "--interval",
    "10ms",
];

async fn start() -> MockServer {
    let server = MockServer::start().await;
    server.on_create(Timeline::new().completed());
    server
}

fn run(server: &MockServer, state: &Path, args: &[&str]) -> Output {
    akool_at(server, args).env("XDG_STATE_HOME", state).output().unwrap()
}

fn translate(server: &MockServer, state: &Path, more: &[&str]) -> Output {
    run(server, state, &[&["translate"], &TALKS[..], more].concat())
}

#[tokio::test]
async fn a_run_stops_at_its_limit_and_lists_what_was_not_created() {
    let server = start().await;
    server.set_credits_per_job(10);
    let folder = tempfile::tempdir().unwrap();
    // The first language says how many credits the video needs.
    let output = translate(&server, folder.path(), &["--max-credits", "29"]);
    assert_eq!((code(&output), server.created().len()), (10, 2), "{}", stderr(&output));
    for wanted in [
        "not created: https://example.com/talk.mp4: de\n",
        "not created: https://example.com/intro.mp4: es, fr, de\n",
        "stopped at --max-credits 29: this run's jobs hold 20 credits, and the next needs about 10",
    ] {
        assert!(stderr(&output).contains(wanted), "no `{wanted}` in: {}", stderr(&output));
    }
    assert!(stdout(&output).ends_with("2 of 6 completed, 4 not created\n"), "{}", stdout(&output));
    // What exists is reused, and counts for nothing.
    let output = translate(&server, folder.path(), &["--max-credits", "30", "--json"]);
    assert_eq!((code(&output), server.created().len()), (10, 5), "{}", stderr(&output));
    let not_created = objects(&output).into_iter().find(|object| object["event"] == "not_created").unwrap();
    assert_eq!(not_created["languages"], serde_json::json!(["de"]));
    let output = translate(&server, folder.path(), &["--max-credits", "30"]);
    assert_eq!((code(&output), server.created().len()), (0, 6), "{}", stderr(&output));
}

#[tokio::test]
async fn without_an_estimate_a_limit_is_exceeded_by_one_job_at_most() {
    let server = start().await;
    server.set_credits_per_job(10);
    let folder = tempfile::tempdir().unwrap();
    let output = translate(&server, folder.path(), &["--max-credits", "1"]);
    assert_eq!((code(&output), server.created().len()), (10, 1), "{}", stderr(&output));
    let output = translate(&server, folder.path(), &["--max-credits", "9"]);
    assert_eq!((code(&output), server.created().len()), (10, 1), "{}", stderr(&output));
    // Another video may need more than the estimate, so its languages are sent one by one at first.
    server.set_credits_per_job(50);
    let other = ["translate", "https://example.com/long.mp4", "--to", "es,fr", "--interval", "10ms"];
    let output = run(&server, folder.path(), &[&other[..], &["--max-credits", "25"]].concat());
    assert_eq!((code(&output), server.created().len()), (10, 2), "{}", stderr(&output));
    assert!(stderr(&output).contains("hold 50 credits, and the next needs about 50"), "{}", stderr(&output));
}

#[tokio::test]
async fn an_estimate_that_is_wrong_exceeds_a_limit_by_one_job_at_most() {
    let server = start().await;
    server.set_credits_per_job(10);
    let folder = tempfile::tempdir().unwrap();
    let talk = |languages, more: &[&str]| {
        let args = ["translate", TALKS[0], "--to", languages, "--interval", "10ms"];
        run(&server, folder.path(), &[&args[..], more].concat())
    };
    assert_eq!(code(&talk("es", &[])), 0);
    // The video or the prices have changed.
    server.set_credits_per_job(50);
    let output = talk("es,fr,de,it,ja", &["--max-credits", "45"]);
    assert_eq!((code(&output), server.created().len()), (10, 2), "{}", stderr(&output));
}

#[tokio::test]
async fn processes_that_share_a_ledger_keep_one_reserve() {
    let server = start().await;
    server.set_credits_per_job(10);
    server.set_credits(100.0);
    let folder = tempfile::tempdir().unwrap();
    let spawn = |number: usize| {
        let url = format!("https://example.com/talk{number}.mp4");
        let args = ["translate", &url, "--to", "es,fr,de", "--reserve", "85", "--no-wait"];
        let mut command = akool_at(&server, &args);
        command.env("XDG_STATE_HOME", folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let children: Vec<_> = (0..10).map(spawn).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_eq!(code(&output), 10, "{}", stderr(&output));
    }
    assert_eq!((server.created().len(), server.credits()), (1, 90.0));
}

#[tokio::test]
async fn what_a_program_left_running_does_not_delay_the_end() {
    let server = start().await;
    let folder = tempfile::tempdir().unwrap();
    let began = std::time::Instant::now();
    let output = translate(&server, folder.path(), &["--on-complete", "sh -c 'sleep 60 & echo started'"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stderr(&output).contains("started") && began.elapsed().as_secs() < 50);
}

#[tokio::test]
async fn the_balance_stays_above_the_reserve() {
    let server = start().await;
    server.set_credits_per_job(10);
    server.set_credits(100.0);
    let folder = tempfile::tempdir().unwrap();
    let output = translate(&server, folder.path(), &["--reserve", "75"]);
    assert_eq!((code(&output), server.created().len()), (10, 2), "{}", stderr(&output));
    assert!(server.credits() >= 75.0);
    let wanted = "stopped at --reserve 75: the balance is 80 credits, and the next job needs about 10";
    assert!(stderr(&output).contains(wanted), "{}", stderr(&output));
    let output = translate(&server, folder.path(), &["--reserve", "-1"]);
    assert_eq!(code(&output), 2);
}

#[tokio::test]
async fn a_reserve_without_a_balance_creates_nothing() {
    let server = start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = akool_at(&server, &[&["translate"], &TALKS[..], &["--reserve", "1"]].concat());
    let output =
        command.env("XDG_STATE_HOME", folder.path()).env("AKOOL_API_KEY", "another-key-0000000").output();
    let output = output.unwrap();
    assert_eq!((code(&output), server.created().len()), (5, 0), "{}", stderr(&output));
}

#[tokio::test]
async fn a_dry_run_prints_the_plan_and_creates_nothing() {
    let server = start().await;
    server.set_credits_per_job(4);
    server.set_credits(118.5);
    let folder = tempfile::tempdir().unwrap();
    let plan = |more: &[&str]| {
        let output = translate(&server, folder.path(), &[&["--dry-run"], more].concat());
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        output
    };
    let first = stdout(&plan(&[]));
    assert!(!folder.path().join("akool").exists());
    let last =
        "6 jobs would be created; it is not known how many credits they need; the balance is 118.5 credits";
    assert!(first.trim_end().ends_with(last) && first.matches("unknown").count() == 6, "{first}");

    server.on_create_in("fr", Timeline::new().failed(1015, "no speech"));
    let output = run(&server, folder.path(), &["translate", TALKS[0], "--to", "es,fr", "--interval", "10ms"]);
    assert_eq!(code(&output), 3);
    let before = server.created().len();
    let text = stdout(&plan(&["--max-credits", "13"]));
    let rows: Vec<_> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let id = &server.created()[0].id;
    assert_eq!(rows[1], format!("es reuse job {id} (completed) - {}", TALKS[0]));
    assert_eq!(rows[2], format!("fr create again, because it failed 4 {}", TALKS[0]));
    assert_eq!(rows[4], format!("es create about 4 {}", TALKS[1]));
    assert_eq!(rows[7], "5 jobs would hold about 20 credits; the balance is 110.5 credits");
    let wanted = "3 of these 5 jobs would be created: stopped at --max-credits 13: this run's jobs hold 12 credits, and \
                  the next needs about 4";
    assert_eq!(rows[8], wanted);
    let objects = objects(&plan(&["--json"]));
    let actions: Vec<_> = objects.iter().filter_map(|object| object["action"].as_str()).collect();
    assert_eq!(actions, ["reuse", "create_again", "create", "create", "create", "create"]);
    assert_eq!((&objects[6]["credits"], &objects[6]["balance"]), (&20.0.into(), &110.5.into()));
    assert_eq!(server.created().len(), before);
}

#[tokio::test]
async fn a_program_is_run_for_each_completed_job_after_its_files_are_saved() {
    let server = start().await;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let script = format!("sh -c 'cat >> \"{}/jobs.jsonl\"; echo uploaded'", folder.path().display());
    let more = ["--output", out.to_str().unwrap(), "--files", "video,subtitles", "--on-complete", &script];
    let output = translate(&server, folder.path(), &more);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(stderr(&output).matches("uploaded\n").count(), 6, "{}", stderr(&output));
    let jobs = fs::read(folder.path().join("jobs.jsonl")).unwrap();
    crate::events::check(&jobs);
    let jobs: Vec<serde_json::Value> =
        String::from_utf8(jobs).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(jobs.len(), 6);
    for job in &jobs {
        assert!(TALKS.contains(&job["source"].as_str().unwrap()), "{job}");
        let files = job["files"].as_array().unwrap();
        assert_eq!(files.len(), 2, "{job}");
        assert!(files.iter().all(|file| Path::new(file["path"].as_str().unwrap()).is_file()), "{job}");
    }

    let again = |command: &str| translate(&server, folder.path(), &["--on-complete", command]);
    let failed = again("sh -c 'exit 3'");
    assert_eq!(code(&failed), 1);
    assert!(
        stderr(&failed).contains("--on-complete sh: it ended with exit status: 3"),
        "{}",
        stderr(&failed)
    );
    for (command, why) in [
        ("no-such-program x", "there is no program no-such-program"),
        ("sh 'x", "left open"),
        ("", "name a program"),
    ] {
        let refused = again(command);
        assert_eq!(code(&refused), 2, "{command}");
        assert!(stderr(&refused).contains(why), "{}", stderr(&refused));
    }
}

#[tokio::test]
async fn expiring_files_are_listed_and_downloaded() {
    let server = start().await;
    let folder = tempfile::tempdir().unwrap();
    let expiring = |args: &[&str]| run(&server, folder.path(), args);
    assert_eq!(code(&expiring(&["download", "--expiring"])), 0);
    assert_eq!(code(&translate(&server, folder.path(), &[])), 0);
    assert!(stderr(&expiring(&["jobs", "--expiring"])).contains("no unsaved files expire within a day"));
    // As if all but one had been requested six and a half days ago.
    let ledger = rusqlite::Connection::open(folder.path().join("akool/ledger.db")).unwrap();
    let update = "UPDATE requests SET requested_at = requested_at - 561600000
        WHERE id IN (SELECT request FROM jobs WHERE language = 'es')";
    ledger.execute_batch(update).unwrap();
    let listed = expiring(&["jobs", "--expiring"]);
    assert_eq!(stdout(&listed).lines().count(), 1 + 6, "{}", stdout(&listed));
    assert!(stderr(&listed).contains("`akool download --expiring` saves their files"));
    let out = folder.path().join("out");
    let args = ["download", "--expiring", "--files", "video", "--output", out.to_str().unwrap()];
    assert_eq!(code(&expiring(&args)), 0);
    assert!(out.join("talk.es.mp4").is_file() && out.join("intro.de.mp4").is_file());
    assert!(stdout(&expiring(&["jobs", "--expiring"])).is_empty());
    let damaged = folder.path().join("damaged.db");
    fs::write(&damaged, "no database").unwrap();
    let output = expiring(&["download", "--expiring", "--ledger", damaged.to_str().unwrap()]);
    assert_eq!(code(&output), 2, "{}", stderr(&output));
    assert_eq!(code(&support::akool(&["download"]).output().unwrap()), 2);
}
