//! Addresses, the site's own name and the certificate.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use http::HeaderValue;
use ipnet::IpNet;

use super::{DAY, Findings, HOUR, MINUTE};
use crate::config::file;
use crate::config::{Listen, Origin, Tls};

pub(super) fn listen(
    file: &file::Listen,
    own_certificate: bool,
    found: &mut Findings<'_>,
) -> Option<Listen> {
    let before = found.problems.len();
    let mut address = |key: &str, text: &Option<String>| {
        text.as_deref().and_then(|text| found.address(key, text))
    };
    let https = address("listen.https", &file.https);
    let http = address("listen.http", &file.http);
    let admin = address("listen.admin", &file.admin);
    let dev_http = address("listen.dev_http", &file.dev_http);
    together(file, dev_http, found);
    distinct(&[("https", https), ("http", http), ("admin", admin), ("dev_http", dev_http)], found);
    if admin.is_some_and(|admin| admin.ip().is_unspecified()) {
        let hint = "use an address that only your monitoring reaches, such as 127.0.0.1".to_owned();
        found.warn("listen.admin", "everyone in reach can read the metrics", Some(hint));
    }
    let public_url = public_url(file, https, dev_http, own_certificate, found);
    let trusted_proxies = networks("listen.trusted_proxies", &file.trusted_proxies, found);
    let proxy_protocol = networks("listen.proxy_protocol", &file.proxy_protocol, found);
    let cores = match file.cores {
        Some(cores) => usize::try_from(cores).ok().and_then(NonZeroUsize::new)?,
        None => std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
    };
    let drain = (Duration::ZERO, HOUR);
    let delay = (Duration::ZERO, 10 * MINUTE);
    let drain_delay = found.period("listen.drain_delay", &file.drain_delay, delay);
    let drain_timeout = found.period("listen.drain_timeout", &file.drain_timeout, drain);
    if found.problems.len() > before {
        return None;
    }
    Some(Listen {
        https,
        http,
        admin,
        dev_http,
        public_url: public_url?,
        trusted_proxies,
        proxy_protocol,
        cores,
        drain_delay: drain_delay?,
        drain_timeout: drain_timeout?,
    })
}

/// Which listeners go together.
fn together(file: &file::Listen, dev_http: Option<SocketAddr>, found: &mut Findings<'_>) {
    match (&file.https, &file.dev_http) {
        (None, None) => found.wrong_but(
            "listen",
            "nothing listens",
            "set https = \"0.0.0.0:8443\", or dev_http = \"127.0.0.1:9154\" for development",
        ),
        (Some(_), Some(_)) => found.wrong_but(
            "listen.dev_http",
            "takes Secure from all cookies, so it cannot go together with https",
            "leave out one of them",
        ),
        _ => {}
    }
    if file.http.is_some() && file.https.is_none() {
        found.wrong("listen.http", "only shows the way to https, and https is not set");
    }
    let Some(address) = dev_http else { return };
    if address.ip().is_loopback() {
        found.warn(
            "listen.dev_http",
            "no TLS: cookies lose their prefix and Secure; for development only",
            None,
        );
    } else {
        found.wrong_but(
            "listen.dev_http",
            format!("{address} is not a loopback address"),
            "use 127.0.0.1 or [::1]",
        );
    }
}

fn distinct(listeners: &[(&str, Option<SocketAddr>)], found: &mut Findings<'_>) {
    for (index, (name, address)) in listeners.iter().enumerate() {
        let earlier = listeners.iter().take(index).find(|(_, other)| {
            // Port 0 is a different free port each time.
            address.is_some_and(|address| address.port() != 0 && *other == Some(address))
        });
        if let Some((other, _)) = earlier {
            found.wrong(&format!("listen.{name}"), format!("the same address as {other}"));
        }
    }
}

fn public_url(
    file: &file::Listen,
    https: Option<SocketAddr>,
    dev_http: Option<SocketAddr>,
    own_certificate: bool,
    found: &mut Findings<'_>,
) -> Option<Origin> {
    const KEY: &str = "listen.public_url";
    let local = |https, address: SocketAddr| Origin {
        https,
        host: "localhost".to_owned(),
        port: address.port(),
    };
    let Some(text) = &file.public_url else {
        return match (https, dev_http) {
            (_, Some(address)) => Some(local(false, address)),
            (Some(address), None) if !own_certificate => Some(local(true, address)),
            (Some(_), None) => {
                let hint = "set it to the site's name, such as \"https://app.example.org\"";
                found.wrong_but(KEY, "missing, since [tls] names a certificate", hint);
                None
            }
            // Told already.
            (None, None) => None,
        };
    };
    let Some(origin) = Origin::parse(text) else {
        let hint = "write scheme, host and port only, such as \"https://app.example.org\"";
        found.wrong_but(KEY, format!("{text:?} is not a whole origin"), hint);
        return None;
    };
    if origin.https == (file.dev_http.is_some() && file.https.is_none()) {
        let scheme = if origin.https { "http with dev_http" } else { "https" };
        found.wrong(KEY, format!("the scheme must be {scheme}"));
        return None;
    }
    Some(origin)
}

/// Networks, or single addresses.
fn networks(list: &str, file: &[String], found: &mut Findings<'_>) -> Vec<IpNet> {
    let mut nets = Vec::with_capacity(file.len());
    for (index, text) in file.iter().enumerate() {
        let key = format!("{list}[{index}]");
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        match net {
            Ok(net) => {
                if net.prefix_len() == 0 {
                    let text = "believes everyone what they say about their address";
                    found.warn(&key, text, None);
                }
                nets.push(net.trunc());
            }
            Err(_) => found.wrong_but(
                &key,
                format!("{text:?} is not a network"),
                "write it as \"10.0.0.0/8\", \"fd00::/8\" or a single address",
            ),
        }
    }
    nets
}

/// The folder of the development certificate.
const CERTS: &str = "certs";

pub(super) fn tls(file: Option<file::Tls>, found: &mut Findings<'_>) -> Option<Tls> {
    Some(match file {
        None => Tls::Development { folder: found.base.join(CERTS) },
        Some(tls) => {
            let hsts = found.period("tls.hsts", &tls.hsts, (Duration::ZERO, 800 * DAY))?;
            let value = HeaderValue::try_from(format!("max-age={}", hsts.as_secs())).ok();
            Tls::Files {
                pairs: std::iter::once((tls.certificate, tls.key))
                    .chain(tls.more.into_iter().map(|pair| (pair.certificate, pair.key)))
                    .map(|(certificate, key)| (found.base.join(certificate), found.base.join(key)))
                    .collect(),
                refuse_unknown: matches!(tls.unknown_host, file::UnknownHost::Refuse),
                only_13: matches!(tls.min_version, file::TlsVersion::OneThree),
                hsts: value.filter(|_| !hsts.is_zero()),
            }
        }
    })
}
