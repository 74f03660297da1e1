//! The access tokens that this core has verified, so that the next request with the same one costs
//! a look-up. Bounded; compared whole; expiry and revocation are looked at on every hit by the one
//! who asks.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use crate::access::{Caller, Identity};
use crate::clock::Timestamp;
use crate::message::added::Ready;

/// Tokens remembered per core. At about 1.5 KiB each, 12 MiB when full.
const CAPACITY: usize = 8192;

/// A verified token and what follows from it.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) identity: Arc<Identity>,
    pub(super) caller: Caller,
    /// The version of the revocations that it was last checked against.
    pub(super) checked: Cell<u64>,
    /// The identity headers, ready-made, by upstream.
    headers: RefCell<Vec<Option<Rc<Ready>>>>,
    /// A signed assertion and its end, by upstream.
    assertions: RefCell<Vec<Option<(http::HeaderValue, Timestamp)>>>,
}

impl Remembered {
    pub(super) fn new(identity: Identity, checked: u64, upstreams: usize) -> Rc<Self> {
        let identity = Arc::new(identity);
        let caller = match identity.app {
            None => Caller::Session(Arc::clone(&identity)),
            Some(_) => Caller::Machine(Arc::clone(&identity)),
        };
        Rc::new(Self {
            identity,
            caller,
            checked: Cell::new(checked),
            headers: RefCell::new(vec![None; upstreams]),
            assertions: RefCell::new(vec![None; upstreams]),
        })
    }

    /// The headers that tell upstream `index` of this caller, made on first use.
    pub(super) fn headers(&self, index: usize, make: impl FnOnce() -> Ready) -> Rc<Ready> {
        if let Some(Some(ready)) = self.headers.borrow().get(index) {
            return Rc::clone(ready);
        }
        let made = Rc::new(make());
        if let Some(place) = self.headers.borrow_mut().get_mut(index) {
            *place = Some(Rc::clone(&made));
        }
        made
    }

    /// The assertion for upstream `index`, signed anew when the last one ends before `until`.
    pub(super) fn assertion<E>(
        &self,
        index: usize,
        until: Timestamp,
        sign: impl FnOnce() -> Result<(http::HeaderValue, Timestamp), E>,
    ) -> Result<http::HeaderValue, E> {
        if let Some(Some((ready, end))) = self.assertions.borrow().get(index)
            && *end > until
        {
            return Ok(ready.clone());
        }
        let (value, end) = sign()?;
        if let Some(place) = self.assertions.borrow_mut().get_mut(index) {
            *place = Some((value.clone(), end));
        }
        Ok(value)
    }
}

/// A token as key: hashed by its tail, which is signature and cannot be chosen by who gets in
/// here; compared whole.
#[derive(Debug, PartialEq, Eq)]
struct Key(Box<[u8]>);

fn tail(token: &[u8]) -> &[u8] {
    token.get(token.len().saturating_sub(16)..).unwrap_or(token)
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(tail(&self.0));
    }
}

/// The memory of one core.
#[derive(Debug, Default)]
pub(super) struct Memory(RefCell<HashMap<Key, Rc<Remembered>>>);

/// Looks a token up without owning it.
trait TokenBytes {
    fn bytes(&self) -> &[u8];
}

impl TokenBytes for Key {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TokenBytes for &[u8] {
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Hash for dyn TokenBytes + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(tail(self.bytes()));
    }
}

impl PartialEq for dyn TokenBytes + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for dyn TokenBytes + '_ {}

impl<'a> std::borrow::Borrow<dyn TokenBytes + 'a> for Key {
    fn borrow(&self) -> &(dyn TokenBytes + 'a) {
        self
    }
}

impl Memory {
    pub(super) fn recall(&self, token: &[u8]) -> Option<Rc<Remembered>> {
        self.0.borrow().get(&token as &dyn TokenBytes).map(Rc::clone)
    }

    pub(super) fn remember(&self, token: &[u8], what: &Rc<Remembered>, now: Timestamp) {
        let mut known = self.0.borrow_mut();
        if known.len() >= CAPACITY {
            known.retain(|_, one| one.identity.expires_at > now);
        }
        if known.len() >= CAPACITY {
            // Every other one goes, whichever the map yields: one pass for many insertions, and
            // nobody can choose who is forgotten. Being forgotten costs one verification.
            let mut keep = false;
            known.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
        known.insert(Key(token.into()), Rc::clone(what));
    }

    pub(super) fn forget(&self, token: &[u8]) {
        self.0.borrow_mut().remove(&token as &dyn TokenBytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TokenId;

    fn remembered(until: i64) -> Rc<Remembered> {
        let identity = Identity {
            subject: String::new(),
            user: None,
            app: None,
            login: String::new(),
            name: None,
            email: None,
            roles: Vec::new(),
            permissions: Vec::new(),
            session: None,
            generation: 0,
            token: TokenId::from_bytes([0; 16]),
            issued_at: Timestamp::EPOCH,
            expires_at: Timestamp::from_secs(until),
            auth_time: Timestamp::EPOCH,
        };
        Remembered::new(identity, 0, 1)
    }

    #[test]
    fn a_token_is_recalled_only_whole() {
        let memory = Memory::default();
        let token = format!("header.claims.{}", "s".repeat(43));
        memory.remember(token.as_bytes(), &remembered(10), Timestamp::EPOCH);
        assert!(memory.recall(token.as_bytes()).is_some());
        let other = format!("Header.claims.{}", "s".repeat(43));
        assert!(memory.recall(other.as_bytes()).is_none(), "the same signature under another text");
        memory.forget(token.as_bytes());
        assert!(memory.recall(token.as_bytes()).is_none());
    }

    #[test]
    fn it_stays_bounded_and_drops_the_expired_first() {
        let memory = Memory::default();
        memory.remember(b"alive", &remembered(100), Timestamp::EPOCH);
        for number in 1..CAPACITY {
            memory.remember(
                format!("expired-{number}").as_bytes(),
                &remembered(1),
                Timestamp::EPOCH,
            );
        }
        memory.remember(b"new", &remembered(100), Timestamp::from_secs(2));
        assert_eq!(memory.0.borrow().len(), 2);
        for number in 0..CAPACITY * 2 {
            memory.remember(
                format!("more-{number}").as_bytes(),
                &remembered(100),
                Timestamp::EPOCH,
            );
            assert!(memory.0.borrow().len() <= CAPACITY);
        }
    }

    #[test]
    fn headers_are_made_once_and_assertions_again_when_they_end() {
        let one = remembered(100);
        let mut made = 0;
        for _ in 0..2 {
            one.headers(0, || {
                made += 1;
                Ready::new([])
            });
        }
        assert_eq!(made, 1);
        let mut signed = 0;
        for now in [0, 5, 20] {
            let until = Timestamp::from_secs(now);
            let value = one.assertion::<()>(0, until, || {
                signed += 1;
                Ok((http::HeaderValue::from_static("x"), Timestamp::from_secs(now + 10)))
            });
            assert!(value.is_ok());
        }
        assert_eq!(signed, 2);
    }
}
