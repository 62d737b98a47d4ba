//! The HTTP server: [`MockServer`] and its [`Builder`]. wiremock receives the requests, [`ServiceState`] answers
//! them.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::SystemTime,
};

use akool_contract::Fixture;
use bytes::Bytes;
use wiremock::{Mock, Request, Respond, ResponseTemplate, matchers::any};

use crate::{
    CreatedJob, Exchange, Fault, ServiceState, Timeline, Times, WebhookCall, WebhookFault,
    fault::{Delivery, Place},
    tcp::TcpServer,
    webhook::{CallHook, Deliverer, Waker},
};

/// Callback after each exchange.
type Hook = Box<dyn Fn(&Exchange) + Send + Sync>;

/// A mock server on its own port. It stops when it is dropped.
///
/// # Panics
/// Dropping it panics if it recorded [`violations`](Self::violations): the code under test has a defect that its
/// own assertions may not notice. [`Builder::lenient`] turns this off. If the test has already failed, dropping the
/// server prints violations and unmet expectations to stderr instead.
pub struct MockServer {
    /// `None` only during drop.
    server: Option<wiremock::MockServer>,
    address: SocketAddr,
    state: Arc<Mutex<ServiceState>>,
    lenient: bool,
    webhooks: Deliverer,
    /// Started on first use.
    tcp: OnceLock<TcpServer>,
    /// A bound socket that refuses connections.
    refusing: OnceLock<(socket2::Socket, SocketAddr)>,
    /// A listener that never accepts.
    hanging: OnceLock<TcpListener>,
}

/// Configures a [`MockServer`] before it starts.
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
    page: bool,
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

    /// Starts the server. Needs a tokio runtime.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(self) -> MockServer {
        let mut builder = wiremock::MockServer::builder().disable_request_recording();
        if let Some(listener) = self.listener {
            builder = builder.listener(listener);
        }
        let server = builder.start().await;
        let mut state = ServiceState::new(server.uri());
        if let Some(key) = self.api_key {
            state = state.with_api_key(key);
        }
        if let Some(token) = self.token {
            state = state.with_token(token);
        }
        if self.undocumented {
            state.allow_undocumented();
        }
        let state = Arc::new(Mutex::new(state));
        let webhooks = Deliverer::start(Arc::clone(&state), self.calls_anywhere, self.call_hook);
        let front = Responder {
            state: Arc::clone(&state),
            hook: self.hook,
            page: self.page,
            waker: webhooks.waker(),
        };
        server.register(Mock::given(any()).respond_with(front)).await;
        MockServer {
            address: *server.address(),
            server: Some(server),
            state,
            lenient: self.lenient,
            webhooks,
            tcp: OnceLock::new(),
            refusing: OnceLock::new(),
            hanging: OnceLock::new(),
        }
    }
}

impl MockServer {
    /// Starts a server without jobs on a free port. Needs a tokio runtime.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start() -> Self {
        Builder::default().start().await
    }

    /// Returns a builder, for other settings than the defaults.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Returns the base URL for the code under test.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the address on which the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the client id that can request a token. The API key is its secret.
    pub fn client_id(&self) -> String {
        self.state().client_id().to_owned()
    }

    /// Returns the API key that the server accepts.
    pub fn api_key(&self) -> String {
        self.state().api_key().to_owned()
    }

    /// Returns the bearer token that the server accepts.
    pub fn token(&self) -> String {
        self.state().token().to_owned()
    }

    /// Adds a job, or starts the one of this id anew.
    pub fn job(&self, id: impl Into<String>, timeline: Timeline) {
        self.state().job(id, timeline);
    }

    /// Sets what jobs live through that a request creates; see [`ServiceState::on_create`].
    pub fn on_create(&self, timeline: Timeline) {
        self.state().on_create(timeline);
    }

    /// The same for one target language.
    pub fn on_create_in(&self, language: impl Into<String>, timeline: Timeline) {
        self.state().on_create_in(language, timeline);
    }

    /// Refuses a target language; see [`ServiceState::refuse_language`].
    pub fn refuse_language(&self, language: impl Into<String>, code: i64, message: impl Into<String>) {
        self.state().refuse_language(language, code, message);
    }

    /// Leaves out the list of results; see [`ServiceState::omit_all_results`].
    pub fn omit_all_results(&self) {
        self.state().omit_all_results();
    }

    /// Refuses languages that are not listed; see [`ServiceState::refuse_unlisted_languages`].
    pub fn refuse_unlisted_languages(&self) {
        self.state().refuse_unlisted_languages();
    }

    /// The jobs that requests created, the last 10,000, oldest first.
    pub fn created(&self) -> Vec<CreatedJob> {
        self.state().created().cloned().collect()
    }

    /// Tells this link of a job's changes, as if its creation had said so; see [`ServiceState::webhook`].
    /// Only links to this machine, by `http`, are called, unless [`Builder::call_webhooks_anywhere`] says
    /// otherwise. Messages are signed with [`client_id`](Self::client_id) and encrypted with
    /// [`api_key`](Self::api_key), which is the client secret.
    pub fn webhook(&self, job: impl Into<String>, url: impl Into<String>) {
        self.state().webhook(job, url);
        self.webhooks.waker().wake();
    }

    /// Lays a fault over the calls to webhooks; see [`ServiceState::inject_into_webhooks`].
    pub fn inject_into_webhooks(&self, fault: WebhookFault, times: Times) {
        self.state().inject_into_webhooks(fault, times);
    }

    /// The calls to webhooks that were made, the last 10,000.
    pub fn webhook_calls(&self) -> Vec<WebhookCall> {
        self.state().webhook_calls().cloned().collect()
    }

    /// Makes every token that was given out worthless; see [`ServiceState::expire_token`].
    pub fn expire_token(&self) {
        self.state().expire_token();
    }

    /// Adds the demo jobs; see [`sandbox`](crate::sandbox).
    pub fn seed_demo_jobs(&self) {
        crate::sandbox::seed_demo_jobs(&mut self.state());
    }

    /// Returns the base URL at which this fault can happen. All base URLs serve the same jobs. wiremock cannot
    /// produce every fault, so faults of the connection and of the delivery have sockets of their own.
    ///
    /// # Panics
    /// If no port is free.
    #[expect(clippy::expect_used, reason = "a test cannot continue without a port")]
    pub fn url_for(&self, fault: Fault) -> String {
        match (fault.place(), fault) {
            (Place::Answer, _) => self.url(),
            (Place::Delivery, _) => format!("http://{}", self.tcp().address()),
            (Place::Connection, Fault::NameNotFound) => "http://localhost:1".to_owned(),
            (Place::Connection, Fault::TlsFails) => format!("https://{}", self.tcp().address()),
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

    /// Returns the base URL at which every fault of the delivery can happen, such as slow or reset responses.
    ///
    /// # Panics
    /// If no port is free.
    pub fn tcp_url(&self) -> String {
        self.url_for(Fault::Trickle)
    }

    #[expect(clippy::expect_used, reason = "a test cannot continue without a port")]
    fn tcp(&self) -> &TcpServer {
        self.tcp.get_or_init(|| {
            TcpServer::start(Arc::clone(&self.state), self.webhooks.waker()).expect("a port is free")
        })
    }

    /// Lays a fault over the answers to polls; see [`ServiceState::inject`].
    pub fn inject(&self, fault: Fault, times: Times) {
        self.state().inject(fault, times);
    }

    /// Lays a fault over the answers to requests for files; see [`ServiceState::inject_into_files`].
    pub fn inject_into_files(&self, fault: Fault, times: Times) {
        self.state().inject_into_files(fault, times);
    }

    /// Lays a fault over the answers to requests that create; see
    /// [`ServiceState::inject_into_creations`].
    pub fn inject_into_creations(&self, fault: Fault, times: Times) {
        self.state().inject_into_creations(fault, times);
    }

    /// Takes all faults away.
    pub fn clear_faults(&self) {
        self.state().clear_faults();
    }

    /// Sets what the file of this name holds; see [`ServiceState::file`].
    pub fn file(&self, name: impl Into<String>, contents: impl Into<Bytes>) {
        self.state().file(name, contents);
    }

    /// Sets what a file of one job holds; see [`ServiceState::file_of`].
    pub fn file_of(&self, id: impl Into<String>, name: impl Into<String>, contents: impl Into<Bytes>) {
        self.state().file_of(id, name, contents);
    }

    /// Gives a field of all answers another name; see [`ServiceState::rename_field`].
    pub fn rename_field(&self, pointer: impl Into<String>, name: impl Into<String>) {
        self.state().rename_field(pointer, name);
    }

    /// Answers as it was recorded; see [`ServiceState::replay`].
    pub fn replay(&self, fixture: &Fixture) {
        self.state().replay(fixture);
    }

    /// What came and should not have; see [`ServiceState::violations`].
    pub fn violations(&self) -> Vec<String> {
        self.state().violations().to_vec()
    }

    /// What was set up and has not been met; see [`ServiceState::unmet_expectations`].
    pub fn unmet_expectations(&self) -> Vec<String> {
        self.state().unmet_expectations()
    }

    /// What came so far: the last 10,000 exchanges, and no more than 32 MiB of them.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.state().exchanges().cloned().collect()
    }

    /// Returns the time of each poll of this job.
    pub fn polls_of(&self, id: &str) -> Vec<SystemTime> {
        let state = self.state();
        let polls =
            state.exchanges().filter(|exchange| exchange.job.as_deref() == Some(id) && exchange.is_poll());
        polls.map(|exchange| exchange.at).collect()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, ServiceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MockServer {
    /// Shows the URL, the number of requests and violations, and the unmet expectations.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("MockServer")
            .field("url", &format_args!("{}", self.url()))
            .field("requests", &state.count())
            .field("violations", &state.violations().len())
            .field("unmet_expectations", &state.unmet_expectations())
            .finish_non_exhaustive()
    }
}

impl Drop for MockServer {
    #[expect(clippy::panic, reason = "a violation fails the test, as wiremock's own expectations do")]
    fn drop(&mut self) {
        // wiremock's drop blocks on a tokio lock. If the current task has used up its cooperative budget, that
        // lock is never granted, so drop it on another thread.
        let server = self.server.take();
        let _ = std::thread::spawn(move || drop(server)).join();

        if self.lenient {
            return;
        }
        let violations = first_violations(self.state().violations());
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
        let unmet = self.unmet_expectations();
        if !unmet.is_empty() {
            eprintln!("akool-mock has unmet expectations:\n  {}", unmet.join("\n  "));
        }
    }
}

/// Joins the first violations into one text. Returns `None` if there are none.
fn first_violations(violations: &[String]) -> Option<String> {
    const MAX: usize = 20;
    let mut shown: Vec<_> = violations.iter().take(MAX).cloned().collect();
    if violations.len() > MAX {
        shown.push(format!("and {} more", violations.len() - MAX));
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
    state: Arc<Mutex<ServiceState>>,
    hook: Option<Hook>,
    waker: Waker,
    page: bool,
}

impl Respond for Responder {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut incoming = http::Request::new(Bytes::from(request.body.clone()));
        *incoming.method_mut() = request.method.clone();
        *incoming.headers_mut() = request.headers.clone();
        let target = &request.url[url::Position::BeforePath..url::Position::AfterQuery];
        *incoming.uri_mut() = target.parse().unwrap_or_default();

        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now();
        // The page is not part of the API, so requests for it are not logged.
        let page = if self.page { state.page(&incoming, now) } else { None };
        if let Some(page) = page {
            return template(&page);
        }
        let response = state.respond(&incoming, now);
        if let Some(hook) = &self.hook
            && let Some(exchange) = state.exchanges().last()
        {
            hook(exchange);
        }
        drop(state);
        self.waker.wake();
        if response.extensions().get::<Delivery>().is_some() {
            return ResponseTemplate::new(501).set_body_string(
                "akool-mock: this fault needs the base URL from MockServer::url_for(fault)\n",
            );
        }

        template(&response)
    }
}

fn template(response: &http::Response<Bytes>) -> ResponseTemplate {
    let mut template = ResponseTemplate::new(response.status()).set_body_bytes(response.body().to_vec());
    for (name, value) in response.headers() {
        template = template.insert_header(name, value);
    }
    template
}
