//! Where a connection stands, so that slow senders and slow readers can be told from slow networks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use crate::deadline::Timer;

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;

/// How long a connection that shall end may take to bring one more request: what a client has sent
/// already gets its answer, which says that it is the last.
const LAST_CALL: Duration = Duration::from_secs(2);

/// Where a connection stands, shared by its byte stream and its requests.
#[derive(Debug, Clone)]
pub(super) struct Pulse(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    phase: AtomicU8,
    /// The last request had a body, of which some may still be on its way.
    body: AtomicBool,
    /// Requests that it may still bring.
    left: AtomicU32,
    /// The request under way is the last one, or the next one is.
    last: AtomicBool,
    /// Requests that have come since then.
    beyond: AtomicU32,
    /// Idle, or a request head under way.
    reading: Timer,
    /// A write that the peer does not take.
    writing: Timer,
    times: Times,
}

/// How long a peer may keep a connection without moving on, and for how much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// Requests; `u32::MAX`: any number.
    pub(super) requests: u32,
    /// Between requests; and without a word to a client that says nothing more itself.
    pub(super) keep_alive: Duration,
    /// For a request head, from its first byte.
    pub(super) head: Duration,
    /// For taking any part of what is written.
    pub(super) write_stall: Duration,
}

impl Pulse {
    pub(super) fn new(reading: Timer, writing: Timer, times: Times) -> Self {
        // A new connection owes its first head at once.
        reading.arm(times.head);
        Self(Arc::new(Inner {
            phase: AtomicU8::new(HEAD),
            body: AtomicBool::new(false),
            left: AtomicU32::new(times.requests),
            last: AtomicBool::new(false),
            beyond: AtomicU32::new(0),
            reading,
            writing,
            times,
        }))
    }

    /// A request's head has been read, and whether a body follows: from here on its own limits
    /// hold.
    pub(super) fn busy(&self, body: bool) {
        self.0.body.store(body, Ordering::Relaxed);
        self.0.phase.store(BUSY, Ordering::Relaxed);
        self.0.reading.disarm();
    }

    /// Whether the peer may still be sending what it has begun: a body that was not read, or a head that
    /// was refused for its size or its form.
    pub(super) fn may_bring_more(&self) -> bool {
        self.0.body.load(Ordering::Relaxed) || self.0.phase.load(Ordering::Relaxed) == HEAD
    }

    /// One more request has come.
    pub(super) fn count(&self) {
        if self.is_last() {
            self.0.beyond.fetch_add(1, Ordering::Relaxed);
        }
        let left = self.0.left.load(Ordering::Relaxed);
        if left != u32::MAX {
            let left = left.saturating_sub(1);
            self.0.left.store(left, Ordering::Relaxed);
            if left == 0 {
                self.0.last.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Whether no request is to come after this one.
    pub(super) fn is_last(&self) -> bool {
        self.0.last.load(Ordering::Relaxed)
    }

    /// The peer says nothing more, and has so long to take what it is told, anew for each part of it.
    pub(super) fn listens(&self, anew: bool) {
        match anew {
            true => self.0.reading.arm(self.0.times.keep_alive),
            false => self.0.reading.arm_if_idle(self.0.times.keep_alive),
        }
    }

    /// The connection is closed, and what still comes on it is taken in for so long.
    pub(super) fn linger(&self, time: Duration) {
        self.0.reading.arm(time);
    }

    /// How many requests have come since the last one should have.
    pub(super) fn beyond(&self) -> u32 {
        self.0.beyond.load(Ordering::Relaxed)
    }

    /// The next request is the last one.
    pub(super) fn close(&self) {
        self.0.last.store(true, Ordering::Relaxed);
    }

    /// The connection shall end. If no request is under way, one that is on its way is given a moment to come.
    pub(super) fn wind_down(&self) {
        self.close();
        if !self.is_busy() {
            self.0.reading.arm(LAST_CALL);
        }
    }

    /// No request is under way any more.
    pub(super) fn idle(&self) {
        self.0.phase.store(IDLE, Ordering::Relaxed);
        self.0.reading.arm(self.0.times.keep_alive);
    }

    /// Bytes have come that are no part of a request yet.
    pub(super) fn read(&self) {
        // Only the first bytes after a pause begin a head; more of them do not give more time.
        if self.0.phase.load(Ordering::Relaxed) == IDLE {
            self.0.phase.store(HEAD, Ordering::Relaxed);
            self.0.reading.arm(self.0.times.head);
        }
    }

    /// Whether a request is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.0.phase.load(Ordering::Relaxed) == BUSY
    }

    /// Bytes were written, or nothing could be.
    pub(super) fn wrote(&self, progress: bool) {
        if progress {
            self.0.writing.disarm();
        } else {
            self.0.writing.arm_if_idle(self.0.times.write_stall);
        }
    }
}
