//! A stream of server-sent events: [`Events`] is the body of its response.

use std::{
    convert::Infallible,
    fmt::Write as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Interval, MissedTickBehavior, interval},
};

/// How often the page is rendered.
const INTERVAL: Duration = Duration::from_millis(500);
/// After so many renderings without a change (10 s), an empty comment shows whether the client is still there.
const MAX_UNCHANGED: u32 = 20;

/// What a stream sends, and its permit. The connection finds it among the extensions of a response.
#[derive(Clone)]
pub(crate) struct Live {
    render: Arc<dyn Fn() -> String + Send + Sync>,
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Live {
    pub(super) fn new(
        render: impl Fn() -> String + Send + Sync + 'static,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self { render: Arc::new(render), _permit: Arc::new(permit) }
    }
}

/// Sends the rendered text whenever it has changed. The connection pulls the next event when the client has taken the
/// last, and drops the stream with the client.
pub(crate) struct Events {
    live: Live,
    interval: Interval,
    sent: String,
    unchanged: u32,
}

impl Events {
    pub(crate) fn new(live: Live) -> Self {
        let mut interval = interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { live, interval, sent: String::new(), unchanged: 0 }
    }

    fn next(&mut self) -> Option<Bytes> {
        let text = (self.live.render)();
        if text != self.sent {
            self.sent = text;
            self.unchanged = 0;
            return Some(event(&self.sent));
        }
        self.unchanged += 1;
        if self.unchanged < MAX_UNCHANGED {
            return None;
        }
        self.unchanged = 0;
        Some(Bytes::from_static(b":\n\n"))
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            ready!(self.interval.poll_tick(context));
            if let Some(event) = self.next() {
                return Poll::Ready(Some(Ok(Frame::data(event))));
            }
        }
    }
}

/// Writes a text as one event. Only line feeds end its lines: the page has no other control characters.
fn event(text: &str) -> Bytes {
    let mut event = String::with_capacity(text.len() + text.len() / 8);
    for line in text.lines() {
        // Writing to a `String` cannot fail.
        let _ = writeln!(event, "data: {line}");
    }
    event.push('\n');
    event.into()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use http_body_util::BodyExt;
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_event_is_sent_when_the_text_changes() {
        let text = Arc::new(Mutex::new("<p>\na".to_owned()));
        let rendered = Arc::clone(&text);
        let streams = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&streams).try_acquire_owned().unwrap();
        let live = Live::new(move || rendered.lock().unwrap().clone(), permit);
        let mut events = Events::new(live);
        let mut next = async || events.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(next().await, "data: <p>\ndata: a\n\n");
        // Nothing changes: only a comment comes.
        assert_eq!(next().await, ":\n\n");
        "b".clone_into(&mut text.lock().unwrap());
        assert_eq!(next().await, "data: b\n\n");
        assert_eq!(streams.available_permits(), 0);
        drop(events);
        assert_eq!(streams.available_permits(), 1);
    }
}
