//! A door for the fuzz target `journey`: a client whose bytes come through memory; in no other build.

use std::rc::Rc;

use tokio::io::DuplexStream;

use super::{ConnectionPermit, Connections, Held, Opened};
use crate::message::arrival::Arrival;

impl Connections {
    /// Serves a client as if its handshake were done, and HTTP/2 agreed on where `arrival` says so.
    pub fn serve_memory(self: &Rc<Self>, stream: DuplexStream, arrival: Arrival) {
        let (alive, _) = tokio::sync::mpsc::channel(1);
        let held = Held { _alive: alive, opened: Opened::new(&self.metrics), peer: arrival.peer };
        match arrival.h2 {
            true => Rc::clone(self).http2(stream, arrival, ConnectionPermit::free(), held),
            false => Rc::clone(self).http1(stream, arrival, ConnectionPermit::free(), held),
        }
    }
}
