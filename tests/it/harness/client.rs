//! A browser without a screen: HTTP/1.1 or HTTP/2 over TLS, with a jar of cookies.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sallyport::clock::Clock;
use serde_json::Value;

use super::{Answer, Jar, Wire};

/// The host that clients ask for, whatever port the gateway really has.
pub(crate) const HOST: &str = "localhost:8443";
/// The origin that goes with it.
pub(crate) const ORIGIN: &str = "https://localhost:8443";

/// One browser at one gateway.
pub(crate) struct Client {
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    clock: Clock,
    /// Its cookies.
    pub(crate) jar: Jar,
    h2: bool,
    wire: Option<Wire>,
    stream: Option<Http2>,
}

struct Http2 {
    runtime: tokio::runtime::Runtime,
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    /// A client that believes the certificate in this PEM file and nothing else.
    pub(crate) fn new(address: SocketAddr, certificate: &Path, clock: Clock) -> Self {
        let pem = fs::read(certificate).unwrap();
        let certificate = CertificateDer::from_pem_slice(&pem).unwrap();
        let (jar, h2, wire, stream) = (Jar::default(), false, None, None);
        Self { address, certificate, clock, jar, h2, wire, stream }
    }

    /// The same, speaking HTTP/2.
    pub(crate) fn over_h2(mut self) -> Self {
        self.h2 = true;
        self
    }

    /// Another client with a copy of these cookies and a connection of its own.
    pub(crate) fn twin(&self) -> Self {
        let (certificate, clock) = (self.certificate.clone(), self.clock.clone());
        let (address, jar, h2) = (self.address, self.jar.clone(), self.h2);
        Self { address, certificate, clock, jar, h2, wire: None, stream: None }
    }

    /// A connection to write on by hand.
    pub(crate) fn wire(&self) -> Wire {
        Wire::open(self.address, &self.tls(b"http/1.1"))
    }

    /// The same where nobody may be listening any more; the handshake is done.
    pub(crate) fn try_wire(&self) -> io::Result<Wire> {
        let mut wire = Wire::try_open(self.address, &self.tls(b"http/1.1"))?;
        wire.handshake()?;
        Ok(wire)
    }

    /// The same, with bytes of our own before the handshake.
    pub(crate) fn wire_after(&self, first: &[u8]) -> io::Result<Wire> {
        Wire::open_after(self.address, &self.tls(b"http/1.1"), first)
    }

    /// The same for HTTP/2.
    pub(crate) fn try_h2_wire(&self) -> io::Result<Wire> {
        let mut wire = Wire::try_open(self.address, &self.tls(b"h2"))?;
        wire.handshake()?;
        Ok(wire)
    }

    /// A connection on which HTTP/2 was agreed to, to write frames on by hand.
    pub(crate) fn h2_wire(&self) -> Wire {
        Wire::open(self.address, &self.tls(b"h2"))
    }

    /// Writes one request by hand on a connection of its own, and reads its answer.
    pub(crate) fn raw(&self, request: impl AsRef<[u8]>) -> Option<Answer> {
        let mut wire = self.wire();
        let request = request.as_ref();
        let method = request.split(|byte| *byte == b' ').next().unwrap_or_default();
        let method = String::from_utf8_lossy(method).into_owned();
        // The gateway may have said no, and closed, before it has all of it.
        drop(wire.send(request));
        wire.answer(&method).unwrap()
    }

    /// Begins a request.
    pub(crate) fn ask<'c>(&'c mut self, method: &'c str, path: &'c str) -> Ask<'c> {
        Ask { client: self, method, path, fields: Vec::new(), body: None, cookies: true }
    }

    /// A GET as programs send it.
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path).send()
    }

    /// A GET as browsers send it for a page.
    pub(crate) fn open(&mut self, path: &str) -> Answer {
        self.ask("GET", path)
            .field("Accept", "text/html,*/*;q=0.8")
            .field("Sec-Fetch-Mode", "navigate")
            .field("Sec-Fetch-Dest", "document")
            .field("Sec-Fetch-Site", "none")
            .send()
    }

    /// A POST without a body, as a script of our own pages sends it.
    pub(crate) fn post(&mut self, path: &str) -> Answer {
        self.ask("POST", path).field("Origin", ORIGIN).send()
    }

    /// Logs in by JSON.
    pub(crate) fn log_in(&mut self, name: &str, password: &str, remember: bool) -> Answer {
        let body = serde_json::json!({
            "username": name, "password": password, "remember": remember
        });
        self.ask("POST", "/auth/login").json(&body).send()
    }

    fn tls(&self, protocol: &[u8]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        // Tests ask for hosts that the certificate of localhost does not have.
        config.enable_sni = false;
        Arc::new(config)
    }

    fn exchange(&mut self, request: &Written<'_>) -> io::Result<Answer> {
        if self.h2 {
            return Ok(self.exchange_h2(request));
        }
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => Wire::try_open(self.address, &self.tls(b"http/1.1"))?,
        };
        let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.path).into_bytes();
        for (name, value) in &request.fields {
            head.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        if let Some(body) = &request.body {
            head.extend(format!("Content-Length: {}\r\n", body.len()).into_bytes());
        }
        head.extend(b"\r\n");
        head.extend(request.body.iter().flatten());
        drop(wire.send(&head));
        let answer = wire.answer(request.method)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if !answer.field("connection").contains(&"close") {
            self.wire = Some(wire);
        }
        Ok(answer)
    }

    fn exchange_h2(&mut self, request: &Written<'_>) -> Answer {
        let Http2 { runtime, mut sender } = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect_h2(),
        };
        let mut made =
            http::Request::builder().method(request.method).version(http::Version::HTTP_2);
        let mut host = "";
        for (name, value) in &request.fields {
            if name.eq_ignore_ascii_case("host") {
                host = std::str::from_utf8(value).unwrap();
            } else {
                made = made.header(name.to_ascii_lowercase(), value.as_slice());
            }
        }
        let body = Full::new(Bytes::from(request.body.clone().unwrap_or_default()));
        let made = made.uri(format!("https://{host}{}", request.path)).body(body).unwrap();
        let answer = runtime.block_on(async {
            let (head, body) = sender.send_request(made).await.unwrap().into_parts();
            let text =
                |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            let fields = |map: &http::HeaderMap| {
                map.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
            };
            let body = body.collect().await.unwrap();
            let trailers = body.trailers().map(fields).unwrap_or_default();
            Answer {
                status: head.status.as_u16(),
                version: "2".to_owned(),
                fields: fields(&head.headers),
                body: body.to_bytes().to_vec(),
                trailers,
            }
        });
        self.stream = Some(Http2 { runtime, sender });
        answer
    }

    fn connect_h2(&self) -> Http2 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let connector = tokio_rustls::TlsConnector::from(self.tls(b"h2"));
        let sender = runtime.block_on(async {
            let socket = tokio::net::TcpStream::connect(self.address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let stream = TokioIo::new(connector.connect(name, socket).await.unwrap());
            let (sender, connection) =
                http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::spawn(connection);
            sender
        });
        Http2 { runtime, sender }
    }
}

/// A call over HTTP/2 that goes both ways at once.
pub(crate) struct Talk {
    runtime: tokio::runtime::Runtime,
    body: std::cell::RefCell<hyper::body::Incoming>,
}

impl Talk {
    /// The next piece of the answer.
    pub(crate) fn data(&self) -> Vec<u8> {
        self.next().into_data().expect("data").to_vec()
    }

    /// The end of the answer.
    pub(crate) fn trailers(&self) -> http::HeaderMap {
        self.next().into_trailers().expect("trailers")
    }

    fn next(&self) -> http_body::Frame<Bytes> {
        let mut body = self.body.borrow_mut();
        let frame = self
            .runtime
            .block_on(async { tokio::time::timeout(super::PATIENCE, body.frame()).await });
        frame.expect("in time").expect("there is more").unwrap()
    }
}

impl Client {
    /// Begins a call with our cookies, and waits until its answer has begun.
    pub(crate) fn talk<B>(&self, path: &str, body: B, fields: &[(&str, &str)]) -> Talk
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let cookies = self.jar.field(path, self.clock.now()).unwrap_or_default();
        let mut made = http::Request::builder()
            .method("POST")
            .version(http::Version::HTTP_2)
            .uri(format!("https://{HOST}{path}"))
            .header("cookie", cookies);
        for (name, value) in fields {
            made = made.header(*name, *value);
        }
        let made = made.body(body).unwrap();
        let tls = self.tls(b"h2");
        let body = runtime.block_on(async {
            let socket = tokio::net::TcpStream::connect(self.address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let connector = tokio_rustls::TlsConnector::from(tls);
            let stream = TokioIo::new(connector.connect(name, socket).await.unwrap());
            let (mut sender, connection) =
                http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::spawn(connection);
            let answer = sender.send_request(made).await.unwrap();
            assert_eq!(answer.status(), 200);
            answer.into_body()
        });
        Talk { runtime, body: std::cell::RefCell::new(body) }
    }
}

/// A stream of bytes within HTTP/2 (RFC 8441).
pub(crate) struct Stream {
    runtime: tokio::runtime::Runtime,
    io: TokioIo<hyper::upgrade::Upgraded>,
}

impl Stream {
    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.runtime.block_on(tokio::io::AsyncWriteExt::write_all(&mut self.io, bytes)).unwrap();
    }

    /// Reads exactly so many bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let read = tokio::io::AsyncReadExt::read_exact(&mut self.io, &mut bytes);
        let read =
            self.runtime.block_on(async { tokio::time::timeout(super::PATIENCE, read).await });
        read.expect("in time").unwrap();
        bytes
    }
}

impl Client {
    /// Asks for a stream of `protocol` by an extended CONNECT with our cookies. The stream, or the
    /// status of a refusal.
    pub(crate) fn stream(
        &self,
        path: &str,
        protocol: &'static str,
        fields: &[(&str, &str)],
    ) -> Result<(http::HeaderMap, Stream), u16> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let cookies = self.jar.field(path, self.clock.now()).unwrap_or_default();
        let mut made = http::Request::builder()
            .method("CONNECT")
            .version(http::Version::HTTP_2)
            .uri(format!("https://{HOST}{path}"))
            .header("sec-websocket-version", "13")
            .extension(hyper::ext::Protocol::from_static(protocol));
        if !cookies.is_empty() {
            made = made.header("cookie", cookies);
        }
        for (name, value) in fields {
            made = made.header(*name, *value);
        }
        let made = made.body(Full::new(Bytes::new())).unwrap();
        let tls = self.tls(b"h2");
        let answer = runtime.block_on(async {
            let socket = tokio::net::TcpStream::connect(self.address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let connector = tokio_rustls::TlsConnector::from(tls);
            let stream = TokioIo::new(connector.connect(name, socket).await.unwrap());
            let (mut sender, connection) =
                http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::spawn(connection);
            // The server's settings, which allow it, come with the first answer at the latest.
            let first = http::Request::get(format!("https://{HOST}/auth/login"));
            let first = first.body(Full::new(Bytes::new())).unwrap();
            sender.send_request(first).await.unwrap();
            let answer = sender.send_request(made).await.unwrap();
            if answer.status() != 200 {
                return Err(answer.status().as_u16());
            }
            let headers = answer.headers().clone();
            Ok((headers, hyper::upgrade::on(answer).await.unwrap(), sender))
        });
        // The connection lives as long as somebody may send on it.
        answer.map(|(headers, upgraded, sender)| {
            runtime.spawn(async move {
                let _sender = sender;
                std::future::pending::<()>().await
            });
            (headers, Stream { io: TokioIo::new(upgraded), runtime })
        })
    }
}

/// A request on its way.
pub(crate) struct Ask<'c> {
    client: &'c mut Client,
    method: &'c str,
    path: &'c str,
    fields: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
    cookies: bool,
}

struct Written<'a> {
    method: &'a str,
    path: &'a str,
    fields: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
}

impl Ask<'_> {
    /// Adds a field.
    pub(crate) fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Presents a token as programs do.
    pub(crate) fn bearer(self, token: &str) -> Self {
        self.field("Authorization", format!("Bearer {token}"))
    }

    /// Gives it a body of this type.
    pub(crate) fn body(mut self, kind: &str, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self.field("Content-Type", kind)
    }

    /// Gives it a JSON body.
    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// Gives it a form.
    pub(crate) fn form(self, fields: &[(&str, &str)]) -> Self {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.body("application/x-www-form-urlencoded", body)
    }

    /// Neither sends cookies nor keeps any.
    pub(crate) fn without_cookies(mut self) -> Self {
        self.cookies = false;
        self
    }

    /// Sends it and reads the whole answer.
    pub(crate) fn send(self) -> Answer {
        self.try_send().unwrap()
    }

    /// The same where the gateway may be gone before it has answered.
    pub(crate) fn try_send(mut self) -> io::Result<Answer> {
        let now = self.client.clock.now();
        if !self.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            self.fields.insert(0, ("Host".to_owned(), HOST.into()));
        }
        if self.cookies
            && let Some(cookies) = self.client.jar.field(self.path, now)
        {
            self.fields.push(("Cookie".to_owned(), cookies.into()));
        }
        let Self { client, method, path, fields, body, cookies } = self;
        let answer = client.exchange(&Written { method, path, fields, body })?;
        if cookies {
            let now = client.clock.now();
            for field in answer.field("set-cookie") {
                client.jar.learn(field, now);
            }
        }
        Ok(answer)
    }
}
