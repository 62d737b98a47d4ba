//! The operations of a description, with the places of their schemas.

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use super::shapes::Shapes;
use crate::openapi::{Direction, METHODS, elements, follow, is_true, members, pointer_step};

/// The operations and callbacks, while they are compiled.
pub(super) struct Operations<'a> {
    document: &'a Value,
    pub(super) operations: Vec<Value>,
    pub(super) callbacks: Vec<Value>,
    pub(super) requests: Shapes<'a>,
    pub(super) responses: Shapes<'a>,
}

impl<'a> Operations<'a> {
    pub(super) fn new(document: &'a Value) -> Self {
        Self {
            document,
            operations: Vec::new(),
            callbacks: Vec::new(),
            requests: Shapes::new(document),
            responses: Shapes::new(document),
        }
    }

    /// Adds the operations of the map of paths at this pointer, and their callbacks.
    pub(super) fn paths(&mut self, at: &str) -> Result<()> {
        for path in self.names(at) {
            let item = follow(self.document, &pointer_step(at, path))?;
            for (method, _) in members(self.document.pointer(&item)) {
                if !METHODS.contains(&method.as_str()) {
                    continue;
                }
                let pointer = pointer_step(&item, method);
                let operation = self.operation(method, path, &item, &pointer)?;
                self.operations.push(operation);
                let named = format!("{pointer}/callbacks");
                for name in self.names(&named) {
                    let at = follow(self.document, &pointer_step(&named, name))?;
                    // A callback's own callbacks are left out.
                    let (operations, callbacks) =
                        (std::mem::take(&mut self.operations), std::mem::take(&mut self.callbacks));
                    self.paths(&at)?;
                    let own = std::mem::replace(&mut self.operations, operations);
                    self.callbacks = callbacks.into_iter().chain(own).collect();
                }
            }
        }
        Ok(())
    }

    fn operation(&mut self, method: &str, path: &str, item: &str, pointer: &str) -> Result<Value> {
        let own = format!("{pointer}/security");
        let security = if self.get(pointer, "security").is_some() { own } else { "/security".to_owned() };
        let mut out = Map::new();
        if let Some(id) = self.text(pointer, "operationId") {
            out.insert("id".to_owned(), json!(id));
        }
        for (key, value) in [
            ("method", json!(method.to_ascii_uppercase())),
            ("path", json!(path)),
            ("pointer", json!(pointer)),
            ("parameters", self.parameters(item, pointer)?),
            ("security", json!({ "pointer": security, "alternatives": self.security(&security) })),
        ] {
            out.insert(key.to_owned(), value);
        }
        if self.get(pointer, "requestBody").is_some() {
            let pointer = follow(self.document, &format!("{pointer}/requestBody"))?;
            let content = self.content(&pointer, Direction::Request)?;
            let required = is_true(self.get(&pointer, "required"));
            out.insert(
                "body".to_owned(),
                json!({ "pointer": pointer, "required": required, "content": content }),
            );
        }
        out.insert("responses".to_owned(), self.responses(&format!("{pointer}/responses"))?);
        Ok(out.into())
    }

    fn parameters(&mut self, item: &str, operation: &str) -> Result<Value> {
        let mut parameters: Vec<Value> = Vec::new();
        for list in [format!("{operation}/parameters"), format!("{item}/parameters")] {
            for (index, _) in elements(self.document.pointer(&list)).enumerate() {
                let at = follow(self.document, &format!("{list}/{index}"))?;
                let (Some(name), Some(location)) = (self.text(&at, "name"), self.text(&at, "in")) else {
                    bail!("{at} has no `name` or no `in`");
                };
                // A parameter of the operation overrides one of its path.
                if !parameters.iter().any(|own| own["name"] == name && own["in"] == location) {
                    parameters.push(self.parameter(&at, name, location, Direction::Request)?);
                }
            }
        }
        Ok(parameters.into())
    }

    fn parameter(&mut self, at: &str, name: &str, location: &str, direction: Direction) -> Result<Value> {
        let required = is_true(self.get(at, "required"));
        let mut out = json!({ "name": name, "in": location, "required": required, "pointer": at });
        if self.get(at, "schema").is_some() {
            let pointer = format!("{at}/schema");
            let schema = follow(self.document, &pointer)?;
            let items = follow(self.document, &format!("{schema}/items"))?;
            let kind = self.text(&schema, "type");
            // An object can be written in too many styles.
            if kind != Some("object") {
                out["type"] = json!(kind.unwrap_or_default());
                if let Some(kind) = self.text(&items, "type") {
                    out["items"] = json!(kind);
                }
                out["schema"] = self.schema(&pointer, direction)?;
            }
        }
        Ok(out)
    }

    fn responses(&mut self, at: &str) -> Result<Value> {
        let mut responses = Vec::new();
        for status in self.names(at) {
            let pointer = follow(self.document, &pointer_step(at, status))?;
            let mut headers = Vec::new();
            let named = format!("{pointer}/headers");
            for (name, _) in members(self.document.pointer(&named)) {
                // OpenAPI ignores this header here: `content` documents it.
                if !name.eq_ignore_ascii_case("content-type") {
                    let at = follow(self.document, &pointer_step(&named, name))?;
                    headers.push(self.parameter(&at, name, "header", Direction::Response)?);
                }
            }
            let content = self.content(&pointer, Direction::Response)?;
            responses.push(
                json!({ "status": status, "pointer": pointer, "headers": headers, "content": content }),
            );
        }
        Ok(responses.into())
    }

    fn content(&mut self, pointer: &str, direction: Direction) -> Result<Value> {
        let at = format!("{pointer}/content");
        let mut content = Vec::new();
        for (kind, media) in members(self.document.pointer(&at)) {
            if media.get("schema").is_some() {
                let schema = self.schema(&(pointer_step(&at, kind) + "/schema"), direction)?;
                content.push(json!({ "type": kind, "schema": schema }));
            }
        }
        Ok(content.into())
    }

    fn schema(&mut self, pointer: &str, direction: Direction) -> Result<Value> {
        let shapes = match direction {
            Direction::Request => &mut self.requests,
            Direction::Response => &mut self.responses,
        };
        shapes.add(pointer, direction)
    }

    /// The alternatives, each with all schemes that it needs. Empty if no credential is required.
    fn security(&self, pointer: &str) -> Value {
        let alternatives: Vec<Vec<_>> = elements(self.document.pointer(pointer))
            .map(|alternative| members(Some(alternative)).map(|(name, _)| self.scheme(name)).collect())
            .collect();
        // An empty alternative makes credentials optional.
        if alternatives.iter().any(Vec::is_empty) { json!([]) } else { json!(alternatives) }
    }

    /// Where a credential is.
    fn scheme(&self, name: &str) -> Value {
        let at = pointer_step("/components/securitySchemes", name);
        match (self.text(&at, "type"), self.text(&at, "in")) {
            (Some("apiKey"), location) => {
                let location =
                    location.filter(|location| matches!(*location, "header" | "query")).unwrap_or("cookie");
                json!({ location: self.text(&at, "name").unwrap_or_default() })
            }
            // The word before the credential.
            (Some("http"), _) => json!({ "authorization": self.text(&at, "scheme").unwrap_or("bearer") }),
            _ => json!({ "authorization": null }),
        }
    }

    /// The keys of the object at a pointer, without extensions.
    fn names(&self, pointer: &str) -> impl Iterator<Item = &'a String> + use<'a> {
        members(self.document.pointer(pointer)).map(|(key, _)| key).filter(|key| !key.starts_with("x-"))
    }

    fn get(&self, pointer: &str, name: &str) -> Option<&'a Value> {
        self.document.pointer(pointer)?.get(name)
    }

    fn text(&self, pointer: &str, name: &str) -> Option<&'a str> {
        self.get(pointer, name)?.as_str()
    }
}
