//! AKOOL's OpenAPI description as a check on real bytes.
//!
//! A request or an answer goes in; out comes a [`Report`]: *violations*, each with its place, what was
//! expected, what came and where the description says so, and *drift*: fields, values and statuses
//! that the description does not know, and documented ones that never come ([`Coverage`]).
//!
//! There are two levels. [`Contract::described`] is the vendor's bytes as they are,
//! [`Contract::resolved`] what the service really speaks, with this project's overlays. What only the
//! first one reports is what the vendor's page gets wrong.
//!
//! # What counts as what
//! - HTTP 200 is not success. An error is an envelope whose `code` is not 1000; it comes with HTTP 200
//!   and without `data`, and is as described. A `code` or a status beside the listed ones
//!   (`x-extensible-enum`) is drift.
//! - Success makes promises that plain OpenAPI cannot say: that there is `data`, that a completed job has
//!   a link to its video, that a failed one says why. Overlays say them as `x-promises`, a list of `when`
//!   and `then`, each with its evidence; breaking one is a violation.
//! - An HTTP status other than the described one is drift, not a violation: which status goes with which
//!   code is not documented. Where its body is an envelope, that is checked all the same.
//! - A field that is not described is drift. Renamed, it shows as that, and the old name as missing where
//!   it was promised, or else among what never came.
//! - `3.0` is no integer, `null` fits only where it is allowed, and a text must be UTF-8.
//!
//! Paths are compared with the description's own. Behind a base URL that has a path itself, take that
//! off before.
//!
//! # Cost
//! A description is compiled once, on first use: 2.4 ms. Then a check of the documented answer takes
//! 7 microseconds, and one of a poll 1.4 (release build on a virtual machine of two cores; in a debug
//! build 25 ms, 54 and 11). `cargo run --release -p akool-contract --example speed` measures it.

mod compile;
mod contract;
mod dialect;
mod fixture;
mod redact;
mod report;
mod schemas;
mod shape;

pub use contract::{Contract, Coverage, InvalidDescription};
pub use fixture::{Fixture, InvalidFixture};
pub use report::{Drift, DriftKind, Report, Verdict, Violation};
