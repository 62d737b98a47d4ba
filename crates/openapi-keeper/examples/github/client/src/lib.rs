//! A client for a part of GitHub's API, generated from its description.

mod generated;

pub use generated::*;
