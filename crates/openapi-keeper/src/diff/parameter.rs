//! Compares parameters, and the way in which parameters and headers are written.

use serde_json::Value;

use super::{
    differ::{Differ, Found, follow, under},
    flat::{Flat, flat},
    message::documentation,
    rules::{Change, Scope},
    value::KEYWORDS,
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
        under(at, component, found)
    }

    /// The schema, style, content and documentation of a parameter or header.
    pub(super) fn parameter_schema(&self, old: &Value, new: &Value, style: &str, scope: Scope) -> Vec<Found> {
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
        let mut found = documentation(old, new, &JUDGED, Change::Documentation, scope);
        if is_true(old.get("deprecated")) != is_true(new.get("deprecated")) {
            let change =
                if is_true(new.get("deprecated")) { Change::Deprecated } else { Change::Undeprecated };
            found.push(Found::new(change, scope, "/deprecated"));
        }
        let by_content = |owner: &Value| owner.get("content").is_some();
        if by_content(old) != by_content(new) {
            found.push(Found::new(Change::ParameterStyleChanged, scope, "/content"));
            return found;
        }
        let style_of = |owner: &Value| owner.get("style").and_then(Value::as_str).unwrap_or(style).to_owned();
        let explode_of = |owner: &Value| match owner.get("explode") {
            Some(explode) => is_true(Some(explode)),
            None => style_of(owner) == "form",
        };
        let schema = |document, owner: &Value| {
            owner.get("schema").map(|schema| flat(document, schema)).unwrap_or_default()
        };
        let (a, b) = (schema(self.old, old), schema(self.new, new));
        // A single value is written in the same way by all styles of a location but `label` and `matrix`.
        let single = [&a, &b].iter().all(|flat| {
            flat.types().is_some_and(|types| types.iter().all(|name| !matches!(*name, "array" | "object")))
        });
        let prefixed = |owner: &Value| matches!(&style_of(owner)[..], "label" | "matrix");
        let style_changed = style_of(old) != style_of(new) && (!single || prefixed(old) || prefixed(new));
        if style_changed || (explode_of(old) != explode_of(new) && !single) {
            let at = if style_changed { "/style" } else { "/explode" };
            found.push(Found::new(Change::ParameterStyleChanged, scope, at));
        }
        // Every value is text here, so a string accepts what another single value is written as.
        let text = |flat: &Flat| {
            flat.types().as_deref() == Some(&["string"])
                && !flat.words.keys().any(|key| KEYWORDS.contains(&&key[..]))
        };
        for mut one in self.carried(old, new, scope) {
            if one.change == Change::TypeChanged && one.at == "/schema/type" && single {
                one.change = match (text(&a), text(&b)) {
                    (false, true) => Change::TypeWidened,
                    (true, false) => Change::TypeNarrowed,
                    _ => one.change,
                };
            }
            found.push(one);
        }
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
