//! Bounds what a client can have under way: [`Bounded`].

use std::{
    collections::HashSet,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rmcp::{
    ErrorData, RoleServer,
    model::{ClientNotification, ErrorCode, JsonRpcMessage, RequestId},
    service::{RxJsonRpcMessage, TxJsonRpcMessage},
    transport::Transport,
};
use tokio::sync::Notify;

/// How many requests wait for their responses at a time, also for responses that the client does not read.
const MAX_REQUESTS: usize = 64;
/// In the range that JSON-RPC leaves to servers.
const BUSY: ErrorCode = ErrorCode(-32_000);

type Sending = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// A transport that refuses requests if there are too many, and ends when the client does not read any more.
pub(super) struct Bounded<T> {
    inner: T,
    /// The requests that have no response yet.
    open: Arc<Mutex<HashSet<RequestId>>>,
    /// The response that refuses a request.
    refusing: Option<Sending>,
    /// The client has closed its end.
    broken: Arc<Notify>,
}

impl<T> Bounded<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { inner, open: Arc::default(), refusing: None, broken: Arc::default() }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Transport<RoleServer, Error = io::Error>> Bounded<T> {
    /// The next message that is not refused. If this future is dropped, no message is lost.
    async fn next(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            if let Some(sending) = &mut self.refusing {
                let sent = sending.await;
                self.refusing = None;
                sent.ok()?;
            }
            let message = self.inner.receive().await?;
            match &message {
                JsonRpcMessage::Request(request) => {
                    let is_full = {
                        let mut open = lock(&self.open);
                        open.len() >= MAX_REQUESTS || !open.insert(request.id.clone())
                    };
                    if is_full {
                        let text = format!(
                            "more than {MAX_REQUESTS} requests at a time, or an id that is in use; try again later"
                        );
                        let error = ErrorData::new(BUSY, text, None);
                        let refusal = JsonRpcMessage::error(error, Some(request.id.clone()));
                        self.refusing = Some(Box::pin(self.inner.send(refusal)));
                        continue;
                    }
                }
                // A cancelled request gets no response.
                JsonRpcMessage::Notification(notification) => {
                    if let ClientNotification::CancelledNotification(cancelled) = &notification.notification
                        && let Some(id) = &cancelled.params.request_id
                    {
                        lock(&self.open).remove(id);
                    }
                }
                _ => {}
            }
            return Some(message);
        }
    }
}

impl<T: Transport<RoleServer, Error = io::Error>> Transport<RoleServer> for Bounded<T> {
    type Error = io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let answered = match &message {
            JsonRpcMessage::Response(response) => Some(response.id.clone()),
            JsonRpcMessage::Error(error) => error.id.clone(),
            _ => None,
        };
        let sending = self.inner.send(message);
        let (open, broken) = (Arc::clone(&self.open), Arc::clone(&self.broken));
        async move {
            let sent = sending.await;
            if let Some(id) = &answered {
                lock(&open).remove(id);
            }
            if sent.is_err() {
                broken.notify_one();
            }
            sent
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        let broken = Arc::clone(&self.broken);
        tokio::select! {
            biased;
            () = broken.notified() => None,
            message = self.next() => message,
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        self.inner.close().await
    }
}

#[cfg(test)]
mod tests {
    use rmcp::{
        model::{EmptyResult, ServerResult},
        transport::async_rw::AsyncRwTransport,
    };
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

    use super::*;

    #[tokio::test]
    async fn requests_are_refused_while_too_many_have_no_response() {
        let (client, server) = tokio::io::duplex(1024 * 1024);
        let (read, write) = tokio::io::split(server);
        let mut transport = Bounded::new(AsyncRwTransport::new_server(read, write));
        let (answers, mut requests) = tokio::io::split(client);
        let mut answers = BufReader::new(answers).lines();
        let ping = |id: usize| format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"ping\"}}\n");
        for id in 0..=MAX_REQUESTS {
            requests.write_all(ping(id).as_bytes()).await.unwrap();
        }
        for _ in 0..MAX_REQUESTS {
            assert!(transport.receive().await.is_some());
        }
        let refusal = tokio::select! {
            refusal = answers.next_line() => refusal.unwrap().unwrap(),
            message = transport.receive() => panic!("{message:?}"),
        };
        assert!(
            refusal.contains("-32000") && refusal.contains(&format!("\"id\":{MAX_REQUESTS}")),
            "{refusal}"
        );

        let response = ServerResult::EmptyResult(EmptyResult {});
        transport.send(JsonRpcMessage::response(response, RequestId::Number(0))).await.unwrap();
        let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
        let more = format!("{}{cancel}\n{}{}", ping(100), ping(101), ping(102));
        requests.write_all(more.as_bytes()).await.unwrap();
        for _ in 0..3 {
            assert!(transport.receive().await.is_some());
        }
        requests.shutdown().await.unwrap();
        assert!(transport.receive().await.is_none(), "the last one is refused");
        drop(transport);
        let mut last = String::new();
        while let Some(line) = answers.next_line().await.unwrap() {
            last = line;
        }
        assert!(last.contains("\"id\":102") && last.contains("-32000"), "{last}");
    }
}
