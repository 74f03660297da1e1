//! TLS towards applications and services: whom to believe that they are who they say.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::config::{UpstreamHttp, UpstreamTls};

/// Where systems keep the authorities that they believe, as one PEM file.
const SYSTEM: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// Why an application cannot be spoken to by TLS, in the operator's words.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// No file of the system's authorities was found.
    #[error("this system keeps no file of certificate authorities; name one with the key ca")]
    NoSystem,
    /// A file that cannot be read, or holds no certificate.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A name that no certificate can have.
    #[error("{0:?} is not a name that a certificate can have")]
    Name(String),
    /// The crypto provider refused.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// How to speak TLS to the servers of one upstream.
#[derive(Debug)]
pub struct Trust {
    /// Offers what the config allows.
    config: Arc<ClientConfig>,
    /// Offers HTTP/1.1 alone, for what only that can do.
    http1: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
}

impl Trust {
    /// Reads the authorities.
    ///
    /// # Errors
    /// In the operator's words.
    pub fn new(settings: &UpstreamTls, http: UpstreamHttp) -> Result<Self, TrustError> {
        let roots = match &settings.ca {
            Some(path) => read(path)?,
            None => system()?,
        };
        let name = settings.name.as_ref().map(|name| {
            ServerName::try_from(name.clone()).map_err(|_| TrustError::Name(name.clone()))
        });
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.alpn_protocols = vec![HTTP1.to_vec()];
        let http1 = Arc::new(config.clone());
        match http {
            UpstreamHttp::One => {}
            UpstreamHttp::Two => config.alpn_protocols = vec![HTTP2.to_vec()],
            UpstreamHttp::Auto => config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()],
        }
        Ok(Self { config: Arc::new(config), http1, name: name.transpose()? })
    }

    /// The settings for one connection.
    pub(super) fn config(&self, only_http1: bool) -> Arc<ClientConfig> {
        Arc::clone(if only_http1 { &self.http1 } else { &self.config })
    }

    /// The name that the server at `host` must prove to have.
    pub(super) fn name(&self, host: &str) -> io::Result<ServerName<'static>> {
        match &self.name {
            Some(name) => Ok(name.clone()),
            None => ServerName::try_from(host.to_owned()).map_err(io::Error::other),
        }
    }
}

/// The authorities that the system believes.
pub(super) fn system() -> Result<RootCertStore, TrustError> {
    let found = SYSTEM.iter().map(Path::new).find(|path| path.exists());
    read(found.ok_or(TrustError::NoSystem)?)
}

/// The authorities in a PEM file.
pub(super) fn read(path: &Path) -> Result<RootCertStore, TrustError> {
    let file = |reason: String| TrustError::File { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| file(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| file(error.to_string()))?;
        // A system's collection may hold some that this library does not take.
        let _unfit = roots.add(certificate);
    }
    if roots.is_empty() {
        return Err(file("there is no certificate of an authority in it".to_owned()));
    }
    Ok(roots)
}
