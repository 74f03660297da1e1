//! Which host a request asks for. Routing, "same origin" and redirects rest on it, so what is
//! missing, doubled or contradictory is an error and never a guess.

use std::borrow::Cow;

use http::header::{HOST, HeaderMap};
use http::uri::Uri;

use crate::config::split_host_port;

/// Why a request names no host that can be used. The request is at fault, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Neither `Host` nor `:authority` (RFC 9112 section 3.2).
    #[error("no host is named")]
    Missing,
    /// More than one `Host` line (RFC 9112 section 3.2).
    #[error("more than one Host field")]
    Repeated,
    /// Not a host name or address, with or without a port.
    #[error("not a host name")]
    Malformed,
    /// `Host` and the target of the request name different hosts (RFC 9113 section 8.3.1).
    #[error("Host contradicts the request's target")]
    Conflict,
}

/// The host that a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHost<'a> {
    /// Lower case, without a trailing dot; IPv6 in brackets. Borrowed when it came so.
    pub name: Cow<'a, str>,
    /// As named, else the default of the scheme.
    pub port: u16,
}

/// Reads the host from the request's target (`:authority`, or an absolute-form target) and its
/// `Host` field; `https` says which port is the default one.
///
/// # Errors
/// See [`HostError`].
pub fn requested<'a>(
    uri: &'a Uri,
    headers: &'a HeaderMap,
    https: bool,
) -> Result<RequestHost<'a>, HostError> {
    let mut fields = headers.get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(HostError::Repeated);
    }
    let field = match field {
        Some(value) => Some(read(value.as_bytes(), https)?),
        None => None,
    };
    let target = match uri.authority() {
        Some(authority) => Some(read(authority.as_str().as_bytes(), https)?),
        None => None,
    };
    match (target, field) {
        // RFC 9112 section 3.2.2 lets a proxy replace `Host` by the target. One of two that differ
        // is a lie, however, and whoever reads the other is deceived.
        (Some(target), Some(field)) if target != field => Err(HostError::Conflict),
        (Some(host), _) | (None, Some(host)) => Ok(host),
        (None, None) => Err(HostError::Missing),
    }
}

fn read(text: &[u8], https: bool) -> Result<RequestHost<'_>, HostError> {
    let (name, port) = split(text).ok_or(HostError::Malformed)?;
    let port = port.unwrap_or(if https { 443 } else { 80 });
    Ok(RequestHost { name, port })
}

/// [`split_host_port`], without a copy when the name is canonical as it stands.
fn split(text: &[u8]) -> Option<(Cow<'_, str>, Option<u16>)> {
    let text = str::from_utf8(text).ok()?;
    let colon = text.bytes().position(|byte| byte == b':');
    let (name, port) = match colon.and_then(|at| text.split_at_checked(at)) {
        Some((name, port)) => (name, port.get(1..)),
        None => (text, None),
    };
    if is_plain_name(name) {
        let port = match port {
            None => None,
            Some(digits)
                if matches!(digits.len(), 1..=5)
                    && digits.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                Some(digits.parse().ok()?)
            }
            Some(_) => return None,
        };
        return Some((Cow::Borrowed(name), port));
    }
    split_host_port(text).map(|(name, port)| (Cow::Owned(name), port))
}

/// Whether this surely is a name that `split_host_port` takes and does not change.
fn is_plain_name(name: &str) -> bool {
    let mut before = b'.';
    let plain = name.bytes().all(|byte| {
        let fine = match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' => true,
            // Neither first nor twice.
            b'.' => before != b'.',
            _ => false,
        };
        before = byte;
        fine
    });
    plain && before != b'.' && name.len() <= 253
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn ask(target: &str, hosts: &[&str]) -> Result<(String, u16), HostError> {
        let uri: Uri = target.parse().unwrap();
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_bytes(host.as_bytes()).unwrap());
        }
        requested(&uri, &headers, true).map(|host| (host.name.into_owned(), host.port))
    }

    #[test]
    fn spellings_of_one_host_are_one_host() {
        for host in ["app.test", "App.TEST", "app.test.", "APP.test.:443", "app.test:443"] {
            assert_eq!(ask("/", &[host]), Ok(("app.test".to_owned(), 443)), "{host}");
        }
        assert_eq!(ask("/", &["[::0:1]:8443"]), Ok(("[::1]".to_owned(), 8443)));
        assert_eq!(ask("https://app.test/", &[]), Ok(("app.test".to_owned(), 443)));
    }

    #[test]
    fn a_canonical_name_is_not_copied() {
        let uri = Uri::from_static("/");
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("app-1.test:8443"));
        let host = requested(&uri, &headers, true).unwrap();
        assert!(matches!(host.name, Cow::Borrowed("app-1.test")));
        assert_eq!(host.port, 8443);
    }

    #[test]
    fn what_is_missing_doubled_or_contradictory_is_refused() {
        assert_eq!(ask("/", &[]), Err(HostError::Missing));
        assert_eq!(ask("/", &["app.test", "app.test"]), Err(HostError::Repeated));
        assert_eq!(ask("https://app.test/", &["evil.test"]), Err(HostError::Conflict));
        assert_eq!(ask("https://app.test/", &["app.test:444"]), Err(HostError::Conflict));
        assert_eq!(ask("https://APP.test:443/", &["app.test."]), Ok(("app.test".into(), 443)));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for host in [
            "",
            ".",
            "..",
            "a..b",
            "app.test..",
            "App.test..:443",
            "user@app.test",
            "app.test/x",
            "app.test, evil.test",
            "app test",
            "app.test:",
            "app.test:65536",
            "app.test:000443",
            "app.test:+1",
            "app.test:443:443",
            "\u{212a}.test",
            "[::1",
            "[zz]",
        ] {
            assert_eq!(ask("/", &[host]), Err(HostError::Malformed), "{host}");
        }
        assert_eq!(ask("https://user@app.test/", &[]), Err(HostError::Malformed));
    }

    proptest! {
        #[test]
        fn a_canonical_host_is_canonical_for_the_next_reader_too(text in "[a-zA-Z0-9._:-]{0,20}") {
            if let Some((name, _)) = split(text.as_bytes()) {
                let again = split(name.as_bytes()).map(|(again, _)| again.into_owned());
                prop_assert_eq!(again, Some(name.into_owned()));
            }
        }

        #[test]
        fn the_fast_way_agrees_with_the_thorough_one(
            text in prop_oneof!["[a-zA-Z0-9._:-]{0,20}", "[a-z]{1,5}:[0-9]{0,6}", "\\PC{0,12}"],
        ) {
            let fast = split(text.as_bytes()).map(|(name, port)| (name.into_owned(), port));
            prop_assert_eq!(fast, split_host_port(&text));
        }
    }
}
