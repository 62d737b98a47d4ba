//! The program's whole job as a process: create, wait, fetch, and what the ledger has of it.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use akool_mock::{Fault, MockServer, Polls, Timeline, Times};

const VIDEO: &str = "https://example.com/talk.mp4?Signature=MARKER";
const KILLS: u32 = 100;

/// The program with a state folder of its own, and without anything that this environment says.
fn akool(state: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_akool"));
    command.args(args).stdin(Stdio::null()).env("XDG_STATE_HOME", state);
    for variable in [
        "AKOOL_API_KEY",
        "AKOOL_TOKEN",
        "AKOOL_CLIENT_ID",
        "AKOOL_CLIENT_SECRET",
        "AKOOL_API_HOST",
        "RUST_LOG",
    ] {
        command.env_remove(variable);
    }
    command
}

fn akool_at(server: &MockServer, state: &Path, args: &[&str]) -> Command {
    let mut command = akool(state, args);
    command.env("AKOOL_API_HOST", server.tcp_url()).env("AKOOL_API_KEY", server.api_key());
    command
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Everything that a run printed, with ids, times and folders made the same.
fn assert_shown(name: &str, server: &MockServer, output: &Output, folder: &Path) {
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_snapshot_path("snapshots/translate");
    settings.set_prepend_module_to_snapshot(false);
    settings.add_filter(r"\d+(\.\d)?s\b", "[time]");
    settings.add_filter(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "[date]");
    settings.add_filter(r"\bt[0-9a-f]{7}\b", "[entry]");
    settings.add_filter(r"127\.0\.0\.1:\d+", "127.0.0.1:[port]");
    let mut whole = format!("exit code {}\n--- stdout\n", code(output));
    // Jobs and their files end in the order in which they end.
    let mut lines: Vec<_> = stdout(output).split_inclusive('\n').map(str::to_owned).collect();
    for (number, job) in server.created().iter().enumerate() {
        for line in &mut lines {
            *line = line.replace(&job.id, &format!("[job {}, {:<13}]", number + 1, job.language));
        }
    }
    if name.ends_with("json") {
        lines.sort_by_key(|line| line.contains(r#""event":"downloaded""#).then(|| line.clone()));
    }
    whole += &lines.concat();
    whole += "--- stderr\n";
    let mut errors = stderr(output);
    for (number, job) in server.created().iter().enumerate() {
        errors = errors.replace(&job.id, &format!("[job {}, {:<13}]", number + 1, job.language));
    }
    whole += &errors;
    let whole = whole.replace(folder.to_str().unwrap(), "[dir]");
    assert!(!whole.contains("MARKER"), "{whole}");
    settings.bind(|| insta::assert_snapshot!(name, whole));
}

/// What the ledger's rows say, as `akool jobs --all --json` prints them.
fn jobs(server: &MockServer, state: &Path, more: &[&str]) -> Vec<serde_json::Value> {
    let output = akool_at(server, state, &[&["jobs", "--json"], more].concat()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_link_becomes_files_and_the_same_again_costs_nothing() {
    let server = MockServer::start().await;
    server.on_create(Timeline::new().queueing(Polls(1)).completed());
    let folder = tempfile::tempdir().unwrap();
    let (state, out) = (folder.path().join("state"), folder.path().join("out"));
    let args = ["translate", VIDEO, "--to", "es", "--interval", "10ms", "--output", out.to_str().unwrap()];
    let run = |more: &[&str]| akool_at(&server, &state, &[&args, more].concat()).output().unwrap();
    assert_shown("whole", &server, &run(&[]), folder.path());
    assert_eq!(fs::read_dir(&out).unwrap().count(), 4);
    assert_shown("whole-again", &server, &run(&[]), folder.path());
    assert_shown("whole-again-json", &server, &run(&["--json"]), folder.path());
    assert_eq!(server.created().len(), 1, "paid once");
    assert_eq!(code(&run(&["--allow-duplicate", "--quiet"])), 0);
    assert_eq!(server.created().len(), 2, "twice where that was asked for");
    assert_eq!(jobs(&server, &state, &[]).len(), 2);
}

#[tokio::test]
async fn a_second_language_is_created_beside_the_first() {
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
async fn a_refused_language_does_not_hold_up_the_others() {
    let server = MockServer::start().await;
    server.on_create(Timeline::new().completed());
    server.refuse_language("tlh", 1003, "The language is not supported");
    let state = tempfile::tempdir().unwrap();
    for (name, more) in [("refused", &[][..]), ("refused-json", &["--json", "--allow-duplicate"])] {
        let args = [&["translate", VIDEO, "--to", "es,tlh", "--interval", "10ms"], more].concat();
        let output = akool_at(&server, state.path(), &args).output().unwrap();
        assert_eq!(code(&output), 3);
        assert_shown(name, &server, &output, state.path());
    }
    let output = akool_at(&server, state.path(), &["translate", VIDEO, "--to", "tlh"]).output().unwrap();
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    assert!(stderr(&output).contains("nothing was created"), "{}", stderr(&output));
}

#[tokio::test]
async fn an_unknown_outcome_is_told_kept_and_never_sent_again_by_itself() {
    let server = MockServer::start().await;
    server.inject_into_creations(Fault::ResetBeforeHeaders, Times::Once);
    let state = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| akool_at(&server, state.path(), args).output().unwrap();
    let translate = ["translate", VIDEO, "--to", "es", "--interval", "10ms"];

    let output = run(&translate);
    assert_eq!(code(&output), 7);
    assert!(stderr(&output).contains("the outcome is unknown: the connection"), "{}", stderr(&output));
    assert!(stderr(&output).contains("akool jobs --forget t"), "{}", stderr(&output));
    assert_shown("unknown-again", &server, &run(&translate), state.path());
    assert_shown("unknown-jobs", &server, &run(&["jobs"]), state.path());
    assert_eq!(code(&run(&["wait", "--pending"])), 7);
    assert_eq!(server.created().len(), 1, "sent once, and created");

    // Somebody found it in the console.
    let entry = jobs(&server, state.path(), &["--pending"])[0]["entry"].as_str().unwrap().to_owned();
    let found = server.created()[0].id.clone();
    assert_eq!(code(&run(&["jobs", "--adopt", &format!("{entry}={found}")])), 0);
    assert_eq!(
        code(&run(&["jobs", "--adopt", &format!("{entry}={found}")])),
        1,
        "nothing is unknown any more"
    );
    assert_eq!(code(&run(&translate)), 0);
    assert_eq!(server.created().len(), 1, "and was not paid for again");

    // Another one is not there.
    server.inject_into_creations(Fault::Http(502), Times::Once);
    assert_eq!(code(&run(&["translate", VIDEO, "--to", "fr"])), 7);
    let entry = jobs(&server, state.path(), &["--pending"])[0]["entry"].as_str().unwrap().to_owned();
    assert_eq!(code(&run(&["jobs", "--forget", &entry])), 0);
    assert_eq!(code(&run(&["jobs", "--forget", "nobody"])), 1);
    assert_eq!(jobs(&server, state.path(), &[]).len(), 1, "the one that is known stays");
    assert_eq!(code(&run(&["wait", "--pending"])), 0);
}

#[tokio::test]
async fn equal_commands_at_once_pay_once_and_all_get_the_job() {
    let server = MockServer::start().await;
    server.on_create(Timeline::new().completed());
    // Slowly, so that the others come meanwhile.
    server.inject_into_creations(Fault::Trickle, Times::Once);
    let state = tempfile::tempdir().unwrap();
    let command = || {
        let mut command = akool_at(&server, state.path(), &["translate", VIDEO, "--to", "es", "--no-wait"]);
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    };
    let runs: Vec<_> = (0..8).map(|_| command()).collect();
    for run in runs {
        let output = run.wait_with_output().unwrap();
        assert_eq!((code(&output), stdout(&output).trim()), (0, server.created()[0].id.as_str()));
    }
    assert_eq!(server.created().len(), 1);
}

#[tokio::test]
async fn a_damaged_ledger_is_told_and_holds_up_what_might_be_paid_twice() {
    let server = MockServer::start().await;
    let state = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| akool_at(&server, state.path(), args).output().unwrap();
    run(&["translate", VIDEO, "--to", "es", "--no-wait"]);
    let path = state.path().join("akool/ledger.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("intent", "intend", 1)).unwrap();
    for args in
        [&["jobs"][..], &["wait", "--pending", "--interval", "10ms"], &["translate", VIDEO, "--to", "es"]]
    {
        let output = run(args);
        assert_eq!(code(&output), 1, "{args:?}");
        assert!(stderr(&output).contains("line 1 of the ledger"), "{args:?}: {}", stderr(&output));
    }
    assert_eq!(server.created().len(), 1);
}

fn interrupt(child: &std::process::Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

#[tokio::test]
async fn interrupted_while_jobs_are_created_it_waits_for_their_ids() {
    let server = MockServer::start().await;
    // The answer comes, a byte at a time.
    server.inject_into_creations(Fault::Trickle, Times::Once);
    let state = tempfile::tempdir().unwrap();
    let mut command = akool_at(&server, state.path(), &["translate", VIDEO, "--to", "es"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while server.created().is_empty() {
        thread::sleep(Duration::from_millis(1));
    }
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_shown("interrupted", &server, &output, state.path());
    assert_eq!(jobs(&server, state.path(), &["--pending"])[0]["id"], server.created()[0].id.as_str());
}

#[tokio::test]
async fn interrupted_twice_it_leaves_and_the_outcome_is_unknown() {
    let server = MockServer::start().await;
    server.inject_into_creations(Fault::NeverAnswers, Times::Once);
    let state = tempfile::tempdir().unwrap();
    let mut command = akool_at(&server, state.path(), &["translate", VIDEO, "--to", "es"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while server.created().is_empty() {
        thread::sleep(Duration::from_millis(1));
    }
    interrupt(&child);
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    errors.read_line(&mut said).unwrap();
    assert!(said.contains("waiting for their ids"), "{said}");
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    errors.read_to_string(&mut said).unwrap();
    assert!(said.contains("may have been created and paid for"), "{said}");
    assert_eq!(jobs(&server, state.path(), &[])[0]["status"], "outcome_unknown");
}

#[tokio::test]
async fn what_is_pending_is_picked_up_and_its_end_is_kept() {
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

    // Another service's jobs are not this one's.
    let other = MockServer::start().await;
    assert!(jobs(&other, state.path(), &["--all"]).is_empty());
}

#[tokio::test]
async fn a_refresh_finds_out_what_became_of_jobs() {
    let server = MockServer::start().await;
    server.on_create_in("es", Timeline::new().completed());
    server.on_create_in("fr", Timeline::new().failed(1015, "no speech"));
    let state = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| akool_at(&server, state.path(), args).output().unwrap();
    run(&["translate", VIDEO, "--to", "es,fr", "--no-wait"]);
    let after: Vec<_> =
        jobs(&server, state.path(), &["--refresh"]).iter().map(|job| job["status"].clone()).collect();
    assert_eq!(after, ["completed", "failed"]);
    // A failed one may be asked for again.
    assert_eq!(code(&run(&["translate", VIDEO, "--to", "fr", "--no-wait"])), 0);
    assert_eq!(server.created().len(), 3);
}

#[tokio::test]
async fn what_breaks_a_rule_is_told_before_anything_is_asked_or_written() {
    let server = MockServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let under_file = file.join("out").display().to_string();
    for (args, says) in [
        (&["translate", "talk.mp4", "--to", "es"][..], "is no link"),
        (&["translate", VIDEO], "--to"),
        (&["translate", VIDEO, "--to", ""], "is no language code"),
        (&["translate", VIDEO, "--to", "es,es"], "set twice"),
        (&["translate", VIDEO, "--to", "es", "--speakers", "11"], "at most 10"),
        (&["translate", VIDEO, "--to", "es", "--style", "loud"], "professional"),
        (&["translate", VIDEO, "--to", "es", "--translate-word", "cat"], "LEFT=RIGHT"),
        (&["translate", VIDEO, "--to", "es", "--no-wait", "--output", "x"], "cannot be used with"),
        (&["translate", VIDEO, "--to", "es", "--output", &under_file], "choose another folder"),
        (&["wait"], "<ID"),
        (&["man", file.to_str().unwrap()], "choose another folder"),
    ] {
        let output = akool_at(&server, folder.path(), args).output().unwrap();
        let said = stderr(&output);
        assert_eq!(code(&output), 2, "{args:?}: {said}");
        assert!(said.contains(says) && !said.contains("MARKER"), "{args:?}: no `{says}` in: {said}");
    }
    assert!(server.exchanges().is_empty());
    assert!(!folder.path().join("akool").exists());

    // Programs are told so too.
    let output = akool_at(&server, folder.path(), &["translate", "--json"]).output().unwrap();
    let object: serde_json::Value = serde_json::from_str(stdout(&output).trim()).unwrap();
    assert_eq!((object["event"].as_str(), object["kind"].as_str()), (Some("error"), Some("wrong_use")));

    // A ledger that cannot be written to: nothing is asked for.
    let output = akool_at(&server, &file, &["translate", VIDEO, "--to", "es"]).output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("nothing was asked for"), "{}", stderr(&output));
    assert!(server.exchanges().is_empty());
}

#[tokio::test]
async fn files_are_fetched_again_and_credentials_told_without_being_shown() {
    let server = MockServer::start().await;
    server.job("done", Timeline::new().completed());
    server.job("busy", Timeline::new().stuck(2));
    server.job("failed", Timeline::new().failed(1015, "no speech"));
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out").display().to_string();
    let run = |args: &[&str]| akool_at(&server, folder.path(), args).output().unwrap();
    assert_shown("download", &server, &run(&["download", "done", "--output", &out]), folder.path());
    assert_shown(
        "download-json",
        &server,
        &run(&["download", "done", "--output", &out, "--json"]),
        folder.path(),
    );
    assert!(!stdout(&run(&["download", "done", "--output", &out, "--overwrite"])).contains("was there"));
    assert_eq!(code(&run(&["download", "busy", "--output", &out])), 4);
    assert_eq!(code(&run(&["download", "failed", "busy", "--output", &out])), 3);
    assert_eq!(code(&run(&["download", "nobody", "--output", &out])), 1);

    assert_shown("auth", &server, &run(&["auth"]), folder.path());
    let mut refused = akool_at(&server, folder.path(), &["auth", "--json"]);
    let refused = refused.env("AKOOL_API_KEY", "MARKER").output().unwrap();
    assert_eq!(code(&refused), 5);
    assert_shown("auth-refused-json", &server, &refused, folder.path());
    let mut credentials = akool_at(&server, folder.path(), &["auth"]);
    let credentials = credentials
        .env_remove("AKOOL_API_KEY")
        .env("AKOOL_CLIENT_ID", server.client_id())
        .env("AKOOL_CLIENT_SECRET", server.api_key())
        .output()
        .unwrap();
    assert!(stdout(&credentials).contains("works       yes"), "{credentials:?}");
    assert!(!stdout(&credentials).contains(&server.api_key()));

    assert_shown("languages", &server, &run(&["languages", "chinese"]), folder.path());
    assert_eq!(code(&run(&["languages", "klingon"])), 1);
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

/// A sandbox's own jobs outlive it: another run of the program goes on with them.
#[test]
fn a_sandboxs_jobs_are_picked_up_by_the_next_run() {
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

/// Killed at a hundred moments of `translate`, also between the server's commit and the answer: every
/// job that the server created is in the ledger by its id, or its intent is there as outcome unknown;
/// and the same command afterwards creates nothing that is there already.
#[tokio::test]
async fn killed_at_a_hundred_moments_no_job_is_lost_or_paid_twice() {
    let _quiet = crate::QUIET.lock().await;
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
        // A quarter of the kills falls between the server's commit and its answer, which never comes.
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
            // Until the server has committed.
            while created(&server).is_empty() {
                assert!(child.try_wait().unwrap().is_none(), "it ended before it asked");
                thread::sleep(Duration::from_millis(1));
            }
        } else {
            thread::sleep((whole * (number * 37 % KILLS) / KILLS).max(Duration::from_millis(1)));
        }
        child.kill().unwrap();
        cut_short += u32::from(!child.wait().unwrap().success());
        // What was on its way to the server may still be arriving.
        server.clear_faults();

        // Rows of this video: its jobs by id, or languages of which nothing is known.
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
            assert!(there.is_empty() || open == 2, "kill {number}: {there:?} are nowhere: {rows:?}");
            unknown += u32::from(!there.is_empty());
        } else {
            assert_eq!(ids, there, "kill {number}");
            known += 1;
        }

        // Once more: what was asked for is not asked for again, by id or as unknown.
        let asked = !rows.is_empty();
        let status = command(folder.path(), &url).status().unwrap();
        let after = created(&server);
        if asked && ids.is_empty() {
            assert_eq!(status.code(), Some(7), "kill {number}");
            assert!(after.len() <= 2, "kill {number}: {after:?}");
        } else {
            assert_eq!(status.code(), Some(0), "kill {number}");
            assert_eq!(after.len(), 2, "kill {number}: paid twice");
        }
    }
    // Otherwise this proves nothing.
    assert!(cut_short > KILLS / 3, "only {cut_short} runs were cut short");
    assert!(unknown >= KILLS / 4, "only {unknown} kills fell between commit and answer");
    assert!(known > 0, "no kill fell after the ids were written down");
}
