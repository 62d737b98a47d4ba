//! Makes the webhook calls: a thread sleeps until the next call is due.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use http::StatusCode;
use url::{Host, Url};

use crate::{service_state::ServiceState, webhook_queue::WebhookCall};

/// The timeout of connecting, of each write, and of the whole answer. A receiver that is slower gives up its place.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How many calls are made at a time. Others wait.
const MAX_CALLS: usize = 16;
/// The largest response head that is read, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// Callback after each webhook call.
pub(crate) type CallHook = Box<dyn Fn(&WebhookCall) + Send + Sync>;

/// The thread that makes calls. It stops when this is dropped.
pub(crate) struct Deliverer {
    stop: Arc<AtomicBool>,
    waker: Waker,
}

/// Wakes the thread, because a call may be due.
#[derive(Clone)]
pub(crate) struct Waker(Thread);

impl Waker {
    pub(crate) fn of(thread: &Thread) -> Self {
        Self(thread.clone())
    }

    pub(crate) fn of_this_thread() -> Self {
        Self(thread::current())
    }

    pub(crate) fn wake(&self) {
        self.0.unpark();
    }
}

/// Makes single calls.
struct Caller {
    state: Arc<Mutex<ServiceState>>,
    /// Whether calls to other hosts are made.
    anywhere: bool,
    hook: Option<CallHook>,
    /// How many calls are being made.
    active: AtomicUsize,
    waker: Waker,
}

impl Deliverer {
    /// Starts the thread. `anywhere` allows calls to other hosts.
    pub(crate) fn start(state: Arc<Mutex<ServiceState>>, anywhere: bool, hook: Option<CallHook>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let waker = Waker(thread::current());
            let caller = Arc::new(Caller { state, anywhere, hook, active: AtomicUsize::new(0), waker });
            while !stopped.load(Ordering::Relaxed) {
                match caller.make_due() {
                    // The end of a call, or a request, wakes it.
                    None => thread::park(),
                    Some(pause) => thread::park_timeout(pause),
                }
            }
        });
        Self { stop, waker: Waker(thread.thread().clone()) }
    }

    pub(crate) fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

impl Drop for Deliverer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.waker.wake();
    }
}

fn lock(state: &Mutex<ServiceState>) -> MutexGuard<'_, ServiceState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Caller {
    /// Begins the calls that are due, each on a thread, so that a slow receiver does not delay the others. Returns the
    /// time until the next one is due, if there is room for it and the clock runs.
    fn make_due(self: &Arc<Self>) -> Option<Duration> {
        let free = MAX_CALLS - self.active.load(Ordering::Acquire);
        let (due, next) = {
            let mut state = lock(&self.state);
            let now = state.clock.now();
            let due = state.calls_due(now, free);
            let next = state.next_call().filter(|_| !state.clock.is_stopped());
            (due, next.map(|at| at.duration_since(now).unwrap_or_default()))
        };
        let is_full = due.len() == free;
        for call in due {
            self.active.fetch_add(1, Ordering::AcqRel);
            let (caller, own) = (Arc::clone(self), call.clone());
            if thread::Builder::new().spawn(move || caller.make(own)).is_err() {
                // There are too many threads.
                self.make(call);
            }
        }
        next.filter(|_| !is_full)
    }

    fn make(&self, call: WebhookCall) {
        let answer = post(&call, self.anywhere);
        let made = {
            let mut state = lock(&self.state);
            let now = state.clock.now();
            state.webhooks.call_ended(call, answer, now);
            state.forget_oldest();
            state.webhooks.made.last().cloned()
        };
        if let (Some(hook), Some(call)) = (&self.hook, made) {
            hook(&call);
        }
        self.active.fetch_sub(1, Ordering::AcqRel);
        self.waker.wake();
    }
}

fn post(call: &WebhookCall, anywhere: bool) -> Result<StatusCode, String> {
    let url = Url::parse(&call.url).map_err(|error| format!("{}: {error}", call.url))?;
    if url.scheme() != "http" {
        return Err(format!("{url}: the mock server supports only http"));
    }
    if !is_local(&url) && !anywhere {
        return Err(format!("{url}: not called, because it is not on the loopback interface"));
    }
    let addresses = url.socket_addrs(|| None).map_err(|error| format!("{url}: {error}"))?;
    exchange(&url, &addresses, &call.body, TIMEOUT).map_err(|error| format!("{url}: {error}"))
}

/// Whether a URL leads to this machine. Only literal names count, so that other names are not resolved.
pub(crate) fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn exchange(url: &Url, addresses: &[SocketAddr], body: &[u8], timeout: Duration) -> io::Result<StatusCode> {
    let mut stream = Err(io::Error::other("the host has no address"));
    for address in addresses {
        stream = TcpStream::connect_timeout(address, timeout);
        if stream.is_ok() {
            break;
        }
    }
    let mut stream = stream?;
    stream.set_write_timeout(Some(timeout))?;
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\nuser-agent: akool-mock/{}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        &url[url::Position::BeforePath..url::Position::AfterQuery],
        &url[url::Position::BeforeHost..url::Position::AfterPort],
        env!("CARGO_PKG_VERSION"),
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat())?;

    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let count = stream.read(&mut buffer)?;
        if count == 0 || answer.len() > MAX_HEAD {
            return Err(io::Error::other("the response is not HTTP"));
        }
        answer.extend_from_slice(&buffer[..count]);
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Response::new(&mut headers);
        match parsed.parse(&answer) {
            Ok(httparse::Status::Partial) => {}
            Ok(httparse::Status::Complete(_)) => {
                let status = StatusCode::from_u16(parsed.code.unwrap_or_default());
                return status.map_err(io::Error::other);
            }
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{iter, net::TcpListener};

    use super::*;

    #[test]
    fn a_receiver_that_answers_one_byte_at_a_time_gives_up_its_place() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let receiver = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let bytes = b"HTTP/1.1 200 OK\r\nx: ".iter().chain(iter::repeat(&b'x'));
            for byte in bytes {
                if stream.write_all(&[*byte]).is_err() {
                    return;
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        let url = Url::parse(&format!("http://{address}/")).unwrap();
        let error = exchange(&url, &[address], b"{}", Duration::from_millis(500)).unwrap_err();
        assert!(matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock), "{error}");
        receiver.join().unwrap();
    }
}
