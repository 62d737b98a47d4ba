//! A place in an object store: [`Stage`].

use std::{fmt, sync::Arc, time::Duration};

use akool::http::is_loopback;
use bytes::Bytes;
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt as _, RetryConfig,
    aws::{AmazonS3Builder, AwsCredentialProvider},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    multipart::MultipartStore,
    path::Path,
    signer::Signer,
};

use crate::{
    error::{Failure, StageError},
    file::LocalFile,
    location::{Location, Provider},
    profile::Profile,
};

/// The stores' own retries of a request: after a time that a person waits for.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_RETRIES: usize = 6;
/// A request ends if no data moves for this long. A slow upload of a part may take longer.
const READ_TIMEOUT: Duration = Duration::from_secs(120);
/// The longest time of one request: a part at about 100 kbit/s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// The largest object that is read into memory, in bytes.
const MAX_READ: u64 = 16 * 1024 * 1024;

/// A location in an object store that can be used. Cheap to clone.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use akool_stage::{Location, Stage};
///
/// let stage = Stage::open(&"s3://bucket/videos".parse::<Location>()?)?;
/// let url = stage.url_of("talk.es.mp4");
/// if let Some(bytes) = stage.length(&url).await? {
///     println!("{url} has {bytes} bytes");
///     stage.remove(&url).await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Stage {
    location: Location,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) parts: Arc<dyn MultipartStore>,
    pub(crate) signer: Option<Arc<dyn Signer>>,
    pub(crate) amazon: Option<AwsCredentialProvider>,
}

impl Stage {
    /// Reads the settings and credentials of the store from the usual variables and files. Nothing is sent.
    ///
    /// # Errors
    /// If a setting is not valid.
    pub fn open(location: &Location) -> Result<Self, StageError> {
        let settings = |why: String| StageError::Settings { store: location.to_string(), why };
        let failed = |error: object_store::Error| settings(error.to_string());
        let retry = RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: MAX_RETRIES,
            retry_timeout: RETRY_TIMEOUT,
        };
        let options = ClientOptions::new().with_timeout(REQUEST_TIMEOUT).with_read_timeout(READ_TIMEOUT);
        let location = location.clone();
        Ok(match location.provider {
            Provider::Amazon => {
                let mut builder = AmazonS3Builder::from_env();
                if let Some(profile) = Profile::read().map_err(settings)? {
                    builder = profile.apply(builder).map_err(settings)?;
                }
                let endpoint = profile_endpoint(&builder);
                let store = builder
                    .with_url(location.root())
                    .with_client_options(
                        options.with_allow_http(endpoint.is_some_and(|url| allows_http(&url))),
                    )
                    .with_retry(retry);
                let store = Arc::new(store.build().map_err(failed)?);
                let amazon = Some(Arc::clone(store.credentials()));
                Self { location, parts: store.clone(), signer: Some(store.clone()), amazon, store }
            }
            Provider::Google => {
                let store = GoogleCloudStorageBuilder::from_env().with_url(location.root());
                let endpoint = store.get_config_value(&GoogleConfigKey::BaseUrl);
                let options = options.with_allow_http(endpoint.is_some_and(|url| is_local(&url)));
                let store = store.with_client_options(options).with_retry(retry);
                let store = Arc::new(store.build().map_err(failed)?);
                Self { location, parts: store.clone(), signer: Some(store.clone()), amazon: None, store }
            }
            Provider::Azure => {
                let store = MicrosoftAzureBuilder::from_env().with_url(location.root());
                let endpoint = store.get_config_value(&AzureConfigKey::Endpoint);
                let options = options.with_allow_http(endpoint.is_some_and(|url| is_local(&url)));
                let store = store.with_client_options(options).with_retry(retry);
                let store = Arc::new(store.build().map_err(failed)?);
                Self { location, parts: store.clone(), signer: Some(store.clone()), amazon: None, store }
            }
        })
    }

    /// The location.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The URL of the object of a file: below the location, in a folder named after the file's content. It grants no
    /// access.
    pub fn url(&self, file: &LocalFile) -> String {
        self.location.url(&self.path(file))
    }

    /// The URL of an object with this name, directly below the location.
    pub fn url_of(&self, name: &str) -> String {
        self.location.url(&named(&self.location.prefix, name))
    }

    /// The length of the object with this URL in bytes. `None` if there is none.
    ///
    /// # Errors
    /// If the store does not answer, or does not allow it.
    pub async fn length(&self, url: &str) -> Result<Option<u64>, StageError> {
        match self.store.head(&self.path_of(url)?).await {
            Ok(found) => Ok(Some(found.size)),
            // A missing bucket has no body that says so here; the upload will.
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(StageError::store(format!("read {url}"), &error)),
        }
    }

    /// The contents of a small object.
    ///
    /// # Errors
    /// If it does not exist or has more than 16 MiB, or the store does not answer or does not allow it.
    pub async fn read(&self, url: &str) -> Result<Bytes, StageError> {
        let failed = |error| StageError::store(format!("read {url}"), &error);
        let found = self.store.get(&self.path_of(url)?).await.map_err(failed)?;
        if found.meta.size > MAX_READ {
            let why = format!("it has more than {MAX_READ} bytes");
            return Err(StageError::Store { action: format!("read {url}"), why, kind: Failure::Other });
        }
        found.bytes().await.map_err(failed)
    }

    /// Removes the object with this URL. One that does not exist is no error.
    ///
    /// # Errors
    /// If the store does not answer, or does not allow it.
    pub async fn remove(&self, url: &str) -> Result<(), StageError> {
        match self.store.delete(&self.path_of(url)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(StageError::store(format!("remove {url}"), &error)),
        }
    }

    pub(crate) fn path(&self, file: &LocalFile) -> Path {
        let folder = self.location.prefix.clone().join(file.digits());
        match self.location.provider {
            Provider::Amazon => named(&folder, &file.name),
            // The library encodes other characters wrongly: Azure verifies a link without percent-encoding, and for
            // Google a percent sign stays as it is. The folder is enough to identify the file.
            Provider::Google | Provider::Azure => named(&folder, &plain(&file.name)),
        }
    }

    /// Whether a link to an object can be signed.
    pub(crate) fn is_signable(&self, path: &Path) -> bool {
        self.location.provider == Provider::Amazon
            || path.parts().all(|part| plain(part.as_ref()) == part.as_ref())
    }

    pub(crate) fn path_of(&self, url: &str) -> Result<Path, StageError> {
        let why = "it is in another bucket";
        self.location.path_of(url).ok_or_else(|| StageError::Location { text: url.to_owned(), why })
    }

    /// A place in memory.
    #[cfg(test)]
    pub(crate) fn in_memory(location: &str) -> (Self, Arc<object_store::memory::InMemory>) {
        let store = Arc::new(object_store::memory::InMemory::new());
        let location = location.parse().unwrap();
        let stage = Self { location, store: store.clone(), parts: store.clone(), signer: None, amazon: None };
        (stage, store)
    }
}

/// A name without characters that are percent-encoded in a link.
fn plain(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect()
}

/// A name below a prefix, literally if the store's library allows it, otherwise with escapes.
fn named(prefix: &Path, name: &str) -> Path {
    let literal = match prefix.as_ref() {
        "" => Path::parse(name),
        prefix => Path::parse(format!("{prefix}/{name}")),
    };
    literal.unwrap_or_else(|_| prefix.clone().join(name))
}

fn profile_endpoint(builder: &AmazonS3Builder) -> Option<String> {
    use object_store::aws::AmazonS3ConfigKey::{Endpoint, S3Endpoint};
    builder.get_config_value(&S3Endpoint).or_else(|| builder.get_config_value(&Endpoint))
}

/// Without TLS, credentials and files could be read on the way: only for a store on this machine, or if the user says so.
fn allows_http(endpoint: &str) -> bool {
    let is_allowed = std::env::var("AWS_ALLOW_HTTP").is_ok_and(|value| value.eq_ignore_ascii_case("true"));
    is_allowed || is_local(endpoint)
}

fn is_local(endpoint: &str) -> bool {
    endpoint.parse().is_ok_and(|url| is_loopback(&url))
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stage").field(&self.location.to_string()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_for_this_machine_only() {
        for (url, allowed) in [
            ("http://127.0.0.1:5000", true),
            ("http://localhost:5000", true),
            ("http://[::1]:5000", true),
            ("http://localhost.example:5000", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(allows_http(url), allowed, "{url}");
        }
    }

    #[test]
    fn names_are_kept_as_they_are() {
        let (stage, _) = Stage::in_memory("s3://bucket/a b");
        for name in ["talk.mp4", "100% ünï.mp4", "a%2Fb.mp4", "a#b?.mp4"] {
            assert_eq!(stage.url_of(name), format!("s3://bucket/a b/{name}"));
        }
        assert_eq!(stage.url_of(".."), "s3://bucket/a b/%2E%2E");
    }

    #[test]
    fn names_in_links_to_google_and_azure_are_plain() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("100% ünï.mp4"), "video").unwrap();
        let file = LocalFile::read(folder.path().join("100% ünï.mp4")).unwrap();
        for location in ["az://container/a", "gs://bucket/a"] {
            let (stage, _) = Stage::in_memory(location);
            let path = stage.path(&file);
            assert_eq!(path.filename(), Some("100___n_.mp4"));
            assert!(stage.is_signable(&path));
        }
        let (stage, _) = Stage::in_memory("az://container/a b");
        assert!(!stage.is_signable(&stage.path(&file)));
        assert_eq!(stage.url_of("100% ünï.mp4"), "az://container/a b/100% ünï.mp4", "results have no links");
    }
}
