//! What the engine stores of one work: [`WorkState`].

use akool::JobId;
use serde::{Deserialize, Serialize};

use crate::{
    claim::Stored,
    model::{CreatedWork, Creation, Unknown, WaitOptions, WorkView},
    step::Origin,
    work::WorkId,
};

/// What the engine stores of a work.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct WorkState {
    /// An attempt is, or was, between its claim and its outcome.
    pub(crate) is_claimed: bool,
    /// When it was claimed last, in milliseconds since the Unix epoch.
    pub(crate) claimed_ms: u64,
    /// The last outcome. Never [`Creation::NotCreated`], which does not stop a later creation.
    pub(crate) creation: Option<Creation>,
    /// The jobs that were created before, the last one last.
    pub(crate) earlier: Vec<CreatedWork>,
    /// Until when an attempt whose outcome is unknown may still send its request, in milliseconds since the Unix epoch.
    pub(crate) late_until_ms: u64,
    /// How the last call that sent a request wants to wait.
    pub(crate) options: WaitOptions,
    /// Which call the last outcome is of.
    pub(crate) call: String,
    pub(crate) source: String,
    pub(crate) language: String,
    pub(crate) credential: Option<String>,
}

impl WorkState {
    pub(super) fn stored(&self, is_again: bool) -> Option<Stored<Creation>> {
        match &self.creation {
            _ if self.is_claimed => Some(Stored::Claimed),
            Some(Creation::Created(_)) if is_again => None,
            Some(Creation::Created(created)) => {
                Some(Stored::Done(Creation::Created(CreatedWork { is_reused: true, ..created.clone() })))
            }
            other => other.clone().map(Stored::Done),
        }
    }

    /// Records an outcome. A job that was created before is not forgotten.
    pub(super) fn record(&mut self, creation: Creation) -> Creation {
        self.is_claimed = false;
        if let Some(Creation::Created(created)) = self.creation.replace(creation.clone()) {
            self.earlier.push(created);
        }
        creation
    }

    /// Forgets one job, or else all that is known; but if the last outcome is unknown, that one only. The last of the jobs
    /// that are left is the outcome then.
    pub(super) fn forget(mut self, job: Option<&JobId>) -> Option<Self> {
        match (job, &self.creation) {
            (Some(job), creation) => {
                let is_last = matches!(creation, Some(Creation::Created(created)) if created.job == *job);
                self.earlier.retain(|created| created.job != *job);
                self.creation = self.creation.filter(|_| !is_last);
            }
            // A claim is an outcome that nobody has recorded yet.
            (None, _) if self.is_claimed => self.is_claimed = false,
            (None, Some(Creation::OutcomeUnknown(_))) => self.creation = None,
            (None, _) => return None,
        }
        self.creation = self.creation.or_else(|| self.earlier.pop().map(Creation::Created));
        (self.is_claimed || self.creation.is_some()).then_some(self)
    }

    pub(super) fn jobs(&self) -> impl Iterator<Item = &JobId> {
        let last = match &self.creation {
            Some(Creation::Created(created)) => Some(created),
            _ => None,
        };
        self.earlier.iter().chain(last).map(|created| &created.job)
    }

    pub(crate) fn unknown(&self, reason: &str) -> Unknown {
        Unknown {
            since_ms: self.claimed_ms,
            reason: reason.to_owned(),
            source: self.source.clone(),
            language: self.language.clone(),
        }
    }

    pub(crate) fn view(self, id: WorkId) -> WorkView {
        let creation = match (&self.creation, self.is_claimed) {
            (_, true) => None,
            (creation, false) => creation.clone(),
        };
        WorkView { id, creation, jobs: self.jobs().cloned().collect() }
    }

    pub(super) fn origin(&self, id: &str, credits_held: Option<f64>) -> Origin {
        Origin {
            credential: self.credential.clone().unwrap_or_else(|| Origin::default().credential),
            work: Some(WorkId::from_text(id)),
            language: (!self.language.is_empty()).then(|| self.language.clone()),
            source: self.source.clone(),
            credits_held,
        }
    }
}

pub(super) fn adopted(job: JobId, created_ms: u64) -> CreatedWork {
    CreatedWork {
        job,
        created_ms,
        status: None,
        credits_held: None,
        video_length_ms: None,
        is_reused: true,
        replaces: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(job: &str) -> Creation {
        Creation::Created(adopted(job.into(), 7))
    }

    fn jobs(state: Option<&WorkState>) -> Vec<&str> {
        state.map(|state| state.jobs().map(JobId::as_str).collect()).unwrap_or_default()
    }

    #[test]
    fn who_forgets_one_job_or_an_unknown_outcome_finds_the_other_jobs() {
        let mut state = WorkState::default();
        let unknown = Creation::OutcomeUnknown(state.unknown("why"));
        state.record(created("a"));
        state.record(created("b"));
        assert_eq!(jobs(Some(&state)), ["a", "b"]);
        assert_eq!(jobs(state.clone().forget(Some(&"a".into())).as_ref()), ["b"]);
        assert_eq!(jobs(state.clone().forget(Some(&"b".into())).as_ref()), ["a"]);
        assert_eq!(jobs(state.clone().forget(Some(&"c".into())).as_ref()), ["a", "b"]);
        assert!(state.clone().forget(None).is_none(), "nothing is left");
        // An outcome that is unknown, or not recorded, hides no job that is paid for.
        state.record(unknown);
        assert!(matches!(state.stored(true), Some(Stored::Done(Creation::OutcomeUnknown(_)))));
        assert_eq!(jobs(state.clone().forget(None).as_ref()), ["a", "b"]);
        let mut claimed = WorkState { is_claimed: true, ..WorkState::default() };
        claimed.creation = Some(created("a"));
        assert_eq!(jobs(claimed.forget(None).as_ref()), ["a"]);
    }
}
