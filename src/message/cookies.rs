//! Cookies: reading ours out of a request, keeping them from the upstream, setting and clearing
//! them on a response (RFC 6265bis).

use std::time::Duration;

use cookie::Cookie;
use http::header::{COOKIE, HeaderMap, HeaderValue};

use crate::config::{Cookies, SameSite};

/// Most bytes that all `Cookie` fields of a request are read to.
pub const MAX_BYTES: usize = 64 * 1024;

/// Most pairs that are read. Browsers keep fewer than 200 for a host.
pub const MAX_PAIRS: usize = 1024;

/// Most bytes of a name and its value (RFC 6265bis section 5.6).
pub const MAX_PAIR_BYTES: usize = 4096;

/// Longest life that a browser grants (RFC 6265bis section 5.5).
pub const MAX_AGE: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// How a cookie of ours came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// Not at all.
    Absent,
    /// With this value, once or several times.
    One(&'a str),
    /// With different values, with bytes that no value of ours can hold, or among more cookies
    /// than are read. No credential, and no guess either.
    Conflict,
}

/// The same as its bytes came: whether a value of ours can hold them costs more than to compare them
/// with one that does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent<'a> {
    /// Not at all.
    Absent,
    /// With this value, once or several times.
    One(&'a [u8]),
    /// With different values, or among more cookies than are read.
    Conflict,
}

/// How the cookie `name` came.
pub fn find<'a>(headers: &'a HeaderMap, name: &str) -> Found<'a> {
    let [sent] = find_each(headers, [name]);
    sent.read()
}

/// How each of the cookies `names` came, in one pass over all `Cookie` fields.
pub fn find_each<'a, const N: usize>(headers: &'a HeaderMap, names: [&str; N]) -> [Sent<'a>; N] {
    let mut found = [Sent::Absent; N];
    let (mut bytes, mut pairs) = (0, 0);
    for field in headers.get_all(COOKIE) {
        bytes += field.len();
        if bytes > MAX_BYTES {
            return [Sent::Conflict; N];
        }
        for piece in Pieces::of(field.as_bytes()) {
            pairs += 1;
            if pairs > MAX_PAIRS {
                return [Sent::Conflict; N];
            }
            for (name, found) in names.iter().zip(&mut found) {
                if let Some(value) = value_of(piece, name) {
                    *found = found.and(value);
                }
            }
        }
    }
    found
}

impl<'a> Sent<'a> {
    /// What can be read of it.
    pub fn read(self) -> Found<'a> {
        match self {
            Self::Absent => Found::Absent,
            Self::One(value) => cookie_octets(value).map_or(Found::Conflict, Found::One),
            Self::Conflict => Found::Conflict,
        }
    }

    fn and(self, value: &'a [u8]) -> Self {
        match self {
            Self::Absent => Self::One(value),
            Self::One(first) if first == value => self,
            Self::One(_) | Self::Conflict => Self::Conflict,
        }
    }
}

/// Takes the cookies `names` out of a request that is about to be forwarded. All others keep their
/// bytes and their order, and travel in one field.
pub fn strip(headers: &mut HeaderMap, names: &[&str]) {
    let ours = |piece: &[u8]| names.iter().any(|name| value_of(piece, name).is_some());
    let (mut fields, mut stripped, mut others) = (0, false, 0);
    for field in headers.get_all(COOKIE) {
        fields += 1;
        for piece in Pieces::of(field.as_bytes()) {
            if ours(piece) {
                stripped = true;
            } else if !trim_start(piece).is_empty() {
                others += piece.len() + 2;
            }
        }
    }
    if !stripped && fields <= 1 {
        return;
    }
    if others == 0 {
        headers.remove(COOKIE);
        return;
    }
    let mut kept = Vec::with_capacity(others);
    for field in headers.get_all(COOKIE) {
        // RFC 9113 section 8.2.3: the crumbs of HTTP/2 are one field before HTTP/1.1, joined so.
        let mut separator: &[u8] = b"; ";
        for piece in Pieces::of(field.as_bytes()).filter(|piece| !ours(piece)) {
            let first = separator.len() > 1;
            // Only the blanks that belonged to the separator go. The rest of a field stays byte
            // for byte: a quoted value that holds a `;` is somebody's, though not the RFC's.
            let piece = if first { trim_start(piece) } else { piece };
            if first && piece.is_empty() {
                continue;
            }
            if !kept.is_empty() {
                kept.extend_from_slice(separator);
            }
            kept.extend_from_slice(piece);
            separator = b";";
        }
    }
    match HeaderValue::from_maybe_shared(bytes::Bytes::from(kept)) {
        Ok(value) => headers.insert(COOKIE, value),
        // Pieces of valid values, joined by valid bytes, are one; should they ever not be, then no
        // cookie is better than a wrong one.
        Err(_) => headers.remove(COOKIE),
    };
}

/// Which of our cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Holds the access token; sent with everything.
    Access,
    /// Holds the refresh token; sent to `cookies.refresh_path`.
    Refresh,
    /// Says to which accounts this browser has logged in before; sent with everything.
    Device,
}

/// How long a browser keeps a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Until the browser ends ("remember me" off).
    Browser,
    /// That long, at most [`MAX_AGE`].
    For(Duration),
}

/// A value that cannot be put into a cookie. A fault of ours: tokens are bounded and plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CookieError {
    /// It holds a byte that RFC 6265bis section 4.1.1 does not allow.
    #[error("a cookie's value holds a byte that cookies cannot hold")]
    Value,
    /// Name and value exceed [`MAX_PAIR_BYTES`]: browsers would drop it silently.
    #[error("a cookie would exceed what browsers keep")]
    TooLong,
    /// The config wants no such cookie.
    #[error("the config has no such cookie")]
    Off,
}

/// The `Set-Cookie` field that gives `value` to one of our cookies.
///
/// # Errors
/// When no browser would keep it.
pub fn set(
    settings: &Cookies,
    which: Which,
    value: &str,
    life: Life,
) -> Result<HeaderValue, CookieError> {
    let (name, path) = place(settings, which).ok_or(CookieError::Off)?;
    if cookie_octets(value.as_bytes()).is_none() {
        return Err(CookieError::Value);
    }
    if name.len() + value.len() > MAX_PAIR_BYTES {
        return Err(CookieError::TooLong);
    }
    let cookie = shaped(settings, name, value, path, settings.domain.as_deref(), life);
    HeaderValue::try_from(cookie.to_string()).map_err(|_| CookieError::Value)
}

/// The `Set-Cookie` field that removes one of our cookies, as [`set`] has set it.
pub fn clear(settings: &Cookies, which: Which) -> Option<HeaderValue> {
    let (name, path) = place(settings, which)?;
    cleared(settings, name, path, settings.domain.as_deref())
}

/// `Set-Cookie` fields that remove every variant of our cookies that this or another config of
/// ours could have set: each prefix, path (`/`, `base`, the configured one) and domain. The login
/// page and logout send them, so that nobody is locked out by a tossed or forgotten cookie.
pub fn clear_variants(settings: &Cookies, base: &str) -> Vec<HeaderValue> {
    let mut paths = vec!["/"];
    for path in [base, settings.refresh_path.as_str()] {
        if path.starts_with('/') && !paths.contains(&path) {
            paths.push(path);
        }
    }
    let mut domains = vec![None];
    domains.extend(settings.domain.as_deref().map(Some));
    let mut fields = Vec::new();
    let minted = settings.minted.as_ref();
    for configured in [&settings.access, &settings.refresh].into_iter().chain(minted) {
        let bare = bare_name(configured);
        for &path in &paths {
            for &domain in &domains {
                fields.extend(cleared(settings, bare, path, domain));
                // A browser ignores `Secure` cookies that come over plain HTTP.
                if settings.secure {
                    fields.extend(cleared(settings, &format!("__Secure-{bare}"), path, domain));
                }
            }
        }
        if settings.secure {
            fields.extend(cleared(settings, &format!("__Host-{bare}"), "/", None));
        }
    }
    fields
}

fn place(settings: &Cookies, which: Which) -> Option<(&str, &str)> {
    match which {
        Which::Access => Some((&settings.access, "/")),
        Which::Refresh => Some((&settings.refresh, &settings.refresh_path)),
        Which::Device => settings.device.as_deref().map(|name| (name, "/")),
    }
}

fn cleared(
    settings: &Cookies,
    name: &str,
    path: &str,
    domain: Option<&str>,
) -> Option<HeaderValue> {
    // RFC 6265bis section 5.6.2: a `Max-Age` of zero is the earliest time there is.
    let cookie = shaped(settings, name, "", path, domain, Life::For(Duration::ZERO));
    HeaderValue::try_from(cookie.to_string()).ok()
}

/// A cookie with the attributes that the settings want and its name's prefix allows.
fn shaped<'a>(
    settings: &Cookies,
    name: &'a str,
    value: &'a str,
    path: &'a str,
    domain: Option<&'a str>,
    life: Life,
) -> Cookie<'a> {
    // RFC 6265bis section 4.1.3: browsers drop a prefixed cookie that breaks its prefix's rule, and
    // they compare prefixes without regard to case.
    let prefixed = |prefix: &str| {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let host_only = prefixed("__Host-");
    let secure = settings.secure || host_only || prefixed("__Secure-");
    let same_site = match settings.same_site {
        SameSite::Lax => cookie::SameSite::Lax,
        SameSite::Strict => cookie::SameSite::Strict,
        SameSite::None if secure => cookie::SameSite::None,
        // `SameSite=None` without `Secure` is dropped.
        SameSite::None => cookie::SameSite::Lax,
    };
    let mut cookie = Cookie::build((name, value))
        .http_only(true)
        .secure(secure)
        .same_site(same_site)
        .path(if host_only { "/" } else { path });
    if let Some(domain) = domain.filter(|_| !host_only) {
        cookie = cookie.domain(domain);
    }
    if let Life::For(life) = life {
        let seconds = i64::try_from(life.min(MAX_AGE).as_secs()).unwrap_or(0);
        cookie = cookie.max_age(time::Duration::seconds(seconds));
    }
    cookie.build()
}

fn bare_name(name: &str) -> &str {
    for prefix in ["__Host-", "__Secure-"] {
        if let Some((start, bare)) = name.split_at_checked(prefix.len())
            && start.eq_ignore_ascii_case(prefix)
        {
            return bare;
        }
    }
    name
}

/// The value of a piece of a `Cookie` field, if the piece is the cookie `name`. Only blank and tab
/// are blanks, and only before the name: a Unicode blank is part of a name, and so not ours.
fn value_of<'a>(piece: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let value = trim_start(piece).strip_prefix(name.as_bytes())?;
    value.strip_prefix(b"=")
}

fn trim_start(mut piece: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = piece {
        piece = rest;
    }
    piece
}

/// `value`, if it has only what RFC 6265bis section 4.1.1 calls cookie-octets. Quotes are none: no
/// value of ours has them, and those who cut them off see another value than those who do not.
fn cookie_octets(value: &[u8]) -> Option<&str> {
    // Without an early exit or a branch, so that the compiler can take many bytes at a time.
    let bad = value.iter().fold(0, |bad, &byte| {
        let forbidden = (byte == b'"') | (byte == b',') | (byte == b';') | (byte == b'\\');
        bad | u8::from(forbidden | (byte.wrapping_sub(0x21) > 0x7e - 0x21))
    });
    if bad == 0 { str::from_utf8(value).ok() } else { None }
}

/// The pieces of a `Cookie` field: what stands between the semicolons. `$Version` and quotes have no
/// power here (RFC 6265bis section 5.8, unlike RFC 2109): each piece stands for itself.
struct Pieces<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Pieces<'a> {
    const fn of(field: &'a [u8]) -> Self {
        Self { rest: Some(field) }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let at = memchr::memchr(b';', rest);
        let Some((piece, rest)) = at.and_then(|at| rest.split_at_checked(at)) else {
            self.rest = None;
            return Some(rest);
        };
        self.rest = rest.get(1..);
        Some(piece)
    }
}

#[cfg(test)]
#[path = "cookies_tests.rs"]
mod tests;
