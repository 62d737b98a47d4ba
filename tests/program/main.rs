//! Runs the program as a process. This is a test of `akool-cli` because only then Cargo builds the program first.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[cfg(target_os = "linux")]
mod auth;
mod batch;
mod budget;
mod commands;
mod config;
mod contract;
mod contract_proxy;
mod documents;
mod downloads;
mod events;
#[cfg(target_os = "linux")]
mod full_disk;
#[cfg(all(target_os = "linux", feature = "keyring"))]
mod keyring;
mod kills;
#[cfg(feature = "mcp")]
mod mcp;
#[cfg(feature = "stage")]
mod staging;
mod support;
#[cfg(unix)]
mod terminal;
mod translate;
mod webhook;
