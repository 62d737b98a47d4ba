//! The client of a fleet: [`Fleet`].

use akool::JobId;
use restate_sdk::{ingress::Client, prelude::Json};
use url::Url;

use crate::{
    error::FleetError,
    ingress::{self, Ingress},
    limit::Limit,
    model::{Creation, JobView, Outcome, WaitOptions, WorkView},
    services::{
        Change, Create, CredentialIngressClient, Forget, JobIngressClient, JobsIngressClient, Listing, Page,
        TranslationIngressClient,
    },
    step::Origin,
    work::{Work, WorkId},
};

/// A client of a fleet: creates jobs, waits for them, and asks what is known of them. Cheap to clone.
///
/// It needs the ingress addresses of the Restate cluster only, and no credential of AKOOL, which the workers have.
/// Anyone who reaches an ingress can create paid jobs: see the crate's documentation.
///
/// ```no_run
/// # async fn example(client: akool::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use akool_restate::{Creation, Fleet, WaitOptions, Work};
///
/// let fleet = Fleet::new(["http://127.0.0.1:8080".parse()?])?;
/// let request = client.translate("https://example.com/talk.mp4").to(["es", "fr"]);
/// for work in Work::of(&request)? {
///     match fleet.create(&work, WaitOptions::default()).await? {
///         Creation::Created(created) => {
///             let outcome = fleet.wait(&created.job).await?;
///             println!("{}: {:?}", created.job, outcome.end);
///         }
///         other => eprintln!("{}: {other:?}", work.id()),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Fleet {
    client: Client<Ingress>,
}

impl Fleet {
    /// A client for these ingress addresses of one cluster. If one does not answer, the next is tried.
    ///
    /// # Errors
    /// If there is no address, or one that is not http or https.
    pub fn new(addresses: impl IntoIterator<Item = Url>) -> Result<Self, FleetError> {
        Self::with_http(addresses, reqwest::Client::builder())
    }

    /// The same, with settings for HTTP: a proxy, or a header with a token for one in front of the ingress.
    ///
    /// # Errors
    /// As [`Fleet::new`], and if the HTTP client cannot be built.
    pub fn with_http(
        addresses: impl IntoIterator<Item = Url>,
        http: reqwest::ClientBuilder,
    ) -> Result<Self, FleetError> {
        Ok(Self { client: ingress::client(addresses, http)? })
    }

    fn work(&self, work: &WorkId) -> TranslationIngressClient<Ingress> {
        TranslationIngressClient::from_client(self.client.clone(), work.as_str())
    }

    fn job_object(&self, job: &JobId) -> JobIngressClient<Ingress> {
        JobIngressClient::from_client(self.client.clone(), job.as_str())
    }

    fn credential(&self, name: &str) -> CredentialIngressClient<Ingress> {
        CredentialIngressClient::from_client(self.client.clone(), name)
    }

    /// Creates the job of a work, unless there is one, and begins its wait. A job that failed, whose credits the service has
    /// given back, is replaced by another one. For a job that exists, who is told its outcome stays as it was, unless its
    /// wait ended before the job: that begins again. Returns when the outcome is known: after minutes, if the service asked
    /// for a pause.
    ///
    /// # Errors
    /// If the fleet does not answer, or refuses the call.
    pub async fn create(&self, work: &Work, options: WaitOptions) -> Result<Creation, FleetError> {
        self.send_creation(work, options, false).await
    }

    /// Creates and pays for another job, also if there is one. A creation whose outcome is unknown still stops it.
    ///
    /// # Errors
    /// As [`Fleet::create`].
    pub async fn create_duplicate(&self, work: &Work, options: WaitOptions) -> Result<Creation, FleetError> {
        self.send_creation(work, options, true).await
    }

    async fn send_creation(
        &self,
        work: &Work,
        options: WaitOptions,
        allow_duplicate: bool,
    ) -> Result<Creation, FleetError> {
        let key = call_key();
        let create = Json(Create { work: work.clone(), options, allow_duplicate, call: key.clone() });
        let reply = self.work(work.id()).create(create).idempotency_key(key).call().await?;
        Ok(reply.into_body()?.into_inner())
    }

    /// What is known of a work. `None` if the fleet does not know it.
    ///
    /// # Errors
    /// If the fleet does not answer, or refuses the call.
    pub async fn creation(&self, work: &WorkId) -> Result<Option<WorkView>, FleetError> {
        found(call(self.work(work).status()).await.map(Json::into_inner))
    }

    /// Records the job that an operator found for a creation whose outcome is unknown, and begins its wait.
    ///
    /// # Errors
    /// [`FleetError::NotFound`] if the fleet does not know the work, and [`FleetError::Refused`] with status 409 if the
    /// outcome is not unknown.
    pub async fn adopt(&self, work: &WorkId, job: &JobId) -> Result<Creation, FleetError> {
        let adopt = self.work(work).adopt(job.as_str().to_owned());
        let reply = adopt.idempotency_key(call_key()).call().await?;
        Ok(reply.into_body()?.into_inner())
    }

    /// Forgets a work, so that it can be created, and paid for, again. If its last outcome is unknown, only that is forgotten:
    /// jobs that were created before count again. Returns whether the fleet knew the work.
    ///
    /// If an attempt whose outcome is unknown may still send its request, this takes up to 25 seconds, until it does not.
    ///
    /// # Errors
    /// If the fleet does not answer, or refuses the call.
    pub async fn forget_work(&self, work: &WorkId) -> Result<bool, FleetError> {
        self.forget(work, None).await
    }

    /// Forgets one job of a work, but not the other jobs of the same work. Returns whether the fleet knew the work.
    ///
    /// # Errors
    /// As [`Fleet::forget_work`].
    pub async fn forget_job_of(&self, work: &WorkId, job: &JobId) -> Result<bool, FleetError> {
        self.forget(work, Some(job.clone())).await
    }

    async fn forget(&self, work: &WorkId, job: Option<JobId>) -> Result<bool, FleetError> {
        let forget = self.work(work).forget(Json(Forget { job })).idempotency_key(call_key());
        let forgotten = async { Ok(forget.call().await?.into_body()?) };
        Ok(found(forgotten.await)?.is_some())
    }

    /// Begins the wait for a job that the fleet did not create. If the fleet waits for it already, only an interval that is
    /// given has an effect, and none if it knows its end. A wait that ended before its job, at its timeout for example,
    /// begins again, and tells those who were to be told before.
    ///
    /// # Errors
    /// If the fleet does not answer, or refuses the call.
    pub async fn watch(&self, job: &JobId, options: WaitOptions) -> Result<(), FleetError> {
        self.watch_with(job, options, crate::work::DEFAULT_CREDENTIAL).await
    }

    /// The same, with the credential of this name.
    ///
    /// # Errors
    /// As [`Fleet::watch`].
    pub async fn watch_with(
        &self,
        job: &JobId,
        options: WaitOptions,
        credential: &str,
    ) -> Result<(), FleetError> {
        let origin = Origin { credential: credential.to_owned(), ..Origin::default() };
        let start = Json(crate::services::Start { options, origin });
        self.job_object(job).watch(start).call().await?.into_body()?;
        Ok(())
    }

    /// Waits for the end of a job's wait, as long as that takes. Dropping the future ends nothing in the fleet.
    ///
    /// # Errors
    /// [`FleetError::NotFound`] if the fleet does not wait for the job, or if someone forgets it meanwhile.
    pub async fn wait(&self, job: &JobId) -> Result<Outcome, FleetError> {
        let reply = self.job_object(job).wait().idempotency_key(call_key()).call().await?;
        Ok(reply.into_body()?.into_inner())
    }

    /// What is known of a job, without waiting. `None` if the fleet does not know it.
    ///
    /// # Errors
    /// If the fleet does not answer, or refuses the call.
    pub async fn job(&self, job: &JobId) -> Result<Option<JobView>, FleetError> {
        found(call(self.job_object(job).outcome()).await.map(Json::into_inner))
    }

    /// Polls a job soon, because it may have changed. How soon, [`akool::Poller::poll_now`] decides. For a job that the
    /// fleet does not wait for, nothing happens.
    ///
    /// # Errors
    /// If the fleet does not answer, or refuses the call.
    pub async fn poll_now(&self, job: &JobId) -> Result<(), FleetError> {
        call(self.job_object(job).poll_now()).await
    }

    /// Ends the wait for a job, and removes what is known of it. The job itself continues. Returns whether the fleet knew
    /// it.
    ///
    /// # Errors
    /// If the fleet does not answer, or refuses the call.
    pub async fn forget_job(&self, job: &JobId) -> Result<bool, FleetError> {
        Ok(found(call(self.job_object(job).forget().idempotency_key(call_key())).await)?.is_some())
    }

    /// All jobs that the fleet knows, sorted by id. It reads the engine's state, page by page, so it takes seconds for
    /// 100,000 jobs.
    ///
    /// # Errors
    /// If the fleet does not answer, or refuses the call.
    pub async fn jobs(&self) -> Result<Vec<JobView>, FleetError> {
        let (mut jobs, mut page) = (Vec::new(), Page::default());
        loop {
            let client = JobsIngressClient::from_client(self.client.clone());
            let Json(Listing { rows, next }) = client.list(Json(page)).call().await?.into_body()?;
            jobs.extend(rows);
            match next {
                Some(after) => page = Page { after },
                None => return Ok(jobs),
            }
        }
    }

    /// All works whose outcome is unknown, sorted by id. A creation that is under way counts too: its
    /// [`creation`](Self::creation) is `None`.
    ///
    /// # Errors
    /// If the fleet does not answer, or refuses the call.
    pub async fn unknown(&self) -> Result<Vec<WorkView>, FleetError> {
        let (mut works, mut page) = (Vec::new(), Page::default());
        loop {
            let client = JobsIngressClient::from_client(self.client.clone());
            let Json(Listing { rows, next }) = client.unknown(Json(page)).call().await?.into_body()?;
            works.extend(rows);
            match next {
                Some(after) => page = Page { after },
                None => return Ok(works),
            }
        }
    }

    /// The limits of the credential of this name.
    ///
    /// # Errors
    /// If the fleet does not answer, or refuses the call.
    pub async fn limits(&self, credential: &str) -> Result<Limit, FleetError> {
        call(self.credential(credential).limits()).await.map(Json::into_inner)
    }

    /// Sets how many calls per second all workers make with the credential of this name. `None` removes the limit. A
    /// worker learns of it within a second.
    ///
    /// # Errors
    /// If the fleet does not answer, or refuses the call.
    pub async fn set_rate(&self, credential: &str, per_second: Option<f64>) -> Result<Limit, FleetError> {
        let change = Change { per_second: Some(per_second), paused_until_ms: None };
        let reply = self.credential(credential).set_limits(Json(change)).call().await?;
        Ok(reply.into_body()?.into_inner())
    }

    /// Sets until when nothing is sent with the credential of this name, in milliseconds since the Unix epoch. A time in
    /// the past ends a pause: workers and jobs that have met it go on within a minute.
    ///
    /// # Errors
    /// If the fleet does not answer, or refuses the call.
    pub async fn set_pause(&self, credential: &str, until_ms: u64) -> Result<Limit, FleetError> {
        let change = Change { per_second: None, paused_until_ms: Some(until_ms) };
        let reply = self.credential(credential).set_limits(Json(change)).call().await?;
        Ok(reply.into_body()?.into_inner())
    }
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet").finish_non_exhaustive()
    }
}

/// The idempotency key of one call: if its connection breaks, the next attempt gets the same result.
fn call_key() -> String {
    format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..))
}

/// Calls a handler without input.
async fn call<T: restate_sdk::serde::Deserialize>(
    request: restate_sdk::ingress::Request<Ingress, (), T>,
) -> Result<T, FleetError> {
    Ok(request.call().await?.into_body()?)
}

fn found<T>(result: Result<T, FleetError>) -> Result<Option<T>, FleetError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(FleetError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
