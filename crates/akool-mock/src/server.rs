//! The service behind a port: [`MockServer`], with wiremock in front of [`ServiceState`].

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
    tcp::TcpFront,
    webhook::{CallHook, Deliverer, Waker},
};

/// What is called after each exchange.
type Hook = Box<dyn Fn(&Exchange) + Send + Sync>;

/// The service on a port of its own, gone when it is dropped.
///
/// Dropping it panics where a request came that nothing matches or that is not as described, or where a
/// credential was sent where it does not belong: the code under test has a fault that its own assertions
/// may not see. [`Builder::lenient`] turns that off. Where the test fails anyway, dropping it tells on stderr
/// what came and should not have, and what never came.
pub struct MockServer {
    /// There until it is dropped.
    server: Option<wiremock::MockServer>,
    address: SocketAddr,
    machine: Arc<Mutex<ServiceState>>,
    lenient: bool,
    webhooks: Deliverer,
    /// Started when it is first asked for.
    tcp: OnceLock<TcpFront>,
    /// Sockets that nobody answers on: one that refuses, one that never accepts.
    refusing: OnceLock<(socket2::Socket, SocketAddr)>,
    hanging: OnceLock<TcpListener>,
}

/// How to start a [`MockServer`].
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
    /// Listens here, and not on a port of the system's choice.
    pub fn listener(mut self, listener: TcpListener) -> Self {
        self.listener = Some(listener);
        self
    }

    /// Sets the API key that is accepted (`sandbox-key-000000000000` unless set); it is the client
    /// secret too.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// Sets the bearer token that is accepted (`sandbox-token` unless set).
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Calls back after each exchange, for a log. Must not block.
    pub fn on_exchange(mut self, call: impl Fn(&Exchange) + Send + Sync + 'static) -> Self {
        self.hook = Some(Box::new(call));
        self
    }

    /// Calls back after each call to a webhook, for a log. Must not block.
    pub fn on_webhook_call(mut self, call: impl Fn(&WebhookCall) + Send + Sync + 'static) -> Self {
        self.call_hook = Some(Box::new(call));
        self
    }

    /// Calls webhooks of other machines too, and not only of this one.
    pub fn call_webhooks_anywhere(mut self) -> Self {
        self.calls_anywhere = true;
        self
    }

    /// Shows jobs and requests as a page for people, at `/`.
    pub fn page(mut self) -> Self {
        self.page = true;
        self
    }

    /// Lets requests hold fields and parameters that are not described, and goes on to panic on the rest.
    pub fn allow_undocumented(mut self) -> Self {
        self.undocumented = true;
        self
    }

    /// Does not panic on what should not have come.
    pub fn lenient(mut self) -> Self {
        self.lenient = true;
        self
    }

    /// Starts to listen. Needs a tokio runtime.
    ///
    /// # Panics
    /// When the system has no port to give.
    pub async fn start(self) -> MockServer {
        let mut builder = wiremock::MockServer::builder().disable_request_recording();
        if let Some(listener) = self.listener {
            builder = builder.listener(listener);
        }
        let server = builder.start().await;
        let mut machine = ServiceState::new(server.uri());
        if let Some(key) = self.api_key {
            machine = machine.with_api_key(key);
        }
        if let Some(token) = self.token {
            machine = machine.with_token(token);
        }
        if self.undocumented {
            machine.allow_undocumented();
        }
        let machine = Arc::new(Mutex::new(machine));
        let webhooks = Deliverer::start(Arc::clone(&machine), self.calls_anywhere, self.call_hook);
        let front = Front {
            machine: Arc::clone(&machine),
            hook: self.hook,
            page: self.page,
            waker: webhooks.waker(),
        };
        server.register(Mock::given(any()).respond_with(front)).await;
        MockServer {
            address: *server.address(),
            server: Some(server),
            machine,
            lenient: self.lenient,
            webhooks,
            tcp: OnceLock::new(),
            refusing: OnceLock::new(),
            hanging: OnceLock::new(),
        }
    }
}

impl MockServer {
    /// Starts on a port of the system's choice, without jobs. Needs a tokio runtime.
    ///
    /// # Panics
    /// When the system has no port to give.
    pub async fn start() -> Self {
        Builder::default().start().await
    }

    /// Starts with other settings than the default ones.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The base URL for the code under test.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The client id that gets a token, with the API key as its secret.
    pub fn client_id(&self) -> String {
        self.machine().client_id().to_owned()
    }

    /// The API key that is accepted.
    pub fn api_key(&self) -> String {
        self.machine().api_key().to_owned()
    }

    /// The bearer token that is accepted.
    pub fn token(&self) -> String {
        self.machine().token().to_owned()
    }

    /// Adds a job, or starts the one of this id anew.
    pub fn job(&self, id: impl Into<String>, timeline: Timeline) {
        self.machine().job(id, timeline);
    }

    /// Sets what jobs live through that a request creates; see [`ServiceState::on_create`].
    pub fn on_create(&self, timeline: Timeline) {
        self.machine().on_create(timeline);
    }

    /// The same for one target language.
    pub fn on_create_in(&self, language: impl Into<String>, timeline: Timeline) {
        self.machine().on_create_in(language, timeline);
    }

    /// Refuses a target language; see [`ServiceState::refuse_language`].
    pub fn refuse_language(&self, language: impl Into<String>, code: i64, message: impl Into<String>) {
        self.machine().refuse_language(language, code, message);
    }

    /// Leaves out the list of results; see [`ServiceState::omit_all_results`].
    pub fn omit_all_results(&self) {
        self.machine().omit_all_results();
    }

    /// Refuses languages that are not listed; see [`ServiceState::refuse_unlisted_languages`].
    pub fn refuse_unlisted_languages(&self) {
        self.machine().refuse_unlisted_languages();
    }

    /// The jobs that requests created, the last 10,000, oldest first.
    pub fn created(&self) -> Vec<CreatedJob> {
        self.machine().created().cloned().collect()
    }

    /// Tells this link of a job's changes, as if its creation had said so; see [`ServiceState::webhook`].
    /// Only links to this machine, by `http`, are called, unless [`Builder::call_webhooks_anywhere`] says
    /// otherwise. Messages are signed with [`client_id`](Self::client_id) and encrypted with
    /// [`api_key`](Self::api_key), which is the client secret.
    pub fn webhook(&self, job: impl Into<String>, url: impl Into<String>) {
        self.machine().webhook(job, url);
        self.webhooks.waker().wake();
    }

    /// Lays a fault over the calls to webhooks; see [`ServiceState::inject_into_webhooks`].
    pub fn inject_into_webhooks(&self, fault: WebhookFault, times: Times) {
        self.machine().inject_into_webhooks(fault, times);
    }

    /// The calls to webhooks that were made, the last 10,000.
    pub fn webhook_calls(&self) -> Vec<WebhookCall> {
        self.machine().webhook_calls().cloned().collect()
    }

    /// Makes every token that was given out worthless; see [`ServiceState::expire_token`].
    pub fn expire_token(&self) {
        self.machine().expire_token();
    }

    /// Adds the jobs that a sandbox offers; see [`sandbox`](crate::sandbox).
    pub fn seed_demo_jobs(&self) {
        crate::sandbox::seed_demo_jobs(&mut self.machine());
    }

    /// The base URL at which a fault can happen: some take a front that wiremock cannot be, and
    /// some happen before there is a server. The same jobs are behind it.
    ///
    /// # Panics
    /// When the system has no port to give.
    #[expect(clippy::expect_used, reason = "as for the server itself: a test without a port has failed")]
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

    /// The base URL of the front that can break off, trickle and reset.
    ///
    /// # Panics
    /// When the system has no port to give.
    pub fn tcp_url(&self) -> String {
        self.url_for(Fault::Trickle)
    }

    #[expect(clippy::expect_used, reason = "as for the server itself: a test without a port has failed")]
    fn tcp(&self) -> &TcpFront {
        self.tcp.get_or_init(|| {
            TcpFront::start(Arc::clone(&self.machine), self.webhooks.waker()).expect("a port is free")
        })
    }

    /// Lays a fault over the answers to polls; see [`ServiceState::inject`].
    pub fn inject(&self, fault: Fault, times: Times) {
        self.machine().inject(fault, times);
    }

    /// Lays a fault over the answers to requests for files; see [`ServiceState::inject_into_files`].
    pub fn inject_into_files(&self, fault: Fault, times: Times) {
        self.machine().inject_into_files(fault, times);
    }

    /// Lays a fault over the answers to requests that create; see
    /// [`ServiceState::inject_into_creations`].
    pub fn inject_into_creations(&self, fault: Fault, times: Times) {
        self.machine().inject_into_creations(fault, times);
    }

    /// Takes all faults away.
    pub fn clear_faults(&self) {
        self.machine().clear_faults();
    }

    /// Sets what the file of this name holds; see [`ServiceState::file`].
    pub fn file(&self, name: impl Into<String>, contents: impl Into<Bytes>) {
        self.machine().file(name, contents);
    }

    /// Sets what a file of one job holds; see [`ServiceState::file_of`].
    pub fn file_of(&self, id: impl Into<String>, name: impl Into<String>, contents: impl Into<Bytes>) {
        self.machine().file_of(id, name, contents);
    }

    /// Gives a field of all answers another name; see [`ServiceState::rename_field`].
    pub fn rename_field(&self, pointer: impl Into<String>, name: impl Into<String>) {
        self.machine().rename_field(pointer, name);
    }

    /// Answers as it was recorded; see [`ServiceState::replay`].
    pub fn replay(&self, fixture: &Fixture) {
        self.machine().replay(fixture);
    }

    /// What came and should not have; see [`ServiceState::violations`].
    pub fn violations(&self) -> Vec<String> {
        self.machine().violations().to_vec()
    }

    /// What was set up and has not been met; see [`ServiceState::unmet_expectations`].
    pub fn unmet_expectations(&self) -> Vec<String> {
        self.machine().unmet_expectations()
    }

    /// What came so far: the last 10,000 exchanges, and no more than 32 MiB of them.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.machine().exchanges().cloned().collect()
    }

    /// When this job was looked at.
    pub fn polls_of(&self, id: &str) -> Vec<SystemTime> {
        let machine = self.machine();
        let polls =
            machine.exchanges().filter(|exchange| exchange.job.as_deref() == Some(id) && exchange.is_poll());
        polls.map(|exchange| exchange.at).collect()
    }

    pub(crate) fn machine(&self) -> MutexGuard<'_, ServiceState> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MockServer {
    /// Where it listens, how much came, and what was never asked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = self.machine();
        f.debug_struct("MockServer")
            .field("url", &format_args!("{}", self.url()))
            .field("requests", &machine.count())
            .field("violations", &machine.violations().len())
            .field("unmet_expectations", &machine.unmet_expectations())
            .finish_non_exhaustive()
    }
}

impl Drop for MockServer {
    #[expect(clippy::panic, reason = "a test must hear of it, as with wiremock's own expectations")]
    fn drop(&mut self) {
        // On a thread of its own: wiremock blocks on a lock of tokio's here, which never comes where
        // the task that drops it has used up its budget of operations without a pause.
        let server = self.server.take();
        let _ = std::thread::spawn(move || drop(server)).join();

        if self.lenient {
            return;
        }
        let told = told(self.machine().violations());
        if std::thread::panicking() {
            // The test has failed already: this may be why.
            let told = told
                .into_iter()
                .map(|told| format!("akool-mock received what it should not have:\n  {told}"));
            let never = self.unmet_expectations();
            let never =
                (!never.is_empty()).then(|| format!("akool-mock never received:\n  {}", never.join("\n  ")));
            for text in told.chain(never) {
                eprintln!("{text}");
            }
        } else if let Some(told) = told {
            panic!("akool-mock received what it should not have:\n  {told}");
        }
    }
}

/// The first violations, as a message shows them.
fn told(violations: &[String]) -> Option<String> {
    const REPORTED: usize = 20;
    let mut told = violations.iter().take(REPORTED).cloned().collect::<Vec<_>>();
    if violations.len() > REPORTED {
        told.push(format!("and {} more", violations.len() - REPORTED));
    }
    (!told.is_empty()).then(|| told.join("\n  "))
}

/// A port that is taken, and on which nobody listens: no other program gets it meanwhile.
fn refusing() -> std::io::Result<(socket2::Socket, SocketAddr)> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    let address = socket.local_addr()?.as_socket();
    Ok((socket, address.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)))))
}

struct Front {
    machine: Arc<Mutex<ServiceState>>,
    hook: Option<Hook>,
    waker: Waker,
    page: bool,
}

impl Respond for Front {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut incoming = http::Request::new(Bytes::from(request.body.clone()));
        *incoming.method_mut() = request.method.clone();
        *incoming.headers_mut() = request.headers.clone();
        let target = &request.url[url::Position::BeforePath..url::Position::AfterQuery];
        *incoming.uri_mut() = target.parse().unwrap_or_default();

        let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now();
        // Who only looks at the page has asked nothing.
        let page = if self.page { machine.page(&incoming, now) } else { None };
        if let Some(page) = page {
            return template(&page);
        }
        let response = machine.respond(&incoming, now);
        if let Some(hook) = &self.hook
            && let Some(exchange) = machine.exchanges().last()
        {
            hook(exchange);
        }
        drop(machine);
        self.waker.wake();
        if response.extensions().get::<Delivery>().is_some() {
            return ResponseTemplate::new(501)
                .set_body_string("akool-mock: this fault happens at MockServer::url_for(fault) only\n");
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
