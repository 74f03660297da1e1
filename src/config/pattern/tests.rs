use proptest::prelude::*;

use super::*;

fn canonical(text: &str) -> String {
    PathPattern::parse(text).unwrap().to_string()
}

fn refusal(text: &str) -> BadPattern {
    PathPattern::parse(text).unwrap_err()
}

#[test]
fn a_pattern_is_kept_in_canonical_form() {
    assert_eq!(canonical("/a/*/b/**"), "/a/*/b/**");
    assert_eq!(canonical("/%61dm%69n/%7euser"), "/admin/~user");
    assert_eq!(canonical("/caf%c3%a9"), "/caf%C3%A9");
    assert_eq!(canonical("/café"), "/caf%C3%A9");
    assert_eq!(canonical("/a%20b@c;d=e"), "/a%20b@c;d=e");
    assert_eq!(canonical("/100%25"), "/100%25");
    assert_eq!(canonical("/"), "/");
    assert_eq!(canonical("/a/"), "/a/");
    assert_eq!(canonical("/**"), "/**");
}

#[test]
fn what_could_never_match_is_refused() {
    let own = str::to_owned;
    assert_eq!(refusal("a/b"), BadPattern::NotAbsolute(own("a/b")));
    assert_eq!(refusal(""), BadPattern::NotAbsolute(own("")));
    assert_eq!(refusal("/a//b"), BadPattern::EmptySegment(own("/a//b")));
    assert_eq!(refusal("//"), BadPattern::EmptySegment(own("//")));
    assert_eq!(refusal("/a/../b"), BadPattern::DotSegment(own("..")));
    assert_eq!(refusal("/a/%2e%2E"), BadPattern::DotSegment(own("%2e%2E")));
    assert_eq!(refusal("/.%3Bx"), BadPattern::DotSegment(own(".%3Bx")));
    assert_eq!(refusal("/a%21"), BadPattern::EscapedDelimiter(own("a%21")));
    assert_eq!(refusal("/..;x"), BadPattern::DotSegment(own("..;x")));
    assert_eq!(refusal("/**/a"), BadPattern::RestNotLast);
    assert_eq!(refusal("/**/"), BadPattern::RestNotLast);
    assert_eq!(refusal("/a*"), BadPattern::PartialWildcard(own("a*")));
    assert_eq!(refusal("/***"), BadPattern::PartialWildcard(own("***")));
    assert_eq!(refusal("/u/:id"), BadPattern::Named(own(":id")));
    assert_eq!(refusal("/u/{id}"), BadPattern::Named(own("{id}")));
    assert_eq!(refusal("/a%2"), BadPattern::BadEscape(own("a%2")));
    assert_eq!(refusal("/a%zz"), BadPattern::BadEscape(own("a%zz")));
    for refused in ["a%2fb", "a%5Cb", "a%00", "a%252e", "a%7f", "a%c2%80"] {
        assert_eq!(refusal(&format!("/{refused}")), BadPattern::Refused(own(refused)));
    }
    assert_eq!(refusal("/%ff"), BadPattern::NotUtf8(own("%ff")));
    assert_eq!(refusal("/a?b"), BadPattern::BadCharacter(own("a?b"), '?'));
    assert_eq!(refusal("/a#b"), BadPattern::BadCharacter(own("a#b"), '#'));
    assert_eq!(refusal("/a\\b"), BadPattern::BadCharacter(own("a\\b"), '\\'));
    assert_eq!(refusal(&format!("/{}", "a".repeat(MAX_LENGTH))), BadPattern::TooLong);
}

#[test]
fn patterns_match_whole_segments() {
    let matches = |pattern, path| PathPattern::parse(pattern).unwrap().matches(path);
    for below in ["/admin", "/admin/", "/admin/x", "/admin/x/y"] {
        assert!(matches("/admin/**", below), "{below}");
    }
    assert!(!matches("/admin/**", "/adminx"));
    assert!(!matches("/admin", "/admin/"));
    assert!(!matches("/admin/", "/admin"));
    assert!(matches("/a/*/c", "/a/b/c"));
    assert!(!matches("/a/*/c", "/a//c"));
    assert!(!matches("/a/*", "/a/"));
    assert!(matches("/", "/"));
    assert!(!matches("/", "/a"));
    assert!(matches("/**", "/"));
    assert!(!matches("/**", "*"));
}

#[test]
fn a_host_is_a_name_or_one_label_before_a_name() {
    let parse = HostPattern::parse;
    assert_eq!(parse("App.Example.ORG."), Ok(HostPattern::Exact("app.example.org".to_owned())));
    assert_eq!(parse("[::1]"), Ok(HostPattern::Exact("[::1]".to_owned())));
    assert_eq!(parse("*.Example.org"), Ok(HostPattern::Wildcard("example.org".to_owned())));
    assert_eq!(parse("*.org"), Err(BadPattern::HostTooWide("org".to_owned())));
    for stray in ["*", "a.*.org", "*.*.org", "a*.example.org"] {
        assert_eq!(parse(stray), Err(BadPattern::HostWildcard), "{stray}");
    }
    for bad in ["", "a:80", "https://a", "a b", "a/b", "münchen.de"] {
        assert_eq!(parse(bad), Err(BadPattern::Host(bad.to_owned())), "{bad}");
    }
    let wildcard = parse("*.example.org").unwrap();
    assert!(wildcard.matches("a.example.org"));
    assert!(!wildcard.matches("example.org"));
    assert!(!wildcard.matches("a.b.example.org"));
    assert!(!wildcard.matches(".example.org"));
    assert!(!wildcard.matches("badexample.org"));
}

fn segments() -> impl Strategy<Value = String> {
    let one = prop::sample::select(vec!["a", "b", "%41", "*", "é"]);
    let end = prop::sample::select(vec!["", "/", "/**"]);
    (prop::collection::vec(one, 0..4), end)
        .prop_map(|(parts, end)| {
            parts.iter().map(|part| format!("/{part}")).collect::<String>() + end
        })
        .prop_map(|text| if text.is_empty() { "/".to_owned() } else { text })
}

proptest! {
    #[test]
    fn reading_never_panics_and_what_is_read_reads_the_same_again(text in "\\PC*") {
        if let Ok(pattern) = PathPattern::parse(&text) {
            let shown = pattern.to_string();
            prop_assert_eq!(PathPattern::parse(&shown), Ok(pattern));
        }
        if let Ok(host) = HostPattern::parse(&text) {
            prop_assert_eq!(HostPattern::parse(&host.to_string()), Ok(host));
        }
    }

    #[test]
    fn two_patterns_are_equally_close_only_if_they_are_equal(a in segments(), b in segments()) {
        let (a, b) = (PathPattern::parse(&a).unwrap(), PathPattern::parse(&b).unwrap());
        prop_assert_eq!(a.closer(&b), b.closer(&a).reverse());
        prop_assert_eq!(a.closer(&b).is_eq(), a == b);
    }
}
