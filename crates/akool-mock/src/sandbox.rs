//! The demo jobs of the sandbox: one for each way in which a job can end.

use std::time::Duration;

use crate::{create::Kind, server::MockServer, timeline::Timeline};

/// A demo job.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Scenario {
    /// The job's id.
    pub id: &'static str,
    /// What the job does, in a few words.
    pub what: &'static str,
    /// The job's timeline.
    pub timeline: Timeline,
}

/// Returns all demo jobs. The first has the id of the vendor's example.
///
/// ```
/// assert_eq!(akool_mock::sandbox::scenarios()[0].id, "64dd92c1f0b6684651e90e09");
/// ```
pub fn scenarios() -> Vec<Scenario> {
    let undocumented = Timeline::new()
        .queueing(Duration::from_secs(1))
        .status(7, Duration::from_millis(1500))
        .processing(Duration::from_millis(1500))
        .completed();
    let scenario = |id, what, timeline| Scenario { id, what, timeline };
    vec![
        scenario("64dd92c1f0b6684651e90e09", "completes after 5 seconds", Kind::Completes.timeline()),
        scenario("64dd92c1f0b6684651e90e0a", "fails after 3 seconds", Kind::Fails.timeline()),
        scenario("64dd92c1f0b6684651e90e0b", "stays in processing", Kind::GetsStuck.timeline()),
        scenario(
            "64dd92c1f0b6684651e90e0c",
            "has an undocumented status for a while, then completes",
            undocumented,
        ),
    ]
}

impl MockServer {
    /// Adds all demo jobs. From then on, jobs that requests create complete after 5 seconds; if the file name of the
    /// source contains `fail` they fail, and if it contains `stuck` they stay in processing. Jobs that an earlier
    /// sandbox created are known too, because their ids contain the time of creation.
    pub fn seed_demo_jobs(&self) {
        let mut state = self.state();
        state.seeded = true;
        for scenario in scenarios() {
            state.add_job(scenario.id, scenario.timeline);
            state.notes.insert(scenario.id.to_owned(), scenario.what.to_owned());
        }
    }
}
