//! What a route's `host` and `path` may say, and which of two that both match is the closer one.
//! Literal parts are brought into the canonical form in which requests are matched and forwarded,
//! so that a pattern can never miss for its spelling.

use std::cmp::Ordering;
use std::fmt;

use super::split_host_port;

/// A host name as a route names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host, lower case, without a trailing dot.
    Exact(String),
    /// `*.example.org`: any one label before this suffix (`example.org`).
    Wildcard(String),
}

/// A path as a route names it, in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPattern {
    /// At least one; [`Segment::Rest`] only as the last. An empty literal stands for a trailing
    /// slash and is the last one too: `/` is one empty literal, `/a/` is `a` and an empty one.
    pub segments: Vec<Segment>,
}

/// One segment of a [`PathPattern`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// Exactly this, canonical.
    Literal(String),
    /// `*`: any one segment that is not empty.
    One,
    /// `**`: all that follows, nothing too (`/a/**` matches `/a`, `/a/` and `/a/b/c`).
    Rest,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// A host with a scheme, a port, a path, a blank or nothing in it.
    #[error("{0:?} is not a host name; write \"app.example.org\" or \"*.example.org\", no port")]
    Host(String),
    /// `*` elsewhere than as the whole first label.
    #[error("in a host, * stands for the whole first label only, as in \"*.example.org\"")]
    HostWildcard,
    /// A wildcard over a whole top-level domain.
    #[error("\"*.{0}\" would cover a whole top-level domain")]
    HostTooWide(String),
    /// A path that does not begin with a slash.
    #[error("{0:?} must begin with /")]
    NotAbsolute(String),
    /// `//`.
    #[error("{0:?} has an empty segment (//)")]
    EmptySegment(String),
    /// `.` or `..`, however written, with parameters too.
    #[error("{0:?} is a dot segment, which no request has when it is matched")]
    DotSegment(String),
    /// `**` elsewhere than at the end.
    #[error("** stands for all that follows, so it can only come last")]
    RestNotLast,
    /// `*` as a part of a segment.
    #[error("{0:?}: * stands for a whole segment only")]
    PartialWildcard(String),
    /// `:id` or `{id}`.
    #[error("{0:?}: segments have no names here; write * for any one segment")]
    Named(String),
    /// A `%` without two hex digits behind it.
    #[error("{0:?} has a % that is not followed by two hex digits")]
    BadEscape(String),
    /// What is refused in requests too, so that such a route could never match.
    #[error("{0:?} holds an encoded slash or backslash, a control character or a doubled escape")]
    Refused(String),
    /// A delimiter that stands for itself, escaped: a request with either spelling is refused where
    /// the route depends on it, so such a route could never match.
    #[error("{0:?} escapes a delimiter that stands for itself; write it plain")]
    EscapedDelimiter(String),
    /// Bytes that are not UTF-8 once decoded.
    #[error("{0:?} is not UTF-8 once decoded")]
    NotUtf8(String),
    /// A character that cannot stand in a path as it is.
    #[error("{0:?} holds {1:?}, which a path cannot hold as it is; percent-encode it")]
    BadCharacter(String, char),
    /// Longer than any path worth matching.
    #[error("longer than {MAX_LENGTH} bytes")]
    TooLong,
}

/// Bytes of a pattern: more than any sensible path, less than a memory problem.
const MAX_LENGTH: usize = 2048;

impl HostPattern {
    /// Reads `app.example.org` or `*.example.org`. Case and one trailing dot do not count.
    ///
    /// # Errors
    /// The text is no host name, or its `*` is not the whole first label.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let (wildcard, name) = match text.strip_prefix("*.") {
            Some(suffix) => (true, suffix),
            None => (false, text),
        };
        if name.contains('*') {
            return Err(BadPattern::HostWildcard);
        }
        match split_host_port(name) {
            Some((host, None)) if !wildcard => Ok(Self::Exact(host)),
            Some((host, None)) if host.contains('.') => Ok(Self::Wildcard(host)),
            Some((host, None)) => Err(BadPattern::HostTooWide(host)),
            Some((_, Some(_))) | None => Err(BadPattern::Host(text.to_owned())),
        }
    }

    /// Whether it names `host` (lower case, no trailing dot).
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Wildcard(suffix) => host
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && rest == suffix),
        }
    }

    /// Of two that match the same host, the closer one is `Less`. `Equal` only for equal ones.
    pub fn closer(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Exact(_), Self::Wildcard(_)) => Ordering::Less,
            (Self::Wildcard(_), Self::Exact(_)) => Ordering::Greater,
            (Self::Exact(a), Self::Exact(b)) | (Self::Wildcard(a), Self::Wildcard(b)) => a.cmp(b),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

impl PathPattern {
    /// Reads `/a/*/b/**`. A trailing slash counts: `/a/` is not `/a`, and `/a/**` is both and all
    /// below.
    ///
    /// # Errors
    /// What about the text could never match, or would match something else than it seems to.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        if text.len() > MAX_LENGTH {
            return Err(BadPattern::TooLong);
        }
        let rest =
            text.strip_prefix('/').ok_or_else(|| BadPattern::NotAbsolute(text.to_owned()))?;
        let mut parts = rest.split('/').peekable();
        let mut segments = Vec::new();
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            segments.push(match part {
                "" if !last => return Err(BadPattern::EmptySegment(text.to_owned())),
                "**" if !last => return Err(BadPattern::RestNotLast),
                "**" => Segment::Rest,
                "*" => Segment::One,
                part => Segment::Literal(canonical_segment(part)?),
            });
        }
        Ok(Self { segments })
    }

    /// Whether it names `path`, which must be canonical and without a query. The plain rule, which
    /// the fast matcher is compared with.
    pub fn matches(&self, path: &str) -> bool {
        let Some(rest) = path.strip_prefix('/') else { return false };
        let mut parts = rest.split('/');
        for segment in &self.segments {
            let met = match (segment, parts.next()) {
                (Segment::Rest, _) => return true,
                (Segment::Literal(literal), Some(part)) => literal == part,
                (Segment::One, Some(part)) => !part.is_empty(),
                (Segment::Literal(_) | Segment::One, None) => false,
            };
            if !met {
                return false;
            }
        }
        parts.next().is_none()
    }

    /// Of two that match the same path, the closer one is `Less`. `Equal` only for equal ones: the
    /// first segment in which two patterns differ decides, a literal before `*` before `**`, and
    /// two different literals never match the same path.
    pub fn closer(&self, other: &Self) -> Ordering {
        let rank = |segment: Option<&Segment>| match segment {
            Some(Segment::Literal(_)) => 0,
            Some(Segment::One) => 1,
            None => 2,
            Some(Segment::Rest) => 3,
        };
        let (mut ours, mut theirs) = (self.segments.iter(), other.segments.iter());
        loop {
            let (a, b) = (ours.next(), theirs.next());
            let order = match (a, b) {
                (None, None) => return Ordering::Equal,
                (Some(Segment::Literal(a)), Some(Segment::Literal(b))) => a.cmp(b),
                (a, b) => rank(a).cmp(&rank(b)),
            };
            if order.is_ne() {
                return order;
            }
        }
    }

    /// Whether all that it matches lies at or below `base`, a path of literals.
    pub(super) fn is_below(&self, base: &Self) -> bool {
        self.segments.starts_with(&base.segments)
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.segments.iter().try_for_each(|segment| match segment {
            Segment::Literal(literal) => write!(f, "/{literal}"),
            Segment::One => f.write_str("/*"),
            Segment::Rest => f.write_str("/**"),
        })
    }
}

/// One literal segment in canonical form: unreserved characters decoded, all other escapes in
/// upper-case hex (RFC 3986 section 6.2.2), and what is not ASCII escaped.
fn canonical_segment(part: &str) -> Result<String, BadPattern> {
    let own = || part.to_owned();
    if part.contains('*') {
        return Err(BadPattern::PartialWildcard(own()));
    }
    if part.starts_with(':') || (part.starts_with('{') && part.ends_with('}')) {
        return Err(BadPattern::Named(own()));
    }
    let mut canonical = String::with_capacity(part.len());
    let mut decoded = Vec::with_capacity(part.len());
    let (mut bytes, mut escaped) = (part.bytes(), false);
    // The same rules as for requests: what would be refused there could never match here.
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = (bytes.next().and_then(hex), bytes.next().and_then(hex));
            let (Some(high), Some(low)) = digits else {
                return Err(BadPattern::BadEscape(own()));
            };
            let value = high * 16 + low;
            let mut behind = bytes.clone();
            let twice = value == b'%'
                && behind.next().and_then(hex).is_some()
                && behind.next().and_then(hex).is_some();
            if twice || matches!(value, b'/' | b'\\') {
                return Err(BadPattern::Refused(own()));
            }
            escaped |= b"!$&'()*+,;=:@".contains(&value);
            push(&mut canonical, value, is_unreserved(value));
            decoded.push(value);
        } else {
            let plain = is_unreserved(byte) || b"!$&'()+,;=:@".contains(&byte);
            if byte.is_ascii() && !plain {
                return Err(BadPattern::BadCharacter(own(), char::from(byte)));
            }
            push(&mut canonical, byte, plain);
            decoded.push(byte);
        }
    }
    let Ok(decoded) = std::str::from_utf8(&decoded) else {
        return Err(BadPattern::NotUtf8(own()));
    };
    if decoded.chars().any(char::is_control) {
        return Err(BadPattern::Refused(own()));
    }
    // With parameters too: some applications cut them off first.
    if matches!(decoded.split(';').next(), Some("." | "..")) {
        return Err(BadPattern::DotSegment(own()));
    }
    if escaped {
        return Err(BadPattern::EscapedDelimiter(own()));
    }
    Ok(canonical)
}

fn push(to: &mut String, byte: u8, plain: bool) {
    if plain {
        to.push(char::from(byte));
    } else {
        to.push_str(&format!("%{byte:02X}"));
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests;
