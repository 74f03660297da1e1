//! What a browser keeps for us and may neither read nor change: AES-256-GCM with a key per master
//! and label, the expiry inside.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::derive::{Purpose, Root, frame};
use crate::clock::Timestamp;
use crate::id::KeyId;

/// The most that is sealed: 72 KiB, for a form of 64 KiB and where it goes. What becomes a cookie
/// has to stay well below 4 KiB by itself.
pub const SEALED_BYTES_MAX: usize = 72 * 1024;

/// The expiry: Unix milliseconds, big-endian.
const EXPIRY_LEN: usize = 8;

/// The longest sealed text: key id, dot, and the base64url of nonce, expiry, content and tag.
const TEXT_BYTES_MAX: usize = 64 + 1 + (NONCE_LEN + EXPIRY_LEN + SEALED_BYTES_MAX + 16) * 4 / 3 + 4;

/// It could not be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// More than 72 KiB.
    #[error("{bytes} bytes are too many to seal: at most {SEALED_BYTES_MAX} are allowed")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// The cryptographic library failed, or had no randomness for the nonce.
    #[error("sealing failed")]
    Failed,
}

/// Seals and opens under one label. Made by [`Keyring::sealer`](super::Keyring::sealer).
pub struct Sealer {
    /// Sorted by when they become active, as in the ring; never empty.
    keys: Vec<SealingKey>,
}

struct SealingKey {
    id: KeyId,
    active_from: Timestamp,
    /// Draws a 96-bit nonce for each seal. NIST SP 800-38D section 8.3 allows 2^32 of them to a
    /// key; rotation comes long before.
    key: RandomizedNonceKey,
    /// Label and key id, authenticated with what is sealed.
    context: Vec<u8>,
}

impl Sealer {
    /// Keys for `label`, one for each of `masters`, which are sorted and at least one.
    pub(super) fn new<'a>(
        label: &str,
        masters: impl Iterator<Item = (&'a KeyId, Timestamp, &'a Root)>,
    ) -> Self {
        let purpose = Purpose { kind: "sealed", algorithm: "A256GCM", profile: label };
        let keys = masters.map(|(id, active_from, root)| SealingKey {
            id: id.clone(),
            active_from,
            key: RandomizedNonceKey::new(&AES_256_GCM, root.derive(purpose, 0).expose())
                .expect("AES-256 takes any key of 32 bytes"),
            context: frame(&[purpose.kind, label, id.as_str()]),
        });
        Self { keys: keys.collect() }
    }

    /// Seals `plain` for `ttl` from `now`. The text is safe in cookies, forms and URLs.
    pub fn seal(&self, plain: &[u8], now: Timestamp, ttl: Duration) -> Result<String, SealError> {
        if plain.len() > SEALED_BYTES_MAX {
            return Err(SealError::TooLarge { bytes: plain.len() });
        }
        let active = self.keys.iter().rev().find(|key| key.active_from <= now);
        let sealing = active.or(self.keys.first()).ok_or(SealError::Failed)?;
        let mut content = now.plus(ttl).millis().to_be_bytes().to_vec();
        content.extend_from_slice(plain);
        let nonce = sealing
            .key
            .seal_in_place_append_tag(Aad::from(&sealing.context), &mut content)
            .map_err(|_| SealError::Failed)?;
        let sealed = [nonce.as_ref().as_slice(), &content].concat();
        Ok(format!("{}.{}", sealing.id.as_str(), URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// What was sealed, if this label and ring did it, nobody has touched it, and `now` is before
    /// its end. Why not is no business of whoever presents it.
    pub fn open(&self, text: &str, now: Timestamp) -> Option<Vec<u8>> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (id, sealed) = text.split_once('.')?;
        let opening = self.keys.iter().find(|key| key.id.as_str() == id)?;
        let mut sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, content) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let context = Aad::from(&opening.context);
        let plain = opening.key.open_in_place(nonce, context, content).ok()?;
        let (expiry, plain) = plain.split_first_chunk::<EXPIRY_LEN>()?;
        let end = Timestamp::from_millis(i64::from_be_bytes(*expiry));
        (now < end).then(|| plain.to_vec())
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.keys.iter().map(|key| &key.id).collect();
        f.debug_struct("Sealer").field("keys", &ids).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::token::tests::{NOW, ring, ring_of};

    const TTL: Duration = Duration::from_secs(60);

    #[test]
    fn what_is_sealed_opens_until_its_end_and_not_after() {
        let sealer = ring().sealer("login");
        let text = sealer.seal(b"step one", NOW, TTL).unwrap();
        let last = NOW.plus(TTL).minus(Duration::from_millis(1));
        assert_eq!(sealer.open(&text, last), Some(b"step one".to_vec()));
        assert_eq!(sealer.open(&text, NOW.plus(TTL)), None);
        let endless = sealer.seal(b"", NOW, Duration::MAX).unwrap();
        assert_eq!(sealer.open(&endless, NOW.plus(TTL)), Some(Vec::new()));
    }

    #[test]
    fn another_label_or_another_ring_does_not_open_it() {
        let text = ring().sealer("login").seal(b"state", NOW, TTL).unwrap();
        assert_eq!(ring().sealer("login").open(&text, NOW), Some(b"state".to_vec()));
        for label in ["", "logi", "login2", "Login", "form"] {
            assert_eq!(ring().sealer(label).open(&text, NOW), None, "{label}");
        }
        // Same key ids, other secrets.
        assert_eq!(
            ring_of(&[("old", 99, 0), ("new", 98, 0)]).sealer("login").open(&text, NOW),
            None
        );
        // The same secret under another id.
        let renamed = text.replacen("new.", "old.", 1);
        assert_ne!(renamed, text);
        assert_eq!(ring_of(&[("old", 2, 0)]).sealer("login").open(&renamed, NOW), None);
    }

    #[test]
    fn a_retired_key_opens_what_it_sealed_as_long_as_it_is_in_the_ring() {
        let text = ring_of(&[("old", 1, 0)]).sealer("login").seal(b"state", NOW, TTL).unwrap();
        assert!(text.starts_with("old."));
        assert_eq!(ring().sealer("login").open(&text, NOW), Some(b"state".to_vec()));
        assert_eq!(ring_of(&[("new", 2, 0)]).sealer("login").open(&text, NOW), None);
    }

    #[test]
    fn the_same_content_never_gives_the_same_text() {
        let sealer = ring().sealer("login");
        assert_ne!(sealer.seal(b"x", NOW, TTL).unwrap(), sealer.seal(b"x", NOW, TTL).unwrap());
    }

    #[test]
    fn size_is_bounded_both_ways() {
        let sealer = ring().sealer("form");
        let most = vec![7; SEALED_BYTES_MAX];
        let text = sealer.seal(&most, NOW, TTL).unwrap();
        assert_eq!(sealer.open(&text, NOW), Some(most));
        let more = vec![7; SEALED_BYTES_MAX + 1];
        let bytes = more.len();
        assert_eq!(sealer.seal(&more, NOW, TTL), Err(SealError::TooLarge { bytes }));
        // Not even what an earlier release may have sealed with a higher limit.
        let sealing = sealer.keys.last().unwrap();
        let mut content = vec![0x7f; EXPIRY_LEN + SEALED_BYTES_MAX + 64];
        let context = Aad::from(&sealing.context);
        let nonce = sealing.key.seal_in_place_append_tag(context, &mut content).unwrap();
        let sealed = [nonce.as_ref().as_slice(), &content].concat();
        let text = format!("new.{}", URL_SAFE_NO_PAD.encode(sealed));
        assert_eq!(sealer.open(&text, NOW), None);
    }

    #[test]
    fn no_single_changed_character_goes_unnoticed() {
        let sealer = ring().sealer("login");
        let text = sealer.seal(b"uid=7;admin=0", NOW, TTL).unwrap();
        for at in 0..text.len() {
            for with in ['A', 'B', 'C', 'D', '_', '-', '.', '='] {
                let mut altered: Vec<char> = text.chars().collect();
                if altered[at] == with {
                    continue;
                }
                altered[at] = with;
                let altered: String = altered.into_iter().collect();
                assert_eq!(sealer.open(&altered, NOW), None, "{with} at {at}");
            }
            assert_eq!(sealer.open(&text[..at], NOW), None, "cut at {at}");
        }
        for end in ["A", "AA", "AAAA", "=", ".", " ", "\0"] {
            assert_eq!(sealer.open(&format!("{text}{end}"), NOW), None, "{end:?} added");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_and_no_foreign_text_opens(
            plain in proptest::collection::vec(any::<u8>(), 0..600),
            foreign in "\\PC{0,80}",
            tail in "[A-Za-z0-9_-]{0,120}",
        ) {
            let sealer = ring().sealer("any");
            let text = sealer.seal(&plain, NOW, TTL).unwrap();
            prop_assert_eq!(sealer.open(&text, NOW), Some(plain));
            prop_assert_eq!(sealer.open(&foreign, NOW), None);
            prop_assert_eq!(sealer.open(&format!("new.{tail}"), NOW), None);
        }
    }
}
