//! From options and environment to a client.

use std::{io::Read, path::Path};

use akool::{Client, ClientBuilder, ConfigError, Credential};

use crate::args::Global;

/// A client, and what must live as long as it is used.
pub(crate) struct Connection {
    pub(crate) client: Client,
    /// Which credential is used, without showing it.
    pub(crate) credential: String,
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

/// Wrong use or configuration, in words for people.
pub(crate) type WrongUse = String;

pub(crate) async fn connect(global: &Global) -> Result<Connection, WrongUse> {
    #[cfg(feature = "sandbox")]
    if global.sandbox {
        return sandbox().await;
    }
    let (builder, credential) = builder(global)?;
    let client = builder.build().map_err(explain)?;
    Ok(Connection {
        client,
        credential,
        #[cfg(feature = "sandbox")]
        sandbox: None,
    })
}

/// For what asks the service nothing: no credential is needed.
pub(crate) async fn without_credential(global: &Global) -> Result<Connection, WrongUse> {
    #[cfg(feature = "sandbox")]
    if global.sandbox {
        return sandbox().await;
    }
    let credential = Credential::api_key("none").map_err(explain)?;
    let mut builder = Client::builder().credential(credential).base_url_from_env().map_err(explain)?;
    if let Some(url) = &global.base_url {
        builder = builder.base_url(url);
    }
    Ok(Connection {
        client: builder.build().map_err(explain)?,
        credential: "none".to_owned(),
        #[cfg(feature = "sandbox")]
        sandbox: None,
    })
}

/// The settings, and which credential is among them.
fn builder(global: &Global) -> Result<(ClientBuilder, String), WrongUse> {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let credential = match &global.api_key_file {
        Some(file) if file == Path::new("-") => "API key from standard input".to_owned(),
        Some(file) => format!("API key from the file {}", file.display()),
        None if set("AKOOL_API_KEY") => "API key from AKOOL_API_KEY".to_owned(),
        None if set("AKOOL_TOKEN") => "bearer token from AKOOL_TOKEN".to_owned(),
        None => "bearer tokens for AKOOL_CLIENT_ID and AKOOL_CLIENT_SECRET".to_owned(),
    };
    let mut builder = match &global.api_key_file {
        None => ClientBuilder::from_env().map_err(|error| match error {
            ConfigError::NoCredential => {
                format!("{error}; or give --api-key-file. To try without one: --sandbox")
            }
            other => explain(other),
        })?,
        Some(file) => {
            for variable in ["AKOOL_API_KEY", "AKOOL_TOKEN"] {
                if std::env::var_os(variable).is_some_and(|value| !value.is_empty()) {
                    return Err(format!(
                        "two credentials: --api-key-file and {variable} are both set; leave one of them out"
                    ));
                }
            }
            let builder = Client::builder().credential(key_from(file)?);
            builder.base_url_from_env().map_err(explain)?
        }
    };
    if let Some(url) = &global.base_url {
        builder = builder.base_url(url);
    }
    Ok((builder, credential))
}

fn key_from(file: &Path) -> Result<Credential, WrongUse> {
    /// A key has some tens of characters; a larger file is another one.
    const LARGEST: u64 = 16 * 1024;
    let shown = file.display();
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().take(LARGEST + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text))
    };
    match read {
        Err(error) => return Err(format!("cannot read the API key from {shown}: {error}")),
        Ok(_) if text.len() as u64 > LARGEST => {
            return Err(format!(
                "{shown} is too large to hold an API key; give a file with the key and nothing else"
            ));
        }
        Ok(_) => {}
    }
    let text = text.trim_start_matches('\u{feff}').trim();
    let named = text.split_once('=').is_some_and(|(name, _)| name.ends_with("KEY"));
    if named || text.starts_with(['"', '\'']) {
        return Err(format!("{shown} holds more than an API key; give a file with the key and nothing else"));
    }
    Credential::api_key(text)
        .map_err(|error| format!("{shown}: {error}; give a file with the key and nothing else"))
}

/// An error and its causes on one line.
fn explain(error: impl std::error::Error) -> WrongUse {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text += &format!(": {source}");
        cause = source.source();
    }
    text
}

#[cfg(feature = "sandbox")]
async fn sandbox() -> Result<Connection, WrongUse> {
    let server = akool_mock::MockServer::builder().lenient().start().await;
    server.seed_demo_jobs();
    server.refuse_unlisted_languages();
    let credential = Credential::api_key(server.api_key()).map_err(explain)?;
    let client = Client::builder().credential(credential).base_url(server.url()).build().map_err(explain)?;
    Ok(Connection { client, credential: "the sandbox's own key".to_owned(), sandbox: Some(server) })
}
