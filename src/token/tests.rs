//! Tokens that we made, and how we take them back.

use super::*;
use crate::clock::Timestamp;
use crate::config::Algorithm;
use crate::id::{KeyId, SessionId, TokenId};
use crate::secret::Secret;

/// A quarter past a second, so that milliseconds matter.
pub(super) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_250);

pub(super) fn rules(algorithm: Algorithm) -> Rules {
    Rules {
        issuer: "https://gate.test".to_owned(),
        audience: "https://apps.test".to_owned(),
        algorithm,
        assertions: vec![Algorithm::Es256, Algorithm::EdDsa],
    }
}

/// Masters by name, the byte that their secret is made of, and the second when they become active.
pub(super) fn masters(keys: &[(&str, u8, i64)]) -> Vec<MasterKey> {
    let master = |(id, byte, active): &(&str, u8, i64)| MasterKey {
        id: KeyId::new(id),
        secret: Secret::new(vec![*byte; 32]),
        active_from: Timestamp::from_secs(*active),
    };
    keys.iter().map(master).collect()
}

pub(super) fn ring_of(keys: &[(&str, u8, i64)]) -> Keyring {
    Keyring::new(masters(keys), rules(Algorithm::Hs256)).unwrap()
}

pub(super) fn ring_for(algorithm: Algorithm) -> Keyring {
    Keyring::new(masters(&[("old", 1, 0), ("new", 2, 100)]), rules(algorithm)).unwrap()
}

pub(super) fn ring() -> Keyring {
    ring_for(Algorithm::Hs256)
}
