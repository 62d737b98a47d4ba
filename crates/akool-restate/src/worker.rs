//! A worker process: [`Worker`].

use std::{
    collections::HashMap,
    future::Future,
    net::SocketAddr,
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use akool::Client;
use akool_download::Downloader;
use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::graceful::GracefulShutdown,
};
use restate_sdk::{endpoint::Endpoint, hyper::HyperEndpoint};
use tokio::{
    net::{TcpListener, TcpSocket},
    time::sleep,
};
use url::Url;

use crate::{
    context::{Account, Creations, Shared, TraceParent},
    error::FleetError,
    ingress,
    leases::Leases,
    permits::Permits,
    registration::{self, RegistrationError},
    services::{Credential, Deliver, Files, Job, Jobs, Translation},
    storage::{Folder, Storage},
};

/// How many invocations one connection carries. The engine opens more connections for more, and so reaches all workers
/// that share an address.
const STREAMS_PER_CONNECTION: u32 = 16;
/// How long a stopping worker waits for creations, and then for everything else.
const DRAIN_CREATIONS: Duration = Duration::from_secs(150);
const DRAIN_REST: Duration = Duration::from_secs(1);
const DRAIN_INTERVAL: Duration = Duration::from_millis(20);
/// For the engine to take what was journaled last.
const DRAIN_MORE: Duration = Duration::from_millis(100);

/// A worker of a fleet: it runs creations, polls and deliveries that the Restate cluster hands to it. Start as many as
/// you like; any may be killed at any time.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use akool_restate::Worker;
///
/// let worker = Worker::builder()
///     .credential("default", akool::Client::from_env()?)
///     .ingress(["http://127.0.0.1:8080".parse()?])
///     .admin("http://127.0.0.1:9070".parse()?)
///     .listen("127.0.0.1:9080".parse()?)
///     .bind()?;
/// println!("listens on {}", worker.address());
/// worker.serve(async { drop(tokio::signal::ctrl_c().await) }).await?;
/// # Ok(())
/// # }
/// ```
pub struct Worker {
    listener: TcpListener,
    address: SocketAddr,
    endpoint: Endpoint,
    shared: Arc<Shared>,
    advertised: Option<Url>,
}

/// A worker cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// A setting is missing or not valid.
    #[error("{0}")]
    Config(String),
    /// The ingress addresses are not valid.
    #[error(transparent)]
    Ingress(#[from] FleetError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    #[non_exhaustive]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The worker cannot be registered at the cluster.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
}

/// Settings of a [`Worker`].
#[must_use]
pub struct WorkerBuilder {
    clients: HashMap<String, Client>,
    ingress: Vec<Url>,
    admin: Option<Url>,
    listen: SocketAddr,
    advertised: Option<Url>,
    identity_keys: Vec<String>,
    storage: Option<Box<dyn Storage>>,
    trace_parent: Option<TraceParent>,
}

impl Worker {
    /// Settings with their defaults.
    pub fn builder() -> WorkerBuilder {
        WorkerBuilder {
            clients: HashMap::new(),
            ingress: Vec::new(),
            admin: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 9080)),
            advertised: None,
            identity_keys: Vec::new(),
            storage: None,
            trace_parent: None,
        }
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Registers the worker at the cluster and serves until `stop` is ready. Then it takes no more work, finishes the
    /// creations that it has begun, and returns: a worker that is stopped in this way leaves no creation unknown. So run
    /// it until SIGTERM, not to its end.
    ///
    /// `GET /health` answers over HTTP/2; with identity keys, only to a cluster that has one.
    ///
    /// # Errors
    /// If the cluster does not answer for a minute, or refuses the registration.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), WorkerError> {
        let Self { listener, address, endpoint, shared, advertised } = self;
        let service = HyperEndpoint::new(endpoint);
        let graceful = GracefulShutdown::new();
        let mut stop = pin!(stop);
        let url = match advertised {
            Some(url) => url,
            None => deployment(&Url::parse(&format!("http://{address}/")).map_err(invalid)?),
        };
        let mut registering = pin!(registration::register(&shared.http, &shared.admin, &url));
        let mut is_registered = false;
        // Set when the worker is to stop. Connections stay open meanwhile: the engine gives up all calls on one that says
        // that it closes.
        let mut drain_until = None;
        let mut failed = None;
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let _ = stream.set_nodelay(true);
                        let connection = http2::Builder::new(TokioExecutor::new())
                            .max_concurrent_streams(STREAMS_PER_CONNECTION)
                            .serve_connection(TokioIo::new(stream), service.clone());
                        let connection = graceful.watch(connection);
                        tokio::spawn(async move {
                            if let Err(error) = connection.await {
                                tracing::debug!(%error, "a connection of the engine ended");
                            }
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        sleep(Duration::from_millis(100)).await;
                    }
                },
                registered = &mut registering, if !is_registered && drain_until.is_none() => {
                    is_registered = true;
                    match registered {
                        Ok(()) => tracing::info!(%address, "registered"),
                        // The engine may know this address from another worker, and have sent creations.
                        Err(error) => {
                            failed = Some(error);
                            drain_until = Some(drain(&shared));
                        }
                    }
                }
                () = &mut stop, if drain_until.is_none() => drain_until = Some(drain(&shared)),
                () = sleep(DRAIN_INTERVAL), if drain_until.is_some() => {
                    if shared.creations.under_way() == 0 || drain_until < Some(Instant::now()) {
                        break;
                    }
                }
            }
        }
        sleep(DRAIN_MORE).await;
        drop(listener);
        // Polls and waits of callers go on elsewhere.
        let _ = tokio::time::timeout(DRAIN_REST, graceful.shutdown()).await;
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// Takes no more creations from now on. Returns until when to wait for those that have begun.
fn drain(shared: &Shared) -> Instant {
    shared.creations.drain();
    tracing::info!(creations = shared.creations.under_way(), "stopping");
    Instant::now() + DRAIN_CREATIONS
}

fn invalid(error: url::ParseError) -> WorkerError {
    WorkerError::Config(error.to_string())
}

/// The URL of a worker with its release. A worker answers under any path. So workers of two releases can share an
/// address, the cluster learns what a later one added, and calls that an earlier one began are answered by either.
fn deployment(address: &Url) -> Url {
    let mut url = address.clone();
    let path = url.path().trim_end_matches('/');
    url.set_path(&format!("{path}/akool-{}/", env!("CARGO_PKG_VERSION")));
    url
}

impl WorkerBuilder {
    /// Adds a credential under a name. All workers should have the same ones: a job is polled with the one that it was
    /// created with.
    pub fn credential(mut self, name: impl Into<String>, client: Client) -> Self {
        self.clients.insert(name.into(), client);
        self
    }

    /// Sets the ingress addresses of the cluster.
    pub fn ingress(mut self, addresses: impl IntoIterator<Item = Url>) -> Self {
        self.ingress.extend(addresses);
        self
    }

    /// Sets the admin address of the cluster, at which the worker registers itself and reads lists of jobs.
    pub fn admin(mut self, address: Url) -> Self {
        self.admin = Some(address);
        self
    }

    /// Sets the address to listen on (127.0.0.1:9080 by default; port 0 takes a free one). Several workers of one user on
    /// one machine may share an address: the system spreads the connections over them. Without
    /// [`identity_key`](Self::identity_key), it must be of this machine only.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Sets the URL at which the cluster reaches this worker, if it is not the address that it listens on: of a load
    /// balancer in front of several workers, for example. The release is added to its path.
    pub fn advertised(mut self, url: Url) -> Self {
        self.advertised = Some(deployment(&url));
        self
    }

    /// Adds a public key of the cluster, such as `publickeyv1_...`. The worker then accepts only requests that were signed
    /// with its private key.
    pub fn identity_key(mut self, key: impl Into<String>) -> Self {
        self.identity_keys.push(key.into());
        self
    }

    /// Saves the files of completed jobs in this folder, if [`WaitOptions::save`](crate::WaitOptions::save) is set. The
    /// downloader bounds how many at a time. Workers may share the folder.
    pub fn downloads(self, downloader: Downloader, folder: impl Into<PathBuf>) -> Self {
        self.storage(Folder { downloader, path: folder.into() })
    }

    /// Saves the files of completed jobs here, if [`WaitOptions::save`](crate::WaitOptions::save) is set.
    pub fn storage(mut self, storage: impl Storage + 'static) -> Self {
        self.storage = Some(Box::new(storage));
        self
    }

    /// Sets a function that makes a span a child of the W3C trace context of the caller, such as
    /// `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`. It is called for the spans `akool.fleet.create`, `.poll`,
    /// `.save` and `.callback`, in which are those of the library. The example `traced_worker` does so with OpenTelemetry.
    pub fn trace_parent(mut self, set: impl Fn(&tracing::Span, &str) + Send + Sync + 'static) -> Self {
        self.trace_parent = Some(Box::new(set));
        self
    }

    /// Binds the address. Nothing is served yet.
    ///
    /// # Errors
    /// If a setting is missing or not valid, or the address cannot be bound.
    pub fn bind(self) -> Result<Worker, WorkerError> {
        let config = |message: &str| WorkerError::Config(message.to_owned());
        if self.clients.is_empty() {
            return Err(config("the worker has no credential"));
        }
        let admin = self.admin.ok_or_else(|| config("the worker has no admin address"))?;
        if self.identity_keys.is_empty() && !self.listen.ip().is_loopback() {
            let address = self.listen;
            return Err(WorkerError::Config(format!(
                "the worker would accept anyone at {address}: set the cluster's identity key, or listen on 127.0.0.1"
            )));
        }
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let http = http.connect_timeout(Duration::from_secs(10)).build();
        let accounts = self.clients.into_iter().map(|(name, client)| {
            let permits = Permits::new(&name);
            (name, Account { client, permits })
        });
        let shared = Arc::new(Shared {
            accounts: accounts.collect(),
            storage: self.storage,
            leases: Leases(ingress::client(self.ingress, reqwest::Client::builder())?),
            http: http.map_err(|error| WorkerError::Config(error.to_string()))?,
            admin,
            creations: Creations::default(),
            started: Instant::now(),
            trace_parent: self.trace_parent,
        });
        let mut endpoint = Endpoint::builder()
            .bind(Translation(Arc::clone(&shared)))
            .bind(Job(Arc::clone(&shared)))
            .bind(Credential)
            .bind(Deliver(Arc::clone(&shared)))
            .bind(Files(Arc::clone(&shared)))
            .bind(Jobs(Arc::clone(&shared)));
        for key in &self.identity_keys {
            let invalid = |error| WorkerError::Config(format!("the identity key is not valid: {error}"));
            endpoint = endpoint.identity_key(key).map_err(invalid)?;
        }
        let listen = |address| -> std::io::Result<TcpListener> {
            let socket = if self.listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.set_reuseaddr(true)?;
            #[cfg(unix)]
            socket.set_reuseport(true)?;
            socket.bind(address)?;
            socket.listen(1024)
        };
        let failed = |source| WorkerError::Listen { address: self.listen, source };
        let listener = listen(self.listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Worker { listener, address, endpoint: endpoint.build(), shared, advertised: self.advertised })
    }
}
