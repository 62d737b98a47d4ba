//! Settings of a client: [`ClientBuilder`].

use std::{fmt, time::Duration};

use akool_client::{Credential, Response, Secret, Transport};
use reqwest::redirect;
use url::Url;

use crate::{
    client::{Client, TokenSource},
    credentials::CredentialSource,
    http::{self, is_loopback},
    redact,
};

/// The service's own address.
const PRODUCTION: &str = "https://openapi.akool.com";
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_CREATE_TIMEOUT: Duration = Duration::from_secs(120);

/// The environment variables that [`Client::from_env`] reads.
const KEY_VARIABLE: &str = "AKOOL_API_KEY";
const TOKEN_VARIABLE: &str = "AKOOL_TOKEN";
const HOST_VARIABLE: &str = "AKOOL_API_HOST";
const CLIENT_ID_VARIABLE: &str = "AKOOL_CLIENT_ID";
const CLIENT_SECRET_VARIABLE: &str = "AKOOL_CLIENT_SECRET";

impl Client {
    /// A client with this credential and the default settings.
    ///
    /// # Errors
    /// If the HTTP client cannot be built, for example without a TLS feature.
    pub fn new(credential: Credential) -> Result<Self, ConfigError> {
        Self::builder().credential(credential).build()
    }

    /// A client from the environment: the key in `AKOOL_API_KEY`, or the token in `AKOOL_TOKEN`, or else tokens for
    /// `AKOOL_CLIENT_ID` and `AKOOL_CLIENT_SECRET`. `AKOOL_API_HOST` sets the service's address.
    ///
    /// # Errors
    /// If there is no credential, if both key and token are set, or if one cannot be sent.
    pub fn from_env() -> Result<Self, ConfigError> {
        ClientBuilder::from_env()?.build()
    }

    /// Starts a client with other settings than the default ones.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
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
    source: Option<Box<dyn CredentialSource>>,
    /// A client id and its secret, to get tokens with.
    client_credentials: Option<(String, Secret)>,
    base_url: String,
    http: reqwest::ClientBuilder,
    connect_timeout: Duration,
    request_timeout: Duration,
    create_timeout: Duration,
    allow_plain_http: bool,
    on_response: Option<OnResponse>,
}

type OnResponse = Box<dyn Fn(&Response<'_>) + Send + Sync>;

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            credential: None,
            source: None,
            client_credentials: None,
            base_url: PRODUCTION.to_owned(),
            http: reqwest::ClientBuilder::new(),
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            request_timeout: DEFAULT_REQUEST_TIMEOUT,
            create_timeout: DEFAULT_CREATE_TIMEOUT,
            allow_plain_http: false,
            on_response: None,
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
    /// Settings from the environment; see [`Client::from_env`]. An empty variable counts as not set.
    ///
    /// # Errors
    /// If there is no credential, if both key and token are set, or if one cannot be sent.
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

    /// Sets the service's address from `AKOOL_API_HOST`, if that is set and not empty.
    ///
    /// # Errors
    /// If it is not valid Unicode.
    pub fn base_url_from_env(self) -> Result<Self, ConfigError> {
        Ok(match variable(HOST_VARIABLE)? {
            Some(host) => self.base_url(host),
            None => self,
        })
    }

    /// Sets the key or token. There is only one: the service ignores a key next to a token, so sending both would
    /// hide which of them is used.
    pub fn credential(mut self, credential: Credential) -> Self {
        self.credential = Some(credential);
        self
    }

    /// Sets the source of a new credential for when the service refuses the present one. A refused call renews the
    /// credential once, together with all calls that are refused at the same time. If the new one is refused too,
    /// the call fails. Without [`credential`](Self::credential), the first call asks the source.
    pub fn credential_source(mut self, source: impl CredentialSource + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// Sets a client id and its secret, to get bearer tokens with: one for the first call, and another one when the
    /// service no longer accepts it. All clones of the client share the token, and however many calls are refused at
    /// once, the client requests one new token.
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

    /// Sets the service's address (`https://openapi.akool.com` by default). Without a scheme it is reached by
    /// `https://`, and an address on this machine by `http://`.
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = url.into();
        self
    }

    /// Sets the HTTP client to start from, for a proxy, trusted roots or a resolver. This builder then sets redirects,
    /// timeouts, decompression and the user agent. Default headers of that client are sent along: put no credentials
    /// there. A base URL with `http:` on this machine is reached without a proxy.
    pub fn http(mut self, http: reqwest::ClientBuilder) -> Self {
        self.http = http;
        self
    }

    /// Sets how long connecting may take (10 s by default).
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long one request may take, from connecting to the last byte of the response (30 s by default). This
    /// is not the timeout of a wait.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets how long a request that creates jobs may take (120 s by default). If it takes longer, the outcome is
    /// unknown, so be generous.
    pub fn create_timeout(mut self, timeout: Duration) -> Self {
        self.create_timeout = timeout;
        self
    }

    /// Allows a base URL with `http:` on another machine. Anyone on the way can then read the credential.
    pub fn allow_plain_http(mut self) -> Self {
        self.allow_plain_http = true;
        self
    }

    /// Sets a function that is called once for each response, before it is decoded, also if it cannot be decoded.
    /// Responses to requests for a token are left out. Calls may come in parallel.
    ///
    /// ```
    /// # fn example() -> Result<(), akool::ConfigError> {
    /// let client = akool::Client::builder()
    ///     .client_credentials("the id", "the secret")
    ///     .on_response(|response| println!("{} {}", response.target, response.status))
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// # example().unwrap();
    /// ```
    pub fn on_response(mut self, call: impl Fn(&Response<'_>) + Send + Sync + 'static) -> Self {
        self.on_response = Some(Box::new(call));
        self
    }

    /// Makes the client. It does not connect yet.
    ///
    /// # Errors
    /// Without a credential, with an invalid base URL, or if the HTTP client cannot be built.
    pub fn build(self) -> Result<Client, ConfigError> {
        match (&self.credential, &self.source, &self.client_credentials) {
            (None, None, None) => return Err(ConfigError::NoCredential),
            (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => return Err(ConfigError::TwoSources),
            _ => {}
        }
        let base_url = base_url(&self.base_url, self.allow_plain_http)?;
        let mut http = self.http;
        if base_url.starts_with("http:") && Url::parse(&base_url).is_ok_and(|url| is_loopback(&url)) {
            // A proxy would receive the credential in clear text, and cannot reach this machine.
            http = http.no_proxy();
        }
        let http = http
            .redirect(redirect::Policy::none())
            .referer(false)
            // Validate and count the bytes that the service sends, whatever features reqwest was built with.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .connect_timeout(self.connect_timeout)
            .timeout(self.request_timeout)
            .user_agent(http::USER_AGENT)
            // A creation must not be sent twice, and waits have retries of their own.
            .retry(reqwest::retry::never().max_retries_per_request(0))
            .build()
            .map_err(ConfigError::Http)?;
        let source = match self.client_credentials {
            Some((id, secret)) => {
                Some(Box::new(TokenSource::new(base_url.clone(), http.clone(), id, secret)) as Box<_>)
            }
            None => self.source,
        };
        let mut transport = Transport::new(self.credential);
        if let Some(on_response) = self.on_response {
            transport = transport.on_response(on_response);
        }
        Ok(Client::assemble(base_url, http, transport, source, self.create_timeout))
    }
}

fn variable(name: &'static str) -> Result<Option<String>, ConfigError> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(ConfigError::NotUnicode(name)),
    }
}

/// The address in the form that the generated client appends its paths to.
fn base_url(text: &str, allow_plain_http: bool) -> Result<String, ConfigError> {
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let invalid = |reason| ConfigError::BaseUrl { url: redact::excerpt(&with_scheme), reason };
    let mut url = Url::parse(with_scheme.trim()).map_err(|_| invalid("it is not a URL"))?;
    // `unix:/tmp/x` is a URL without `//` and not a host with an empty port.
    let authority = text.trim().split(['/', '?', '#']).next().unwrap_or_default();
    if !text.contains("://") && authority.ends_with(':') {
        return Err(ConfigError::BaseUrl {
            url: redact::excerpt(text),
            reason: "it is neither https nor http",
        });
    }
    if !text.contains("://") && is_loopback(&url) {
        // A server on this machine rarely speaks TLS.
        let plain = format!("http://{}", text.trim());
        url = Url::parse(&plain).map_err(|_| invalid("it is not a URL"))?;
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ConfigError::BaseUrl {
            url: redact::link(&url),
            reason: "it contains a user name or password; remove them and set the credential separately",
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

/// Why a [`Client`] cannot be built.
///
/// ```
/// use akool::{Client, ConfigError, Credential};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = Credential::api_key("the key")?;
/// let refused = Client::builder().base_url("http://example.com").credential(key).build();
/// // The credential would be readable on the way.
/// eprintln!("{}", refused.unwrap_err());
/// # Ok(())
/// # }
/// ```
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
    #[error("incomplete credential: set both {CLIENT_ID_VARIABLE} and {CLIENT_SECRET_VARIABLE}, or neither")]
    HalfCredential,
    /// There are client credentials in addition to another credential or credential source.
    #[error(
        "two credentials: a client id and secret are set in addition to another credential; remove one of them"
    )]
    TwoSources,
    /// There are both a key and a token.
    #[error(
        "two credentials: {KEY_VARIABLE} and {TOKEN_VARIABLE} are both set, and the service would \
         ignore the key; unset one of them"
    )]
    TwoCredentials,
    /// A variable does not hold text.
    #[error("the environment variable {0} is not valid Unicode; set it again")]
    NotUnicode(&'static str),
    /// A key or token cannot be sent.
    #[error("the credential from {from} cannot be used; set it again")]
    Credential {
        /// Where it came from.
        from: &'static str,
        /// What is wrong with it.
        source: akool_client::InvalidCredential,
    },
    /// The base URL cannot be used.
    #[error("the base URL \"{url}\" cannot be used: {reason}")]
    BaseUrl {
        /// The URL as given, without credentials.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be built; check that a TLS feature (rustls or native-tls) is on")]
    Http(#[source] reqwest::Error),
    /// The thread of the blocking client cannot be started.
    #[error(
        "the thread of the blocking client cannot be started; close other programs, or raise the limit of threads"
    )]
    Runtime(#[source] std::io::Error),
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
            "unix:/tmp/x",
            "file:",
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
