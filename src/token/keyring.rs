//! The keys of this gateway: a snapshot that never changes. Rotation publishes a new one.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::derive::{Purpose, Root};
use super::key::{Kind, PublicKey, TokenKey};
use super::sealed::Sealer;
use crate::clock::Timestamp;
use crate::config::{Algorithm, ClaimsProfile, Config, Tokens};
use crate::id::KeyId;
use crate::secret::{self, NoRandomness, Secret};

/// A shorter master secret could be guessed sooner than the keys made from it
/// (RFC 8725 section 3.5).
const MASTER_BYTES_MIN: usize = 32;

/// A master secret: the keys of each kind of token are derived from it.
#[derive(Debug, Clone)]
pub struct MasterKey {
    /// Its name, in each token's `kid`: 1 to 64 of `a-z A-Z 0-9 - _`.
    pub id: KeyId,
    /// At least 32 bytes that nobody can guess. A pass phrase will not do: nothing here slows
    /// guessing down.
    pub secret: Secret<Vec<u8>>,
    /// Signs from then on, until a newer one does. A key should be in every replica's ring some
    /// time before.
    pub active_from: Timestamp,
}

impl MasterKey {
    /// A new random key.
    pub fn generate(active_from: Timestamp) -> Result<Self, NoRandomness> {
        let secret = Secret::new(secret::random::<32>()?.to_vec());
        Ok(Self { id: KeyId::generate()?, secret, active_from })
    }

    /// The operator's own key, active since ever. Its id follows from the secret, so that the same
    /// secret has the same name on every replica and after every restart, and tells nothing of it.
    pub fn fixed(secret: Secret<Vec<u8>>) -> Self {
        let purpose = Purpose { kind: "key-id", algorithm: "", profile: "" };
        let name = Root::new(&secret).derive(purpose, 0);
        let digits: String =
            name.expose().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { id: KeyId::new(&digits), secret, active_from: Timestamp::EPOCH }
    }
}

/// What all tokens of this gateway have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// `iss` of every token.
    pub issuer: String,
    /// `aud` of access tokens.
    pub audience: String,
    /// How access tokens are signed.
    pub algorithm: Algorithm,
    /// How assertions are signed, for all upstreams that want one. HMAC is none of them: whoever
    /// can verify it can forge it.
    pub assertions: Vec<Algorithm>,
    /// Which claims access tokens have. `None`: all.
    pub claims: Option<ClaimsProfile>,
    /// How tokens for the users of apps are minted.
    pub minted: MintedRules,
}

/// What all minted tokens of this gateway have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MintedRules {
    /// `aud`.
    pub audience: String,
    /// How they are signed.
    pub algorithm: Algorithm,
    /// Which claims they have. `None`: all.
    pub claims: Option<ClaimsProfile>,
}

impl Rules {
    /// The rules of a whole configuration.
    pub fn of(config: &Config) -> Self {
        let assertions = config.upstreams.iter().filter_map(|upstream| upstream.assertion.as_ref());
        Self {
            assertions: assertions.map(|assertion| assertion.algorithm).collect(),
            ..Self::from(&config.token)
        }
    }
}

impl From<&Tokens> for Rules {
    /// The rules of `[token]` alone: without assertions.
    fn from(tokens: &Tokens) -> Self {
        Self {
            issuer: tokens.issuer.clone(),
            audience: tokens.audience.clone(),
            algorithm: tokens.algorithm,
            assertions: Vec::new(),
            claims: tokens.claims.clone(),
            minted: MintedRules {
                audience: tokens.minted.audience.clone(),
                algorithm: tokens.minted.algorithm,
                claims: tokens.minted.claims.clone(),
            },
        }
    }
}

/// A ring cannot be made of these keys. The operator's fault, or a damaged store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing could be signed or verified.
    #[error("there is no signing key")]
    NoKeys,
    /// Fewer than 32 bytes.
    #[error("the signing key {key:?} has {bytes} bytes, but at least 32 are needed")]
    TooShort {
        /// Which.
        key: KeyId,
        /// How many it has.
        bytes: usize,
    },
    /// An id that is empty, too long or has other characters than letters, digits, `-` and `_`.
    #[error("{key:?} cannot be the id of a signing key")]
    BadId {
        /// Which.
        key: KeyId,
    },
    /// Two keys of one name.
    #[error("the signing key {key:?} is there twice")]
    Twice {
        /// Which.
        key: KeyId,
    },
    /// Assertions by an algorithm without public keys.
    #[error("assertions must be signed by ES256 or EdDSA: whoever checks HS256 could forge it")]
    SharedAssertions,
    /// The cryptographic library refused a derived key.
    #[error("no keys could be derived from the signing key {key:?}")]
    Derivation {
        /// From which.
        key: KeyId,
    },
}

/// All keys that sign or have signed a token which may still be alive. Shared by `Arc`.
pub struct Keyring {
    /// Sorted by when they become active.
    masters: Vec<Master>,
    pub(super) rules: Rules,
    jwks: String,
}

/// A master secret's keys.
pub(super) struct Master {
    pub(super) id: KeyId,
    active_from: Timestamp,
    root: Root,
    pub(super) access: TokenKey,
    pub(super) refresh: TokenKey,
    pub(super) assertions: Vec<TokenKey>,
    pub(super) minted: TokenKey,
}

impl Keyring {
    /// A ring of `masters`: all that may have signed a living token, the active one, and those yet
    /// to come.
    pub fn new(mut masters: Vec<MasterKey>, rules: Rules) -> Result<Self, KeyError> {
        if masters.is_empty() {
            return Err(KeyError::NoKeys);
        }
        if rules.assertions.contains(&Algorithm::Hs256) {
            return Err(KeyError::SharedAssertions);
        }
        masters.sort_by(|a, b| (a.active_from, &a.id).cmp(&(b.active_from, &b.id)));
        let mut names = BTreeSet::new();
        for master in &masters {
            if !names.insert(&master.id) {
                return Err(KeyError::Twice { key: master.id.clone() });
            }
        }
        let masters = masters
            .iter()
            .map(|master| Master::derive(master, &rules))
            .collect::<Result<Vec<_>, _>>()?;
        let jwks = jwks(&masters);
        Ok(Self { masters, rules, jwks })
    }

    /// The key to sign with: the newest that is active at `now`, else the oldest there is.
    pub fn signing_key(&self, now: Timestamp) -> &KeyId {
        &self.signing_master(now).id
    }

    /// The public keys of the ring as a JWK set (RFC 7517 section 5): those for access tokens,
    /// those for minted tokens, unless these are HMAC, and those for assertions.
    pub fn jwks(&self) -> String {
        self.jwks.clone()
    }

    /// Seals and opens what the gateway gives a browser to keep for it. What is sealed under one
    /// label opens under no other. Keep it as long as the ring: it holds keys derived for it.
    pub fn sealer(&self, label: &str) -> Sealer {
        let keys = self.masters.iter().map(|master| (&master.id, master.active_from, &master.root));
        Sealer::new(label, keys)
    }

    pub(super) fn signing_master(&self, now: Timestamp) -> &Master {
        let active = self.masters.iter().rev().find(|master| master.active_from <= now);
        active.or(self.masters.first()).expect("a ring is never empty: checked in Keyring::new")
    }

    pub(super) fn master(&self, id: &KeyId) -> Option<&Master> {
        self.masters.iter().find(|master| master.id == *id)
    }

    pub(super) fn masters(&self) -> impl Iterator<Item = &Master> {
        self.masters.iter()
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.masters.iter().map(|master| &master.id).collect();
        f.debug_struct("Keyring").field("keys", &ids).field("rules", &self.rules).finish()
    }
}

impl Master {
    /// The key that tokens of `kind` are checked with. We never take our own assertions back.
    pub(super) const fn checks(&self, kind: Kind) -> Option<&TokenKey> {
        match kind {
            Kind::Access => Some(&self.access),
            Kind::Refresh => Some(&self.refresh),
            Kind::Minted => Some(&self.minted),
            Kind::Assertion => None,
        }
    }

    fn derive(master: &MasterKey, rules: &Rules) -> Result<Self, KeyError> {
        let MasterKey { id, secret, active_from } = master;
        let name = id.as_str();
        // Without a dot, no master's id can equal the `kid` of another master's public key.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            return Err(KeyError::BadId { key: id.clone() });
        }
        let bytes = secret.expose().len();
        if bytes < MASTER_BYTES_MIN {
            return Err(KeyError::TooShort { key: id.clone(), bytes });
        }
        let root = Root::new(secret);
        let derive =
            |kind, algorithm, profile| TokenKey::derive(&root, id, kind, algorithm, profile);
        let assertions = Kind::Assertion
            .algorithms()
            .iter()
            .filter(|algorithm| rules.assertions.contains(algorithm))
            .map(|algorithm| derive(Kind::Assertion, *algorithm, None))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            access: derive(Kind::Access, rules.algorithm, rules.claims.as_ref())?,
            refresh: derive(Kind::Refresh, Algorithm::Hs256, None)?,
            assertions,
            minted: derive(Kind::Minted, rules.minted.algorithm, rules.minted.claims.as_ref())?,
            id: id.clone(),
            active_from: *active_from,
            root,
        })
    }
}

fn jwks(masters: &[Master]) -> String {
    #[derive(Serialize)]
    struct Set<'a> {
        keys: Vec<&'a PublicKey>,
    }
    let keys = masters
        .iter()
        .flat_map(|master| [&master.access, &master.minted].into_iter().chain(&master.assertions))
        .filter_map(TokenKey::public)
        .collect();
    serde_json::to_string(&Set { keys }).expect("texts are always JSON")
}
