//! Makes the client from the options and the environment.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use akool::{BodyEnd, Client, ClientBuilder, ConfigError, Credential, Secret};

use crate::{
    api_key,
    args::Global,
    env,
    key_store::{FileError, GetError, KeyStore},
    report::Report,
    resume::Resume,
    text::with_causes,
};

/// A client, and the sandbox that it needs while it is used.
pub(crate) struct Connection {
    pub(crate) client: Client,
    /// Names the credential without its value.
    pub(crate) credential: String,
    /// The file of the ledger, from `--ledger`.
    pub(crate) ledger: Option<PathBuf>,
    /// The fleet of `--fleet`.
    #[cfg(feature = "fleet")]
    pub(crate) fleet: Option<Addressed>,
    #[cfg(feature = "sandbox")]
    pub(crate) sandbox: Option<akool_mock::MockServer>,
}

/// A fleet, and where it is.
#[cfg(feature = "fleet")]
pub(crate) struct Addressed {
    pub(crate) fleet: akool_restate::Fleet,
    pub(crate) http: reqwest::Client,
    pub(crate) addresses: Vec<url::Url>,
}

impl Connection {
    /// Whether jobs are created and waited for on a fleet.
    pub(crate) fn is_fleet(&self) -> bool {
        #[cfg(feature = "fleet")]
        return self.fleet.is_some();
        #[cfg(not(feature = "fleet"))]
        return false;
    }

    pub(crate) fn is_sandbox(&self) -> bool {
        #[cfg(feature = "sandbox")]
        return self.sandbox.is_some();
        #[cfg(not(feature = "sandbox"))]
        return false;
    }
}

/// The last complete response to each request target, as received.
pub(crate) type Responses = Arc<Mutex<HashMap<String, http::Response<Vec<u8>>>>>;

fn with_responses(builder: ClientBuilder, responses: Option<&Responses>) -> ClientBuilder {
    let Some(responses) = responses.cloned() else { return builder };
    builder.on_response(move |response| {
        if response.end == BodyEnd::Complete {
            let mut kept = http::Response::new(response.body.to_vec());
            (*kept.status_mut(), *kept.headers_mut()) = (response.status, response.headers.clone());
            let mut responses = responses.lock().unwrap_or_else(PoisonError::into_inner);
            responses.insert(response.target.to_owned(), kept);
        }
    })
}

/// Wrong usage or configuration, as a message.
pub(crate) type UsageError = String;

/// `responses` gets all responses of the service.
pub(crate) async fn connect(
    global: &Global,
    responses: Option<&Responses>,
    report: &Report,
) -> Result<Connection, UsageError> {
    #[cfg(feature = "sandbox")]
    if global.sandbox {
        return sandbox(global, responses).await;
    }
    check_proxy()?;
    let (builder, credential) = builder(global, report).await?;
    let client = with_responses(builder, responses).build().map_err(explain)?;
    Ok(Connection {
        client,
        credential,
        ledger: global.ledger.clone(),
        #[cfg(feature = "fleet")]
        fleet: None,
        #[cfg(feature = "sandbox")]
        sandbox: None,
    })
}

/// Refuses a proxy that cannot be used, which would otherwise be ignored.
fn check_proxy() -> Result<(), UsageError> {
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        let Some(value) = env::get(name)? else { continue };
        let has_scheme = value.contains("://");
        let url = if has_scheme { value.clone() } else { format!("http://{value}") };
        let is_usable =
            url::Url::parse(&url).is_ok_and(|url| url.has_host() && matches!(url.scheme(), "http" | "https"));
        if !is_usable {
            // It may have a password.
            return Err(format!(
                "the proxy in the environment variable {name} cannot be used; write it as http://host:port, or unset it"
            ));
        }
    }
    Ok(())
}

/// For commands that send nothing, so that they need no credential.
pub(crate) async fn without_credential(global: &Global) -> Result<Connection, UsageError> {
    #[cfg(feature = "sandbox")]
    if global.sandbox {
        return sandbox(global, None).await;
    }
    Ok(Connection {
        client: with_key(global, &"none".into())?,
        credential: "none".to_owned(),
        ledger: global.ledger.clone(),
        #[cfg(feature = "fleet")]
        fleet: None,
        #[cfg(feature = "sandbox")]
        sandbox: None,
    })
}

/// For commands that work on a fleet, whose workers have the credential.
#[cfg(feature = "fleet")]
pub(crate) fn to_fleet(global: &Global, addresses: Vec<url::Url>) -> Result<Connection, UsageError> {
    let is_here = addresses.iter().all(akool::http::is_loopback);
    // A proxy cannot reach this machine.
    let http = || match is_here {
        true => reqwest::Client::builder().no_proxy(),
        false => reqwest::Client::builder(),
    };
    let fleet = akool_restate::Fleet::with_http(addresses.clone(), http()).map_err(explain)?;
    let http = http().redirect(reqwest::redirect::Policy::none()).build().map_err(explain)?;
    Ok(Connection {
        client: with_key(global, &"none".into())?,
        credential: "none".to_owned(),
        ledger: None,
        fleet: Some(Addressed { fleet, http, addresses }),
        #[cfg(feature = "sandbox")]
        sandbox: None,
    })
}

/// Without the feature, no addresses are accepted.
#[cfg(not(feature = "fleet"))]
pub(crate) fn to_fleet(_: &Global, _: Vec<url::Url>) -> Result<Connection, UsageError> {
    Err("this program was built without the feature `fleet`".to_owned())
}

/// Where the proxy passes requests on to. Plain http is possible only on this machine, because the requests have credentials.
pub(crate) async fn upstream(global: &Global, upstream: Option<&str>) -> Result<Connection, UsageError> {
    let Some(upstream) = upstream else { return without_credential(global).await };
    #[cfg(feature = "sandbox")]
    if global.sandbox {
        return Err("--sandbox is an upstream itself; use only one of --upstream and --sandbox".to_owned());
    }
    let credential = Credential::api_key("none").map_err(explain)?;
    let client = Client::builder().credential(credential).base_url(upstream).build().map_err(explain)?;
    Ok(Connection {
        client,
        credential: "none".to_owned(),
        ledger: None,
        #[cfg(feature = "fleet")]
        fleet: None,
        #[cfg(feature = "sandbox")]
        sandbox: None,
    })
}

/// A client with this key.
pub(crate) fn with_key(global: &Global, key: &Secret) -> Result<Client, UsageError> {
    let credential = Credential::api_key(key.clone().into_inner()).map_err(explain)?;
    with_credential(global, credential)?.build().map_err(explain)
}

/// The API address: the base URL in its canonical form.
pub(crate) fn address(global: &Global) -> Result<String, UsageError> {
    Ok(with_key(global, &"none".into())?.base_url().to_owned())
}

fn with_credential(global: &Global, credential: Credential) -> Result<ClientBuilder, UsageError> {
    let builder = Client::builder().credential(credential).base_url_from_env().map_err(explain)?;
    Ok(with_base_url(global, builder))
}

fn with_base_url(global: &Global, builder: ClientBuilder) -> ClientBuilder {
    match &global.base_url {
        Some(url) => builder.base_url(url),
        None => builder,
    }
}

/// The name of the credential in the environment.
pub(crate) fn from_environment() -> Option<String> {
    if env::is_set(env::API_KEY) {
        Some(format!("API key from {}", env::API_KEY))
    } else if env::is_set(env::TOKEN) {
        Some(format!("bearer token from {}", env::TOKEN))
    } else if env::is_set(env::CLIENT_ID) && env::is_set(env::CLIENT_SECRET) {
        Some(format!("bearer tokens for {} and {}", env::CLIENT_ID, env::CLIENT_SECRET))
    } else {
        None
    }
}

/// The settings, and the name of the credential among them.
async fn builder(global: &Global, report: &Report) -> Result<(ClientBuilder, String), UsageError> {
    let Some(file) = &global.api_key_file else {
        return match ClientBuilder::from_env() {
            Ok(builder) => Ok((with_base_url(global, builder), from_environment().unwrap_or_default())),
            Err(ConfigError::NoCredential) => {
                let (key, name) = stored_key(global, report).await?;
                Ok((with_credential(global, key)?, name))
            }
            Err(error) => Err(explain(error)),
        };
    };
    for variable in [env::API_KEY, env::TOKEN] {
        if env::is_set(variable) {
            return Err(format!(
                "two credentials: --api-key-file and {variable} are both set; remove one of them"
            ));
        }
    }
    let key = Credential::api_key(api_key::from_file(file)?.into_inner()).map_err(explain)?;
    let name = if file == Path::new("-") {
        "API key from standard input".to_owned()
    } else {
        format!("API key from the file {}", file.display())
    };
    Ok((with_credential(global, key)?, name))
}

/// The key that is stored for the API address, and its name.
async fn stored_key(global: &Global, report: &Report) -> Result<(Credential, String), UsageError> {
    let login = login(global);
    let none = |others: &str| {
        format!("no credential: run `{login}`, or set {}; --sandbox needs no key{others}", env::API_KEY)
    };
    let store = match KeyStore::open() {
        Ok(store) => store,
        Err(FileError::NoFolder) => return Err(none("")),
        Err(error) => return Err(format!("{}; or set {}", with_causes(&error), env::API_KEY)),
    };
    let address = address(global)?;
    match store.get(&address, report).await {
        Ok(Some((key, place))) => match Credential::api_key(key.into_inner()) {
            Ok(key) => Ok((key, format!("stored API key in {place}"))),
            Err(error) => Err(format!(
                "the API key for {address} in {place} is not valid: {error}; store it again with `{login}`"
            )),
        },
        Ok(None) => Err(none(&others(&store))),
        Err(error) => {
            let next = match error {
                GetError::Keyring(_) => "unlock the keyring and run the command again".to_owned(),
                GetError::Gone => format!("store it again with `{login}`"),
            };
            let error = with_causes(&error);
            Err(format!("cannot get the API key for {address}: {error}; {next}, or set {}", env::API_KEY))
        }
    }
}

/// The command that stores a key for the same API address.
fn login(global: &Global) -> String {
    let mut options = Resume::default();
    if let Some(url) = &global.base_url {
        options.option("--base-url", url);
    }
    options.with("auth login")
}

/// The other API addresses that have a stored key, as the end of a sentence.
pub(crate) fn others(store: &KeyStore) -> String {
    match store.addresses().as_slice() {
        [] => String::new(),
        addresses => format!(" (a key is stored for {})", addresses.join(" and for ")),
    }
}

/// The message of an error and of its causes, on one line.
fn explain(error: impl std::error::Error) -> UsageError {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text += &format!(": {source}");
        cause = source.source();
    }
    text
}

#[cfg(feature = "sandbox")]
async fn sandbox(global: &Global, responses: Option<&Responses>) -> Result<Connection, UsageError> {
    let server = akool_mock::MockServer::builder().lenient().start().await;
    server.seed_demo_jobs();
    let credential = Credential::api_key(server.api_key()).map_err(explain)?;
    let builder = Client::builder().credential(credential).base_url(server.url());
    let client = with_responses(builder, responses).build().map_err(explain)?;
    Ok(Connection {
        client,
        credential: "the sandbox's own key".to_owned(),
        ledger: global.ledger.clone(),
        #[cfg(feature = "fleet")]
        fleet: None,
        sandbox: Some(server),
    })
}
