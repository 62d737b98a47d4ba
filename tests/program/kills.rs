//! Kills the program with `kill -9` while it downloads: the next run resumes each part whose version is known. After it
//! all files are complete, and the folder has no other files.

use std::{
    collections::BTreeMap,
    fs::{self, DirEntry},
    path::Path,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use akool_mock::{MockServer, Timeline};

use serde_json::Value;

use crate::support::{ID, KILLS, Program, QUIET, akool_at};

const CUE: &[u8] = b"1\n00:00:00,000 --> 00:00:01,000\n";

fn akool(server: &MockServer, folder: &Path) -> Program {
    let mut command = akool_at(server, &["wait", ID, "--interval", "10ms", "--output"]);
    command.arg(folder);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn contents(start: &[u8], seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    start.iter().copied().chain(std::iter::repeat_with(next)).take(length).collect()
}

/// Waits until the program has the version of a file, or has ended.
fn wait_for_part(child: &mut Child, folder: &Path) {
    let is_version = |entry: &DirEntry| entry.path().extension().is_some_and(|end| end == "json");
    while child.try_wait().unwrap().is_none()
        && !fs::read_dir(folder).unwrap().any(|entry| entry.as_ref().is_ok_and(is_version))
    {
        thread::sleep(Duration::from_millis(1));
    }
}

/// The ranges that the next run must request: for each part with a version, all but at least the last byte.
fn expected_ranges(folder: &Path, files: &[(&str, &str, Vec<u8>)]) -> BTreeMap<String, String> {
    let resumed = files.iter().filter_map(|(name, end, bytes)| {
        let part = folder.join(format!("{ID}.{end}.part"));
        let version = fs::read(part.with_extension("part.json")).ok()?;
        // The program may have been killed before it wrote the version. Then it starts again.
        let version: Value = serde_json::from_slice(&version).ok()?;
        assert_eq!(version["etag"], format!("\"{name}\""));
        assert_eq!(version["total"], bytes.len());
        let part = fs::read(part).unwrap();
        assert!(bytes.starts_with(&part), "{name}");
        let start = part.len().min(bytes.len() - 1);
        (start > 0).then(|| ((*name).to_owned(), format!("bytes={start}-")))
    });
    resumed.collect()
}

#[tokio::test]
async fn killed_at_a_hundred_moments_the_files_are_complete_after_the_next_run() {
    let _quiet = QUIET.lock().await;
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().completed());
    let files = [
        ("video.mp4", "mp4", contents(b"\0\0\0\0mdat", 1, 8_000_000)),
        ("no-captions.mp4", "no-captions.mp4", contents(b"\0\0\0\0mdat", 2, 6_000_000)),
        ("original.srt", "original.srt", contents(CUE, 3, 40_000)),
        ("translated.srt", "srt", contents(CUE, 4, 50_000)),
    ];
    for (name, _, bytes) in &files {
        server.file(*name, bytes.clone());
    }

    // Half of the moments are spread over the time that a whole run takes, the others over its downloads.
    let folder = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let mut child = akool(&server, folder.path()).spawn().unwrap();
    wait_for_part(&mut child, folder.path());
    let before_downloads = began.elapsed();
    assert!(child.wait().unwrap().success());
    let whole = began.elapsed();

    let mut cut_short = 0;
    let mut resumed = 0;
    for number in 0..KILLS {
        let folder = tempfile::tempdir().unwrap();
        let mut child = akool(&server, folder.path()).spawn().unwrap();
        // Each moment occurs once, in mixed order: 37 and 100 have no common divisor.
        let moment = number * 37 % KILLS;
        let moment = if moment.is_multiple_of(2) {
            whole * moment / KILLS
        } else {
            wait_for_part(&mut child, folder.path());
            (whole - before_downloads) * moment / KILLS
        };
        thread::sleep(moment.max(Duration::from_millis(1)));
        child.kill().unwrap();
        cut_short += u32::from(!child.wait().unwrap().success());
        let ranges = expected_ranges(folder.path(), &files);
        resumed += ranges.len();
        let before = server.exchanges().len();

        assert!(akool(&server, folder.path()).status().unwrap().success(), "after kill {number}");
        for exchange in server.exchanges().split_off(before) {
            if let Some((_, name)) = exchange.target.strip_prefix("/files/").and_then(|at| at.split_once('/'))
            {
                let name = name.split('?').next().unwrap();
                let range = exchange.headers.get("range").map(|range| range.to_str().unwrap());
                assert_eq!(range, ranges.get(name).map(String::as_str), "after kill {number}: {name}");
                assert_eq!(exchange.status, if range.is_some() { 206 } else { 200 }, "after kill {number}");
            }
        }
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let mut wanted: Vec<_> = files.iter().map(|(_, end, _)| format!("{ID}.{end}")).collect();
        wanted.sort();
        assert_eq!(names, wanted, "after kill {number}");
        for (_, end, bytes) in &files {
            let there = fs::read(folder.path().join(format!("{ID}.{end}"))).unwrap();
            assert!(there == *bytes, "kill {number} at {moment:?}: {end} is not complete");
        }
    }
    // Otherwise this test proves nothing.
    assert!(cut_short > KILLS / 4, "only {cut_short} runs were cut short");
    assert!(resumed > 10, "only {resumed} parts were resumed");
}
