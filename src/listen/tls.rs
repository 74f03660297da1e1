//! The TLS side of the listener: aws-lc-rs, TLS 1.3 and 1.2, certificates by name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ALL_VERSIONS, ServerConfig};

use super::names::Certificates;

/// Why there is no TLS, in the operator's words.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read or is no PEM of the right kind.
    #[error("{what} {path}: {reason}")]
    File {
        /// `tls.certificate` or `tls.key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The two do not fit together, or the key is of a kind that TLS does not use.
    #[error("a certificate and its key cannot be used together: {0}")]
    Pair(#[from] rustls::Error),
    /// The system gave no randomness for the ticket keys.
    #[error("no session ticket key could be made: {0}")]
    Ticket(rustls::Error),
}

/// PEM files of one certificate.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The chain, the leaf first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The settings of the listener.
#[derive(Debug)]
pub struct TlsConfig {
    pub(super) server: Arc<ServerConfig>,
    pub(super) certificates: Arc<Certificates>,
}

impl TlsConfig {
    /// Settings from PEM files. The first pair is for whoever asks for no name that another one has,
    /// unless `refuse_unknown`. `only_13`: nothing older than TLS 1.3.
    ///
    /// # Errors
    /// In the operator's words.
    pub fn new(pairs: &[Pair], refuse_unknown: bool, only_13: bool) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(provider());
        let keys: Result<Vec<_>, TlsError> =
            pairs.iter().map(|pair| certified(pair, &provider)).collect();
        let certificates = Arc::new(Certificates::new(keys?, refuse_unknown));
        let versions: &[_] = if only_13 { &[&TLS13] } else { ALL_VERSIONS };
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Certificates>::clone(&certificates);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // The client's first choice is usually AES-256 with SHA-384; ours costs a third less per
        // handshake and is as safe for anything that a session protects.
        config.ignore_client_order = true;
        // Stateless tickets with keys that rotate: nothing is kept per client, and no lock is taken.
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Ticket)?;
        config.send_tls13_tickets = 1;
        // RFC 8470: early data can be replayed, and most of what we carry must not be.
        config.max_early_data_size = 0;
        Ok(Arc::new(Self { server: Arc::new(config), certificates }))
    }
}

fn certified(pair: &Pair, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = chain(&pair.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&pair.key).map_err(|error| TlsError::File {
        what: "tls.key",
        path: pair.key.clone(),
        reason: pem_reason(&error),
    })?;
    Ok(Arc::new(CertifiedKey::from_der(chain, key, provider)?))
}

/// The one crypto provider, AES-128 before AES-256 before ChaCha20; the key exchange stays as
/// rustls orders it, X25519MLKEM768 first.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| {
        let name = format!("{:?}", suite.suite());
        (!name.starts_with("TLS13"), !name.contains("AES_128"), !name.contains("AES_256"))
    });
    provider
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file = |reason| TlsError::File { what: "tls.certificate", path: path.to_owned(), reason };
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| file(pem_reason(&error)))?;
    if certificates.is_empty() {
        return Err(file("there is no certificate in it".to_owned()));
    }
    Ok(certificates)
}

fn pem_reason(error: &rustls::pki_types::pem::Error) -> String {
    use rustls::pki_types::pem::Error;
    match error {
        Error::Io(error) => error.to_string(),
        Error::NoItemsFound => "there is nothing of this kind in it".to_owned(),
        other => format!("is not readable as PEM: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aes_128_comes_first_and_the_hybrid_key_exchange_is_preferred() {
        let provider = provider();
        let first = provider.cipher_suites.first().unwrap().suite();
        assert_eq!(first, rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
        let group = provider.kx_groups.first().unwrap().name();
        assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    }

    #[test]
    fn a_missing_certificate_is_named() {
        let pair = Pair { certificate: "/nonexistent/a.pem".into(), key: "b.pem".into() };
        let text = TlsConfig::new(&[pair], false, false).unwrap_err().to_string();
        assert!(text.starts_with("tls.certificate /nonexistent/a.pem: "), "{text}");
    }
}
