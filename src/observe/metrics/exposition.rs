//! Prometheus' text exposition format, version 0.0.4: all lines of a metric in one group, headed by
//! what it is.

use std::fmt::Display;

use super::{BOUNDS_MICROS, Counter, Histogram, Labels, Registry, STREAM_ENDS, UpstreamCounters};

/// A value that another room counts.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// The metric, with its prefix and unit: `sallyport_logins_total`.
    pub name: &'a str,
    /// One sentence for people. That of the first sample of a name is shown.
    pub help: &'a str,
    /// Whether it only grows.
    pub kind: SampleKind,
    /// Names and values. Names must be fit for the format; values may be any text.
    pub labels: &'a [(&'a str, &'a str)],
    /// The value.
    pub value: u64,
}

/// What a [`Sample`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleKind {
    /// It only grows.
    Counter,
    /// It comes and goes.
    Gauge,
}

impl SampleKind {
    const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

pub(super) fn render(registry: &Registry, samples: &[Sample<'_>]) -> String {
    let mut page = Page(String::with_capacity(16 * 1024));
    requests(&mut page, registry);
    connections(&mut page, registry);
    streams(&mut page, registry);
    upstreams(&mut page, registry);
    for (index, sample) in samples.iter().enumerate() {
        // A name that comes again later was written with its first.
        if samples.iter().take(index).any(|earlier| earlier.name == sample.name) {
            continue;
        }
        page.head(sample.name, sample.help, sample.kind.word());
        for same in samples.iter().filter(|other| other.name == sample.name) {
            page.line(same.name, same.labels, same.value);
        }
    }
    page.0
}

fn requests(page: &mut Page, registry: &Registry) {
    let routes = &registry.series.routes.values;
    let name = "sallyport_requests_total";
    page.head(name, "Requests answered, by route and class of status.", "counter");
    for (slot, route) in routes.iter().enumerate() {
        for (index, class) in CLASSES.into_iter().enumerate() {
            let count =
                registry.sum_at(slot, |core| &core.routes, |route| route.by_class.get(index));
            page.line(name, &[("route", route), ("class", class)], count);
        }
    }
    let name = "sallyport_response_body_bytes_total";
    page.head(name, "Bytes of response bodies sent, by route.", "counter");
    for (slot, route) in routes.iter().enumerate() {
        let bytes = registry.sum_at(slot, |core| &core.routes, |route| Some(&route.bytes));
        page.line(name, &[("route", route)], bytes);
    }
    let name = "sallyport_request_duration_seconds";
    page.head(
        name,
        "Time from a request's head to the end of its answer, without 101s.",
        "histogram",
    );
    page.histogram(name, &[], registry.cores.iter().map(|core| &core.duration));
    let name = "sallyport_rejections_total";
    page.head(name, "Requests refused, by reason.", "counter");
    for (slot, reason) in registry.series.rejections.values.iter().enumerate() {
        let count = registry.sum_at(slot, |core| &core.rejections, Some);
        page.line(name, &[("reason", reason)], count);
    }
}

fn connections(page: &mut Page, registry: &Registry) {
    let opened = registry.sum(|core| &core.connections_opened);
    let closed = registry.sum(|core| &core.connections_closed);
    for (name, help, kind, value) in [
        (
            "sallyport_connections_accepted_total",
            "Connections accepted.",
            "counter",
            registry.listen.accepted.load(super::Ordering::Relaxed),
        ),
        (
            "sallyport_connections_refused_total",
            "Connections closed at once because there were too many.",
            "counter",
            registry.listen.refused.load(super::Ordering::Relaxed),
        ),
        (
            "sallyport_connections_open",
            "Connections being served.",
            "gauge",
            // A core may count between the two readings.
            opened.saturating_sub(closed),
        ),
        (
            "sallyport_tls_handshakes_total",
            "TLS handshakes completed.",
            "counter",
            registry.sum(|core| &core.tls_handshakes),
        ),
        (
            "sallyport_tls_failures_total",
            "TLS handshakes broken off.",
            "counter",
            registry.sum(|core| &core.tls_failures),
        ),
    ] {
        page.head(name, help, kind);
        page.line(name, &[], value);
    }
}

fn streams(page: &mut Page, registry: &Registry) {
    let name = "sallyport_streams_open";
    page.head(name, "WebSockets and streams of events or gRPC that are open.", "gauge");
    let begun = registry.sum(|core| &core.streams_begun);
    page.line(name, &[], begun.saturating_sub(registry.sum(|core| &core.streams_over)));
    let name = "sallyport_streams_ended_total";
    page.head(name, "Streams that the gateway has ended, by reason.", "counter");
    for (place, why) in STREAM_ENDS.into_iter().enumerate() {
        let counters = registry.cores.iter().filter_map(|core| core.streams_ended.get(place));
        let count = counters.map(Counter::get).fold(0, u64::wrapping_add);
        page.line(name, &[("reason", why)], count);
    }
}

type OfUpstream = fn(&UpstreamCounters) -> &Counter;

fn upstreams(page: &mut Page, registry: &Registry) {
    let Labels { values, slot_of_index } = &registry.series.upstreams;
    let sum =
        |slot, of: OfUpstream| registry.sum_at(slot, |core| &core.upstreams, |up| Some(of(up)));
    // Nothing can be counted under no upstream, unless one was never announced.
    let named: Vec<(usize, &String)> =
        values.iter().enumerate().filter(|(slot, _)| slot_of_index.contains(slot)).collect();
    let counters: [(&str, &str, OfUpstream); 3] = [
        ("sallyport_upstream_connects_total", "Connections made.", |up| &up.connects),
        ("sallyport_upstream_reuses_total", "Requests on kept connections.", |up| &up.reuses),
        ("sallyport_upstream_errors_total", "Requests that the upstream failed.", |up| &up.errors),
    ];
    for (name, help, of) in counters {
        page.head(name, help, "counter");
        for (slot, upstream) in &named {
            page.line(name, &[("upstream", upstream)], sum(*slot, of));
        }
    }
    let name = "sallyport_upstream_requests_in_flight";
    page.head(name, "Requests under way.", "gauge");
    for (slot, upstream) in &named {
        let begun = sum(*slot, |up| &up.begun);
        let in_flight = begun.saturating_sub(sum(*slot, |up| &up.ended));
        page.line(name, &[("upstream", upstream)], in_flight);
    }
    let name = "sallyport_upstream_head_seconds";
    page.head(name, "Time from a request sent to the head of its answer.", "histogram");
    for (slot, upstream) in &named {
        let heads = registry.cores.iter().filter_map(|core| core.upstreams.get(*slot));
        page.histogram(name, &[("upstream", upstream)], heads.map(|counters| &counters.head));
    }
}

impl Registry {
    /// Adds up, over the cores, one counter of what is counted under `slot`.
    fn sum_at<'a, T: 'a>(
        &'a self,
        slot: usize,
        all: impl Fn(&'a super::CoreMetrics) -> &'a [T],
        of: impl Fn(&'a T) -> Option<&'a Counter>,
    ) -> u64 {
        let counters = self.cores.iter().filter_map(|core| of(all(core).get(slot)?));
        counters.map(Counter::get).fold(0, u64::wrapping_add)
    }
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.0.extend(["# HELP ", name, " ", &help, "\n# TYPE ", name, " ", kind, "\n"]);
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.0.extend([if index == 0 { "{" } else { "," }, label, "=\""]);
            for character in text.chars() {
                match character {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    other => self.0.push(other),
                }
            }
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        self.0.extend([" ", &value.to_string(), "\n"]);
    }

    fn histogram<'a>(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        cores: impl Iterator<Item = &'a Histogram>,
    ) {
        let mut buckets = [0_u64; BOUNDS_MICROS.len() + 1];
        let mut sum_nanos = 0_u64;
        for core in cores {
            for (total, bucket) in buckets.iter_mut().zip(&core.buckets) {
                *total = total.wrapping_add(bucket.get());
            }
            sum_nanos = sum_nanos.wrapping_add(core.sum_nanos.get());
        }
        let mut below = 0_u64;
        let bounds = BOUNDS_MICROS.iter().map(|micros| seconds(micros.saturating_mul(1000)));
        for (count, bound) in buckets.iter().zip(bounds.chain(["+Inf".to_owned()])) {
            below = below.wrapping_add(*count);
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.line(&format!("{name}_bucket"), &labels, below);
        }
        self.line(&format!("{name}_sum"), labels, seconds(sum_nanos));
        self.line(&format!("{name}_count"), labels, below);
    }
}

/// Nanoseconds as decimal seconds, exact and without needless zeros.
fn seconds(nanos: u64) -> String {
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
