//! Whether the gateway should be sent traffic: the store answers, what others revoke is heard, and the
//! clock is the one that they have.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Sessions;
use crate::clock::{Clock, Stopwatch, Timestamp};
use crate::store::{Store, StoreError};

/// Why the gateway should be sent no traffic.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// The store does not answer.
    #[error("the store does not answer: {0}")]
    Store(#[source] StoreError),
    /// The store takes longer than whoever asks for readiness waits.
    #[error("the store does not answer within {} ms", READY_WAIT.as_millis())]
    Slow,
    /// The store answers again, and what was revoked meanwhile has not been read yet.
    #[error("the store is back, and what was revoked meanwhile has not been read yet")]
    Behind,
    /// Revocations have not been read for too long: sessions ended elsewhere go on here.
    #[error("revocations were last read {} ms ago", .0.as_millis())]
    Deaf(Duration),
    /// This machine's clock is not the one of the other replicas.
    #[error(
        "the clock of this machine is {} ms {} that of the store; set it right (NTP)",
        .0.unsigned_abs(),
        if *.0 > 0 { "ahead of" } else { "behind" }
    )]
    Clock(i64),
}

impl Sessions {
    /// Whether the gateway should be sent traffic: the store answers, and what other processes
    /// revoke is heard.
    ///
    /// # Errors
    /// Why not.
    pub async fn ready(&self) -> Result<(), NotReady> {
        let silence = self.pulse.silence();
        if silence > self.settings.revocation_max_age {
            return Err(NotReady::Deaf(silence));
        }
        if let Some(apart) = self.skew.apart() {
            return Err(NotReady::Clock(apart));
        }
        let store = self.store.clone();
        let asked = self.on_room(async move { store.ping().await });
        match tokio::time::timeout(READY_WAIT, asked).await {
            Ok(Ok(())) if self.pulse.is_behind(self.store.epoch()) => Err(NotReady::Behind),
            Ok(answered) => answered.map_err(NotReady::Store),
            Err(_) => Err(NotReady::Slow),
        }
    }
}

/// How far this machine's clock is from the one that all replicas share.
#[derive(Default)]
pub(super) struct Skew(Mutex<Ahead>);

/// Milliseconds that our clock is ahead of the shared one: between the two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ahead {
    least: i64,
    most: i64,
}

impl Ahead {
    /// By a reading of the shared clock that was made within `took` from our `before` on. Each of the
    /// three lacks its part of a millisecond.
    fn by(shared: Timestamp, before: Timestamp, took: Duration) -> Self {
        let least = before.millis().saturating_sub(shared.millis()).saturating_sub(1);
        let took = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
        Self { least, most: least.saturating_add(took).saturating_add(3) }
    }

    /// With what a `later` reading says: one that took long says little, and what was known before still
    /// stands, unless one of the clocks was set.
    fn and(self, later: Self) -> Self {
        let least = self.least.saturating_sub(DRIFT_MAX).max(later.least);
        let most = self.most.saturating_add(DRIFT_MAX).min(later.most);
        if least <= most { Self { least, most } } else { later }
    }
}

impl Skew {
    /// As it is now.
    pub(super) async fn of(store: &dyn Store, clock: &Clock) -> Self {
        let skew = Self::default();
        if let Some(ahead) = read(store, clock).await {
            *skew.ahead() = ahead;
        }
        skew
    }

    /// Milliseconds that our clock is ahead, if that is more than tokens can bear.
    pub(super) fn apart(&self) -> Option<i64> {
        let Ahead { least, most } = *self.ahead();
        // What is sure.
        let apart = 0.clamp(least, most);
        (Duration::from_millis(apart.unsigned_abs()) > APART_MAX).then_some(apart)
    }

    /// The moment that our `now` is by the clock that all replicas share, or up to the time that it takes
    /// to ask for it before that, but never after: what was issued before a cut-off must not look as if it
    /// had been issued after it.
    pub(super) fn shared(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_millis(now.millis().saturating_sub(self.ahead().most))
    }

    /// Asks the store for its time. While it does not answer, what was measured before stands.
    pub(super) async fn measure(&self, store: &dyn Store, clock: &Clock) {
        if let Some(later) = read(store, clock).await {
            let mut ahead = self.ahead();
            *ahead = ahead.and(later);
        }
    }

    fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One reading of the clock that all replicas share, if there is one and it answers.
async fn read(store: &dyn Store, clock: &Clock) -> Option<Ahead> {
    let asked = Stopwatch::start();
    let before = clock.now();
    let shared = store.shared_clock().await.ok()??;
    Some(Ahead::by(shared, before, asked.elapsed()))
}

/// Measures from time to time, for ever.
pub(super) async fn compare_clocks(store: Arc<dyn Store>, skew: Arc<Skew>, clock: Clock) {
    let mut ticks = interval(COMPARE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = false;
    loop {
        ticks.tick().await;
        skew.measure(&*store, &clock).await;
        match skew.apart() {
            Some(apart) if !told => {
                tracing::error!(clock.ahead_ms = apart, "the clock is not the other replicas'");
                told = true;
            }
            None if told => {
                tracing::info!("the clock is right again");
                told = false;
            }
            _ => {}
        }
    }
}

/// Less than balancers usually wait for an answer.
const READY_WAIT: Duration = Duration::from_millis(800);

/// Clocks further apart than that are told: the times in tokens would be wrong by too much.
const APART_MAX: Duration = Duration::from_secs(2);

const COMPARE_EVERY: Duration = Duration::from_secs(5);

/// Milliseconds that two clocks drift apart at most between two readings, each kept right by NTP, which
/// moves it by no more than 0.5 ms in a second.
const DRIFT_MAX: i64 = 5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    const fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn skew(ahead: Ahead) -> Skew {
        Skew(Mutex::new(ahead))
    }

    proptest! {
        /// In microseconds: when we ask, how far our clock is ahead, how long the way there and back take.
        #[test]
        fn nothing_is_ever_dated_after_the_moment_at_which_it_was_issued(
            asked in 1_800_000_000_000_000_i64..1_800_000_001_000_000,
            ahead in -3_000_000_i64..3_000_000,
            readings in prop::collection::vec((0_u64..900_000, 0_u64..900_000), 1..6),
        ) {
            let floor = |micros: i64| Timestamp::from_millis(micros.div_euclid(1000));
            let mut known: Option<Ahead> = None;
            for (there, back) in readings {
                let read_at = asked + i64::try_from(there).unwrap() - ahead;
                let took = Duration::from_micros(there + back);
                let reading = Ahead::by(floor(read_at), floor(asked), took);
                known = Some(known.map_or(reading, |known| known.and(reading)));
                prop_assert!(reading.least * 1000 <= ahead && ahead <= reading.most * 1000);
            }
            let skew = skew(known.unwrap());
            let dated = skew.shared(floor(asked));
            prop_assert!(dated.millis() * 1000 <= asked - ahead, "not later than it is");
            if ahead.abs() <= 2_000_000 {
                prop_assert_eq!(skew.apart(), None, "said only of what is sure");
            }
        }
    }

    #[test]
    fn a_slow_answer_does_not_undo_what_a_quick_one_has_said() {
        let quick = Ahead::by(NOW, NOW.plus(millis(40)), millis(1));
        assert_eq!(quick, Ahead { least: 39, most: 43 });
        let slow = Ahead::by(NOW, NOW, millis(2000));
        assert_eq!(quick.and(slow), Ahead { least: 34, most: 48 });
        let again = Ahead::by(NOW, NOW.plus(millis(41)), millis(1));
        assert_eq!(quick.and(slow).and(again), Ahead { least: 40, most: 44 });
    }

    #[test]
    fn a_clock_that_was_set_is_believed_at_once() {
        let before = Ahead::by(NOW, NOW, millis(1));
        let set = Ahead::by(NOW, NOW.plus(millis(4000)), millis(1));
        assert_eq!(before.and(set), set);
        assert_eq!(skew(before).apart(), None);
        assert_eq!(skew(set).apart(), Some(3999));
        let behind = Ahead::by(NOW.plus(millis(4000)), NOW, millis(1));
        assert_eq!(skew(set.and(behind)).apart(), Some(-3997));
    }
}
