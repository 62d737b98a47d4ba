//! An OpenAPI description as an ordered tree: read from YAML, written back as YAML.
//!
//! Everything here works on [`serde_json::Value`] with its key order kept, because overlays pass
//! through states that a typed model refuses, and because a reader compares the resolved
//! description with the vendored one line by line.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Parses the bytes of one YAML (or JSON) document that is called `shown` in messages. Anchors,
/// duplicate keys and syntax are the YAML library's business; its errors carry line and column.
pub(crate) fn parse(bytes: &[u8], shown: &str) -> Result<Value> {
    let text =
        std::str::from_utf8(bytes).with_context(|| format!("{shown} is not UTF-8; save it as UTF-8 text"))?;
    // JSON is YAML as well, but a large description takes the YAML reader past its limits.
    let json = if text.trim_start().starts_with('{') { serde_json::from_str(text).ok() } else { None };
    let value: Value = match json {
        Some(value) => value,
        None => serde_saphyr::from_str(text).with_context(|| format!("{shown} is not valid YAML"))?,
    };
    if !value.is_object() {
        bail!("{shown} holds no mapping at its top; an OpenAPI document starts with `openapi:`");
    }
    Ok(value)
}

/// Reads one document from a file.
pub(crate) fn read(path: &Path) -> Result<Value> {
    let shown = path.display().to_string();
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {shown}"))?;
    parse(&bytes, &shown)
}

/// Writes a document in the vendor's own layout (lists indented below their key), so that the
/// resolved description can be read beside the vendored one.
pub(crate) fn to_yaml(value: &Value) -> Result<String> {
    let options = serde_saphyr::ser_options! { compact_list_indent: false };
    serde_saphyr::to_string_with_options(value, options).context("cannot write YAML")
}

/// Writes a file to a temporary name first: an interrupted run leaves the old file whole.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, bytes)?;
    std::fs::rename(&temporary, path)
}

/// One step of a JSON Pointer (RFC 6901), escaped.
pub(crate) fn pointer_step(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_the_same_in_the_same_order() {
        let text = "b: '1.0'\na:\n  - z: ''\n    y: null\n  - 7.91\n";
        let value = parse(text.as_bytes(), "x.yaml").unwrap();
        let again = parse(to_yaml(&value).unwrap().as_bytes(), "y.yaml").unwrap();
        assert_eq!(value.to_string(), again.to_string());
        assert_eq!(value.to_string(), r#"{"b":"1.0","a":[{"z":"","y":null},7.91]}"#);
    }

    #[test]
    fn what_is_no_description_is_told_by_name() {
        for (bytes, says) in [
            (&b""[..], "x.yaml"),
            (&b"- 1\n"[..], "holds no mapping"),
            (&b"a: [1\n"[..], "x.yaml is not valid YAML"),
            (&b"a: 1\na: 2\n"[..], "x.yaml is not valid YAML"),
            (&b"a: \xff\n"[..], "x.yaml is not UTF-8"),
        ] {
            let error = format!("{:#}", parse(bytes, "x.yaml").unwrap_err());
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn pointers_escape_slashes_and_tildes() {
        assert_eq!(pointer_step("/paths", "/a~b"), "/paths/~1a~0b");
    }
}
