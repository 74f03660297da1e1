//! Header names that the operator chooses, and those that are nobody's to choose.

use http::header::HeaderName;

use super::Findings;

/// Fields that frame a message, route it, carry credentials or are hop-by-hop (RFC 9110 section
/// 7.6.1): if one of them carried an identity, the message would break or be read as another.
pub(super) const TAKEN: [&str; 33] = [
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "referer",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-real-ip",
];

/// A valid header name that is not taken, however its `-`, `_` and `.` are written.
pub(super) fn free_name(key: &str, text: &str, found: &mut Findings<'_>) -> Option<HeaderName> {
    let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
        found.wrong(key, format!("{text:?} is not a header name"));
        return None;
    };
    let folded = folded(name.as_str());
    if TAKEN.contains(&folded.as_str()) || folded.starts_with("sec-") {
        found.wrong(key, format!("{text:?} has a meaning of its own; choose another name"));
        return None;
    }
    Some(name)
}

/// As an application that cannot tell them apart reads it.
pub(super) fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}
