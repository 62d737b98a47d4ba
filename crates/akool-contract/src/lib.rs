//! Validates real bytes against AKOOL's OpenAPI description.
//!
//! A request or a response goes in, and a [`Report`] comes out. It lists *violations*, each with its
//! place, what was expected, what was received and where the description says so, and *drift*: fields,
//! values and statuses that are undocumented. [`Coverage`] lists documented ones that were not received.
//!
//! There are two levels. [`Contract::vendored`] is the vendor's description without changes.
//! [`Contract::resolved`] is what the service really speaks, with this project's overlays. A finding that
//! only the first one reports is an error of the vendor's page.
//!
//! ```
//! use akool_contract::Contract;
//! use http::{Request, Response};
//!
//! let request = Request::get("/api/open/v3/content/video/infobymodelid?video_model_id=64dd")
//!     .header("x-api-key", "key")
//!     .body("")?;
//! let response = Response::builder()
//!     .header("content-type", "application/json")
//!     .body(r#"{"code": 1000, "msg": "OK", "data": {"_id": "64dd", "video_status": 3}}"#)?;
//!
//! let report = Contract::resolved().check_response(&request, &response);
//! // A completed job has a link to its video.
//! assert_eq!(report.violations[0].pointer, "/body/data/video");
//! # Ok::<(), http::Error>(())
//! ```
//!
//! # Violations and drift
//! - HTTP 200 is not success. An error is an envelope whose `code` is not 1000. It has HTTP status 200 and
//!   no `data`, and it is valid. A `code` or a status beside the listed ones (`x-extensible-enum`) is
//!   drift.
//! - Success makes promises that OpenAPI cannot express: `data` is present, a completed job has a link to
//!   its video, a failed job has a reason. Overlays add them as `x-promises`, a list of `when` and
//!   `then`, each with its evidence. A broken promise is a violation.
//! - An undocumented HTTP status is drift and not a violation, because the HTTP status for each code is
//!   not documented. If the body is an envelope, it is validated nevertheless.
//! - An undocumented field is drift. If it is a renamed field, the old name is reported as missing: as a
//!   violation if it was promised, otherwise by [`Coverage`].
//! - `3.0` is not an integer, `null` is valid only if it is allowed, and text must be UTF-8.
//!
//! Paths are compared with those of the description. If the base URL has a path of its own, remove it
//! first.
//!
//! # Performance
//! Nothing is translated at run time: code generation writes the operations and their schemas as JSON Schema. They are
//! read on first use, in 0.3 ms, and each validator is built on first use. Then a check of the documented response takes
//! 4.3 microseconds, and a check of a poll 1.4 (release build on a virtual machine with two cores; in a debug build 1 ms,
//! 41 and 8). `cargo run --release -p akool-contract --example speed` measures it.
//!
//! The validator is `jsonschema` without its default features: 0.2 of the 4.3 microseconds, and 46 of the 64 packages that
//! `akool-mock` adds to a lock file with reqwest and tokio. `boon` would add 19 instead of 46, but it takes 1.3
//! microseconds, accepts `2.0` as an integer in draft 4 too, and has had no release since January 2025.

mod check;
mod compiled;
mod contract;
mod coverage;
mod fingerprint;
mod fixture;
mod operation;
mod placeholder;
mod pointer;
mod redact;
mod report;
mod schemas;
mod shape;

pub use contract::Contract;
pub use coverage::Coverage;
pub use fingerprint::Fingerprint;
pub use fixture::{Fixture, InvalidFixture};
pub use report::{Drift, DriftKind, Report, Verdict, Violation};
