//! What has happened, counted for the metrics. Plain atomics: none of these acts is on the path of
//! an ordinary request.

use std::sync::atomic::{AtomicU64, Ordering};

use super::refresh::Grace;

/// How a login attempt came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginOutcome {
    /// A session began.
    Begun,
    /// A further step is asked for.
    NextStep,
    /// Wrong name, wrong secret, disabled account: all one.
    Refused,
    /// A limit was used up.
    Limited,
    /// The captcha was not solved.
    NotHuman,
    /// No hashing thread in time.
    Busy,
    /// The store, or something else on our side.
    Failed,
}

/// How an app's request for a token came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MintOutcome {
    /// It has its token.
    Minted,
    /// Wrong id, wrong secret, disabled app: all one.
    Refused,
    /// A limit was used up.
    Limited,
    /// What it asked for cannot be given.
    Invalid,
    /// The store, or something else on our side.
    Failed,
}

/// How a refresh came out, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// The generation moved on.
    Rotated,
    /// A new access token only, for `session.rotate = false`.
    Kept,
    /// The same successor again, and why.
    Again(Grace),
    /// The store had gone back and was set right.
    Rollback,
    /// A spent token: the session was ended.
    Theft,
    /// The session had ended before.
    Ended,
    /// The session's time is over, or there is no such session.
    Expired,
    /// Not an authentic token.
    Unauthentic,
    /// Unauthentic tokens beyond the limit.
    Limited,
    /// The store, or something else on our side.
    Failed,
}

/// Counters since the start.
#[derive(Debug, Default)]
pub struct Stats {
    logins: [AtomicU64; LOGINS.len()],
    refreshes: [AtomicU64; REFRESHES.len()],
    mints: [AtomicU64; MINTS.len()],
    lost_sights: AtomicU64,
}

/// A label of a metric and its count.
pub type Count = (&'static str, u64);

impl Stats {
    /// Logins by outcome.
    pub fn logins(&self) -> impl Iterator<Item = Count> {
        LOGINS.iter().zip(&self.logins).map(|((_, label), count)| (*label, read(count)))
    }

    /// Refreshes by outcome and cause.
    pub fn refreshes(&self) -> impl Iterator<Item = Count> {
        REFRESHES.iter().zip(&self.refreshes).map(|((_, label), count)| (*label, read(count)))
    }

    /// Requests for minted tokens by outcome.
    pub fn mints(&self) -> impl Iterator<Item = Count> {
        MINTS.iter().zip(&self.mints).map(|((_, label), count)| (*label, read(count)))
    }

    /// How many refreshes came out as `outcome`.
    pub fn refreshed(&self, outcome: RefreshOutcome) -> u64 {
        let mut counts = REFRESHES.iter().zip(&self.refreshes);
        counts.find(|((which, _), _)| *which == outcome).map_or(0, |(_, count)| read(count))
    }

    /// How many logins came out as `outcome`.
    pub fn logged_in(&self, outcome: LoginOutcome) -> u64 {
        let mut counts = LOGINS.iter().zip(&self.logins);
        counts.find(|((which, _), _)| *which == outcome).map_or(0, |(_, count)| read(count))
    }

    /// First sights of a generation that were dropped: the queue was full or the store down.
    pub fn lost_sights(&self) -> u64 {
        read(&self.lost_sights)
    }

    pub(super) fn count_login(&self, outcome: LoginOutcome) {
        let mut counts = LOGINS.iter().zip(&self.logins);
        if let Some((_, count)) = counts.find(|((which, _), _)| *which == outcome) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn count_mint(&self, outcome: MintOutcome) {
        let mut counts = MINTS.iter().zip(&self.mints);
        if let Some((_, count)) = counts.find(|((which, _), _)| *which == outcome) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn count_refresh(&self, outcome: RefreshOutcome) {
        let mut counts = REFRESHES.iter().zip(&self.refreshes);
        if let Some((_, count)) = counts.find(|((which, _), _)| *which == outcome) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn count_lost_sights(&self, how_many: usize) {
        let how_many = u64::try_from(how_many).unwrap_or(u64::MAX);
        self.lost_sights.fetch_add(how_many, Ordering::Relaxed);
    }
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

const LOGINS: [(LoginOutcome, &str); 7] = [
    (LoginOutcome::Begun, "begun"),
    (LoginOutcome::NextStep, "next_step"),
    (LoginOutcome::Refused, "invalid_credentials"),
    (LoginOutcome::Limited, "rate_limited"),
    (LoginOutcome::NotHuman, "captcha_failed"),
    (LoginOutcome::Busy, "busy"),
    (LoginOutcome::Failed, "failed"),
];

const MINTS: [(MintOutcome, &str); 5] = [
    (MintOutcome::Minted, "minted"),
    (MintOutcome::Refused, "invalid_credentials"),
    (MintOutcome::Limited, "rate_limited"),
    (MintOutcome::Invalid, "invalid"),
    (MintOutcome::Failed, "failed"),
];

const REFRESHES: [(RefreshOutcome, &str); 11] = [
    (RefreshOutcome::Rotated, "rotated"),
    (RefreshOutcome::Kept, "kept"),
    (RefreshOutcome::Again(Grace::Time), "grace_time"),
    (RefreshOutcome::Again(Grace::Unseen), "grace_unseen"),
    (RefreshOutcome::Rollback, "store_rollback"),
    (RefreshOutcome::Theft, "theft"),
    (RefreshOutcome::Ended, "ended"),
    (RefreshOutcome::Expired, "expired"),
    (RefreshOutcome::Unauthentic, "unauthentic"),
    (RefreshOutcome::Limited, "rate_limited"),
    (RefreshOutcome::Failed, "failed"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_a_counter_of_its_own() {
        let stats = Stats::default();
        for (n, (outcome, _)) in REFRESHES.iter().enumerate() {
            (0..=n).for_each(|_| stats.count_refresh(*outcome));
        }
        for (n, (outcome, _)) in LOGINS.iter().enumerate() {
            (0..=n).for_each(|_| stats.count_login(*outcome));
        }
        for (n, (outcome, _)) in MINTS.iter().enumerate() {
            (0..=n).for_each(|_| stats.count_mint(*outcome));
        }
        assert!(stats.mints().map(|(_, count)| count).eq(1..=5));
        assert!(stats.refreshes().map(|(_, count)| count).eq(1..=11));
        assert!(stats.logins().map(|(_, count)| count).eq(1..=7));
    }
}
