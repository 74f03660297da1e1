//! An application that speaks HTTP/2, in the clear or by TLS (then HTTP/1.1 too, if it is asked).
//! It keeps what it was asked, and answers what a test makes of it, with trailers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A body that a test makes.
pub(crate) type AnyBody = UnsyncBoxBody<Bytes, hyper::Error>;

/// What was asked: without the body, which the script reads.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// As the protocol names it.
    pub(crate) version: http::Version,
    /// The fields.
    pub(crate) headers: HeaderMap,
}

/// A running application. Ends when it is dropped.
pub(crate) struct Upstream2 {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<Mutex<usize>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream2 {
    /// In the clear, HTTP/2 from the first byte on.
    pub(crate) fn clear<A>(answer: A) -> Self
    where
        A: Fn(Request<Incoming>) -> Response<AnyBody> + Send + Sync + 'static,
    {
        Self::start(None, answer)
    }

    /// By TLS with these PEM files; the protocol by ALPN, among those that are offered.
    pub(crate) fn tls<A>(certificate: &Path, key: &Path, offers: &[&str], answer: A) -> Self
    where
        A: Fn(Request<Incoming>) -> Response<AnyBody> + Send + Sync + 'static,
    {
        let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = offers.iter().map(|one| one.as_bytes().to_vec()).collect();
        Self::start(Some(Arc::new(config)), answer)
    }

    fn start<A>(tls: Option<Arc<rustls::ServerConfig>>, answer: A) -> Self
    where
        A: Fn(Request<Incoming>) -> Response<AnyBody> + Send + Sync + 'static,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let connections = Arc::<Mutex<usize>>::default();
        let (stop, stopped) = oneshot::channel();
        let (kept, counted) = (Arc::clone(&asked), Arc::clone(&connections));
        let thread = std::thread::spawn(move || {
            let serving = async move {
                let answer = Arc::new(answer);
                while let Ok((stream, _)) = listener.accept().await {
                    *counted.lock().unwrap() += 1;
                    let (answer, kept) = (Arc::clone(&answer), Arc::clone(&kept));
                    let service = service_fn(move |request: Request<Incoming>| {
                        kept.lock().unwrap().push(Asked {
                            version: request.version(),
                            headers: request.headers().clone(),
                        });
                        let response = answer(request);
                        async move { Ok::<_, Infallible>(response) }
                    });
                    let tls = tls.clone().map(tokio_rustls::TlsAcceptor::from);
                    tokio::spawn(async move {
                        let executor = TokioExecutor::new();
                        match tls {
                            // How a connection ends is seen at the other side.
                            None => drop(
                                hyper::server::conn::http2::Builder::new(executor)
                                    .serve_connection(TokioIo::new(stream), service)
                                    .await,
                            ),
                            Some(tls) => {
                                let Ok(stream) = tls.accept(stream).await else { return };
                                let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                                let io = TokioIo::new(stream);
                                if h2 {
                                    let server = hyper::server::conn::http2::Builder::new(executor);
                                    drop(server.serve_connection(io, service).await);
                                } else {
                                    let server = hyper::server::conn::http1::Builder::new();
                                    drop(server.serve_connection(io, service).await);
                                }
                            }
                        }
                    });
                }
            };
            runtime.block_on(async {
                tokio::select! {
                    () = serving => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, asked, connections, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How many connections were accepted.
    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

impl Drop for Upstream2 {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the application's script failed");
        }
    }
}
