//! `akool translate` with many videos.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use akool_mock::{MockServer, Polls, Timeline};
use serde_json::Value;

use crate::support::{self, Program, QUIET, code, interrupt, objects, stderr, stdout, wait_until};

/// Kills of a batch.
const KILLS: u32 = 200;

fn akool_at(server: &MockServer, state: &Path, args: &[&str]) -> Program {
    let mut command = support::akool_at(server, args);
    command.env("XDG_STATE_HOME", state);
    command
}

fn run(server: &MockServer, state: &Path, args: &[&str]) -> Output {
    akool_at(server, state, args).output().unwrap()
}

/// A file with a row for each video, in Spanish and French.
fn csv(folder: &Path, rows: usize) -> String {
    let mut text = "url,to\n".to_owned();
    for row in 1..=rows {
        let _ = writeln!(text, "https://example.com/talk{row}.mp4,\"es,fr\"");
    }
    let path = folder.join("videos.csv");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn jobs(server: &MockServer, state: &Path, more: &[&str]) -> Vec<Value> {
    objects(&run(server, state, &[&["jobs", "--json"], more].concat()))
}

#[tokio::test]
async fn a_file_with_mistakes_creates_nothing_unless_they_are_left_out() {
    let server = MockServer::start().await;
    server.on_create(Timeline::new().completed());
    let folder = tempfile::tempdir().unwrap();
    let mut lines = vec!["url,to,style".to_owned()];
    lines.extend((1..=30).map(|row| format!("https://example.com/talk{row}.mp4,\"es,fr\",")));
    lines[4] = "talk3.mp4,es,".to_owned();
    lines[10] = "https://example.com/talk10.mp4,es,loud".to_owned();
    lines[20] = "https://example.com/talk20.mp4".to_owned();
    lines[30] = "https://example.com/talk30.mp4,\"es,tlh\",".to_owned();
    let file = folder.path().join("videos.csv");
    fs::write(&file, lines.join("\n")).unwrap();
    let args = ["translate", "--from-file", file.to_str().unwrap(), "--interval", "10ms"];

    let refused = run(&server, folder.path(), &args);
    let text = stderr(&refused);
    assert_eq!(code(&refused), 2, "{text}");
    for wanted in [
        "line 5: \"talk3.mp4\" is not a URL",
        "line 11: invalid value 'loud'",
        "line 21: it has 1 values for 3 columns",
        "line 31: tlh: not supported. `akool languages` lists the codes",
        "nothing was created; correct the file, or use --skip-invalid",
    ] {
        assert!(text.contains(wanted), "no `{wanted}` in: {text}");
    }
    assert!(server.created().is_empty() && !folder.path().join("akool").exists());

    let report = folder.path().join("report.jsonl");
    let more = ["--skip-invalid", "--report", report.to_str().unwrap()];
    let output = run(&server, folder.path(), &[&args[..], &more].concat());
    assert_eq!(code(&output), 3, "a language was left out: {}", stderr(&output));
    assert_eq!(server.created().len(), 53);
    let last = stdout(&output).lines().last().unwrap().to_owned();
    assert_eq!(last, "53 of 54 completed, 1 refused: tlh, 3 rows left out");
    let rows: Vec<Value> =
        fs::read_to_string(report).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((rows.len(), &rows[0]["line"], &rows[29]["line"]), (30, &2.into(), &31.into()));
    assert_eq!(rows[0]["languages"][1]["language"], "fr");
    assert!(rows[3]["left_out"].as_str().unwrap().contains("is not a URL"), "{}", rows[3]);
    let statuses: Vec<_> = (0..2).map(|index| rows[29]["languages"][index]["status"].clone()).collect();
    assert_eq!(statuses, ["completed", "rejected"]);

    // Everything exists already.
    let again = run(&server, folder.path(), &[&args[..], &["--skip-invalid", "--json"]].concat());
    assert_eq!(server.created().len(), 53);
    assert_eq!(objects(&again).last().unwrap()["completed"], 53);
}

#[tokio::test]
async fn a_report_that_cannot_be_written_is_an_error_before_anything_is_created() {
    let server = MockServer::start().await;
    server.on_create(Timeline::new().completed());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("videos.jsonl");
    let line = r#"{"url": "https://example.com/talk.mp4", "to": "es"}"#;
    fs::write(&file, format!("{line}\n{line}\n")).unwrap();
    let report = |path: &str| {
        let args =
            ["translate", "--from-file", file.to_str().unwrap(), "--interval", "10ms", "--report", path];
        run(&server, folder.path(), &args)
    };
    for path in ["/nonexistent/report", folder.path().to_str().unwrap()] {
        let output = report(path);
        assert_eq!((code(&output), server.created().len()), (2, 0), "{}", stderr(&output));
        assert!(stderr(&output).contains("cannot write the report") && !stderr(&output).contains(".akool"));
    }
    // Through a link, its target is written.
    let (target, link) = (folder.path().join("report"), folder.path().join("link"));
    fs::write(&target, "old").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let output = report(link.to_str().unwrap());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(link.is_symlink());
    let text = fs::read_to_string(&target).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows[1]["languages"][0]["same_as"], "line 1", "{text}");
    assert_eq!(code(&report("/dev/null")), 0);
    assert!(!Path::new("/dev/null").is_file());
}

#[tokio::test]
async fn files_of_spreadsheets_are_read_or_refused_with_a_hint() {
    let server = MockServer::start().await;
    server.on_create(Timeline::new().completed());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("videos.csv");
    let read = |contents: &[u8]| {
        fs::write(&file, contents).unwrap();
        run(&server, folder.path(), &["translate", "--from-file", file.to_str().unwrap(), "--dry-run"])
    };
    assert_eq!(code(&read(b"url,to,lipsync\nhttps://example.com/a.mp4,es,TRUE\n")), 0);
    let utf_16: Vec<u8> = "\u{feff}url,to\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (contents, hint) in [
        (&b"url;to\nhttps://example.com/a.mp4;es\n"[..], "separate them by commas"),
        (b"[{\"url\": \"https://example.com/a.mp4\"}]", "one object in each line"),
        (&utf_16, "save it as UTF-8"),
        (b"{\"url\":\"https://a/1\",\"URL\":\"https://a/2\",\"to\":\"es\"}", "url is there twice"),
    ] {
        let output = read(contents);
        assert_eq!(code(&output), 2);
        assert!(stderr(&output).contains(hint), "no `{hint}` in: {}", stderr(&output));
    }
}

#[tokio::test]
async fn too_few_credits_end_the_creation_and_are_not_refused_languages() {
    let server = MockServer::start().await;
    server.on_create(Timeline::new().completed());
    server.set_credits_per_job(10);
    server.set_credits(35.0);
    let folder = tempfile::tempdir().unwrap();
    let file = csv(folder.path(), 5);
    let output = run(&server, folder.path(), &["translate", "--from-file", &file, "--interval", "10ms"]);
    assert_eq!((code(&output), server.created().len()), (3, 3), "{}", stderr(&output));
    assert!(stdout(&output).ends_with("3 of 10 completed, 7 not created\n"), "{}", stdout(&output));
    let text = stderr(&output);
    assert!(
        text.contains("`akool credits` prints the balance") && !text.contains("akool languages"),
        "{text}"
    );
    assert!(
        text.contains("Check the account and `akool credits`, then run the same command again."),
        "{text}"
    );
    // No further request was sent.
    server.assert_creations().count(2);
}

#[tokio::test]
async fn a_batch_ends_if_the_service_cannot_be_reached() {
    let folder = tempfile::tempdir().unwrap();
    let file = csv(folder.path(), 20);
    let mut command = support::akool(&["translate", "--from-file", &file]);
    command.env("XDG_STATE_HOME", folder.path()).env("AKOOL_API_KEY", "a-key-000000000000");
    let output = command.env("AKOOL_API_HOST", "http://127.0.0.1:1").output().unwrap();
    assert_eq!(code(&output), 6, "{}", stderr(&output));
    assert_eq!(stderr(&output).matches("cannot connect").count(), 1 + 3, "{}", stderr(&output));
    assert!(stderr(&output).contains("run the same command later"), "{}", stderr(&output));
}

#[tokio::test]
async fn at_most_as_many_jobs_as_allowed_are_active() {
    let server = MockServer::start().await;
    server.on_create(Timeline::new().queueing(Polls(2)).completed());
    let folder = tempfile::tempdir().unwrap();
    let file = csv(folder.path(), 6);
    let args = ["translate", "--from-file", &file, "--interval", "10ms", "--max-active", "3", "--json"];
    let output = run(&server, folder.path(), &args);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let mut active = 0_i32;
    for object in objects(&output) {
        match object["event"].as_str().unwrap() {
            "created" => active += 1,
            "completed" => active -= 1,
            _ => {}
        }
        assert!(active <= 3);
    }
    assert_eq!((active, server.created().len()), (0, 12));
}

#[tokio::test]
async fn rows_fail_independently_and_no_failed_job_is_created_again_in_one_run() {
    let server = MockServer::start().await;
    server.on_create_in("es", Timeline::new().completed());
    server.on_create_in("fr", Timeline::new().failed(1015, "no speech"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("videos.jsonl");
    let line = r#"{"url": "https://example.com/talk.mp4", "to": ["es", "fr"]}"#;
    let respelt = r#"{"url": "https://EXAMPLE.com/t%61lk.mp4", "to": ["FR", "de"]}"#;
    fs::write(&file, format!("{line}\n{respelt}\n")).unwrap();
    server.on_create_in("de", Timeline::new().completed());
    let args =
        ["translate", "--from-file", file.to_str().unwrap(), "--interval", "10ms", "--max-active", "1"];
    let output = run(&server, folder.path(), &args);
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("line 2 repeats line 1 in FR"), "{}", stderr(&output));
    assert!(stdout(&output).ends_with("2 of 3 completed, 1 failed\n"), "{}", stdout(&output));
    assert_eq!(server.created().len(), 3);
    // The next run creates it again, and says so.
    let output = run(&server, folder.path(), &args);
    assert!(stderr(&output).contains("fr: failed 0 s ago"), "{}", stderr(&output));
    assert_eq!(server.created().len(), 4);
}

#[tokio::test]
async fn an_interrupted_batch_names_the_command_that_resumes_and_goes_on() {
    let server = MockServer::start().await;
    server.on_create(Timeline::new().stuck(2));
    let folder = tempfile::tempdir().unwrap();
    let file = csv(folder.path(), 3);
    let args = ["translate", "--from-file", &file, "--interval", "10ms", "--max-active", "4"];
    let mut child = akool_at(&server, folder.path(), &args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let polled = || {
        server.created().len() == 4 && server.created().iter().all(|job| !server.polls_of(&job.id).is_empty())
    };
    wait_until(&mut child, "four jobs are polled", polled);
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 130);
    assert!(stderr(&output).contains("akool wait --interval 10ms --pending"), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("run the same command again to create the others"),
        "{}",
        stderr(&output)
    );
    assert!(
        stdout(&output).ends_with("0 of 6 completed, 4 not ended, 2 not created\n"),
        "{}",
        stdout(&output)
    );
    for job in server.created() {
        server.job(job.id, Timeline::new().completed());
    }
    server.on_create(Timeline::new().completed());
    let output = run(&server, folder.path(), &args[..5]);
    assert_eq!((code(&output), server.created().len()), (0, 6), "{}", stderr(&output));
}

#[tokio::test]
async fn twenty_processes_with_the_same_file_pay_once() {
    let _quiet = QUIET.lock().await;
    let server = MockServer::start().await;
    server.on_create(Timeline::new().completed());
    let folder = tempfile::tempdir().unwrap();
    let file = csv(folder.path(), 25);
    let args = ["translate", "--from-file", &file, "--no-wait", "--json"];
    let spawn = || {
        let mut command = akool_at(&server, folder.path(), &args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..20).map(|_| spawn()).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let ids: BTreeSet<_> =
            objects(&output).iter().filter_map(|object| object["id"].as_str().map(str::to_owned)).collect();
        assert_eq!(ids.len(), 50, "each has every job");
    }
    assert_eq!(server.created().len(), 50);
}

#[tokio::test]
async fn a_batch_that_is_killed_loses_and_doubles_nothing() {
    const ROWS: usize = 40;
    let _quiet = QUIET.lock().await;
    let server = MockServer::start().await;
    server.on_create(Timeline::new().completed());
    let folder = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let whole = folder.path().join("whole");
    fs::create_dir(&whole).unwrap();
    let spawn = |state: &Path, file: &str| {
        let mut command = akool_at(&server, state, &["translate", "--from-file", file, "--no-wait"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let file = csv(&whole, ROWS);
    assert!(spawn(&whole, &file).wait().unwrap().success());
    let duration = began.elapsed();
    let before = server.created().len();
    assert_eq!(before, 2 * ROWS);

    // One ledger, killed again and again at other moments until the batch is complete.
    let state = folder.path().join("killed");
    fs::create_dir(&state).unwrap();
    let file = csv(&state, ROWS);
    let text = fs::read_to_string(&file).unwrap().replace("talk", "killed");
    fs::write(&file, text).unwrap();
    for number in 0..KILLS {
        let mut child = spawn(&state, &file);
        thread::sleep(duration * (number * 37 % KILLS) / KILLS / 4 + Duration::from_millis(1));
        let _ = child.kill();
        child.wait().unwrap();
    }
    let last = spawn(&state, &file).wait().unwrap();
    let listed = jobs(&server, &state, &[]);
    let unknown: BTreeSet<_> = listed
        .iter()
        .filter(|job| job["status"] == "outcome_unknown")
        .map(|job| (job["source"].to_string(), job["language"].to_string()))
        .collect();
    assert_eq!(last.code(), Some(if unknown.is_empty() { 0 } else { 7 }));
    // What the server created is in the ledger: as a job, or as work whose outcome is unknown.
    let known: BTreeSet<_> = listed.iter().filter_map(|job| job["id"].as_str().map(str::to_owned)).collect();
    let mut times: BTreeMap<(String, String), u32> = BTreeMap::new();
    for job in server.created().into_iter().skip(before) {
        let work = (job.request["url"].to_string(), format!("\"{}\"", job.language));
        assert!(known.contains(&job.id) || unknown.contains(&work), "{work:?} was lost");
        *times.entry(work).or_default() += 1;
    }
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    assert_eq!(listed.len(), 2 * ROWS, "every work is listed once");
}

#[tokio::test]
async fn costs_are_summed_by_day_language_and_status() {
    let server = MockServer::start().await;
    server.set_credits_per_job(4);
    server.on_create_in("es", Timeline::new().completed());
    server.on_create_in("fr", Timeline::new().failed(1015, "no speech"));
    let folder = tempfile::tempdir().unwrap();
    let file = csv(folder.path(), 3);
    run(&server, folder.path(), &["translate", "--from-file", &file, "--interval", "10ms"]);
    let costs = objects(&run(&server, folder.path(), &["jobs", "--costs", "--json"]));
    let shown: Vec<_> = costs
        .iter()
        .map(|cost| {
            ["language", "status", "jobs", "credits_held"].map(|name| cost[name].to_string()).join(" ")
        })
        .collect();
    assert_eq!(shown, [r#""es" "completed" 3 12.0"#, r#""fr" "failed" 3 12.0"#]);
    assert_eq!((&costs[0]["charged_unknown"], &costs[1]["credits_charged"]), (&0.into(), &Value::Null));
    let text = stdout(&run(&server, folder.path(), &["jobs", "--costs"]));
    assert!(text.starts_with("DAY         LANGUAGE  STATUS     JOBS  HELD  CHARGED\n"), "{text}");
    assert!(text.ends_with("fr        failed     3     12    unknown\n"), "{text}");
}

/// With `BATCH_ROWS=20000`, this takes some minutes.
#[tokio::test]
async fn the_last_thousand_rows_take_as_long_as_the_first() {
    const CHUNK: usize = 100;
    let _quiet = QUIET.lock().await;
    let rows = std::env::var("BATCH_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(2_000);
    let server = MockServer::start().await;
    server.on_create(Timeline::new().completed());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("videos.csv");
    let mut text = "url,to\n".to_owned();
    for row in 0..rows {
        let _ = writeln!(text, "https://example.com/talk{row}.mp4,es");
    }
    fs::write(&file, text).unwrap();
    let args = ["translate", "--from-file", file.to_str().unwrap(), "--interval", "10ms", "--json"];
    let mut command = akool_at(&server, folder.path(), &args);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let completed = lines.filter(|line| line.starts_with("{\"event\":\"completed\""));
    let mut chunks = Vec::new();
    let mut began = Instant::now();
    for (number, _) in (1..).zip(completed) {
        if number % CHUNK == 0 {
            chunks.push(began.elapsed());
            began = Instant::now();
        }
    }
    assert!(support::end_of(&mut child).success());
    assert_eq!(chunks.len(), rows / CHUNK);
    let median = |chunks: &[Duration]| {
        let mut chunks = chunks.to_vec();
        chunks.sort();
        chunks[chunks.len() / 2]
    };
    let (first, last) = (median(&chunks[..10]), median(&chunks[chunks.len() - 10..]));
    let ratio = last.as_secs_f64() / first.as_secs_f64();
    println!("{CHUNK} rows: {first:?} in the first thousand, {last:?} in the last of {rows}: {ratio:.2} x");
    assert!(ratio <= 1.5, "{CHUNK} rows: {first:?} in the first thousand, {last:?} in the last");
}
