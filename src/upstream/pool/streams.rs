//! Exchanges that share a connection: HTTP/2 to an application.

use std::cell::Cell;
use std::future::{Future as _, poll_fn};
use std::rc::Rc;
use std::task::Poll;

use http_body::Body as _;
use hyper::client::conn::http2::SendRequest;

use super::super::body::{RequestBody, ResponseBody, Watch};
use super::super::connect::Connected;
use super::super::http2::{self, Open};
use super::super::{Inbound, Parts, UpstreamError};
use super::{LOOK_DEPTH, Pool, Slot};
use crate::config::Times;
use crate::deadline::End;
use crate::message::added::MARKER;
use crate::message::fields::strip_hop_by_hop;

/// A way to a server for one more exchange.
pub(super) struct Way {
    sender: SendRequest<RequestBody>,
    open: Open,
    server: usize,
}

impl Pool {
    /// A connection that carries many exchanges, and one more.
    pub(super) fn multiplexed(&self) -> Option<Way> {
        let count = self.servers.len();
        for offset in 0..count.min(LOOK_DEPTH) {
            let server = (self.turn.get() + offset) % count;
            let found = self.servers.get(server).and_then(|one| one.multiplexed.find());
            if let Some((sender, open)) = found {
                self.metrics.upstream_reuse(self.index);
                self.turn.set((server + 1) % count);
                return Some(Way { sender, open, server });
            }
        }
        None
    }

    pub(super) fn keep(&self, fresh: http2::Fresh, server: usize) -> Result<Way, UpstreamError> {
        let gone = || UpstreamError::Connect(std::io::ErrorKind::NotFound.into());
        let one = self.servers.get(server).ok_or_else(gone)?;
        let (sender, open) = one.multiplexed.add(fresh, self.deadlines.ticks());
        Ok(Way { sender, open, server })
    }

    /// One exchange among others on its connection.
    ///
    /// A connection that turns out to be closed gives the request back unsent, and another one is
    /// made: nothing of it can have been processed. In every other case it is sent once.
    pub(super) async fn send_stream(
        self: &Rc<Self>,
        mut request: Box<Parts>,
        mut way: Way,
        slot: Slot,
        (times, end): (&Times, End),
    ) -> Result<Inbound, UpstreamError> {
        let limit = times.first_byte;
        let deadline = self.deadlines.entry();
        let fault = Rc::new(Cell::new(None));
        if !request.body.is_end_stream() {
            let (server, fault) = (deadline.timer(), Rc::clone(&fault));
            request.body.watch(Watch { server, limit, end, fault });
        }
        let host = self.host_of(way.server);
        let mut request = http2::convert(*request, self.upstream.tls.is_some(), host);
        let mut fresh = false;
        let response = loop {
            deadline.arm_within(Some(limit), end);
            let mut answer = std::pin::pin!(way.sender.try_send_request(request));
            let answered = poll_fn(|cx| match answer.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(Ok(answer)),
                Poll::Pending => deadline.poll(cx).map(|()| {
                    way.open.silent();
                    Err(self.too_long(end))
                }),
            });
            match answered.await? {
                Ok(response) => break response,
                Err(mut unsent) => match unsent.take_message() {
                    Some(again) if !fresh => {
                        request = again;
                        fresh = true;
                        let (Connected::Two(sender), server) =
                            self.open(false, (times, end)).await?
                        else {
                            // It has changed its mind about what it speaks.
                            return Err(UpstreamError::Stream(unsent.into_error()));
                        };
                        way = self.keep(sender, server)?;
                    }
                    _ => {
                        return Err(match fault.get() {
                            Some(fault) => UpstreamError::RequestBody(fault),
                            None => UpstreamError::Stream(unsent.into_error()),
                        });
                    }
                },
            }
        };
        let (idle, deadlines) = ((times.idle, end), Rc::clone(&self.deadlines));
        let held = (way.open, slot);
        let mut response =
            response.map(|incoming| ResponseBody::stream(incoming, held, idle, deadlines));
        strip_hop_by_hop(response.headers_mut());
        response.headers_mut().remove(MARKER);
        Ok(response)
    }
}
