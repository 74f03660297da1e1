//! Coarse deadlines of one core: a tick looks at all that wait, so that a request arms and disarms
//! its time limits by storing a number, without a timer and without reading a clock.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// How long a tick is: a deadline passes less than two of them late, and never early.
pub const TICK: Duration = Duration::from_millis(TICK_MILLIS);
const TICK_MILLIS: u64 = 250;

const NEVER: u32 = u32::MAX;

/// The deadlines of one core. Lives on its thread; [`Deadlines::run`] moves it on.
#[derive(Debug)]
pub struct Deadlines {
    now: Arc<AtomicU32>,
    entries: RefCell<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

/// A slot is used again and again: a request that waits costs no allocation.
#[derive(Debug)]
struct Slot {
    due: Arc<AtomicU32>,
    waker: Option<Waker>,
}

impl Deadlines {
    /// No deadlines yet, at tick zero.
    pub fn new() -> Rc<Self> {
        let now = Arc::new(AtomicU32::new(0));
        Rc::new(Self { now, entries: RefCell::default() })
    }

    /// Ticks until dropped, and calls `each` after each tick (housekeeping of the core).
    pub async fn run(self: Rc<Self>, mut each: impl FnMut()) {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            interval.tick().await;
            self.tick();
            each();
        }
    }

    fn tick(&self) {
        let now = self.now.load(Ordering::Relaxed).saturating_add(1).min(NEVER - 1);
        self.now.store(now, Ordering::Relaxed);
        let mut due = Vec::new();
        for slot in &mut self.entries.borrow_mut().slots {
            if slot.due.load(Ordering::Relaxed) <= now {
                due.extend(slot.waker.take());
            }
        }
        // Outside the borrow: a woken task may come back here at once.
        due.into_iter().for_each(Waker::wake);
    }

    /// Wakes all that wait, whether their time has come or not: something has changed that concerns
    /// every one of them.
    pub fn wake_all(&self) {
        let wakers: Vec<Waker> = self
            .entries
            .borrow_mut()
            .slots
            .iter_mut()
            .filter_map(|slot| slot.waker.take())
            .collect();
        // Outside the borrow: a woken task may come back here at once.
        wakers.into_iter().for_each(Waker::wake);
    }

    /// How many ticks there have been.
    pub fn ticks(&self) -> u32 {
        self.now.load(Ordering::Relaxed)
    }

    /// When what begins now must be whole.
    pub fn end(&self, total: Option<Duration>) -> End {
        End(total.map_or(NEVER, |total| due(&self.now, total)))
    }

    /// `limit`, or what is left until `end` if that is less.
    pub fn within(&self, limit: Duration, end: End) -> Duration {
        match end.0 {
            NEVER => limit,
            end => limit.min(TICK.saturating_mul(end.saturating_sub(self.ticks()))),
        }
    }

    /// Whether it is too late for what had to be whole by `end`.
    pub fn is_past(&self, end: End) -> bool {
        end.0 <= self.ticks()
    }

    /// A deadline that is not armed yet.
    pub fn entry(self: &Rc<Self>) -> Deadline {
        let mut entries = self.entries.borrow_mut();
        let index = entries.free.pop().unwrap_or_else(|| {
            let due = Arc::new(AtomicU32::new(NEVER));
            entries.slots.push(Slot { due, waker: None });
            entries.slots.len() - 1
        });
        let due = match entries.slots.get(index) {
            Some(slot) => Arc::clone(&slot.due),
            None => Arc::new(AtomicU32::new(NEVER)),
        };
        Deadline { deadlines: Rc::clone(self), due, index }
    }

    /// Runs `work`, but at most for `limit` (and up to one tick more).
    ///
    /// # Errors
    /// [`Elapsed`] when the limit has passed first; the work is dropped then.
    pub async fn limit<T>(
        self: &Rc<Self>,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        let mut work = pin!(work);
        let mut deadline: Option<Deadline> = None;
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            // Work that is ready at once never enters the list.
            let deadline = deadline.get_or_insert_with(|| {
                let entry = self.entry();
                entry.arm(limit);
                entry
            });
            deadline.poll(cx).map(|()| Err(Elapsed))
        })
        .await
    }
}

/// When something must be whole, for most never.
#[derive(Debug, Clone, Copy)]
pub struct End(u32);

impl End {
    /// Whenever it is.
    pub const NEVER: Self = Self(NEVER);
}

/// A limit has passed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time limit has passed")]
pub struct Elapsed;

/// One deadline, registered with its core.
#[derive(Debug)]
pub struct Deadline {
    deadlines: Rc<Deadlines>,
    due: Arc<AtomicU32>,
    index: usize,
}

impl Deadline {
    /// Due after `after`, whatever was armed before.
    pub fn arm(&self, after: Duration) {
        arm(&self.deadlines.now, &self.due, after);
    }

    /// Due after `after`, or at `end` if that is earlier.
    pub fn arm_within(&self, after: Option<Duration>, end: End) {
        arm_within(&self.deadlines.now, &self.due, after, end);
    }

    /// Never due, until armed again.
    pub fn disarm(&self) {
        self.due.store(NEVER, Ordering::Relaxed);
    }

    /// Whether it is waiting for its time, or past it.
    pub fn is_armed(&self) -> bool {
        self.due.load(Ordering::Relaxed) != NEVER
    }

    /// How many ticks there have been.
    pub fn now(&self) -> u32 {
        self.deadlines.ticks()
    }

    /// A handle that can cross into what must be `Send` (the connection's byte stream).
    pub fn timer(&self) -> Timer {
        Timer { now: Arc::clone(&self.deadlines.now), due: Arc::clone(&self.due) }
    }

    /// Ready once the deadline has passed.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.due.load(Ordering::Relaxed) <= self.deadlines.ticks() {
            return Poll::Ready(());
        }
        let mut entries = self.deadlines.entries.borrow_mut();
        if let Some(slot) = entries.slots.get_mut(self.index) {
            match &slot.waker {
                Some(waker) if waker.will_wake(cx.waker()) => {}
                _ => slot.waker = Some(cx.waker().clone()),
            }
        }
        Poll::Pending
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        // A timer of this deadline may live on in a byte stream that is being torn down; what it
        // stores must not reach the next one who uses the slot.
        let fresh = Arc::strong_count(&self.due) > 2;
        let mut entries = self.deadlines.entries.borrow_mut();
        if let Some(slot) = entries.slots.get_mut(self.index) {
            slot.waker = None;
            if fresh {
                slot.due = Arc::new(AtomicU32::new(NEVER));
            } else {
                slot.due.store(NEVER, Ordering::Relaxed);
            }
            entries.free.push(self.index);
        }
    }
}

fn arm(now: &AtomicU32, slot: &AtomicU32, after: Duration) {
    slot.store(due(now, after), Ordering::Relaxed);
}

fn arm_within(now: &AtomicU32, slot: &AtomicU32, after: Option<Duration>, End(end): End) {
    let after = after.map_or(NEVER, |after| due(now, after));
    slot.store(after.min(end), Ordering::Relaxed);
}

/// The tick at which something is due after `after`.
fn due(now: &AtomicU32, after: Duration) -> u32 {
    // In 64 bits: a division of 128 is a call, and this is done some times for each request.
    let millis = after.as_secs().saturating_mul(1000).saturating_add(after.subsec_millis().into());
    // Rounded up, and one more: the present tick has partly passed already.
    let ticks = millis.div_ceil(TICK_MILLIS).saturating_add(1);
    let ticks = u32::try_from(ticks).unwrap_or(NEVER);
    now.load(Ordering::Relaxed).saturating_add(ticks).min(NEVER - 1)
}

/// Arms and disarms a [`Deadline`] from anywhere.
#[derive(Debug, Clone)]
pub struct Timer {
    now: Arc<AtomicU32>,
    due: Arc<AtomicU32>,
}

impl Timer {
    /// Due after `after`, whatever was armed before.
    pub fn arm(&self, after: Duration) {
        arm(&self.now, &self.due, after);
    }

    /// Due after `after`, or at `end` if that is earlier.
    pub fn arm_within(&self, after: Option<Duration>, end: End) {
        arm_within(&self.now, &self.due, after, end);
    }

    /// How many ticks there have been.
    pub fn now(&self) -> u32 {
        self.now.load(Ordering::Relaxed)
    }

    /// Due after `after`, unless it was armed already.
    pub fn arm_if_idle(&self, after: Duration) {
        if self.due.load(Ordering::Relaxed) == NEVER {
            self.arm(after);
        }
    }

    /// Never due, until armed again.
    pub fn disarm(&self) {
        self.due.store(NEVER, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_takes_too_long_is_dropped_and_other_work_is_not() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let deadlines = Deadlines::new();
                tokio::task::spawn_local(Rc::clone(&deadlines).run(|| ()));
                let never = deadlines.limit(Duration::from_secs(2), std::future::pending::<()>());
                assert_eq!(never.await, Err(Elapsed));
                let soon = tokio::time::sleep(Duration::from_secs(1));
                assert_eq!(deadlines.limit(Duration::from_secs(2), soon).await, Ok(()));
                let entries = deadlines.entries.borrow();
                assert_eq!(entries.slots.len(), 1, "a slot is used again");
                assert_eq!(entries.free.len(), 1, "a finished limit leaves its slot");
            })
            .await;
    }

    #[test]
    fn a_timer_that_outlives_its_deadline_does_not_reach_the_next_one() {
        let deadlines = Deadlines::new();
        let old = deadlines.entry();
        let timer = old.timer();
        drop(old);
        let new = deadlines.entry();
        timer.arm(Duration::ZERO);
        assert!(!new.is_armed());
    }

    #[test]
    fn what_must_be_whole_by_then_is_given_no_more_time_by_any_other_limit() {
        let deadlines = Deadlines::new();
        let entry = deadlines.entry();
        let cx = Context::from_waker(Waker::noop());
        let end = deadlines.end(Some(TICK * 3));
        assert_eq!(deadlines.within(TICK, end), TICK);
        assert_eq!(deadlines.within(TICK * 100, end), TICK * 4);
        assert_eq!(deadlines.within(TICK * 100, End::NEVER), TICK * 100);
        for _ in 0..4 {
            // Nothing is waited for but the end, or something that may last longer.
            entry.arm_within(None, end);
            assert!(entry.poll(&cx).is_pending() && !deadlines.is_past(end));
            entry.timer().arm_within(Some(TICK * 100), end);
            assert!(entry.poll(&cx).is_pending());
            deadlines.tick();
        }
        assert!(entry.poll(&cx).is_ready() && deadlines.is_past(end));
        entry.arm_within(None, deadlines.end(None));
        assert!(!entry.is_armed());
    }

    #[test]
    fn all_that_wait_can_be_woken_before_their_time() {
        struct Woken(AtomicU32);
        impl std::task::Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let woken = Arc::new(Woken(AtomicU32::new(0)));
        let waker = Waker::from(Arc::clone(&woken));
        let cx = Context::from_waker(&waker);
        let deadlines = Deadlines::new();
        let entries = [deadlines.entry(), deadlines.entry()];
        for _ in 0..2 {
            assert!(entries.iter().all(|entry| entry.poll(&cx).is_pending()));
            deadlines.wake_all();
        }
        assert_eq!(woken.0.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn a_deadline_is_never_early_and_can_be_taken_back() {
        let deadlines = Deadlines::new();
        let entry = deadlines.entry();
        let cx = Context::from_waker(Waker::noop());
        entry.arm(TICK * 2);
        deadlines.tick();
        deadlines.tick();
        assert!(entry.poll(&cx).is_pending(), "less than two whole ticks may have passed");
        deadlines.tick();
        assert!(entry.poll(&cx).is_ready());
        entry.disarm();
        assert!(entry.poll(&cx).is_pending());
    }
}
