//! The program as a process. A test binary of `akool-cli`, because only there Cargo builds the program first.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod commands;
mod contract;
mod kills;
mod translate;
mod webhook;

/// Held by tests that need quiet: those that kill the program at a hundred moments.
static QUIET: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
