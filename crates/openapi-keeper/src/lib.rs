//! Keeps an OpenAPI description in step with the service that it describes.
//!
//! - A [`project`] has vendored sources, which are kept byte for byte, and one configuration file. [`import`] replaces
//!   and adds sources ([`source`]), and [`merge`] makes one description of them.
//! - [`overlay`] applies corrections; [`redundant`] finds those that are not needed any more.
//! - [`valid`] and [`supported`] find what keeps a client from being generated, with its place and [`lines`].
//! - [`diff`] compares two descriptions and says what breaks callers; [`semver`] compares the
//!   generated Rust, and [`comparable`] prepares descriptions for it.
//! - [`contract`] compiles a description for a validator of messages.
//!
//! ```
//! use openapi_keeper::{description, diff, overlay, supported};
//!
//! # fn main() -> anyhow::Result<()> {
//! // What the vendor publishes. The id is wrong: the service has no number of this kind.
//! let vendored = br#"
//! openapi: 3.0.3
//! info: {title: Talks, version: "1"}
//! paths:
//!   /talks/{id}:
//!     get:
//!       operationId: get_talk
//!       parameters: [{name: id, in: path, required: true, schema: {type: integer}}]
//!       responses: {"200": {description: a talk}}
//! "#;
//! // What the service does, with the reason for the correction.
//! let correction = br#"
//! overlay: 1.0.0
//! info: {title: Ids are text, version: "1"}
//! actions:
//!   - target: $.paths['/talks/{id}'].get.parameters[0].schema
//!     description: The service's own examples have ids such as "a1".
//!     update: {type: string}
//! "#;
//! let old = description::parse(vendored, "talks.yaml")?;
//! let mut new = old.clone();
//! overlay::apply(&mut new, correction, "10-ids.yaml")?;
//! assert!(supported::problems(&new).is_empty());
//!
//! // What the correction changes for callers.
//! let findings = diff::compare(&old, &new);
//! assert_eq!(findings[0].rule, "request-type-widened");
//! assert_eq!(diff::worst(&findings), Some(diff::Verdict::Additive));
//! # Ok(())
//! # }
//! ```

pub mod comparable;
pub mod contract;
pub mod description;
pub mod diff;
pub mod guard;
pub mod import;
pub mod lines;
pub mod merge;
pub mod openapi;
pub mod overlay;
pub mod page;
pub mod project;
pub mod redundant;
pub mod semver;
pub mod source;
pub mod supported;
pub mod valid;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
