//! A description as code generation writes it: its operations, and the schemas of their messages.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::{
    operation::{Direction, Operation, Schema},
    schemas::Schemas,
    shape::Shapes,
};

/// A compiled description. `openapi_keeper::contract` documents the format.
#[derive(Debug, Deserialize)]
pub(crate) struct Compiled {
    pub(crate) operations: Vec<Operation>,
    pub(crate) callbacks: Vec<Operation>,
    /// The named schemas (`#/components/schemas`).
    pub(crate) named: BTreeMap<String, Schema>,
    /// `None` if requests and responses have the same schemas.
    request: Option<Messages>,
    response: Messages,
}

/// The schemas of the messages in one direction.
#[derive(Debug, Deserialize)]
pub(crate) struct Messages {
    pub(crate) schemas: Schemas,
    pub(crate) shapes: Shapes,
}

impl Compiled {
    /// The messages that a schema belongs to.
    pub(crate) fn messages(&self, schema: &Schema) -> &Messages {
        match (schema.direction, &self.request) {
            (Direction::Request, Some(request)) => request,
            _ => &self.response,
        }
    }

    /// All schemas as JSON.
    pub(crate) fn documents(&self) -> impl Iterator<Item = &Value> {
        self.request.iter().chain([&self.response]).map(|messages| &messages.schemas.document)
    }
}
