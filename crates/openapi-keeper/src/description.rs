//! Reads and writes OpenAPI descriptions as YAML.
//!
//! A description is a [`serde_json::Value`] that keeps the order of its keys: overlays create
//! intermediate states that a typed model rejects, and the resolved description must be comparable with
//! the vendored one line by line.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Parses one YAML or JSON document. Messages call it `shown`.
///
/// # Errors
/// If it is not UTF-8, not YAML or JSON, or not a mapping.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use openapi_keeper::description;
///
/// let document = description::parse(b"openapi: 3.0.3", "api.yaml")?;
/// assert_eq!(document["openapi"], "3.0.3");
/// let error = description::parse(b"openapi: [", "api.yaml").unwrap_err();
/// assert!(error.to_string().contains("api.yaml"));
/// # Ok(())
/// # }
/// ```
pub fn parse(bytes: &[u8], shown: &str) -> Result<Value> {
    let text =
        std::str::from_utf8(bytes).with_context(|| format!("{shown} is not UTF-8; save it as UTF-8 text"))?;
    // JSON is valid YAML, but a large description exceeds the limits of the YAML reader.
    let json = if text.trim_start().starts_with('{') { serde_json::from_str(text).ok() } else { None };
    let value: Value = match json {
        Some(value) => value,
        None => serde_saphyr::from_str(text).with_context(|| format!("{shown} is not valid YAML"))?,
    };
    if !value.is_object() {
        bail!("{shown} is not a mapping; an OpenAPI document starts with `openapi:`");
    }
    Ok(value)
}

/// Reads one document from a file.
///
/// # Errors
/// If the file cannot be read or parsed.
pub fn read(path: &Path) -> Result<Value> {
    let shown = path.display().to_string();
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {shown}"))?;
    parse(&bytes, &shown)
}

/// Writes a document in the vendor's layout (lists are indented below their key), so that the resolved
/// description can be compared with the vendored one.
///
/// # Errors
/// If the value cannot be written as YAML.
pub fn to_yaml(value: &Value) -> Result<String> {
    let options = serde_saphyr::ser_options! { compact_list_indent: false };
    serde_saphyr::to_string_with_options(value, options).context("cannot write YAML")
}

/// Replaces a file atomically, so that an interrupted run leaves the old file intact.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("tmp");
    let written = std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_document_reads_back_in_the_same_order() {
        let text = "b: '1.0'\na:\n  - z: ''\n    y: null\n  - 7.91\n";
        let value = parse(text.as_bytes(), "x.yaml").unwrap();
        let again = parse(to_yaml(&value).unwrap().as_bytes(), "y.yaml").unwrap();
        assert_eq!(value.to_string(), again.to_string());
        assert_eq!(value.to_string(), r#"{"b":"1.0","a":[{"z":"","y":null},7.91]}"#);
    }

    #[test]
    fn a_file_that_cannot_be_replaced_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::create_dir(&path).unwrap();
        assert!(write(&path, b"text").is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_invalid_document_is_an_error_that_names_it() {
        for (bytes, says) in [
            (&b""[..], "x.yaml"),
            (&b"- 1\n"[..], "is not a mapping"),
            (&b"a: [1\n"[..], "x.yaml is not valid YAML"),
            (&b"a: 1\na: 2\n"[..], "x.yaml is not valid YAML"),
            (&b"a: \xff\n"[..], "x.yaml is not UTF-8"),
        ] {
            let error = format!("{:#}", parse(bytes, "x.yaml").unwrap_err());
            assert!(error.contains(says), "{error}");
        }
    }
}
