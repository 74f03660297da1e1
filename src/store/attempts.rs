//! How often strangers have guessed, counted by all replicas together: one row for each key, moved
//! by GCRA in one statement. The arithmetic is here, pure; a backend only keeps the numbers.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::digest;

use super::StoreError;
use crate::clock::Timestamp;

/// The attempts that replicas have charged.
#[async_trait]
pub trait Attempts {
    /// Whether others charge the same keys: then what one process remembers is not all.
    fn attempts_are_shared(&self) -> bool;
    /// Charges one attempt to all of `tolls`, or to none if one of them has nothing left. Of
    /// attempts that come at once, no more are taken than if they came one by one.
    async fn charge(&self, tolls: &[Toll], now: Timestamp) -> Result<Charged, StoreError>;
    /// Gives back what [`Self::charge`] took. Harmless for keys that are as good as new.
    async fn refund(&self, tolls: &[Toll]) -> Result<(), StoreError>;
    /// Removes keys that are as good as new at `now`, in a small batch; whether there may be more.
    async fn sweep_attempts(&self, now: Timestamp) -> Result<bool, StoreError>;
}

/// Names what is limited: the same on every replica.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptKey([u8; 16]);

impl AttemptKey {
    /// The key of a limit (`kind`) and of what it counts. Each part is framed by its length, so that
    /// no two lists of parts are one key; and hashed, so that a long name costs no more room than a
    /// short one.
    pub fn of(kind: &str, parts: &[&[u8]]) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        for part in std::iter::once(&kind.as_bytes()).chain(parts) {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            hash.update(&length.to_be_bytes());
            hash.update(part);
        }
        let mut key = [0; 16];
        key.iter_mut().zip(hash.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Self(key)
    }

    /// As its column holds it.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for AttemptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AttemptKey(..)")
    }
}

/// One limit that an attempt has to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Toll {
    /// What is counted.
    pub key: AttemptKey,
    /// How many attempts may come at once. At least one is taken as one.
    pub limit: u32,
    /// In what time all of them come back, evenly. At most 400 days count.
    pub per: Duration,
}

impl Toll {
    /// The microseconds after which one attempt is back.
    pub(super) fn interval(&self) -> i64 {
        (self.burst() / i64::from(self.limit.max(1))).max(1)
    }

    /// The microseconds that a used-up key lies ahead.
    pub(super) fn burst(&self) -> i64 {
        let per = self.per.min(MAX_PER).as_micros();
        i64::try_from(per).unwrap_or(i64::MAX).max(i64::from(self.limit.max(1)))
    }

    /// What is left for a key whose arrival time is `arrival`.
    fn balance(&self, arrival: i64, now: i64) -> Balance {
        let ahead = arrival.saturating_sub(now).max(0);
        let room = self.burst().saturating_sub(ahead).max(0);
        let micros = |micros: i64| Duration::from_micros(u64::try_from(micros).unwrap_or(0));
        Balance {
            limit: self.limit.max(1),
            remaining: u32::try_from(room / self.interval()).unwrap_or(u32::MAX),
            reset: micros(ahead),
            retry_after: micros(self.interval().saturating_sub(room)),
        }
    }
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Charged {
    /// It was charged to every toll. What is left of each, in their order.
    Taken(Vec<Balance>),
    /// It was charged to none: the toll of this number has nothing left.
    Refused(usize, Balance),
}

/// What is left of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// Attempts that the limit gives at once.
    pub limit: u32,
    /// Attempts left now.
    pub remaining: u32,
    /// Until all of them are back.
    pub reset: Duration,
    /// Until the next attempt is taken; zero when one may be made now.
    pub retry_after: Duration,
}

/// A moment in the unit of the column.
pub(super) const fn micros(at: Timestamp) -> i64 {
    at.millis().saturating_mul(1000)
}

/// What the arrival times say: `before` as they were, `after` as they were made, by toll. A charge
/// that has not reached all tolls is none.
pub(super) fn judge(
    tolls: &[Toll],
    before: &[Option<i64>],
    after: &[Option<i64>],
    now: i64,
) -> Charged {
    let balances: Option<Vec<Balance>> = tolls
        .iter()
        .zip(after)
        .map(|(toll, after)| after.map(|arrival| toll.balance(arrival, now)))
        .collect();
    if let Some(balances) = balances {
        return Charged::Taken(balances);
    }
    let held = tolls.iter().zip(before).map(|(toll, arrival)| {
        // Who raced for a new key does not see what the winner wrote: it is used up by now.
        toll.balance(arrival.unwrap_or_else(|| now.saturating_add(toll.burst())), now)
    });
    let refusing = held.enumerate().max_by_key(|(_, balance)| balance.retry_after);
    let (number, balance) = refusing.expect("who has no toll to pay is not refused");
    Charged::Refused(number, balance)
}

/// The longest time over which attempts come back.
const MAX_PER: Duration = Duration::from_secs(400 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_in_kind_and_in_the_frame_of_their_parts() {
        let keys = [
            AttemptKey::of("login", &[b"ada", b"10.0.0.1"]),
            AttemptKey::of("login", &[b"ada1", b"0.0.0.1"]),
            AttemptKey::of("login", &[b"ada10.0.0.1"]),
            AttemptKey::of("mint", &[b"ada", b"10.0.0.1"]),
            AttemptKey::of("login", &[]),
        ];
        for (number, key) in keys.iter().enumerate() {
            assert!(!keys.iter().skip(number + 1).any(|other| other == key), "{number}");
        }
        assert_eq!(keys[0], AttemptKey::of("login", &[b"ada", b"10.0.0.1"]));
    }

    #[test]
    fn a_balance_says_what_is_left_and_when_it_comes_back() {
        let key = AttemptKey::of("login", &[]);
        let toll = Toll { key, limit: 5, per: Duration::from_secs(50) };
        let left = |arrival| toll.balance(arrival, 1_000);
        assert_eq!((left(0).remaining, left(0).reset), (5, Duration::ZERO));
        let used = left(1_000 + 40_000_000);
        assert_eq!((used.remaining, used.retry_after), (1, Duration::ZERO));
        let used = left(1_000 + 50_000_000);
        assert_eq!((used.remaining, used.retry_after), (0, Duration::from_secs(10)));
        assert_eq!(used.reset, Duration::from_secs(50));
    }
}
