//! One bounded exchange with a service that is not an application behind us, such as the one that
//! verifies captchas. A connection of its own each time: calls are rare, and a kept connection that
//! has gone stale would cost a person their login.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{self, Either};
use http::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::tls::{self, TrustError};
use crate::config::Origin;
use crate::message::body::{ReadError, read_bounded};

/// A head may be this large, and have so many fields.
const HEAD_BYTES: usize = 16 * 1024;
const FIELDS: usize = 100;

/// A service cannot be called at all. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Nobody would be believed to be the service.
    #[error(transparent)]
    Authorities(#[from] TrustError),
    /// Its host cannot be in a certificate.
    #[error("the service's host: {0}")]
    Host(#[from] InvalidDnsNameError),
    /// Host or path cannot be sent.
    #[error("the service's address: {0}")]
    Address(#[from] http::Error),
    /// TLS cannot be spoken.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The service cannot be reached, or does not prove who it is.
    #[error("it cannot be reached: {0}")]
    Connect(#[from] io::Error),
    /// What came was no HTTP response, or not a whole one.
    #[error("the exchange broke: {0}")]
    Broken(#[from] hyper::Error),
    /// The answer has more bytes than allowed.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
}

/// Where forms are sent, over TLS or, on the loopback, without.
#[derive(Clone)]
pub struct Service {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    authority: HeaderValue,
    path: Uri,
    max_bytes: usize,
}

impl Service {
    /// The service at `origin` and `path`, whose answers have at most `max_bytes`. Trusted are the
    /// authorities that the system trusts and those in the PEM file, if there is one.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub fn new(
        origin: &Origin,
        path: &str,
        authorities: Option<&Path>,
        max_bytes: usize,
    ) -> Result<Self, ServiceError> {
        let host = origin.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = match origin.https {
            true => {
                let name = ServerName::try_from(host.clone())?;
                Some((TlsConnector::from(client_config(authorities)?), name))
            }
            false => None,
        };
        let authority = HeaderValue::try_from(origin.authority()).map_err(http::Error::from)?;
        let path = Uri::try_from(path).map_err(http::Error::from)?;
        Ok(Self { host, port: origin.port, tls, authority, path, max_bytes })
    }

    /// Sends a form by POST and reads the whole answer. The caller sets the time; dropped, it closes
    /// the connection.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn post(&self, form: String) -> Result<(StatusCode, Bytes), CallError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await?;
                self.exchange(TokioIo::new(stream), form).await
            }
            None => self.exchange(TokioIo::new(stream), form).await,
        }
    }

    async fn exchange<S>(&self, stream: S, form: String) -> Result<(StatusCode, Bytes), CallError>
    where
        S: Read + Write + Unpin,
    {
        let (mut sender, connection) = http1::Builder::new()
            .max_headers(FIELDS)
            .max_buf_size(HEAD_BYTES)
            .handshake(stream)
            .await?;
        let mut request = Request::new(Full::new(Bytes::from(form)));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.path.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.authority.clone());
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, kind);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        let answer = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = read_bounded(body, self.max_bytes).await.map_err(|error| match error {
                ReadError::TooLarge => CallError::TooLarge(self.max_bytes),
                ReadError::Broken(error) => CallError::Broken(error),
            })?;
            Ok((head.status, body))
        };
        beside(connection, answer).await
    }
}

/// Drives the connection for as long as the answer needs it, and no longer.
async fn beside<T>(
    connection: impl Future<Output = hyper::Result<()>>,
    answer: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    let (connection, answer) = (pin!(connection), pin!(answer));
    match future::select(connection, answer).await {
        // How an exchange failed is told to the one who waits for it.
        Either::Left((_closed, answer)) => answer.await,
        Either::Right((answer, _)) => answer,
    }
}

fn client_config(authorities: Option<&Path>) -> Result<Arc<ClientConfig>, ServiceError> {
    let roots = match authorities {
        None => tls::system()?,
        Some(path) => {
            let mut roots = tls::read(path)?;
            match tls::system() {
                Ok(system) => roots.roots.extend(system.roots),
                // The file alone will do.
                Err(TrustError::NoSystem) => {}
                Err(error) => return Err(error.into()),
            }
            roots
        }
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
