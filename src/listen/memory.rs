//! A door for the fuzz target `journey`: a client whose bytes come through memory; in no other build.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{BufReader, DuplexStream};

use super::{ConnectionPermit, Connections, Held, Opened};
use crate::listen::http1::Ended;
use crate::message::arrival::Arrival;

impl Ended for BufReader<DuplexStream> {
    /// Found out when it is read from.
    fn poll_ended(&mut self, _: &mut Context<'_>) -> Poll<io::Result<bool>> {
        Poll::Pending
    }
}

impl Connections {
    /// Serves a client as if its handshake were done, and HTTP/2 agreed on where `arrival` says so.
    pub fn serve_memory(self: &Rc<Self>, stream: DuplexStream, arrival: Arrival) {
        let (alive, _) = tokio::sync::mpsc::channel(1);
        let held = Held { _alive: alive, opened: Opened::new(&self.metrics), peer: arrival.peer };
        match arrival.h2 {
            true => Rc::clone(self).http2(stream, arrival, ConnectionPermit::free(), held),
            false => Rc::clone(self).http1(
                BufReader::new(stream),
                arrival,
                ConnectionPermit::free(),
                held,
            ),
        }
    }
}
