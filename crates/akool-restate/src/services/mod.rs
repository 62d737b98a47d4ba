//! The services that a worker runs. Each handler only journals: what to do is decided in `claim`, `limit` and `step`.

mod credential;
mod deliver;
mod files;
mod job;
mod jobs;
mod translation;

pub(crate) use self::{
    credential::{Change, Credential, CredentialIngressClient},
    deliver::Deliver,
    files::Files,
    job::{Job, JobIngressClient, Start},
    jobs::{Jobs, JobsIngressClient, Listing, Page},
    translation::{Create, Translation, TranslationIngressClient},
};
