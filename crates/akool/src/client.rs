//! The way to the service: [`Client`], made from a [`Credential`].

use std::{fmt, sync::Arc, time::Duration};

use akool_client::{Credential, Secret, Transport};
use reqwest::redirect;
use url::{Host, Url};

use crate::{
    Job, JobId,
    renewal::{CredentialSource, Renewal},
    throttle::Throttle,
    token::TokenSource,
};

/// The service's own address.
const PRODUCTION: &str = "https://openapi.akool.com";
const USER_AGENT: &str = concat!("akool-rust/", env!("CARGO_PKG_VERSION"));
/// The environment variables that [`Client::from_env`] reads.
pub(crate) const KEY_VARIABLE: &str = "AKOOL_API_KEY";
pub(crate) const TOKEN_VARIABLE: &str = "AKOOL_TOKEN";
pub(crate) const HOST_VARIABLE: &str = "AKOOL_API_HOST";
pub(crate) const CLIENT_ID_VARIABLE: &str = "AKOOL_CLIENT_ID";
pub(crate) const CLIENT_SECRET_VARIABLE: &str = "AKOOL_CLIENT_SECRET";

/// A client of the service. Cheap to clone; clones share their connections.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use akool::Client;
///
/// let client = Client::from_env()?;
/// let translation = client.job("64dd92c1f0b6684651e90e09").wait().await?;
/// println!("{}", translation.video());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) api: akool_client::Client,
    /// What `api` sends along, kept to be renewed and scrubbed.
    pub(crate) transport: Transport,
    pub(crate) renewal: Option<Arc<Renewal>>,
    pub(crate) pace: Arc<Throttle>,
    base_url: Arc<str>,
    pub(crate) create_timeout: Duration,
}

impl Client {
    /// A client for the service with this credential and the default settings.
    ///
    /// # Errors
    /// When the HTTP client cannot be built, for example without TLS.
    pub fn new(credential: Credential) -> Result<Self, ConfigError> {
        Self::builder().credential(credential).build()
    }

    /// A client from the environment: the key in `AKOOL_API_KEY`, or the token in `AKOOL_TOKEN`, or,
    /// without either, tokens for `AKOOL_CLIENT_ID` and `AKOOL_CLIENT_SECRET`; and, where it is set,
    /// the service's address in `AKOOL_API_HOST`.
    ///
    /// # Errors
    /// When there is no credential, when both key and token are set, or one cannot be sent.
    pub fn from_env() -> Result<Self, ConfigError> {
        ClientBuilder::from_env()?.build()
    }

    /// Starts a client with other settings than the default ones.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// The service's address.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// A job by its id: the `_id` that its creation answered. Asks nothing yet.
    pub fn job(&self, id: impl Into<JobId>) -> Job {
        Job::new(self.clone(), id.into())
    }
}

/// Settings of a [`Client`].
///
/// ```
/// use std::time::Duration;
/// use akool::{Client, Credential};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::builder()
///     .credential(Credential::api_key("the key")?)
///     .request_timeout(Duration::from_secs(10))
///     .http(reqwest::Client::builder().no_proxy())
///     .build()?;
/// # Ok(())
/// # }
/// # example().unwrap();
/// ```
#[must_use]
pub struct ClientBuilder {
    credential: Option<Credential>,
    source: Option<Arc<Renewal>>,
    /// A client id and its secret, to get tokens with.
    client_credentials: Option<(String, Secret)>,
    base_url: String,
    http: reqwest::ClientBuilder,
    connect_timeout: Duration,
    request_timeout: Duration,
    create_timeout: Duration,
    allow_plain_http: bool,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            credential: None,
            source: None,
            client_credentials: None,
            base_url: PRODUCTION.to_owned(),
            http: reqwest::ClientBuilder::new(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            create_timeout: Duration::from_secs(120),
            allow_plain_http: false,
        }
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("credential", &self.credential)
            .field("request_timeout", &self.request_timeout)
            .finish_non_exhaustive()
    }
}

impl ClientBuilder {
    /// Settings from the environment; see [`Client::from_env`]. An empty variable counts as unset.
    ///
    /// # Errors
    /// When there is no credential, when both key and token are set, or one cannot be sent.
    pub fn from_env() -> Result<Self, ConfigError> {
        let credential = match (variable(KEY_VARIABLE)?, variable(TOKEN_VARIABLE)?) {
            (Some(key), None) => Credential::api_key(key)
                .map_err(|source| ConfigError::Credential { from: KEY_VARIABLE, source })?,
            (None, Some(token)) => Credential::bearer(token)
                .map_err(|source| ConfigError::Credential { from: TOKEN_VARIABLE, source })?,
            (Some(_), Some(_)) => return Err(ConfigError::TwoCredentials),
            (None, None) => {
                return match (variable(CLIENT_ID_VARIABLE)?, variable(CLIENT_SECRET_VARIABLE)?) {
                    (Some(id), Some(secret)) => {
                        Self::default().client_credentials(id, secret).base_url_from_env()
                    }
                    (None, None) => Err(ConfigError::NoCredential),
                    _ => Err(ConfigError::HalfCredential),
                };
            }
        };
        Self::default().credential(credential).base_url_from_env()
    }

    /// Sets the service's address to what `AKOOL_API_HOST` says, where it is set and not empty.
    ///
    /// # Errors
    /// When it is not valid Unicode.
    pub fn base_url_from_env(self) -> Result<Self, ConfigError> {
        Ok(match variable(HOST_VARIABLE)? {
            Some(host) => self.base_url(host),
            None => self,
        })
    }

    /// Sets the key or token. There is one: the service ignores a key beside a token, so sending
    /// both would hide which of them is at work.
    pub fn credential(mut self, credential: Credential) -> Self {
        self.credential = Some(credential);
        self
    }

    /// Sets where a new credential comes from when the service refuses the present one. One
    /// renewal is tried for a refused call, shared by all that are refused at the same time; where
    /// the new one is refused too, the call fails. Without [`credential`](Self::credential), the
    /// first call asks the source.
    pub fn credential_source(mut self, source: impl CredentialSource + 'static) -> Self {
        self.source = Some(Arc::new(Renewal::new(Box::new(source))));
        self
    }

    /// Sets a client id and its secret, for which bearer tokens are got when they are needed: the first
    /// by the first call, another one when the service no longer takes the present one. All clones of
    /// the client share it, and however many calls are refused at once, one new token is asked for.
    ///
    /// ```
    /// # fn example() -> Result<(), akool::ConfigError> {
    /// let client = akool::Client::builder().client_credentials("the id", "the secret").build()?;
    /// # Ok(())
    /// # }
    /// # example().unwrap();
    /// ```
    pub fn client_credentials(mut self, id: impl Into<String>, secret: impl Into<Secret>) -> Self {
        self.client_credentials = Some((id.into(), secret.into()));
        self
    }

    /// Sets the service's address (`https://openapi.akool.com` unless set), with or without
    /// `https://` before it; without, one on this machine is reached by `http://`.
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = url.into();
        self
    }

    /// Sets the HTTP client to start from, for a proxy, roots of trust or a resolver. Redirects,
    /// timeouts, decompression and the user agent are set after it, by this builder. Default headers
    /// of that client are sent along: put no credentials there, for two would hide which of them is
    /// at work. A base URL with `http:` to this machine is reached without a proxy.
    pub fn http(mut self, http: reqwest::ClientBuilder) -> Self {
        self.http = http;
        self
    }

    /// Sets how long a connection may take to be made (10 s unless set).
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long one poll may take in all, from connecting to the last byte of its answer
    /// (30 s unless set). Not to be taken for the timeout of a wait.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets how long a request that creates may take in all (120 s unless set): to give up early on one
    /// is not to know what became of it.
    pub fn create_timeout(mut self, timeout: Duration) -> Self {
        self.create_timeout = timeout;
        self
    }

    /// Allows a base URL with `http:` to another host than this one. The credential can then be
    /// read by whoever is on the way.
    pub fn allow_plain_http(mut self) -> Self {
        self.allow_plain_http = true;
        self
    }

    /// Makes the client. Connects nowhere yet.
    ///
    /// # Errors
    /// Without a credential, with a base URL that cannot be one, and when the HTTP client cannot
    /// be built.
    pub fn build(self) -> Result<Client, ConfigError> {
        match (&self.credential, &self.source, &self.client_credentials) {
            (None, None, None) => return Err(ConfigError::NoCredential),
            (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => return Err(ConfigError::TwoSources),
            _ => {}
        }
        let base_url = base_url(&self.base_url, self.allow_plain_http)?;
        let mut http = self.http;
        if base_url.starts_with("http:") && Url::parse(&base_url).is_ok_and(|url| is_loopback(&url)) {
            // A proxy would be told the credential in clear, and cannot reach this machine.
            http = http.no_proxy();
        }
        let http = plain(http)
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(self.connect_timeout)
            .timeout(self.request_timeout)
            .user_agent(USER_AGENT)
            // What creates must not be sent twice, and polls have a budget of their own.
            .retry(reqwest::retry::never())
            .build()
            .map_err(ConfigError::Http)?;
        let renewal = match self.client_credentials {
            Some((id, secret)) => {
                let tokens = TokenSource::new(&base_url, http.clone(), id, secret);
                Some(Arc::new(Renewal::new(Box::new(tokens))))
            }
            None => self.source,
        };
        let transport = Transport::new(self.credential);
        Ok(Client {
            api: akool_client::Client::new_with_client(&base_url, http, transport.clone()),
            transport,
            renewal,
            pace: Arc::default(),
            base_url: base_url.into(),
            create_timeout: self.create_timeout,
        })
    }
}

/// Asks for no compression, whatever features the build has: what comes is what is described, and
/// a range of a file counts its bytes.
pub(crate) fn plain(http: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
    http.no_gzip().no_brotli().no_zstd().no_deflate()
}

fn variable(name: &'static str) -> Result<Option<String>, ConfigError> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(ConfigError::NotUnicode(name)),
    }
}

/// The address in the form to which the generated client appends its paths.
fn base_url(text: &str, allow_plain_http: bool) -> Result<String, ConfigError> {
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let invalid = |why| ConfigError::BaseUrl { url: crate::redact::excerpt(&with_scheme), why };
    let mut url = Url::parse(with_scheme.trim()).map_err(|_| invalid("it is no URL"))?;
    if !text.contains("://") && is_loopback(&url) {
        // Nothing on this machine speaks TLS unless that is said.
        let plain = format!("http://{}", text.trim());
        url = Url::parse(&plain).map_err(|_| invalid("it is no URL"))?;
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ConfigError::BaseUrl {
            url: crate::redact::link(&url),
            why: "it holds a user name or password; credentials are set apart from it",
        });
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("it has a query or fragment"));
    }
    match url.scheme() {
        "https" => {}
        "http" if allow_plain_http || is_loopback(&url) => {}
        "http" => {
            return Err(invalid(
                "it is plain http to another host, where the credential could be read on the way; use https",
            ));
        }
        _ => return Err(invalid("it is neither https nor http")),
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Whether the link's host is this machine, by its literal name.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Why a [`Client`] cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no key or token.
    #[error(
        "no credential: set {KEY_VARIABLE} to an API key, {TOKEN_VARIABLE} to a bearer token, or \
         {CLIENT_ID_VARIABLE} and {CLIENT_SECRET_VARIABLE} to a client id and its secret"
    )]
    NoCredential,
    /// There is a client id without its secret, or a secret without its id.
    #[error(
        "half a credential: {CLIENT_ID_VARIABLE} and {CLIENT_SECRET_VARIABLE} go together; set both or neither"
    )]
    HalfCredential,
    /// There are client credentials beside another credential or source of credentials.
    #[error(
        "two credentials: a client id and secret were set beside another credential; leave one of them out"
    )]
    TwoSources,
    /// There are both a key and a token.
    #[error(
        "two credentials: {KEY_VARIABLE} and {TOKEN_VARIABLE} are both set, and the service would \
         ignore the key; unset one of them"
    )]
    TwoCredentials,
    /// A variable does not hold text.
    #[error("the environment variable {0} is not valid Unicode; set it anew")]
    NotUnicode(&'static str),
    /// A key or token cannot be sent.
    #[error("the credential from {from} cannot be used; set it anew")]
    Credential {
        /// Where it came from.
        from: &'static str,
        /// What is wrong with it.
        source: akool_client::InvalidCredential,
    },
    /// The base URL cannot be used.
    #[error("the base URL \"{url}\" cannot be used: {why}")]
    BaseUrl {
        /// The URL as given, without credentials.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be built; check that a TLS feature (rustls or native-tls) is on")]
    Http(#[source] reqwest::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_are_brought_into_one_form() {
        for (given, wanted) in [
            ("https://openapi.akool.com", "https://openapi.akool.com"),
            ("https://openapi.akool.com/", "https://openapi.akool.com"),
            ("openapi.akool.com", "https://openapi.akool.com"),
            ("https://proxy.example/akool/", "https://proxy.example/akool"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://localhost:1", "http://localhost:1"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("https://127.0.0.1:8080", "https://127.0.0.1:8080"),
        ] {
            assert_eq!(base_url(given, false).unwrap(), wanted, "{given}");
        }
        assert!(base_url("http://openapi.akool.com", true).is_ok());
    }

    #[test]
    fn base_urls_that_leak_or_mislead_are_refused() {
        for given in [
            "",
            "https://",
            "http://openapi.akool.com",
            "http://127.0.0.1.example.com",
            "ftp://x",
            "https://a?b=c",
            "https://a#b",
            "http://localhost.example",
        ] {
            assert!(base_url(given, false).is_err(), "{given}");
        }
        for given in [
            "https://user:MARKER@openapi.akool.com",
            "https://user:MARKER@openapi.akool.com:99999",
            "a.example?token=MARKER",
        ] {
            let error = base_url(given, false).unwrap_err().to_string();
            assert!(!error.contains("MARKER"), "{error}");
        }
    }
}
