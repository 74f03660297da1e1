//! Seals the signing keys that the store keeps, with a key that it does not keep: who steals a copy
//! of the store, or reads a backup, can sign nothing. AES-256-GCM, bound to the name of what is
//! sealed.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};

use super::StoreError;
use crate::config;
use crate::id::KeyId;
use crate::secret::{self, Secret};

/// The first byte of what is sealed in the form that follows: the name of the seal's key, the nonce,
/// the ciphertext and its tag.
const FORM: u8 = 1;
const NAME_LEN: usize = 8;
/// A master secret that is not sealed has this length, and no sealed one can have it.
const PLAIN_LEN: usize = 32;

/// What seals and opens; without a key, what lets pass as it is.
#[derive(Debug)]
pub struct Seal {
    current: Option<SealKey>,
    retired: Vec<SealKey>,
}

struct SealKey {
    name: [u8; NAME_LEN],
    key: LessSafeKey,
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(..)")
    }
}

impl Seal {
    /// Seals nothing, and opens nothing that is sealed.
    pub const fn none() -> Self {
        Self { current: None, retired: Vec::new() }
    }

    /// With the keys of the config.
    pub fn of(config: &config::Store) -> Self {
        Self {
            current: config.seal_key.as_ref().map(SealKey::derive),
            retired: config.retired_seal_keys.iter().map(SealKey::derive).collect(),
        }
    }

    /// Whether there is anything to seal with, or to open.
    pub(super) const fn is_none(&self) -> bool {
        self.current.is_none() && self.retired.is_empty()
    }

    /// As the column of the key called `id` holds `plain`.
    pub(super) fn close(&self, id: &KeyId, plain: &Secret<Vec<u8>>) -> Result<Vec<u8>, StoreError> {
        let Some(key) = &self.current else { return Ok(plain.expose().clone()) };
        let nonce = secret::random::<NONCE_LEN>().map_err(StoreError::unavailable)?;
        let mut sealed = plain.expose().clone();
        key.key
            .seal_in_place_append_tag(Nonce::from(&nonce), bound_to(id), &mut sealed)
            .map_err(|_| unreadable(id, "could not be sealed"))?;
        let head = std::iter::once(FORM).chain(key.name).chain(nonce);
        Ok(head.chain(sealed).collect())
    }

    /// What [`Self::close`] was given.
    pub(super) fn open(&self, id: &KeyId, stored: Vec<u8>) -> Result<Secret<Vec<u8>>, StoreError> {
        if stored.len() == PLAIN_LEN {
            return Ok(Secret::new(stored));
        }
        let (name, nonce, sealed) =
            take_apart(&stored).ok_or_else(|| unreadable(id, "is not in a form known here"))?;
        let key = self.current.iter().chain(&self.retired).find(|key| key.name == *name);
        let key = key.ok_or_else(|| {
            unreadable(
                id,
                "is sealed with another key: store.seal_key must name the one that all replicas \
                 have, and store.retired_seal_keys those before it",
            )
        })?;
        let mut opened = sealed.to_vec();
        let plain = key
            .key
            .open_in_place(Nonce::from(nonce), bound_to(id), &mut opened)
            .map(|plain| Secret::new(plain.to_vec()));
        plain.map_err(|_| unreadable(id, "was changed after it had been sealed"))
    }

    /// Whether `stored` is as [`Self::close`] would leave it now.
    pub(super) fn fits(&self, stored: &[u8]) -> bool {
        match (&self.current, take_apart(stored)) {
            _ if stored.len() == PLAIN_LEN => self.current.is_none(),
            (Some(key), Some((name, ..))) => key.name == *name,
            _ => false,
        }
    }
}

impl SealKey {
    fn derive(secret: &Secret<Vec<u8>>) -> Self {
        let root = Salt::new(HKDF_SHA256, b"sallyport store seal").extract(secret.expose());
        let mut name = [0; NAME_LEN];
        let mut bytes = [0; 32];
        let filled = "both are far below the 255 hashes that HKDF gives (RFC 5869 section 2.3)";
        let expand = |label: &[u8], out: &mut [u8]| {
            let okm = root.expand(&[label], Length(out.len())).and_then(|okm| okm.fill(out));
            okm.expect(filled);
        };
        expand(b"name", &mut name);
        expand(b"key", &mut bytes);
        let bytes = Secret::new(bytes);
        let key = UnboundKey::new(&AES_256_GCM, bytes.expose()).expect("it has 32 bytes");
        Self { name, key: LessSafeKey::new(key) }
    }
}

struct Length(usize);

impl aws_lc_rs::hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// What is sealed for one key opens as no other.
fn bound_to(id: &KeyId) -> Aad<Vec<u8>> {
    Aad::from([b"master key ", id.as_str().as_bytes()].concat())
}

fn take_apart(stored: &[u8]) -> Option<(&[u8; NAME_LEN], &[u8; NONCE_LEN], &[u8])> {
    let rest = stored.strip_prefix(&[FORM])?;
    let (name, rest) = rest.split_first_chunk()?;
    let (nonce, sealed) = rest.split_first_chunk()?;
    Some((name, nonce, sealed))
}

fn unreadable(id: &KeyId, what: &str) -> StoreError {
    StoreError::Unreadable(format!("the signing key {} {what}", id.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(current: Option<&[u8]>, retired: &[&[u8]]) -> Seal {
        let secret = |bytes: &[u8]| Secret::new(bytes.to_vec());
        Seal {
            current: current.map(|bytes| SealKey::derive(&secret(bytes))),
            retired: retired.iter().map(|bytes| SealKey::derive(&secret(bytes))).collect(),
        }
    }

    const OLD: &[u8] = b"an old key of thirty-two bytes!!";
    const NEW: &[u8] = b"a new key of thirty-two bytes!!!";

    #[test]
    fn what_is_sealed_opens_with_its_key_and_for_its_name_only() {
        let (id, plain) = (KeyId::new("k1"), Secret::new(vec![7; PLAIN_LEN]));
        let old = seal(Some(OLD), &[]);
        let stored = old.close(&id, &plain).unwrap();
        assert!(!stored.windows(8).any(|window| window == [7; 8]), "it can be seen");
        assert_ne!(stored, old.close(&id, &plain).unwrap(), "a nonce is used once");
        assert_eq!(old.open(&id, stored.clone()).unwrap(), plain);
        assert!(old.open(&KeyId::new("k2"), stored.clone()).is_err(), "another's place");
        assert!(seal(Some(NEW), &[]).open(&id, stored.clone()).is_err());
        assert!(Seal::none().open(&id, stored.clone()).is_err());
        for byte in 0..stored.len() {
            let mut changed = stored.clone();
            changed[byte] ^= 1;
            assert!(old.open(&id, changed).is_err(), "byte {byte}");
        }
        for length in 0..stored.len() {
            if length != PLAIN_LEN {
                assert!(old.open(&id, stored[..length].to_vec()).is_err(), "{length} bytes");
            }
        }
    }

    #[test]
    fn a_retired_key_still_opens_and_is_to_be_replaced() {
        let (id, plain) = (KeyId::new("k1"), Secret::new(vec![7; PLAIN_LEN]));
        let stored = seal(Some(OLD), &[]).close(&id, &plain).unwrap();
        let both = seal(Some(NEW), &[OLD]);
        assert_eq!(both.open(&id, stored.clone()).unwrap(), plain);
        assert!(!both.fits(&stored) && both.fits(&both.close(&id, &plain).unwrap()));
        assert!(!both.fits(plain.expose()) && Seal::none().fits(plain.expose()));
        assert!(!seal(None, &[OLD]).fits(&stored), "without a key it is to be opened for good");
    }
}
