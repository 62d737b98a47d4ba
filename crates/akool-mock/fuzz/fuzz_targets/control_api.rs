#![no_main]

use std::{cell::RefCell, sync::LazyLock};

use akool_mock::fuzzing::Control;
use libfuzzer_sys::fuzz_target;

const PATHS: [&str; 10] = [
    "jobs", "jobs/a", "jobs/%2e%2e", "faults", "clock", "account", "state", "requests?job=a", "reset", "unmet-expectations",
];
const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];

static CONTROL: LazyLock<Control> = LazyLock::new(Control::default);

thread_local! {
    static RUNS: RefCell<u32> = const { RefCell::new(0) };
}

// Arbitrary requests, one after the other, to one server. A poll after each reads what they did to the job.
fuzz_target!(|input: (u8, u8, &str, &[u8])| {
    let (method, path, arbitrary, body) = input;
    let known = PATHS.get(usize::from(path)).copied();
    let method = METHODS[usize::from(method) % METHODS.len()];
    let (status, answer) = CONTROL.send(method, known.unwrap_or(arbitrary), body);
    let is_json = || serde_json::from_slice::<serde_json::Value>(&answer).is_ok();
    match status {
        200 | 201 => assert!(is_json()),
        204 => assert!(answer.is_empty()),
        400 | 404 | 405 | 409 | 415 | 507 => {
            let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
            assert!(answer["error"].as_str().is_some_and(|error| !error.is_empty()), "{answer}");
        }
        // The target is not a path.
        0 => {}
        other => panic!("{other}"),
    }
    CONTROL.poll("a");
    RUNS.with_borrow_mut(|runs| {
        *runs += 1;
        if *runs % 10_000 == 0 {
            CONTROL.send("POST", "reset", b"");
        }
    });
});
