//! Finds overlay actions that are not needed any more, because the description says the same or defines the
//! same operation, and removes them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::{
    description,
    diff::{self, Verdict},
    lines::Lines,
    openapi::{each_child, elements, members, without_docs},
    overlay,
};

/// An overlay action that is not needed any more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unneeded {
    file: PathBuf,
    /// From 0.
    index: usize,
    target: String,
    reason: &'static str,
}

impl fmt::Display for Unneeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.file_name().unwrap_or_default().to_string_lossy();
        write!(f, "{file}, action {} (`{}`): {}", self.index + 1, self.target, self.reason)
    }
}

/// An overlay file.
struct File {
    path: PathBuf,
    shown: String,
    whole: Value,
}

impl File {
    fn all(overlays: &Path) -> Result<Vec<Self>> {
        let read = |path: PathBuf| {
            let shown = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let bytes = fs::read(&path).with_context(|| format!("cannot read {shown}"))?;
            Ok(Self { whole: description::parse(&bytes, &shown)?, path, shown })
        };
        overlay::files(overlays)?.into_iter().map(read).collect()
    }

    fn actions(&self) -> impl Iterator<Item = (usize, &Value)> {
        elements(self.whole.get("actions")).enumerate()
    }

    /// An overlay with one action only.
    fn alone(&self, action: &Value) -> String {
        let mut alone = self.whole.clone();
        alone["actions"] = json!([action]);
        alone.to_string()
    }

    fn unneeded(&self, index: usize, reason: &'static str) -> Unneeded {
        let target = self.whole["actions"][index]["target"].as_str().unwrap_or_default().to_owned();
        Unneeded { file: self.path.clone(), index, target, reason }
    }
}

/// The names of everything under `components`.
fn components(document: &Value) -> BTreeSet<String> {
    members(document.get("components"))
        .flat_map(|(kind, named)| members(Some(named)).map(move |(name, _)| format!("{kind}/{name}")))
        .collect()
}

/// Whether a value has one of these keys, at any depth.
fn has_key(value: &Value, keys: &[&str]) -> bool {
    let mut found = keys.iter().any(|key| value.get(key).is_some());
    each_child(value, "", |child, _| found |= has_key(child, keys));
    found
}

/// The overlay actions that no longer change anything.
///
/// # Errors
/// If an overlay cannot be read or applied.
pub fn redundant(overlays: &Path, vendored: &Value) -> Result<Vec<Unneeded>> {
    const REASON: &str = "the vendored description already says the same";
    let mut document = vendored.clone();
    let mut redundant = Vec::new();
    for file in File::all(overlays)? {
        for (index, action) in file.actions() {
            let before = document.clone();
            overlay::apply(&mut document, file.alone(action).as_bytes(), &file.shown)?;
            let update = without_docs(action.get("update").unwrap_or(&Value::Null));
            let only_docs = update.as_object().is_some_and(Map::is_empty);
            // These change no message, but what is generated.
            let generates = has_key(&update, &["operationId", "links"]);
            let same = before == document
                // A new component may not be in use yet.
                || (!only_docs
                    && !generates
                    && components(&before) == components(&document)
                    && diff::compare(&before, &document).iter().all(|one| one.verdict == Verdict::Docs));
            if same {
                redundant.push(file.unneeded(index, REASON));
            }
        }
    }
    Ok(redundant)
}

/// The overlay actions that define operations which the description now has itself, and the actions that
/// only serve them.
///
/// # Errors
/// If an overlay cannot be read or applied.
pub fn replaced(overlays: &Path, vendored: &Value) -> Result<Vec<Unneeded>> {
    const OPERATION: &str = "the vendored description now has the operation itself";
    const SERVES: &str = "only replaced actions use its components";
    const MOOT: &str = "its target was defined by a replaced action";
    let files = File::all(overlays)?;
    let mut replaced: BTreeSet<Unneeded> = BTreeSet::new();
    for file in &files {
        for (index, action) in file.actions().filter(|(_, action)| action["target"] == "$.paths") {
            let has = |(path, item): (&String, &Value)| {
                members(Some(item)).all(|(method, _)| vendored["paths"][path].get(method).is_some())
            };
            let mut operations = members(action.get("update")).peekable();
            if operations.peek().is_some() && operations.all(has) {
                replaced.insert(file.unneeded(index, OPERATION));
            }
        }
    }
    let done = |replaced: &BTreeSet<Unneeded>, file: &File, index: usize| {
        replaced.iter().any(|one| one.file == file.path && one.index == index)
    };
    let mut before = 0;
    while replaced.len() > before {
        before = replaced.len();
        for (number, file) in files.iter().enumerate() {
            for (index, action) in
                file.actions().filter(|(_, action)| action["target"] == "$.components.schemas")
            {
                if done(&replaced, file, index) {
                    continue;
                }
                // What is left without this action and the replaced ones.
                let mut left = vendored.clone();
                for (other, file) in files.iter().enumerate() {
                    for (at, action) in file.actions() {
                        if (other, at) != (number, index) && !done(&replaced, file, at) {
                            overlay::apply_leniently(&mut left, file.alone(action).as_bytes(), &file.shown)?;
                        }
                    }
                }
                let left = left.to_string();
                let used = |name: &String| left.contains(&format!("\"#/components/schemas/{name}\""));
                if !members(action.get("update")).any(|(name, _)| used(name)) {
                    replaced.insert(file.unneeded(index, SERVES));
                }
            }
        }
    }
    if !replaced.is_empty() {
        let mut left = vendored.clone();
        for file in &files {
            for (index, action) in file.actions() {
                if !done(&replaced, file, index)
                    && !overlay::apply_leniently(&mut left, file.alone(action).as_bytes(), &file.shown)?
                        .is_empty()
                {
                    replaced.insert(file.unneeded(index, MOOT));
                }
            }
        }
    }
    Ok(replaced.into_iter().collect())
}

/// Removes actions from their files, with the comments above them. A file without actions is deleted.
///
/// # Errors
/// If a file cannot be read or written.
pub fn prune(actions: &[Unneeded]) -> Result<()> {
    let mut by_file: BTreeMap<&Path, BTreeSet<usize>> = BTreeMap::new();
    for action in actions {
        by_file.entry(&action.file).or_default().insert(action.index);
    }
    for (path, unneeded) in by_file {
        let shown = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
        let whole = description::parse(text.as_bytes(), &shown.to_string())?;
        let count = elements(whole.get("actions")).count();
        if (0..count).all(|index| unneeded.contains(&index)) {
            fs::remove_file(path).with_context(|| format!("cannot delete {shown}"))?;
            continue;
        }
        let places = Lines::of(text.as_bytes());
        let lines: Vec<_> = text.split_inclusive('\n').collect();
        let starts = (0..count).map(|index| {
            let mut start = places.line(&format!("/actions/{index}")) - 1;
            while start > 0 && lines[start - 1].trim_start().starts_with('#') {
                start -= 1;
            }
            start
        });
        let bounds: Vec<_> = starts.chain([lines.len()]).collect();
        let removed =
            |line: usize| unneeded.iter().any(|index| (bounds[*index]..bounds[*index + 1]).contains(&line));
        let kept: String =
            lines.iter().enumerate().filter(|(line, _)| !removed(*line)).map(|(_, line)| *line).collect();
        description::write(path, kept.as_bytes()).with_context(|| format!("cannot write {shown}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDS: &str = "overlay: 1.0.0\ninfo: {title: t, version: '1'}\nactions:\n  # The operation.\n  - target: $.paths\n    \
        description: d\n    update:\n      /a: {get: {responses: {'200': {$ref: '#/components/schemas/A'}}}}\n  \
        # Its schema.\n  - target: $.components.schemas\n    description: d\n    update: {A: {type: string}}\n  \
        # Something else.\n  - target: $.info\n    description: d\n    update: {title: other}\n";
    const CORRECTS: &str = "overlay: 1.0.0\ninfo: {title: t, version: '1'}\nactions:\n  - target: $.components.schemas.A\n    \
        description: d\n    update: {maxLength: 5}\n";

    #[test]
    fn an_action_is_redundant_if_it_changes_no_message_and_nothing_that_is_generated() {
        let folder = tempfile::tempdir().unwrap();
        let document = json!({"paths": {"/a": {"get": {"responses": {"200": {"description": "d", "content": {
            "application/json": {"schema": {"allOf": [{"required": ["x"], "properties": {"x": {"type": "string"}}}]}}}}}}}}});
        let schema = "$.paths['/a'].get.responses['200'].content['application/json'].schema";
        for (target, update, wanted) in [
            (schema, "{required: [x]}", 1),
            (schema, "{properties: {x: {type: string, description: other}}}", 1),
            (schema, "{properties: {y: {type: string}}}", 0),
            (schema, "{description: other}", 0),
            ("$.paths['/a'].get", "{operationId: getA}", 0),
            ("$.paths['/a'].get.responses['200']", "{links: {next: {operationId: b}}}", 0),
        ] {
            let text = format!(
                "overlay: 1.0.0\ninfo: {{title: t, version: '1'}}\nactions:\n  - target: {target}\n    description: d\n    \
                 update: {update}\n"
            );
            fs::write(folder.path().join("1.yaml"), text).unwrap();
            assert_eq!(redundant(folder.path(), &document).unwrap().len(), wanted, "{update}");
        }
    }

    #[test]
    fn actions_that_a_new_page_replaces_are_removed_with_their_comments() {
        let folder = tempfile::tempdir().unwrap();
        let (adds, corrects) = (folder.path().join("1.yaml"), folder.path().join("2.yaml"));
        fs::write(&adds, ADDS).unwrap();
        fs::write(&corrects, CORRECTS).unwrap();
        let without = json!({"info": {"title": "t"}, "paths": {}, "components": {"schemas": {}}});
        assert_eq!(replaced(folder.path(), &without).unwrap(), []);
        let mut with = without.clone();
        with["paths"]["/a"] = json!({"get": {"responses": {}}});
        let found = replaced(folder.path(), &with).unwrap();
        let shown: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "1.yaml, action 1 (`$.paths`): the vendored description now has the operation itself",
                "1.yaml, action 2 (`$.components.schemas`): only replaced actions use its components",
                "2.yaml, action 1 (`$.components.schemas.A`): its target was defined by a replaced action",
            ]
        );
        prune(&found).unwrap();
        assert!(!corrects.exists());
        let left = fs::read_to_string(&adds).unwrap();
        assert!(left.ends_with("actions:\n  # Something else.\n  - target: $.info\n    description: d\n    update: {title: other}\n"), "{left}");
    }
}
