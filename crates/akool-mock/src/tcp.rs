//! A second server in front of [`Service`], on plain TCP. It produces what wiremock cannot: answers that are slow,
//! truncated, reset or missing.

use std::{
    io::{self, Read, Write},
    iter,
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response};

use crate::{fault::Fault, service::Service};

/// The largest request head and body that are read, in bytes.
const MAX_HEAD: usize = 64 * 1024;
const MAX_BODY: usize = 1024 * 1024;
/// The pause between two bytes of an answer that trickles, or that drips.
const TRICKLE: Duration = Duration::from_millis(20);
const DRIP: Duration = Duration::from_secs(1);
/// The pause between two informational responses.
const INFORMATIONAL: Duration = Duration::from_millis(100);

/// A listener and its threads. They stop when it is dropped.
pub(crate) struct TcpServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl TcpServer {
    pub(crate) fn start(service: Service) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let (service, stopped) = (service.clone(), Arc::clone(&stopped));
                // Errors are expected: the faults make clients close the connection.
                thread::spawn(move || drop(serve(stream, &service, &stopped)));
            }
        });
        Ok(Self { address, stop })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TcpServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A connection wakes the listener, so that it reads the flag.
        drop(TcpStream::connect(self.address));
    }
}

/// Serves one request, and closes the connection.
fn serve(mut stream: TcpStream, service: &Service, stop: &AtomicBool) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_write_timeout(Some(Duration::from_secs(30)))?;
    stream.set_nodelay(true)?;
    let Some(request) = read_request(&mut stream)? else {
        return Ok(());
    };
    let response = service.respond(&request, SystemTime::now());
    let fault = response.extensions().get::<Fault>().copied();
    let length = (fault != Some(Fault::DrippingBody)).then(|| response.body().len());
    let head = head(&response, length);
    let body = response.into_body();
    let half = body.len() / 2;
    match fault {
        Some(Fault::ClosedBeforeHeaders) => Ok(()),
        Some(Fault::ResetBeforeHeaders) => reset(stream),
        Some(Fault::ResetInHeaders) => {
            stream.write_all(&head[..head.len() / 2])?;
            wait_for_arrival();
            reset(stream)
        }
        Some(Fault::ResetInBody) => {
            stream.write_all(&head)?;
            stream.write_all(&body[..half])?;
            wait_for_arrival();
            reset(stream)
        }
        Some(Fault::TruncatedBody) => {
            stream.write_all(&head)?;
            stream.write_all(&body[..half])?;
            stream.shutdown(Shutdown::Write)?;
            until_closed(&mut stream, stop)
        }
        Some(Fault::NeverAnswers) => until_closed(&mut stream, stop),
        Some(Fault::Trickle) => {
            stream.write_all(&head)?;
            drip(&mut stream, body, TRICKLE, stop)
        }
        Some(Fault::DrippingHeaders) => {
            let bytes = b"HTTP/1.1 200 OK\r\nx-endless: ".iter().copied().chain(iter::repeat(b'x'));
            drip(&mut stream, bytes, DRIP, stop)
        }
        Some(Fault::DrippingBody) => {
            stream.write_all(&head)?;
            drip(&mut stream, body.into_iter().chain(iter::repeat(b' ')), DRIP, stop)
        }
        Some(Fault::EndlessInformational) => {
            while !stop.load(Ordering::Relaxed) {
                stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")?;
                thread::sleep(INFORMATIONAL);
            }
            Ok(())
        }
        _ => {
            stream.write_all(&head)?;
            stream.write_all(&body)?;
            stream.shutdown(Shutdown::Write)?;
            until_closed(&mut stream, stop)
        }
    }
}

/// Sends one byte at a time, until the server stops.
fn drip(
    stream: &mut TcpStream,
    bytes: impl IntoIterator<Item = u8>,
    pause: Duration,
    stop: &AtomicBool,
) -> io::Result<()> {
    for byte in bytes {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        stream.write_all(&[byte])?;
        thread::sleep(pause);
    }
    Ok(())
}

/// Reads a request. Returns `None` if it is not HTTP, such as the start of a TLS handshake.
fn read_request(stream: &mut TcpStream) -> io::Result<Option<Request<Bytes>>> {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 || head.len() > MAX_HEAD {
            return Ok(None);
        }
        head.extend_from_slice(&buffer[..count]);
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(&head) {
            Ok(httparse::Status::Partial) => {}
            Err(_) => return Ok(None),
            Ok(httparse::Status::Complete(start)) => {
                let mut request = Request::builder()
                    .method(parsed.method.unwrap_or_default())
                    .uri(parsed.path.unwrap_or_default());
                for header in parsed.headers.iter() {
                    request = request.header(header.name, header.value);
                }
                let length =
                    parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
                let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok());
                let body = read_body(stream, head.split_off(start), length.unwrap_or(0))?;
                return Ok(body.and_then(|body| request.body(body).ok()));
            }
        }
    }
}

/// Reads the rest of a body; `read` arrived with the head. Returns `None` if the body is too large or incomplete.
fn read_body(stream: &mut TcpStream, mut read: Vec<u8>, length: usize) -> io::Result<Option<Bytes>> {
    if length > MAX_BODY {
        return Ok(None);
    }
    let mut buffer = [0; 4096];
    while read.len() < length {
        match stream.read(&mut buffer)? {
            0 => return Ok(None),
            count => read.extend_from_slice(&buffer[..count]),
        }
    }
    read.truncate(length);
    Ok(Some(read.into()))
}

/// Builds status line and headers. Without a length, the body ends with the connection.
fn head(response: &Response<Bytes>, length: Option<usize>) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    if let Some(length) = length {
        head.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
    }
    head.extend_from_slice(b"connection: close\r\n\r\n");
    head
}

/// Closes the connection with a reset.
fn reset(stream: TcpStream) -> io::Result<()> {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    drop(stream);
    Ok(())
}

/// Gives the client time to read what was written: a reset discards unread data.
fn wait_for_arrival() {
    thread::sleep(Duration::from_millis(20));
}

/// Keeps the connection open until the client closes it or the server stops.
fn until_closed(stream: &mut TcpStream, stop: &AtomicBool) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    let mut buffer = [0; 1024];
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
