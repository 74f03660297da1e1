//! A site's own name: scheme, host and port, in the one form in which they are compared.

use std::net::Ipv6Addr;

/// A whole origin (RFC 6454): scheme, host and port. Compared whole, never by part.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Whether the scheme is https (else http).
    pub https: bool,
    /// Lower case, without a trailing dot; IPv6 in brackets.
    pub host: String,
    /// Never absent: the scheme's default when the text had none.
    pub port: u16,
}

impl Origin {
    /// Parses `scheme://host[:port]`, with at most a `/` behind it.
    pub fn parse(text: &str) -> Option<Self> {
        let (https, rest) = match text.split_once("://")? {
            (scheme, rest) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            (scheme, rest) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            _ => return None,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = split_host_port(rest)?;
        let port = port.unwrap_or(if https { 443 } else { 80 });
        Some(Self { https, host, port })
    }

    /// As a browser writes it into an `Origin` field: no default port.
    pub fn ascii(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// `host[:port]`, no default port.
    pub fn authority(&self) -> String {
        if self.port == if self.https { 443 } else { 80 } {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Splits and canonicalises `host[:port]`: lower case, one trailing dot dropped, only characters
/// that a host name or an address may have. `None` for all else.
pub fn split_host_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(inner) = text.strip_prefix('[') {
        let (address, rest) = inner.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        let port = match rest {
            "" => None,
            rest => Some(rest.strip_prefix(':')?),
        };
        (format!("[{address}]"), port)
    } else {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        // Each label has something in it; a second dot at the end would be dropped by the next reader.
        let labels = !host.starts_with('.') && !host.ends_with('.') && !host.contains("..");
        if host.is_empty() || host.len() > 253 || !host.bytes().all(fine) || !labels {
            return None;
        }
        (host.to_ascii_lowercase(), port)
    };
    let port = match port {
        None => None,
        // No more than a port has: a row of noughts has no use but to be told apart by somebody.
        Some(digits)
            if matches!(digits.len(), 1..=5) && digits.bytes().all(|b| b.is_ascii_digit()) =>
        {
            Some(digits.parse().ok()?)
        }
        Some(_) => return None,
    };
    Some((host, port))
}
