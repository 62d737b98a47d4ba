//! `cargo xtask spec import`: makes one vendored description from the vendor's sources.
//!
//! A source is a documentation page, an OpenAPI document, a folder of these, or standard input.
//! The bytes of a single source are kept. Several sources are merged. If they define the same thing
//! differently, nothing is written until the user chooses the preferred source.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use crate::{
    description, normal,
    openapi::{members, pointer_step},
    page, sources,
};

/// The options of an import.
pub(crate) struct Options {
    pub(crate) sources: Vec<PathBuf>,
    /// The source that takes precedence in conflicts.
    pub(crate) prefer: Option<PathBuf>,
    /// The vendor's URL, for `sources.toml`.
    pub(crate) origin: Option<String>,
    /// Write to standard output and not to files.
    pub(crate) print: bool,
}

/// One OpenAPI document, or one fragment of a page.
struct Fragment {
    /// The source as it was given, and the place in it.
    source: String,
    shown: String,
    bytes: Vec<u8>,
    document: Value,
}

/// Reads all sources and writes `openapi/akool.yaml` and `openapi/sources.toml`, or nothing.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let (bytes, notes) = read(options)?;
    if options.print {
        for note in notes {
            eprintln!("note: {note}");
        }
        return std::io::stdout().write_all(&bytes).context("cannot write to standard output");
    }
    let openapi = root.join("openapi");
    let target = openapi.join("akool.yaml");
    let before = fs::read(&target).ok();
    let given: Vec<_> = options.sources.iter().map(|source| source.display().to_string()).collect();
    let origin = options.origin.clone().unwrap_or_else(|| given.join(", "));
    let list = sources::listing("akool.yaml", &origin, &bytes)?;
    for note in notes {
        println!("note: {note}");
    }
    if before.as_deref() == Some(&bytes[..]) {
        println!("unchanged  openapi/akool.yaml");
        return Ok(());
    }
    description::write(&target, &bytes).context("cannot write openapi/akool.yaml")?;
    description::write(&openapi.join("sources.toml"), list.as_bytes())
        .context("cannot write openapi/sources.toml")?;
    println!("written    openapi/akool.yaml\nwritten    openapi/sources.toml");
    Ok(())
}

/// The description from all sources, and notes for the user.
fn read(options: &Options) -> Result<(Vec<u8>, Vec<String>)> {
    let mut fragments = Vec::new();
    for source in &options.sources {
        gather(source, &source.display().to_string(), &mut fragments)?;
    }
    let prefer = options.prefer.as_ref().map(|source| source.display().to_string());
    if let Some(prefer) = &prefer
        && !fragments.iter().any(|fragment| fragment.source == *prefer)
    {
        bail!("--prefer {prefer} is not one of the sources");
    }
    match &mut fragments[..] {
        [] => bail!("nothing to import: the sources contain no page and no OpenAPI document"),
        [only] => Ok((std::mem::take(&mut only.bytes), Vec::new())),
        several => {
            let (merged, notes) = merge(several, prefer.as_deref())?;
            Ok((description::to_yaml(&merged)?.into_bytes(), notes))
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
        fragments.push(Fragment { source: source.to_owned(), shown, bytes, document });
        return Ok(());
    }
    for block in page::blocks(text, &shown)? {
        let shown = format!("{shown}:{} ({})", block.line, block.operation);
        // The file ends with one line break.
        let mut yaml = block.yaml.trim_end().to_owned();
        yaml.push('\n');
        let document = openapi(yaml.as_bytes(), &shown)?;
        let (method, path) = block.operation.split_once(' ').unwrap_or_default();
        if document["paths"][path].get(method.to_lowercase()).is_none() {
            bail!("{shown}: the block does not contain the operation in its info string");
        }
        fragments.push(Fragment { source: source.to_owned(), shown, bytes: yaml.into_bytes(), document });
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
fn merge(fragments: &[Fragment], prefer: Option<&str>) -> Result<(Value, Vec<String>)> {
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
    Ok((merge.document, merge.notes))
}

struct Merge<'a> {
    document: Value,
    prefer: Option<&'a str>,
    /// The fragment of each definition, by pointer.
    owners: BTreeMap<String, &'a Fragment>,
    conflicts: String,
    notes: Vec<String>,
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
            self.set(fragment, steps, &pointer);
        } else if self.prefer != Some(&owner.source) {
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
        let options = Options {
            sources: given.iter().map(|name| folder.path().join(name)).collect(),
            prefer: prefer.map(|name| folder.path().join(name)),
            origin: None,
            print: false,
        };
        let (bytes, notes) = read(&options)?;
        Ok((String::from_utf8(bytes).unwrap(), notes))
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
    fn the_page_of_the_vendor_gives_the_vendored_file() {
        let vendored = include_str!("../../openapi/akool.yaml");
        let page =
            format!("# Get\n\n````yaml GET /api/open/v3/content/video/infobymodelid\n{vendored}\n````\n");
        assert_eq!(import(&[("get.md", &page)], &["get.md"], None).unwrap().0, vendored);
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
