//! What a request pays to be seen: an id, an access line, a count; and what a scrape costs.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::hint::black_box;
use std::net::IpAddr;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sallyport::clock::Timestamp;
use sallyport::config::{AccessLog, Log, LogFormat};
use sallyport::id::SessionId;
use sallyport::observe::{AccessWriter, Line, Names, Registry, RequestId, RequestIds};

fn line(request_id: RequestId, now: Timestamp, path: &str) -> Line<'_> {
    Line {
        now,
        request_id,
        client: IpAddr::from([203, 0, 113, 9]),
        protocol: "HTTP/2.0",
        method: "GET",
        host: "app.example.org",
        path,
        status: 200,
        outcome: "ok",
        caller: Some("ada"),
        session: Some(SessionId::from_bytes([0x5a; 16])),
        route: Some("app"),
        upstream: Some("app"),
        bytes: 512,
        elapsed: Duration::from_micros(1234),
        upstream_elapsed: Some(Duration::from_micros(900)),
    }
}

/// The line as a core makes it, hand-over to the writer thread and the write itself included.
fn access_line(c: &mut Criterion) {
    let mut group = c.benchmark_group("access_line");
    group.throughput(Throughput::Elements(1));
    for (name, format, path) in [
        ("text", LogFormat::Text, "/api/items/42"),
        ("json", LogFormat::Json, "/api/items/42"),
        ("text_escaped", LogFormat::Text, "/api/items/\"Straße\""),
    ] {
        let access = AccessLog::File("/dev/null".into());
        let log = Log { level: "info".to_owned(), format, access };
        let writer = AccessWriter::open(&log).expect("it opens").expect("it is wanted");
        let mut buffer = writer.core_buffer();
        let id = RequestId::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        let mut millis = 1_795_324_921_000;
        group.bench_function(name, |b| {
            b.iter(|| {
                millis += 1;
                buffer.line(black_box(&line(id, Timestamp::from_millis(millis), path)));
            });
        });
    }
    group.finish();
}

fn request_id(c: &mut Criterion) {
    let ids = RequestIds::new().expect("the system has randomness");
    c.bench_function("request_id", |b| b.iter(|| black_box(ids.next().text())));
}

fn metrics(c: &mut Criterion) {
    let routes: Vec<String> = (0..100).map(|n| format!("route {n}")).collect();
    let upstreams = ["app".to_owned()];
    let names = Names { routes: &routes, upstreams: &upstreams, rejections: &["expired"] };
    let registry = Registry::new(names, 2);
    let core = registry.core(0);
    c.bench_function("metrics/request", |b| {
        b.iter(|| {
            core.request(black_box(Some(42)), 200, black_box(Duration::from_micros(1234)), 9)
        });
    });
    c.bench_function("metrics/scrape_100_routes", |b| b.iter(|| registry.render(&[])));
}

criterion_group!(benches, access_line, request_id, metrics);
criterion_main!(benches);
