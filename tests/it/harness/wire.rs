//! A connection to the gateway on which a test writes bytes by hand, over real TLS.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::{Answer, PATIENCE};

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// One connection, HTTP/1.1 unless the settings' ALPN says otherwise.
pub(crate) struct Wire(BufReader<Stream>);

impl Wire {
    /// Connects to `address`, which must show the certificate that `tls` believes.
    pub(crate) fn open(address: SocketAddr, tls: &Arc<ClientConfig>) -> Self {
        Self::try_open(address, tls).unwrap()
    }

    /// The same where nobody may be listening any more.
    pub(crate) fn try_open(address: SocketAddr, tls: &Arc<ClientConfig>) -> io::Result<Self> {
        Self::open_after(address, tls, b"")
    }

    /// The same, with bytes of our own before the handshake, which is then waited for.
    pub(crate) fn open_after(
        address: SocketAddr,
        tls: &Arc<ClientConfig>,
        first: &[u8],
    ) -> io::Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        socket.write_all(first)?;
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(Arc::clone(tls), name).unwrap();
        Ok(Self(BufReader::new(StreamOwned::new(session, socket))))
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let stream = self.0.get_mut();
        stream.write_all(bytes.as_ref())?;
        stream.flush()
    }

    /// Closes our half, as TLS does (`close_notify`), and TCP too if `socket` says so.
    pub(crate) fn end(&mut self, socket: bool) {
        let stream = self.0.get_mut();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        if socket {
            stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
        }
    }

    /// Closes TCP's half without a word of TLS.
    pub(crate) fn break_off(&mut self) {
        self.0.get_mut().sock.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Waits until the handshake is done.
    pub(crate) fn handshake(&mut self) -> io::Result<()> {
        let stream = self.0.get_mut();
        stream.conn.complete_io(&mut stream.sock).map(drop)
    }

    /// Reads one response to a request of this method. `None`: the gateway closed instead.
    pub(crate) fn answer(&mut self, method: &str) -> io::Result<Option<Answer>> {
        loop {
            let Some(mut answer) = self.head()? else { return Ok(None) };
            // RFC 9110 section 15.2: any number of them may come before the one that counts.
            if (100..200).contains(&answer.status) && answer.status != 101 {
                continue;
            }
            if method != "HEAD" && !matches!(answer.status, 101 | 204 | 304) {
                self.body(&mut answer)?;
            }
            return Ok(Some(answer));
        }
    }

    /// Reads a response head, informational ones too.
    pub(crate) fn head(&mut self) -> io::Result<Option<Answer>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if self.line(&mut head)? == 0 {
                let whole = head.is_empty();
                return if whole { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap_or_default();
        let mut parts = status.split(' ');
        let version = parts.next().and_then(|version| version.strip_prefix("HTTP/"));
        let version = version.ok_or_else(|| io::Error::other(format!("no HTTP: {status}")))?;
        let code = parts.next().and_then(|code| code.parse().ok());
        let code = code.ok_or_else(|| io::Error::other(format!("no status: {status}")))?;
        Ok(Some(Answer {
            status: code,
            version: version.to_owned(),
            fields: lines.filter_map(field).collect(),
            ..Answer::default()
        }))
    }

    fn body(&mut self, answer: &mut Answer) -> io::Result<()> {
        let chunked = answer.field("transfer-encoding").contains(&"chunked");
        let length = answer.field("content-length").first().map(|length| length.parse());
        match (chunked, length) {
            (true, _) => self.chunks(answer)?,
            (false, Some(Ok(length))) => answer.body = self.bytes(length)?,
            (false, Some(Err(_))) => return Err(io::Error::other("a broken Content-Length")),
            (false, None) => answer.body = self.rest(),
        }
        Ok(())
    }

    fn chunks(&mut self, answer: &mut Answer) -> io::Result<()> {
        loop {
            let mut line = Vec::new();
            if self.line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let size = String::from_utf8_lossy(&line).trim_end().to_owned();
            let size = usize::from_str_radix(&size, 16).map_err(io::Error::other)?;
            answer.body.extend(self.bytes(size)?);
            if size > 0 {
                assert_eq!(self.bytes(2)?, b"\r\n", "a chunk ends in a line end");
                continue;
            }
            loop {
                let mut line = Vec::new();
                self.line(&mut line)?;
                match field(String::from_utf8_lossy(&line).trim_end()) {
                    Some(trailer) => answer.trailers.push(trailer),
                    None => return Ok(()),
                }
            }
        }
    }

    /// Reads exactly so many bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads until the gateway closes, however it does.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A connection that is cut has ended too; what came before is kept.
        match self.0.read_to_end(&mut bytes) {
            Err(error) if is_timeout(&error) => panic!("the gateway keeps the connection open"),
            _ => bytes,
        }
    }

    /// Waits until the gateway closes; fails if it sends anything before.
    pub(crate) fn must_close(mut self) {
        assert_eq!(String::from_utf8_lossy(&self.rest()), "", "nothing more was to come");
    }

    fn line(&mut self, line: &mut Vec<u8>) -> io::Result<usize> {
        match self.0.read_until(b'\n', line) {
            // Cut without a word: an end as good as any other, if it is no time-out.
            Err(error) if line.is_empty() && !is_timeout(&error) => Ok(0),
            read => read,
        }
    }
}

fn field(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.to_ascii_lowercase(), value.trim().to_owned()))
}

/// Whether nothing came for as long as a test waits.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
