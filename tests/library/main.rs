//! The library, the mock server and the vendored description, in one process: a module for each behaviour.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod answers;
mod blocking;
mod conformance;
mod crates;
mod creations;
mod description;
mod download_resumes;
mod downloads;
mod faults;
mod metrics;
mod mock_server;
mod poller;
mod recorded;
mod sources;
mod spans;
mod wait_sets;
mod waits;
mod webhooks;
mod wire;
