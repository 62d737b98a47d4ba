//! `cargo xtask spec check`: whether code can be generated from a description. Each problem has its
//! place and line.
//!
//! - It must be valid OpenAPI 3.0 (`roas`).
//! - The generator must support it (`supported.rs`).
//! - Every `example` must be valid against its own schema (`jsonschema`).
//! - For the vendored description, every overlay action must match something, and redundant ones are
//!   reported.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result, bail};
use enumset::EnumSet;
use granit_parser::{Event, Parser};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use roas::{
    v3_0::spec::Spec,
    validation::{Options, Validate},
};
use serde_json::{Map, Value, json};
use serde_path_to_error::Segment;

use crate::{
    codegen, description, normal,
    openapi::{each_child, elements, is_true, members, pointer_step},
    overlay,
    supported::{self, Problem},
};

/// The base URI of references within the document.
const DOCUMENT: &str = "urn:description";

/// What a URI fragment escapes. `/` separates the steps of a JSON Pointer.
const FRAGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/');

/// Checks one file, or the vendored description with its overlays.
pub(crate) fn run(root: &Path, file: Option<&Path>) -> Result<()> {
    let openapi = root.join("openapi");
    let (path, shown) = match file {
        Some(file) => (file.to_path_buf(), file.display().to_string()),
        None => (openapi.join("akool.yaml"), "openapi/akool.yaml".to_owned()),
    };
    let bytes = fs::read(&path).with_context(|| format!("cannot read {shown}"))?;
    let document = description::parse(&bytes, &shown)?;
    let lines = lines(&bytes);

    let mut problems = problems(&document);
    let mut redundant_actions = Vec::new();
    if file.is_none() {
        let resolved = codegen::resolve(&openapi)?.document;
        problems.extend(supported::problems(&resolved));
        redundant_actions = redundant(&openapi, &document)?;
    } else {
        problems.extend(supported::problems(&document));
    }
    problems.sort_by_key(|problem| line_of(&lines, &problem.pointer));
    problems.dedup_by(|a, b| a.pointer == b.pointer && a.cause == b.cause);

    for action in &redundant_actions {
        println!("redundant: {action}");
    }
    if problems.is_empty() {
        println!("{shown} is ready for code generation");
        return Ok(());
    }
    for problem in &problems {
        let pointer = if problem.pointer.is_empty() { "(the whole document)" } else { &problem.pointer };
        println!("{shown}:{}: {pointer}\n    {}", line_of(&lines, &problem.pointer), problem.cause);
    }
    bail!("{shown} has {} problems", problems.len())
}

/// The problems of the document itself.
fn problems(document: &Value) -> Vec<Problem> {
    let mut problems = validity(document);
    let root = translated(document);
    // Shared by all examples: each is validated against a reference into it.
    let registry = jsonschema::Registry::new()
        .add(DOCUMENT, jsonschema::Draft::Draft4.create_resource(root))
        .and_then(jsonschema::RegistryBuilder::prepare);
    match registry {
        Ok(registry) => Examples { registry: &registry, problems: &mut problems }.walk(document, ""),
        Err(error) => problems.push(Problem {
            pointer: String::new(),
            cause: format!("its schemas cannot be read as JSON Schema: {error}"),
        }),
    }
    problems
}

/// The violations of OpenAPI 3.0.
fn validity(document: &Value) -> Vec<Problem> {
    let spec: Spec = match serde_path_to_error::deserialize(document) {
        Ok(spec) => spec,
        Err(error) => {
            let pointer = error.path().iter().fold(String::new(), |at, step| match step {
                Segment::Seq { index } => format!("{at}/{index}"),
                Segment::Map { key } => pointer_step(&at, key),
                Segment::Enum { .. } | Segment::Unknown => at,
            });
            // The path may lead to a member that is missing.
            let mut pointer = pointer.as_str();
            while document.pointer(pointer).is_none() {
                pointer = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
            }
            let cause = format!("is not valid OpenAPI 3.0: {}", error.inner());
            return vec![Problem { pointer: pointer.to_owned(), cause }];
        }
    };
    let unused: EnumSet<Options> = Options::IgnoreUnusedSchemas
        | Options::IgnoreUnusedSecuritySchemes
        | Options::IgnoreUnusedParameters
        | Options::IgnoreUnusedResponses
        | Options::IgnoreUnusedTags
        | Options::IgnoreMissingTags;
    match spec.validate(unused, None) {
        Ok(()) => Vec::new(),
        Err(error) => error
            .errors
            .iter()
            .map(|error| Problem { pointer: pointer_of(&error.path, document), cause: error.message.clone() })
            .collect(),
    }
}

/// The JSON Pointer of a path in the format of `roas`: `#.paths[/a].get.parameters[0]`.
fn pointer_of(path: &str, document: &Value) -> String {
    let mut pointer = String::new();
    let mut rest = path.trim_start_matches('#');
    while let Some(letter) = rest.chars().next() {
        let step = match letter {
            '.' | '/' => {
                rest = &rest[1..];
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                let (step, after) = rest.split_at(end);
                rest = after;
                step
            }
            '[' => {
                let end = rest.find(']').unwrap_or(rest.len());
                let step = &rest[1..end];
                rest = rest.get(end + 1..).unwrap_or_default();
                step
            }
            _ => break,
        };
        let next = pointer_step(&pointer, step);
        if document.pointer(&next).is_none() {
            break;
        }
        pointer = next;
    }
    pointer
}

/// Validates every example against its own schema.
struct Examples<'a> {
    /// The document with its schemas as JSON Schema.
    registry: &'a jsonschema::Registry<'a>,
    problems: &'a mut Vec<Problem>,
}

impl Examples<'_> {
    fn walk(&mut self, value: &Value, at: &str) {
        if at.ends_with("/example") || at.ends_with("/examples") || at.ends_with("/default") {
            return;
        }
        // Media types and parameters have a schema; a schema is its own.
        let schema = match value.get("schema") {
            Some(_) => Some(format!("{at}/schema")),
            None => at.contains("/schema").then(|| at.to_owned()),
        };
        if let Some(schema) = &schema {
            if let Some(example) = value.get("example") {
                self.validate(example, schema, &format!("{at}/example"));
            }
            for (name, example) in members(value.get("examples")) {
                if let Some(example) = example.get("value") {
                    let at = pointer_step(&format!("{at}/examples"), name);
                    self.validate(example, schema, &format!("{at}/value"));
                }
            }
        }
        each_child(value, at, |child, at| self.walk(child, at));
    }

    /// Validates an example against the schema at this pointer.
    fn validate(&mut self, example: &Value, schema: &str, at: &str) {
        let schema = json!({ "$ref": format!("{DOCUMENT}#{}", utf8_percent_encode(schema, FRAGMENT)) });
        let options =
            jsonschema::options().with_draft(jsonschema::Draft::Draft4).with_registry(self.registry);
        let validator = match options.build(&schema) {
            Ok(validator) => validator,
            Err(error) => {
                let cause = format!("cannot be validated, because its schema is not valid: {error}");
                return self.problems.push(Problem { pointer: at.to_owned(), cause });
            }
        };
        for error in validator.iter_errors(example) {
            let pointer = format!("{at}{}", error.instance_path());
            self.problems
                .push(Problem { pointer, cause: format!("is not valid against its own schema: {error}") });
        }
    }
}

/// Translates schemas of OpenAPI 3.0 into JSON Schema draft 4. They differ in `nullable`, and in siblings
/// of `$ref`.
fn translated(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            if let Some(reference @ Value::String(_)) = object.get("$ref") {
                return json!({ "$ref": reference });
            }
            let mut schema: Map<_, _> = object
                .iter()
                .map(|(key, member)| {
                    let data = matches!(key.as_str(), "example" | "examples" | "default" | "enum");
                    (key.clone(), if data { member.clone() } else { translated(member) })
                })
                .collect();
            if is_true(schema.get("nullable")) {
                if let Some(kind @ Value::String(_)) = schema.get("type").cloned() {
                    schema.insert("type".to_owned(), json!([kind, "null"]));
                }
                if let Some(Value::Array(values)) = schema.get_mut("enum") {
                    values.push(Value::Null);
                }
            }
            Value::Object(schema)
        }
        Value::Array(list) => list.iter().map(translated).collect(),
        other => other.clone(),
    }
}

/// The names of everything under `components`.
fn components(document: &Value) -> BTreeSet<String> {
    members(document.get("components"))
        .flat_map(|(kind, named)| members(Some(named)).map(move |(name, _)| format!("{kind}/{name}")))
        .collect()
}

/// The overlay actions that no longer change anything.
pub(crate) fn redundant(openapi: &Path, vendored: &Value) -> Result<Vec<String>> {
    let mut document = vendored.clone();
    let mut redundant = Vec::new();
    for file in overlay::files(&openapi.join("overlays"))? {
        let shown = format!("openapi/overlays/{}", file.file_name().unwrap_or_default().to_string_lossy());
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

/// The line of every key and element by JSON Pointer, as far as the YAML can be parsed.
fn lines(bytes: &[u8]) -> BTreeMap<String, usize> {
    /// A collection that is being read, and its next key or index.
    struct Open {
        at: String,
        key: Option<String>,
        index: Option<usize>,
    }
    let mut lines = BTreeMap::from([(String::new(), 1)]);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return lines;
    };
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let Ok((event, span)) = event else { break };
        let line = span.start.line();
        // The pointer of the node that begins here; `None` for a key.
        let place = |open: &mut Vec<Open>, scalar: Option<&str>| -> Option<String> {
            let Some(parent) = open.last_mut() else {
                return Some(String::new());
            };
            if let Some(index) = &mut parent.index {
                *index += 1;
                return Some(format!("{}/{}", parent.at, *index - 1));
            }
            match parent.key.take() {
                Some(key) => Some(pointer_step(&parent.at, &key)),
                None => {
                    parent.key = Some(scalar.unwrap_or_default().to_owned());
                    None
                }
            }
        };
        match event {
            Event::Scalar(text, ..) => match place(&mut open, Some(&text)) {
                Some(at) => drop(lines.entry(at).or_insert(line)),
                None => {
                    if let Some(parent) = open.last() {
                        let at = pointer_step(&parent.at, &text);
                        lines.insert(at, line);
                    }
                }
            },
            Event::MappingStart(..) => {
                let at = place(&mut open, None).unwrap_or_default();
                lines.entry(at.clone()).or_insert(line);
                open.push(Open { at, key: None, index: None });
            }
            Event::SequenceStart(..) => {
                let at = place(&mut open, None).unwrap_or_default();
                lines.entry(at.clone()).or_insert(line);
                open.push(Open { at, key: None, index: Some(0) });
            }
            Event::MappingEnd | Event::SequenceEnd => drop(open.pop()),
            Event::Alias(_) => drop(place(&mut open, None)),
            _ => {}
        }
    }
    lines
}

/// The line of a place, or of the closest parent that has one.
fn line_of(lines: &BTreeMap<String, usize>, pointer: &str) -> usize {
    let mut at = pointer;
    loop {
        if let Some(line) = lines.get(at) {
            return *line;
        }
        match at.rsplit_once('/') {
            Some((parent, _)) => at = parent,
            None => return 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VENDORED: &str = include_str!("../../openapi/akool.yaml");

    fn found(text: &str) -> Vec<(usize, String, String)> {
        let document = description::parse(text.as_bytes(), "x.yaml").unwrap();
        let lines = lines(text.as_bytes());
        let mut problems = problems(&document);
        problems.extend(supported::problems(&document));
        problems
            .into_iter()
            .map(|problem| (line_of(&lines, &problem.pointer), problem.pointer, problem.cause))
            .collect()
    }

    #[test]
    fn the_vendored_description_lacks_only_what_the_overlays_add() {
        let found = found(VENDORED);
        assert!(!found.is_empty());
        assert!(
            found
                .iter()
                .all(|(_, _, cause)| cause.contains("operationId") || cause.contains("x-extensible-enum")),
            "{found:?}"
        );
    }

    #[test]
    fn each_problem_has_its_place_and_line() {
        // Original text, replacement, the end of the pointer, and a part of the cause.
        let cases = [
            ("video_status: 2\n", "video_status: 9\n", "/example/data/video_status", "not valid against"),
            (
                "msg: OK\n                data:",
                "msg: 5\n                data:",
                "/example/msg",
                "not valid against",
            ),
            ("example: 1000", "example: many", "/properties/code/example", "not valid against"),
            (
                "$ref: '#/components/schemas/AudioSplits'",
                "$ref: '#/components/schemas/Nothing'",
                "/audio_splits/$ref",
                "does not exist",
            ),
            (
                "            type: string\n          description: >-\n            Video db",
                "            type: text\n          description: >-\n            Video db",
                "/schema/type",
                "not a type of OpenAPI 3.0",
            ),
            ("in: query", "in: cookie", "/parameters/0", "cookie"),
        ];
        for (original, replacement, end, says) in cases {
            assert!(VENDORED.contains(original), "{original}");
            let text = VENDORED.replacen(original, replacement, 1);
            let found = found(&text);
            let there =
                found.iter().find(|(_, pointer, cause)| pointer.ends_with(end) && cause.contains(says));
            let Some((line, pointer, _)) = there else { panic!("{replacement}: {found:?}") };
            let changed = text.lines().zip(VENDORED.lines()).position(|(a, b)| a != b).unwrap() + 1;
            assert!(line.abs_diff(changed) <= 1, "{pointer} at line {line}, but line {changed} was changed");
        }
    }

    #[test]
    fn an_invalid_document_has_a_place_and_a_line() {
        for (text, line, pointer) in [
            ("openapi: 3.0.3\ninfo: 3\npaths: {}\n", 2, "/info"),
            (
                "openapi: 3.0.3\ninfo: {title: t, version: '1'}\npaths:\n  /a:\n    get: 5\n",
                5,
                "/paths/~1a/get",
            ),
            ("openapi: 3.0.3\ninfo: {title: t, version: '1'}\nservers: 7\npaths: {}\n", 3, "/servers"),
        ] {
            let found = found(text);
            assert!(found.iter().any(|(at, place, _)| *at == line && place == pointer), "{text}: {found:?}");
        }
    }

    #[test]
    fn a_null_example_is_valid_only_if_null_is_allowed() {
        let text = "openapi: 3.0.3\ninfo: {title: t, version: '1'}\npaths: {}\ncomponents:\n  schemas:\n    \
                    A: {type: string, nullable: true, example: null}\n    B: {type: string, example: null}\n";
        let found = found(text);
        assert!(found.iter().all(|(_, pointer, _)| !pointer.contains("/A/")), "{found:?}");
        assert!(
            found.iter().any(|(line, pointer, _)| *line == 7 && pointer.contains("/B/example")),
            "{found:?}"
        );
    }

    #[test]
    fn an_action_that_changes_nothing_is_redundant() {
        let folder = tempfile::tempdir().unwrap();
        let overlays = folder.path().join("overlays");
        fs::create_dir(&overlays).unwrap();
        let text = include_str!("../../openapi/overlays/20-documented.yaml");
        fs::write(overlays.join("20-documented.yaml"), text).unwrap();
        let mut document = description::parse(VENDORED.as_bytes(), "x").unwrap();
        assert_eq!(redundant(folder.path(), &document).unwrap(), Vec::<String>::new());
        // The vendor adds one of the fields with another description.
        document["components"]["schemas"]["VideoInfoResult"]["properties"]["progress"] =
            json!({"type": "integer", "description": "percent"});
        let found = redundant(folder.path(), &document).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("20-documented.yaml, action 2"), "{found:?}");
    }
}
