//! A request's body that is awaited until the request is due, and no longer.
//!
//! The timer is only started for a body that is not there yet: nearly all arrive together with their headers.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use prometheus::IntCounter;
use tokio::time::Sleep;
use tonic::Status;

type BoxError = Box<dyn Error + Send + Sync>;

pub(super) struct DueBody {
    body: Incoming,
    /// `None`: it may take as long as the connection lives.
    due: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Counts the body if it does not come in time, where that is of interest.
    incomplete: Option<IntCounter>,
}

impl DueBody {
    pub(super) const fn new(
        body: Incoming,
        due: Option<Instant>,
        incomplete: Option<IntCounter>,
    ) -> Self {
        Self {
            body,
            due,
            timer: None,
            incomplete,
        }
    }
}

impl Body for DueBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let Some(due) = self.due else {
            return Poll::Pending;
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
        match timer.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                if let Some(incomplete) = &self.incomplete {
                    incomplete.inc();
                }
                let status = Status::deadline_exceeded(
                    "the request did not arrive in full before its deadline, so there was nothing to score",
                );
                Poll::Ready(Some(Err(status.into())))
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
