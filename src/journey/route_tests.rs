use proptest::prelude::*;

use super::*;
use crate::config::{Access, Manners, PathPattern, Times};

fn segment(text: &str) -> Segment {
    match text {
        "*" => Segment::One,
        "**" => Segment::Rest,
        text => Segment::Literal(text.to_owned()),
    }
}

/// A route from `[METHOD,METHOD ][host]/path`.
fn route(text: &str) -> Route {
    let (methods, place) = match text.split_once(' ') {
        Some((methods, place)) => {
            let methods = methods.split(',').map(|one| one.parse().unwrap()).collect();
            (Some(methods), place)
        }
        None => (None, text),
    };
    let (host, path) = place.split_once('/').unwrap();
    let host = match host.strip_prefix("*.") {
        Some(suffix) => Some(HostPattern::Wildcard(suffix.to_owned())),
        None if host.is_empty() => None,
        None => Some(HostPattern::Exact(host.to_owned())),
    };
    Route {
        name: text.to_owned(),
        host,
        path: PathPattern { segments: path.split('/').map(segment).collect() },
        methods,
        access: Access::Public,
        upstream: 0,
        body_bytes: 0,
        times: Times::default(),
        manners: Manners::default(),
    }
}

fn table(routes: &[&str]) -> RouteTable {
    RouteTable::new(routes.iter().map(|text| route(text)).collect())
}

fn found<'a>(table: &'a RouteTable, request: &str) -> Option<&'a str> {
    let (method, place) = request.split_once(' ').unwrap();
    let (host, path) = place.split_at(place.find('/').unwrap());
    table.find(host, path, &method.parse().unwrap()).map(|route| route.name.as_str())
}

#[test]
fn a_literal_wins_over_one_and_one_over_the_rest() {
    let table = table(&["/**", "/a/**", "/a/*", "/a/b", "/*/b", "/a/*/c", "/", "/a/"]);
    for (path, name) in [
        ("/a/b", "/a/b"),
        ("/a/x", "/a/*"),
        ("/a", "/a/**"),
        ("/a/", "/a/"),
        ("/a/b/", "/a/**"),
        ("/a/b/c", "/a/*/c"),
        ("/a/b/d", "/a/**"),
        ("/x/b", "/*/b"),
        ("/x/y", "/**"),
        ("/", "/"),
        ("/adminx", "/**"),
    ] {
        assert_eq!(found(&table, &format!("GET h{path}")), Some(name), "{path}");
    }
}

#[test]
fn the_rest_matches_nothing_too_and_one_does_not() {
    let table = table(&["/a/**", "/b/*"]);
    for path in ["/a", "/a/", "/a/b", "/a/b/c/"] {
        assert_eq!(found(&table, &format!("GET h{path}")), Some("/a/**"), "{path}");
    }
    for path in ["/b", "/b/", "/b/c/", "/ab", "/"] {
        assert_eq!(found(&table, &format!("GET h{path}")), None, "{path}");
    }
}

#[test]
fn an_exact_host_wins_over_a_wildcard_and_that_over_any() {
    let table = table(&["/**", "*.example.test/**", "a.example.test/x/**"]);
    for (place, name) in [
        ("a.example.test/x/y", Some("a.example.test/x/**")),
        // Hosts that have no path for it leave it to less specific ones.
        ("a.example.test/y", Some("*.example.test/**")),
        ("b.example.test/x", Some("*.example.test/**")),
        ("a.b.example.test/x", Some("/**")),
        ("example.test/x", Some("/**")),
        (".example.test/x", Some("/**")),
        ("badexample.test/x", Some("/**")),
    ] {
        assert_eq!(found(&table, &format!("GET {place}")), name, "{place}");
    }
}

#[test]
fn named_methods_win_over_any_and_other_methods_are_left_to_others() {
    let table = table(&["POST /a/b", "/a/b", "PUT,DELETE /a/**", "GET /**"]);
    for (request, name) in [
        ("POST h/a/b", Some("POST /a/b")),
        ("PUT h/a/b", Some("/a/b")),
        ("PUT h/a/c", Some("PUT,DELETE /a/**")),
        ("GET h/a/c", Some("GET /**")),
        ("POST h/a/c", None),
    ] {
        assert_eq!(found(&table, request), name, "{request}");
    }
}

#[test]
fn head_is_no_way_around_what_get_asks() {
    let table = table(&["GET /admin", "/**", "GET /b", "HEAD /b"]);
    assert_eq!(found(&table, "HEAD h/admin"), Some("GET /admin"));
    assert_eq!(found(&table, "POST h/admin"), Some("/**"));
    assert_eq!(found(&table, "HEAD h/b"), Some("HEAD /b"));
}

#[test]
fn each_of_many_siblings_is_found() {
    let routes: Vec<String> = (0..200).map(|number| format!("/area-{number}/*")).collect();
    let table = table(&routes.iter().map(String::as_str).collect::<Vec<_>>());
    for name in &routes {
        let path = name.replace('*', "x");
        assert_eq!(found(&table, &format!("GET h{path}")), Some(name.as_str()));
    }
    assert_eq!(found(&table, "GET h/area-200/x"), None);
    assert_eq!(found(&table, "GET h//x"), None);
}

#[test]
fn without_a_route_everything_is_closed() {
    assert_eq!(found(&table(&[]), "GET h/"), None);
    assert_eq!(found(&table(&["/a"]), "GET h/b"), None);
    assert!(table(&["/**"]).find("h", "a", &Method::GET).is_none());
}

#[test]
fn no_path_costs_more_than_the_patterns_that_were_written() {
    // All mixtures of `a` and `*` over ten segments: the worst that so many patterns can do.
    let mixtures = |bits: usize| -> String {
        (0..10).map(|at| if bits >> at & 1 == 1 { "/a" } else { "/*" }).collect::<String>() + "/end"
    };
    let routes: Vec<String> = (0..1024).map(mixtures).collect();
    let table = RouteTable::new(routes.iter().map(|text| route(text)).collect());
    assert_eq!(table.nodes.len(), 1 + 2 * 1023 + 1024);
    let deep = "/a".repeat(5000);
    assert!(table.find("h", &deep, &Method::GET).is_none());
    assert_eq!(found(&table, &format!("GET h{}/end", "/a".repeat(10))), Some(&*mixtures(1023)));
}

/// The rules, read out one by one for every route.
fn twin<'a>(routes: &'a [Route], host: &str, path: &str, method: &Method) -> Option<&'a str> {
    let rank = |route: &Route| {
        let host_rank = match &route.host {
            None => 0,
            Some(HostPattern::Wildcard(suffix)) => {
                let label = host.strip_suffix(suffix)?.strip_suffix('.')?;
                (!label.is_empty() && !label.contains('.')).then_some(1)?
            }
            Some(HostPattern::Exact(name)) => (name == host).then_some(2)?,
        };
        let method_rank = match &route.methods {
            None => 0,
            Some(methods) if methods.contains(method) => 2,
            Some(methods) if method == Method::HEAD && methods.contains(&Method::GET) => 1,
            Some(_) => return None,
        };
        Some((host_rank, path_rank(&route.path.segments, path)?, method_rank))
    };
    let ranked = routes
        .iter()
        .enumerate()
        .filter_map(|(at, route)| rank(route).map(|rank| ((rank, std::cmp::Reverse(at)), route)));
    ranked.max_by(|a, b| a.0.cmp(&b.0)).map(|(_, route)| route.name.as_str())
}

fn path_rank(pattern: &[Segment], path: &str) -> Option<Vec<u8>> {
    let path: Vec<&str> = path.split('/').skip(1).collect();
    let mut ranks = Vec::new();
    for (at, segment) in pattern.iter().enumerate() {
        match (segment, path.get(at)) {
            (Segment::Rest, _) => {
                ranks.push(0);
                return Some(ranks);
            }
            (Segment::One, Some(part)) if !part.is_empty() => ranks.push(1),
            (Segment::Literal(text), Some(part)) if text == part => ranks.push(2),
            _ => return None,
        }
    }
    // The end of a path is more than "whatever follows".
    ranks.push(1);
    (path.len() == pattern.len()).then_some(ranks)
}

fn pattern() -> impl Strategy<Value = String> {
    let methods =
        prop_oneof![3 => Just(""), 1 => Just("GET "), 1 => Just("HEAD "), 1 => Just("GET,POST ")];
    let host = prop_oneof![3 => Just(""), 1 => Just("a.t"), 1 => Just("*.t")];
    let segments = prop::collection::vec(prop_oneof![3 => "[ab]", 2 => Just("*".to_owned())], 0..5);
    let end = prop_oneof![2 => Just(""), 2 => Just("/**"), 1 => Just("/")];
    (methods, host, segments, end).prop_map(|(methods, host, segments, end)| {
        let path = segments.iter().map(|one| format!("/{one}")).collect::<String>() + end;
        let path = if path.is_empty() { "/".to_owned() } else { path };
        format!("{methods}{host}{path}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_table_agrees_with_the_rules(
        patterns in prop::collection::vec(pattern(), 0..14),
        requests in prop::collection::vec(
            ("(a\\.t|b\\.t|t|a\\.b\\.t)", "(/[abc]){0,6}/?", "(GET|HEAD|POST)"), 10),
    ) {
        let routes: Vec<Route> = patterns.iter().map(|text| route(text)).collect();
        let table = RouteTable::new(routes.clone());
        for (host, path, method) in requests {
            let path = if path.is_empty() { "/".to_owned() } else { path };
            let method: Method = method.parse().unwrap();
            let found = table.find(&host, &path, &method).map(|route| route.name.as_str());
            prop_assert_eq!(found, twin(&routes, &host, &path, &method), "{} {}{}", method, host, path);
        }
    }
}
