//! One quota (GCRA by `governor`) over a table that all quotas share: bounded, and able to take an
//! attempt back as if it had never been, since only guesses are to be charged.

use std::collections::hash_map::RandomState;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use governor::clock::Clock as _;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;

use super::Allowance;
use crate::clock::{Clock, Timestamp};
use crate::config::Quota;

/// What is limited, by two keyed hashes of its name: a stranger chooses the names, but cannot choose
/// their keys, and a long name costs no more memory than a short one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key(pub(super) u64, pub(super) u64);

/// One quota.
pub(super) struct Limiter {
    gcra: governor::RateLimiter<Key, View, SteadyClock, StateInformationMiddleware>,
    ledger: Arc<Ledger>,
    clock: SteadyClock,
    /// Nanoseconds after which one attempt is given back.
    interval: u64,
    limit: u32,
}

impl Limiter {
    pub(super) fn new(quota: Quota, ledger: &Arc<Ledger>, clock: &SteadyClock) -> Arc<Self> {
        // The bounds keep the nanoseconds of the whole burst within 64 bits.
        let per = quota.per.clamp(Duration::from_millis(1), MAX_PER);
        let interval = (per / quota.count.get()).max(Duration::from_nanos(1));
        let gcra = governor::Quota::with_period(interval)
            .expect("an interval of at least one nanosecond is not zero")
            .allow_burst(quota.count);
        let interval = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        let view = View { ledger: Arc::clone(ledger), interval };
        Arc::new(Self {
            gcra: governor::RateLimiter::new(gcra, view, clock.clone()),
            ledger: Arc::clone(ledger),
            clock: clock.clone(),
            interval,
            limit: quota.count.get(),
        })
    }

    /// Takes one attempt, for as long as it is under way. It counts in full until it is settled: so
    /// any number at once are no more than the quota.
    pub(super) fn take(self: &Arc<Self>, key: Key) -> Result<(Held, Allowance), Allowance> {
        let limit = self.limit;
        match self.gcra.check_key(&key) {
            Ok(snapshot) => {
                let held = Held { limiter: Arc::clone(self), key, guessed: true };
                let remaining = snapshot.remaining_burst_capacity();
                let (reset, retry_after) = (self.until_fresh(key), Duration::ZERO);
                Ok((held, Allowance { limit, remaining, reset, retry_after }))
            }
            Err(until) => Err(Allowance {
                limit,
                remaining: 0,
                reset: self.until_fresh(key),
                retry_after: until.wait_time_from(self.clock.now()),
            }),
        }
    }

    /// After how long one attempt is given back.
    pub(super) const fn interval(&self) -> Duration {
        Duration::from_nanos(self.interval)
    }

    /// Attempts at once, and the time in which all of them are given back.
    pub(super) fn quota(&self) -> (u32, Duration) {
        let all = self.interval.saturating_mul(u64::from(self.limit));
        (self.limit, Duration::from_nanos(all))
    }

    /// Whether the next attempt would be refused.
    pub(super) fn is_used_up(&self, key: Key) -> bool {
        let now = self.clock.now().as_u64();
        let burst = self.interval.saturating_mul(u64::from(self.limit.saturating_sub(1)));
        self.debt(key).at(now, self.interval) > now.saturating_add(burst)
    }

    fn debt(&self, key: Key) -> Debt {
        self.ledger.debts.get(&key).map(|debt| *debt).unwrap_or_default()
    }

    fn until_fresh(&self, key: Key) -> Duration {
        let now = self.clock.now().as_u64();
        Duration::from_nanos(self.debt(key).at(now, self.interval).saturating_sub(now))
    }

    fn settle(&self, key: Key, guessed: bool) {
        let now = self.clock.now().as_u64();
        if guessed {
            self.ledger.room_for(&key);
        }
        let charged = |arrival: u64| match guessed {
            true => arrival.max(now).saturating_add(self.interval),
            false => arrival,
        };
        match self.ledger.debts.entry(key) {
            Entry::Occupied(mut entry) => {
                let debt = *entry.get();
                let under_way = debt.under_way.saturating_sub(1);
                let arrival = charged(debt.arrival);
                if under_way == 0 && arrival <= now {
                    entry.remove();
                } else {
                    entry.insert(Debt { arrival, under_way });
                }
            }
            // It was forgotten meanwhile, in a flood. A guess is none the less one.
            Entry::Vacant(entry) if guessed => {
                entry.insert(Debt { arrival: charged(0), under_way: 0 });
            }
            Entry::Vacant(_) => {}
        }
    }
}

/// One attempt that is under way. Dropped, it was a guess: whoever goes away before the answer has
/// guessed too.
#[must_use]
pub(super) struct Held {
    limiter: Arc<Limiter>,
    key: Key,
    guessed: bool,
}

impl Held {
    /// It was none: the key is as if nobody had tried.
    pub(super) fn give_back(mut self) {
        self.guessed = false;
    }

    /// It was none, and others have used the key up: all of it comes back after `reset` only.
    pub(super) fn learn(mut self, reset: Duration) {
        self.guessed = false;
        let until = u64::try_from(reset.as_nanos()).unwrap_or(u64::MAX / 2);
        let until = self.limiter.clock.now().as_u64().saturating_add(until);
        if let Some(mut debt) = self.limiter.ledger.debts.get_mut(&self.key) {
            debt.arrival = debt.arrival.max(until);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.limiter.settle(self.key, self.guessed);
    }
}

/// What a key owes.
#[derive(Debug, Clone, Copy, Default)]
struct Debt {
    /// GCRA's theoretical arrival time: when all guesses will have been given back.
    arrival: u64,
    /// Attempts that are not settled yet.
    under_way: u32,
}

impl Debt {
    /// The arrival time if all that is under way were guesses.
    fn at(self, now: u64, interval: u64) -> u64 {
        match self.under_way {
            0 => self.arrival,
            n => self.arrival.max(now).saturating_add(interval.saturating_mul(u64::from(n))),
        }
    }
}

/// Debts by key, never more than `max_keys` (and a few that race).
pub(super) struct Ledger {
    debts: DashMap<Key, Debt, RandomState>,
    max_keys: usize,
    evicting: Mutex<()>,
}

impl Ledger {
    pub(super) fn new(max_keys: usize) -> Arc<Self> {
        Arc::new(Self {
            debts: DashMap::with_hasher(RandomState::new()),
            max_keys: max_keys.max(1),
            evicting: Mutex::new(()),
        })
    }

    /// Keys that owe something.
    pub(super) fn len(&self) -> usize {
        self.debts.len()
    }

    /// Forgets the keys that are as good as new.
    pub(super) fn sweep(&self, clock: &SteadyClock) {
        let now = clock.now().as_u64();
        self.debts.retain(|_, debt| debt.under_way > 0 || debt.arrival > now);
    }

    fn room_for(&self, key: &Key) {
        if self.len() >= self.max_keys && !self.debts.contains_key(key) {
            self.make_room();
        }
    }

    /// Drops the eighth of the keys that is nearest to being as good as new. A used-up key has the
    /// latest arrival time of all, so who floods the table with fresh keys drops the flood and not
    /// his own lock; to drop that, he would have to use up as many others first. What is under way
    /// goes last: that many are not let in at once. An eighth at a time makes the cost of a flood a
    /// constant per key.
    fn make_room(&self) {
        let _one_at_a_time = self.evicting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.len() < self.max_keys {
            return;
        }
        let rank = |debt: Debt| if debt.under_way > 0 { u64::MAX } else { debt.arrival };
        let mut ranks: Vec<u64> = self.debts.iter().map(|entry| rank(*entry)).collect();
        let share = (self.max_keys / 8).max(1);
        let last = share.min(ranks.len()).saturating_sub(1);
        if ranks.is_empty() {
            return;
        }
        let (_, &mut threshold, _) = ranks.select_nth_unstable(last);
        let mut left = share;
        self.debts.retain(|_, debt| {
            // Counted, since many keys may share the threshold itself.
            let goes = left > 0 && rank(*debt) <= threshold;
            left -= usize::from(goes);
            !goes
        });
    }
}

/// The ledger as one quota's `governor` sees it.
struct View {
    ledger: Arc<Ledger>,
    interval: u64,
}

impl StateStore for View {
    type Key = Key;

    fn measure_and_replace<T, F, E>(&self, key: &Key, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.ledger.room_for(key);
        // The entry locks its shard: two charges of one key are one after the other.
        match self.ledger.debts.entry(*key) {
            Entry::Occupied(mut entry) => {
                let debt = *entry.get();
                // What a fresh key would be given is one interval from the moment that is judged.
                let (_, after) = f(None)?;
                let now = after.as_u64().saturating_sub(self.interval);
                let (outcome, _) = f(Some(Nanos::from(debt.at(now, self.interval))))?;
                entry.insert(Debt { under_way: debt.under_way.saturating_add(1), ..debt });
                Ok(outcome)
            }
            Entry::Vacant(entry) => {
                let (outcome, _) = f(None)?;
                entry.insert(Debt { arrival: 0, under_way: 1 });
                Ok(outcome)
            }
        }
    }
}

/// Our clock as `governor` wants it: one that never goes back. When the system's clock is set back,
/// this one stands still for that instant and goes on; else a used-up key would stay used up for as
/// long as the clock was wrong.
#[derive(Debug, Clone)]
pub(super) struct SteadyClock {
    clock: Clock,
    reading: Arc<Mutex<Reading>>,
}

#[derive(Debug)]
struct Reading {
    last: Timestamp,
    elapsed: Duration,
}

impl SteadyClock {
    pub(super) fn new(clock: Clock) -> Self {
        let reading = Reading { last: clock.now(), elapsed: Duration::ZERO };
        Self { clock, reading: Arc::new(Mutex::new(reading)) }
    }
}

impl governor::clock::Clock for SteadyClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let passed = now.since(reading.last);
        // A jump of more than that is a clock being set, and nothing remembers that long.
        reading.elapsed += passed.min(MAX_PER);
        reading.last = now;
        Nanos::from(u64::try_from(reading.elapsed.as_nanos()).unwrap_or(u64::MAX / 2))
    }
}

/// The longest time over which a quota may be given back.
const MAX_PER: Duration = Duration::from_secs(400 * 24 * 60 * 60);
