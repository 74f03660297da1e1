//! The store in one SQLite file: WAL, one connection that writes, a few that read. Several
//! processes may hold the file open (the gateway and its command line).

mod apps;
mod attempts;
mod audit;
mod backup;
mod home;
mod import;
mod keys;
mod links;
pub(super) mod open;
mod revocations;
mod sessions;
mod users;
mod watch;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqlitePool};

use super::attempts::{Attempts, Charged, Toll};
use super::rows::{EndReason, KeyRow, Revocation, Session, User, UserChange};
use super::seal::Seal;
use super::upkeep::Upkeep;
use super::{Advance, Step, Store, StoreError, Waits};
use crate::clock::Timestamp;
use crate::id::{KeyId, Revoked, SessionId, TokenId, UserId};
use home::Home;
use watch::Watch;
use writer::Writer;

/// The store in a file.
pub struct Sqlite {
    readers: SqlitePool,
    writer: Writer,
    watch: Watch,
    home: Home,
    options: SqliteConnectOptions,
    seal: Seal,
}

impl Sqlite {
    /// Opens the file and brings its schema up to date; makes both if they are missing. Must be
    /// called on the runtime that shall do the writing, which outlives the store.
    ///
    /// `Unavailable`: the file or its folder cannot be made, or is locked. `Unreadable`: it was
    /// made by a newer version, is damaged, or is something else.
    pub async fn open(path: &Path, seal: Seal, waits: Waits) -> Result<Self, StoreError> {
        open::make_file(path)?;
        let options = open::options(path, waits.lock);
        let crashed = open::was_left_open(path);
        let mut connection = open::first(&options, waits.lock).await?;
        if crashed {
            open::inspect(&mut connection).await?;
        }
        let watch = Watch::start(options.clone()).await?;
        let readers = open::readers(options.clone(), waits.turn);
        let home = Home::of(path)?;
        let writer = Writer::start(connection, options.clone(), home.clone(), waits.turn);
        Ok(Self { readers, writer, watch, home, options, seal })
    }
}

impl Sqlite {
    /// Makes the file and its schema as [`Self::open`] does, and lets go of it.
    pub(super) async fn make_ready(path: &Path, waits: Waits) -> Result<(), StoreError> {
        open::make_file(path)?;
        let connection = open::first(&open::options(path, waits.lock), waits.lock).await?;
        Ok(connection.close().await?)
    }
}

#[async_trait]
impl Attempts for Sqlite {
    fn attempts_are_shared(&self) -> bool {
        false
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
impl Upkeep for Sqlite {
    async fn reseal_keys(&self) -> Result<usize, StoreError> {
        keys::reseal(self).await
    }

    async fn shared_clock(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    fn longest_act(&self) -> Duration {
        // One writes at a time, and what it numbers is seen with its number.
        Duration::ZERO
    }

    fn epoch(&self) -> u64 {
        0
    }

    async fn revoke_again(
        &self,
        entries: &[(Revoked, Timestamp)],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        revocations::again(self, entries.to_vec(), now).await
    }

    async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        backup::write(self, to).await
    }

    async fn put_away(&self) -> Result<(), StoreError> {
        self.home.check()?;
        let mut connection = self.options.connect().await?;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
        Ok(connection.close().await?)
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn add_user(&self, user: &User) -> Result<(), StoreError> {
        users::add(self, user.clone()).await
    }

    async fn user_by_login(&self, login_key: &str) -> Result<Option<User>, StoreError> {
        users::by_login(self, login_key).await
    }

    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        users::by_id(self, id).await
    }

    async fn users(&self, after: Option<&str>, limit: u32) -> Result<Vec<User>, StoreError> {
        users::page(self, after, limit).await
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
        sessions::seen(self, sights.to_vec()).await
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
        self.watch.changed(at_most).await
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
        let sessions = sessions::sweep(self, before).await?;
        let revocations = revocations::sweep(self, now).await?;
        let links = links::sweep(self, now).await?;
        let attempts = self.sweep_attempts(now).await?;
        let minted = apps::sweep(self, now).await?;
        Ok(sessions || revocations || links || attempts || minted)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.home.check()?;
        self.writer.check()?;
        sqlx::query("SELECT 1 FROM users LIMIT 1").fetch_optional(&self.readers).await?;
        Ok(())
    }
}
