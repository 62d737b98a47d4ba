//! Bearer tokens for a client id and its secret: the source behind
//! [`ClientBuilder::client_credentials`](crate::ClientBuilder::client_credentials).

use std::{future::Future, pin::Pin};

use akool_client::{Credential, InvalidCredential, Secret, Transport, types::TokenRequest};
use serde_json::Value;

use crate::{
    CredentialSource, Error, Renewed,
    call::answered,
    decode::{self, undecodable},
};

/// Asks the service for a token. Its requests carry no other credential.
pub(crate) struct TokenSource {
    api: akool_client::Client,
    client_id: String,
    client_secret: Secret,
}

impl TokenSource {
    pub(crate) fn new(
        base_url: &str,
        http: reqwest::Client,
        client_id: String,
        client_secret: Secret,
    ) -> Self {
        let api = akool_client::Client::new_with_client(base_url, http, Transport::new(None));
        Self { api, client_id, client_secret }
    }

    async fn token(&self) -> Result<Credential, Error> {
        let (client, recording) = self.api.recording();
        let body = TokenRequest::builder()
            .client_id(self.client_id.as_str())
            .client_secret(self.client_secret.clone());
        let exchange = answered(client.get_token().body_map(|_| body).send().await, &recording)?;
        let members = decode::opened(&exchange)?;
        let token = members
            .get("token")
            .and_then(Value::as_str)
            .ok_or_else(|| undecodable("the answer has no `token`"))?;
        Credential::bearer(token).map_err(|why: InvalidCredential| {
            undecodable(&format!("the service gave out a token that {}", why.why()))
        })
    }
}

impl CredentialSource for TokenSource {
    fn renew(&self) -> Pin<Box<dyn Future<Output = Renewed> + Send + '_>> {
        Box::pin(async {
            tracing::debug!("asking for a token");
            // The service may send back what it was sent.
            let scrub = Transport::new(Credential::api_key(self.client_secret.expose()).ok());
            Ok(self.token().await.map_err(|error| error.scrubbed(&scrub))?)
        })
    }
}
