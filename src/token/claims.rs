//! What tokens say, and how it stands in their JSON (RFC 7519 section 4).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::{SessionId, TokenId};

/// What an access token says of its bearer. `iss` and `aud` are the ring's [`Rules`](super::Rules).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessClaims {
    /// `iat` in seconds, and `iat_ms`: a cut-off of a whole user must not hit a login later in the
    /// same second.
    pub issued_at: Timestamp,
    /// `exp`. Whole seconds: a fraction is dropped on signing.
    pub expires_at: Timestamp,
    /// `sub`: the account's id.
    pub subject: String,
    /// `sid`: the session.
    pub session: Option<SessionId>,
    /// `gen`: the generation of the session's refresh token that this token belongs to. 0, which no
    /// session has, when the profile leaves it out.
    pub generation: u64,
    /// `jti`
    pub token: TokenId,
    /// Login name.
    pub preferred_username: String,
    /// Display name, if an upstream asks for it.
    pub name: Option<String>,
    /// Email, if an upstream asks for it.
    pub email: Option<String>,
    /// Roles, sorted.
    pub roles: Vec<String>,
    /// Permissions, sorted.
    pub permissions: Vec<String>,
    /// How the user proved who they are (RFC 8176).
    pub amr: Vec<String>,
    /// When they did. Whole seconds: a fraction is dropped on signing. The epoch when the profile
    /// leaves it out.
    pub auth_time: Timestamp,
}

/// What a refresh token says. Fractions of a second are dropped on signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshClaims {
    /// `sid`
    pub session: SessionId,
    /// `gen`: how often the session had been rotated when this token was made.
    pub generation: u64,
    /// `jti`
    pub token: TokenId,
    /// `iat`
    pub issued_at: Timestamp,
    /// `exp`
    pub expires_at: Timestamp,
}

/// What an assertion tells one upstream of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AssertionClaims<'a> {
    /// `aud`: the upstream.
    pub audience: &'a str,
    /// `sub`
    pub subject: &'a str,
    /// `sid`
    pub session: Option<SessionId>,
    /// `jti`: this assertion's own.
    pub token: TokenId,
    /// `iat`
    pub issued_at: Timestamp,
    /// `exp`
    pub expires_at: Timestamp,
    /// Login name.
    pub preferred_username: &'a str,
    /// Display name.
    pub name: Option<&'a str>,
    /// Email.
    pub email: Option<&'a str>,
    /// Roles.
    pub roles: &'a [String],
    /// Permissions.
    pub permissions: &'a [String],
    /// When the user last proved who they are.
    pub auth_time: Timestamp,
}

/// An access token's JSON. Claims that a later release adds are passed over, so that replicas of
/// two releases can stand side by side; a claim that comes twice is refused by serde.
#[derive(Serialize, Deserialize)]
pub(super) struct AccessJson<'a> {
    pub(super) iss: Cow<'a, str>,
    pub(super) aud: Cow<'a, str>,
    sub: Cow<'a, str>,
    #[serde(default, with = "as_text::optional", skip_serializing_if = "Option::is_none")]
    sid: Option<SessionId>,
    r#gen: u64,
    #[serde(with = "as_text")]
    jti: TokenId,
    pub(super) iat: i64,
    pub(super) iat_ms: i64,
    pub(super) exp: i64,
    /// We do not write it, but what it says must hold (RFC 7519 section 4.1.5).
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) nbf: Option<i64>,
    preferred_username: Cow<'a, str>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    email: Option<Cow<'a, str>>,
    roles: Cow<'a, [String]>,
    permissions: Cow<'a, [String]>,
    amr: Cow<'a, [String]>,
    auth_time: i64,
}

impl<'a> AccessJson<'a> {
    pub(super) fn new(claims: &'a AccessClaims, issuer: &'a str, audience: &'a str) -> Self {
        Self {
            iss: issuer.into(),
            aud: audience.into(),
            sub: claims.subject.as_str().into(),
            sid: claims.session,
            r#gen: claims.generation,
            jti: claims.token,
            iat: claims.issued_at.secs(),
            iat_ms: claims.issued_at.millis(),
            exp: claims.expires_at.secs(),
            nbf: None,
            preferred_username: claims.preferred_username.as_str().into(),
            name: claims.name.as_deref().map(Cow::from),
            email: claims.email.as_deref().map(Cow::from),
            roles: claims.roles.as_slice().into(),
            permissions: claims.permissions.as_slice().into(),
            amr: claims.amr.as_slice().into(),
            auth_time: claims.auth_time.secs(),
        }
    }
}

impl From<AccessJson<'_>> for AccessClaims {
    fn from(json: AccessJson<'_>) -> Self {
        Self {
            issued_at: Timestamp::from_millis(json.iat_ms),
            expires_at: Timestamp::from_secs(json.exp),
            subject: json.sub.into_owned(),
            session: json.sid,
            generation: json.r#gen,
            token: json.jti,
            preferred_username: json.preferred_username.into_owned(),
            name: json.name.map(Cow::into_owned),
            email: json.email.map(Cow::into_owned),
            roles: json.roles.into_owned(),
            permissions: json.permissions.into_owned(),
            amr: json.amr.into_owned(),
            auth_time: Timestamp::from_secs(json.auth_time),
        }
    }
}

/// A refresh token's JSON. The order of the fields is part of the promise that the same row gives
/// the same bytes.
#[derive(Serialize, Deserialize)]
pub(super) struct RefreshJson<'a> {
    pub(super) iss: Cow<'a, str>,
    /// The issuer again: nobody else is to read it.
    pub(super) aud: Cow<'a, str>,
    #[serde(with = "as_text")]
    sid: SessionId,
    r#gen: u64,
    #[serde(with = "as_text")]
    jti: TokenId,
    pub(super) iat: i64,
    pub(super) exp: i64,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) nbf: Option<i64>,
}

impl<'a> RefreshJson<'a> {
    pub(super) fn new(claims: &RefreshClaims, issuer: &'a str) -> Self {
        Self {
            iss: issuer.into(),
            aud: issuer.into(),
            sid: claims.session,
            r#gen: claims.generation,
            jti: claims.token,
            iat: claims.issued_at.secs(),
            exp: claims.expires_at.secs(),
            nbf: None,
        }
    }
}

impl From<RefreshJson<'_>> for RefreshClaims {
    fn from(json: RefreshJson<'_>) -> Self {
        Self {
            session: json.sid,
            generation: json.r#gen,
            token: json.jti,
            issued_at: Timestamp::from_secs(json.iat),
            expires_at: Timestamp::from_secs(json.exp),
        }
    }
}

/// An assertion's JSON. Written only: its readers are applications.
#[derive(Serialize)]
pub(super) struct AssertionJson<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    #[serde(with = "as_text::optional", skip_serializing_if = "Option::is_none")]
    sid: Option<SessionId>,
    #[serde(with = "as_text")]
    jti: TokenId,
    iat: i64,
    exp: i64,
    preferred_username: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    roles: &'a [String],
    permissions: &'a [String],
    auth_time: i64,
}

impl<'a> AssertionJson<'a> {
    pub(super) fn new(claims: &AssertionClaims<'a>, issuer: &'a str) -> Self {
        Self {
            iss: issuer,
            aud: claims.audience,
            sub: claims.subject,
            sid: claims.session,
            jti: claims.token,
            iat: claims.issued_at.secs(),
            exp: claims.expires_at.secs(),
            preferred_username: claims.preferred_username,
            name: claims.name,
            email: claims.email,
            roles: claims.roles,
            permissions: claims.permissions,
            auth_time: claims.auth_time.secs(),
        }
    }
}

/// A claim may be left out, but if it is there it has its type: `null` is not "left out".
pub(super) fn present<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    T::deserialize(from).map(Some)
}

/// Ids as their one spelling.
pub(super) mod as_text {
    use std::borrow::Cow;
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<T, S>(id: &T, to: S) -> Result<S::Ok, S::Error>
    where
        T: Display,
        S: Serializer,
    {
        to.collect_str(id)
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        Cow::<str>::deserialize(from)?.parse().map_err(de::Error::custom)
    }

    pub(crate) mod optional {
        use super::{Deserializer, Display, FromStr, Serializer};

        pub(crate) fn serialize<T, S>(id: &Option<T>, to: S) -> Result<S::Ok, S::Error>
        where
            T: Display,
            S: Serializer,
        {
            match id {
                Some(id) => to.collect_str(id),
                None => to.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
        where
            T: FromStr<Err: Display>,
            D: Deserializer<'de>,
        {
            super::deserialize(from).map(Some)
        }
    }
}
