//! Reads the vendor's sources: documentation pages, OpenAPI documents, folders of these, or standard input.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    description,
    openapi::{METHODS, members},
    page,
};

/// One OpenAPI document, or one block of a page.
#[derive(Clone, Debug)]
pub struct Fragment {
    /// The source as it was given, which may be a folder.
    pub source: PathBuf,
    /// The file, and the number of lines in it before the document.
    pub file: String,
    /// See `file`.
    pub line: usize,
    /// The operation that a page is about, such as `GET /path`. `None` for a document.
    pub page: Option<String>,
    /// The document, byte for byte.
    pub bytes: Vec<u8>,
    /// What they mean.
    pub document: Value,
}

impl Fragment {
    /// A document that was read from a file.
    ///
    /// # Errors
    /// If it is not OpenAPI 3.0.
    pub fn document(source: &Path, file: String, bytes: Vec<u8>) -> Result<Self> {
        let document = openapi(&bytes, &file)?;
        Ok(Self { source: source.to_owned(), file, line: 0, page: None, bytes, document })
    }

    /// How messages call it.
    pub fn shown(&self) -> String {
        match &self.page {
            Some(operation) => format!("{}:{} ({operation})", self.file, self.line),
            None => self.file.clone(),
        }
    }
}

/// All operations of a description, such as `GET /path`.
pub fn operations(document: &Value) -> Vec<String> {
    let mut operations = Vec::new();
    for (path, item) in members(document.get("paths")) {
        let methods = METHODS.iter().filter(|method| item.get(method).is_some());
        operations.extend(methods.map(|method| format!("{} {path}", method.to_uppercase())));
    }
    operations
}

/// Reads all sources.
///
/// # Errors
/// If a source cannot be read, is not valid, or contains no description.
pub fn read(sources: &[PathBuf]) -> Result<Vec<Fragment>> {
    let mut fragments = Vec::new();
    for source in sources {
        gather(source, source, &mut fragments)?;
    }
    if fragments.is_empty() {
        bail!("nothing to import: the sources contain no page and no OpenAPI document");
    }
    Ok(fragments)
}

fn gather(path: &Path, source: &Path, fragments: &mut Vec<Fragment>) -> Result<()> {
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
        return inside.iter().try_for_each(|path| gather(path, source, fragments));
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
        let fragment = Fragment::document(source, shown, bytes)?;
        if operations(&fragment.document).is_empty() {
            bail!("{} has no operation below `paths`", fragment.file);
        }
        fragments.push(fragment);
        return Ok(());
    }
    for block in page::blocks(text, &shown)? {
        // The file ends with one line break.
        let yaml = format!("{}\n", block.yaml.trim_end());
        let fragment = Fragment {
            source: source.to_owned(),
            file: shown.clone(),
            line: block.line,
            page: Some(block.operation.clone()),
            document: Value::Null,
            bytes: yaml.into_bytes(),
        };
        // As many lines before it as in the page, so that errors of the reader have the page's lines.
        let lines = [&b"\n".repeat(block.line)[..], &fragment.bytes].concat();
        let document = openapi(&lines, &fragment.shown())?;
        if !operations(&document).contains(&block.operation) {
            bail!("{}: the block does not contain the operation in its info string", fragment.shown());
        }
        fragments.push(Fragment { document, ..fragment });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_source_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text, says) in [
            ("a.md", "# nothing\n", "a.md: no OpenAPI block"),
            ("a.yaml", "a: 1\n", "a.yaml is not an OpenAPI document"),
            ("a.yaml", "openapi: 3.1.0\n", "only 3.0.x"),
            ("a.yaml", "openapi: 3.0.0\npaths: [1]\n", "a.yaml has no operation"),
            ("a.yaml", "openapi: [\n", "a.yaml is not valid YAML"),
            // The page's line, and not that of the block.
            ("a.md", "# A\n\n```yaml GET /b\nopenapi: [\n```\n", "line 4"),
            ("a.md", "```yaml GET /b\nopenapi: 3.0.3\npaths: {}\n```\n", "does not contain the operation"),
        ] {
            let file = folder.path().join(name);
            fs::write(&file, text).unwrap();
            let error = format!("{:#}", read(&[file]).unwrap_err());
            assert!(error.contains(says), "{error}");
        }
        assert!(read(&[folder.path().join("missing.yaml")]).is_err());
        let empty = tempfile::tempdir().unwrap();
        fs::write(empty.path().join("notes.txt"), "").unwrap();
        assert!(read(&[empty.path().to_owned()]).is_err());
    }
}
