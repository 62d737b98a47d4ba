//! Keeps an OpenAPI description in step with the service that it describes.
//!
//! - A [`project`] has vendored sources, which are kept byte for byte, and one configuration file. [`import`] replaces
//!   and adds sources ([`source`]), and [`merge`] makes one description of them.
//! - [`overlay`] applies corrections; [`redundant`] finds those that are not needed any more.
//! - [`valid`] and [`supported`] find what keeps a client from being generated, with its place and [`lines`].
//! - [`diff`] compares two descriptions and says what breaks callers; [`semver`] compares the
//!   generated Rust, and [`comparable`] prepares descriptions for it.
//! - [`contract`] compiles a description for a validator of messages.

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
