//! Tokens that were accepted already. The service refuses them too, within its own time and if it
//! keeps its word; this side does not have to rely on it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;

/// How long a token is remembered. The services' are good for two to five minutes.
pub const REMEMBERED: Duration = Duration::from_secs(600);

/// Tokens remembered at most: only accepted ones and those under way are.
const MOST: usize = 100_000;

/// Tokens by two keyed hashes: 128 bits that nobody can aim at.
pub(super) struct Spent {
    hashers: [RandomState; 2],
    tokens: Mutex<HashMap<(u64, u64), Timestamp>>,
}

impl Default for Spent {
    fn default() -> Self {
        let hashers = [RandomState::new(), RandomState::new()];
        Self { hashers, tokens: Mutex::default() }
    }
}

impl Spent {
    /// Marks a token; whether it was not marked before.
    pub(super) fn spend(&self, token: &str, now: Timestamp) -> bool {
        let key = self.key(token);
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = tokens.get(&key)
            && now < *until
        {
            return false;
        }
        if tokens.len() >= MOST {
            make_room(&mut tokens, now);
        }
        tokens.insert(key, now.plus(REMEMBERED));
        true
    }

    /// Takes the mark away.
    pub(super) fn forget(&self, token: &str) {
        let key = self.key(token);
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }

    fn key(&self, token: &str) -> (u64, u64) {
        let [first, second] = &self.hashers;
        (first.hash_one(token), second.hash_one(token))
    }
}

/// Drops what is over and, if that is not enough, the oldest eighth.
fn make_room(tokens: &mut HashMap<(u64, u64), Timestamp>, now: Timestamp) {
    tokens.retain(|_, until| now < *until);
    if tokens.len() < MOST {
        return;
    }
    let mut ends: Vec<Timestamp> = tokens.values().copied().collect();
    let (_, &mut threshold, _) = ends.select_nth_unstable(MOST / 8);
    let mut left = MOST / 8;
    tokens.retain(|_, until| {
        let goes = left > 0 && *until <= threshold;
        left -= usize::from(goes);
        !goes
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    #[test]
    fn a_token_is_spent_once_within_its_time() {
        let spent = Spent::default();
        assert!(spent.spend("a", NOW) && spent.spend("b", NOW));
        assert!(!spent.spend("a", NOW.plus(REMEMBERED - Duration::from_millis(1))));
        spent.forget("b");
        assert!(spent.spend("b", NOW) && spent.spend("a", NOW.plus(REMEMBERED)));
    }

    #[test]
    fn it_stays_bounded_and_drops_the_oldest_first() {
        let spent = Spent::default();
        assert!(spent.spend("first", NOW));
        for n in 0..MOST * 2 {
            let now = NOW.plus(Duration::from_millis(u64::try_from(n / 1000).unwrap() + 1));
            assert!(spent.spend(&format!("token {n}"), now));
        }
        assert!(spent.tokens.lock().unwrap().len() <= MOST);
        let now = NOW.plus(Duration::from_secs(1));
        assert!(!spent.spend(&format!("token {}", MOST * 2 - 1), now), "the newest is known");
        assert!(spent.spend("first", now), "the oldest is not");
    }
}
