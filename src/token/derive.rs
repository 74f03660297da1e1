//! From a master secret to one key per purpose, by HKDF-SHA256 (RFC 5869). The labels are fixed for
//! good: another label means other keys, and with them the end of every session.

use aws_lc_rs::hkdf;

use crate::secret::Secret;

/// Changes only together with the meaning of the labels.
const VERSION: &str = "sallyport/1";

/// What a derived key is for. Two purposes that differ in any field have unrelated keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Purpose<'a> {
    /// The kind of token: `access`, `refresh`, `assertion`, `sealed`.
    pub(super) kind: &'a str,
    /// The algorithm that the key is for, as it is registered (RFC 7518).
    pub(super) algorithm: &'a str,
    /// A narrower use within the kind; empty for the usual one.
    pub(super) profile: &'a str,
}

/// A master secret, made ready for deriving.
pub(super) struct Root(hkdf::Prk);

impl Root {
    pub(super) fn new(secret: &Secret<Vec<u8>>) -> Self {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, VERSION.as_bytes());
        Self(salt.extract(secret.expose()))
    }

    /// The 32 bytes for `purpose`. `attempt` is 0 except where an algorithm refuses some keys.
    pub(super) fn derive(&self, purpose: Purpose<'_>, attempt: u8) -> Secret<[u8; 32]> {
        let Purpose { kind, algorithm, profile } = purpose;
        let label = frame(&[VERSION, kind, algorithm, profile]);
        let mut key = [0; 32];
        self.0
            .expand(&[&label, &[attempt]], hkdf::HKDF_SHA256)
            .and_then(|derived| derived.fill(&mut key))
            .expect("one SHA-256 block is within HKDF's 255 (RFC 5869 section 2.3)");
        Secret::new(key)
    }
}

/// Joins `parts` so that no two different lists give the same bytes: each part stands behind its
/// own length.
pub(super) fn frame(parts: &[&str]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        framed.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        framed.extend_from_slice(part.as_bytes());
    }
    framed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: &str, algorithm: &str, profile: &str, attempt: u8) -> Vec<u8> {
        let root = Root::new(&Secret::new(vec![7; 32]));
        root.derive(Purpose { kind, algorithm, profile }, attempt).expose().to_vec()
    }

    #[test]
    fn purposes_that_differ_anywhere_have_different_keys() {
        let keys = [
            key("access", "HS256", "", 0),
            key("access", "HS256", "", 1),
            key("access", "ES256", "", 0),
            key("refresh", "HS256", "", 0),
            key("access", "HS256", "a", 0),
            key("access", "HS256a", "", 0),
            key("accessH", "S256", "", 0),
            key("accessHS256", "", "", 0),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }

    #[test]
    fn the_derivation_never_changes_between_releases() {
        // HKDF-SHA256 with salt "sallyport/1", secret 32 x 07, info = the four fields, each behind
        // its length as eight bytes, then one zero byte; computed apart from this program.
        let hex: String =
            key("access", "HS256", "", 0).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "7f47ec443981e4b4cee5204f7ea0b79936545db4883876e0ac54584a9c894bba");
    }
}
