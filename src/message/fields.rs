//! Which fields end here: those of one hop only, and those by which a client could pass for the
//! gateway in the eyes of the application.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::config::{Changes, IdentityHeaders, Upstream};

/// Whether a field belongs to one connection. RFC 9110 section 7.6.1 names the first row; those of
/// the second are spoken to us, or are known to be taken for something else behind a proxy.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    match name.as_str() {
        "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer" => true,
        "transfer-encoding" | "upgrade" => true,
        "proxy-authenticate" | "proxy-authorization" | "proxy-authentication-info" => true,
        // RFC 7540 section 3.2.1: only meant for an upgrade to h2c, which we do not offer.
        "http2-settings" => true,
        // CGI hands it to programs as `HTTP_PROXY` (CVE-2016-5385).
        "proxy" => true,
        _ => false,
    }
}

/// Whether a field's name is none (RFC 9110 section 5.1): over HTTP/2, `http` lets a quote into it.
fn is_no_token(name: &HeaderName) -> bool {
    name.as_str().contains('"')
}

/// Most names of `Connection` fields that are honoured; a head has fewer fields than that.
const MAX_CONNECTION_NAMES: usize = 256;

/// Whether the fields of this name list `option`, in any case.
pub fn lists(headers: &HeaderMap, name: HeaderName, option: &str) -> bool {
    headers.get_all(name).iter().any(|list| {
        let mut options = list.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        options.any(|one| one.eq_ignore_ascii_case(option.as_bytes()))
    })
}

/// Removes the fields that belong to one connection, those that `Connection` lists, and those whose
/// name nobody could write in HTTP/1.1. Call it when all decisions have been made, and before fields of ours are added: a client may list any
/// name.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    strip_all_listed(headers);
    remove_where(headers, |name| is_hop_by_hop(name) || is_no_token(name));
}

/// Removes what `Connection` lists.
fn strip_all_listed(headers: &mut HeaderMap) {
    let mut lists = headers.get_all(header::CONNECTION).iter();
    match (lists.next().cloned(), lists.next()) {
        (None, _) => {}
        (Some(list), None) => strip_listed(headers, &list),
        (Some(_), Some(_)) => {
            let lists: Vec<HeaderValue> =
                headers.get_all(header::CONNECTION).iter().cloned().collect();
            lists.iter().for_each(|list| strip_listed(headers, list));
        }
    }
}

/// Removes the fields whose name `refused` says, in rounds that need no memory of their own.
fn remove_where(headers: &mut HeaderMap, refused: impl Fn(&HeaderName) -> bool) {
    const AT_ONCE: usize = 8;
    loop {
        let mut doomed: [Option<HeaderName>; AT_ONCE] = Default::default();
        let mut count = 0;
        for (place, name) in doomed.iter_mut().zip(headers.keys().filter(|name| refused(name))) {
            *place = Some(name.clone());
            count += 1;
        }
        for name in doomed.into_iter().take(count).flatten() {
            headers.remove(name);
        }
        // There may be more than one round holds.
        if count < AT_ONCE {
            return;
        }
    }
}

fn strip_listed(headers: &mut HeaderMap, list: &HeaderValue) {
    let names = list.as_bytes().split(|&byte| byte == b',').take(MAX_CONNECTION_NAMES);
    for name in names.map(<[u8]>::trim_ascii) {
        // The two options that name no field, and by far the most frequent.
        if name.eq_ignore_ascii_case(b"keep-alive") || name.eq_ignore_ascii_case(b"close") {
            continue;
        }
        // What cannot be a name names nothing.
        if let Ok(name) = HeaderName::from_bytes(name) {
            headers.remove(name);
        }
    }
}

/// Removes from trailers what only a head may say (RFC 9110 section 6.5.1): framing, routing,
/// credentials, and what changes the meaning of a request. Who merges them into the head would be
/// deceived.
pub fn strip_trailers(trailers: &mut HeaderMap) {
    remove_where(trailers, |name| {
        is_hop_by_hop(name)
            || is_no_token(name)
            || name.as_str().starts_with("if-")
            || name.as_str().starts_with("content-")
            || name.as_str().starts_with("access-control-")
            || name.as_str().starts_with("accept")
            || name.as_str().starts_with("sec-")
            || matches!(
                name.as_str(),
                "host"
                    | "authorization"
                    | "cookie"
                    | "set-cookie"
                    | "www-authenticate"
                    | "cache-control"
                    | "age"
                    | "expires"
                    | "vary"
                    | "location"
                    | "expect"
                    | "max-forwards"
                    | "pragma"
                    | "range"
                    | "origin"
                    | "referer"
                    | "retry-after"
                    | "via"
                    | "x-request-id"
                    | "x-sallyport"
            )
    });
}

/// Takes out and puts in what a route's config says.
pub fn change(headers: &mut HeaderMap, changes: &Changes) {
    for name in &changes.remove {
        headers.remove(name);
    }
    for (name, value) in &changes.set {
        headers.insert(name, value.clone());
    }
}

/// Keeps a client from speaking to an upstream in the gateway's name. Built once per upstream.
#[derive(Debug)]
pub struct Firewall {
    /// Names that tell who calls, folded.
    identity: Box<[Box<[u8]>]>,
    /// Names with `_` or `.` that may pass.
    allowed: Box<[HeaderName]>,
    /// First letters that any refused name without `_` and `.` has; bit 0 is `a`.
    letters: u32,
}

/// All names that begin so tell who calls, whatever an upstream calls them.
const IDENTITY_PREFIX: &[u8] = b"x-auth-";

/// All names that begin so tell where a request came from.
const FORWARDING_PREFIX: &[u8] = b"x-forwarded";

/// Names by which applications take a request for another than the route table has judged. No proxy
/// before us can make them true, so they are believed from nobody.
const MISLEADING: [&[u8]; 9] = [
    b"x-original-url",
    b"x-original-uri",
    b"x-original-host",
    b"x-original-method",
    b"x-rewrite-url",
    b"x-host",
    b"x-http-method",
    b"x-http-method-override",
    b"x-method-override",
];

/// Further names that tell where a request came from.
const FORWARDING: [&[u8]; 6] = [
    b"forwarded",
    b"x-real-ip",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"true-client-ip",
    b"cf-connecting-ip",
];

impl Firewall {
    /// The firewall in front of `upstream`.
    pub fn new(upstream: &Upstream) -> Self {
        // All of them by name, so that one which is added later cannot be forgotten here.
        let IdentityHeaders { user, id, name, email, roles, permissions, session, app } =
            &upstream.identity;
        let configured = [user, id, name, email, roles, permissions, session, app];
        let assertion = upstream.assertion.as_ref().map(|assertion| &assertion.header);
        let configured = configured.into_iter().flatten().chain(assertion);
        let identity: Box<[Box<[u8]>]> =
            configured.map(|name| name.as_str().bytes().map(fold).collect()).collect();
        let named = identity.iter().map(|name| &**name).chain(FORWARDING).chain(MISLEADING);
        let letters = named
            .chain([IDENTITY_PREFIX, FORWARDING_PREFIX])
            .filter_map(<[u8]>::first)
            .fold(0, |letters, &first| letters | letter(first));
        Self { identity, allowed: upstream.allowed_names.clone().into(), letters }
    }

    /// Removes every field that a client must not send to the upstream: identity in any spelling,
    /// forwarding fields unless `trusted_peer` sent them, and other names with `_` or `.` unless
    /// the upstream's config allows them.
    pub fn strip(&self, headers: &mut HeaderMap, trusted_peer: bool) {
        remove_where(headers, |name| self.refuses(name, trusted_peer));
    }

    /// The same together with [`strip_hop_by_hop`], in one pass.
    pub fn clean(&self, headers: &mut HeaderMap, trusted_peer: bool) {
        strip_all_listed(headers);
        remove_where(headers, |name| is_hop_by_hop(name) || self.refuses(name, trusted_peer));
    }

    fn refuses(&self, name: &HeaderName, trusted_peer: bool) -> bool {
        let bytes = name.as_str().as_bytes();
        // Programs behind CGI-like interfaces cannot tell these from a hyphen.
        let odd = bytes.iter().any(|&byte| is_odd(byte));
        if odd {
            let dotted = bytes.iter().any(|byte| matches!(byte, b'_' | b'.'));
            return is_no_token(name)
                || self.tells_who(bytes)
                || misleads(bytes)
                || tells_where(bytes)
                || (dotted && !self.allowed.contains(name));
        }
        let first = bytes.first().map_or(0, |&first| letter(first));
        self.letters & first != 0
            && (self.tells_who(bytes) || misleads(bytes) || (!trusted_peer && tells_where(bytes)))
    }

    fn tells_who(&self, name: &[u8]) -> bool {
        starts_folded(name, IDENTITY_PREFIX)
            || self.identity.iter().any(|one| equals_folded(name, one))
    }
}

fn misleads(name: &[u8]) -> bool {
    MISLEADING.iter().any(|one| equals_folded(name, one))
}

fn tells_where(name: &[u8]) -> bool {
    starts_folded(name, FORWARDING_PREFIX) || FORWARDING.iter().any(|one| equals_folded(name, one))
}

fn equals_folded(name: &[u8], folded: &[u8]) -> bool {
    name.len() == folded.len() && starts_folded(name, folded)
}

fn starts_folded(name: &[u8], folded: &[u8]) -> bool {
    name.len() >= folded.len()
        && name.iter().zip(folded).all(|(&byte, &wanted)| fold(byte) == wanted)
}

/// A byte of a (lower-case) name as the most careless reader takes it: whatever is neither letter
/// nor digit is a hyphen.
const fn fold(byte: u8) -> u8 {
    if byte.is_ascii_lowercase() || byte.is_ascii_digit() { byte } else { b'-' }
}

/// Whether folding changes `byte`.
fn is_odd(byte: u8) -> bool {
    // One load for each byte of each name of a head, instead of a row of comparisons.
    static ODD: [bool; 128] = {
        let mut table = [true; 128];
        let mut byte = 0_u8;
        while byte < 128 {
            #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
            {
                table[byte as usize] = fold(byte) != byte;
            }
            byte += 1;
        }
        table
    };
    ODD.get(usize::from(byte)).is_none_or(|&odd| odd)
}

const fn letter(byte: u8) -> u32 {
    if byte.is_ascii_lowercase() { 1 << (byte - b'a') } else { 0 }
}

/// A field value that says `text` to everybody alike: plain ASCII stands for itself; all else, and
/// `%` too, is percent-encoded as UTF-8.
pub fn percent_header_value(text: &str) -> HeaderValue {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'%';
    // Blanks at the ends would be cut off on the way (RFC 9110 section 5.5).
    let inner = text.trim_matches(' ').len() == text.len();
    if inner
        && text.bytes().all(|byte| plain(&byte))
        && let Ok(value) = HeaderValue::from_str(text)
    {
        return value;
    }
    let start = text.len() - text.trim_start_matches(' ').len();
    let end = text.trim_end_matches(' ').len();
    let mut encoded = String::with_capacity(text.len() * 3);
    for (at, byte) in text.bytes().enumerate() {
        if plain(&byte) && (byte != b' ' || (start..end).contains(&at)) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(percent_encoding::percent_encode_byte(byte));
        }
    }
    HeaderValue::try_from(encoded).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
#[path = "fields_tests.rs"]
pub(super) mod tests;
