//! Where files are put: [`Location`].

use std::{fmt, str::FromStr};

use akool::redact;
use object_store::path::Path;

use crate::error::StageError;

/// A bucket or container of a store, and a prefix in it: `s3://bucket/prefix`, `gs://bucket/prefix` or
/// `az://container/prefix`. The prefix is taken literally, without percent-encoding.
///
/// ```
/// use akool_stage::Location;
///
/// let location: Location = "s3://bucket/videos/".parse()?;
/// assert_eq!(location.to_string(), "s3://bucket/videos");
/// assert!("https://example.com/videos".parse::<Location>().is_err());
/// # Ok::<(), akool_stage::StageError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    pub(crate) provider: Provider,
    /// The scheme and the bucket.
    root: String,
    pub(crate) prefix: Path,
}

/// Who runs the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    Amazon,
    Google,
    Azure,
}

impl Location {
    /// The scheme and the bucket.
    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// The URL of an object, without percent-encoding. It grants no access.
    pub(crate) fn url(&self, path: &Path) -> String {
        format!("{}/{path}", self.root)
    }

    /// The path in the store of an object with this URL, if it is in this bucket.
    pub(crate) fn path_of(&self, url: &str) -> Option<Path> {
        let path = url.strip_prefix(&self.root)?.strip_prefix('/')?;
        Path::parse(path).ok()
    }

    /// The bucket of an object with this URL.
    ///
    /// # Errors
    /// If it is not the URL of an object.
    ///
    /// ```
    /// use akool_stage::Location;
    ///
    /// assert_eq!(Location::of_object("s3://bucket/a/talk.mp4")?.to_string(), "s3://bucket");
    /// # Ok::<(), akool_stage::StageError>(())
    /// ```
    pub fn of_object(url: &str) -> Result<Self, StageError> {
        let mut location: Self = url.parse()?;
        location.prefix = Path::default();
        Ok(location)
    }
}

impl Provider {
    fn of(scheme: &str) -> Option<Self> {
        match scheme.to_ascii_lowercase().as_str() {
            "s3" | "s3a" => Some(Self::Amazon),
            "gs" => Some(Self::Google),
            "az" | "azure" | "abfs" | "abfss" => Some(Self::Azure),
            _ => None,
        }
    }
}

impl FromStr for Location {
    type Err = StageError;

    fn from_str(text: &str) -> Result<Self, StageError> {
        let error = |why| StageError::Location { text: redact::excerpt(text), why };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| error("it has no scheme"))?;
        let provider = Provider::of(scheme).ok_or_else(|| error("its scheme is not that of a store"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        // A container of Azure may be written with its account.
        let is_name = |c: char| {
            c.is_ascii_alphanumeric() || "-._".contains(c) || (c == '@' && provider == Provider::Azure)
        };
        if bucket.is_empty() || !bucket.chars().all(is_name) {
            return Err(error("it has no valid bucket"));
        }
        if prefix.contains(['?', '#']) {
            return Err(error("a prefix cannot contain ? or #"));
        }
        let prefix = Path::parse(prefix.trim_matches('/')).map_err(|_| error("its prefix is not valid"))?;
        Ok(Self { provider, root: format!("{}://{bucket}", scheme.to_ascii_lowercase()), prefix })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix.as_ref() {
            "" => f.write_str(&self.root),
            prefix => write!(f, "{}/{prefix}", self.root),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_parsed_literally() {
        for (text, shown) in [
            ("s3://bucket", "s3://bucket"),
            ("S3://bucket/", "s3://bucket"),
            ("s3://bucket/a/b/", "s3://bucket/a/b"),
            ("gs://my.bucket/100% ünï/", "gs://my.bucket/100% ünï"),
            (
                "abfss://container@account.dfs.core.windows.net/a",
                "abfss://container@account.dfs.core.windows.net/a",
            ),
        ] {
            assert_eq!(text.parse::<Location>().unwrap().to_string(), shown);
        }
        let location: Location = "s3://b/p%".parse().unwrap();
        let url = location.url(&Path::parse("p%/a b.mp4").unwrap());
        assert_eq!(url, "s3://b/p%/a b.mp4");
        assert_eq!(location.path_of(&url).unwrap().as_ref(), "p%/a b.mp4");
        assert_eq!(location.path_of("s3://bucket/p%/a"), None);
    }

    #[test]
    fn what_is_not_a_location_is_refused_without_showing_a_secret() {
        for text in [
            "",
            "bucket/prefix",
            "s3:bucket",
            "s3://",
            "s3:///a",
            "s3://key:MARKER@bucket/a",
            "https://bucket/a",
            "s3://bucket/a?X-Amz-Signature=MARKER",
            "s3://bucket/../a",
            "s3://bucket/a//b",
            "s3://bu cket/a",
        ] {
            let error = text.parse::<Location>().unwrap_err();
            assert!(!error.to_string().contains("MARKER"), "{error}");
        }
    }
}
