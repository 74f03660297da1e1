//! The store on a Postgres server, for many replicas. Each rule that two replicas could race for
//! stands in one statement, or behind the lock of the user's row.

mod apps;
mod attempts;
mod audit;
mod import;
mod keys;
mod links;
mod listen;
pub(super) mod open;
mod pooler;
mod revocations;
mod sessions;
mod shelf;
mod users;
mod way;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use sqlx::postgres::PgConnection;

use super::attempts::{Attempts, Charged, Toll};
use super::fault::Busy;
use super::rows::{EndReason, KeyRow, Revocation, Session, User, UserChange};
use super::seal::Seal;
use super::unwritten::Unwritten;
use super::upkeep::Upkeep;
use super::{Advance, Step, Store, StoreError, Waits};
use crate::clock::Timestamp;
use crate::id::{KeyId, Revoked, SessionId, TokenId, UserId};
use crate::secret::Secret;
use listen::Ear;
use way::Way;

/// How much longer than the server itself a client waits before it hangs up.
const GRACE: Duration = Duration::from_secs(1);

/// The store on a server.
pub struct Postgres {
    way: Arc<Way>,
    ear: Ear,
    patience: Duration,
    seal: Seal,
    swept: Mutex<Round>,
    unwritten: Unwritten,
}

/// What a sweep still has to do until it comes to its end.
#[derive(Clone)]
struct Round {
    /// The session behind which it goes on; `None`: all were looked at.
    sessions: Option<Vec<u8>>,
    /// Whether there may be more of everything else.
    rest: bool,
}

impl Default for Round {
    fn default() -> Self {
        // No id is before the empty one.
        Self { sessions: Some(Vec::new()), rest: true }
    }
}

/// How the server is reached, and how much of it one replica takes.
#[derive(Debug)]
pub struct Reach<'a> {
    /// Where it is.
    pub url: &'a Secret<String>,
    /// Where it is without a pooler; `None`: there is no pooler.
    pub direct_url: Option<&'a Secret<String>>,
    /// Connections at most.
    pub connections: u32,
}

impl<'a> Reach<'a> {
    /// Straight there, with as many connections as the config's default has.
    pub const fn to(url: &'a Secret<String>) -> Self {
        Self { url, direct_url: None, connections: 16 }
    }
}

impl Postgres {
    /// Connects and brings the schema up to date. Must be called on the runtime that shall do the
    /// talking, which outlives the store.
    ///
    /// `Unavailable`: the server cannot be reached or refuses us. `Refused`: it takes no writes.
    /// `Unreadable`: its schema was made by a newer version.
    pub async fn open(reach: &Reach<'_>, seal: Seal, waits: Waits) -> Result<Self, StoreError> {
        let hosts = open::hosts(reach.url.expose())?;
        let direct = reach.direct_url.map(|url| open::hosts(url.expose())).transpose()?;
        let direct = direct.unwrap_or_default();
        let host = open::migrate(if direct.is_empty() { &hosts } else { &direct }, waits).await?;
        let way = Way::new(hosts, direct, host, reach.connections, waits);
        let ear = Ear::start(way.direct().clone()).await;
        let patience = waits.lock.saturating_add(GRACE);
        Ok(Self {
            way,
            ear,
            patience,
            seal,
            swept: Mutex::default(),
            unwritten: Unwritten::default(),
        })
    }

    fn round(&self) -> Round {
        self.swept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Removes a batch of what is over, but for sessions; whether there may be more.
    async fn sweep_rest(&self, now: Timestamp) -> Result<bool, StoreError> {
        let revocations = revocations::sweep(self, now).await?;
        let links = links::sweep(self, now).await?;
        let attempts = self.sweep_attempts(now).await?;
        let minted = apps::sweep(self, now).await?;
        Ok(revocations || links || attempts || minted)
    }

    /// Runs `act` on a connection of the pool, in a task of its own: an act that has begun runs to
    /// its end, though its caller may have gone.
    async fn act<T, F>(&self, act: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, StoreError>>
            + Send
            + 'static,
    {
        let (way, patience) = (Arc::clone(&self.way), self.patience);
        let task = tokio::spawn(async move {
            let (mut taken, _place) = way.take().await?;
            let connection = &mut taken.connection;
            let done = async {
                match way.pooler() {
                    None => act(connection).await,
                    Some(pooler) => pooler.within(connection, act).await,
                }
            };
            // The server gives up sooner; this is for one that does not answer at all.
            let result = tokio::time::timeout(patience, done).await;
            let result = result.unwrap_or_else(|_| Err(StoreError::unavailable(Busy(patience))));
            match &result {
                Err(error) if error.is_of_the_way() => way.lost(),
                // Not in the caller's time: it has its answer.
                Err(_) => drop(tokio::spawn(async move { way.done(taken, true).await })),
                Ok(_) => way.done(taken, false).await,
            }
            result
        });
        let result = task.await.map_err(StoreError::unavailable)?;
        if let Err(error) = &result
            && error.is_of_the_disk()
        {
            self.unwritten.note(error.to_string().into());
        }
        result
    }
}

#[async_trait]
impl Attempts for Postgres {
    fn attempts_are_shared(&self) -> bool {
        true
    }

    async fn charge(&self, tolls: &[Toll], now: Timestamp) -> Result<Charged, StoreError> {
        attempts::charge(self, tolls.to_vec(), now).await
    }

    async fn refund(&self, tolls: &[Toll]) -> Result<(), StoreError> {
        attempts::refund(self, tolls.to_vec()).await
    }

    async fn sweep_attempts(&self, now: Timestamp) -> Result<bool, StoreError> {
        attempts::sweep(self, now).await
    }
}

#[async_trait]
impl Upkeep for Postgres {
    async fn reseal_keys(&self) -> Result<usize, StoreError> {
        keys::reseal(self).await
    }

    async fn shared_clock(&self) -> Result<Option<Timestamp>, StoreError> {
        let asked = self.act(|connection| {
            Box::pin(async move {
                let sql = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
                let millis = sqlx::query_scalar(sql).fetch_one(connection).await?;
                Ok(Some(Timestamp::from_millis(millis)))
            })
        });
        asked.await
    }

    fn longest_act(&self) -> Duration {
        // A client that hangs up leaves its last statement to the server, which gives that up in time.
        self.patience.saturating_mul(2).saturating_sub(GRACE)
    }

    fn epoch(&self) -> u64 {
        self.way.reopened().saturating_add(self.ear.reopened())
    }

    async fn revoke_again(
        &self,
        entries: &[(Revoked, Timestamp)],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        revocations::again(self, entries.to_vec(), now).await
    }

    async fn backup(&self, _to: &Path) -> Result<(), StoreError> {
        Err(StoreError::Refused(
            "Postgres is backed up by its own tools: pg_dump for a copy, pg_basebackup with an \
             archive of its log for any moment"
                .to_owned(),
        ))
    }

    async fn put_away(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl Store for Postgres {
    async fn add_user(&self, user: &User) -> Result<(), StoreError> {
        users::add(self, user.clone()).await
    }

    async fn user_by_login(&self, login_key: &str) -> Result<Option<User>, StoreError> {
        users::by_login(self, login_key.to_owned()).await
    }

    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        users::by_id(self, id).await
    }

    async fn users(&self, after: Option<&str>, limit: u32) -> Result<Vec<User>, StoreError> {
        users::page(self, after.map(str::to_owned), limit).await
    }

    async fn has_users(&self) -> Result<bool, StoreError> {
        users::any(self).await
    }

    async fn change_user(
        &self,
        id: UserId,
        change: &UserChange,
        keep: Option<SessionId>,
        now: Timestamp,
        revoked_until: Timestamp,
    ) -> Result<User, StoreError> {
        users::change(self, id, change.clone(), keep, now, revoked_until).await
    }

    async fn remove_user(
        &self,
        id: UserId,
        now: Timestamp,
        revoked_until: Timestamp,
    ) -> Result<(), StoreError> {
        users::remove(self, id, now, revoked_until).await
    }

    async fn begin_session(&self, session: &Session) -> Result<(), StoreError> {
        sessions::begin(self, session.clone()).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<(Session, User)>, StoreError> {
        sessions::by_id(self, id).await
    }

    async fn advance(&self, id: SessionId, step: &Step) -> Result<Advance, StoreError> {
        sessions::advance(self, id, step.clone()).await
    }

    async fn touch(&self, id: SessionId, idle_expires_at: Timestamp) -> Result<(), StoreError> {
        sessions::touch(self, id, idle_expires_at).await
    }

    async fn seen(&self, sights: &[(SessionId, u64)]) -> Result<(), StoreError> {
        sessions::seen(self, sights).await
    }

    async fn end_session(
        &self,
        id: SessionId,
        reason: EndReason,
        now: Timestamp,
        revoked_until: Timestamp,
    ) -> Result<bool, StoreError> {
        sessions::end(self, id, reason, now, revoked_until).await
    }

    async fn end_sessions_of(
        &self,
        user: UserId,
        keep: Option<SessionId>,
        reason: EndReason,
        now: Timestamp,
        revoked_until: Timestamp,
    ) -> Result<Vec<SessionId>, StoreError> {
        sessions::end_of_user(self, user, keep, reason, now, revoked_until).await
    }

    async fn sessions(
        &self,
        user: Option<UserId>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<(Session, String)>, StoreError> {
        sessions::live(self, user, now, limit).await
    }

    async fn revoke_token(&self, token: TokenId, until: Timestamp) -> Result<(), StoreError> {
        revocations::of_token(self, token, until).await
    }

    async fn revocations(&self, after: i64, now: Timestamp) -> Result<Vec<Revocation>, StoreError> {
        revocations::after(self, after, now).await
    }

    async fn changed(&self, at_most: Duration) -> Result<(), StoreError> {
        self.ear.changed(at_most).await
    }

    async fn keys(&self) -> Result<Vec<KeyRow>, StoreError> {
        keys::ring(self).await
    }

    async fn add_key(&self, key: &KeyRow, newest: Option<&KeyId>) -> Result<bool, StoreError> {
        keys::add(self, key.clone(), newest.cloned()).await
    }

    async fn drop_keys(&self, before: Timestamp) -> Result<(), StoreError> {
        keys::drop_made_before(self, before).await
    }

    async fn sweep(&self, now: Timestamp, before: Timestamp) -> Result<bool, StoreError> {
        let Round { sessions, rest } = self.round();
        let sessions = match sessions {
            Some(from) => sessions::sweep(self, from, before).await?,
            None => None,
        };
        let rest = rest && self.sweep_rest(now).await?;
        let more = sessions.is_some() || rest;
        *self.swept.lock().unwrap_or_else(PoisonError::into_inner) =
            if more { Round { sessions, rest } } else { Round::default() };
        Ok(more)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.unwritten.check()?;
        let alive = self.act(|connection| {
            Box::pin(async move {
                sqlx::query("SELECT 1 FROM users LIMIT 1").fetch_optional(connection).await?;
                Ok(())
            })
        });
        alive.await
    }
}
