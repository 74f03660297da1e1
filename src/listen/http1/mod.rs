//! HTTP/1.1 with a client: one request after the other is read, handed to the journey, and answered.
//!
//! What decides where a request ends is read strictly, and said anew to whom it goes on: no byte of a
//! client's framing is ever passed on.

#[cfg(any(test, fuzzing))]
mod by_pieces;
mod head;
mod reply;
#[cfg(test)]
mod tests;
mod wire;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, Version};
use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;
use tokio::sync::oneshot;

use super::accept::ConnectionPermit;
use super::pulse::Pulse;
use crate::deadline::Deadlines;
use crate::journey::{Journey, ReplyBody};
use crate::message::arrival::Arrival;
use crate::message::http1::lines::Known;
use crate::message::http1::outgoing::{Next, Outgoing, Unsent};
use crate::message::incoming::{ClientBody, Duplex, Switch};
use crate::observe::CoreMetrics;
#[cfg(fuzzing)]
pub use by_pieces::read_requests;
use head::Asking;
use head::Refusal;
use reply::{Announced, Manner};
pub(super) use wire::{Ended, Stream};
use wire::{Shared, Switched};

/// IMF-fixdate of RFC 9110 section 5.6.7, which is always so long.
const DATE: StaticFormatDescription = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);
const DATE_BYTES: usize = 29;

/// A map of fields with more room than this is not kept for the next request.
const KEPT_FIELDS: usize = 64;

/// What the connections of one core share.
#[derive(Debug)]
pub(super) struct Http1 {
    deadlines: Rc<Deadlines>,
    /// Bytes of a head, and its fields.
    most: (usize, usize),
    metrics: Arc<CoreMetrics>,
    /// `Date`, and the tick at which it was made.
    date: Cell<Option<(u32, [u8; DATE_BYTES])>>,
}

/// Why a connection did not end in good order.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The client has gone.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// There was no more of an answer.
    #[error("an answer broke off")]
    Answer,
}

/// What one request leaves to the next.
#[derive(Debug)]
struct Kept {
    ends: Vec<usize>,
    known: Known,
    fields: HeaderMap,
    outgoing: Outgoing,
}

impl Http1 {
    /// With heads of at most so many bytes, and so many fields.
    pub(super) fn new(
        deadlines: Rc<Deadlines>,
        most: (usize, usize),
        metrics: Arc<CoreMetrics>,
    ) -> Self {
        Self { deadlines, most, metrics, date: Cell::default() }
    }

    /// Serves one connection until it ends.
    pub(super) async fn serve<S: Stream>(
        self: Rc<Self>,
        (stream, permit): (S, ConnectionPermit),
        journey: Rc<Journey>,
        arrival: Rc<Arrival>,
        pulse: Pulse,
    ) -> Result<(), Broken> {
        let mut wire = Shared::new(stream, pulse.clone(), permit);
        let mut kept = Kept {
            ends: Vec::new(),
            known: Known::of_requests(),
            fields: HeaderMap::new(),
            outgoing: Outgoing::default(),
        };
        loop {
            let asking = match self.next(&wire, &mut kept).await? {
                Some(Ok(asking)) => asking,
                Some(Err(refusal)) => {
                    self.tell(refusal, &arrival);
                    let date = self.date(&journey);
                    reply::write_refusal(kept.outgoing.begin(Next::End), refusal, &date);
                    send(&mut wire, &mut kept.outgoing, ClientBody::Empty).await?;
                    break;
                }
                None => break,
            };
            pulse.busy(asking.framing.is_some());
            pulse.count();
            let mut manner = Manner {
                http11: asking.head.version == Version::HTTP_11,
                head_only: asking.head.method == Method::HEAD,
                last: !asking.keep_alive,
            };
            let trailers = asking.trailers;
            let (here, there) = asking.upgrades.then(switch).unzip();
            let body = wire.begin(asking.framing, asking.expects);
            let response = {
                let answer = Rc::clone(&journey);
                let answer = answer.answer((asking.head, body), here, Rc::clone(&arrival), |it| it);
                answered(&wire, answer).await?
            };
            let (head, body) = response.into_parts();
            let next = manner.framing(head.status, &body);
            let goes_on = poll_fn(|cx| Poll::Ready(wire.with(|wire| wire.answer(cx)))).await;
            manner.last |= pulse.is_last() || !goes_on || next == Next::ToClose;
            let date = self.date(&journey);
            let last = reply::write(kept.outgoing.begin(next), &head, manner, next, &date);
            let body = Announced::new(body, &head.headers, trailers && next == Next::Chunks);
            if head.headers.capacity() <= KEPT_FIELDS {
                kept.fields = head.headers;
            }
            send(&mut wire, &mut kept.outgoing, body).await?;
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                if let (Some(there), Some(switched)) = (there, wire.into_switched()) {
                    // Who has gone meanwhile has no use for it.
                    let _gone = there.send(switched);
                }
                return Ok(());
            }
            let settled = poll_fn(|cx| wire.with(|wire| wire.poll_settled(cx))).await;
            // The gateway may have begun to stop meanwhile.
            if last || pulse.is_last() || !settled {
                break;
            }
            pulse.idle();
        }
        Ok(close(&wire).await?)
    }

    /// The next request; `None` when the client has ended.
    async fn next<S: Stream>(
        &self,
        wire: &Shared<S>,
        kept: &mut Kept,
    ) -> io::Result<Option<Result<Asking, Refusal>>> {
        let Kept { ends, known, fields, .. } = kept;
        let block = poll_fn(|cx| wire.with(|wire| wire.poll_head(cx, ends, self.most))).await?;
        let read = |block: Bytes| head::read(&block, ends, known, std::mem::take(fields));
        Ok(block.map(|block| block.and_then(read)))
    }

    /// Counts what is no request, for nobody else does.
    fn tell(&self, refusal: Refusal, arrival: &Arrival) {
        self.metrics.rejection("unreadable");
        tracing::debug!(peer = %arrival.peer, error = %refusal, "what a client sent cannot be read");
    }

    /// The present second as `Date` says it, at most a tick late: no request asks the clock for it.
    fn date(&self, journey: &Journey) -> [u8; DATE_BYTES] {
        let tick = self.deadlines.ticks();
        if let Some((made, date)) = self.date.get()
            && made == tick
        {
            return date;
        }
        let now = OffsetDateTime::from_unix_timestamp(journey.now().secs());
        let text = now.unwrap_or(OffsetDateTime::UNIX_EPOCH).format(DATE).unwrap_or_default();
        let mut date = [b' '; DATE_BYTES];
        date.iter_mut().zip(text.bytes()).for_each(|(place, byte)| *place = byte);
        self.date.set(Some((tick, date)));
        date
    }
}

/// Both ends of a switch that may come of a request.
fn switch<S: Stream>() -> (Switch, oneshot::Sender<Switched<S>>) {
    let (there, here) = oneshot::channel();
    let here = Switch::new(async move {
        let switched = here.await.ok()?;
        Some(Box::new(switched) as Box<dyn Duplex>)
    });
    (here, there)
}

/// The answer, while its client is there to take it.
async fn answered<S: Stream>(
    wire: &Shared<S>,
    answer: impl Future<Output = Response<ReplyBody>>,
) -> io::Result<Response<ReplyBody>> {
    let mut answer = pin!(answer);
    poll_fn(|cx| match answer.as_mut().poll(cx) {
        Poll::Ready(response) => Poll::Ready(Ok(response)),
        Poll::Pending => match wire.with(|wire| wire.look(cx)) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        },
    })
    .await
}

/// Sends what has begun, and this body behind it.
async fn send<S: Stream>(
    wire: &mut Shared<S>,
    outgoing: &mut Outgoing,
    mut body: impl http_body::Body<Data = Bytes> + Unpin,
) -> Result<(), Broken> {
    poll_fn(|cx| match outgoing.poll(wire, &mut body, cx, &mut |_turn| ()) {
        Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
        Poll::Ready(Err(Unsent::Io(error))) => Poll::Ready(Err(error.into())),
        Poll::Ready(Err(Unsent::Body(_) | Unsent::Miscounted)) => Poll::Ready(Err(Broken::Answer)),
        Poll::Pending => match wire.with(|wire| wire.look(cx)) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error.into())),
        },
    })
    .await
}

async fn close<S: Stream>(wire: &Shared<S>) -> io::Result<()> {
    poll_fn(|cx| wire.with(|wire| wire.poll_close(cx))).await
}
