//! One connection: hyper speaks HTTP, until a fault of the delivery takes the socket and writes to it by hand.

use std::{convert::Infallible, future, io, iter, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::{
    answer::Outcome,
    fault::Fault,
    page::{Events, Live},
};

/// The largest request head and body that are read, in bytes.
const MAX_HEAD: usize = 64 * 1024;
const MAX_BODY: usize = 1024 * 1024;
/// How long a connection may be idle, and how long the head and the body of a request may take.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause between two bytes of an answer that trickles, or that drips.
const TRICKLE: Duration = Duration::from_millis(20);
const DRIP: Duration = Duration::from_secs(1);
/// The pause between two informational responses.
const INFORMATIONAL: Duration = Duration::from_millis(100);
/// The time that the client has to read what was written before a reset, which discards unread data.
const ARRIVAL: Duration = Duration::from_millis(20);

/// Answers a request.
pub(crate) type Handler = Box<dyn Fn(Request<Bytes>) -> Response<Bytes> + Send + Sync>;

/// A whole body, or one that follows what happens.
type Body = Either<Full<Bytes>, Events>;
type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// Serves a connection to its end.
pub(crate) async fn serve(stream: TcpStream, handler: Arc<Handler>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (sender, mut faults) = mpsc::channel(1);
    let service = service_fn(move |request: Request<Incoming>| -> Answer {
        let (handler, sender) = (Arc::clone(&handler), sender.clone());
        Box::pin(async move {
            let response = match read(request).await {
                Ok(request) => handler(request),
                Err((status, why)) => Outcome::plain(status, why).response,
            };
            if let Some(live) = response.extensions().get::<Live>().cloned() {
                return Ok(response.map(|_| Either::Right(Events::new(live))));
            }
            let Some(fault) = response.extensions().get::<Fault>().copied() else {
                return Ok(response.map(|body| Either::Left(Full::new(body))));
            };
            let _ = sender.send((fault, response)).await;
            future::pending().await
        })
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(READ_TIMEOUT).max_buf_size(MAX_HEAD);
    let mut connection = http.serve_connection(TokioIo::new(stream), service);
    let (fault, response) = tokio::select! {
        ended = &mut connection => return ended.map_err(io::Error::other),
        Some(taken) = faults.recv() => taken,
    };
    misdeliver(connection.into_parts().io.into_inner(), fault, response).await
}

/// Reads a request, within the limits.
async fn read(request: Request<Incoming>) -> Result<Request<Bytes>, (StatusCode, &'static str)> {
    let (head, body) = request.into_parts();
    match timeout(READ_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => Ok(Request::from_parts(head, body.to_bytes())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err((StatusCode::PAYLOAD_TOO_LARGE, "a body has at most 1 MiB"))
        }
        Ok(Err(_)) => Err((StatusCode::BAD_REQUEST, "the body of the request is not complete")),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body of the request did not arrive")),
    }
}

/// Delivers an answer with a fault, and closes the connection.
async fn misdeliver(mut stream: TcpStream, fault: Fault, response: Response<Bytes>) -> io::Result<()> {
    let length = (fault != Fault::DrippingBody).then(|| response.body().len());
    let head = head(&response, length);
    let body = response.into_body();
    let half = &body[..body.len() / 2];
    match fault {
        Fault::ResetBeforeHeaders => reset(&stream),
        Fault::ResetInHeaders => {
            stream.write_all(&head[..head.len() / 2]).await?;
            sleep(ARRIVAL).await;
            reset(&stream)
        }
        Fault::ResetInBody => {
            stream.write_all(&head).await?;
            stream.write_all(half).await?;
            sleep(ARRIVAL).await;
            reset(&stream)
        }
        Fault::TruncatedBody => {
            stream.write_all(&head).await?;
            stream.write_all(half).await?;
            stream.shutdown().await?;
            until_closed(&mut stream).await
        }
        Fault::NeverAnswers => until_closed(&mut stream).await,
        Fault::Trickle => {
            stream.write_all(&head).await?;
            drip(&mut stream, body, TRICKLE).await
        }
        Fault::DrippingHeaders => {
            let bytes = b"HTTP/1.1 200 OK\r\nx-endless: ".iter().copied().chain(iter::repeat(b'x'));
            drip(&mut stream, bytes, DRIP).await
        }
        Fault::DrippingBody => {
            stream.write_all(&head).await?;
            drip(&mut stream, body.into_iter().chain(iter::repeat(b' ')), DRIP).await
        }
        Fault::EndlessInformational => loop {
            stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await?;
            sleep(INFORMATIONAL).await;
        },
        // Closed before the headers. No other fault is one of the delivery.
        _ => Ok(()),
    }
}

/// Sends one byte at a time.
async fn drip(
    stream: &mut TcpStream,
    bytes: impl IntoIterator<Item = u8>,
    pause: Duration,
) -> io::Result<()> {
    for byte in bytes {
        stream.write_all(&[byte]).await?;
        sleep(pause).await;
    }
    Ok(())
}

/// Status line and headers. Without a length, the body ends with the connection.
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

/// Makes closing the connection a reset.
fn reset(stream: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

/// Keeps the connection open until the client closes it.
async fn until_closed(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 1024];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
