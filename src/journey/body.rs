//! The body of every answer. When it has been sent, or dropped, the access line is written.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::admit::Visit;
use super::grpc;
use crate::upstream::{Ending, ResponseBody};

/// What hyper takes as the error of a body.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What is sent, and what is told of it afterwards.
pub struct ReplyBody {
    content: Content,
    sent: u64,
    telling: Option<Telling>,
}

pub(super) struct Telling {
    pub(super) visit: Box<Visit>,
    pub(super) status: u16,
}

/// Our own words, or the upstream's.
pub(super) enum Content {
    Own(Bytes),
    Upstream(ResponseBody),
    /// Boxed: most answers are none, and all have room for the largest.
    Events(Box<Events>),
}

/// A stream of events, which ends with its session.
pub(super) struct Events {
    pub(super) body: ResponseBody,
    pub(super) stop: Stop,
    /// Whether it is gRPC's, which ends with trailers that say why.
    pub(super) grpc: bool,
}

/// Ready when a stream must end.
pub(super) type Stop = Pin<Box<dyn Future<Output = Ending>>>;

impl Content {
    pub(super) fn empty() -> Self {
        Self::Own(Bytes::new())
    }
}

impl ReplyBody {
    pub(super) fn new(content: Content, telling: Telling) -> Self {
        Self { content, sent: 0, telling: Some(telling) }
    }

    /// What a route takes out of answers, or says in them itself, is not said behind them either.
    fn change_trailers(&self, frame: &mut Frame<Bytes>) {
        let route = self.telling.as_ref().and_then(|telling| {
            let visit = &telling.visit;
            visit.journey.route_at(visit.route)
        });
        if let (Some(trailers), Some(route)) = (frame.trailers_mut(), route) {
            let changes = &route.manners.response;
            for name in changes.remove.iter().chain(changes.set.iter().map(|(name, _)| name)) {
                trailers.remove(name);
            }
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let mut frame = match &mut this.content {
            Content::Own(bytes) if bytes.is_empty() => None,
            Content::Own(bytes) => Some(Ok(Frame::data(std::mem::take(bytes)))),
            Content::Upstream(body) => {
                ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(BoxError::from))
            }
            Content::Events(events) => {
                if let Poll::Ready(why) = events.stop.as_mut().poll(cx) {
                    // No error: the page reconnects, and is then told to log in.
                    let end = events.grpc.then(|| Ok(Frame::trailers(grpc::ended(why))));
                    this.content = Content::empty();
                    end
                } else {
                    let frame = ready!(Pin::new(&mut events.body).poll_frame(cx));
                    frame.map(|frame| frame.map_err(BoxError::from))
                }
            }
        };
        match &mut frame {
            Some(Ok(frame)) => match frame.data_ref() {
                Some(data) => this.sent += data.len() as u64,
                None => this.change_trailers(frame),
            },
            Some(Err(_)) => {
                if let Some(telling) = &mut this.telling {
                    telling.visit.outcome = "upstream_cut";
                }
            }
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Own(bytes) => bytes.is_empty(),
            Content::Upstream(body) => body.is_end_stream(),
            Content::Events(events) => events.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Upstream(body) => body.size_hint(),
            Content::Events(events) => events.body.size_hint(),
        }
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        let Some(mut telling) = self.telling.take() else { return };
        let whole = self.is_end_stream() || telling.visit.method == http::Method::HEAD;
        if !whole && telling.visit.outcome == "ok" {
            telling.visit.outcome = "client_gone";
        }
        telling.visit.told = true;
        let journey = Rc::clone(&telling.visit.journey);
        journey.tell(&telling.visit, telling.status, self.sent);
    }
}
