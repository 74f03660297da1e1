//! What goes on without being asked: hearing of revocations, reporting sights, rotating keys,
//! sweeping.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::audit::{self, Auditor};
use super::cause;
use super::foreign;
use super::keys::{self, Keys};
use super::limits::Limits;
use super::password::Hashers;
use super::stats::Stats;
use crate::clock::{Clock, Stopwatch, Timestamp};
use crate::config;
use crate::id::{Revoked, SessionId};
use crate::store::import::PREFIXES_MAX;
use crate::store::{Store, StoreError};
use crate::token::RevokedSet;

/// When revocations were last read.
pub(super) struct Pulse(Mutex<Stopwatch>);

impl Default for Pulse {
    fn default() -> Self {
        Self(Mutex::new(Stopwatch::start()))
    }
}

impl Pulse {
    /// The time since they were.
    pub(super) fn silence(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Stopwatch::start();
    }
}

/// Says what can still be judged when the store has not been heard for longer than `max_age`, for
/// ever. By a clock of its own: whoever reads the store may be waiting for it.
pub(super) async fn heed_silence(revoked: Arc<RevokedSet>, pulse: Arc<Pulse>, max_age: Duration) {
    let mut ticks = interval((max_age / 8).min(LOOK_EVERY));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let silent = pulse.silence() > max_age;
        if revoked.judge_up_to(silent.then_some(max_age)) {
            if silent {
                tracing::error!(
                    "the store has been silent for too long: long-lived tokens are refused"
                );
            } else {
                tracing::info!("the store is heard again");
            }
        }
    }
}

/// Follows which keys other processes and replicas make, and what they revoke, from the sequence
/// `last` on, for ever.
pub(super) async fn follow(
    store: Arc<dyn Store>,
    revoked: Arc<RevokedSet>,
    keys: Arc<Keys>,
    pulse: Arc<Pulse>,
    clock: Clock,
    mut last: i64,
) {
    let mut failing = false;
    let mut epoch = store.epoch();
    for round in 1_u32.. {
        let heard = store.changed(LOOK_EVERY).await;
        let present = store.epoch();
        // Everything from time to time: a store that was restored counts from lower numbers on.
        let all = failing || present != epoch || round % ROUNDS_PER_FULL_READ == 0;
        let after = if all { 0 } else { last - OVERLAP };
        let read = match heard {
            Ok(()) if failing || present != epoch => {
                let given = give_back(&*store, &revoked, &clock).await;
                if given.is_ok() {
                    epoch = present;
                }
                given
            }
            heard => heard,
        };
        let read = match read {
            Ok(()) => {
                // The few rows of the ring cost less than to ask whether it was they that changed.
                if let Err(error) = keys.reload().await {
                    tracing::debug!(error = %cause(&error), "the signing keys could not be read");
                }
                read_revocations(&*store, &revoked, &pulse, after, clock.now()).await
            }
            Err(error) => Err(error),
        };
        match read {
            Ok(highest) if all => last = highest,
            Ok(highest) => last = last.max(highest),
            Err(ref error) => {
                if !failing {
                    tracing::error!(error = %cause(error), "revocations cannot be read");
                }
                sleep(LOOK_EVERY).await;
            }
        }
        failing = read.is_err();
    }
}

/// After an outage: the server that is back may be another one, which has not heard the last ends.
/// What we know of them is written there again, so that what was ended stays so.
async fn give_back(
    store: &dyn Store,
    revoked: &RevokedSet,
    clock: &Clock,
) -> Result<(), StoreError> {
    let now = clock.now();
    let known: HashSet<Revoked> =
        store.revocations(0, now).await?.into_iter().map(|entry| entry.subject).collect();
    let forgotten: Vec<_> = revoked
        .entries()
        .into_iter()
        .filter(|(subject, until)| *until > now && !known.contains(subject))
        .collect();
    if !forgotten.is_empty() {
        store.revoke_again(&forgotten, now).await?;
        tracing::warn!(revocations = forgotten.len(), "the store had forgotten what was revoked");
    }
    Ok(())
}

/// Applies the store's revocations with a sequence above `after`; the highest sequence there was,
/// or `after`. To apply one twice is harmless.
pub(super) async fn read_revocations(
    store: &dyn Store,
    revoked: &RevokedSet,
    pulse: &Pulse,
    after: i64,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let entries = store.revocations(after, now).await?;
    let mut last = after;
    for entry in entries {
        revoked.add(entry.subject, entry.expires_at);
        last = last.max(entry.sequence);
    }
    pulse.beat();
    Ok(last)
}

/// Tells the store which generations were seen, until nobody is left to see any. The first goes
/// out at once, and what comes in meanwhile goes out together.
pub(super) async fn report(
    store: Arc<dyn Store>,
    mut sights: mpsc::Receiver<(SessionId, u64)>,
    stats: Arc<Stats>,
) {
    let mut heard = Vec::new();
    while sights.recv_many(&mut heard, SIGHTS_MAX).await > 0 {
        let mut highest = HashMap::new();
        for (session, generation) in heard.drain(..) {
            let known = highest.entry(session).or_insert(generation);
            *known = generation.max(*known);
        }
        let batch: Vec<_> = highest.into_iter().collect();
        if let Err(error) = store.seen(&batch).await {
            stats.count_lost_sights(batch.len());
            tracing::debug!(error = %cause(&error), "sights were lost");
        }
        sleep(GATHER_FOR).await;
    }
}

/// Makes, learns and drops keys in time, for ever.
pub(super) async fn rotate_keys(keys: Arc<Keys>, auditor: Arc<Auditor>, clock: Clock) {
    let mut ticks = interval(keys::LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = clock.now();
        match keys.rotate(now).await {
            Ok(Some(made)) => auditor.keep(audit::key_made(&made, now)).await,
            Ok(None) => {}
            Err(error) => {
                let error = cause(&error);
                tracing::warn!(%error, "the signing keys could not be brought up to date");
            }
        }
    }
}

/// Forgets what nobody needs any more, for ever.
pub(super) async fn sweep(
    store: Arc<dyn Store>,
    revoked: Arc<RevokedSet>,
    limits: Arc<Limits>,
    clock: Clock,
) {
    let mut ticks = interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = clock.now();
        revoked.sweep(now);
        limits.sweep();
        loop {
            match store.sweep(now, now.minus(KEEP_ENDED)).await {
                // Others get their turn at the store between two batches.
                Ok(true) => sleep(GATHER_FOR).await,
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(error = %cause(&error), "the store could not be swept");
                    break;
                }
            }
        }
    }
}

/// Looks for which kinds of password hashes there are besides our own: accounts from elsewhere
/// keep theirs until their next login.
pub(super) async fn learn_kinds(store: &dyn Store, hashers: &Hashers) -> Result<(), StoreError> {
    let mut prefixes = vec![hashers.own_prefix().to_owned()];
    let mut others = Vec::new();
    while prefixes.len() <= PREFIXES_MAX {
        let Some(other) = store.password_unlike(&prefixes).await? else { break };
        prefixes.push(foreign::prefix(&other).to_owned());
        others.push(other);
    }
    hashers.know(&others);
    Ok(())
}

/// The same again and again, for ever.
pub(super) async fn follow_kinds(store: Arc<dyn Store>, hashers: Arc<Hashers>) {
    loop {
        sleep(LEARN_EVERY).await;
        if let Err(error) = learn_kinds(&*store, &hashers).await {
            tracing::debug!(error = %cause(&error), "the kinds of hashes could not be looked at");
        }
    }
}

/// Forgets audit events in time, for ever.
pub(super) async fn sweep_audit(store: Arc<dyn Store>, settings: config::Audit, clock: Clock) {
    let mut ticks = interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let before = clock.now().minus(settings.keep);
        loop {
            match store.sweep_audit(before, settings.max_rows).await {
                Ok(true) => sleep(GATHER_FOR).await,
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(error = %cause(&error), "the audit events could not be swept");
                    break;
                }
            }
        }
    }
}

/// First sights that may wait to be told; beyond it they are dropped.
pub(super) const SIGHTS_MAX: usize = 4096;

/// The longest time until a revocation of another process is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Sequence numbers read again each time, since they become visible out of order.
const OVERLAP: i64 = 512;

/// How often it is looked which kinds of password hashes there are: it reads all accounts.
const LEARN_EVERY: Duration = Duration::from_secs(300);

/// About a minute's worth of looks.
const ROUNDS_PER_FULL_READ: u32 = 120;

/// How long sights, and batches of a sweep, are apart.
const GATHER_FOR: Duration = Duration::from_millis(100);

const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// How long a session is kept after its end, so that its user can be told how it ended.
const KEEP_ENDED: Duration = Duration::from_secs(24 * 60 * 60);
