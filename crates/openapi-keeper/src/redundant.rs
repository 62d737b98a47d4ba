//! Finds overlay actions that are not needed any more, because the description says the same.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::{
    description, normal,
    openapi::{elements, members},
    overlay,
};

/// The names of everything under `components`.
fn components(document: &Value) -> BTreeSet<String> {
    members(document.get("components"))
        .flat_map(|(kind, named)| members(Some(named)).map(move |(name, _)| format!("{kind}/{name}")))
        .collect()
}

/// The overlay actions that no longer change anything.
///
/// # Errors
/// If an overlay cannot be read or applied.
pub fn redundant(overlays: &Path, vendored: &Value) -> Result<Vec<String>> {
    let mut document = vendored.clone();
    let mut redundant = Vec::new();
    for file in overlay::files(overlays)? {
        let shown = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = fs::read(&file).with_context(|| format!("cannot read {shown}"))?;
        let whole = description::parse(&bytes, &shown)?;
        for (index, action) in elements(whole.get("actions")).enumerate() {
            let mut alone = whole.clone();
            alone["actions"] = json!([action]);
            let before = document.clone();
            overlay::apply(&mut document, alone.to_string().as_bytes(), &shown)?;
            let update = normal::without_docs(action.get("update").unwrap_or(&Value::Null));
            let only_docs = update.as_object().is_some_and(Map::is_empty);
            let meaning = |document| normal::without_docs(&normal::document(document));
            let same = normal::sorted(&before) == normal::sorted(&document)
                // A new component may not be in use yet.
                || (!only_docs
                    && components(&before) == components(&document)
                    && meaning(&before) == meaning(&document));
            if same {
                let target = action["target"].as_str().unwrap_or_default();
                redundant.push(format!(
                    "{shown}, action {} (`{target}`): the vendored description already says the same",
                    index + 1
                ));
            }
        }
    }
    Ok(redundant)
}
