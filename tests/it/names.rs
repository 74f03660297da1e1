//! Certificates by the name that a client asks for, and requests for hosts that were not promised.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};

use crate::harness::{Gate, Upstream, curl, response};

/// A certificate for these names, as two PEM files.
fn certificate(folder: &Path, file: &str, names: &[&str]) -> (PathBuf, PathBuf) {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let (certificate, key) =
        (folder.join(format!("{file}.pem")), folder.join(format!("{file}-key.pem")));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (certificate, key)
}

struct Setting {
    _upstream: Upstream,
    gate: Gate,
    folder: tempfile::TempDir,
}

/// A gateway with the certificates `one` (one.test, two.test) and `wild` (*.wild.test).
fn setting(lines: &str) -> Setting {
    let upstream = Upstream::answering(|_| response("200 OK", &[], "the application"));
    let folder = tempfile::tempdir().unwrap();
    let (one, one_key) = certificate(folder.path(), "one", &["one.test", "two.test"]);
    let (wild, wild_key) = certificate(folder.path(), "wild", &["*.wild.test"]);
    let gate = Gate::start(&format!(
        "[listen]\nhttps = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\ncores = 1\n\
         public_url = \"https://one.test\"\ndrain_timeout = \"0s\"\n\
         [tls]\ncertificate = \"{}\"\nkey = \"{}\"\n{lines}\n\
         [[tls.more]]\ncertificate = \"{}\"\nkey = \"{}\"\n\
         [[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n\
         [[route]]\npath = \"/**\"\naccess = \"public\"\n",
        one.display(),
        one_key.display(),
        wild.display(),
        wild_key.display(),
        upstream.url()
    ));
    Setting { _upstream: upstream, gate, folder }
}

impl Setting {
    /// What curl is told to ask for `path` at `name`, believing only the certificate in `ca`.
    fn arguments(&self, ca: &str, name: &str, more: &[&str]) -> Vec<String> {
        let (port, ca) = (self.gate.address().port(), self.folder.path().join(format!("{ca}.pem")));
        let mut all = vec![
            "--cacert".to_owned(),
            ca.display().to_string(),
            "--resolve".to_owned(),
            format!("{name}:{port}:127.0.0.1"),
        ];
        all.extend(more.iter().map(|&one| one.to_owned()));
        all.push(format!("https://{name}:{port}/a"));
        all
    }

    fn ask(&self, ca: &str, name: &str, more: &[&str]) -> (u16, String) {
        let arguments = self.arguments(ca, name, more);
        let answer = curl(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        (answer.status, if answer.status == 200 { answer.text() } else { answer.code() })
    }

    /// Whether the handshake fails.
    fn is_refused(&self, ca: &str, name: &str, more: &[&str]) -> bool {
        let curl = Command::new("curl")
            .args(["--disable", "--noproxy", "*", "--silent", "--max-time", "20"])
            .args(self.arguments(ca, name, more))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        // 35: the handshake failed; 60: the certificate is another one than is believed.
        matches!(curl.unwrap().code(), Some(35 | 60))
    }
}

#[test]
fn a_client_sees_the_certificate_of_the_name_that_it_asks_for() {
    let setting = setting("");
    let fine = (200, "the application".to_owned());
    for (ca, name) in [("one", "one.test"), ("one", "two.test"), ("wild", "a.wild.test")] {
        assert_eq!(setting.ask(ca, name, &[]), fine, "{name}");
    }
    assert!(setting.is_refused("wild", "one.test", &[]), "it was the other certificate");
    // What nobody has is shown the first.
    assert_eq!(setting.ask("one", "unknown.test", &["--insecure"]), fine);
}

#[test]
fn a_name_that_no_certificate_has_can_end_the_handshake() {
    let setting = setting("unknown_host = \"refuse\"");
    assert_eq!(setting.ask("one", "one.test", &[]).0, 200);
    assert_eq!(setting.ask("wild", "a.wild.test", &[]).0, 200);
    assert!(setting.is_refused("one", "unknown.test", &["--insecure"]));
}

#[test]
fn a_host_that_the_handshake_did_not_promise_is_misdirected() {
    let setting = setting("");
    let fine = (200, "the application".to_owned());
    let misdirected = (421, "misdirected".to_owned());
    for protocol in ["--http1.1", "--http2"] {
        for (ca, name, host, outcome) in [
            ("one", "one.test", "one.test", &fine),
            ("one", "one.test", "ONE.test", &fine),
            // The same certificate: browsers use one connection for both.
            ("one", "one.test", "two.test", &fine),
            ("one", "one.test", "a.wild.test", &misdirected),
            ("one", "one.test", "secret.internal", &misdirected),
            ("wild", "a.wild.test", "b.wild.test", &fine),
            ("wild", "a.wild.test", "one.test", &misdirected),
        ] {
            let field = format!("Host: {host}");
            let answer = setting.ask(ca, name, &[protocol, "--header", &field]);
            assert_eq!(&answer, outcome, "{protocol} {name} {host}");
        }
    }
}

#[test]
fn the_oldest_tls_is_what_the_config_says() {
    let twelve = &["--tls-max", "1.2"][..];
    assert_eq!(setting("").ask("one", "one.test", twelve).0, 200);
    let modern = setting("min_version = \"1.3\"");
    assert!(modern.is_refused("one", "one.test", twelve));
    assert_eq!(modern.ask("one", "one.test", &[]).0, 200);
}

#[test]
fn whoever_comes_back_resumes_in_either_version_of_tls() {
    let setting = setting("");
    let pem = std::fs::read(setting.folder.path().join("one.pem")).unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let config = Arc::new(config);
        let kind = || {
            let name = ServerName::try_from("one.test").unwrap();
            let mut session = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
            let mut socket = TcpStream::connect(setting.gate.address()).unwrap();
            let mut stream = rustls::Stream::new(&mut session, &mut socket);
            stream
                .write_all(b"GET /a HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n")
                .unwrap();
            let mut answer = String::new();
            // Whether it ends with a word of farewell matters not here.
            drop(stream.read_to_string(&mut answer));
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            session.handshake_kind()
        };
        assert_ne!(kind(), Some(rustls::HandshakeKind::Resumed));
        for _ in 0..3 {
            assert_eq!(kind(), Some(rustls::HandshakeKind::Resumed), "{version:?}");
        }
    }
}
