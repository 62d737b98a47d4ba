//! What a poll of a wait counts as, for the feature `metrics`.

use crate::{
    error::Error,
    meter,
    snapshot::Snapshot,
    wait::{
        poller::{Decision, End, Observation},
        state::PollState,
    },
};

/// Records what a [`Poller`](crate::Poller) decided after a poll. A [`WaitSet`](crate::WaitSet) does this itself: call it
/// after [`Poller::observe`](crate::Poller::observe) if your own program drives the poller, once for each poll.
///
/// ```
/// # async fn example(client: akool::Client) {
/// use std::time::Duration;
/// use akool::{Observation, PollPolicy, PollState, Poller};
///
/// let (poller, mut state) = (Poller::new(PollPolicy::default(), None), PollState::new(7));
/// let result = client.job("64dd92c1f0b6684651e90e09").get().await;
/// let (began, ended) = (Duration::ZERO, Duration::from_millis(80));
/// let decision = poller.observe(&mut state, began, ended, Observation::of(&result));
/// akool::metrics::record_poll(&state, decision, &result);
/// # }
/// ```
pub fn record_poll(state: &PollState, decision: Decision, result: &Result<Snapshot, Error>) {
    let snapshot = result.as_ref().ok();
    if let Observation::TransientError { kind, .. } = Observation::of(result) {
        meter::transient_error(kind);
    }
    if state.processing_since == Some(state.last_poll_ended) {
        meter::processing_began(snapshot.and_then(Snapshot::age));
    }
    if let Decision::Finished(end @ (End::Completed | End::Failed)) = decision {
        let processed = state.processing_since.map(|since| state.last_poll_ended.saturating_sub(since));
        meter::ended(end == End::Completed, processed, snapshot.and_then(Snapshot::credits_charged));
    }
}
