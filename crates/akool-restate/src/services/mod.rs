//! The services that a worker runs. Each handler only journals: what to do is decided in `claim`, `limit` and `step`.
//!
//! By default, the engine pauses a call that has failed 70 times until an operator resumes it. All workers may be down for
//! longer than that takes, so calls are repeated practically for ever; only lists are given up.

pub(crate) mod credential;
mod deliver;
mod files;
mod job;
mod jobs;
mod translation;
mod work_state;

pub(crate) use self::{
    credential::{Change, Credential, CredentialIngressClient},
    deliver::Deliver,
    files::Files,
    job::{Job, JobIngressClient, Start},
    jobs::{Jobs, JobsIngressClient, Listing, Page},
    translation::{Create, Forget, Translation, TranslationIngressClient},
};
