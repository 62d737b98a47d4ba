//! Makes the client from the options and the environment.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use akool::{BodyEnd, Client, ClientBuilder, ConfigError, Credential};

use crate::{api_key, args::Global, env};

/// A client, and the sandbox that it needs while it is used.
pub(crate) struct Connection {
    pub(crate) client: Client,
    /// Names the credential without its value.
    pub(crate) credential: String,
    /// The file of the ledger, from `--ledger`.
    pub(crate) ledger: Option<PathBuf>,
    #[cfg(feature = "sandbox")]
    pub(crate) sandbox: Option<akool_mock::MockServer>,
}

impl Connection {
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
) -> Result<Connection, UsageError> {
    #[cfg(feature = "sandbox")]
    if global.sandbox {
        return sandbox(global, responses).await;
    }
    let (builder, credential) = builder(global)?;
    let client = with_responses(builder, responses).build().map_err(explain)?;
    Ok(Connection {
        client,
        credential,
        ledger: global.ledger.clone(),
        #[cfg(feature = "sandbox")]
        sandbox: None,
    })
}

/// For commands that send nothing, so that they need no credential.
pub(crate) async fn without_credential(global: &Global) -> Result<Connection, UsageError> {
    #[cfg(feature = "sandbox")]
    if global.sandbox {
        return sandbox(global, None).await;
    }
    let credential = Credential::api_key("none").map_err(explain)?;
    let mut builder = Client::builder().credential(credential).base_url_from_env().map_err(explain)?;
    if let Some(url) = &global.base_url {
        builder = builder.base_url(url);
    }
    Ok(Connection {
        client: builder.build().map_err(explain)?,
        credential: "none".to_owned(),
        ledger: global.ledger.clone(),
        #[cfg(feature = "sandbox")]
        sandbox: None,
    })
}

/// The settings, and the name of the credential among them.
fn builder(global: &Global) -> Result<(ClientBuilder, String), UsageError> {
    let credential = match &global.api_key_file {
        Some(file) if file == Path::new("-") => "API key from standard input".to_owned(),
        Some(file) => format!("API key from the file {}", file.display()),
        None if env::is_set(env::API_KEY) => format!("API key from {}", env::API_KEY),
        None if env::is_set(env::TOKEN) => format!("bearer token from {}", env::TOKEN),
        None => format!("bearer tokens for {} and {}", env::CLIENT_ID, env::CLIENT_SECRET),
    };
    let mut builder = match &global.api_key_file {
        None => ClientBuilder::from_env().map_err(|error| match error {
            ConfigError::NoCredential => {
                format!("{error}; or use --api-key-file, or try it without a key with --sandbox")
            }
            other => explain(other),
        })?,
        Some(file) => {
            for variable in [env::API_KEY, env::TOKEN] {
                if env::is_set(variable) {
                    return Err(format!(
                        "two credentials: --api-key-file and {variable} are both set; remove one of them"
                    ));
                }
            }
            let key = Credential::api_key(api_key::from_file(file)?.into_inner()).map_err(explain)?;
            let builder = Client::builder().credential(key);
            builder.base_url_from_env().map_err(explain)?
        }
    };
    if let Some(url) = &global.base_url {
        builder = builder.base_url(url);
    }
    Ok((builder, credential))
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
    server.reject_unlisted_languages();
    let credential = Credential::api_key(server.api_key()).map_err(explain)?;
    let builder = Client::builder().credential(credential).base_url(server.url());
    let client = with_responses(builder, responses).build().map_err(explain)?;
    Ok(Connection {
        client,
        credential: "the sandbox's own key".to_owned(),
        ledger: global.ledger.clone(),
        sandbox: Some(server),
    })
}
