//! Kills the program with `kill -9` while it downloads: after the next run all files are complete, and the folder
//! has no other files.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use akool_mock::{MockServer, Timeline};

use crate::support::{ID, KILLS, QUIET, akool_at};

fn akool(server: &MockServer, folder: &Path) -> Command {
    let mut command = akool_at(server, &["wait", ID, "--interval", "10ms", "--output"]);
    command.arg(folder).env("AKOOL_API_HOST", server.tcp_url());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn contents(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[tokio::test]
async fn killed_at_a_hundred_moments_the_files_are_complete_after_the_next_run() {
    let _quiet = QUIET.lock().await;
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().completed());
    let files = [
        ("video.mp4", "mp4", contents(1, 800_000)),
        ("no-captions.mp4", "no-captions.mp4", contents(2, 600_000)),
        ("original.srt", "original.srt", contents(3, 40_000)),
        ("translated.srt", "translated.srt", contents(4, 50_000)),
    ];
    for (name, _, bytes) in &files {
        server.file(*name, bytes.clone());
    }

    // The moments are spread over the time that a whole run takes.
    let folder = tempfile::tempdir().unwrap();
    let began = Instant::now();
    assert!(akool(&server, folder.path()).status().unwrap().success());
    let whole = began.elapsed();

    let mut cut_short = 0;
    let mut left_parts = 0;
    for number in 0..KILLS {
        let folder = tempfile::tempdir().unwrap();
        let mut child = akool(&server, folder.path()).spawn().unwrap();
        // Each moment occurs once, in mixed order: 37 and 100 have no common divisor.
        let moment = whole * (number * 37 % KILLS) / KILLS;
        thread::sleep(moment.max(Duration::from_millis(1)));
        child.kill().unwrap();
        cut_short += u32::from(!child.wait().unwrap().success());
        let parts = fs::read_dir(folder.path()).unwrap().filter(|entry| {
            entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|end| end == "part"))
        });
        left_parts += parts.count();

        assert!(akool(&server, folder.path()).status().unwrap().success(), "after kill {number}");
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
    assert!(left_parts > 0, "no kill happened during a download");
}
