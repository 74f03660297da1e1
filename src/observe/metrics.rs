//! What is counted, and how a scrape reads it. Each core counts in memory of its own that only it
//! writes; a scrape adds the cores up. Label values are closed sets that the config and the code
//! name: nothing that a stranger sends becomes a series.

mod exposition;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use exposition::{Sample, SampleKind};

/// The name under which is counted what belongs to no route, upstream or label that was announced.
const NONE: &str = "-";

/// Upper bounds of the duration buckets, in microseconds; above the last there is `+Inf`. From what
/// a proxy adds to what a person gives up on.
const BOUNDS_MICROS: [u64; 15] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// The label values that there will be.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// Routes, by the index that the cores count them under. Two of one name are one series.
    pub routes: &'a [String],
    /// Upstreams, by the index that the cores count them under.
    pub upstreams: &'a [String],
    /// Labels of rejections.
    pub rejections: &'a [&'static str],
}

/// All counters of the gateway.
#[derive(Debug)]
pub struct Registry {
    series: Arc<Series>,
    cores: Vec<Arc<CoreMetrics>>,
    listen: ListenMetrics,
}

impl Registry {
    /// Counters at zero for this many cores.
    pub fn new(names: Names<'_>, cores: usize) -> Arc<Self> {
        let series = Arc::new(Series {
            routes: Labels::new(names.routes.iter().map(String::as_str)),
            upstreams: Labels::new(names.upstreams.iter().map(String::as_str)),
            rejections: Labels::new(names.rejections.iter().copied()),
        });
        let cores = (0..cores).map(|_| Arc::new(CoreMetrics::new(Arc::clone(&series)))).collect();
        Arc::new(Self { series, cores, listen: ListenMetrics::default() })
    }

    /// The counters of one core. What a core counts that there is not is not shown.
    pub fn core(&self, core: usize) -> Arc<CoreMetrics> {
        let spare = || Arc::new(CoreMetrics::new(Arc::clone(&self.series)));
        self.cores.get(core).map_or_else(spare, Arc::clone)
    }

    /// The counters of the acceptor, which may be counted from any thread.
    pub const fn listen(&self) -> &ListenMetrics {
        &self.listen
    }

    /// Everything in Prometheus' text format 0.0.4 (`text/plain; version=0.0.4`), the cores added
    /// up, with what the other rooms count themselves behind it.
    pub fn render(&self, samples: &[Sample<'_>]) -> String {
        exposition::render(self, samples)
    }

    fn sum(&self, counter: impl Fn(&CoreMetrics) -> &Counter) -> u64 {
        self.cores.iter().map(|core| counter(core).get()).fold(0, u64::wrapping_add)
    }
}

/// Why the gateway ends a stream: its session has ended, the gateway stops, or it is as old as it may
/// be.
const STREAM_ENDS: [&str; 3] = ["session", "stopping", "age"];

/// What the acceptor counts: once per connection, so that it need not be one thread's own.
#[derive(Debug, Default)]
pub struct ListenMetrics {
    accepted: AtomicU64,
    refused: AtomicU64,
}

impl ListenMetrics {
    /// A connection was accepted and handed to a core.
    pub fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection was closed at once, for there are too many.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// What one core counts. Shared with the scrape, but written by its core alone: the counters are
/// not read and written in one act, so that a second writer would lose counts.
#[derive(Debug)]
#[repr(align(64))]
pub struct CoreMetrics {
    series: Arc<Series>,
    routes: Box<[RouteCounters]>,
    upstreams: Box<[UpstreamCounters]>,
    rejections: Box<[Counter]>,
    duration: Histogram,
    connections_opened: Counter,
    connections_closed: Counter,
    tls_handshakes: Counter,
    tls_failures: Counter,
    streams_begun: Counter,
    streams_over: Counter,
    streams_ended: [Counter; STREAM_ENDS.len()],
}

impl CoreMetrics {
    fn new(series: Arc<Series>) -> Self {
        Self {
            routes: slots(&series.routes),
            upstreams: slots(&series.upstreams),
            rejections: slots(&series.rejections),
            series,
            duration: Histogram::default(),
            connections_opened: Counter::default(),
            connections_closed: Counter::default(),
            tls_handshakes: Counter::default(),
            tls_failures: Counter::default(),
            streams_begun: Counter::default(),
            streams_over: Counter::default(),
            streams_ended: Default::default(),
        }
    }

    /// A request was answered. `route`: its index, `None` when no route matched. `bytes`: of body
    /// sent. A `101` counts as a request but not into the durations: it lasts as long as somebody
    /// leaves a tab open.
    pub fn request(&self, route: Option<usize>, status: u16, elapsed: Duration, bytes: u64) {
        if let Some(route) = self.routes.get(self.series.routes.slot(route)) {
            if let Some(class) = route.by_class.get(class(status)) {
                class.add(1);
            }
            route.bytes.add(bytes);
        }
        if status != 101 {
            self.duration.observe(elapsed);
        }
    }

    /// A request was refused; `label` as announced in [`Names::rejections`].
    pub fn rejection(&self, label: &str) {
        if let Some(counter) = self.rejections.get(self.series.rejections.slot_of(label)) {
            counter.add(1);
        }
    }

    /// A WebSocket, or a stream of events or of gRPC, has begun. Each must be followed by a
    /// [`Self::stream_over`].
    pub fn stream_begun(&self) {
        self.streams_begun.add(1);
    }

    /// One of them is over, however it ended.
    pub fn stream_over(&self) {
        self.streams_over.add(1);
    }

    /// One of them was ended by the gateway; `why` is one of `STREAM_ENDS`.
    pub fn stream_ended(&self, why: &str) {
        let place = STREAM_ENDS.iter().position(|known| *known == why);
        if let Some(counter) = place.and_then(|place| self.streams_ended.get(place)) {
            counter.add(1);
        }
    }

    /// A client's connection is served by this core from now on.
    pub fn connection_opened(&self) {
        self.connections_opened.add(1);
    }

    /// One of them has ended.
    pub fn connection_closed(&self) {
        self.connections_closed.add(1);
    }

    /// A TLS handshake was completed.
    pub fn tls_handshake(&self) {
        self.tls_handshakes.add(1);
    }

    /// A TLS handshake was broken off, by either side or by time.
    pub fn tls_failure(&self) {
        self.tls_failures.add(1);
    }

    /// A new connection to the upstream stands.
    pub fn upstream_connect(&self, upstream: usize) {
        self.upstream(upstream, |counters| counters.connects.add(1));
    }

    /// A request goes out on a connection that was there.
    pub fn upstream_reuse(&self, upstream: usize) {
        self.upstream(upstream, |counters| counters.reuses.add(1));
    }

    /// The upstream was not reached, broke off, or was too slow.
    pub fn upstream_error(&self, upstream: usize) {
        self.upstream(upstream, |counters| counters.errors.add(1));
    }

    /// A request is under way to the upstream. Each must be followed by an [`Self::upstream_end`].
    pub fn upstream_begin(&self, upstream: usize) {
        self.upstream(upstream, |counters| counters.begun.add(1));
    }

    /// A request to the upstream has ended, however it did.
    pub fn upstream_end(&self, upstream: usize) {
        self.upstream(upstream, |counters| counters.ended.add(1));
    }

    /// The head of the upstream's answer is here, this long after the request was sent.
    pub fn upstream_head(&self, upstream: usize, elapsed: Duration) {
        self.upstream(upstream, |counters| counters.head.observe(elapsed));
    }

    fn upstream(&self, upstream: usize, count: impl FnOnce(&UpstreamCounters)) {
        if let Some(counters) = self.upstreams.get(self.series.upstreams.slot(Some(upstream))) {
            count(counters);
        }
    }
}

/// The index of a status' class; what is no HTTP status counts as ours to answer for.
fn class(status: u16) -> usize {
    match status / 100 {
        hundreds @ 1..=5 => usize::from(hundreds) - 1,
        _ => 4,
    }
}

/// A number that only grows. One writer, any number of readers.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Counter {
    /// A load and a store in place of an atomic add: a fifth of its cost, and all that one writer
    /// needs.
    fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

// Aligned to a cache line each, so that no core waits for a line that another one writes.
#[derive(Debug, Default)]
#[repr(align(64))]
struct RouteCounters {
    by_class: [Counter; 5],
    bytes: Counter,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct UpstreamCounters {
    connects: Counter,
    reuses: Counter,
    errors: Counter,
    begun: Counter,
    ended: Counter,
    head: Histogram,
}

/// How often something took how long.
#[derive(Debug, Default)]
struct Histogram {
    /// Each observation is in one of them; the format's running sums are made by the scrape.
    buckets: [Counter; BOUNDS_MICROS.len() + 1],
    sum_nanos: Counter,
}

impl Histogram {
    fn observe(&self, elapsed: Duration) {
        // A bound belongs to its bucket (`le`), so that what counts is whether a whole microsecond
        // is exceeded.
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let micros = nanos.div_ceil(1000);
        let bucket = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.add(1);
        }
        self.sum_nanos.add(nanos);
    }
}

/// Which label values there are, and where each is counted.
#[derive(Debug)]
struct Series {
    routes: Labels,
    upstreams: Labels,
    rejections: Labels,
}

/// The values of one label. Distinct, for a scrape that shows a series twice is refused whole; the
/// first is [`NONE`].
#[derive(Debug)]
struct Labels {
    values: Vec<String>,
    slot_of_index: Vec<usize>,
}

impl Labels {
    fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut values = vec![NONE.to_owned()];
        let mut known = HashMap::from([(NONE, 0)]);
        let slot_of_index = names.map(|name| {
            *known.entry(name).or_insert_with(|| {
                values.push(name.to_owned());
                values.len() - 1
            })
        });
        let slot_of_index = slot_of_index.collect();
        Self { values, slot_of_index }
    }

    fn slot(&self, index: Option<usize>) -> usize {
        index.and_then(|index| self.slot_of_index.get(index)).copied().unwrap_or(0)
    }

    fn slot_of(&self, value: &str) -> usize {
        self.values.iter().position(|known| known == value).unwrap_or(0)
    }
}

fn slots<T: Default>(labels: &Labels) -> Box<[T]> {
    labels.values.iter().map(|_| T::default()).collect()
}

#[cfg(test)]
mod tests;
