//! Whether the gateway should be sent traffic: the store answers, what others revoke is heard, and the
//! clock is the one that they have.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
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
pub(super) struct Skew(AtomicI64);

impl Skew {
    /// As it is now.
    pub(super) async fn of(store: &dyn Store, clock: &Clock) -> Self {
        let skew = Self::default();
        skew.measure(store, clock).await;
        skew
    }

    /// Milliseconds that our clock is ahead, if that is more than tokens can bear.
    pub(super) fn apart(&self) -> Option<i64> {
        let apart = self.0.load(Ordering::Relaxed);
        (Duration::from_millis(apart.unsigned_abs()) > APART_MAX).then_some(apart)
    }

    /// The moment that our `now` is by the clock that all replicas share: what one of them cuts off
    /// as of a moment is compared with when others have issued. Exact to the time that asking took.
    pub(super) fn shared(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_millis(now.millis().saturating_sub(self.0.load(Ordering::Relaxed)))
    }

    /// Asks the store for its time. How long that took is how much less is known.
    async fn measure(&self, store: &dyn Store, clock: &Clock) {
        let asked = Stopwatch::start();
        let before = clock.now();
        // While it does not answer, what was measured last stands.
        if let Ok(Some(shared)) = store.shared_clock().await {
            let took = i64::try_from(asked.elapsed().as_millis()).unwrap_or(i64::MAX);
            let ahead = before.millis().saturating_sub(shared.millis());
            // Their reading was made at some moment between our two.
            let least = if ahead > 0 { ahead } else { ahead.saturating_add(took).min(0) };
            self.0.store(least, Ordering::Relaxed);
        }
    }
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
