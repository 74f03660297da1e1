//! What the store keeps: plain data, no behaviour.

use std::net::IpAddr;

use crate::clock::Timestamp;
use crate::id::{KeyId, Revoked, SessionId, TokenId, UserId};
use crate::secret::{PasswordHash, Secret};

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Never changes, never given again.
    pub id: UserId,
    /// As the user writes it.
    pub login: String,
    /// As names are compared: unique.
    pub login_key: String,
    /// For display.
    pub name: Option<String>,
    /// For display and headers; not a credential.
    pub email: Option<String>,
    /// Sorted, without doubles.
    pub roles: Vec<String>,
    /// Sorted, without doubles.
    pub permissions: Vec<String>,
    /// `None`: cannot log in by password.
    pub password: Option<PasswordHash>,
    /// May not log in, and no token of theirs is honoured.
    pub disabled: bool,
    /// When the account was made.
    pub created_at: Timestamp,
}

/// A change of one account. `None` leaves a thing as it is.
#[derive(Debug, Clone, Default)]
pub struct UserChange {
    /// A new password hash.
    pub password: Option<PasswordHash>,
    /// Changes anything only if the hash is still this one: what was proved with it, or is a rehash,
    /// must not undo a change in between.
    pub only_if_password: Option<PasswordHash>,
    /// `password` is the same one, only hashed anew: nothing ends by that.
    pub rehash: bool,
    /// Roles to add.
    pub grant_roles: Vec<String>,
    /// Roles to take.
    pub revoke_roles: Vec<String>,
    /// Permissions to add.
    pub grant_permissions: Vec<String>,
    /// Permissions to take.
    pub revoke_permissions: Vec<String>,
    /// Disable (`true`) or enable (`false`).
    pub disabled: Option<bool>,
}

/// One login on one device: one family of refresh tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// `sid`
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// Counts rotations; the generation of the current refresh token.
    pub generation: u64,
    /// The highest generation of which a token has been presented by anyone.
    pub seen_generation: u64,
    /// The current refresh token, enough to issue it again byte for byte.
    pub current: RefreshRecord,
    /// When the current generation began: the login, or the last rotation.
    pub rotated_at: Timestamp,
    /// When the user proved who they are.
    pub auth_time: Timestamp,
    /// How (RFC 8176), e.g. `pwd`.
    pub amr: Vec<String>,
    /// The absolute end.
    pub expires_at: Timestamp,
    /// The end unless refreshed before.
    pub idle_expires_at: Timestamp,
    /// "Remember me": cookies outlive the browser's run.
    pub persistent: bool,
    /// Where the login came from.
    pub address: Option<IpAddr>,
    /// `User-Agent` at login, cut to 256 bytes.
    pub device: String,
    /// The login.
    pub created_at: Timestamp,
    /// Set once, when it ends.
    pub ended: Option<Ended>,
}

/// What makes a refresh token: with the signing key and the session it gives the same bytes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshRecord {
    /// Which key signed it.
    pub key: KeyId,
    /// `jti`
    pub token: TokenId,
    /// `iat`
    pub issued_at: Timestamp,
    /// `exp`
    pub expires_at: Timestamp,
}

/// The end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: EndReason,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The user logged out.
    Logout,
    /// A spent refresh token was presented.
    Theft,
    /// The operator ended it.
    Operator,
    /// The account was disabled or removed, or its password changed.
    Account,
    /// A later login on the same device took its place.
    Replaced,
}

impl EndReason {
    /// As kept in the store and shown in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Theft => "theft",
            Self::Operator => "operator",
            Self::Account => "account",
            Self::Replaced => "replaced",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Logout, Self::Theft, Self::Operator, Self::Account, Self::Replaced]
            .into_iter()
            .find(|reason| reason.as_str() == name)
    }
}

/// One thing that must be refused until its access tokens have run out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Rises with each entry, but commits may be seen out of order.
    pub sequence: i64,
    /// What is refused.
    pub subject: Revoked,
    /// From then on the entry is not needed.
    pub expires_at: Timestamp,
}

/// A master secret of the key ring, from which the signing keys of each kind are derived.
#[derive(Debug, Clone)]
pub struct KeyRow {
    /// Prefix of the `kid`s derived from it.
    pub id: KeyId,
    /// 32 bytes.
    pub secret: Secret<Vec<u8>>,
    /// From then on it signs.
    pub active_from: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
}
