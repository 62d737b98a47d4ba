//! A body that is copied while it is passed on: [`Observed`].

use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use super::exchange::{Exchange, Side};

/// For how long a body that is not complete may bring no further data.
const STALL_TIMEOUT: Duration = Duration::from_secs(120);

pub(super) struct Observed {
    body: Incoming,
    side: Side,
    /// Validated when the last body that holds it is gone.
    exchange: Arc<Exchange>,
    stall: Pin<Box<Sleep>>,
}

impl Observed {
    pub(super) fn new(body: Incoming, side: Side, exchange: Arc<Exchange>) -> Self {
        if body.is_end_stream() {
            exchange.complete(side);
        }
        Self { body, side, exchange, stall: Box::pin(tokio::time::sleep(STALL_TIMEOUT)) }
    }
}

impl Body for Observed {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                this.stall.as_mut().reset(Instant::now() + STALL_TIMEOUT);
                if let Some(data) = frame.data_ref() {
                    this.exchange.copy(this.side, data);
                }
                // The end of a body of known length is not polled.
                if this.body.is_end_stream() {
                    this.exchange.complete(this.side);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.exchange.fail(this.side, "the connection was closed before its end");
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                this.exchange.complete(this.side);
                Poll::Ready(None)
            }
            Poll::Pending => {
                std::task::ready!(this.stall.as_mut().poll(context));
                let reason = format!("no further data arrived for {} s", STALL_TIMEOUT.as_secs());
                this.exchange.fail(this.side, &reason);
                Poll::Ready(Some(Err(reason.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
