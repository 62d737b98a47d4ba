//! Makes one description from the vendor's sources.
//!
//! A source is a documentation page, an OpenAPI document, a folder of these, or standard input.
//! The bytes of a single source are kept. Several sources are merged. If they define the same thing
//! differently, nothing is written until the user chooses the preferred source.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use crate::{
    description,
    lines::Lines,
    normal,
    openapi::{members, pointer_step},
    page,
};

/// A description, made from one or more sources.
#[derive(Debug)]
pub struct Imported {
    /// The description. A single source is kept byte for byte.
    pub bytes: Vec<u8>,
    /// Differences between the sources that need no decision.
    pub notes: Vec<String>,
    /// The definitions for which the preferred source was taken.
    pub preferences: Vec<Preference>,
    fragments: Vec<Fragment>,
    /// The fragment that each definition comes from, by pointer.
    owners: BTreeMap<String, usize>,
}

/// A definition that two sources have, and that was taken from the preferred one.
#[derive(Debug, PartialEq, Eq)]
pub struct Preference {
    /// The place in the description.
    pub pointer: String,
    /// The file that it was taken from.
    pub taken: String,
    /// The file whose definition was left out.
    pub left_out: String,
}

/// What one fragment gave to the description.
#[derive(Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// The source as it was given.
    pub source: &'a str,
    /// The file.
    pub file: &'a str,
    /// The OpenAPI document or block.
    pub bytes: &'a [u8],
    /// The operations that were taken from it, such as `GET /path`.
    pub operations: Vec<String>,
}

impl Imported {
    /// What each fragment gave, in the order of the sources.
    pub fn parts(&self) -> Vec<Part<'_>> {
        let operation = |pointer: &str| {
            let (path, method) = pointer.strip_prefix("/paths/")?.rsplit_once('/')?;
            Some(format!("{} {}", method.to_uppercase(), path.replace("~1", "/").replace("~0", "~")))
        };
        let operations = |index: usize| {
            let owned = self.owners.iter().filter(|(_, owner)| **owner == index);
            owned.filter_map(|(pointer, _)| operation(pointer)).collect()
        };
        let parts = self.fragments.iter().enumerate().map(|(index, fragment)| Part {
            source: &fragment.source,
            file: &fragment.file,
            bytes: &fragment.bytes,
            operations: operations(index),
        });
        parts.collect()
    }

    /// The file and line that a place of the description comes from.
    pub fn locate(&self, pointer: &str) -> Option<String> {
        let mut at = pointer;
        let owner = loop {
            if let Some(owner) = self.owners.get(at) {
                break *owner;
            }
            at = at.rsplit_once('/').map(|(parent, _)| parent)?;
        };
        let fragment = self.fragments.get(owner)?;
        let line = fragment.line + Lines::of(&fragment.bytes).line(pointer);
        Some(format!("{}:{line}", fragment.file))
    }
}

/// One OpenAPI document, or one fragment of a page.
#[derive(Debug)]
struct Fragment {
    /// The file, and the number of lines in it before the fragment.
    file: String,
    line: usize,
    /// The source as it was given, and the place in it.
    source: String,
    shown: String,
    bytes: Vec<u8>,
    document: Value,
}

/// Reads all sources.
///
/// # Errors
/// If a source cannot be read or is not valid, or two sources define one thing differently and neither is
/// preferred.
pub fn read(sources: &[PathBuf], prefer: Option<&Path>) -> Result<Imported> {
    let mut fragments = Vec::new();
    for source in sources {
        gather(source, &source.display().to_string(), &mut fragments)?;
    }
    let prefer = prefer.map(|source| source.display().to_string());
    if let Some(prefer) = &prefer
        && !fragments.iter().any(|fragment| fragment.source == *prefer)
    {
        bail!("--prefer {prefer} is not one of the sources");
    }
    match &fragments[..] {
        [] => bail!("nothing to import: the sources contain no page and no OpenAPI document"),
        [only] => {
            let bytes = only.bytes.clone();
            let owners = BTreeMap::from([(String::new(), 0)]);
            Ok(Imported { bytes, notes: Vec::new(), preferences: Vec::new(), fragments, owners })
        }
        several => {
            let Merged { document, notes, preferences, owners } = merge(several, prefer.as_deref())?;
            let bytes = description::to_yaml(&document)?.into_bytes();
            Ok(Imported { bytes, notes, preferences, fragments, owners })
        }
    }
}

fn gather(path: &Path, source: &str, fragments: &mut Vec<Fragment>) -> Result<()> {
    let shown = path.display().to_string();
    if path.is_dir() {
        let mut inside: Vec<_> = fs::read_dir(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .with_context(|| format!("cannot read {shown}"))?
            .into_iter()
            .map(|entry| entry.path())
            .filter(|path| kind(path).is_some())
            .collect();
        inside.sort();
        for path in inside {
            gather(&path, source, fragments)?;
        }
        return Ok(());
    }
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
    } else {
        bytes = fs::read(path).with_context(|| format!("cannot read {shown}"))?;
    }
    let text = std::str::from_utf8(&bytes)
        .with_context(|| format!("{shown} is not UTF-8; save it as UTF-8 text"))?;
    // Standard input has no file extension: a page contains a block, and a document does not.
    let is_page = match kind(path) {
        Some(Kind::Page) => true,
        Some(Kind::Document) => false,
        None => page::blocks(text, &shown).is_ok(),
    };
    if !is_page {
        let document = openapi(&bytes, &shown)?;
        let file = shown.clone();
        fragments.push(Fragment { file, line: 0, source: source.to_owned(), shown, bytes, document });
        return Ok(());
    }
    for block in page::blocks(text, &shown)? {
        let file = shown.clone();
        let shown = format!("{shown}:{} ({})", block.line, block.operation);
        // The file ends with one line break.
        let mut yaml = block.yaml.trim_end().to_owned();
        yaml.push('\n');
        let document = openapi(yaml.as_bytes(), &shown)?;
        let (method, path) = block.operation.split_once(' ').unwrap_or_default();
        if document["paths"][path].get(method.to_lowercase()).is_none() {
            bail!("{shown}: the block does not contain the operation in its info string");
        }
        fragments.push(Fragment {
            file,
            line: block.line,
            source: source.to_owned(),
            shown,
            bytes: yaml.into_bytes(),
            document,
        });
    }
    Ok(())
}

enum Kind {
    Page,
    Document,
}

fn kind(path: &Path) -> Option<Kind> {
    match path.extension()?.to_str()?.to_lowercase().as_str() {
        "md" | "mdx" | "markdown" => Some(Kind::Page),
        "yaml" | "yml" | "json" => Some(Kind::Document),
        _ => None,
    }
}

fn openapi(bytes: &[u8], shown: &str) -> Result<Value> {
    let document = description::parse(bytes, shown)?;
    match document.get("openapi").and_then(Value::as_str) {
        Some(version) if version.starts_with("3.0.") => Ok(document),
        Some(version) => bail!("{shown} is OpenAPI {version}; only 3.0.x can be imported"),
        None => bail!("{shown} is not an OpenAPI document: it has no `openapi: 3.0.x`"),
    }
}

/// Merges all fragments into one document. Conflicts are for the user to decide.
fn merge(fragments: &[Fragment], prefer: Option<&str>) -> Result<Merged> {
    // The top-level fields come from the preferred source or from the first one.
    let head =
        fragments.iter().find(|fragment| Some(&fragment.source[..]) == prefer).unwrap_or(&fragments[0]);
    let mut document = Map::new();
    for (key, value) in members(Some(&head.document)) {
        let value = if matches!(key.as_str(), "paths" | "components") { json!({}) } else { value.clone() };
        document.insert(key.clone(), value);
    }
    let mut merge = Merge {
        document: Value::Object(document),
        prefer,
        owners: BTreeMap::new(),
        conflicts: String::new(),
        notes: Vec::new(),
        preferences: Vec::new(),
    };
    for fragment in fragments {
        for key in ["security", "servers"] {
            // Operations inherit these, so another value would change their meaning.
            merge.put(fragment, &[key], |document| document.get(key).map(normal::sorted).unwrap_or_default());
        }
        for (path, item) in members(fragment.document.get("paths")) {
            for (method, _) in members(Some(item)) {
                merge.put(fragment, &["paths", path, method], |document| {
                    normal::document(document)["paths"][path][method].take()
                });
            }
        }
        for (group, named) in members(fragment.document.get("components")) {
            for (name, _) in members(Some(named)) {
                merge.put(fragment, &["components", group, name], |document| {
                    normal::schema(document, &document["components"][group][name])
                });
            }
        }
    }
    if !merge.conflicts.is_empty() {
        bail!(
            "the sources define the same things differently; nothing was written\n{}\
             Choose the preferred source with --prefer SOURCE.",
            merge.conflicts
        );
    }
    let index = |owner: &Fragment| fragments.iter().position(|fragment| std::ptr::eq(fragment, owner));
    let owners = merge.owners.iter().filter_map(|(pointer, owner)| Some((pointer.clone(), index(owner)?)));
    let owners = owners.collect();
    let Merge { document, notes, preferences, .. } = merge;
    Ok(Merged { document, notes, preferences, owners })
}

/// The outcome of a merge.
struct Merged {
    document: Value,
    notes: Vec<String>,
    preferences: Vec<Preference>,
    /// The index of the fragment of each definition.
    owners: BTreeMap<String, usize>,
}

struct Merge<'a> {
    document: Value,
    prefer: Option<&'a str>,
    /// The fragment of each definition, by pointer.
    owners: BTreeMap<String, &'a Fragment>,
    conflicts: String,
    notes: Vec<String>,
    preferences: Vec<Preference>,
}

impl<'a> Merge<'a> {
    /// Adds one definition of a fragment, unless it exists already.
    fn put(&mut self, fragment: &'a Fragment, steps: &[&str], normal: impl Fn(&Value) -> Value) {
        let pointer = steps.iter().fold(String::new(), |at, step| pointer_step(&at, step));
        let Some(owner) = self.owners.get(&pointer).copied() else {
            self.set(fragment, steps, &pointer);
            return;
        };
        let (there, here) = (normal(&owner.document), normal(&fragment.document));
        if there == here {
            return;
        }
        if normal::without_docs(&there) == normal::without_docs(&here) {
            self.notes.push(format!(
                "{pointer}: the documentation of {} is kept; {} differs in the documentation only",
                owner.shown, fragment.shown
            ));
        } else if self.prefer == Some(&fragment.source) && self.prefer != Some(&owner.source) {
            self.preferences.push(Preference {
                pointer: pointer.clone(),
                taken: fragment.shown.clone(),
                left_out: owner.shown.clone(),
            });
            self.set(fragment, steps, &pointer);
        } else if self.prefer == Some(&owner.source) {
            self.preferences.push(Preference {
                pointer,
                taken: owner.shown.clone(),
                left_out: fragment.shown.clone(),
            });
        } else {
            let _ =
                writeln!(self.conflicts, "  {pointer}\n    in {}\n    and {}", owner.shown, fragment.shown);
            for at in normal::differences(&normal::without_docs(&there), &normal::without_docs(&here)) {
                let _ = writeln!(self.conflicts, "      {at}");
            }
        }
    }

    fn set(&mut self, fragment: &'a Fragment, steps: &[&str], pointer: &str) {
        self.owners.insert(pointer.to_owned(), fragment);
        let Some(value) = fragment.document.pointer(pointer) else {
            return;
        };
        let mut place = &mut self.document;
        for step in steps {
            place = &mut place[*step];
        }
        *place = value.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Imports some of these files from a temporary folder.
    fn import(files: &[(&str, &str)], given: &[&str], prefer: Option<&str>) -> Result<(String, Vec<String>)> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let sources: Vec<_> = given.iter().map(|name| folder.path().join(name)).collect();
        let prefer = prefer.map(|name| folder.path().join(name));
        let imported = read(&sources, prefer.as_deref())?;
        Ok((String::from_utf8(imported.bytes).unwrap(), imported.notes))
    }

    fn description(path: &str, schema: &str, more: &str) -> String {
        format!(
            "openapi: 3.0.3\ninfo: {{title: t, version: '1'}}\npaths:\n  {path}:\n    get:\n      operationId: a\n      \
             responses:\n        '200':\n          description: d\n          content:\n            application/json:\n              \
             schema: {schema}\n{more}"
        )
    }

    fn page(path: &str, yaml: &str) -> String {
        format!("# A page\n\n````yaml GET {path}\n{yaml}\n````\n")
    }

    #[test]
    fn the_bytes_of_a_single_source_are_kept() {
        let yaml = description("/a", "{type: string}", "# a comment\n");
        let (imported, _) = import(&[("a.md", &page("/a", &yaml))], &["a.md"], None).unwrap();
        assert_eq!(imported, yaml);
        let (imported, _) = import(&[("a.yaml", &yaml)], &["a.yaml"], None).unwrap();
        assert_eq!(imported, yaml);
        let again = import(&[("a.yaml", &imported)], &["a.yaml"], None).unwrap();
        assert_eq!(again.0, imported, "a second import changes nothing");
    }

    #[test]
    fn a_place_is_located_in_the_file_that_was_given() {
        let folder = tempfile::tempdir().unwrap();
        let one = description("/a", "{type: string}", "components: {schemas: {S: {type: string}}}\n");
        let other = description("/b", "{type: string}", "");
        fs::write(folder.path().join("a.md"), page("/a", &one)).unwrap();
        fs::write(folder.path().join("b.yaml"), &other).unwrap();
        let files = [folder.path().join("a.md"), folder.path().join("b.yaml")];
        let place = |imported: &Imported, pointer| {
            let place = imported.locate(pointer).unwrap();
            place.rsplit_once(std::path::MAIN_SEPARATOR).unwrap().1.to_owned()
        };
        let alone = read(&files[..1], None).unwrap();
        assert_eq!(place(&alone, "/info/title"), "a.md:5");
        let both = read(&files, None).unwrap();
        assert_eq!(place(&both, "/paths/~1b/get/operationId"), "b.yaml:6");
        assert_eq!(place(&both, "/components/schemas/S"), "a.md:16");
        assert_eq!(both.locate("/nothing"), None);
    }

    #[test]
    fn equal_definitions_are_merged_and_others_are_added() {
        let one = description(
            "/a",
            "{$ref: '#/components/schemas/S'}",
            "components: {schemas: {S: {type: string}}}\n",
        );
        let other = description("/a", "{type: string}", "")
            .replace("  /a:", "  /b:\n    get: {operationId: b, responses: {}}\n  /a:");
        let files =
            [("p/a.md", &page("/a", &one)[..]), ("p/b.yaml", &other[..]), ("p/notes.txt", "not a source")];
        let (imported, notes) = import(&files, &["p"], None).unwrap();
        assert!(notes.is_empty(), "{notes:?}");
        let document = description::parse(imported.as_bytes(), "x").unwrap();
        assert_eq!(document["paths"].as_object().unwrap().keys().collect::<Vec<_>>(), ["/a", "/b"]);
        assert_eq!(document["components"]["schemas"]["S"]["type"], "string");
    }

    #[test]
    fn different_definitions_are_a_conflict_without_a_preferred_source() {
        let (one, other) =
            (description("/a", "{type: string}", ""), description("/a", "{type: integer}", ""));
        let files = [("a.yaml", &one[..]), ("b.yaml", &other[..])];
        let error = import(&files, &["a.yaml", "b.yaml"], None).unwrap_err().to_string();
        for says in ["/paths/~1a/get", "a.yaml", "b.yaml", "/schema/type", "--prefer", "nothing was written"]
        {
            assert!(error.contains(says), "no {says} in {error}");
        }
        for (preferred, kind) in [("a.yaml", "string"), ("b.yaml", "integer")] {
            let (imported, _) = import(&files, &["a.yaml", "b.yaml"], Some(preferred)).unwrap();
            assert!(imported.contains(&format!("type: {kind}")), "{imported}");
        }
        assert!(import(&files, &["a.yaml"], Some("b.yaml")).is_err(), "the preferred source is not imported");
    }

    #[test]
    fn different_documentation_is_a_note_and_not_a_conflict() {
        let (one, other) = (
            description("/a", "{type: string}", ""),
            description("/a", "{type: string, description: x}", ""),
        );
        let (_, notes) =
            import(&[("a.yaml", &one), ("b.yaml", &other)], &["a.yaml", "b.yaml"], None).unwrap();
        assert!(notes.len() == 1 && notes[0].contains("in the documentation only"), "{notes:?}");
    }

    #[test]
    fn different_servers_are_a_conflict() {
        let (one, other) = (
            description("/a", "{}", "servers: [{url: 'https://a'}]\n"),
            description("/b", "{}", "servers: [{url: 'https://b'}]\n"),
        );
        let error = import(&[("a.yaml", &one), ("b.yaml", &other)], &["a.yaml", "b.yaml"], None).unwrap_err();
        assert!(error.to_string().contains("/servers"), "{error}");
    }

    #[test]
    fn an_invalid_source_is_an_error_that_names_it() {
        for (name, text, says) in [
            ("a.md", "# nothing\n", "a.md: no OpenAPI block"),
            ("a.yaml", "a: 1\n", "a.yaml is not an OpenAPI document"),
            ("a.yaml", "openapi: 3.1.0\n", "only 3.0.x"),
            ("a.yaml", "openapi: [\n", "a.yaml is not valid YAML"),
            ("a.md", "```yaml GET /b\nopenapi: 3.0.3\npaths: {}\n```\n", "does not contain the operation"),
        ] {
            let error = format!("{:#}", import(&[(name, text)], &[name], None).unwrap_err());
            assert!(error.contains(says), "{error}");
        }
        assert!(import(&[], &["missing.yaml"], None).is_err());
        assert!(import(&[("empty/notes.txt", "")], &["empty"], None).is_err());
    }
}
