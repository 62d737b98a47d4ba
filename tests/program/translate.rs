//! `akool translate` and what the ledger has afterwards: create, wait, download, resume.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use akool_mock::{Fault, MockServer, Polls, Timeline, Times};
use serde_json::Value;

use crate::support::{
    self, KILLS, Program, QUIET, code, interrupt, objects, snapshots, stderr, stdout, wait_until,
};

const VIDEO: &str = "https://example.com/talk.mp4?Signature=MARKER";

/// The program with a folder for its ledger.
fn akool(state: &Path, args: &[&str]) -> Program {
    let mut command = support::akool(args);
    command.env("XDG_STATE_HOME", state);
    command
}

fn akool_at(server: &MockServer, state: &Path, args: &[&str]) -> Program {
    let mut command = support::akool_at(server, args);
    command.env("XDG_STATE_HOME", state);
    command
}

/// Compares the exit code and everything that was printed, with ids, times and folders replaced.
fn assert_shown(name: &str, server: &MockServer, output: &Output, folder: &Path) {
    let mut settings = snapshots("translate");
    settings.add_filter(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "[date]");
    settings.add_filter(r"\bt[0-9a-f]{7}\b", "[entry]");
    let created = server.created();
    let jobs = created.iter().enumerate();
    let jobs = jobs.map(|(number, job)| (&job.id, format!("[job {}, {:<13}]", number + 1, job.language)));
    let replace = |text: String| jobs.clone().fold(text, |text, (id, name)| text.replace(id.as_str(), &name));
    let out = replace(stdout(output));
    let mut lines: Vec<_> = out.split_inclusive('\n').collect();
    if name.ends_with("json") {
        // Files are downloaded concurrently, so their order varies.
        lines.sort_by_key(|line| line.contains(r#""event":"downloaded""#).then_some(*line));
    }
    let (out, errors) = (lines.concat(), replace(stderr(output)));
    let whole = format!("exit code {}\n--- stdout\n{out}--- stderr\n{errors}", code(output));
    let whole = whole.replace(folder.to_str().unwrap(), "[dir]");
    assert!(!whole.contains("MARKER"), "{whole}");
    settings.bind(|| insta::assert_snapshot!(name, whole));
}

/// The rows of the ledger, as `akool jobs --json` prints them.
fn jobs(server: &MockServer, state: &Path, more: &[&str]) -> Vec<Value> {
    let output = akool_at(server, state, &[&["jobs", "--json"], more].concat()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    objects(&output)
}

#[tokio::test]
async fn translate_saves_files_and_a_repeated_command_pays_nothing() {
    let server = MockServer::start().await;
    server.on_create(Timeline::new().queueing(Polls(1)).completed());
    let folder = tempfile::tempdir().unwrap();
    let (state, out) = (folder.path().join("state"), folder.path().join("out"));
    let args = ["translate", VIDEO, "--to", "es", "--interval", "10ms", "--output", out.to_str().unwrap()];
    let run = |more: &[&str]| akool_at(&server, &state, &[&args, more].concat()).output().unwrap();
    assert_shown("translated", &server, &run(&[]), folder.path());
    assert_eq!(fs::read_dir(&out).unwrap().count(), 4);
    assert_shown("repeated", &server, &run(&[]), folder.path());
    assert_shown("repeated-json", &server, &run(&["--json"]), folder.path());
    assert_eq!(server.created().len(), 1, "paid once");
    assert_eq!(code(&run(&["--allow-duplicate", "--quiet"])), 0);
    assert_eq!(server.created().len(), 2, "paid twice, as requested");
    let jobs = jobs(&server, &state, &[]);
    assert_eq!(jobs.len(), 2);
    for job in jobs {
        assert_eq!((job["credits_held"].as_f64(), job["credits_charged"].as_f64()), (Some(10.0), Some(10.0)));
    }
}

#[tokio::test]
async fn only_languages_without_a_job_are_created() {
    let server = MockServer::start().await;
    server.on_create(Timeline::new().completed());
    let state = tempfile::tempdir().unwrap();
    for languages in ["es", "es,fr", "fr,es"] {
        let output =
            akool_at(&server, state.path(), &["translate", VIDEO, "--to", languages, "--no-wait"]).output();
        let ids: BTreeSet<_> = stdout(&output.unwrap()).lines().map(str::to_owned).collect();
        assert_eq!(ids.len(), languages.split(',').count());
    }
    let created: Vec<_> = server.created().into_iter().map(|job| job.language).collect();
    assert_eq!(created, ["es", "fr"]);
}

#[tokio::test]
async fn a_rejected_language_does_not_stop_the_others() {
    let server = MockServer::start().await;
    server.on_create(Timeline::new().completed());
    server.reject_language("tlh", 1003, "The language is not supported");
    let state = tempfile::tempdir().unwrap();
    for (name, more) in [("rejected", &[][..]), ("rejected-json", &["--json", "--allow-duplicate"])] {
        let args = [&["translate", VIDEO, "--to", "es,tlh", "--interval", "10ms"], more].concat();
        let output = akool_at(&server, state.path(), &args).output().unwrap();
        assert_eq!(code(&output), 3);
        assert_shown(name, &server, &output, state.path());
    }
    let output = akool_at(&server, state.path(), &["translate", VIDEO, "--to", "tlh"]).output().unwrap();
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    let text = stderr(&output);
    assert!(text.contains("tlh: not supported. `akool languages` lists the codes"), "{text}");
}

#[tokio::test]
async fn an_unknown_outcome_is_recorded_and_not_requested_again() {
    let server = MockServer::start().await;
    server.inject_into_creations(Fault::ResetBeforeHeaders, Times::Once);
    let state = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| akool_at(&server, state.path(), args).output().unwrap();
    let translate = ["translate", VIDEO, "--to", "es", "--interval", "10ms"];

    let output = run(&translate);
    assert_eq!(code(&output), 7);
    assert!(stderr(&output).contains("the outcome is unknown: the connection"), "{}", stderr(&output));
    assert!(stderr(&output).contains("akool jobs --forget t"), "{}", stderr(&output));
    assert_shown("unknown-repeated", &server, &run(&translate), state.path());
    assert_shown("unknown-jobs", &server, &run(&["jobs"]), state.path());
    assert_eq!(code(&run(&["wait", "--pending"])), 7);
    assert_eq!(server.created().len(), 1, "sent only once");

    // The user finds the job in the console.
    let entry = jobs(&server, state.path(), &["--pending"])[0]["entry"].as_str().unwrap().to_owned();
    let found = server.created()[0].id.clone();
    assert_eq!(code(&run(&["jobs", "--adopt", &format!("{entry}={found}")])), 0);
    assert_eq!(
        code(&run(&["jobs", "--adopt", &format!("{entry}={found}")])),
        1,
        "no outcome is unknown any more"
    );
    assert_eq!(code(&run(&translate)), 0);
    assert_eq!(server.created().len(), 1, "paid once");

    // The user does not find another job.
    server.inject_into_creations(Fault::Http(502), Times::Once);
    assert_eq!(code(&run(&["translate", VIDEO, "--to", "fr"])), 7);
    let entry = jobs(&server, state.path(), &["--pending"])[0]["entry"].as_str().unwrap().to_owned();
    assert_eq!(code(&run(&["jobs", "--forget", &entry])), 0);
    assert_eq!(code(&run(&["jobs", "--forget", "nobody"])), 1);
    assert_eq!(jobs(&server, state.path(), &[]).len(), 1, "the known job stays");

    // The user adopts a job that is already known, and is warned.
    server.inject_into_creations(Fault::Http(502), Times::Once);
    assert_eq!(code(&run(&["translate", VIDEO, "--to", "de"])), 7);
    let entry = jobs(&server, state.path(), &["--pending"])[0]["entry"].as_str().unwrap().to_owned();
    let output = run(&["jobs", "--adopt", &format!("{entry}={found}")]);
    assert!(stderr(&output).contains("this job is recorded for es and de"), "{}", stderr(&output));
    assert_eq!(code(&run(&["jobs", "--forget", &entry])), 1, "nothing is unknown any more");
    assert_eq!(code(&run(&["jobs", "--forget", &found])), 0);
    assert_eq!(code(&run(&["wait", "--pending"])), 0);
}

#[tokio::test]
async fn concurrent_equal_commands_pay_once_and_all_get_the_job() {
    let server = MockServer::start().await;
    server.on_create(Timeline::new().completed());
    // The response is slow, so that the other commands start before it is complete.
    server.inject_into_creations(Fault::Trickle, Times::Once);
    let state = tempfile::tempdir().unwrap();
    let command = || {
        let mut command = akool_at(&server, state.path(), &["translate", VIDEO, "--to", "es", "--no-wait"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let runs: Vec<_> = (0..8).map(|_| command()).collect();
    for run in runs {
        let output = run.wait_with_output().unwrap();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        assert_eq!(stdout(&output).trim(), server.created()[0].id.as_str());
    }
    assert_eq!(server.created().len(), 1);
}

#[tokio::test]
async fn a_ledger_that_cannot_be_used_is_reported_before_anything_is_paid_for() {
    let server = MockServer::start().await;
    let state = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| akool_at(&server, state.path(), args).output().unwrap();
    let folder = state.path().join("akool");
    fs::create_dir_all(&folder).unwrap();
    let (earlier, ledger) = (folder.join("ledger.jsonl"), folder.join("ledger.db"));
    let check = |wanted: &str| {
        for args in
            [&["jobs"][..], &["wait", "--pending", "--interval", "10ms"], &["translate", VIDEO, "--to", "es"]]
        {
            let output = run(args);
            assert_eq!(code(&output), 2, "{args:?}");
            assert!(stderr(&output).contains(wanted), "{args:?}: {}", stderr(&output));
        }
    };
    // A line of an earlier version that cannot be read.
    fs::write(&earlier, "{\"v\":1,\"at\":1,\"intend\":{}}\n").unwrap();
    check("line 1 of the ledger");
    fs::remove_file(&earlier).unwrap();
    fs::remove_file(&ledger).unwrap();
    fs::write(&ledger, "not a database".repeat(100)).unwrap();
    check("is damaged; restore a copy, or move it away");
    assert!(server.created().is_empty());
    // A wait for a known job goes on without the ledger.
    server.job("known", Timeline::new().completed());
    let output = run(&["wait", "known", "--interval", "10ms"]);
    assert_eq!(code(&output), 0);
    assert!(
        stderr(&output).contains("warning: the status of the jobs is not recorded"),
        "{}",
        stderr(&output)
    );
}

#[tokio::test]
async fn the_ledger_of_an_earlier_version_is_imported() {
    let server = MockServer::start().await;
    server.on_create(Timeline::new().completed());
    server.job("known", Timeline::new().completed());
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("akool");
    fs::create_dir_all(&folder).unwrap();
    let intent = serde_json::json!({"v": 1, "at": 1_700_000_000_000_u64, "intent": {"entry": "t1",
        "base_url": server.url(), "languages": ["es"], "request": {"url": VIDEO, "language": "es"}}});
    let created = serde_json::json!({"v": 1, "at": 1_700_000_000_001_u64, "created": {"entry": "t1",
        "jobs": [{"id": "known", "language": "es"}]}});
    fs::write(folder.join("ledger.jsonl"), format!("{intent}\n{created}\n")).unwrap();
    let run = |args: &[&str]| akool_at(&server, state.path(), args).output().unwrap();
    let output = run(&["translate", VIDEO, "--to", "es", "--interval", "10ms", "--json"]);
    assert_eq!((code(&output), &objects(&output)[0]["event"]), (0, &"reused".into()), "{}", stderr(&output));
    assert!(server.created().is_empty());
    assert!(folder.join("ledger.jsonl.imported").exists());
    assert_eq!(jobs(&server, state.path(), &[])[0]["status"], "completed");
}

#[tokio::test]
async fn another_file_can_be_selected_as_the_ledger() {
    let server = MockServer::start().await;
    let state = tempfile::tempdir().unwrap();
    let (one, other) = (state.path().join("one.db"), state.path().join("other.db"));
    let run = |variable: &Path, args: &[&str]| {
        akool_at(&server, state.path(), args).env("AKOOL_LEDGER", variable).output().unwrap()
    };
    let listed = |variable: &Path, args: &[&str]| {
        stdout(&run(variable, &[&["jobs", "--json"], args].concat())).lines().count()
    };
    assert_eq!(code(&run(&one, &["translate", VIDEO, "--to", "es", "--no-wait"])), 0);
    let selected = other.to_str().unwrap();
    assert_eq!(code(&run(&one, &["translate", VIDEO, "--to", "es", "--no-wait", "--ledger", selected])), 0);
    assert_eq!(server.created().len(), 2, "the ledgers do not know of each other");
    assert_eq!((listed(&one, &[]), listed(&other, &[]), listed(&one, &["--ledger", selected])), (1, 1, 1));
    assert!(!state.path().join("akool").exists());
    // The sandbox ignores the variable, as it ignores credentials.
    let mut sandbox = support::akool(&["--sandbox", "jobs", "--json"]);
    let output = sandbox.env("XDG_STATE_HOME", state.path()).env("AKOOL_LEDGER", &one).output().unwrap();
    assert_eq!((code(&output), stdout(&output).as_str()), (0, ""));
}

#[tokio::test]
async fn a_failed_job_is_created_again_only_after_saying_so() {
    let server = MockServer::start().await;
    server.on_create(Timeline::new().failed(1015, "no speech"));
    let state = tempfile::tempdir().unwrap();
    let run = |more: &[&str]| {
        let args = [&["translate", VIDEO, "--to", "es", "--interval", "10ms"], more].concat();
        akool_at(&server, state.path(), &args).output().unwrap()
    };
    assert_eq!(code(&run(&[])), 3);
    assert_shown("failed-again", &server, &run(&[]), state.path());
    assert_shown("failed-again-json", &server, &run(&["--json"]), state.path());
    assert_eq!(server.created().len(), 3);
}

#[tokio::test]
async fn the_first_ctrl_c_during_creation_waits_for_the_ids() {
    let server = MockServer::start().await;
    // The response arrives one byte at a time.
    server.inject_into_creations(Fault::Trickle, Times::Once);
    let state = tempfile::tempdir().unwrap();
    let mut command = akool_at(&server, state.path(), &["translate", VIDEO, "--to", "es"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until(&mut child, "the request arrived", || !server.created().is_empty());
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_shown("interrupted", &server, &output, state.path());
    assert_eq!(jobs(&server, state.path(), &["--pending"])[0]["id"], server.created()[0].id.as_str());
}

#[tokio::test]
async fn the_second_ctrl_c_during_creation_quits_with_an_unknown_outcome() {
    let server = MockServer::start().await;
    server.inject_into_creations(Fault::NeverAnswers, Times::Once);
    let state = tempfile::tempdir().unwrap();
    let mut command = akool_at(&server, state.path(), &["translate", VIDEO, "--to", "es"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until(&mut child, "the request arrived", || !server.created().is_empty());
    interrupt(&child);
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut printed = String::new();
    errors.read_line(&mut printed).unwrap();
    assert!(printed.contains("waiting for their ids"), "{printed}");
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    errors.read_to_string(&mut printed).unwrap();
    assert!(printed.contains("may have been created and charged"), "{printed}");
    assert_eq!(jobs(&server, state.path(), &[])[0]["status"], "outcome_unknown");
}

#[tokio::test]
async fn pending_jobs_are_resumed_and_their_status_is_recorded() {
    let server = MockServer::start().await;
    let state = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| akool_at(&server, state.path(), args).output().unwrap();
    assert_eq!(code(&run(&["translate", VIDEO, "--to", "es,fr", "--no-wait"])), 0);
    assert_shown("jobs", &server, &run(&["jobs"]), state.path());
    assert_shown("jobs-json", &server, &run(&["jobs", "--json"]), state.path());
    for (name, variable, value) in [
        ("jobs-narrow", "COLUMNS", "60"),
        ("jobs-narrower", "COLUMNS", "40"),
        ("jobs-no-color", "NO_COLOR", "1"),
    ] {
        let mut command = akool_at(&server, state.path(), &["jobs"]);
        let output = command.env("CLICOLOR_FORCE", "1").env(variable, value).output().unwrap();
        assert_shown(name, &server, &output, state.path());
    }
    let pending = run(&["wait", "--pending", "--interval", "10ms"]);
    assert_eq!(code(&pending), 0, "{pending:?}");
    assert!(jobs(&server, state.path(), &["--pending"]).is_empty());
    assert!(jobs(&server, state.path(), &[]).iter().all(|job| job["status"] == "completed"));
    assert_eq!(server.created().len(), 2);
    for (variable, coloured) in [("CLICOLOR_FORCE", true), ("NO_COLOR", false)] {
        let mut command = akool_at(&server, state.path(), &["jobs"]);
        let output = command.env("CLICOLOR_FORCE", "1").env(variable, "1").output().unwrap();
        assert_eq!(stdout(&output).contains("\x1b[32mcompleted"), coloured, "{variable}");
    }

    // The jobs of another base URL are not listed.
    let other = MockServer::start().await;
    assert!(jobs(&other, state.path(), &["--all"]).is_empty());
}

#[tokio::test]
async fn refresh_records_the_status_of_jobs() {
    let server = MockServer::start().await;
    server.on_create_in("es", Timeline::new().completed());
    server.on_create_in("fr", Timeline::new().failed(1015, "no speech"));
    let state = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| akool_at(&server, state.path(), args).output().unwrap();
    run(&["translate", VIDEO, "--to", "es,fr", "--no-wait"]);
    let after: Vec<_> =
        jobs(&server, state.path(), &["--refresh"]).iter().map(|job| job["status"].clone()).collect();
    assert_eq!(after, ["completed", "failed"]);
    // A failed job can be created again.
    assert_eq!(code(&run(&["translate", VIDEO, "--to", "fr", "--no-wait"])), 0);
    assert_eq!(server.created().len(), 3);
}

#[tokio::test]
async fn invalid_arguments_send_and_write_nothing() {
    let server = MockServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let under_file = file.join("out").display().to_string();
    for (args, expected) in [
        (&["translate", "talk.mp4", "--to", "es"][..], "is not a URL"),
        (&["translate", VIDEO], "--to"),
        (&["translate", VIDEO, "--to", ""], "is not a language code"),
        (&["translate", VIDEO, "--to", "es,es"], "is listed twice"),
        (&["translate", VIDEO, "--to", "es", "--speakers", "-1"], "0 or more"),
        (&["translate", VIDEO, "--to", "es", "--style", "loud"], "professional"),
        (&["translate", VIDEO, "--to", "es", "--translate-word", "cat"], "LEFT=RIGHT"),
        (&["translate", VIDEO, "--to", "es", "--no-wait", "--output", "x"], "cannot be used with"),
        (&["translate", VIDEO, "--to", "es", "--output", &under_file], "choose another folder"),
        (&["wait"], "<ID"),
        #[cfg(not(feature = "fleet"))]
        (&["fleet", "up", "--help"], "build it with --features fleet"),
        (&["man", file.to_str().unwrap()], "choose another folder"),
    ] {
        let output = akool_at(&server, folder.path(), args).output().unwrap();
        let printed = stderr(&output);
        assert_eq!(code(&output), 2, "{args:?}: {printed}");
        assert!(
            printed.contains(expected) && !printed.contains("MARKER"),
            "{args:?}: no `{expected}` in: {printed}"
        );
    }
    assert!(server.exchanges().is_empty());
    assert!(!folder.path().join("akool").exists());

    // With --json, the error is also an object.
    let output = akool_at(&server, folder.path(), &["translate", "--json"]).output().unwrap();
    let object = &objects(&output)[0];
    assert_eq!((object["event"].as_str(), object["kind"].as_str()), (Some("error"), Some("usage")));

    // If the ledger cannot be written, no request is sent.
    let output = akool_at(&server, &file, &["translate", VIDEO, "--to", "es"]).output().unwrap();
    assert_eq!(code(&output), 2);
    assert!(
        stderr(&output).contains("cannot create the folder") && stderr(&output).contains("XDG_STATE_HOME"),
        "{}",
        stderr(&output)
    );
    assert!(server.exchanges().is_empty());
}

#[tokio::test]
async fn download_keeps_complete_files() {
    let server = MockServer::start().await;
    server.job("done", Timeline::new().completed());
    server.job("busy", Timeline::new().stuck(2));
    server.job("failed", Timeline::new().failed(1015, "no speech"));
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out").display().to_string();
    let run = |args: &[&str]| {
        let args = [&["download", "--output", &out], args].concat();
        akool_at(&server, folder.path(), &args).output().unwrap()
    };
    assert_shown("download", &server, &run(&["done"]), folder.path());
    assert_shown("download-json", &server, &run(&["done", "--json"]), folder.path());
    assert!(!stdout(&run(&["done", "--overwrite"])).contains("already downloaded"));
    assert_eq!(code(&run(&["busy"])), 4);
    assert_eq!(code(&run(&["failed", "busy"])), 3);
    assert_eq!(code(&run(&["nobody"])), 1);
}

#[tokio::test]
async fn auth_names_the_credential_without_its_value() {
    let server = MockServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let auth = |args: &[&str]| akool_at(&server, folder.path(), &[&["auth"], args].concat());
    assert_shown("auth", &server, &auth(&[]).output().unwrap(), folder.path());
    let rejected = auth(&["--json"]).env("AKOOL_API_KEY", "MARKER").output().unwrap();
    assert_shown("auth-rejected-json", &server, &rejected, folder.path());
    let client = auth(&[])
        .env_remove("AKOOL_API_KEY")
        .env("AKOOL_CLIENT_ID", server.client_id())
        .env("AKOOL_CLIENT_SECRET", server.api_key())
        .output()
        .unwrap();
    assert!(stdout(&client).contains("works       yes"), "{client:?}");
    assert!(!stdout(&client).contains(&server.api_key()));
}

#[tokio::test]
async fn credits_prints_the_balance() {
    let server = MockServer::start().await;
    server.set_credits(1520.5);
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| akool_at(&server, folder.path(), args).output().unwrap();
    assert_eq!(stdout(&run(&["credits"])), "1520.5 credits\n");
    let printed = run(&["credits", "--json"]);
    assert_eq!((code(&printed), &*stdout(&printed)), (0, "{\"event\":\"credits\",\"credits\":1520.5}\n"));
    assert_eq!(code(&run(&["translate", VIDEO, "--to", "es", "--no-wait"])), 0);
    assert_eq!(stdout(&run(&["credits"])), "1510.5 credits\n");
    let mut rejected = akool_at(&server, folder.path(), &["credits"]);
    assert_eq!(code(&rejected.env("AKOOL_API_KEY", "wrong").output().unwrap()), 5);
}

#[tokio::test]
async fn languages_are_filtered_by_a_text() {
    let server = MockServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let run = |text: &str| akool_at(&server, folder.path(), &["languages", text]).output().unwrap();
    assert_shown("languages", &server, &run("chinese"), folder.path());
    assert_eq!(code(&run("klingon")), 1);
}

#[test]
fn the_version_is_the_same_with_and_without_the_parser() {
    let folder = tempfile::tempdir().unwrap();
    let version = format!("akool {}\n", env!("CARGO_PKG_VERSION"));
    for args in [&["--version"][..], &["-V"], &["--version", "--json"], &["--json", "-V"]] {
        let output = akool(folder.path(), args).output().unwrap();
        assert_eq!((code(&output), stdout(&output)), (0, version.clone()), "{args:?}");
    }
}

#[test]
fn completions_and_man_pages_are_written() {
    let folder = tempfile::tempdir().unwrap();
    for (shell, has) in [("bash", "_akool()"), ("zsh", "#compdef akool"), ("fish", "complete -c akool")] {
        let output = akool(folder.path(), &["completions", shell]).output().unwrap();
        assert!(stdout(&output).contains(has), "{shell}");
    }
    let output =
        akool(folder.path(), &["man", folder.path().join("man").to_str().unwrap()]).output().unwrap();
    assert_eq!(code(&output), 0);
    let page = fs::read_to_string(folder.path().join("man/akool-translate.1")).unwrap();
    assert!(page.contains(".TH") && page.contains("lipsync"), "{page}");
}

/// The ports of two sandboxes differ, but their jobs are the same.
#[test]
fn sandbox_jobs_are_resumed_by_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| akool(folder.path(), args).output().unwrap();
    let output = run(&["--sandbox", "translate", VIDEO, "--to", "es", "--no-wait"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let out = folder.path().join("out").display().to_string();
    let output = run(&["--sandbox", "wait", "--pending", "--output", &out]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 4);
    assert!(stdout(&run(&["--sandbox", "jobs"])).contains("completed"));
}

/// Kills `translate` at a hundred moments, also between the creation on the server and the response. The ledger then
/// has each job that the server created by its id, or the request with an unknown outcome, and the same command does
/// not create it again.
#[tokio::test]
async fn killed_at_a_hundred_moments_no_job_is_lost_or_paid_twice() {
    let _quiet = QUIET.lock().await;
    let server = MockServer::start().await;
    server.on_create(Timeline::new().completed());
    let command = |state: &Path, url: &str| {
        let mut command =
            akool_at(&server, state, &["translate", url, "--to", "es,fr", "--interval", "10ms"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let folder = tempfile::tempdir().unwrap();
    let began = Instant::now();
    assert!(command(folder.path(), "https://example.com/first.mp4").status().unwrap().success());
    let whole = began.elapsed();
    let before = server.created().len();
    assert_eq!(before, 2);

    let (mut cut_short, mut unknown, mut known) = (0, 0, 0);
    for number in 0..KILLS {
        // A quarter of the kills happens after the server has created the jobs, while it does not respond.
        let never = number % 4 == 0;
        if never {
            server.inject_into_creations(Fault::NeverAnswers, Times::Once);
        }
        let url = format!("https://example.com/{number}.mp4");
        let created = |server: &MockServer| -> BTreeSet<String> {
            let jobs = server.created().into_iter().filter(|job| job.request["url"] == url);
            jobs.map(|job| job.id).collect()
        };
        let mut child = command(folder.path(), &url).spawn().unwrap();
        if never {
            wait_until(&mut child, "the request arrived", || !created(&server).is_empty());
        } else {
            thread::sleep((whole * (number * 37 % KILLS) / KILLS).max(Duration::from_millis(1)));
        }
        child.kill().unwrap();
        cut_short += u32::from(!child.wait().unwrap().success());
        server.clear_faults();

        // The rows of this video: jobs with an id, or languages with an unknown outcome.
        let rows: Vec<_> = jobs(&server, folder.path(), &["--all"])
            .into_iter()
            .filter(|row| row["source"] == url.as_str())
            .collect();
        let ids: BTreeSet<_> = rows.iter().filter_map(|row| Some(row["id"].as_str()?.to_owned())).collect();
        let there = created(&server);
        if ids.is_empty() {
            let open = rows
                .iter()
                .filter(|row| matches!(row["status"].as_str(), Some("outcome_unknown" | "being_created")));
            let open = open.count();
            assert!(
                there.is_empty() || open == 2,
                "kill {number}: {there:?} are not in the ledger: {rows:?}"
            );
            unknown += u32::from(!there.is_empty());
        } else {
            assert_eq!(ids, there, "kill {number}");
            known += 1;
        }

        // The same command does not request anything again that the ledger has.
        let requested = !rows.is_empty();
        let status = command(folder.path(), &url).status().unwrap();
        let after = created(&server);
        if requested && ids.is_empty() {
            assert_eq!(status.code(), Some(7), "kill {number}");
            assert!(after.len() <= 2, "kill {number}: {after:?}");
        } else {
            assert_eq!(status.code(), Some(0), "kill {number}");
            assert_eq!(after.len(), 2, "kill {number}: paid twice");
        }
    }
    // Otherwise this test proves nothing.
    assert!(cut_short > KILLS / 3, "only {cut_short} runs were cut short");
    assert!(unknown >= KILLS / 4, "only {unknown} kills happened between creation and response");
    assert!(known > 0, "no kill happened after the ids were recorded");
}
