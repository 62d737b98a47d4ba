//! The HTTP server: [`MockServer`] and its [`Builder`]. A [`Listener`] receives the requests, and [`Service`] answers
//! them.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, OnceLock},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use crate::{
    answer::Outcome,
    control_api::{self, Access},
    fault::{Fault, Place},
    http_host,
    listener::Listener,
    page::Page,
    recent::Recent,
    record::Exchange,
    service::{Hook, Service},
    service_state::ServiceState,
    sources::Fetcher,
    webhook::{CallHook, Deliverer},
    webhook_queue::WebhookCall,
};

/// A mock server on its own port. It stops when it is dropped.
///
/// # Panics
/// Dropping it panics if it recorded [`violations`](Self::violations): the code under test has a defect that its
/// own assertions may not notice. [`Builder::lenient`] turns this off. If the test has already failed, dropping the
/// server prints violations and unmet expectations to stderr instead.
pub struct MockServer {
    listener: Listener,
    service: Service,
    lenient: bool,
    /// Calls webhooks until it is dropped.
    _deliverer: Deliverer,
    /// Fetches sources until it is dropped.
    _fetcher: Option<Fetcher>,
    /// A bound socket that refuses connections.
    refusing: OnceLock<(socket2::Socket, SocketAddr)>,
    /// A listener that never accepts.
    hanging: OnceLock<TcpListener>,
}

/// Configures a [`MockServer`] before it starts.
///
/// ```
/// use akool_mock::MockServer;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let server = MockServer::builder()
///     .api_key("a-key-of-at-least-16-bytes")
///     .on_exchange(|exchange| println!("{}", exchange.shown_target()))
///     .start()
///     .await;
/// assert_eq!(server.api_key(), "a-key-of-at-least-16-bytes");
/// # }
/// ```
#[derive(Default)]
#[must_use]
pub struct Builder {
    listener: Option<TcpListener>,
    api_key: Option<String>,
    token: Option<String>,
    hook: Option<Hook>,
    call_hook: Option<CallHook>,
    calls_anywhere: bool,
    lenient: bool,
    undocumented: bool,
    fetches_sources: bool,
    page: bool,
    control_api: bool,
    control_token: Option<String>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl Builder {
    /// Listens on this socket (default: a free port of the loopback interface).
    pub fn listener(mut self, listener: TcpListener) -> Self {
        self.listener = Some(listener);
        self
    }

    /// Sets the API key that the server accepts (default: `sandbox-key-000000000000`). It is also the client
    /// secret.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// Sets the bearer token that the server accepts (default: `sandbox-token`).
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Sets a callback that runs after each exchange, for example to log it. It must not block.
    pub fn on_exchange(mut self, call: impl Fn(&Exchange) + Send + Sync + 'static) -> Self {
        self.hook = Some(Box::new(call));
        self
    }

    /// Sets a callback that runs after each webhook call, for example to log it. It must not block.
    pub fn on_webhook_call(mut self, call: impl Fn(&WebhookCall) + Send + Sync + 'static) -> Self {
        self.call_hook = Some(Box::new(call));
        self
    }

    /// Also calls webhooks on other hosts. By default, only webhooks on the loopback interface are called.
    pub fn call_webhooks_anywhere(mut self) -> Self {
        self.calls_anywhere = true;
        self
    }

    /// Serves an HTML page with jobs and requests at `/`.
    pub fn page(mut self) -> Self {
        self.page = true;
        self
    }

    /// Serves the control API under `/__sandbox/`, for tests in other languages; `openapi/sandbox.yaml` describes it.
    /// Without [`control_token`](Self::control_token) it answers only on the loopback interface. It refuses requests
    /// from web pages of other origins.
    pub fn control_api(mut self) -> Self {
        self.control_api = true;
        self
    }

    /// Requires this bearer token for the control API.
    pub fn control_token(mut self, token: impl Into<String>) -> Self {
        self.control_token = Some(token.into());
        self
    }

    /// Fetches the source and the caption file of each created job, as the service does, from http on the loopback
    /// interface only. The job is queued until they were read to the end. It fails if they cannot be, for example because
    /// they are on another machine, or because the link has expired.
    pub fn fetch_sources(mut self) -> Self {
        self.fetches_sources = true;
        self
    }

    /// Accepts fields and parameters that the description does not contain. Other violations still count.
    pub fn allow_undocumented(mut self) -> Self {
        self.undocumented = true;
        self
    }

    /// Does not panic on violations when the server is dropped.
    pub fn lenient(mut self) -> Self {
        self.lenient = true;
        self
    }

    /// Starts the server, on a thread of its own.
    ///
    /// # Panics
    /// If no port is free, or no thread can be started.
    #[expect(clippy::expect_used, reason = "a test cannot continue without a server")]
    pub async fn start(self) -> MockServer {
        let socket = match self.listener {
            Some(socket) => socket,
            None => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free"),
        };
        let address = socket.local_addr().expect("a listener has an address");
        // A server on all addresses has no address of its own for links.
        let mut own = address;
        match own.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => own.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => own.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        let mut state = ServiceState::new(format!("http://{own}"));
        if let Some(key) = self.api_key {
            state.api_key = key;
        }
        if let Some(token) = self.token {
            state.token = token;
        }
        state.allows_undocumented = self.undocumented;
        state.fetches_sources = self.fetches_sources;
        let state = Arc::new(Mutex::new(state));
        let deliverer = Deliverer::start(Arc::clone(&state), self.calls_anywhere, self.call_hook);
        let fetcher = self.fetches_sources.then(|| Fetcher::start(Arc::clone(&state), deliverer.waker()));
        let service = Service::new(state, self.hook, deliverer.waker());
        let service = service.with_fetcher(fetcher.as_ref().map(Fetcher::waker));
        let access = Access { is_loopback: address.ip().is_loopback(), token: self.control_token };
        let control = self.control_api.then_some(access);
        let responder =
            Responder { service: service.clone(), page: self.page.then(Page::new), control, address };
        let listener = Listener::start(socket, Box::new(move |request| responder.respond(&request)));
        MockServer {
            listener: listener.expect("a thread can be started"),
            service,
            lenient: self.lenient,
            _deliverer: deliverer,
            _fetcher: fetcher,
            refusing: OnceLock::new(),
            hanging: OnceLock::new(),
        }
    }
}

impl MockServer {
    /// Starts a server without jobs on a free port, on a thread of its own.
    ///
    /// # Panics
    /// If no port is free, or no thread can be started.
    pub async fn start() -> Self {
        Builder::default().start().await
    }

    /// Returns a builder, for other settings than the defaults.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Returns the base URL for the code under test.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Returns the address on which the server listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Returns the base URL at which this fault can happen: that of the server, except for faults of the connection, which
    /// happen before there is a request.
    ///
    /// # Panics
    /// If no port is free.
    #[expect(clippy::expect_used, reason = "a test cannot continue without a port")]
    pub fn url_for(&self, fault: Fault) -> String {
        match (fault.place(), fault) {
            (Place::Answer | Place::Delivery, _) => self.url(),
            (Place::Connection, Fault::NameNotFound) => "http://localhost:1".to_owned(),
            (Place::Connection, Fault::TlsFails) => format!("https://{}", self.address()),
            (Place::Connection, Fault::ConnectHangs) => {
                let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
                let address = self.hanging.get_or_init(bind).local_addr().expect("a listener has an address");
                format!("https://{address}")
            }
            (Place::Connection, _) => {
                let (_, address) = self.refusing.get_or_init(|| refusing().expect("a port is free"));
                format!("http://{address}")
            }
        }
    }

    pub(crate) fn service(&self) -> &Service {
        &self.service
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, ServiceState> {
        self.service.state()
    }
}

impl fmt::Debug for MockServer {
    /// Shows the URL, the number of requests and violations, and the unmet expectations.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("MockServer")
            .field("url", &format_args!("{}", self.url()))
            .field("requests", &state.log.count())
            .field("violations", &state.violations.count())
            .field("unmet_expectations", &state.unmet_expectations())
            .finish_non_exhaustive()
    }
}

impl Drop for MockServer {
    #[expect(clippy::panic, reason = "a violation fails the test, as wiremock's own expectations do")]
    fn drop(&mut self) {
        if self.lenient {
            return;
        }
        let violations = first_violations(&self.state().violations);
        if !std::thread::panicking() {
            if let Some(violations) = violations {
                panic!("akool-mock found violations:\n  {violations}");
            }
            return;
        }
        // The test has already failed: this may be the reason.
        if let Some(violations) = violations {
            eprintln!("akool-mock found violations:\n  {violations}");
        }
        let unmet = self.state().unmet_expectations();
        if !unmet.is_empty() {
            eprintln!("akool-mock has unmet expectations:\n  {}", unmet.join("\n  "));
        }
    }
}

/// Joins the first violations into one text. Returns `None` if there are none.
fn first_violations(violations: &Recent<String>) -> Option<String> {
    const MAX: usize = 20;
    let mut shown: Vec<_> = violations.iter().take(MAX).cloned().collect();
    if violations.iter().len() > MAX {
        shown.push(format!("and {} more", violations.count() - MAX as u64));
    }
    (!shown.is_empty()).then(|| shown.join("\n  "))
}

/// Binds a port without listening on it, so that it refuses connections and no other program can take it.
fn refusing() -> std::io::Result<(socket2::Socket, SocketAddr)> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    let address = socket.local_addr()?.as_socket();
    Ok((socket, address.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)))))
}

struct Responder {
    service: Service,
    page: Option<Page>,
    control: Option<Access>,
    address: SocketAddr,
}

impl Responder {
    fn respond(&self, request: &Request<Bytes>) -> Response<Bytes> {
        if let Err(why) = http_host::check(request, self.address) {
            return Outcome::plain(StatusCode::BAD_REQUEST, why).response;
        }
        // Neither control API nor page are part of the service's API, so requests for them are not logged.
        if let Some(access) = &self.control
            && let Some(response) = control_api::respond(access, &self.service, request)
        {
            return response;
        }
        if http_host::is_of_other_origin(request) {
            let why = "a web page of another origin cannot use this server";
            return Outcome::plain(StatusCode::FORBIDDEN, why).response;
        }
        if let Some(page) = self.page.as_ref().and_then(|page| page.respond(&self.service, request)) {
            return page;
        }
        let now = self.service.state().clock.now();
        self.service.respond(request, now)
    }
}
