//! What a worker asks the object `Credential`, outside of the journal: [`Leases`].

use restate_sdk::ingress::Client;

use crate::{
    error::FleetError, ingress::Ingress, limit::Lease, services::credential::CredentialIngressClient,
};

pub(crate) struct Leases(pub(crate) Client<Ingress>);

impl Leases {
    fn credential(&self, name: &str) -> CredentialIngressClient<Ingress> {
        CredentialIngressClient::from_client(self.0.clone(), name)
    }

    /// Leases permits, for a worker whose clock shows this time.
    pub(crate) async fn lease(&self, credential: &str, now_ms: u64) -> Result<Lease, FleetError> {
        let reply = self.credential(credential).lease(now_ms).call().await?;
        Ok(reply.into_body()?.into_inner())
    }

    /// The service asked for a pause.
    pub(crate) async fn pause(&self, credential: &str, until_ms: u64) -> Result<(), FleetError> {
        self.credential(credential).closed(until_ms).call().await?.into_body()?;
        Ok(())
    }
}
