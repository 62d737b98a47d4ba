//! AKOOL video translations on a Restate cluster.
#![allow(missing_docs)]

pub mod claim;
pub mod limit;
pub mod step;

mod context;
mod fleet;
mod ingress;
mod model;
mod permits;
mod registration;
mod services;
mod work;
mod worker;

pub use self::{
    fleet::{Fleet, FleetError},
    model::{
        CreatedWork, Creation, JobView, NotCreated, Outcome, Target, Unknown, WaitEnd, WaitOptions, WorkView,
    },
    registration::RegistrationError,
    work::{DEFAULT_CREDENTIAL, Work, WorkId},
    worker::{Worker, WorkerBuilder, WorkerError},
};
