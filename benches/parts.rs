//! What the pure parts of a request's path cost, one by one.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};
use sallyport::config::{
    Access, HostPolicy, IdentityHeaders, Manners, PathPattern, Route, Segment, Servers, Times,
    Upstream, UpstreamHttp,
};
use sallyport::journey::route::RouteTable;
use sallyport::message::fields::{Firewall, strip_hop_by_hop};
use sallyport::message::{cookies, host, path};

criterion_group! {
    name = parts;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = route_match, canonicalise, host_read, cookie_read, header_firewall
}
criterion_main!(parts);

fn route(segments: Vec<Segment>) -> Route {
    Route {
        name: "r".to_owned(),
        host: None,
        path: PathPattern { segments },
        methods: None,
        access: Access::Public,
        upstream: 0,
        body_bytes: 0,
        times: Times::default(),
        manners: Manners::default(),
    }
}

/// `count` routes: `/**`, and areas of an application with two routes each.
fn table(count: usize) -> RouteTable {
    let literal = |text: String| Segment::Literal(text);
    let mut routes = vec![route(vec![Segment::Rest])];
    for number in 1..count {
        let area = literal(format!("area-{:05}", number / 2));
        let item = literal("items".to_owned());
        let segments = match number % 2 {
            0 => vec![area, Segment::Rest],
            _ => vec![area, item, Segment::One, literal("edit".to_owned())],
        };
        routes.push(route(segments));
    }
    RouteTable::new(routes)
}

fn route_match(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route match");
    for count in [1, 10, 100, 10_000] {
        let table = table(count);
        // All areas in turn, as traffic has it, and not one whose memory is always at hand.
        let paths: Vec<String> =
            (0..count.max(2) / 2).map(|area| format!("/area-{area:05}/items/17/edit")).collect();
        let mut turn = 0;
        group.bench_function(BenchmarkId::new("in turn", count), |bencher| {
            bencher.iter(|| {
                turn = (turn + 1) % paths.len();
                let path = paths.get(turn).map_or("/", String::as_str);
                table.find("app.test", black_box(path), &Method::GET).is_some()
            });
        });
        group.bench_function(BenchmarkId::new("the same", count), |bencher| {
            bencher.iter(|| {
                let path = black_box("/area-00001/items/17/edit");
                table.find("app.test", path, &Method::GET).is_some()
            });
        });
    }
}

fn canonicalise(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("canonicalise");
    for (name, path) in [
        ("plain", "/api/v1/projects/sallyport/items/17"),
        ("escapes", "/files/caf%C3%A9/a%20b/c%20d.txt"),
        ("rewritten", "/api/./v1/%7Euser/../x"),
    ] {
        group.bench_function(name, |bencher| bencher.iter(|| path::canonical(black_box(path))));
    }
}

fn host_read(criterion: &mut Criterion) {
    let mut headers = HeaderMap::new();
    headers.insert(http::header::HOST, HeaderValue::from_static("app.example.test:8443"));
    let uri = Uri::from_static("/a");
    criterion.bench_function("host read", |bencher| {
        bencher.iter(|| host::requested(black_box(&uri), black_box(&headers), true).is_ok());
    });
}

/// The head of a browser's request, with cookies of the usual length.
fn head() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "app.example.test"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("accept-language", "en-GB,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("referer", "https://app.example.test/a"),
        ("connection", "keep-alive"),
        ("upgrade-insecure-requests", "1"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-user", "?1"),
        ("priority", "u=0, i"),
        ("dnt", "1"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let cookies = format!(
        "theme=dark; __Host-sp_access={}; _ga=GA1.1.1234567.1234567; __Host-sp_refresh={}; lang=en",
        "a".repeat(420),
        "r".repeat(300)
    );
    if let Ok(value) = HeaderValue::try_from(cookies) {
        headers.insert(COOKIE, value);
    }
    headers
}

fn cookie_read(criterion: &mut Criterion) {
    let names = ["__Host-sp_access", "__Host-sp_refresh"];
    let headers = head();
    criterion.bench_function("cookie read", |bencher| {
        bencher.iter(|| cookies::find_each(black_box(&headers), names));
    });
    criterion.bench_function("cookie strip", |bencher| {
        bencher.iter_batched_ref(
            || headers.clone(),
            |headers| cookies::strip(headers, &names),
            criterion::BatchSize::SmallInput,
        );
    });
}

fn header_firewall(criterion: &mut Criterion) {
    let name = |name| Some(HeaderName::from_static(name));
    let firewall = Firewall::new(&Upstream {
        name: "app".to_owned(),
        servers: Servers::Demo,
        tls: None,
        http: UpstreamHttp::One,
        host: HostPolicy::Preserve,
        identity: IdentityHeaders {
            app: None,
            user: name("x-auth-user"),
            id: name("x-auth-id"),
            name: None,
            email: None,
            roles: name("x-auth-roles"),
            permissions: name("x-auth-permissions"),
            session: name("x-auth-session"),
        },
        assertion: None,
        allowed_names: Vec::new(),
        times: Times::default(),
        pool_idle: 1,
        pool_idle_timeout: Duration::from_secs(1),
        max_in_flight: 1,
        queue: 0,
        queue_wait: Duration::from_secs(1),
        max_stream_age: None,
    });
    let honest = head();
    let mut hostile = head();
    for name in ["x-auth-user", "x_auth_user", "x-forwarded-for", "x-real-ip"] {
        hostile.insert(HeaderName::from_static(name), HeaderValue::from_static("root"));
    }
    for (name, headers) in [("honest", honest), ("hostile", hostile)] {
        criterion.bench_function(&format!("header firewall, {name}"), |bencher| {
            bencher.iter_batched_ref(
                || headers.clone(),
                |headers| firewall.strip(headers, false),
                criterion::BatchSize::SmallInput,
            );
        });
    }
    let headers = head();
    criterion.bench_function("hop-by-hop strip", |bencher| {
        bencher.iter_batched_ref(
            || headers.clone(),
            strip_hop_by_hop,
            criterion::BatchSize::SmallInput,
        );
    });
}
