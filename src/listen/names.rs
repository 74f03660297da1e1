//! Which certificate a client sees, and which hosts it may then ask for on its connection.

use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// A label that nobody has: what covers it beside another one is a wildcard.
const NOBODY: &str = "sallyport--nobody";

/// All certificates, the first being the one for whoever names no host.
#[derive(Debug)]
pub(super) struct Certificates {
    all: Vec<Arc<CertifiedKey>>,
    /// Whether a name that none of them covers, or no name, ends the handshake.
    refuse_unknown: bool,
}

impl Certificates {
    pub(super) fn new(all: Vec<Arc<CertifiedKey>>, refuse_unknown: bool) -> Self {
        Self { all, refuse_unknown }
    }

    /// The certificate for this name: one that has it exactly before one with a wildcard.
    fn choose(&self, name: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        let fallback = || if self.refuse_unknown { None } else { self.all.first() };
        let Some(name) = name else { return fallback() };
        let mut covering = self.all.iter().filter(|key| covers(key, name)).peekable();
        let first = covering.peek().copied();
        let sibling = name.split_once('.').map(|(_, parent)| format!("{NOBODY}.{parent}"));
        let exact = covering.find(|key| !sibling.as_ref().is_some_and(|name| covers(key, name)));
        exact.or(first).or_else(fallback)
    }

    /// Whether a client that was shown the certificate for `name` may ask for `host`: browsers use a
    /// connection for all names of its certificate (RFC 9113 section 9.1.1).
    pub(super) fn may_ask(&self, name: &str, host: &str) -> bool {
        self.choose(Some(name)).is_some_and(|key| covers(key, host))
    }
}

fn covers(key: &CertifiedKey, host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let (Some(leaf), Ok(name)) = (key.cert.first(), ServerName::try_from(host)) else {
        return false;
    };
    ParsedCertificate::try_from(leaf).is_ok_and(|leaf| verify_server_name(&leaf, &name).is_ok())
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(names: &[&str]) -> Arc<CertifiedKey> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der());
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let chain = vec![made.cert.der().clone()];
        Arc::new(CertifiedKey::from_der(chain, key.unwrap(), &provider).unwrap())
    }

    #[test]
    fn an_exact_name_comes_before_a_wildcard_and_the_first_is_for_the_rest() {
        let all = vec![
            key(&["default.test"]),
            key(&["*.example.org", "example.org"]),
            key(&["app.example.org"]),
        ];
        let at = |certificates: &Certificates, name: Option<&str>| {
            let found = certificates.choose(name)?;
            all.iter().position(|one| Arc::ptr_eq(one, found))
        };
        let lenient = Certificates::new(all.clone(), false);
        let strict = Certificates::new(all.clone(), true);
        for (name, chosen) in [
            (Some("default.test"), Some(0)),
            (Some("app.example.org"), Some(2)),
            (Some("APP.Example.ORG"), Some(2)),
            (Some("other.example.org"), Some(1)),
            (Some("example.org"), Some(1)),
            (Some("a.b.example.org"), None),
            (Some("elsewhere.test"), None),
            (None, None),
        ] {
            assert_eq!(at(&lenient, name), Some(chosen.unwrap_or(0)), "{name:?}");
            assert_eq!(at(&strict, name), chosen, "{name:?}");
        }
    }

    #[test]
    fn a_connection_serves_the_names_of_the_certificate_that_was_shown() {
        let all = vec![key(&["a.test", "b.test"]), key(&["*.c.test"]), key(&["127.0.0.1"])];
        let certificates = Certificates::new(all, false);
        for (name, host, may) in [
            ("a.test", "b.test", true),
            ("a.test", "x.c.test", false),
            ("x.c.test", "y.c.test", true),
            ("x.c.test", "c.test", false),
            ("x.c.test", "a.test", false),
            ("unknown.test", "a.test", true),
            ("a.test", "[::1]", false),
            ("a.test", "not a name", false),
        ] {
            assert_eq!(certificates.may_ask(name, host), may, "{name} {host}");
        }
    }
}
