//! What may come behind a body. Some readers merge it into the head, so it passes what the head has
//! passed, and says nothing that only a head may say (RFC 9110 section 6.5.1).

use std::rc::Rc;

use http::header::{CONNECTION, TRAILER};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::fields::{self, Firewall};
use crate::config::Changes;

/// Names that one `Trailer` field, or one `Connection`, is read for; a client has no use for more.
const NAMES_MAX: usize = 64;

/// What of a request's trailers goes on.
#[derive(Debug)]
pub struct Trailing {
    firewall: Rc<Firewall>,
    /// Names that this request's own head, or its route, keeps from the application.
    kept: Vec<HeaderName>,
}

impl Trailing {
    /// For a request that had this head when it came: what `Connection` listed there belonged to one
    /// hop, and what its route takes out or puts in is not for the client to say.
    pub fn new(firewall: Rc<Firewall>, head: &HeaderMap, changes: &Changes) -> Self {
        let set = changes.set.iter().map(|(name, _)| name);
        let kept = names(head, CONNECTION).chain(changes.remove.iter().chain(set).cloned());
        Self { firewall, kept: kept.collect() }
    }

    /// Takes out what does not go on.
    pub fn clean(&self, trailers: &mut HeaderMap) {
        fields::strip_trailers(trailers);
        self.firewall.strip(trailers, false);
        for name in &self.kept {
            trailers.remove(name);
        }
    }

    /// A `Trailer` field of our own, if the head announces what would go on (RFC 9110 section 6.6.2).
    pub fn announced(&self, head: &HeaderMap) -> Option<HeaderValue> {
        if !head.contains_key(TRAILER) {
            return None;
        }
        let nothing = HeaderValue::from_static("");
        let mut announced: HeaderMap =
            names(head, TRAILER).map(|name| (name, nothing.clone())).collect();
        self.clean(&mut announced);
        let list: Vec<&str> = announced.keys().map(HeaderName::as_str).collect();
        HeaderValue::try_from(list.join(", ")).ok().filter(|list| !list.is_empty())
    }
}

/// What the fields of this name list.
fn names(head: &HeaderMap, list: HeaderName) -> impl Iterator<Item = HeaderName> {
    let options = head.get_all(list).into_iter().flat_map(|list| {
        list.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii).take(NAMES_MAX)
    });
    // What cannot be a name names nothing.
    options.filter_map(|name| HeaderName::from_bytes(name).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::fields::tests::upstream;

    fn map(fields: &[(&str, &'static str)]) -> HeaderMap {
        let field = |&(name, value): &(&str, &'static str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    fn of(head: &HeaderMap) -> Trailing {
        let changes = Changes {
            remove: vec![HeaderName::from_static("x-taken-out")],
            set: vec![(HeaderName::from_static("x-tenant"), HeaderValue::from_static("a"))],
        };
        Trailing::new(Rc::new(Firewall::new(&upstream())), head, &changes)
    }

    fn passes(head: &HeaderMap, name: &str) -> bool {
        let mut trailers = map(&[(name, "v"), ("x-sum", "1")]);
        of(head).clean(&mut trailers);
        assert_eq!(trailers.get("x-sum").unwrap(), "1");
        trailers.contains_key(name)
    }

    #[test]
    fn trailers_say_nothing_that_the_head_could_not_have_said_and_nothing_that_only_a_head_may() {
        let head = map(&[("connection", "close, X-Once"), ("connection", "x-twice")]);
        for name in ["x-digest", "grpc-status", "server-timing", "x_needed"] {
            assert!(passes(&head, name), "{name}");
        }
        for name in [
            "x-once",
            "x-twice",
            "x-taken-out",
            "x-tenant",
            "remote-user",
            "remote_user",
            "x-auth-anything",
            "who-called",
            "x_other",
            "x.other",
            "x-forwarded-for",
            "forwarded",
            "x-http-method-override",
            "transfer-encoding",
            "content-length",
            "content-type",
            "host",
            "trailer",
            "te",
            "connection",
            "authorization",
            "proxy-authorization",
            "cookie",
            "if-match",
            "expect",
            "range",
            "origin",
            "referer",
            "sec-fetch-site",
            "accept-encoding",
            "via",
            "x-request-id",
        ] {
            assert!(!passes(&head, name), "{name}");
        }
    }

    #[test]
    fn what_is_announced_is_what_would_go_on() {
        let announced = |list: &[(&str, &'static str)]| {
            let head = map(list);
            of(&head).announced(&head).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(announced(&[]), None);
        assert_eq!(announced(&[("trailer", "X-Sum")]).as_deref(), Some("x-sum"));
        assert_eq!(
            announced(&[("trailer", "X-Sum, host,, X-Sum, remote_user, a b"), ("trailer", "x-b")])
                .as_deref(),
            Some("x-sum, x-b")
        );
        assert_eq!(announced(&[("trailer", "Host, X-Auth-User")]), None);
        assert_eq!(announced(&[("trailer", "X-Sum"), ("connection", "x-sum")]), None);
    }

    proptest! {
        #[test]
        fn whatever_passes_as_a_trailer_would_have_passed_in_the_head(
            name in "[-a-zA-Z0-9_.!~|]{1,20}|x[-_.]auth[-_.][a-z]{1,4}|remote[-_.]user",
            listed in "[-a-z, ]{0,20}",
        ) {
            let mut head = map(&[(&name, "v")]);
            head.insert(CONNECTION, HeaderValue::try_from(listed).unwrap());
            let trailing = of(&head);
            let mut trailers = map(&[(&name, "v")]);
            trailing.clean(&mut trailers);
            Firewall::new(&upstream()).clean(&mut head, false);
            for name in trailers.keys() {
                prop_assert!(head.contains_key(name), "{}", name);
            }
        }
    }
}
