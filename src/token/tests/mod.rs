//! What the tests of this room share: rings, claims, and hands that sign anything.

mod forged;
mod made;
mod mistaken;
mod profiles;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::key::{Kind, TokenKey};
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
        claims: None,
        minted: MintedRules { audience: "https://minted.test".to_owned(), algorithm, claims: None },
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

/// The kinds that are taken back.
pub(super) const TAKEN: [Kind; 3] = [Kind::Access, Kind::Refresh, Kind::Minted];

pub(super) const ALGORITHMS: [Algorithm; 3] =
    [Algorithm::Hs256, Algorithm::Es256, Algorithm::EdDsa];

pub(super) fn access() -> AccessClaims {
    AccessClaims {
        issued_at: NOW,
        expires_at: Timestamp::from_secs(NOW.secs() + 300),
        subject: "0190a1b2-c3d4-7000-8000-0123456789ab".to_owned(),
        session: Some(SessionId::from_bytes([0x51; 16])),
        generation: 3,
        token: TokenId::from_bytes([0x70; 16]),
        preferred_username: "ada".to_owned(),
        name: Some("Ada \"Countess\" Lovelace é".to_owned()),
        email: Some("ada@example.test".to_owned()),
        roles: vec!["editor".to_owned(), "staff".to_owned()],
        permissions: vec!["admin".to_owned()],
        amr: vec!["pwd".to_owned()],
        auth_time: Timestamp::from_secs(NOW.secs() - 60),
    }
}

pub(super) fn minted() -> MintedClaims {
    MintedClaims {
        app: "quest-kit".parse().unwrap(),
        subject: "usr_demo é/1".to_owned(),
        token: TokenId::from_bytes([0x73; 16]),
        issued_at: NOW,
        expires_at: Timestamp::from_secs(NOW.secs() + 3600),
        roles: vec!["player".to_owned()],
        permissions: vec!["missions.read".to_owned()],
    }
}

pub(super) fn refresh() -> RefreshClaims {
    RefreshClaims {
        session: SessionId::from_bytes([0x51; 16]),
        generation: 3,
        token: TokenId::from_bytes([0x71; 16]),
        issued_at: Timestamp::from_secs(NOW.secs()),
        expires_at: Timestamp::from_secs(NOW.secs() + 86_400),
    }
}

pub(super) fn assertion(claims: &AccessClaims) -> AssertionClaims<'_> {
    AssertionClaims {
        audience: "https://wiki.test",
        subject: &claims.subject,
        session: claims.session,
        token: TokenId::from_bytes([0x72; 16]),
        issued_at: NOW,
        expires_at: NOW.plus(Duration::from_secs(60)),
        preferred_username: &claims.preferred_username,
        name: claims.name.as_deref(),
        email: None,
        roles: &claims.roles,
        permissions: &claims.permissions,
        auth_time: claims.auth_time,
    }
}

fn key(ring: &Keyring, kind: Kind) -> &TokenKey {
    let master = ring.masters().last().unwrap();
    master.checks(kind).or(master.assertions.first()).unwrap()
}

fn signed(ring: &Keyring, kind: Kind) -> String {
    let claims = access();
    match kind {
        Kind::Access => ring.sign_access(&claims, NOW),
        Kind::Refresh => ring.sign_refresh(&refresh(), &KeyId::new("new")),
        Kind::Assertion => ring.sign_assertion(Algorithm::Es256, &assertion(&claims), NOW),
        Kind::Minted => ring.sign_minted(&minted(), NOW),
    }
    .unwrap()
}

/// What the ring says of `token` as a `kind`; whoever it speaks for does not matter here.
fn verdict(ring: &Keyring, kind: Kind, token: &str) -> Result<(), TokenError> {
    match kind {
        Kind::Access => ring.verify_access(token, NOW).map(drop),
        Kind::Refresh => ring.verify_refresh(token, NOW).map(drop),
        Kind::Minted => ring.verify_minted(token, NOW).map(drop),
        Kind::Assertion => unreachable!("assertions are not taken back"),
    }
}

fn encode(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// Authentic, under the right header, with `payload`.
fn authentic(ring: &Keyring, kind: Kind, payload: &str) -> String {
    let key = key(ring, kind);
    let message = format!("{}.{}", header(key, kind), encode(payload));
    let signature = key.sign(&message).unwrap();
    format!("{message}.{signature}")
}

/// The header of a token of `kind`.
fn header(key: &TokenKey, kind: Kind) -> String {
    match kind {
        Kind::Minted => key.header_of(&minted().app).unwrap(),
        Kind::Access | Kind::Refresh | Kind::Assertion => key.header.clone(),
    }
}

fn payload_of(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
