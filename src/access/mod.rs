//! Who may do what. Pure: no socket, no clock, no HTTP message.

mod csrf;
mod permit;

pub use csrf::{CsrfFacts, guard as csrf_guard, is_foreign};
pub use permit::{Denied, Permit};

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::id::{AppId, SessionId, TokenId, UserId};

/// Who a request speaks for.
#[derive(Debug, Clone)]
pub enum Caller {
    /// Nobody that we know.
    Anonymous,
    /// A user's session.
    Session(Arc<Identity>),
    /// A machine (app) speaking for a user of its namespace.
    Machine(Arc<Identity>),
}

impl Caller {
    /// Who it is, if it is anybody.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        match self {
            Self::Anonymous => None,
            Self::Session(identity) | Self::Machine(identity) => Some(identity),
        }
    }
}

/// What a verified token says of its bearer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The account, as upstreams are told it: never what an app calls its user.
    pub subject: String,
    /// The account as our own id.
    pub user: Option<UserId>,
    /// The app that minted the token. Its users are no accounts of our own.
    pub app: Option<AppId>,
    /// Login name; for the user of an app, by `token.minted.names`.
    pub login: String,
    /// Display name.
    pub name: Option<String>,
    /// Email.
    pub email: Option<String>,
    /// Roles, sorted.
    pub roles: Vec<String>,
    /// Permissions, sorted.
    pub permissions: Vec<String>,
    /// The session; minted tokens have none.
    pub session: Option<SessionId>,
    /// The generation of the session's refresh token that this token belongs to.
    pub generation: u64,
    /// This very token.
    pub token: TokenId,
    /// When it was made, to the millisecond: cut-offs of a whole user compare it.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When the user last proved who they are; the epoch if that is not known, as of an app's user.
    pub auth_time: Timestamp,
}
