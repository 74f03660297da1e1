//! What must survive a restart. The trait speaks in whole acts, so that no backend can have a race
//! between two halves of one; `contract` holds every backend to the same behaviour.

pub mod apps;
pub mod attempts;
pub mod audit;
pub mod import;
pub mod links;
pub mod postgres;
pub mod rows;
pub mod seal;
pub mod sqlite;
pub mod upkeep;

mod change;
mod columns;
pub mod copy;
mod fault;
mod unwritten;

#[cfg(test)]
mod contract;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::config::{self, StoreUrl};
use crate::id::{SessionId, TokenId, UserId};
use apps::Apps;
use attempts::Attempts;
use audit::Audit;
use import::Import;
use links::Links;
use rows::{EndReason, KeyRow, RefreshRecord, Revocation, Session, User, UserChange};
use seal::Seal;
use upkeep::Upkeep;

/// How many rows one call of [`Store::sweep`] removes of each kind: other acts wait that long.
const SWEEP_BATCH: u32 = 500;

/// Opens the store that the config names, brings its schema up to date and its keys under the
/// present seal. It writes on the runtime that this is called on.
pub async fn open(config: &config::Store) -> Result<Arc<dyn Store>, StoreError> {
    let waits = Waits { lock: config.patience, turn: config.patience };
    let seal = Seal::of(config);
    let sealing = !seal.is_none();
    let store: Arc<dyn Store> = match &config.url {
        StoreUrl::Sqlite(path) => Arc::new(sqlite::Sqlite::open(path, seal, waits).await?),
        StoreUrl::Postgres(url) => {
            let reach = postgres::Reach {
                url,
                direct_url: config.direct_url.as_ref(),
                connections: config.connections,
            };
            Arc::new(postgres::Postgres::open(&reach, seal, waits).await?)
        }
    };
    if sealing {
        let sealed = store.reseal_keys().await?;
        if sealed > 0 {
            tracing::info!(keys = sealed, "signing keys were sealed with store.seal_key");
        }
    }
    Ok(store)
}

/// How long an act may wait before it is `Unavailable`.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// For what another process holds: the file, a row. Default 5 s.
    pub lock: Duration,
    /// For its turn behind the acts of this process. Default 5 s.
    pub turn: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self { lock: Duration::from_secs(5), turn: Duration::from_secs(5) }
    }
}

/// Why an act was not done. In each case nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Locked, full, gone or too slow: try again later. Should the connection break in the midst
    /// of a commit, nobody can say whether it was done; every act may be repeated.
    #[error("the store is unavailable: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A user of that name exists.
    #[error("a user of that name exists")]
    NameTaken,
    /// There is no such user.
    #[error("there is no such user")]
    NoSuchUser,
    /// The one-time link was used, is over, or never was.
    #[error("there is no such link")]
    NoSuchLink,
    /// An app of that id exists.
    #[error("an app of that id exists")]
    AppTaken,
    /// There is no such app, or it may not mint.
    #[error("there is no such app")]
    NoSuchApp,
    /// The app has no secret of that id.
    #[error("the app has no such secret")]
    NoSuchSecret,
    /// Beyond [`apps::APP_SECRETS_MAX`].
    #[error("an app has at most {} secrets; remove one first", apps::APP_SECRETS_MAX)]
    TooManySecrets,
    /// Beyond [`apps::APPS_MAX`].
    #[error("there are at most {} apps", apps::APPS_MAX)]
    TooManyApps,
    /// What is kept cannot be read: made by a newer version, or damaged.
    #[error("the store holds something that this version cannot read: {0}")]
    Unreadable(String),
    /// It cannot be done here, however often it is tried; what to do instead.
    #[error("the store does not do that: {0}")]
    Refused(String),
}

/// What [`Store::advance`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advance {
    /// The session is now at the new generation.
    Done,
    /// It was not at the expected generation any more, or has ended: read again and decide anew.
    Lost,
}

/// A rotation, to be made only if the session is still at `from`.
#[derive(Debug, Clone)]
pub struct Step {
    /// The generation that the session must be at.
    pub from: u64,
    /// The generation that it will be at.
    pub to: u64,
    /// The refresh token of the new generation.
    pub next: RefreshRecord,
    /// The moment of the rotation.
    pub at: Timestamp,
    /// The new idle end.
    pub idle_expires_at: Timestamp,
}

/// Users, sessions, revocations and keys. Each act is atomic and, once it has returned `Ok`,
/// durable: a kill at any moment does not lose it.
#[async_trait]
pub trait Store: Links + Audit + Import + Attempts + Upkeep + Apps + Send + Sync + 'static {
    // Accounts.

    /// Adds an account. `NameTaken` if its `login_key` exists.
    async fn add_user(&self, user: &User) -> Result<(), StoreError>;
    /// The account with this `login_key`.
    async fn user_by_login(&self, login_key: &str) -> Result<Option<User>, StoreError>;
    /// The account with this id.
    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError>;
    /// All accounts in the order of their `login_key`, at most `limit`, after `after`; without the
    /// users of apps.
    async fn users(&self, after: Option<&str>, limit: u32) -> Result<Vec<User>, StoreError>;
    /// Whether there is any account that is not only the user of an app.
    async fn has_users(&self) -> Result<bool, StoreError>;
    /// Changes an account. Disabling it, or giving it a password that is no rehash, ends its sessions
    /// (but `keep`) and spends its reset links in the same act, and writes a revocation that holds until
    /// `revoked_until`: of each ended session, and on disabling, and on a change of roles or
    /// permissions, of the user as of `now` too: their tokens say what is no longer so.
    /// Returns the account as it then is; unchanged if `only_if_password` did not fit.
    async fn change_user(
        &self,
        id: UserId,
        change: &UserChange,
        keep: Option<SessionId>,
        now: Timestamp,
        revoked_until: Timestamp,
    ) -> Result<User, StoreError>;
    /// Removes an account with its sessions, and revokes what it holds until `revoked_until`.
    async fn remove_user(
        &self,
        id: UserId,
        now: Timestamp,
        revoked_until: Timestamp,
    ) -> Result<(), StoreError>;

    // Sessions.

    /// Adds a session. `NoSuchUser` if its user is gone or disabled at that moment.
    async fn begin_session(&self, session: &Session) -> Result<(), StoreError>;
    /// The session, ended or not, with its user (`None` when there is no such row).
    async fn session(&self, id: SessionId) -> Result<Option<(Session, User)>, StoreError>;
    /// Compare-and-swap of the generation: done only if the session has not ended and is at
    /// `step.from`. Marks the generation `step.from` as seen.
    async fn advance(&self, id: SessionId, step: &Step) -> Result<Advance, StoreError>;
    /// Moves the idle end of a session that has not ended, without rotation.
    async fn touch(&self, id: SessionId, idle_expires_at: Timestamp) -> Result<(), StoreError>;
    /// Marks generations as seen. Never lowers, never fails on unknown sessions.
    async fn seen(&self, sights: &[(SessionId, u64)]) -> Result<(), StoreError>;
    /// Ends a session and writes its revocation in one act. `false` if it had ended or is unknown.
    async fn end_session(
        &self,
        id: SessionId,
        reason: EndReason,
        now: Timestamp,
        revoked_until: Timestamp,
    ) -> Result<bool, StoreError>;
    /// Ends all sessions of a user but `keep`. Returns those ended.
    async fn end_sessions_of(
        &self,
        user: UserId,
        keep: Option<SessionId>,
        reason: EndReason,
        now: Timestamp,
        revoked_until: Timestamp,
    ) -> Result<Vec<SessionId>, StoreError>;
    /// Sessions that have neither ended nor expired, newest first, of one user or of all.
    async fn sessions(
        &self,
        user: Option<UserId>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<(Session, String)>, StoreError>;

    // Revocations.

    /// Refuses a single token.
    async fn revoke_token(&self, token: TokenId, until: Timestamp) -> Result<(), StoreError>;
    /// The entries with a sequence above `after` that have not expired, in order.
    async fn revocations(&self, after: i64, now: Timestamp) -> Result<Vec<Revocation>, StoreError>;
    /// Waits until a revocation or key may have been written, by this process or another, or
    /// `at_most` has passed. What happened since the last call returns at once. For one waiter.
    async fn changed(&self, at_most: Duration) -> Result<(), StoreError>;

    // Keys.

    /// The ring, oldest first.
    async fn keys(&self) -> Result<Vec<KeyRow>, StoreError>;
    /// Adds `key` only if the newest key is still `newest` (or there is none, for `None`). `false`
    /// if another was quicker.
    async fn add_key(
        &self,
        key: &KeyRow,
        newest: Option<&crate::id::KeyId>,
    ) -> Result<bool, StoreError>;
    /// Removes keys made before `before`, but never the newest.
    async fn drop_keys(&self, before: Timestamp) -> Result<(), StoreError>;

    // Housekeeping.

    /// Removes what nobody needs any more: sessions that ended or expired before `before`,
    /// revocations, links and minted tokens that have expired at `now`, users of removed apps. In
    /// small batches; returns whether there is more.
    async fn sweep(&self, now: Timestamp, before: Timestamp) -> Result<bool, StoreError>;
    /// Whether it answers.
    async fn ping(&self) -> Result<(), StoreError>;
}
