//! What the gateway adds to a request for its upstream. It stands beside the client's fields until
//! the request is written: to put each field into their map would cost more than to write it.

use std::rc::Rc;

use http::header::{CONTENT_LENGTH, EXPECT, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::Changes;

/// The field by which a request is found in our log.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Says that an answer is the gateway's and not the application's, whose word for it would be a lie:
/// answers of applications come without it.
pub const MARKER: HeaderName = HeaderName::from_static("x-sallyport");

/// Whether a client's field says what only we say: whose request it is, to which host, and where
/// its body ends (RFC 9112 section 6). `Expect` is answered by us: hyper sends the 100 when the
/// upstream's connection first asks for bytes.
pub fn is_ours_to_say(name: &HeaderName) -> bool {
    *name == HOST || *name == CONTENT_LENGTH || *name == EXPECT || *name == REQUEST_ID
}

/// Writes one field as HTTP/1.1 has it (RFC 9112 section 5). Its value's type lets no line end in.
pub fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Fields that many requests are given alike, made once: as fields, and as HTTP/1.1 writes them.
#[derive(Debug)]
pub struct Ready {
    fields: Box<[(HeaderName, HeaderValue)]>,
    lines: Box<[u8]>,
}

impl Ready {
    /// These, in this order.
    pub fn new(fields: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Self {
        let fields: Box<[_]> = fields.into_iter().collect();
        let mut lines = Vec::new();
        for (name, value) in &fields {
            write_field(&mut lines, name.as_str(), value.as_bytes());
        }
        Self { fields, lines: lines.into() }
    }
}

/// Fields to be written behind those of the client. The firewall has taken the client's fields of
/// these names out, so that a name stands for us alone; a list (`Via`) goes on.
#[derive(Debug, Default)]
pub struct Added {
    /// Where requests of this connection come from.
    hop: Option<Rc<Ready>>,
    /// By what this request is found in our log. In a place of its own, for many have nothing else.
    id: Option<(HeaderName, HeaderValue)>,
    /// Of this request alone.
    fields: Vec<(HeaderName, HeaderValue)>,
    /// Who calls, for all requests of one token.
    caller: Option<Rc<Ready>>,
}

impl Added {
    /// One more.
    pub fn push(&mut self, name: HeaderName, value: HeaderValue) {
        self.fields.push((name, value));
    }

    /// By what this request is found in our log.
    pub fn identify(&mut self, id: HeaderValue) {
        self.id = Some((REQUEST_ID, id));
    }

    /// Where the request comes from.
    pub fn come_from(&mut self, hop: Rc<Ready>) {
        self.hop = Some(hop);
    }

    /// Who calls.
    pub fn introduce(&mut self, caller: Rc<Ready>) {
        self.caller = Some(caller);
    }

    /// Takes out and puts in what a route's config says, of the client's `headers` and of ours. It
    /// cannot touch who calls.
    pub fn change(&mut self, headers: &mut HeaderMap, changes: &Changes) {
        if changes.remove.is_empty() && changes.set.is_empty() {
            return;
        }
        if let Some(hop) = self.hop.take() {
            self.fields.extend(hop.fields.iter().cloned());
        }
        for name in changes.remove.iter().chain(changes.set.iter().map(|(name, _)| name)) {
            headers.remove(name);
            self.id.take_if(|(ours, _)| ours == name);
            self.fields.retain(|(ours, _)| ours != name);
        }
        self.fields.extend(changes.set.iter().cloned());
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        let [hop, caller] = [&self.hop, &self.caller]
            .map(|ready| ready.as_deref().map_or(&[][..], |ready| &ready.fields[..]));
        hop.iter().chain(&self.id).chain(&self.fields).chain(caller)
    }

    /// The same in HTTP/1.1.
    pub fn write(&self, out: &mut Vec<u8>) {
        if let Some(hop) = &self.hop {
            out.extend_from_slice(&hop.lines);
        }
        for (name, value) in self.id.iter().chain(&self.fields) {
            write_field(out, name.as_str(), value.as_bytes());
        }
        if let Some(caller) = &self.caller {
            out.extend_from_slice(&caller.lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &'static str) -> HeaderName {
        HeaderName::from_static(name)
    }

    fn value(value: &'static str) -> HeaderValue {
        HeaderValue::from_static(value)
    }

    /// As fields; as lines they must say the same.
    fn told(added: &Added) -> Vec<(&str, &[u8])> {
        let fields: Vec<(&str, &[u8])> =
            added.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let mut lines = Vec::new();
        added.write(&mut lines);
        let mut expected = Vec::new();
        for (name, value) in &fields {
            expected.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        assert_eq!(String::from_utf8(lines), String::from_utf8(expected));
        fields
    }

    #[test]
    fn a_routes_changes_reach_the_clients_fields_and_ours_but_not_who_calls() {
        let mut headers = HeaderMap::new();
        headers.append(name("x-theirs"), value("1"));
        headers.append(name("x-theirs"), value("2"));
        headers.append(name("x-kept"), value("3"));
        let mut added = Added::default();
        let hop = [(name("via"), value("5")), (name("x-forwarded-proto"), value("https"))];
        added.come_from(Rc::new(Ready::new(hop)));
        added.identify(value("4"));
        added.introduce(Rc::new(Ready::new([(name("x-auth-user"), value("ada"))])));
        let before: [(&str, &[u8]); 4] = [
            ("via", b"5"),
            ("x-forwarded-proto", b"https"),
            ("x-request-id", b"4"),
            ("x-auth-user", b"ada"),
        ];
        assert_eq!(told(&added), before);
        let changes = Changes {
            remove: vec![name("x-theirs"), name("via"), name("x-auth-user")],
            set: vec![(REQUEST_ID, value("6")), (name("x-new"), value("7"))],
        };
        added.change(&mut headers, &changes);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-kept"]);
        let after: [(&str, &[u8]); 4] = [
            ("x-forwarded-proto", b"https"),
            ("x-request-id", b"6"),
            ("x-new", b"7"),
            ("x-auth-user", b"ada"),
        ];
        assert_eq!(told(&added), after);
    }
}
