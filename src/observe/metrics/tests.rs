use std::thread;

use super::*;

fn registry(cores: usize) -> Arc<Registry> {
    let routes = ["app /**".to_owned(), "a \"b\\c\"\nd".to_owned(), "app /**".to_owned()];
    let upstreams = ["app".to_owned()];
    let rejections = &["expired", "rate_limited"];
    Registry::new(Names { routes: &routes, upstreams: &upstreams, rejections }, cores)
}

fn lines<'a>(page: &'a str, metric: &str) -> Vec<&'a str> {
    let of_metric = |line: &&str| line.starts_with(metric);
    page.lines().filter(of_metric).collect()
}

#[test]
fn a_scrape_of_a_gateway_at_rest_shows_every_series_at_zero() {
    let names = Names {
        routes: &["app".to_owned()],
        upstreams: &["app".to_owned()],
        rejections: &["expired"],
    };
    let page = Registry::new(names, 2).render(&[]);
    assert_eq!(page, include_str!("at_rest.txt"));
}

#[test]
fn requests_are_added_up_over_the_cores_by_route_and_class() {
    let registry = registry(2);
    let (one, two) = (registry.core(0), registry.core(1));
    one.request(Some(0), 200, Duration::from_millis(1), 100);
    two.request(Some(2), 204, Duration::from_millis(2), 11);
    two.request(Some(1), 503, Duration::from_secs(60), 1);
    one.request(None, 404, Duration::from_micros(250), 7);
    one.request(Some(99), 404, Duration::from_nanos(250_001), 7);
    two.request(Some(0), 101, Duration::from_secs(3600), 0);
    two.request(Some(0), 999, Duration::ZERO, 0);
    let page = registry.render(&[]);
    assert_eq!(
        lines(&page, "sallyport_requests_total"),
        [
            r#"sallyport_requests_total{route="-",class="1xx"} 0"#,
            r#"sallyport_requests_total{route="-",class="2xx"} 0"#,
            r#"sallyport_requests_total{route="-",class="3xx"} 0"#,
            r#"sallyport_requests_total{route="-",class="4xx"} 2"#,
            r#"sallyport_requests_total{route="-",class="5xx"} 0"#,
            r#"sallyport_requests_total{route="app /**",class="1xx"} 1"#,
            r#"sallyport_requests_total{route="app /**",class="2xx"} 2"#,
            r#"sallyport_requests_total{route="app /**",class="3xx"} 0"#,
            r#"sallyport_requests_total{route="app /**",class="4xx"} 0"#,
            r#"sallyport_requests_total{route="app /**",class="5xx"} 1"#,
            r#"sallyport_requests_total{route="a \"b\\c\"\nd",class="1xx"} 0"#,
            r#"sallyport_requests_total{route="a \"b\\c\"\nd",class="2xx"} 0"#,
            r#"sallyport_requests_total{route="a \"b\\c\"\nd",class="3xx"} 0"#,
            r#"sallyport_requests_total{route="a \"b\\c\"\nd",class="4xx"} 0"#,
            r#"sallyport_requests_total{route="a \"b\\c\"\nd",class="5xx"} 1"#,
        ]
    );
    assert_eq!(
        lines(&page, "sallyport_response_body_bytes_total"),
        [
            r#"sallyport_response_body_bytes_total{route="-"} 14"#,
            r#"sallyport_response_body_bytes_total{route="app /**"} 111"#,
            r#"sallyport_response_body_bytes_total{route="a \"b\\c\"\nd"} 1"#,
        ]
    );
    assert_eq!(
        lines(&page, "sallyport_request_duration_seconds"),
        [
            r#"sallyport_request_duration_seconds_bucket{le="0.00025"} 2"#,
            r#"sallyport_request_duration_seconds_bucket{le="0.0005"} 3"#,
            r#"sallyport_request_duration_seconds_bucket{le="0.001"} 4"#,
            r#"sallyport_request_duration_seconds_bucket{le="0.0025"} 5"#,
            r#"sallyport_request_duration_seconds_bucket{le="0.005"} 5"#,
            r#"sallyport_request_duration_seconds_bucket{le="0.01"} 5"#,
            r#"sallyport_request_duration_seconds_bucket{le="0.025"} 5"#,
            r#"sallyport_request_duration_seconds_bucket{le="0.05"} 5"#,
            r#"sallyport_request_duration_seconds_bucket{le="0.1"} 5"#,
            r#"sallyport_request_duration_seconds_bucket{le="0.25"} 5"#,
            r#"sallyport_request_duration_seconds_bucket{le="0.5"} 5"#,
            r#"sallyport_request_duration_seconds_bucket{le="1"} 5"#,
            r#"sallyport_request_duration_seconds_bucket{le="2.5"} 5"#,
            r#"sallyport_request_duration_seconds_bucket{le="5"} 5"#,
            r#"sallyport_request_duration_seconds_bucket{le="10"} 5"#,
            r#"sallyport_request_duration_seconds_bucket{le="+Inf"} 6"#,
            "sallyport_request_duration_seconds_sum 60.003500001",
            "sallyport_request_duration_seconds_count 6",
        ]
    );
}

#[test]
fn a_label_that_was_not_announced_makes_no_series() {
    let registry = registry(1);
    let core = registry.core(0);
    core.rejection("expired");
    core.rejection("\"} 1\nforged");
    core.upstream_connect(7);
    assert_eq!(
        lines(&registry.render(&[]), "sallyport_rejections_total"),
        [
            r#"sallyport_rejections_total{reason="-"} 1"#,
            r#"sallyport_rejections_total{reason="expired"} 1"#,
            r#"sallyport_rejections_total{reason="rate_limited"} 0"#,
        ]
    );
    registry.core(1).connection_opened();
    assert!(!registry.render(&[]).contains("sallyport_connections_open 1"));
}

#[test]
fn gauges_come_and_go_and_never_fall_below_zero() {
    let registry = registry(2);
    let (one, two) = (registry.core(0), registry.core(1));
    (0..3).for_each(|_| registry.listen().accepted());
    registry.listen().refused();
    one.connection_opened();
    two.connection_opened();
    two.connection_closed();
    one.upstream_begin(0);
    one.upstream_begin(0);
    two.upstream_end(0);
    two.upstream_head(0, Duration::from_millis(3));
    let page = registry.render(&[]);
    for line in [
        "sallyport_connections_accepted_total 3",
        "sallyport_connections_refused_total 1",
        "sallyport_connections_open 1",
        r#"sallyport_upstream_requests_in_flight{upstream="app"} 1"#,
        r#"sallyport_upstream_head_seconds_bucket{upstream="app",le="0.0025"} 0"#,
        r#"sallyport_upstream_head_seconds_bucket{upstream="app",le="0.005"} 1"#,
        r#"sallyport_upstream_head_seconds_sum{upstream="app"} 0.003"#,
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
    one.connection_closed();
    one.connection_closed();
    assert!(registry.render(&[]).contains("sallyport_connections_open 0\n"));
}

#[test]
fn samples_of_other_rooms_stand_in_one_group_per_name() {
    let sample = |name, labels, value| Sample {
        name,
        help: "One\nof\\us.",
        kind: SampleKind::Counter,
        labels,
        value,
    };
    let page = registry(1).render(&[
        sample("sallyport_logins_total", &[("outcome", "ok")], 3),
        Sample { kind: SampleKind::Gauge, ..sample("sallyport_keys", &[], u64::MAX) },
        sample("sallyport_logins_total", &[("outcome", "refused")], 4),
    ]);
    assert!(
        page.ends_with(concat!(
            "# HELP sallyport_logins_total One\\nof\\\\us.\n",
            "# TYPE sallyport_logins_total counter\n",
            "sallyport_logins_total{outcome=\"ok\"} 3\n",
            "sallyport_logins_total{outcome=\"refused\"} 4\n",
            "# HELP sallyport_keys One\\nof\\\\us.\n",
            "# TYPE sallyport_keys gauge\n",
            "sallyport_keys 18446744073709551615\n",
        )),
        "{page}"
    );
}

#[test]
fn no_series_comes_twice_whatever_the_routes_are_called() {
    let routes: Vec<String> = ["-", "a", "", "a", "-", "b"].map(str::to_owned).into();
    let names = Names { routes: &routes, upstreams: &routes, rejections: &["x", "x"] };
    let page = Registry::new(names, 1).render(&[]);
    let mut series: Vec<&str> = page
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' ').map(|(series, _)| series))
        .collect();
    let all = series.len();
    series.sort_unstable();
    series.dedup();
    assert_eq!(series.len(), all);
}

#[test]
fn cores_count_at_the_same_time_without_losing_one() {
    let registry = registry(4);
    thread::scope(|scope| {
        for index in 0..4 {
            let core = registry.core(index);
            scope.spawn(move || {
                (0..10_000).for_each(|_| core.request(Some(0), 200, Duration::ZERO, 1));
            });
        }
    });
    let page = registry.render(&[]);
    assert!(page.contains(r#"sallyport_requests_total{route="app /**",class="2xx"} 40000"#));
}
