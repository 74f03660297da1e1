//! A way to a server that a test can cut.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A way to a server that can be cut, as when the server is stopped: connections end, and new ones
/// are closed at once. It can keep what the server says of its own accord to itself, as an engine
/// does that knows no NOTIFY.
pub(crate) struct Relay {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    shut: AtomicBool,
    mute: AtomicBool,
    /// Connections that came.
    came: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// One before this server.
    pub(crate) fn before(server: impl ToSocketAddrs) -> Self {
        let server = server.to_socket_addrs().unwrap().next().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<State>::default();
        let relay = Self { address, state: Arc::clone(&state) };
        // Ends with the test's process.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                state.came.fetch_add(1, Ordering::SeqCst);
                if state.shut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(server) else { continue };
                for (from, to, answers) in [(&client, &server, false), (&server, &client, true)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    state.open.lock().unwrap().push(from.try_clone().unwrap());
                    let mute = answers && state.mute.load(Ordering::SeqCst);
                    thread::spawn(move || pour(from, to, mute));
                }
            }
        });
        relay
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections came, let through or not, since this was asked the last time.
    pub(crate) fn came(&self) -> usize {
        self.state.came.swap(0, Ordering::SeqCst)
    }

    /// Keeps notifications back on every connection that is made from now on.
    pub(crate) fn mute(&self) {
        self.state.mute.store(true, Ordering::SeqCst);
    }

    /// Lets connections through, or cuts and refuses them.
    pub(crate) fn open(&self, open: bool) {
        self.state.shut.store(!open, Ordering::SeqCst);
        if !open {
            for stream in self.state.open.lock().unwrap().drain(..) {
                // It may have ended by itself.
                drop(stream.shutdown(Shutdown::Both));
            }
        }
    }
}

fn pour(mut from: TcpStream, mut to: TcpStream, mute: bool) {
    let poured =
        if mute { answers(&mut from, &mut to) } else { io::copy(&mut from, &mut to).map(drop) };
    // However it ended, the other side is to know.
    drop(poured);
    drop(to.shutdown(Shutdown::Both));
}

/// Passes on the messages of a server without TLS, but for its notifications.
fn answers(from: &mut TcpStream, to: &mut TcpStream) -> io::Result<()> {
    loop {
        let mut head = [0; 5];
        from.read_exact(&mut head)?;
        let length = u32::from_be_bytes(head[1..].try_into().unwrap());
        let mut body = vec![0; usize::try_from(length).unwrap() - 4];
        from.read_exact(&mut body)?;
        if head[0] != b'A' {
            to.write_all(&[&head, body.as_slice()].concat())?;
        }
    }
}
