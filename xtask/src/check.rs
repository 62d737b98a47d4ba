//! `cargo xtask spec check`: is a description fit to generate from, with place and line of each fault.
//!
//! - valid OpenAPI 3.0, by `roas`;
//! - what the generator needs, by our own `supported.rs`, references included;
//! - every `example` against its own schema, by `jsonschema`;
//! - for the vendored description: every overlay action applies, and none repeats what the
//!   description says itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result, bail};
use enumset::EnumSet;
use granit_parser::{Event, Parser};
use roas::{
    v3_0::spec::Spec,
    validation::{Options, Validate},
};
use serde_json::{Map, Value, json};
use serde_path_to_error::Segment;

use crate::{
    codegen, description, normal, overlay,
    supported::{self, Fault},
};

/// What references within the document are relative to.
const DOCUMENT: &str = "urn:description";

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

    let mut faults = faults(&document);
    let mut ready = Vec::new();
    if file.is_none() {
        let resolved = codegen::resolve(&openapi)?.document;
        faults.extend(supported::faults(&resolved));
        ready = redundant(&openapi, &document)?;
    } else {
        faults.extend(supported::faults(&document));
    }
    faults.sort_by_key(|fault| line_of(&lines, &fault.pointer));
    faults.dedup_by(|a, b| a.pointer == b.pointer && a.cause == b.cause);

    for action in &ready {
        println!("ready to delete: {action}");
    }
    if faults.is_empty() {
        println!("{shown} is fit to generate from");
        return Ok(());
    }
    for fault in &faults {
        let pointer = if fault.pointer.is_empty() { "(the whole document)" } else { &fault.pointer };
        println!("{shown}:{}: {pointer}\n    {}", line_of(&lines, &fault.pointer), fault.cause);
    }
    bail!("{shown} has {} faults", faults.len())
}

/// What is wrong with the document itself.
fn faults(document: &Value) -> Vec<Fault> {
    let mut faults = validity(document);
    let root = translated(document);
    // Once for all examples: each of them is held against a reference into this.
    let registry = jsonschema::Registry::new()
        .add(DOCUMENT, jsonschema::Draft::Draft4.create_resource(root))
        .and_then(jsonschema::RegistryBuilder::prepare);
    match registry {
        Ok(registry) => Examples { registry: &registry, faults: &mut faults }.walk(document, ""),
        Err(error) => faults.push(Fault {
            pointer: String::new(),
            cause: format!("its schemas cannot be read as JSON Schema: {error}"),
        }),
    }
    faults
}

/// OpenAPI 3.0, by `roas`.
fn validity(document: &Value) -> Vec<Fault> {
    let spec: Spec = match serde_path_to_error::deserialize(document) {
        Ok(spec) => spec,
        Err(error) => {
            let pointer = error.path().iter().fold(String::new(), |at, step| match step {
                Segment::Seq { index } => format!("{at}/{index}"),
                Segment::Map { key } => description::pointer_step(&at, key),
                Segment::Enum { .. } | Segment::Unknown => at,
            });
            // As far as the path leads in the document; a reader may poll further than the file goes.
            let mut pointer = pointer.as_str();
            while document.pointer(pointer).is_none() {
                pointer = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
            }
            let cause = format!("is not as OpenAPI 3.0 has it: {}", error.inner());
            return vec![Fault { pointer: pointer.to_owned(), cause }];
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
            .map(|error| Fault { pointer: pointer_of(&error.path, document), cause: error.message.clone() })
            .collect(),
    }
}

/// A JSON Pointer for a path as `roas` writes it: `#.paths[/a].get.parameters[0]`.
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
        let next = description::pointer_step(&pointer, step);
        if document.pointer(&next).is_none() {
            break;
        }
        pointer = next;
    }
    pointer
}

/// Finds every example and holds it against its own schema.
struct Examples<'a> {
    /// The document with its schemas as JSON Schema.
    registry: &'a jsonschema::Registry<'a>,
    faults: &'a mut Vec<Fault>,
}

impl Examples<'_> {
    fn walk(&mut self, value: &Value, at: &str) {
        if at.ends_with("/example") || at.ends_with("/examples") || at.ends_with("/default") {
            return;
        }
        if let Some(object) = value.as_object() {
            // Media types and parameters have their schema beside the example, schemas are it.
            let schema = match object.contains_key("schema") {
                true => Some(format!("{at}/schema")),
                false => at.contains("/schema").then(|| at.to_owned()),
            };
            if let Some(schema) = &schema {
                if let Some(example) = object.get("example") {
                    self.hold(example, schema, &format!("{at}/example"));
                }
                for (name, example) in object.get("examples").and_then(Value::as_object).into_iter().flatten()
                {
                    if let Some(example) = example.get("value") {
                        let at = description::pointer_step(&format!("{at}/examples"), name);
                        self.hold(example, schema, &format!("{at}/value"));
                    }
                }
            }
            for (key, member) in object {
                self.walk(member, &description::pointer_step(at, key));
            }
        } else if let Some(list) = value.as_array() {
            for (index, member) in list.iter().enumerate() {
                self.walk(member, &format!("{at}/{index}"));
            }
        }
    }

    /// An example against the schema that stands at this pointer.
    fn hold(&mut self, example: &Value, schema: &str, at: &str) {
        let schema = json!({ "$ref": format!("{DOCUMENT}#{}", fragment(schema)) });
        let options =
            jsonschema::options().with_draft(jsonschema::Draft::Draft4).with_registry(self.registry);
        let validator = match options.build(&schema) {
            Ok(validator) => validator,
            Err(error) => {
                let cause = format!("cannot be checked, its schema is no schema: {error}");
                return self.faults.push(Fault { pointer: at.to_owned(), cause });
            }
        };
        for error in validator.iter_errors(example) {
            let pointer = format!("{at}{}", error.instance_path());
            self.faults.push(Fault { pointer, cause: format!("does not fit its own schema: {error}") });
        }
    }
}

/// A JSON Pointer as a URI carries it (RFC 6901, section 6).
fn fragment(pointer: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte);
    pointer
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// OpenAPI 3.0's dialect as JSON Schema draft 4, from which it differs in `nullable` and in what
/// stands beside `$ref`.
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
            if schema.get("nullable") == Some(&Value::Bool(true)) {
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
    let kinds = document.get("components").and_then(Value::as_object).into_iter().flatten();
    let named = kinds.flat_map(|(kind, named)| {
        named.as_object().into_iter().flatten().map(move |(name, _)| format!("{kind}/{name}"))
    });
    named.collect()
}

/// Overlay actions that the description has caught up with.
pub(crate) fn redundant(openapi: &Path, vendored: &Value) -> Result<Vec<String>> {
    let mut document = vendored.clone();
    let mut ready = Vec::new();
    for file in overlay::files(&openapi.join("overlays"))? {
        let shown = format!("openapi/overlays/{}", file.file_name().unwrap_or_default().to_string_lossy());
        let bytes = fs::read(&file).with_context(|| format!("cannot read {shown}"))?;
        let whole = description::parse(&bytes, &shown)?;
        for (index, action) in whole["actions"].as_array().into_iter().flatten().enumerate() {
            let mut alone = whole.clone();
            alone["actions"] = json!([action]);
            let before = document.clone();
            overlay::apply(&mut document, alone.to_string().as_bytes(), &shown)?;
            let says = normal::without_docs(action.get("update").unwrap_or(&Value::Null));
            let only_words = says.as_object().is_some_and(Map::is_empty);
            let meaning = |document| normal::without_docs(&normal::document(document));
            let same = normal::sorted(&before) == normal::sorted(&document)
                // What nothing refers to has no meaning there, and may be meant for other readers.
                || (!only_words
                    && components(&before) == components(&document)
                    && meaning(&before) == meaning(&document));
            if same {
                let target = action["target"].as_str().unwrap_or_default();
                ready.push(format!(
                    "{shown}, action {} (`{target}`): the description says it itself",
                    index + 1
                ));
            }
        }
    }
    Ok(ready)
}

/// The line of every key and element, by JSON Pointer. Empty where the YAML cannot be followed.
fn lines(bytes: &[u8]) -> BTreeMap<String, usize> {
    /// A collection that is being read: where it is, and the key or index that comes next.
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
        // Where the node stands that begins here; `None` for a key.
        let place = |open: &mut Vec<Open>, scalar: Option<&str>| -> Option<String> {
            let Some(parent) = open.last_mut() else {
                return Some(String::new());
            };
            if let Some(index) = &mut parent.index {
                *index += 1;
                return Some(format!("{}/{}", parent.at, *index - 1));
            }
            match parent.key.take() {
                Some(key) => Some(description::pointer_step(&parent.at, &key)),
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
                        let at = description::pointer_step(&parent.at, &text);
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

/// The line of a place, or of the nearest place around it that is in the file.
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
        let mut faults = faults(&document);
        faults.extend(supported::faults(&document));
        faults
            .into_iter()
            .map(|fault| (line_of(&lines, &fault.pointer), fault.pointer, fault.cause))
            .collect()
    }

    #[test]
    fn the_vendored_description_lacks_only_what_the_overlays_add() {
        let found = found(VENDORED);
        assert!(
            found
                .iter()
                .all(|(_, _, cause)| cause.contains("operationId") || cause.contains("x-extensible-enum")),
            "{found:?}"
        );
    }

    #[test]
    fn each_fault_has_its_place_and_line() {
        // What to write instead of what, and the line, the end of the pointer and the words to find.
        let cases = [
            ("video_status: 2\n", "video_status: 9\n", "/example/data/video_status", "does not fit"),
            (
                "msg: OK\n                data:",
                "msg: 5\n                data:",
                "/example/msg",
                "does not fit",
            ),
            ("example: 1000", "example: many", "/properties/code/example", "does not fit"),
            (
                "$ref: '#/components/schemas/AudioSplits'",
                "$ref: '#/components/schemas/Nothing'",
                "/audio_splits/$ref",
                "does not exist",
            ),
            (
                "            type: string\n          description: >-\n            Video db",
                "            type: text\n          description: >-\n            Video db",
                "",
                "",
            ),
            ("in: query", "in: cookie", "/parameters/0", "cookie"),
        ];
        for (what, instead, end, says) in cases {
            assert!(VENDORED.contains(what), "{what}");
            let text = VENDORED.replacen(what, instead, 1);
            let found = found(&text);
            let there =
                found.iter().find(|(_, pointer, cause)| pointer.ends_with(end) && cause.contains(says));
            let Some((line, pointer, _)) = there else { panic!("{instead}: {found:?}") };
            if !end.is_empty() {
                let changed = text.lines().zip(VENDORED.lines()).position(|(a, b)| a != b).unwrap() + 1;
                assert!(line.abs_diff(changed) <= 1, "{pointer} at line {line}, changed is line {changed}");
            }
        }
    }

    #[test]
    fn a_document_that_is_none_has_its_place_as_well() {
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
    fn null_fits_where_it_is_allowed() {
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
    fn an_action_that_the_vendor_caught_up_with_is_ready_to_delete() {
        let folder = tempfile::tempdir().unwrap();
        let overlays = folder.path().join("overlays");
        fs::create_dir(&overlays).unwrap();
        let text = include_str!("../../openapi/overlays/20-documented.yaml");
        fs::write(overlays.join("20-documented.yaml"), text).unwrap();
        let mut document = description::parse(VENDORED.as_bytes(), "x").unwrap();
        assert_eq!(redundant(folder.path(), &document).unwrap(), Vec::<String>::new());
        // The vendor adds one of the fields, in words of its own.
        document["components"]["schemas"]["VideoInfoResult"]["properties"]["progress"] =
            json!({"type": "integer", "description": "percent"});
        let ready = redundant(folder.path(), &document).unwrap();
        assert_eq!(ready.len(), 1, "{ready:?}");
        assert!(ready[0].contains("20-documented.yaml, action 2"), "{ready:?}");
    }
}
