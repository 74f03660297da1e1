//! From claims to a token in compact form (RFC 7515 section 3.1).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::claims::{
    AccessClaims, AccessJson, AssertionClaims, AssertionJson, RefreshClaims, RefreshJson,
};
use super::key::TokenKey;
use super::keyring::Keyring;
use super::profile;
use crate::clock::Timestamp;
use crate::config::Algorithm;
use crate::id::KeyId;

/// The longest token that we sign: 3 KiB. With its cookie's name and attributes it must fit into
/// the 4096 bytes that a browser keeps (RFC 6265bis section 5.6), and into header limits upstream.
pub const SIGNED_BYTES_MAX: usize = 3 * 1024;

/// A token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The claims are too large. Whoever grants roles and permissions has to grant fewer.
    #[error(
        "the token would be {bytes} bytes long, but at most {SIGNED_BYTES_MAX} are allowed: the \
         account has too many or too long roles and permissions"
    )]
    TooLarge {
        /// What it would have been.
        bytes: usize,
    },
    /// The ring does not hold the key: it was dropped before the tokens it signed had ended.
    #[error("the signing key {key:?} is not in the ring")]
    UnknownKey {
        /// Which.
        key: KeyId,
    },
    /// No upstream's assertion uses this algorithm, so there are no keys for it.
    #[error("no assertion is signed by {algorithm:?} in this configuration")]
    NoAssertions {
        /// Which.
        algorithm: Algorithm,
    },
    /// The claims have no JSON form. Does not happen with texts and numbers.
    #[error("the claims could not be written as JSON")]
    Json(#[source] serde_json::Error),
    /// The cryptographic library failed.
    #[error("signing failed")]
    Signature(#[source] jsonwebtoken::errors::Error),
}

impl Keyring {
    /// An access token, signed with the key that is active at `now`.
    pub fn sign_access(&self, claims: &AccessClaims, now: Timestamp) -> Result<String, SignError> {
        let json = AccessJson::new(claims, &self.rules.issuer, &self.rules.audience);
        let key = &self.signing_master(now).access;
        match &self.rules.claims {
            None => compact(key, &key.header, &json),
            Some(kept) => {
                let dressed = profile::dress(kept, &json).map_err(SignError::Json)?;
                compact(key, &key.header, &dressed)
            }
        }
    }

    /// A refresh token, signed with `key`. The same claims and key give the same bytes: that is how
    /// a lost one is given out again.
    pub fn sign_refresh(&self, claims: &RefreshClaims, key: &KeyId) -> Result<String, SignError> {
        let Some(master) = self.master(key) else {
            return Err(SignError::UnknownKey { key: key.clone() });
        };
        let key = &master.refresh;
        compact(key, &key.header, &RefreshJson::new(claims, &self.rules.issuer))
    }

    /// An assertion for one upstream, signed with the key that is active at `now`.
    pub fn sign_assertion(
        &self,
        algorithm: Algorithm,
        claims: &AssertionClaims<'_>,
        now: Timestamp,
    ) -> Result<String, SignError> {
        let mut keys = self.signing_master(now).assertions.iter();
        let key = keys.find(|key| key.algorithm == algorithm);
        let key = key.ok_or(SignError::NoAssertions { algorithm })?;
        compact(key, &key.header, &AssertionJson::new(claims, &self.rules.issuer))
    }
}

/// Header, payload and signature, with a dot between.
pub(super) fn compact(
    key: &TokenKey,
    header: &str,
    claims: &impl Serialize,
) -> Result<String, SignError> {
    let payload = serde_json::to_vec(claims).map_err(SignError::Json)?;
    let mut token = String::with_capacity(header.len() + payload.len() * 4 / 3 + 96);
    token.push_str(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut token);
    let signature = key.sign(&token).map_err(SignError::Signature)?;
    token.push('.');
    token.push_str(&signature);
    if token.len() > SIGNED_BYTES_MAX {
        return Err(SignError::TooLarge { bytes: token.len() });
    }
    Ok(token)
}
