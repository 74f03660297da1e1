//! Where a request came from: whom to believe about it, and what to tell the upstream.

use std::cell::{RefCell, RefMut};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue, VIA};
use ipnet::IpNet;

use super::added::{Added, Ready};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The client's address: `peer` itself unless it is one of the `trusted` proxies, else the
/// right-most address of `X-Forwarded-For` that is none, or of `Forwarded` where that field is not there
/// (a proxy writes one of them, and hands on what a client wrote in the other). What cannot be read ends
/// the walk: the hop that reported it is then the client.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    let mut client = peer.to_canonical();
    if !is_trusted(client) {
        return client;
    }
    let listed = headers.contains_key(X_FORWARDED_FOR);
    let (name, read): (HeaderName, ReadHop) = match listed {
        true => (X_FORWARDED_FOR, hop_address),
        false => (FORWARDED, element_address),
    };
    for line in headers.get_all(name).iter().rev() {
        let mut left = line.as_bytes();
        loop {
            // By bytes: what a client wrote at the left must not spoil what proxies added at the right.
            let (before, hop) = split_last(left, b',', !listed);
            let Some(address) = read(hop.trim_ascii()) else { return client };
            client = address;
            if !is_trusted(client) {
                return client;
            }
            match before {
                Some(before) => left = before,
                None => break,
            }
        }
    }
    client
}

/// Reads one hop of either field.
type ReadHop = fn(&[u8]) -> Option<IpAddr>;

/// What stands behind the last `separator`, and what before it. `quoted`: one between quotes is none;
/// they are counted from the right, where a proxy wrote, so that an odd one at the left harms nothing.
fn split_last(text: &[u8], separator: u8, quoted: bool) -> (Option<&[u8]>, &[u8]) {
    let mut inside = false;
    let at = text.iter().rposition(|&byte| {
        inside ^= quoted && byte == b'"';
        byte == separator && !inside
    });
    match at.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?))) {
        Some((before, last)) => (Some(before), last),
        None => (None, text),
    }
}

/// The `for` of an element of RFC 7239 section 4, if it names an address, and once.
fn element_address(element: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    let mut left = Some(element);
    while let Some(text) = left {
        let (before, pair) = split_last(text, b';', true);
        left = before;
        let Some((name, value)) = pair.trim_ascii().split_at_checked(4) else { continue };
        if name.eq_ignore_ascii_case(b"for=") {
            let inner = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
            let address = hop_address(inner.unwrap_or(value))?;
            if found.replace(address).is_some() {
                return None;
            }
        }
    }
    found
}

/// Whether `peer` is one of the `trusted` proxies.
pub fn is_trusted(peer: IpAddr, trusted: &[IpNet]) -> bool {
    let peer = peer.to_canonical();
    trusted.iter().any(|net| net.contains(&peer))
}

/// Reads `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]` and `[::1]:5`: all that proxies write.
fn hop_address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?;
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match inner {
        Some(inner) => IpAddr::V6(inner.parse().ok()?),
        None => match text.parse() {
            Ok(address) => address,
            Err(_) => text.parse::<SocketAddr>().ok()?.ip(),
        },
    };
    Some(address.to_canonical())
}

/// What we tell upstreams of the hop before us. Made once per connection, for the texts do not
/// change on it.
#[derive(Debug, Clone)]
pub struct Hop {
    address: HeaderValue,
    /// The element of RFC 7239 section 4, but for `host`.
    element: Box<str>,
    https: bool,
    /// Of the last request: on one connection its host hardly ever changes.
    last: RefCell<Option<Last>>,
}

/// What was made for a host, as far as it was asked for.
#[derive(Debug, Clone)]
struct Last {
    host: HeaderValue,
    element: Option<HeaderValue>,
    told: Option<Rc<Ready>>,
}

impl Hop {
    /// The hop from `peer` to us, by TLS or not.
    pub fn new(peer: IpAddr, https: bool) -> Self {
        let peer = peer.to_canonical();
        let proto = if https { "https" } else { "http" };
        // RFC 7239 section 6: an IPv6 address stands in brackets, and those in quotes.
        let element = match peer {
            IpAddr::V4(peer) => format!("for={peer};proto={proto}"),
            IpAddr::V6(peer) => format!("for=\"[{peer}]\";proto={proto}"),
        };
        // The text of an address is always a field value.
        let address = HeaderValue::try_from(peer.to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Self { address, element: element.into(), https, last: RefCell::default() }
    }

    /// `Host` for a request on this connection: `name`, with `port` where it is not the scheme's own.
    pub fn host(&self, name: &str, port: Option<u16>) -> Result<HeaderValue, InvalidHeaderValue> {
        if let Some(last) = &*self.last.borrow()
            && is_host(last.host.as_bytes(), name, port)
        {
            return Ok(last.host.clone());
        }
        let host = match port {
            None => HeaderValue::from_str(name)?,
            Some(port) => HeaderValue::try_from(format!("{name}:{port}"))?,
        };
        Ok(self.last(&host).host.clone())
    }

    /// Adds `X-Forwarded-For`, `-Proto`, `-Host`, `Forwarded` (RFC 7239) and `via`, our element of
    /// `Via`, which is one for all of a connection. `before`: the fields of a trusted proxy, whose
    /// lists grow by our peer, and whose word for scheme and host stands; the firewall has taken those
    /// of all others out. `host` is as [`Self::host`] writes it.
    pub fn tell(
        &self,
        before: Option<&mut HeaderMap>,
        host: &HeaderValue,
        via: &HeaderValue,
        added: &mut Added,
    ) {
        let Some(before) = before else {
            added.come_from(self.told(host, via));
            return;
        };
        for (name, ours, is_list) in self.fields(host) {
            match before.contains_key(&name) {
                false => added.push(name, ours),
                true if is_list => {
                    let list = appended(before, &name, &ours).unwrap_or(ours);
                    before.insert(name, list);
                }
                true => {}
            }
        }
        added.push(VIA, via.clone());
    }

    /// The four fields, and which of them are lists.
    fn fields(&self, host: &HeaderValue) -> [(HeaderName, HeaderValue, bool); 4] {
        let proto = HeaderValue::from_static(if self.https { "https" } else { "http" });
        [
            (X_FORWARDED_FOR, self.address.clone(), true),
            (FORWARDED, self.element_for(host), true),
            (X_FORWARDED_PROTO, proto, false),
            (X_FORWARDED_HOST, host.clone(), false),
        ]
    }

    /// All of them for whoever comes by no proxy before us.
    fn told(&self, host: &HeaderValue, via: &HeaderValue) -> Rc<Ready> {
        if let Some(told) = &self.last(host).told {
            return Rc::clone(told);
        }
        let fields = self.fields(host).into_iter().map(|(name, value, _)| (name, value));
        let told = Rc::new(Ready::new(fields.chain([(VIA, via.clone())])));
        Rc::clone(self.last(host).told.insert(told))
    }

    fn element_for(&self, host: &HeaderValue) -> HeaderValue {
        let make = || {
            let name = host.to_str().unwrap_or_default();
            // RFC 7239 section 4: what is no token is quoted; a port's colon and brackets are none.
            let quote = if name.contains([':', '[']) { "\"" } else { "" };
            let element = format!("{};host={quote}{name}{quote}", self.element);
            HeaderValue::try_from(element).unwrap_or(HeaderValue::from_static("for=unknown"))
        };
        self.last(host).element.get_or_insert_with(make).clone()
    }

    /// What is remembered of this host, and from now on of no other.
    fn last(&self, host: &HeaderValue) -> RefMut<'_, Last> {
        let mut last = self.last.borrow_mut();
        last.take_if(|last| last.host != host);
        let make = || Last { host: host.clone(), element: None, told: None };
        RefMut::map(last, |last| last.get_or_insert_with(make))
    }
}

/// Whether `text` is this host, written as [`Hop::host`] writes it.
fn is_host(text: &[u8], name: &str, port: Option<u16>) -> bool {
    match (text.strip_prefix(name.as_bytes()), port) {
        (Some([]), None) => true,
        (Some([b':', digits @ ..]), Some(port)) => {
            let digits = str::from_utf8(digits).ok();
            // Ours, and so without a sign or a leading zero.
            digits.and_then(|digits| digits.parse().ok()) == Some(port)
        }
        _ => false,
    }
}

/// The field's lines and `last` as one list (RFC 9110 section 5.3). `None` when there is no line.
fn appended(headers: &HeaderMap, name: &HeaderName, last: &HeaderValue) -> Option<HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let mut list = lines.next()?.as_bytes().to_vec();
    for line in lines.chain([last]) {
        if !list.is_empty() {
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(line.as_bytes());
    }
    HeaderValue::from_maybe_shared(bytes::Bytes::from(list)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(peer: &str, lines: &[&str], trusted: &[&str]) -> String {
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    const PROXIES: &[&str] = &["10.0.0.0/8", "fd00::/8"];

    #[test]
    fn nobody_is_believed_by_default() {
        assert_eq!(client("10.0.0.1", &["1.1.1.1"], &[]), "10.0.0.1");
        assert_eq!(client("2.2.2.2", &["1.1.1.1"], PROXIES), "2.2.2.2");
    }

    #[test]
    fn the_client_is_the_right_most_hop_that_is_not_trusted() {
        for (lines, expected) in [
            (&["1.1.1.1"][..], "1.1.1.1"),
            (&["6.6.6.6, 1.1.1.1, 10.0.0.2"], "1.1.1.1"),
            (&["6.6.6.6", "1.1.1.1", "10.0.0.2,10.0.0.3"], "1.1.1.1"),
            (&["6.6.6.6,[fd00::1]:80"], "6.6.6.6"),
            (&["1.1.1.1:5050"], "1.1.1.1"),
            (&["::ffff:1.1.1.1"], "1.1.1.1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", lines, PROXIES), expected, "{lines:?}");
        }
        assert_eq!(client("::ffff:10.0.0.1", &["1.1.1.1"], PROXIES), "1.1.1.1");
    }

    #[test]
    fn a_hop_that_cannot_be_read_ends_the_walk() {
        for garbage in
            ["unknown", "", "1.1.1.1.1", "_hidden", "1.1.1.1:x", "[1.1.1.1]", "é", "[::1"]
        {
            let line = format!("6.6.6.6, {garbage}, 10.0.0.2");
            assert_eq!(client("10.0.0.1", &[&line], PROXIES), "10.0.0.2", "{garbage}");
        }
    }

    fn by_forwarded(lines: &[&str]) -> String {
        let trusted: Vec<IpNet> = PROXIES.iter().map(|net| net.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        client_address("10.0.0.1".parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn the_standard_field_says_it_as_well_where_the_other_is_not_there() {
        for (lines, expected) in [
            (&["for=1.1.1.1"][..], "1.1.1.1"),
            (&["for=6.6.6.6, For=\"1.1.1.1:5050\";proto=http, for=10.0.0.2"], "1.1.1.1"),
            (&["for=6.6.6.6", "proto=http; for=1.1.1.1", "for=10.0.0.2"], "1.1.1.1"),
            (&["for=\"[2001:db8::1]:80\";by=10.0.0.1"], "2001:db8::1"),
            (&["for=\"[::ffff:1.1.1.1]\""], "1.1.1.1"),
            // What a client left open at the left, and a separator between quotes.
            (&["for=\"6.6.6.6, for=1.1.1.1"], "1.1.1.1"),
            (&["for=1.1.1.1;host=\"a, for=6.6.6.6\""], "1.1.1.1"),
            (&["for=1.1.1.1;host=\"a;for=6.6.6.6\""], "1.1.1.1"),
            // What names no address, or two, ends the walk.
            (&["for=6.6.6.6, for=_hidden, for=10.0.0.2"], "10.0.0.2"),
            (&["for=6.6.6.6, for=unknown"], "10.0.0.1"),
            (&["for=6.6.6.6, proto=https"], "10.0.0.1"),
            (&["for=6.6.6.6;for=1.1.1.1"], "10.0.0.1"),
            (&["for=\"1.1.1.1"], "10.0.0.1"),
            (&[""], "10.0.0.1"),
        ] {
            assert_eq!(by_forwarded(lines), expected, "{lines:?}");
        }
        let mut both = HeaderMap::new();
        both.append(FORWARDED, HeaderValue::from_static("for=6.6.6.6"));
        both.append(X_FORWARDED_FOR, HeaderValue::from_static("1.1.1.1"));
        let trusted: Vec<IpNet> = PROXIES.iter().map(|net| net.parse().unwrap()).collect();
        let client = client_address("10.0.0.1".parse().unwrap(), &both, &trusted);
        assert_eq!(client.to_string(), "1.1.1.1", "as before there were both");
    }

    proptest! {
        #[test]
        fn both_fields_name_one_client(
            hops in prop::collection::vec("10\\.0\\.0\\.[1-9]|[1-9]\\.1\\.1\\.1|unknown", 1..6),
        ) {
            let list = hops.join(", ");
            let elements: Vec<String> = hops.iter().map(|hop| format!("for={hop};proto=x")).collect();
            let told = by_forwarded(&[&elements.join(",")]);
            prop_assert_eq!(told, client("10.0.0.1", &[&list], PROXIES));
        }

        #[test]
        fn what_a_client_wrote_at_the_left_does_not_reach_the_right(junk in "[ -~]{0,30}") {
            prop_assert_eq!(by_forwarded(&[&format!("{junk}, for=1.1.1.1, for=10.0.0.2")]), "1.1.1.1");
        }
    }

    fn told(peer: &str, host: &'static str, before: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in before {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let hop = Hop::new(peer.parse().unwrap(), true);
        let (host, via) = (HeaderValue::from_static(host), HeaderValue::from_static("2 us"));
        // The second time from memory.
        hop.tell(None, &host, &via, &mut Added::default());
        let mut added = Added::default();
        match before {
            [] => hop.tell(None, &host, &via, &mut added),
            _ => hop.tell(Some(&mut headers), &host, &via, &mut added),
        }
        for (name, value) in added.iter() {
            assert!(!headers.contains_key(name), "{name} is said twice");
            headers.insert(name, value.clone());
        }
        headers
    }

    #[test]
    fn an_upstream_is_told_where_a_request_came_from() {
        let headers = told("::ffff:1.1.1.1", "app.test", &[]);
        assert_eq!(headers.get("x-forwarded-for").unwrap(), "1.1.1.1");
        assert_eq!(headers.get("x-forwarded-proto").unwrap(), "https");
        assert_eq!(headers.get("x-forwarded-host").unwrap(), "app.test");
        assert_eq!(headers.get("forwarded").unwrap(), "for=1.1.1.1;proto=https;host=app.test");
        assert_eq!(headers.get("via").unwrap(), "2 us");
        let headers = told("2001:db8::1", "[::1]:8443", &[]);
        assert_eq!(
            headers.get("forwarded").unwrap(),
            "for=\"[2001:db8::1]\";proto=https;host=\"[::1]:8443\""
        );
    }

    #[test]
    fn a_connection_remembers_a_host_and_takes_no_other_for_it() {
        let hop = Hop::new("1.1.1.1".parse().unwrap(), true);
        for known in ["app.test", "app.test:8443", "[::1]:8443"] {
            let via = HeaderValue::from_static("2 us");
            hop.tell(None, &HeaderValue::from_static(known), &via, &mut Added::default());
            for (name, port) in [
                ("app.test", None),
                ("app.test", Some(8443)),
                ("app.test", Some(844)),
                ("app.tes", None),
                ("app.tes", Some(8443)),
                ("[::1]", Some(8443)),
                ("[:", None),
            ] {
                let text = port.map_or(name.to_owned(), |port| format!("{name}:{port}"));
                assert_eq!(hop.host(name, port).unwrap(), text.as_str(), "after {known}");
            }
        }
    }

    #[test]
    fn what_a_trusted_proxy_said_is_kept_and_continued() {
        let before = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "10.0.0.2"),
            ("x-forwarded-proto", "http"),
            ("forwarded", "for=1.1.1.1"),
        ];
        let headers = told("10.0.0.1", "app.test", &before);
        let lines: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
        assert_eq!(lines, ["1.1.1.1, 10.0.0.2, 10.0.0.1"]);
        assert_eq!(headers.get("x-forwarded-proto").unwrap(), "http");
        assert_eq!(
            headers.get("forwarded").unwrap(),
            "for=1.1.1.1, for=10.0.0.1;proto=https;host=app.test"
        );
    }

    proptest! {
        #[test]
        fn an_untrusted_peer_cannot_choose_its_address(line in "\\PC{0,40}", a in any::<[u8; 4]>()) {
            let peer = IpAddr::from(a);
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(line.as_bytes()) {
                headers.insert(X_FORWARDED_FOR, value);
            }
            let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
            prop_assume!(!is_trusted(peer, &trusted));
            prop_assert_eq!(client_address(peer, &headers, &trusted), peer);
        }
    }
}
