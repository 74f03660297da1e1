//! Tokens that are minted for an app's users: what they say, how they are made and checked.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::claims::{as_text, present};
use super::key::{Kind, TokenKey};
use super::keyring::Keyring;
use super::profile;
use super::sign::{SignError, compact};
use super::verify::{TokenError, addressed, alive, object, split};
use crate::clock::Timestamp;
use crate::id::{AppId, TokenId};

/// What a minted token says of its bearer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MintedClaims {
    /// Which app minted it. It stands in the header too, so that a profile may leave out the claim.
    pub app: AppId,
    /// `sub`: what the app calls its user.
    pub subject: String,
    /// `jti`: what is revoked.
    pub token: TokenId,
    /// `iat` in seconds, and `iat_ms`.
    pub issued_at: Timestamp,
    /// `exp`. Whole seconds: a fraction is dropped on signing.
    pub expires_at: Timestamp,
    /// Roles, sorted.
    pub roles: Vec<String>,
    /// Permissions, sorted.
    pub permissions: Vec<String>,
}

/// A minted token's JSON. As of [`AccessJson`](super::claims::AccessJson), it may grow.
#[derive(Serialize, Deserialize)]
struct MintedJson<'a> {
    iss: Cow<'a, str>,
    aud: Cow<'a, str>,
    sub: Cow<'a, str>,
    app: Cow<'a, str>,
    #[serde(with = "as_text")]
    jti: TokenId,
    iat: i64,
    iat_ms: i64,
    exp: i64,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    roles: Cow<'a, [String]>,
    permissions: Cow<'a, [String]>,
}

impl Keyring {
    /// A minted token, signed with the key that is active at `now`.
    ///
    /// # Errors
    /// See [`SignError`].
    pub fn sign_minted(&self, claims: &MintedClaims, now: Timestamp) -> Result<String, SignError> {
        let rules = &self.rules.minted;
        let json = MintedJson {
            iss: self.rules.issuer.as_str().into(),
            aud: rules.audience.as_str().into(),
            sub: claims.subject.as_str().into(),
            app: claims.app.as_str().into(),
            jti: claims.token,
            iat: claims.issued_at.secs(),
            iat_ms: claims.issued_at.millis(),
            exp: claims.expires_at.secs(),
            nbf: None,
            roles: claims.roles.as_slice().into(),
            permissions: claims.permissions.as_slice().into(),
        };
        let key = &self.signing_master(now).minted;
        let header = key.header_of(&claims.app).map_err(SignError::Json)?;
        match &rules.claims {
            None => compact(key, &header, &json),
            Some(kept) => {
                compact(key, &header, &profile::dress(kept, &json).map_err(SignError::Json)?)
            }
        }
    }

    /// The claims of a minted token that is authentic and alive at `now`. Whether it, its app or
    /// its user has been revoked is for [`RevokedSet`](super::RevokedSet) to say.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn verify_minted(&self, token: &str, now: Timestamp) -> Result<MintedClaims, TokenError> {
        let (claims, nbf) = self.authentic_minted(token)?;
        alive(claims.issued_at, nbf, claims.expires_at.secs(), now)?;
        Ok(claims)
    }

    /// The same of a token that may have ended: to revoke it, should it not have.
    ///
    /// # Errors
    /// See [`TokenError`]; never `Expired`.
    pub fn read_minted(&self, token: &str) -> Result<MintedClaims, TokenError> {
        self.authentic_minted(token).map(|(claims, _)| claims)
    }

    /// The claims of a token that is ours, and its `nbf`.
    fn authentic_minted(&self, token: &str) -> Result<(MintedClaims, Option<i64>), TokenError> {
        let parts = split(token)?;
        let (key, app) = self.minted_key(parts.header)?;
        let payload = parts.signed_by(key)?;
        let rules = &self.rules.minted;
        let json: MintedJson<'_> = match &rules.claims {
            None => object(&payload)?,
            Some(kept) => profile::undress(
                kept,
                &payload,
                [
                    ("iss", Value::from(self.rules.issuer.as_str())),
                    ("aud", rules.audience.as_str().into()),
                    ("app", app.as_str().into()),
                    ("roles", Value::Array(Vec::new())),
                    ("permissions", Value::Array(Vec::new())),
                ],
            )?,
        };
        let issued_at = Timestamp::from_millis(json.iat_ms);
        // RFC 7519 section 5.3: what the header repeats must be the same.
        if json.app != app.as_str() || issued_at.secs() != json.iat {
            return Err(TokenError::Malformed);
        }
        addressed(&json.iss, &self.rules.issuer, &json.aud, &rules.audience)?;
        let claims = MintedClaims {
            app,
            subject: json.sub.into_owned(),
            token: json.jti,
            issued_at,
            expires_at: Timestamp::from_secs(json.exp),
            roles: json.roles.into_owned(),
            permissions: json.permissions.into_owned(),
        };
        Ok((claims, json.nbf))
    }

    /// The key whose tokens for some app carry exactly this header, and the app.
    fn minted_key(&self, header: &str) -> Result<(&TokenKey, AppId), TokenError> {
        let why = || self.why_no_key(Kind::Minted, header);
        let app = super::verify::read_header(header).and_then(|read| read.app).ok_or_else(why)?;
        let app: AppId = app.parse().map_err(|_| TokenError::Malformed)?;
        let mut keys = self.masters().map(|master| &master.minted);
        // The header that we would have written, byte for byte.
        let key = keys.find(|key| key.header_of(&app).is_ok_and(|ours| ours == header));
        key.map(|key| (key, app)).ok_or_else(why)
    }
}
