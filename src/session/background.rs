//! What goes on without being asked: hearing of revocations, reporting sights, rotating keys,
//! sweeping.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::audit::{self, Auditor};
use super::cause;
use super::foreign;
use super::keys::{self, Keys};
use super::limits::Limits;
use super::password::Hashers;
use super::progress::Progress;
use super::pulse::Pulse;
use super::ready::Skew;
use super::stats::Stats;
use crate::clock::{Clock, Stopwatch, Timestamp};
use crate::config;
use crate::id::{Revoked, SessionId};
use crate::store::attempts::{AttemptKey, Charged, Toll};
use crate::store::import::PREFIXES_MAX;
use crate::store::{Store, StoreError};
use crate::token::RevokedSet;

/// Says what can still be judged when the store has not been heard for longer than `max_age`, for
/// ever. By a clock of its own: whoever reads the store may be waiting for it.
pub(super) async fn heed_silence(revoked: Arc<RevokedSet>, pulse: Arc<Pulse>, max_age: Duration) {
    let mut ticks = interval((max_age / 8).min(LOOK_EVERY));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let silent = pulse.silence() > max_age;
        if silent && revoked.judge_up_to(Some(max_age)) {
            tracing::error!(
                "the store has been silent for too long: long-lived tokens are refused"
            );
        }
        // Heard again since it was looked at: who has heard it may have been here first.
        if pulse.silence() <= max_age {
            heard(&revoked);
        }
    }
}

/// All tokens can be judged.
fn heard(revoked: &RevokedSet) {
    if revoked.judge_up_to(None) {
        tracing::info!("the store is heard again");
    }
}

/// Follows which keys other processes and replicas make, and what they revoke, from where `progress`
/// stands on, for ever.
pub(super) async fn follow(
    store: Arc<dyn Store>,
    revoked: Arc<RevokedSet>,
    keys: Arc<Keys>,
    pulse: Arc<Pulse>,
    (clock, skew): (Clock, Arc<Skew>),
    mut progress: Progress,
) {
    let mut failing = false;
    // Known to be read up to here; what has happened since the start is noticed.
    let mut epoch = pulse.epoch();
    let (mut all_read, mut keys_read) = (Stopwatch::start(), Stopwatch::start());
    loop {
        // Who could not read waits for no news: there may be some already.
        let heard = if failing { Ok(()) } else { store.changed(LOOK_EVERY).await };
        let present = store.epoch();
        // Everything from time to time: a store that was restored counts from lower numbers on.
        let all = failing || present != epoch || all_read.elapsed() > READ_ALL_EVERY;
        let read = match heard {
            Ok(()) if failing || present != epoch => {
                // Another server has another clock.
                skew.measure(&*store, &clock).await;
                let given = give_back(&*store, &revoked, &clock).await;
                if given.is_ok() {
                    epoch = present;
                }
                given
            }
            heard => heard,
        };
        // They are made long before they are used; what is heard is about revocations.
        if read.is_ok() && (all || keys_read.elapsed() >= LOOK_EVERY) {
            keys_read = Stopwatch::start();
            if let Err(error) = keys.reload().await {
                tracing::debug!(error = %cause(&error), "the signing keys could not be read");
            }
        }
        let after = if all { 0 } else { progress.after() };
        let read = match read {
            Ok(()) => read_revocations(&*store, &revoked, &pulse, after, clock.now()).await,
            Err(error) => Err(error),
        };
        failing = match read {
            Ok(numbers) => {
                if all {
                    all_read = Stopwatch::start();
                    pulse.catch_up(present);
                    let highest = numbers.last().copied().unwrap_or(0);
                    progress = Progress::after_all(highest, store.longest_act());
                }
                progress.note(numbers);
                // Of many that are written at once, most are found by one reading.
                sleep(APART).await;
                false
            }
            Err(error) => {
                pulse.miss();
                if !failing {
                    tracing::error!(error = %cause(&error), "revocations cannot be read");
                }
                sleep(AGAIN).await;
                true
            }
        };
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

/// Applies the store's revocations with a sequence above `after`; their sequences, in order. To apply
/// one twice is harmless.
pub(super) async fn read_revocations(
    store: &dyn Store,
    revoked: &RevokedSet,
    pulse: &Pulse,
    after: i64,
    now: Timestamp,
) -> Result<Vec<i64>, StoreError> {
    let entries = store.revocations(after, now).await?;
    let numbers = entries.iter().map(|entry| entry.sequence).collect();
    for entry in entries {
        revoked.add(entry.subject, entry.expires_at);
    }
    pulse.beat();
    // At once: a replica that says it is ready refuses nobody.
    heard(revoked);
    Ok(numbers)
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
        if !is_our_turn(&*store, "all", now).await {
            continue;
        }
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

/// Whether this replica is the one that sweeps this time. Where several share a store, one does it for
/// all, and less often: it looks at every session.
async fn is_our_turn(store: &dyn Store, what: &str, now: Timestamp) -> bool {
    if !store.attempts_are_shared() {
        return true;
    }
    let key = AttemptKey::of("sweep", &[what.as_bytes()]);
    let turn = store.charge(&[Toll { key, limit: 1, per: SWEEP_SHARED }], now).await;
    matches!(turn, Ok(Charged::Taken(_)))
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
        let now = clock.now();
        if !is_our_turn(&*store, "audit", now).await {
            continue;
        }
        let before = now.minus(settings.keep);
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

/// Between two looks while what was revoked cannot be read: a store that is known to be gone is not
/// asked, and of one that is back all is to be known soon.
const AGAIN: Duration = Duration::from_millis(100);

/// How often it is looked which kinds of password hashes there are: it reads all accounts.
const LEARN_EVERY: Duration = Duration::from_secs(300);

/// How often all revocations are read, and not only new ones.
const READ_ALL_EVERY: Duration = Duration::from_secs(60);

/// How long two readings of revocations are apart at least: a flood of logouts costs each replica so
/// many readings and no more.
const APART: Duration = Duration::from_millis(50);

/// How long sights, and batches of a sweep, are apart.
const GATHER_FOR: Duration = Duration::from_millis(100);

const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// How often all replicas together sweep a store that they share.
const SWEEP_SHARED: Duration = Duration::from_secs(5 * 60);

/// How long a session is kept after its end, so that its user can be told how it ended.
const KEEP_ENDED: Duration = Duration::from_secs(24 * 60 * 60);
