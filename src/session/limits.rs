//! How often strangers may guess. GCRA by `governor`, keyed by account and network, over a table of
//! our own: bounded, and able to give a charge back, since only guesses are to be charged.

use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use governor::clock::Clock as _;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;

use crate::clock::{Clock, Timestamp};
use crate::config::{Attempts, Quota};
use crate::network::network;

/// What a limit says of itself, for the `RateLimit-*` and `Retry-After` fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Attempts that the limit gives at once.
    pub limit: u32,
    /// Attempts left now.
    pub remaining: u32,
    /// Until all of them are back.
    pub reset: Duration,
    /// Until the next attempt is taken; zero when one may be made now.
    pub retry_after: Duration,
}

/// The limits on guesses, all kinds of key together.
pub(super) struct Limits {
    logins_of_pair: Limiter,
    logins_of_network: Limiter,
    logins_of_account: Limiter,
    forgeries_of_network: Limiter,
    hashers: [RandomState; 2],
    clock: SteadyClock,
}

impl Limits {
    /// Empty limits after `attempts`, moved by `clock`.
    pub(super) fn new(attempts: &Attempts, clock: &Clock) -> Self {
        let clock = SteadyClock::new(clock.clone());
        let limiter = |quota| Limiter::new(quota, attempts.max_keys.get(), &clock);
        Self {
            logins_of_pair: limiter(attempts.per_account_and_network),
            logins_of_network: limiter(attempts.per_network),
            logins_of_account: limiter(attempts.per_account),
            forgeries_of_network: limiter(attempts.per_network),
            hashers: [RandomState::new(), RandomState::new()],
            clock,
        }
    }

    /// Charges one login attempt to the account from the network, to the network and to the
    /// account; to all of them or, when one refuses, to none. The account is named by its
    /// `login_key`, whether it exists or not: an unknown name must count like a known one.
    ///
    /// # Errors
    /// What the refusing limit says.
    pub(super) fn charge_login(&self, account: &str, client: IpAddr) -> Result<Charge, Allowance> {
        let from = network(client);
        // A browser that has logged in to the account before will have a key of its own in the
        // place of the network, so that a stranger cannot lock an owner out.
        let steps = [
            (&self.logins_of_pair, self.key(&(account, from))),
            (&self.logins_of_network, self.key(&from)),
            (&self.logins_of_account, self.key(&account)),
        ];
        let mut tightest: Option<Allowance> = None;
        for (done, (limiter, key)) in steps.iter().enumerate() {
            match limiter.charge(*key) {
                Ok(allowance) => {
                    if tightest.is_none_or(|least| allowance.remaining < least.remaining) {
                        tightest = Some(allowance);
                    }
                }
                Err(allowance) => {
                    // A refused attempt is none: it may not use up what others are to have.
                    steps.iter().take(done).for_each(|(limiter, key)| limiter.refund(*key));
                    return Err(allowance);
                }
            }
        }
        let [pair, network, account] = steps.map(|(_, key)| key);
        let allowance = tightest.unwrap_or(Allowance {
            limit: 0,
            remaining: 0,
            reset: Duration::ZERO,
            retry_after: Duration::ZERO,
        });
        Ok(Charge { pair, network, account, at: self.clock.now(), allowance })
    }

    /// Gives a charge back: the attempt was no guess.
    pub(super) fn refund_login(&self, charge: &Charge) {
        let age = Duration::from(Nanos::from(
            self.clock.now().as_u64().saturating_sub(charge.at.as_u64()),
        ));
        for (limiter, key) in [
            (&self.logins_of_pair, charge.pair),
            (&self.logins_of_network, charge.network),
            (&self.logins_of_account, charge.account),
        ] {
            // Time has given it back by then; twice would be a gift.
            if age < limiter.interval {
                limiter.refund(key);
            }
        }
    }

    /// Charges the network with a refresh token that we never signed.
    ///
    /// # Errors
    /// What the limit says when it is used up.
    pub(super) fn charge_forgery(&self, client: IpAddr) -> Result<Allowance, Allowance> {
        self.forgeries_of_network.charge(self.key(&network(client)))
    }

    /// Forgets the keys that are as good as new.
    pub(super) fn sweep(&self) {
        for limiter in [
            &self.logins_of_pair,
            &self.logins_of_network,
            &self.logins_of_account,
            &self.forgeries_of_network,
        ] {
            limiter.gcra.retain_recent();
        }
    }

    /// Keys remembered now.
    pub(super) fn keys(&self) -> usize {
        self.logins_of_pair.ledger.len()
            + self.logins_of_network.ledger.len()
            + self.logins_of_account.ledger.len()
            + self.forgeries_of_network.ledger.len()
    }

    /// 128 bits by two keyed hashes: a stranger chooses the names, but cannot choose their keys,
    /// and a long name costs no more memory than a short one.
    fn key(&self, what: &impl Hash) -> Key {
        let [first, second] = &self.hashers;
        Key(first.hash_one(what), second.hash_one(what))
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").field("keys", &self.keys()).finish_non_exhaustive()
    }
}

/// A login attempt that has been charged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Charge {
    pair: Key,
    network: Key,
    account: Key,
    at: Nanos,
    allowance: Allowance,
}

impl Charge {
    /// What is left of the tightest limit.
    pub(super) const fn allowance(&self) -> Allowance {
        self.allowance
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key(u64, u64);

/// One quota over its own table.
struct Limiter {
    gcra: governor::RateLimiter<Key, SharedLedger, SteadyClock, StateInformationMiddleware>,
    ledger: Arc<Ledger>,
    clock: SteadyClock,
    interval: Duration,
    limit: u32,
}

impl Limiter {
    fn new(quota: Quota, max_keys: usize, clock: &SteadyClock) -> Self {
        // The bounds keep the nanoseconds of the whole burst within 64 bits.
        let per = quota.per.clamp(Duration::from_millis(1), MAX_PER);
        let interval = (per / quota.count.get()).max(Duration::from_nanos(1));
        let gcra = governor::Quota::with_period(interval)
            .expect("an interval of at least one nanosecond is not zero")
            .allow_burst(quota.count);
        let ledger = Arc::new(Ledger {
            arrivals: DashMap::with_hasher(RandomState::new()),
            max_keys: max_keys.max(1),
            evicting: Mutex::new(()),
        });
        let table = SharedLedger(ledger.clone());
        let gcra = governor::RateLimiter::new(gcra, table, clock.clone());
        Self { gcra, ledger, clock: clock.clone(), interval, limit: quota.count.get() }
    }

    fn charge(&self, key: Key) -> Result<Allowance, Allowance> {
        match self.gcra.check_key(&key) {
            Ok(snapshot) => Ok(Allowance {
                limit: self.limit,
                remaining: snapshot.remaining_burst_capacity(),
                reset: self.until_fresh(key),
                retry_after: Duration::ZERO,
            }),
            Err(until) => Err(Allowance {
                limit: self.limit,
                remaining: 0,
                reset: self.until_fresh(key),
                retry_after: until.wait_time_from(self.clock.now()),
            }),
        }
    }

    /// Takes one interval off the key's theoretical arrival time, which is what a charge put on.
    fn refund(&self, key: Key) {
        let interval = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX);
        if let Some(mut arrival) = self.ledger.arrivals.get_mut(&key) {
            *arrival = arrival.saturating_sub(interval);
        }
    }

    fn until_fresh(&self, key: Key) -> Duration {
        let arrival = self.ledger.arrivals.get(&key).map_or(0, |arrival| *arrival);
        Duration::from_nanos(arrival.saturating_sub(self.clock.now().as_u64()))
    }
}

/// Theoretical arrival times by key, never more than `max_keys` (and a few that race).
struct Ledger {
    arrivals: DashMap<Key, u64, RandomState>,
    max_keys: usize,
    evicting: Mutex<()>,
}

impl Ledger {
    fn len(&self) -> usize {
        self.arrivals.len()
    }

    /// Drops the eighth of the keys that is nearest to being as good as new. A used-up key has the
    /// latest arrival time of all, so who floods the table with fresh keys drops the flood and not
    /// his own lock; to drop that, he would have to use up as many others first. An eighth at a
    /// time makes the cost of a flood a constant per key.
    fn make_room(&self) {
        let _one_at_a_time = self.evicting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.len() < self.max_keys {
            return;
        }
        let mut arrivals: Vec<u64> = self.arrivals.iter().map(|entry| *entry).collect();
        let share = (self.max_keys / 8).max(1);
        let last = share.min(arrivals.len()).saturating_sub(1);
        if arrivals.is_empty() {
            return;
        }
        let (_, &mut threshold, _) = arrivals.select_nth_unstable(last);
        let mut left = share;
        self.arrivals.retain(|_, arrival| {
            // Counted, since many keys may share the threshold itself.
            let goes = left > 0 && *arrival <= threshold;
            left -= usize::from(goes);
            !goes
        });
    }
}

#[derive(Clone)]
struct SharedLedger(Arc<Ledger>);

impl StateStore for SharedLedger {
    type Key = Key;

    fn measure_and_replace<T, F, E>(&self, key: &Key, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        if self.0.len() >= self.0.max_keys && !self.0.arrivals.contains_key(key) {
            self.0.make_room();
        }
        // The entry locks its shard: two charges of one key are one after the other.
        match self.0.arrivals.entry(*key) {
            Entry::Occupied(mut entry) => {
                let (outcome, arrival) = f(Some(Nanos::from(*entry.get())))?;
                entry.insert(arrival.as_u64());
                Ok(outcome)
            }
            Entry::Vacant(entry) => {
                let (outcome, arrival) = f(None)?;
                entry.insert(arrival.as_u64());
                Ok(outcome)
            }
        }
    }
}

impl ShrinkableKeyedStateStore<Key> for SharedLedger {
    fn retain_recent(&self, drop_below: Nanos) {
        self.0.arrivals.retain(|_, arrival| *arrival > drop_below.as_u64());
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.arrivals.is_empty()
    }
}

/// Our clock as `governor` wants it: one that never goes back. When the system's clock is set back,
/// this one stands still for that instant and goes on; else a used-up key would stay used up for as
/// long as the clock was wrong.
#[derive(Debug, Clone)]
struct SteadyClock {
    clock: Clock,
    reading: Arc<Mutex<Reading>>,
}

#[derive(Debug)]
struct Reading {
    last: Timestamp,
    elapsed: Duration,
}

impl SteadyClock {
    fn new(clock: Clock) -> Self {
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

#[cfg(test)]
mod tests;
