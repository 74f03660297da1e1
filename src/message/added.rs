//! What the gateway adds to a request for its upstream. It stands beside the client's fields until
//! the request is written: to put each field into their map would cost more than to write it.

use std::rc::Rc;

use http::header::{CONTENT_LENGTH, EXPECT, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::Changes;

/// The field by which a request is found in our log.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// About as many as there are, without those that tell who calls.
const USUAL: usize = 8;

/// Whether a client's field says what only we say: whose request it is, to which host, and where
/// its body ends (RFC 9112 section 6). `Expect` is answered by us: hyper sends the 100 when the
/// upstream's connection first asks for bytes.
pub fn is_ours_to_say(name: &HeaderName) -> bool {
    *name == HOST || *name == CONTENT_LENGTH || *name == EXPECT || *name == REQUEST_ID
}

/// Fields to be written behind those of the client. The firewall has taken the client's fields of
/// these names out, so that a name stands for us alone; a list (`Via`) goes on.
#[derive(Debug)]
pub struct Added {
    fields: Vec<(HeaderName, HeaderValue)>,
    /// Who calls, ready-made for all requests of one token.
    caller: Option<Rc<HeaderMap>>,
}

impl Default for Added {
    fn default() -> Self {
        Self { fields: Vec::with_capacity(USUAL), caller: None }
    }
}

impl Added {
    /// One more.
    pub fn push(&mut self, name: HeaderName, value: HeaderValue) {
        self.fields.push((name, value));
    }

    /// Who calls.
    pub fn introduce(&mut self, caller: Rc<HeaderMap>) {
        self.caller = Some(caller);
    }

    /// Takes out and puts in what a route's config says, of the client's `headers` and of ours. It
    /// cannot touch who calls.
    pub fn change(&mut self, headers: &mut HeaderMap, changes: &Changes) {
        for name in changes.remove.iter().chain(changes.set.iter().map(|(name, _)| name)) {
            headers.remove(name);
            self.fields.retain(|(ours, _)| ours != name);
        }
        self.fields.extend(changes.set.iter().cloned());
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let fields = self.fields.iter().map(|(name, value)| (name, value));
        fields.chain(self.caller.iter().flat_map(|caller| caller.iter()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_routes_changes_reach_the_clients_fields_and_ours_but_not_who_calls() {
        let name = HeaderName::from_static;
        let value = HeaderValue::from_static;
        let mut headers = HeaderMap::new();
        headers.append(name("x-theirs"), value("1"));
        headers.append(name("x-theirs"), value("2"));
        headers.append(name("x-kept"), value("3"));
        let mut added = Added::default();
        added.push(REQUEST_ID, value("4"));
        added.push(name("via"), value("5"));
        let caller: HeaderMap = [(name("x-auth-user"), value("ada"))].into_iter().collect();
        added.introduce(Rc::new(caller));
        let changes = Changes {
            remove: vec![name("x-theirs"), name("via"), name("x-auth-user")],
            set: vec![(REQUEST_ID, value("6")), (name("x-new"), value("7"))],
        };
        added.change(&mut headers, &changes);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-kept"]);
        let ours: Vec<_> =
            added.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let expected: [(&str, &[u8]); 3] =
            [("x-request-id", b"6"), ("x-new", b"7"), ("x-auth-user", b"ada")];
        assert_eq!(ours, expected);
    }
}
