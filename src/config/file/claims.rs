//! The claims of tokens under the names that the outside knows, and the tokens that apps mint.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Algorithm, Period};

/// The name of each claim that an access token has.
#[derive(Deserialize, Serialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct AccessClaims {
    /// Issuer. Without it, a token of another gateway with the same `token.keys` is taken.
    pub iss: Option<String>,
    /// Audience; likewise.
    pub aud: Option<String>,
    /// The account's id, a UUID. Needed.
    pub sub: Option<String>,
    /// The session's id: what a logout, a theft or the operator ends. Needed; it may be called
    /// `"jti"` if clients expect one.
    pub sid: Option<String>,
    /// The generation of the session's refresh token. Without it a spent refresh token is found out
    /// one rotation later, for an access token then does not show that its successor was received.
    pub r#gen: Option<String>,
    /// The token's own id. Without it, it is a digest of the token.
    pub jti: Option<String>,
    /// When it was made, in seconds. Needed.
    pub iat: Option<String>,
    /// The same in milliseconds. Without it, a change of an account's rights refuses tokens that
    /// were made later in the same second too.
    pub iat_ms: Option<String>,
    /// When it ends, in seconds. Needed.
    pub exp: Option<String>,
    /// Login name. Without it, upstreams are told no name.
    pub preferred_username: Option<String>,
    /// Display name.
    pub name: Option<String>,
    /// Email.
    pub email: Option<String>,
    /// Roles. Without them nobody has any, so no route may ask for one.
    pub roles: Option<String>,
    /// Permissions; likewise.
    pub permissions: Option<String>,
    /// How the user signed in.
    pub amr: Option<String>,
    /// When the user signed in, in seconds. Without it, every login counts as long ago.
    pub auth_time: Option<String>,
}

impl AccessClaims {
    /// Our name, in the order in which they stand in a token, and what the file says.
    pub(in crate::config) const fn each(&self) -> [(&'static str, &Option<String>); 16] {
        [
            ("iss", &self.iss),
            ("aud", &self.aud),
            ("sub", &self.sub),
            ("sid", &self.sid),
            ("gen", &self.r#gen),
            ("jti", &self.jti),
            ("iat", &self.iat),
            ("iat_ms", &self.iat_ms),
            ("exp", &self.exp),
            ("preferred_username", &self.preferred_username),
            ("name", &self.name),
            ("email", &self.email),
            ("roles", &self.roles),
            ("permissions", &self.permissions),
            ("amr", &self.amr),
            ("auth_time", &self.auth_time),
        ]
    }
}

/// The name of each claim that a minted token has.
#[derive(Deserialize, Serialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct MintedClaims {
    /// Issuer. Without it, a token of another gateway with the same `token.keys` is taken.
    pub iss: Option<String>,
    /// Audience; likewise.
    pub aud: Option<String>,
    /// What the app calls its user. Needed.
    pub sub: Option<String>,
    /// The app's id. The token's header names the app in any case.
    pub app: Option<String>,
    /// The token's own id, which is what is revoked. Needed.
    pub jti: Option<String>,
    /// When it was made, in seconds. Needed.
    pub iat: Option<String>,
    /// The same in milliseconds. Without it, taking rights from an app, or disabling it, refuses
    /// tokens that were made later in the same second too.
    pub iat_ms: Option<String>,
    /// When it ends, in seconds. Needed.
    pub exp: Option<String>,
    /// Roles. Without them no minted token has any.
    pub roles: Option<String>,
    /// Permissions; likewise.
    pub permissions: Option<String>,
}

impl MintedClaims {
    /// As of [`AccessClaims::each`].
    pub(in crate::config) const fn each(&self) -> [(&'static str, &Option<String>); 10] {
        [
            ("iss", &self.iss),
            ("aud", &self.aud),
            ("sub", &self.sub),
            ("app", &self.app),
            ("jti", &self.jti),
            ("iat", &self.iat),
            ("iat_ms", &self.iat_ms),
            ("exp", &self.exp),
            ("roles", &self.roles),
            ("permissions", &self.permissions),
        ]
    }
}

/// Tokens that apps mint for their users. A user of an app is none of the gateway's own accounts,
/// even under the same name.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Minted {
    /// `aud` of minted tokens. Default: `token.audience` and `/minted`.
    pub audience: Option<String>,
    /// How they are signed. Default: `token.algorithm`.
    pub algorithm: Option<Algorithm>,
    /// Their life unless the app asks for another, `"1s"` to `"31d"`.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "31d"))]
    pub ttl: Period,
    /// The longest life that an app may ask for, from `ttl` to `"400d"`. Default: `ttl`.
    pub max_ttl: Option<Period>,
    /// Exactly these claims are in minted tokens, each under the name that is given here. `sub`,
    /// `iat`, `exp` and `jti` are needed. A change refuses the tokens of before. Default: all
    /// claims, under their own names.
    pub claims: Option<MintedClaims>,
    /// What upstreams are told as the user's name.
    pub names: MintedNames,
}

impl Default for Minted {
    fn default() -> Self {
        Self {
            audience: None,
            algorithm: None,
            ttl: Period::new("1h"),
            max_ttl: None,
            claims: None,
            names: MintedNames::WithApp,
        }
    }
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum MintedNames {
    /// `app/user`, which no account of the gateway's own can be called
    WithApp,
    /// only what the app calls its user: for sites without accounts of their own
    Bare,
}
