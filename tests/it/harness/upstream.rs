//! An application at the far end, played by a script over bare TCP: it sees exactly the bytes that
//! were sent to it, and can answer what no proper server would.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use super::PATIENCE;

/// A scripted application. Ends when it is dropped.
pub(crate) struct Upstream {
    address: SocketAddr,
    seen: Arc<Seen>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    connections: Vec<TcpStream>,
    ended: bool,
}

impl Upstream {
    /// Plays `script` on each connection, the first being number 0.
    pub(crate) fn play(
        script: impl Fn(&mut Connection) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let acceptor = thread::spawn({
            let (seen, script) = (Arc::clone(&seen), Arc::new(script));
            move || accept(&listener, &seen, &script)
        });
        Self { address, seen, acceptor: Some(acceptor) }
    }

    /// Answers every request with what `answer` makes of it, on kept connections.
    pub(crate) fn answering(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::play(move |connection| {
            while let Some(request) = connection.request()? {
                connection.send(&answer(&request))?;
            }
            Ok(())
        })
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// As the config names it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests read so far, in the order in which they were complete.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.state.lock().unwrap().requests.clone()
    }

    /// Waits until `count` requests were read, and returns them.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Request> {
        let state = self.seen.state.lock().unwrap();
        let fewer = |state: &mut State| state.requests.len() < count;
        let (state, _) = self.seen.changed.wait_timeout_while(state, PATIENCE, fewer).unwrap();
        assert!(state.requests.len() >= count, "waited for {count}, got {:#?}", state.requests);
        state.requests.clone()
    }

    /// How many connections were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.seen.state.lock().unwrap().connections.len()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let mut state = self.seen.state.lock().unwrap();
        state.ended = true;
        for connection in &state.connections {
            // It may have ended by itself.
            drop(connection.shutdown(Shutdown::Both));
        }
        drop(state);
        // Wakes the acceptor, which then sees that it is over.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take()
            && acceptor.join().is_err()
            && !thread::panicking()
        {
            panic!("the upstream's script failed");
        }
    }
}

fn accept<S>(listener: &TcpListener, seen: &Arc<Seen>, script: &Arc<S>)
where
    S: Fn(&mut Connection) -> io::Result<()> + Send + Sync + 'static,
{
    let mut players = Vec::new();
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        let mut state = seen.state.lock().unwrap();
        if state.ended {
            break;
        }
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let number = state.connections.len();
        state.connections.push(stream.try_clone().unwrap());
        drop(state);
        let reader = BufReader::new(stream.try_clone().unwrap());
        let (seen, script) = (Arc::clone(seen), Arc::clone(script));
        let mut connection = Connection { number, reader, stream, seen };
        players.push(thread::spawn(move || {
            // A peer that goes away in the middle is a thing that tests do; what the script asserts
            // ends the thread by a panic.
            drop(script(&mut connection));
            drop(connection.stream.shutdown(Shutdown::Both));
        }));
    }
    for player in players {
        player.join().unwrap();
    }
}

/// One connection, as the script sees it.
pub(crate) struct Connection {
    /// Which one it is, from 0.
    pub(crate) number: usize,
    reader: BufReader<TcpStream>,
    stream: TcpStream,
    seen: Arc<Seen>,
}

impl Connection {
    /// Reads a whole request and records it. `None` when the peer has closed.
    pub(crate) fn request(&mut self) -> io::Result<Option<Request>> {
        let Some(head) = self.head()? else { return Ok(None) };
        let (body, trailers) = (Vec::new(), String::new());
        let mut request = Request { connection: self.number, head, body, trailers };
        let chunked = request.field("transfer-encoding").iter().any(|v| v.contains("chunked"));
        if chunked {
            (request.body, request.trailers) = self.chunked()?;
        } else if let [length] = request.field("content-length").as_slice() {
            request.body = self.bytes(length.parse().unwrap())?;
        }
        self.record(request.clone());
        Ok(Some(request))
    }

    /// Reads up to the end of a head, blank line included, and records nothing.
    pub(crate) fn head(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if self.reader.read_until(b'\n', &mut head)? == 0 {
                return Ok(None);
            }
        }
        Ok(Some(head))
    }

    /// Reads exactly so many bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads until the peer sends no more.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends bytes on a thread of their own, while the script goes on reading.
    pub(crate) fn send_aside(&self, bytes: Vec<u8>) -> io::Result<JoinHandle<io::Result<()>>> {
        let mut stream = self.stream.try_clone()?;
        Ok(thread::spawn(move || stream.write_all(&bytes)))
    }

    /// The data, and all that came behind the last chunk's line but for a mere end.
    fn chunked(&mut self) -> io::Result<(Vec<u8>, String)> {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line)?;
            let size = line.trim_end().split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
            body.extend(self.bytes(size)?);
            if size == 0 {
                let mut trailers = String::new();
                while !matches!(line.as_str(), "\r\n" | "") {
                    line.clear();
                    self.reader.read_line(&mut line)?;
                    trailers.push_str(&line);
                }
                return Ok((body, if trailers == "\r\n" { String::new() } else { trailers }));
            }
            assert_eq!(self.bytes(2)?, b"\r\n", "a chunk ends in a line end");
        }
    }

    fn record(&self, request: Request) {
        self.seen.state.lock().unwrap().requests.push(request);
        self.seen.changed.notify_all();
    }
}

/// A request, as it came.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// The connection that it came on.
    pub(crate) connection: usize,
    /// The exact bytes from the request line to the blank line, both included.
    pub(crate) head: Vec<u8>,
    /// The body without its framing.
    pub(crate) body: Vec<u8>,
    /// The lines behind the last chunk, with the empty one; empty if there are none.
    pub(crate) trailers: String,
}

impl Request {
    /// Method, target and version.
    pub(crate) fn line(&self) -> String {
        self.text().lines().next().unwrap_or_default().to_owned()
    }

    /// The values of a field, in order; the name in any case.
    pub(crate) fn field(&self, name: &str) -> Vec<String> {
        let fields = self.fields().into_iter();
        fields
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    /// All fields, in order and spelled as they came.
    pub(crate) fn fields(&self) -> Vec<(String, String)> {
        let text = self.text();
        let lines = text.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.head).into_owned()
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{} {} + {} bytes", self.connection, self.text(), self.body.len())
    }
}

/// The bytes of an ordinary response with further fields (`"Name: value"`) and a body.
pub(crate) fn response(status: &str, fields: &[&str], body: &str) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for field in fields {
        head.push_str(field);
        head.push_str("\r\n");
    }
    format!("{head}\r\n{body}").into_bytes()
}
