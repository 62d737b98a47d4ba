//! Fetches the sources of created jobs, as the service does: only if it is asked for, and only from this machine.
//!
//! A job is queued until its source and its caption file were read to the end. If they cannot be, it fails.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use url::Url;

use crate::{
    service_state::{Fetch, ServiceState},
    timeline::{FAILURE_CODE, Timeline},
    webhook::{Waker, is_local},
};

/// The timeout of connecting, and of each read and write.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest time that one file may take, and its largest length in bytes.
const MAX_TIME: Duration = Duration::from_secs(15 * 60);
const MAX_BYTES: u64 = 16 << 30;
/// How many requests are worked on at a time. Others wait.
const MAX_FETCHES: usize = 8;
/// The largest response head that is read, in bytes.
const MAX_HEAD: usize = 64 * 1024;

impl ServiceState {
    /// Begins to collect the jobs of a request, if sources are fetched.
    pub(crate) fn begin_fetch(&mut self, request: &Value, bytes: usize) {
        if self.fetches_sources {
            let urls = ["url", "caption_url"].iter().filter_map(|name| request[name].as_str());
            let urls = urls.filter(|url| !url.is_empty()).map(str::to_owned).collect();
            self.fetches.push_back(Fetch { urls, bytes, jobs: Vec::new() });
        }
    }

    /// Returns the timeline of a job of that request: queued until its sources were fetched.
    pub(crate) fn until_fetched(&mut self, job: &str, timeline: Timeline) -> Timeline {
        match self.fetches.back_mut().filter(|_| self.fetches_sources) {
            Some(fetch) => {
                fetch.bytes += job.len() + timeline.size();
                fetch.jobs.push((job.to_owned(), timeline));
                Timeline::new().stuck(1)
            }
            None => timeline,
        }
    }
}

/// The thread that fetches. It stops when this is dropped.
pub(crate) struct Fetcher {
    stop: Arc<AtomicBool>,
    waker: Waker,
}

impl Fetcher {
    /// Starts the thread. `changed` is woken when jobs continue.
    pub(crate) fn start(state: Arc<Mutex<ServiceState>>, changed: Waker) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let active = Arc::new(AtomicUsize::new(0));
        let thread = thread::spawn(move || {
            let own = Waker::of_this_thread();
            while !stopped.load(Ordering::Relaxed) {
                let is_free = active.load(Ordering::Acquire) < MAX_FETCHES;
                let due = if is_free { lock(&state).fetches.pop_front() } else { None };
                let Some(fetch) = due else {
                    thread::park();
                    continue;
                };
                active.fetch_add(1, Ordering::AcqRel);
                let (state, active, wakers) =
                    (Arc::clone(&state), Arc::clone(&active), [own.clone(), changed.clone()]);
                let work = move || {
                    let fetched = fetch.urls.iter().try_for_each(|url| get(url));
                    resume(&mut lock(&state), fetch.jobs, fetched);
                    active.fetch_sub(1, Ordering::AcqRel);
                    wakers.iter().for_each(Waker::wake);
                };
                // If there are too many threads, the jobs stay queued.
                let _ = thread::Builder::new().spawn(work);
            }
        });
        Self { stop, waker: Waker::of(thread.thread()) }
    }

    pub(crate) fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.waker.wake();
    }
}

fn lock(state: &Mutex<ServiceState>) -> MutexGuard<'_, ServiceState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn resume(state: &mut ServiceState, jobs: Vec<(String, Timeline)>, fetched: Result<(), String>) {
    let now = state.clock.now();
    for (job, timeline) in jobs {
        let timeline = match &fetched {
            Ok(()) => timeline,
            Err(why) => {
                Timeline::new().failed(FAILURE_CODE, format!("the source could not be fetched: {why}"))
            }
        };
        state.change_job(&job, timeline, now);
    }
}

/// Reads a file to its end. An error does not contain the link, which may grant access.
fn get(url: &str) -> Result<(), String> {
    let url = Url::parse(url).map_err(|_| "it is not a URL".to_owned())?;
    if url.scheme() != "http" || !is_local(&url) {
        return Err("the mock server fetches only from http on this machine".to_owned());
    }
    let addresses = url.socket_addrs(|| None).map_err(|error| error.to_string())?;
    let addresses: Vec<_> = addresses.into_iter().filter(|address| address.ip().is_loopback()).collect();
    match read(&url, &addresses) {
        Ok((200, bytes)) if bytes > 0 => Ok(()),
        Ok((200, _)) => Err("it is empty".to_owned()),
        Ok((status, _)) => Err(format!("HTTP status {status}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Returns the status, and how many bytes the body has.
fn read(url: &Url, addresses: &[SocketAddr]) -> io::Result<(u16, u64)> {
    let began = Instant::now();
    let connect = |address| TcpStream::connect_timeout(address, TIMEOUT);
    let none = || Err(io::Error::other("the host has no address"));
    let mut stream = addresses.iter().map(connect).find(Result::is_ok).unwrap_or_else(none)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // With this version, the body is never chunked.
    let head = format!(
        "GET {} HTTP/1.0\r\nhost: {}\r\nuser-agent: akool-mock/{}\r\n\r\n",
        &url[url::Position::BeforePath..url::Position::AfterQuery],
        &url[url::Position::BeforeHost..url::Position::AfterPort],
        env!("CARGO_PKG_VERSION"),
    );
    stream.write_all(head.as_bytes())?;
    let mut start = Vec::new();
    let mut buffer = vec![0; 256 * 1024];
    let (status, length, mut bytes) = loop {
        let count = stream.read(&mut buffer)?;
        start.extend_from_slice(&buffer[..count]);
        if let Some((status, length, head)) = parse(&start)? {
            break (status, length, (start.len() - head) as u64);
        }
        if count == 0 || start.len() > MAX_HEAD {
            return Err(io::Error::other("the response is not HTTP"));
        }
    };
    while status == 200 && length.is_none_or(|length| bytes < length) {
        match stream.read(&mut buffer)? {
            0 => break,
            count => bytes += count as u64,
        }
        if bytes > MAX_BYTES || began.elapsed() > MAX_TIME {
            return Err(io::Error::other("it is too large, or takes too long"));
        }
    }
    match length {
        Some(length) if status == 200 && bytes < length => Err(io::Error::other("it broke off")),
        _ => Ok((status, bytes)),
    }
}

/// Returns status, length of the body and length of the head, once the head is complete.
fn parse(start: &[u8]) -> io::Result<Option<(u16, Option<u64>, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = parsed.parse(start).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let length = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse().ok());
    Ok(Some((parsed.code.unwrap_or_default(), length, head)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Serves one response, and returns the link to it.
    fn serve(response: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(response.as_bytes());
        });
        format!("http://{address}/talk.mp4?X-Amz-Signature=MARKER")
    }

    #[test]
    fn a_source_is_read_to_its_end() {
        for (response, expected) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", Ok(())),
            ("HTTP/1.1 200 OK\r\n\r\nabc", Ok(())),
            ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabc", Err("it broke off")),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Err("it is empty")),
            ("HTTP/1.1 403 Forbidden\r\ncontent-length: 3\r\n\r\nabc", Err("HTTP status 403")),
            ("HTTP/1.1 302 Found\r\nlocation: http://10.0.0.1/\r\n\r\n", Err("HTTP status 302")),
            ("hello", Err("invalid")),
        ] {
            match (get(&serve(response)), expected) {
                (Ok(()), Ok(())) => {}
                (Err(error), Err(why)) => {
                    assert!(error.contains(why) && !error.contains("MARKER"), "{error}")
                }
                (other, _) => panic!("{response}: {other:?}"),
            }
        }
    }

    #[test]
    fn no_other_machine_is_called() {
        for url in [
            "http://example.com/a.mp4",
            "https://127.0.0.1/a.mp4",
            "http://10.0.0.1/a",
            "http://localhost.example/a",
            "a",
        ] {
            let error = get(url).unwrap_err();
            assert!(
                error.contains("only from http on this machine") || error.contains("not a URL"),
                "{error}"
            );
        }
    }
}
