//! Applies OpenAPI Overlay 1.0 with `roas-overlay`.
//!
//! This module adds rules for a project's own overlays: an action that matches nothing is an error,
//! every action needs a `description`, and unknown keys are errors (a misspelt `remove` would have no
//! effect). It also keeps the key order of the document, which the library does not.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use enumset::EnumSet;
use roas_overlay::{
    apply::{Apply, ApplyError, ApplyOptions},
    v1_0::Overlay,
    validation::Validate,
};
use serde_json::{Map, Value};

use crate::{description, guard};

/// The overlays of a folder, in the order of their names.
///
/// # Errors
/// If the folder cannot be read, or contains other files.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("yaml" | "yml" | "json") => files.push(path),
            _ => bail!(
                "{} is not an overlay; a folder of overlays may contain .yaml and .json files only",
                path.display()
            ),
        }
    }
    files.sort();
    Ok(files)
}

/// Applies an overlay with the rules of a project. Messages call it `shown`. If it fails, the document
/// is unchanged.
///
/// # Errors
/// If the overlay is not valid, an action has no description or matches nothing.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use openapi_keeper::{description, overlay};
///
/// let mut document = description::parse(b"info: {title: Talks}", "api.yaml")?;
/// let action = br#"
/// overlay: 1.0.0
/// info: {title: The name of the service, version: "1"}
/// actions:
///   - target: $.info
///     description: Its pages say Speeches.
///     update: {title: Speeches}
/// "#;
/// overlay::apply(&mut document, action, "10-name.yaml")?;
/// assert_eq!(document["info"]["title"], "Speeches");
/// # Ok(())
/// # }
/// ```
pub fn apply(document: &mut Value, bytes: &[u8], shown: &str) -> Result<()> {
    let raw = description::parse(bytes, shown)?;
    check_keys(&raw, shown)?;
    let overlay = read(raw, shown)?;
    let before = document.clone();
    overlay
        .apply(document, ApplyOptions::ErrorOnZeroMatch.into())
        .map_err(|error| not_applied(shown, &error))?;
    keep_order(&before, document);
    Ok(())
}

/// Applies any overlay by the rules of the standard. Returns a warning for each action that matches
/// nothing.
///
/// # Errors
/// If the overlay is not valid.
pub fn apply_leniently(document: &mut Value, bytes: &[u8], shown: &str) -> Result<Vec<String>> {
    let overlay = read(description::parse(bytes, shown)?, shown)?;
    let before = document.clone();
    let report = overlay.apply(document, EnumSet::empty()).map_err(|error| not_applied(shown, &error))?;
    keep_order(&before, document);
    let idle = report.actions.iter().filter(|action| action.matched == 0);
    Ok(idle
        .map(|action| format!("{shown}: action {} (`{}`) matches nothing", action.index + 1, action.target))
        .collect())
}

fn read(raw: Value, shown: &str) -> Result<Overlay> {
    let overlay: Overlay = serde_json::from_value(raw)
        .with_context(|| format!("{shown} is not an OpenAPI Overlay 1.0 document"))?;
    // The JSONPath library panics on some invalid paths.
    guard::quietly(|| overlay.validate(EnumSet::empty()))
        .map_err(|_| anyhow!("{shown}: a target is not a valid JSONPath"))?
        .map_err(|error| anyhow!("{shown} is not a valid OpenAPI Overlay 1.0 document: {error}"))?;
    Ok(overlay)
}

fn not_applied(shown: &str, error: &ApplyError) -> anyhow::Error {
    anyhow!(
        "{shown}: action {} (`{}`) cannot be applied: {}\n\
         Compare the target with the description, and delete the action if it is no longer needed.",
        error.action_index + 1,
        error.target,
        error.kind
    )
}

/// Checks that every action has a description, and that there are no unknown keys.
fn check_keys(overlay: &Value, shown: &str) -> Result<()> {
    const TOP: [&str; 4] = ["overlay", "info", "extends", "actions"];
    const ACTION: [&str; 4] = ["target", "description", "update", "remove"];

    unknown_key(overlay, &TOP).map_or(Ok(()), |key| Err(anyhow!("{shown}: unknown key `{key}`")))?;
    let actions = overlay.get("actions").and_then(Value::as_array);
    for (index, action) in actions.into_iter().flatten().enumerate() {
        let number = index + 1;
        if let Some(key) = unknown_key(action, &ACTION) {
            bail!("{shown}: action {number} has the unknown key `{key}`");
        }
        let description = action.get("description").and_then(Value::as_str);
        if description.is_none_or(|text| text.trim().is_empty()) {
            bail!("{shown}: action {number} has no `description`; add the reason and the evidence");
        }
    }
    Ok(())
}

fn unknown_key<'a>(object: &'a Value, known: &[&str]) -> Option<&'a str> {
    object.as_object()?.keys().map(String::as_str).find(|key| !known.contains(key) && !key.starts_with("x-"))
}

/// Restores the old order of the keys in `after`. New keys come last.
fn keep_order(before: &Value, after: &mut Value) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let mut sorted = Map::with_capacity(after.len());
            for (key, old) in before {
                if let Some(mut new) = after.shift_remove(key) {
                    keep_order(old, &mut new);
                    sorted.insert(key.clone(), new);
                }
            }
            sorted.append(after);
            *after = sorted;
        }
        (Value::Array(before), Value::Array(after)) => {
            for (old, new) in before.iter().zip(after) {
                keep_order(old, new);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn overlay(actions: &str) -> String {
        format!("overlay: 1.0.0\ninfo: {{title: t, version: '1'}}\nactions:\n{actions}")
    }

    #[test]
    fn removals_and_additions_keep_the_order_of_other_keys() {
        let mut document = json!({"a": 1, "b": {"x": 1}, "c": 3, "d": {"k": 1, "l": 2, "m": 3}});
        let text = overlay(
            "- {target: $.b, description: d, remove: true}\n\
             - {target: $, description: d, update: {n1: 1, n2: 2, n3: 3}}\n",
        );
        apply(&mut document, text.as_bytes(), "o.yaml").unwrap();
        assert_eq!(document.to_string(), r#"{"a":1,"c":3,"d":{"k":1,"l":2,"m":3},"n1":1,"n2":2,"n3":3}"#);
    }

    #[test]
    fn an_action_that_matches_nothing_names_file_and_action() {
        let mut document = json!({"a": {}});
        let before = document.clone();
        let text = overlay(
            "- {target: $.a, description: d, update: {b: 1}}\n\
             - {target: $.nowhere, description: d, update: {b: 1}}\n",
        );
        let error = apply(&mut document, text.as_bytes(), "o.yaml").unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("o.yaml: action 2 (`$.nowhere`)"), "{error}");
        assert_eq!(document, before, "a failed overlay changes nothing");
    }

    #[test]
    fn in_lenient_mode_an_action_that_matches_nothing_is_a_warning() {
        let mut document = json!({"a": {}});
        let text = overlay("- {target: $.a, update: {b: 1}}\n- {target: $.nowhere, remove: true}\n");
        let warnings = apply_leniently(&mut document, text.as_bytes(), "o.yaml").unwrap();
        assert_eq!(warnings, ["o.yaml: action 2 (`$.nowhere`) matches nothing"]);
        assert_eq!(document, json!({"a": {"b": 1}}));
    }

    #[test]
    fn an_invalid_action_is_an_error() {
        let mut document = json!({"a": {}});
        for (actions, says) in [
            ("- {target: $.a, remove: true}\n", "action 1 has no `description`"),
            ("- {target: $.a, description: d, remov: true}\n", "unknown key `remov`"),
            ("- {target: 'a[', description: d, remove: true}\n", "o.yaml"),
            // Found by fuzzing: the JSONPath library panics on these.
            (r#"- {target: '$["\u"]', description: d, remove: true}"#, "o.yaml"),
            (r#"- {target: '$["\u\28"', description: d, remove: true}"#, "o.yaml"),
            (r#"- {target: '$["\u', description: d, remove: true}"#, "o.yaml"),
        ] {
            let error = apply(&mut document, overlay(actions).as_bytes(), "o.yaml").unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains(says), "{error}");
        }
    }
}
