//! From a token in compact form to its claims. Everything here comes from strangers until the
//! signature has been checked; no claim is looked at before that.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::claims::{AccessClaims, AccessJson, RefreshClaims, RefreshJson};
use super::key::{Header, Kind, TokenKey, registered_name};
use super::keyring::Keyring;
use super::profile;
use crate::clock::Timestamp;

/// The longest token that is looked at: 4 KiB.
pub const TOKEN_BYTES_MAX: usize = 4096;

/// How far ahead of our clock a token may have been issued: another replica's clock may be this
/// much faster. Expiry has no leeway.
pub const ISSUED_AHEAD_MAX: Duration = Duration::from_secs(5);

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenError {
    /// Not of the form that we give tokens: not three parts, not base64url in its one spelling, a
    /// header with other fields than ours, claims missing or of a wrong type.
    #[error("not a token of the form that the gateway makes")]
    Malformed,
    /// More than 4 KiB. Nothing of it was looked at.
    #[error("the token is too large")]
    TooLarge,
    /// A token for something else (`typ`).
    #[error("a token of another kind")]
    WrongKind,
    /// An algorithm that this kind's keys are not for.
    #[error("the token names an algorithm that is not its key's")]
    WrongAlgorithm,
    /// No key of this name is in the ring: retired, or made up. Nothing but the header was read.
    #[error("the token's key is not in the ring")]
    UnknownKey,
    /// Forged or altered.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// Authentic, but its time is over.
    #[error("the token has expired")]
    Expired,
    /// Authentic, but issued in our future: the clocks of two replicas differ too much.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Authentic, but by another issuer (`iss`): the site was renamed.
    #[error("the token is by another issuer")]
    WrongIssuer,
    /// Authentic, but for another audience (`aud`).
    #[error("the token is for another audience")]
    WrongAudience,
}

impl TokenError {
    /// What happens to honest browsers with time: the token has expired, or its key was retired.
    /// Only then does a refresh token get to answer in its place.
    pub const fn is_stale(self) -> bool {
        matches!(self, Self::Expired | Self::UnknownKey)
    }

    /// Nothing shows that we ever made this token.
    pub const fn is_forged(self) -> bool {
        match self {
            Self::Malformed
            | Self::TooLarge
            | Self::WrongKind
            | Self::WrongAlgorithm
            | Self::BadSignature => true,
            Self::UnknownKey
            | Self::Expired
            | Self::NotYetValid
            | Self::WrongIssuer
            | Self::WrongAudience => false,
        }
    }
}

impl Keyring {
    /// The claims of an access token that is authentic and alive at `now`. Whether it has been
    /// revoked is for [`RevokedSet`](super::RevokedSet) to say.
    pub fn verify_access(&self, token: &str, now: Timestamp) -> Result<AccessClaims, TokenError> {
        let payload = self.authentic(Kind::Access, token)?;
        let json: AccessJson<'_> = match &self.rules.claims {
            None => object(&payload)?,
            Some(kept) => profile::undress(
                kept,
                &payload,
                [
                    ("iss", Value::from(self.rules.issuer.as_str())),
                    ("aud", self.rules.audience.as_str().into()),
                    ("gen", 0.into()),
                    ("preferred_username", "".into()),
                    ("roles", Value::Array(Vec::new())),
                    ("permissions", Value::Array(Vec::new())),
                    ("amr", Value::Array(Vec::new())),
                    // Long ago: where a recent login is asked for, none is recent.
                    ("auth_time", 0.into()),
                ],
            )?,
        };
        let issued_at = Timestamp::from_millis(json.iat_ms);
        if issued_at.secs() != json.iat {
            return Err(TokenError::Malformed);
        }
        addressed(&json.iss, &self.rules.issuer, &json.aud, &self.rules.audience)?;
        alive(issued_at, json.nbf, json.exp, now)?;
        Ok(json.into())
    }

    /// The claims of a refresh token that is authentic and alive at `now`. Whether it is its
    /// session's current one is for the store to say.
    pub fn verify_refresh(&self, token: &str, now: Timestamp) -> Result<RefreshClaims, TokenError> {
        let payload = self.authentic(Kind::Refresh, token)?;
        let json: RefreshJson<'_> = object(&payload)?;
        addressed(&json.iss, &self.rules.issuer, &json.aud, &self.rules.issuer)?;
        alive(Timestamp::from_secs(json.iat), json.nbf, json.exp, now)?;
        Ok(json.into())
    }

    /// The payload of `token` if one of our keys of `kind` has signed it.
    fn authentic(&self, kind: Kind, token: &str) -> Result<Vec<u8>, TokenError> {
        let parts = split(token)?;
        parts.signed_by(self.key_of(kind, parts.header)?)
    }

    /// The key whose tokens carry exactly this header.
    fn key_of(&self, kind: Kind, header: &str) -> Result<&TokenKey, TokenError> {
        let mut keys = self.masters().filter_map(|master| master.checks(kind));
        keys.find(|key| key.header == header).ok_or_else(|| self.why_no_key(kind, header))
    }

    /// What is wrong with a header that is not one of ours. Off the usual path, and for telling
    /// only: no answer of this leads to a key.
    pub(super) fn why_no_key(&self, kind: Kind, header: &str) -> TokenError {
        let Some(Header { alg, typ, kid, app }) = read_header(header) else {
            return TokenError::Malformed;
        };
        if typ != kind.typ() {
            return TokenError::WrongKind;
        }
        if app.is_some() != (kind == Kind::Minted) {
            return TokenError::Malformed;
        }
        if !kind.algorithms().iter().any(|algorithm| registered_name(*algorithm) == alg) {
            return TokenError::WrongAlgorithm;
        }
        let mut keys = self.masters().filter_map(|master| master.checks(kind));
        match keys.find(|key| key.kid == kid) {
            Some(key) if registered_name(key.algorithm) != alg => TokenError::WrongAlgorithm,
            // Our header in another spelling than ours.
            Some(_) => TokenError::Malformed,
            None => TokenError::UnknownKey,
        }
    }
}

/// A token's parts, not yet looked into.
pub(super) struct Parts<'a> {
    message: &'a str,
    pub(super) header: &'a str,
    payload: &'a str,
    signature: &'a str,
}

/// The parts of a token in compact form.
pub(super) fn split(token: &str) -> Result<Parts<'_>, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::TooLarge);
    }
    // The last dot first: a message ends where the signature begins.
    let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
    if payload.contains('.') {
        return Err(TokenError::Malformed);
    }
    Ok(Parts { message, header, payload, signature })
}

impl Parts<'_> {
    /// The payload, if `key` has signed it.
    pub(super) fn signed_by(&self, key: &TokenKey) -> Result<Vec<u8>, TokenError> {
        match key.verify(self.message, self.signature) {
            Ok(true) => URL_SAFE_NO_PAD.decode(self.payload).map_err(|_| TokenError::Malformed),
            Ok(false) => Err(TokenError::BadSignature),
            Err(_) => Err(TokenError::Malformed),
        }
    }
}

pub(super) fn read_header(encoded: &str) -> Option<Header> {
    let json = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    object(&json).ok()
}

/// Reads a JSON object. Serde would also take an array of the fields' values for a struct.
pub(super) fn object<'a, T: serde::Deserialize<'a>>(json: &'a [u8]) -> Result<T, TokenError> {
    if json.first() != Some(&b'{') {
        return Err(TokenError::Malformed);
    }
    serde_json::from_slice(json).map_err(|_| TokenError::Malformed)
}

/// RFC 8725 sections 3.8 and 3.9: from us, and for whom it is presented to.
pub(super) fn addressed(
    iss: &str,
    issuer: &str,
    aud: &str,
    audience: &str,
) -> Result<(), TokenError> {
    if iss != issuer {
        Err(TokenError::WrongIssuer)
    } else if aud != audience {
        Err(TokenError::WrongAudience)
    } else {
        Ok(())
    }
}

/// RFC 7519 sections 4.1.4 to 4.1.6. Last of all checks, so that `Expired` is only ever said of a
/// token with which nothing else is wrong.
pub(super) fn alive(
    issued: Timestamp,
    nbf: Option<i64>,
    exp: i64,
    now: Timestamp,
) -> Result<(), TokenError> {
    let early = nbf.is_some_and(|nbf| now < Timestamp::from_secs(nbf));
    if early || issued > now.plus(ISSUED_AHEAD_MAX) {
        Err(TokenError::NotYetValid)
    } else if now >= Timestamp::from_secs(exp) {
        Err(TokenError::Expired)
    } else {
        Ok(())
    }
}
