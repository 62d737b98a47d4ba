//! Reads and writes `openapi/sources.toml`: the origin of each vendored description, and its SHA-256, which
//! proves that the file was not edited.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The first lines of `sources.toml`.
const HEADER: &str = "\
# The origin of each vendored description. `cargo xtask codegen` rejects a file that does not match its
# SHA-256: put corrections into overlays/, and never edit the vendored bytes.

";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sources {
    source: Vec<Source>,
}

/// The origin of a vendored file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    /// The path below `openapi/`.
    file: String,
    /// The vendor's URL, which only `spec watch` fetches.
    origin: String,
    /// The date of the copy.
    #[serde(rename = "retrieved")]
    _retrieved: toml::value::Date,
    /// In hexadecimal.
    sha256: String,
    /// The vendor's pages and documents, if there are several.
    #[serde(default, rename = "part")]
    _parts: Vec<Part>,
    /// The definitions that several of them have.
    #[serde(default, rename = "preference")]
    _preferences: Vec<Preference>,
}

/// One of several pages or documents.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    pub(crate) origin: String,
    /// Of the OpenAPI document or block, in hexadecimal.
    pub(crate) sha256: String,
    /// The operations that were taken from it.
    pub(crate) operations: Vec<String>,
}

/// Which of two definitions was taken, and why.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Preference {
    pub(crate) pointer: String,
    pub(crate) taken: String,
    pub(crate) left_out: String,
    pub(crate) reason: String,
}

/// The URLs that the vendored files come from.
pub(crate) fn origins(openapi: &Path) -> Result<Vec<url::Url>> {
    let text =
        std::fs::read_to_string(openapi.join("sources.toml")).context("cannot read openapi/sources.toml")?;
    let sources: Sources = toml::from_str(&text).context("openapi/sources.toml is not valid")?;
    let urls: Vec<_> = sources.source.iter().filter_map(|source| source.origin.parse().ok()).collect();
    ensure!(!urls.is_empty(), "openapi/sources.toml has no URL as an origin; give --url or --file");
    Ok(urls)
}

/// Reads `openapi/FILE` and compares its SHA-256 with the recorded one.
pub(crate) fn read_verified(openapi: &Path, file: &str) -> Result<Vec<u8>> {
    let list = openapi.join("sources.toml");
    let text = std::fs::read_to_string(&list).context("cannot read openapi/sources.toml")?;
    let sources: Sources = toml::from_str(&text).context("openapi/sources.toml is not valid")?;
    let Some(source) = sources.source.iter().find(|source| source.file == file) else {
        bail!(
            "openapi/sources.toml has no [[source]] with file = \"{file}\"; add its origin, date and SHA-256"
        );
    };
    let bytes = std::fs::read(openapi.join(file)).with_context(|| format!("cannot read openapi/{file}"))?;
    let actual = sha256(&bytes);
    if actual != source.sha256 {
        bail!(
            "openapi/{file} is not the file that openapi/sources.toml records\n  \
             recorded  {}\n  found     {actual}\n\
             Never edit the vendored bytes: put corrections into openapi/overlays/. If the vendor's page changed, \
             import it with `cargo xtask spec import`.",
            source.sha256
        );
    }
    Ok(bytes)
}

/// The text of `sources.toml` for one file that was copied today.
pub(crate) fn listing(
    file: &str,
    origin: &str,
    bytes: &[u8],
    parts: &[Part],
    preferences: &[Preference],
) -> Result<String> {
    let mut source = toml::Table::new();
    source.insert("file".to_owned(), file.into());
    source.insert("origin".to_owned(), origin.into());
    let today: toml::value::Datetime =
        jiff::Zoned::now().date().to_string().parse().context("today's date is not valid")?;
    source.insert("retrieved".to_owned(), toml::Value::Datetime(today));
    source.insert("sha256".to_owned(), sha256(bytes).into());
    if !parts.is_empty() {
        source.insert("part".to_owned(), toml::Value::try_from(parts)?);
    }
    if !preferences.is_empty() {
        source.insert("preference".to_owned(), toml::Value::try_from(preferences)?);
    }
    let list = toml::Table::from_iter([("source".to_owned(), toml::Value::Array(vec![source.into()]))]);
    Ok(format!("{HEADER}{}", toml::to_string(&list).context("cannot write TOML")?))
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_preferences_are_recorded_and_can_be_read() {
        let part = |origin: &str| Part {
            origin: origin.to_owned(),
            sha256: sha256(origin.as_bytes()),
            operations: vec![format!("GET /{origin}")],
        };
        let preference = Preference {
            pointer: "/paths/~1a/get".to_owned(),
            taken: "a.md".to_owned(),
            left_out: "b.md".to_owned(),
            reason: "newer".to_owned(),
        };
        let text = listing("x.yaml", "a, b", b"bytes", &[part("a"), part("b")], &[preference]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("sources.toml"), &text).unwrap();
        std::fs::write(folder.path().join("x.yaml"), "bytes").unwrap();
        assert_eq!(read_verified(folder.path(), "x.yaml").unwrap(), b"bytes");
        assert!(text.contains("[[source.part]]") && text.contains("reason = \"newer\""), "{text}");
    }
}
