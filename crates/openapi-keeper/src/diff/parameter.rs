//! Compares parameters, and the way in which parameters and headers are written.

use serde_json::Value;

use super::{
    differ::{Differ, Found, follow, under},
    flat::flat,
    message::documentation,
    rules::{Change, Scope},
};
use crate::openapi::{elements, is_true};

impl Differ<'_> {
    /// A parameter that exists on both sides.
    pub(super) fn parameter(&self, old: &Value, new: &Value, at: &str, scope: Scope) -> Vec<Found> {
        let ((old, _), (new, component)) = (follow(self.old, old), follow(self.new, new));
        let mut found = Vec::new();
        let text =
            |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let in_path = text(new, "in") == "path";
        match (is_true(old.get("required")), is_true(new.get("required"))) {
            _ if in_path => {}
            (false, true) => found.push(Found::new(Change::ParameterBecameRequired, scope, "/required")),
            (true, false) => found.push(Found::new(Change::ParameterBecameOptional, scope, "/required")),
            _ => {}
        }
        if in_path && text(old, "name") != text(new, "name") {
            let renamed = Found::new(Change::ParameterRenamed, scope, "/name");
            found.push(renamed.values(old.get("name"), new.get("name")));
        }
        for key in ["allowReserved", "allowEmptyValue"] {
            match (is_true(old.get(key)), is_true(new.get(key))) {
                (false, true) => {
                    found.push(Found::new(Change::ParameterAllowsMore, scope, format!("/{key}")))
                }
                (true, false) => {
                    found.push(Found::new(Change::ParameterAllowsLess, scope, format!("/{key}")))
                }
                _ => {}
            }
        }
        let style = if matches!(&text(new, "in")[..], "query" | "cookie") { "form" } else { "simple" };
        found.extend(self.parameter_schema(old, new, style, scope));
        const JUDGED: [&str; 10] = [
            "name",
            "in",
            "required",
            "schema",
            "content",
            "style",
            "explode",
            "allowReserved",
            "allowEmptyValue",
            "deprecated",
        ];
        if is_true(old.get("deprecated")) != is_true(new.get("deprecated")) {
            let change =
                if is_true(new.get("deprecated")) { Change::Deprecated } else { Change::Undeprecated };
            found.push(Found::new(change, scope, "/deprecated"));
        }
        found.extend(documentation(old, new, &JUDGED, Change::Documentation, scope));
        under(at, component, found)
    }

    /// The schema, style and content of a parameter or header.
    pub(super) fn parameter_schema(&self, old: &Value, new: &Value, style: &str, scope: Scope) -> Vec<Found> {
        let by_content = |owner: &Value| owner.get("content").is_some();
        if by_content(old) != by_content(new) {
            return vec![Found::new(Change::ParameterStyleChanged, scope, "/content")];
        }
        let style_of = |owner: &Value| owner.get("style").and_then(Value::as_str).unwrap_or(style).to_owned();
        let explode_of = |owner: &Value| match owner.get("explode") {
            Some(explode) => is_true(Some(explode)),
            None => style_of(owner) == "form",
        };
        // A single value is written in the same way by all styles of a location but `label` and `matrix`.
        let single = |document: &Value, owner: &Value| {
            let flat = owner.get("schema").map(|schema| flat(document, schema));
            flat.and_then(|flat| {
                flat.types().map(|types| types.iter().all(|name| !matches!(*name, "array" | "object")))
            })
            .unwrap_or(false)
        };
        let single = single(self.old, old) && single(self.new, new);
        let prefixed = |owner: &Value| matches!(&style_of(owner)[..], "label" | "matrix");
        let style_changed = style_of(old) != style_of(new) && (!single || prefixed(old) || prefixed(new));
        let mut found = Vec::new();
        if style_changed || (explode_of(old) != explode_of(new) && !single) {
            let at = if style_changed { "/style" } else { "/explode" };
            found.push(Found::new(Change::ParameterStyleChanged, scope, at));
        }
        found.extend(self.carried(old, new, scope));
        found.extend(self.content(old.get("content"), new.get("content"), scope));
        found
    }
}

/// The parameters of an operation by location and name; those of the path come first, and can be replaced.
pub(super) fn parameters<'a>(
    document: &'a Value,
    item: &'a Value,
    operation: &'a Value,
    path_names: &[&str],
) -> serde_json::Map<String, Value> {
    let mut found = serde_json::Map::new();
    for owner in [item, operation] {
        for parameter in elements(owner.get("parameters")) {
            let (resolved, _) = follow(document, parameter);
            let text = |key| resolved.get(key).and_then(Value::as_str).unwrap_or_default();
            let key = match text("in") {
                // The place in the path counts, and not the name.
                "path" => match path_names.iter().position(|name| *name == text("name")) {
                    Some(index) => format!("path {index}"),
                    None => format!("path {}", text("name")),
                },
                // These three are described elsewhere, and case has no meaning.
                "header" => {
                    let name = text("name").to_lowercase();
                    if matches!(&name[..], "accept" | "content-type" | "authorization") {
                        continue;
                    }
                    format!("header {name}")
                }
                place => format!("{place} {}", text("name")),
            };
            found.insert(key, parameter.clone());
        }
    }
    found
}
