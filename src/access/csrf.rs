//! Whether a cookie-borne request was meant by our own pages. Bearer callers are exempt: a foreign
//! page cannot make a browser add that field.

use http::HeaderValue;
use http::header::HeaderName;

use crate::config::{Csrf, CsrfSignal, Origin};

/// What the rule looks at.
#[derive(Debug)]
pub struct CsrfFacts<'a> {
    /// The method is GET, HEAD or OPTIONS (RFC 9110 section 9.2.1).
    pub safe: bool,
    /// It asks for an upgrade to WebSocket, which CORS does not cover.
    pub websocket: bool,
    /// The origin of this request's own host.
    pub own_origin: &'a Origin,
    /// All `Origin` fields.
    pub origins: Vec<&'a HeaderValue>,
    /// All `Sec-Fetch-Site` fields.
    pub fetch_sites: Vec<&'a HeaderValue>,
}

/// How the `Origin` fields read.
enum Claimed {
    Absent,
    Own,
    Listed,
    Foreign,
}

/// Whether the request may use its cookie-borne credential. `field` returns all values of a named
/// request field.
pub fn guard<'a>(
    rule: &Csrf,
    facts: &CsrfFacts<'_>,
    field: impl Fn(&HeaderName) -> Vec<&'a HeaderValue>,
) -> bool {
    if facts.safe && !facts.websocket && !rule.safe_methods {
        return true;
    }
    let claimed = claimed_origin(rule, facts);
    let mut marked = !matches!(claimed, Claimed::Absent) || !facts.fetch_sites.is_empty();
    let mut by_header = false;
    let mut by_browser = false;
    for signal in &rule.signals {
        match signal {
            CsrfSignal::Origin => by_browser |= matches!(claimed, Claimed::Own | Claimed::Listed),
            CsrfSignal::AllowedOrigin => by_browser |= matches!(claimed, Claimed::Listed),
            CsrfSignal::FetchSite => {
                by_browser |= only(&facts.fetch_sites).is_some_and(|site| site == "same-origin");
            }
            CsrfSignal::Header { name, value } => {
                let values = field(name);
                marked |= !values.is_empty();
                // A field that comes twice with two values is no proof of anything.
                by_header |= only(&values).is_some_and(|one| one == value);
            }
        }
    }
    match claimed {
        // A foreign `Origin` is outweighed by nothing, unless the config says that the header is.
        Claimed::Foreign => by_header && rule.header_suffices,
        Claimed::Own | Claimed::Listed | Claimed::Absent => {
            by_header || by_browser || (!marked && rule.unmarked_passes)
        }
    }
}

/// Whether a request that carries no credential yet, as a login does, is *marked* as coming from a
/// foreign page. One without any mark is not.
pub fn is_foreign(rule: &Csrf, facts: &CsrfFacts<'_>) -> bool {
    match claimed_origin(rule, facts) {
        Claimed::Own | Claimed::Listed => false,
        Claimed::Foreign => true,
        // `none`: the person's own act, such as a bookmark.
        Claimed::Absent => {
            !facts.fetch_sites.iter().all(|&site| site == "same-origin" || site == "none")
        }
    }
}

/// The value, if there is exactly one field line, or several that agree.
fn only<'a>(values: &[&'a HeaderValue]) -> Option<&'a HeaderValue> {
    let (first, rest) = values.split_first()?;
    rest.iter().all(|one| one == first).then_some(*first)
}

fn claimed_origin(rule: &Csrf, facts: &CsrfFacts<'_>) -> Claimed {
    if facts.origins.is_empty() {
        return Claimed::Absent;
    }
    // `null`, what cannot be read, and two that differ are foreign.
    let origin = only(&facts.origins).and_then(|value| Origin::parse(value.to_str().ok()?));
    match origin {
        Some(origin) if rule.allowed_origins.contains(&origin) => Claimed::Listed,
        Some(origin) if origin == *facts.own_origin => Claimed::Own,
        _ => Claimed::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: HeaderName = HeaderName::from_static("x-requested-with");

    fn rule() -> Csrf {
        Csrf {
            signals: vec![
                CsrfSignal::Origin,
                CsrfSignal::FetchSite,
                CsrfSignal::Header {
                    name: HEADER,
                    value: HeaderValue::from_static("XMLHttpRequest"),
                },
            ],
            allowed_origins: vec![Origin::parse("https://friend.test").unwrap()],
            header_suffices: false,
            unmarked_passes: false,
            safe_methods: false,
            status: http::StatusCode::FORBIDDEN,
        }
    }

    /// Asks for a POST at `https://app.test` with these fields.
    fn post(rule: &Csrf, origin: &[&str], site: &[&str], header: &[&str]) -> bool {
        ask(rule, (false, false), origin, site, header)
    }

    fn ask(
        rule: &Csrf,
        (safe, websocket): (bool, bool),
        origin: &[&str],
        site: &[&str],
        header: &[&str],
    ) -> bool {
        let own = Origin::parse("https://app.test").unwrap();
        let owned = |list: &[&str]| -> Vec<HeaderValue> {
            list.iter().map(|one| HeaderValue::from_str(one).unwrap()).collect()
        };
        let (origin, site, header) = (owned(origin), owned(site), owned(header));
        let facts = CsrfFacts {
            safe,
            websocket,
            own_origin: &own,
            origins: origin.iter().collect(),
            fetch_sites: site.iter().collect(),
        };
        guard(rule, &facts, |_| header.iter().collect())
    }

    #[test]
    fn any_one_signal_is_enough() {
        let rule = rule();
        assert!(post(&rule, &["https://app.test"], &[], &[]));
        assert!(post(&rule, &["https://app.test:443"], &[], &[]));
        assert!(post(&rule, &["https://friend.test"], &[], &[]));
        assert!(post(&rule, &[], &["same-origin"], &[]));
        assert!(post(&rule, &[], &[], &["XMLHttpRequest"]));
    }

    #[test]
    fn the_own_origin_is_no_signal_where_only_listed_ones_are() {
        let rule = Csrf { signals: vec![CsrfSignal::AllowedOrigin], ..rule() };
        assert!(post(&rule, &["https://friend.test"], &[], &[]));
        assert!(!post(&rule, &["https://app.test"], &["same-origin"], &[]));
        assert!(!post(&rule, &["https://evil.test"], &[], &[]));
    }

    #[test]
    fn origins_are_compared_whole() {
        let rule = rule();
        for foreign in [
            "http://app.test",
            "https://app.test:444",
            "https://app.test.evil.test",
            "https://evilapp.test",
            "null",
            "",
        ] {
            assert!(!post(&rule, &[foreign], &[], &[]), "{foreign}");
        }
    }

    #[test]
    fn a_foreign_origin_is_outweighed_only_where_the_config_says_so() {
        let mut rule = rule();
        assert!(!post(&rule, &["https://evil.test"], &["same-origin"], &["XMLHttpRequest"]));
        rule.header_suffices = true;
        assert!(post(&rule, &["https://evil.test"], &[], &["XMLHttpRequest"]));
        assert!(!post(&rule, &["https://evil.test"], &["same-origin"], &[]));
    }

    #[test]
    fn no_signal_at_all_is_refused_unless_the_config_lets_it_pass() {
        let mut rule = rule();
        assert!(!post(&rule, &[], &[], &[]));
        rule.unmarked_passes = true;
        assert!(post(&rule, &[], &[], &[]));
        assert!(!post(&rule, &[], &["cross-site"], &[]));
        assert!(!post(&rule, &[], &[], &["fetch"]));
        assert!(!post(&rule, &["null"], &[], &[]));
    }

    #[test]
    fn safe_methods_pass_and_websocket_handshakes_do_not() {
        let mut rule = rule();
        assert!(ask(&rule, (true, false), &[], &[], &[]));
        assert!(!ask(&rule, (true, true), &["https://evil.test"], &[], &[]));
        assert!(ask(&rule, (true, true), &["https://app.test"], &[], &[]));
        rule.safe_methods = true;
        assert!(!ask(&rule, (true, false), &[], &[], &[]));
    }

    #[test]
    fn a_login_is_refused_only_when_it_is_marked_as_foreign() {
        let rule = rule();
        let own = Origin::parse("https://app.test").unwrap();
        let foreign = |origins: &[&'static str], sites: &[&'static str]| {
            let fields = |list: &[&'static str]| -> Vec<HeaderValue> {
                list.iter().map(|one| HeaderValue::from_static(one)).collect()
            };
            let (origins, sites) = (fields(origins), fields(sites));
            is_foreign(
                &rule,
                &CsrfFacts {
                    safe: false,
                    websocket: false,
                    own_origin: &own,
                    origins: origins.iter().collect(),
                    fetch_sites: sites.iter().collect(),
                },
            )
        };
        assert!(!foreign(&[], &[]));
        assert!(!foreign(&["https://app.test"], &["same-origin"]));
        assert!(!foreign(&["https://friend.test"], &["cross-site"]));
        assert!(!foreign(&[], &["none"]));
        assert!(foreign(&["https://evil.test"], &[]));
        assert!(foreign(&["null"], &["same-origin"]));
        assert!(foreign(&[], &["cross-site"]));
        assert!(foreign(&[], &["same-site"]));
    }

    #[test]
    fn repeated_fields_that_disagree_prove_nothing() {
        let rule = rule();
        assert!(!post(&rule, &["https://app.test", "https://evil.test"], &[], &[]));
        assert!(!post(&rule, &[], &["same-origin", "cross-site"], &[]));
        assert!(!post(&rule, &[], &[], &["XMLHttpRequest", "x"]));
    }
}
