//! What must be refused though its signature is good: ended sessions, tokens and users, until the
//! last of their access tokens has expired by itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::clock::Timestamp;
use crate::id::{Revoked, SessionId, TokenId, UserId};

/// The revocations in force, shared by all cores.
///
/// A core that remembers verified tokens keeps with each the [`version`](Self::version) that it
/// read *before* it asked [`refuses`](Self::refuses). While the version stands still, nothing new is
/// refused, and one integer compare is the whole check.
///
/// Bounded by what the store tells and by [`sweep`](Self::sweep): strangers add nothing.
#[derive(Debug)]
pub struct RevokedSet {
    version: AtomicU64,
    /// The longest life, in milliseconds, of a token that can be judged.
    judged: AtomicU64,
    /// With the moment from which on the entry is not needed any more.
    sessions: DashMap<SessionId, Timestamp>,
    tokens: DashMap<TokenId, Timestamp>,
    users: DashMap<UserId, CutOff>,
}

#[derive(Debug, Clone, Copy)]
struct CutOff {
    /// Tokens issued then or before are refused.
    at: Timestamp,
    until: Timestamp,
}

impl Default for RevokedSet {
    fn default() -> Self {
        Self {
            version: AtomicU64::new(0),
            judged: AtomicU64::new(u64::MAX),
            sessions: DashMap::new(),
            tokens: DashMap::new(),
            users: DashMap::new(),
        }
    }
}

impl RevokedSet {
    /// Nothing revoked, version 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that what others revoke has not been heard for so long that only tokens which live no
    /// longer than `longest` can be judged: those that were issued before the silence have ended by
    /// themselves. `None`: all can. Whether that is new.
    pub fn judge_up_to(&self, longest: Option<Duration>) -> bool {
        let millis =
            longest.map_or(u64::MAX, |life| u64::try_from(life.as_millis()).unwrap_or(u64::MAX));
        let new = self.judged.swap(millis, Ordering::AcqRel) != millis;
        if new {
            // After it, as with an entry: what is remembered is looked at again.
            self.version.fetch_add(1, Ordering::Release);
        }
        new
    }

    /// Whether a token that lives this long from its issue on can be judged now.
    pub fn judges(&self, life: Duration) -> bool {
        u64::try_from(life.as_millis()).unwrap_or(u64::MAX) <= self.judged.load(Ordering::Acquire)
    }

    /// All that is refused, with its end: for a store that has forgotten some of it.
    pub fn entries(&self) -> Vec<(Revoked, Timestamp)> {
        let sessions =
            self.sessions.iter().map(|entry| (Revoked::Session(*entry.key()), *entry.value()));
        let tokens = self.tokens.iter().map(|entry| (Revoked::Token(*entry.key()), *entry.value()));
        let users = self
            .users
            .iter()
            .map(|entry| (Revoked::User(*entry.key(), entry.value().at), entry.value().until));
        sessions.chain(tokens).chain(users).collect()
    }

    /// Moves on with every revocation that refuses something new.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Refuses `what` until `until`, when its last access token will have expired. Whether that is
    /// new; adding a thing again is harmless and never shortens what is there.
    pub fn add(&self, what: Revoked, until: Timestamp) -> bool {
        let new = match what {
            Revoked::Session(id) => extend(&self.sessions, id, until),
            Revoked::Token(id) => extend(&self.tokens, id, until),
            Revoked::User(id, at) => self.cut_off(id, CutOff { at, until }),
        };
        if new {
            // After the entry, never before: a core that reads the new version must find it.
            self.version.fetch_add(1, Ordering::Release);
        }
        new
    }

    /// Whether a token is refused: its session, itself, or its user as of when it was issued.
    pub fn refuses(
        &self,
        session: Option<&SessionId>,
        token: &TokenId,
        user: Option<&UserId>,
        issued_at: Timestamp,
    ) -> bool {
        session.is_some_and(|id| self.sessions.contains_key(id))
            || self.tokens.contains_key(token)
            || user.and_then(|id| self.users.get(id)).is_some_and(|cut_off| issued_at <= cut_off.at)
    }

    /// Forgets what ended at or before `now`. The version stays: nothing new is refused.
    pub fn sweep(&self, now: Timestamp) {
        self.sessions.retain(|_, until| *until > now);
        self.tokens.retain(|_, until| *until > now);
        self.users.retain(|_, cut_off| cut_off.until > now);
    }

    /// How many revocations are in force.
    pub fn len(&self) -> usize {
        self.sessions.len() + self.tokens.len() + self.users.len()
    }

    /// Whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn cut_off(&self, user: UserId, new: CutOff) -> bool {
        match self.users.entry(user) {
            Entry::Vacant(entry) => {
                entry.insert(new);
                true
            }
            Entry::Occupied(mut entry) => {
                let old = *entry.get();
                // Enabling a user again lifts nothing, so a cut-off only ever moves on.
                entry.insert(CutOff { at: old.at.max(new.at), until: old.until.max(new.until) });
                new.at > old.at
            }
        }
    }
}

fn extend<K: Eq + std::hash::Hash>(map: &DashMap<K, Timestamp>, id: K, until: Timestamp) -> bool {
    match map.entry(id) {
        Entry::Vacant(entry) => {
            entry.insert(until);
            true
        }
        Entry::Occupied(mut entry) => {
            let later = until.max(*entry.get());
            entry.insert(later);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_500);
    const TTL: Duration = Duration::from_secs(300);

    fn sid(byte: u8) -> SessionId {
        SessionId::from_bytes([byte; 16])
    }

    fn jti(byte: u8) -> TokenId {
        TokenId::from_bytes([byte; 16])
    }

    #[test]
    fn an_ended_session_is_refused_and_no_other() {
        let set = RevokedSet::new();
        assert!(!set.refuses(Some(&sid(1)), &jti(1), None, NOW));
        assert!(set.add(Revoked::Session(sid(1)), NOW.plus(TTL)));
        assert!(set.refuses(Some(&sid(1)), &jti(1), None, NOW));
        assert!(!set.refuses(Some(&sid(2)), &jti(1), None, NOW));
        assert!(!set.refuses(None, &TokenId::from_bytes(*sid(1).as_bytes()), None, NOW));
    }

    #[test]
    fn a_single_token_is_refused_and_its_session_goes_on() {
        let set = RevokedSet::new();
        set.add(Revoked::Token(jti(1)), NOW.plus(TTL));
        assert!(set.refuses(Some(&sid(1)), &jti(1), None, NOW));
        assert!(set.refuses(None, &jti(1), None, NOW));
        assert!(!set.refuses(Some(&sid(1)), &jti(2), None, NOW));
    }

    #[test]
    fn a_users_cut_off_hits_its_own_millisecond_and_no_later_login() {
        let set = RevokedSet::new();
        let user = UserId::generate(NOW).unwrap();
        let other = UserId::generate(NOW).unwrap();
        let tick = Duration::from_millis(1);
        set.add(Revoked::User(user, NOW), NOW.plus(TTL));
        let refuses = |who: &UserId, at| set.refuses(Some(&sid(1)), &jti(1), Some(who), at);
        assert!(refuses(&user, NOW.minus(TTL)));
        assert!(refuses(&user, NOW));
        assert!(!refuses(&user, NOW.plus(tick)), "a login later in the same second");
        assert!(!refuses(&other, NOW));
    }

    #[test]
    fn an_older_cut_off_does_not_undo_a_newer_one() {
        let set = RevokedSet::new();
        let user = UserId::generate(NOW).unwrap();
        let earlier = NOW.minus(Duration::from_secs(5));
        assert!(set.add(Revoked::User(user, NOW), NOW.plus(TTL)));
        assert!(!set.add(Revoked::User(user, earlier), NOW.plus(TTL * 2)));
        assert!(set.refuses(None, &jti(1), Some(&user), NOW));
        set.sweep(NOW.plus(TTL));
        assert!(set.refuses(None, &jti(1), Some(&user), NOW), "kept until the later end");
        assert!(set.add(Revoked::User(user, NOW.plus(TTL)), NOW.plus(TTL * 2)));
    }

    #[test]
    fn the_version_moves_with_what_is_new_only() {
        let set = RevokedSet::new();
        assert_eq!(set.version(), 0);
        assert!(set.add(Revoked::Session(sid(1)), NOW));
        assert_eq!(set.version(), 1);
        assert!(!set.add(Revoked::Session(sid(1)), NOW.plus(TTL)));
        assert_eq!(set.version(), 1);
        assert!(set.add(Revoked::Token(jti(1)), NOW));
        assert_eq!(set.version(), 2);
        set.sweep(NOW.plus(TTL * 2));
        assert_eq!((set.version(), set.len()), (2, 0));
    }

    #[test]
    fn in_silence_only_what_lives_short_is_judged() {
        let set = RevokedSet::new();
        let life = |secs| Duration::from_secs(secs);
        assert!(set.judges(life(u64::MAX / 1000)));
        assert!(set.judge_up_to(Some(TTL)) && !set.judge_up_to(Some(TTL)));
        assert!(set.judges(TTL) && !set.judges(TTL + Duration::from_millis(1)));
        assert_eq!(set.version(), 1, "what is remembered is looked at again");
        assert!(set.judge_up_to(None));
        assert!(set.judges(TTL * 1000));
    }

    #[test]
    fn sweeping_forgets_what_has_ended_and_nothing_else() {
        let set = RevokedSet::new();
        let user = UserId::generate(NOW).unwrap();
        let later = NOW.plus(Duration::from_millis(1));
        set.add(Revoked::Session(sid(1)), NOW);
        set.add(Revoked::Session(sid(2)), later);
        set.add(Revoked::Token(jti(1)), NOW);
        set.add(Revoked::Token(jti(2)), later);
        set.add(Revoked::User(user, NOW), NOW);
        assert_eq!(set.len(), 5);
        set.sweep(NOW);
        assert_eq!(set.len(), 2);
        assert!(!set.refuses(Some(&sid(1)), &jti(1), Some(&user), NOW));
        assert!(set.refuses(Some(&sid(2)), &jti(3), None, NOW));
        assert!(set.refuses(None, &jti(2), None, NOW));
        set.sweep(later);
        assert!(set.is_empty());
    }

    #[test]
    fn whoever_sees_the_new_version_finds_the_entry() {
        // A core may read the old version and the new entry, but never the other way round.
        for round in 0..200 {
            let set = RevokedSet::new();
            std::thread::scope(|scope| {
                scope.spawn(|| set.add(Revoked::Session(sid(round)), NOW));
                scope.spawn(|| {
                    let version = set.version();
                    let refused = set.refuses(Some(&sid(round)), &jti(0), None, NOW);
                    assert!(version == 0 || refused);
                });
            });
            assert_eq!(set.version(), 1);
        }
    }
}
