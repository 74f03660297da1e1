//! Where a login may lead back to. Browsers read URLs in ways of their own (WHATWG), so whatever
//! could be read as another place is refused, and what passes is written anew.

use std::borrow::Cow;
use std::fmt;

use super::path;
use crate::config::{Origin, split_host_port};

/// Most bytes of a target.
pub const MAX_BYTES: usize = 2048;

/// A place that a browser may be sent to: a path of the request's own origin, or an https URL of an
/// allow-listed host. Plain ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnTo(String);

impl ReturnTo {
    /// As it stands in a `Location` field.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReturnTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads a `return_to` that anybody may have written. `own` is the origin of this request;
/// `allowed_hosts` are host names, or `host:port` for ports other than 443. `None`: not a place to
/// go to.
pub fn check(text: &str, own: &Origin, allowed_hosts: &[String]) -> Option<ReturnTo> {
    // Browsers strip tabs and newlines wherever they are, and read a backslash as a slash. An
    // honest target has neither, nor blanks, quotes, angle brackets or raw non-ASCII characters.
    let plain =
        |byte: u8| matches!(byte, 0x21..=0x7e) && !matches!(byte, b'\\' | b'"' | b'<' | b'>');
    if text.len() > MAX_BYTES || !text.bytes().all(plain) {
        return None;
    }
    if text.starts_with('/') {
        if text.starts_with("//") {
            return None;
        }
        return canonical(text).map(|target| ReturnTo(target.into_owned()));
    }
    // The first of these ends the authority, for us and for browsers.
    let start = text.find("://")? + 3;
    let end = text.get(start..)?.find(['/', '?', '#']).map_or(text.len(), |at| start + at);
    let origin = Origin::parse(text.get(..end)?)?;
    let target = match text.get(end..)? {
        rest if rest.starts_with('/') => canonical(rest)?,
        rest => Cow::Owned(format!("/{rest}")),
    };
    if origin == *own {
        return Some(ReturnTo(target.into_owned()));
    }
    let listed = origin.https && allowed_hosts.iter().any(|host| names(host, &origin));
    listed.then(|| ReturnTo(format!("{}{target}", origin.ascii())))
}

fn names(allowed: &str, origin: &Origin) -> bool {
    split_host_port(allowed)
        .is_some_and(|(host, port)| host == origin.host && port.unwrap_or(443) == origin.port)
}

/// A path with query and fragment, its path in canonical form: so `/.//evil` is no `//evil` later.
fn canonical(target: &str) -> Option<Cow<'_, str>> {
    let (path, rest) = target.split_at_checked(target.find(['?', '#']).unwrap_or(target.len()))?;
    match path::canonical(path).ok()? {
        Cow::Borrowed(_) => Some(Cow::Borrowed(target)),
        Cow::Owned(path) => Some(Cow::Owned(format!("{path}{rest}"))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    fn own() -> Origin {
        Origin::parse("https://app.test").unwrap()
    }

    fn checked(text: &str) -> Option<String> {
        let allowed = ["friend.test".to_owned(), "other.test:8443".to_owned()];
        check(text, &own(), &allowed).map(|target| target.to_string())
    }

    #[test]
    fn own_paths_and_listed_hosts_pass() {
        for (text, target) in [
            ("/", "/"),
            ("/a/b?c=d&e=%2F#f", "/a/b?c=d&e=%2F#f"),
            ("/a?next=https://evil.test//", "/a?next=https://evil.test//"),
            ("/a/../b", "/b"),
            ("/.//evil.test", "/evil.test"),
            ("https://app.test/a", "/a"),
            ("https://APP.test.:443", "/"),
            ("https://app.test?a", "/?a"),
            ("https://friend.test/a#b", "https://friend.test/a#b"),
            ("HTTPS://Friend.Test", "https://friend.test/"),
            ("https://other.test:8443/", "https://other.test:8443/"),
        ] {
            assert_eq!(checked(text).as_deref(), Some(target), "{text}");
        }
    }

    #[test]
    fn what_a_browser_could_read_as_another_place_is_refused() {
        for text in [
            "",
            "a",
            "//evil.test",
            "///evil.test",
            "/\\evil.test",
            "\\\\evil.test",
            "/a\\b",
            "/\t/evil.test",
            "/\n/evil.test",
            "\u{1}//evil.test",
            " //evil.test",
            "/a b",
            "/é",
            "http:evil.test",
            "https:/evil.test",
            "https:///evil.test",
            "https:\\\\evil.test",
            "https://evil.test",
            "http://friend.test/",
            "http://app.test/",
            "https://app.test:444/",
            "https://friend.test:8443/",
            "https://other.test/",
            "https://friend.test@evil.test/",
            "https://app.test:pw@evil.test/",
            "https://evil.test#@friend.test/",
            "https://evil.test?.friend.test/",
            "https://badfriend.test/",
            "https://a.friend.test/",
            "https://friend.test.evil.test/",
            "https://friend%2etest/",
            "https://friend.test%2fevil.test/",
            "javascript:alert(1)",
            "javascript://app.test/%0aalert(1)",
            "data:text/html,x",
            "/%5cevil.test",
            "/%2f%2fevil.test",
            "/%0d%0aSet-Cookie:a=b",
            "/..//evil.test",
            "ftp://app.test/",
            "://app.test/",
            "/<script>",
        ] {
            assert_eq!(checked(text), None, "{text}");
        }
        assert_eq!(checked(&format!("/{}", "a".repeat(MAX_BYTES))), None);
        assert!(checked(&format!("/{}", "a".repeat(MAX_BYTES - 1))).is_some());
    }

    #[test]
    fn a_plain_development_site_leads_back_to_itself() {
        let own = Origin::parse("http://localhost:9154").unwrap();
        let target = check("http://localhost:9154/a", &own, &[]);
        assert_eq!(target.unwrap().as_str(), "/a");
        assert_eq!(check("https://localhost:9154/a", &own, &[]), None);
    }

    fn hostile() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            4 => Just("/".to_owned()),
            1 => Just("\\".to_owned()),
            1 => Just("https://".to_owned()),
            1 => Just("https:".to_owned()),
            1 => Just("http://".to_owned()),
            2 => Just("app.test".to_owned()),
            2 => Just("friend.test".to_owned()),
            2 => Just("evil.test".to_owned()),
            2 => "[.@:?#;]",
            1 => "[\t\n\r \0]",
            1 => "%[0-9a-f]{2}",
            1 => Just("..".to_owned()),
            1 => Just(":443".to_owned()),
            1 => any::<char>().prop_map(String::from),
            1 => "[a-z0-9]{1,3}",
        ];
        prop::collection::vec(piece, 1..9).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn a_browser_goes_nowhere_else(text in hostile()) {
            if let Some(target) = checked(&text) {
                let base = Url::parse("https://app.test/auth/login").unwrap();
                let went = Url::options().base_url(Some(&base)).parse(&target).unwrap();
                prop_assert_eq!(went.scheme(), "https");
                let at = (went.host_str().unwrap(), went.port());
                prop_assert!(at == ("app.test", None) || at == ("friend.test", None));
                prop_assert!(went.username().is_empty() && went.password().is_none());
                // Nor does it when somebody passes on what the browser shows.
                prop_assert!(!went.path().starts_with("//"));
                prop_assert_eq!(checked(&target), Some(target));
            }
        }
    }
}
