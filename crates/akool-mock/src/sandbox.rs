//! The jobs that a sandbox offers to people: one for each way a job can go.

use std::time::Duration;

use crate::{ServiceState, Timeline};

/// A job of the sandbox.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Scenario {
    /// The job's id.
    pub id: &'static str,
    /// What it does, in a few words.
    pub what: &'static str,
    /// How it does it.
    pub timeline: Timeline,
}

/// Every job of the sandbox. The first has the id of the vendor's own example.
///
/// ```
/// assert_eq!(akool_mock::sandbox::scenarios()[0].id, "64dd92c1f0b6684651e90e09");
/// ```
pub fn scenarios() -> Vec<Scenario> {
    let millis = Duration::from_millis;
    vec![
        Scenario {
            id: "64dd92c1f0b6684651e90e09",
            what: "completes after 5 seconds",
            timeline: Timeline::new().queueing(millis(1500)).processing(millis(3500)).completed(),
        },
        Scenario {
            id: "64dd92c1f0b6684651e90e0a",
            what: "fails after 3 seconds",
            timeline: Timeline::new()
                .queueing(millis(1000))
                .processing(millis(2000))
                .failed(1015, "the voice could not be separated from the background"),
        },
        Scenario {
            id: "64dd92c1f0b6684651e90e0b",
            what: "stays in processing",
            timeline: Timeline::new().queueing(millis(1000)).stuck(2),
        },
        Scenario {
            id: "64dd92c1f0b6684651e90e0c",
            what: "passes through a status that nobody documented, then completes",
            timeline: Timeline::new()
                .queueing(millis(1000))
                .status(7, millis(1500))
                .processing(millis(1500))
                .completed(),
        },
    ]
}

/// Adds every job of the sandbox. Jobs that are created there complete after 5 seconds, fail where
/// the name of their source has `fail` in it, and stay in processing where it has `stuck`; those that
/// another sandbox created are taken up, for their ids say when that was.
pub fn seed_demo_jobs(machine: &mut ServiceState) {
    machine.seeded = true;
    for scenario in scenarios() {
        machine.job(scenario.id, scenario.timeline);
        machine.note(scenario.id, scenario.what);
    }
}
