//! One-time links.

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;

use super::writer::Extent;
use super::{Sqlite, users};
use crate::clock::Timestamp;
use crate::id::UserId;
use crate::secret::PasswordHash;
use crate::store::columns::{LinkColumns, LinkWithLogin, all, bytes, text};
use crate::store::links::{Link, LinkHash, LinkKind, Links};
use crate::store::rows::{User, UserChange};
use crate::store::{SWEEP_BATCH, StoreError};

#[async_trait]
impl Links for Sqlite {
    async fn add_link(&self, link: &Link) -> Result<(), StoreError> {
        add(self, link.clone()).await
    }

    async fn link(&self, hash: &LinkHash, now: Timestamp) -> Result<Option<Link>, StoreError> {
        live(self, *hash, now).await
    }

    async fn links(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<(Link, Option<String>)>, StoreError> {
        open(self, now, limit).await
    }

    async fn withdraw_link(&self, hash: &LinkHash, now: Timestamp) -> Result<bool, StoreError> {
        withdraw(self, *hash, now).await
    }

    async fn sign_up_by_link(
        &self,
        hash: &LinkHash,
        kind: LinkKind,
        user: &User,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sign_up(self, *hash, kind, user.clone(), now).await
    }

    async fn reset_by_link(
        &self,
        hash: &LinkHash,
        password: &PasswordHash,
        now: Timestamp,
        revoked_until: Timestamp,
    ) -> Result<User, StoreError> {
        reset(self, *hash, password.clone(), now, revoked_until).await
    }
}

async fn add(store: &Sqlite, link: Link) -> Result<(), StoreError> {
    let added = store.writer.act(Extent::Single, move |connection| {
        Box::pin(async move {
            let sql = "INSERT INTO links \
                       (hash, kind, user_id, roles, permissions, created_at, expires_at) \
                       SELECT $1, $2, $3, $4, $5, $6, $7 \
                       WHERE $3 IS NULL OR EXISTS (SELECT 1 FROM users WHERE id = $3)";
            let done = sqlx::query(sql)
                .bind(link.hash.as_bytes().as_slice())
                .bind(link.kind.as_str())
                .bind(link.user.as_ref().map(|user| user.as_bytes().as_slice()))
                .bind(text(&link.roles))
                .bind(text(&link.permissions))
                .bind(link.created_at.millis())
                .bind(link.expires_at.millis())
                .execute(connection)
                .await?;
            if done.rows_affected() == 0 { Err(StoreError::NoSuchUser) } else { Ok(()) }
        })
    });
    added.await
}

async fn live(store: &Sqlite, hash: LinkHash, now: Timestamp) -> Result<Option<Link>, StoreError> {
    let sql = "SELECT hash, kind, user_id, roles, permissions, created_at, expires_at FROM links \
               WHERE hash = $1 AND expires_at > $2 \
               AND (kind <> 'setup' OR NOT EXISTS \
                       (SELECT 1 FROM users WHERE login_key > char(2)))";
    let row =
        sqlx::query_as::<_, LinkColumns>(sql).bind(hash.as_bytes().as_slice()).bind(now.millis());
    row.fetch_optional(&store.readers).await?.map(Link::try_from).transpose()
}

async fn open(
    store: &Sqlite,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<(Link, Option<String>)>, StoreError> {
    let sql = "SELECT hash, kind, user_id, links.roles, links.permissions, links.created_at, \
               expires_at, login FROM links LEFT JOIN users ON users.id = links.user_id \
               WHERE expires_at > $1 AND (kind <> 'setup' OR NOT EXISTS \
                       (SELECT 1 FROM users WHERE login_key > char(2))) \
               ORDER BY links.created_at DESC, hash LIMIT $2";
    let rows = sqlx::query_as::<_, LinkWithLogin>(sql).bind(now.millis()).bind(i64::from(limit));
    all(rows.fetch_all(&store.readers).await?)
}

async fn withdraw(store: &Sqlite, hash: LinkHash, now: Timestamp) -> Result<bool, StoreError> {
    let withdrawn = store.writer.act(Extent::Single, move |connection| {
        Box::pin(async move {
            let sql = "DELETE FROM links WHERE hash = $1 AND expires_at > $2";
            let done = sqlx::query(sql).bind(hash.as_bytes().as_slice()).bind(now.millis());
            Ok(done.execute(connection).await?.rows_affected() > 0)
        })
    });
    withdrawn.await
}

async fn sign_up(
    store: &Sqlite,
    hash: LinkHash,
    kind: LinkKind,
    user: User,
    now: Timestamp,
) -> Result<(), StoreError> {
    let made = store.writer.act(Extent::Several, move |connection| {
        Box::pin(async move {
            // There is one who writes: between the look and the insertion nobody comes in.
            let sql = "DELETE FROM links WHERE hash = $1 AND kind = $2 AND expires_at > $3 \
                       AND (kind <> 'setup' OR NOT EXISTS \
                       (SELECT 1 FROM users WHERE login_key > char(2)))";
            let spent = sqlx::query(sql)
                .bind(hash.as_bytes().as_slice())
                .bind(kind.as_str())
                .bind(now.millis())
                .execute(&mut *connection)
                .await?;
            if spent.rows_affected() == 0 {
                return Err(StoreError::NoSuchLink);
            }
            users::insert(connection, &user).await?;
            if kind == LinkKind::Setup {
                let sql = "DELETE FROM links WHERE kind = 'setup'";
                sqlx::query(sql).execute(connection).await?;
            }
            Ok(())
        })
    });
    made.await
}

async fn reset(
    store: &Sqlite,
    hash: LinkHash,
    password: PasswordHash,
    now: Timestamp,
    revoked_until: Timestamp,
) -> Result<User, StoreError> {
    let reset = store.writer.act(Extent::Several, move |connection| {
        Box::pin(async move {
            let sql = "DELETE FROM links WHERE hash = $1 AND kind = 'reset' AND expires_at > $2 \
                       RETURNING user_id";
            let owner: Option<Vec<u8>> = sqlx::query_scalar(sql)
                .bind(hash.as_bytes().as_slice())
                .bind(now.millis())
                .fetch_optional(&mut *connection)
                .await?;
            let owner = bytes(&owner.ok_or(StoreError::NoSuchLink)?, "a user's id")?;
            let change = UserChange { password: Some(password), ..UserChange::default() };
            let id = UserId::from_bytes(owner);
            users::apply(connection, id, &change, None, now, revoked_until).await
        })
    });
    let user = reset.await?;
    store.watch.wake();
    Ok(user)
}

/// Spends the reset links of an account within an act.
pub(super) async fn drop_of_user(
    connection: &mut SqliteConnection,
    user: UserId,
) -> Result<(), StoreError> {
    let sql = "DELETE FROM links WHERE user_id = $1";
    sqlx::query(sql).bind(user.as_bytes().as_slice()).execute(connection).await?;
    Ok(())
}

/// Removes a batch of what has expired at `now`; whether there may be more.
pub(super) async fn sweep(store: &Sqlite, now: Timestamp) -> Result<bool, StoreError> {
    let swept = store.writer.act(Extent::Single, move |connection| {
        Box::pin(async move {
            let sql = "DELETE FROM links WHERE hash IN \
                       (SELECT hash FROM links WHERE expires_at <= $1 LIMIT $2)";
            let done = sqlx::query(sql).bind(now.millis()).bind(i64::from(SWEEP_BATCH));
            Ok(done.execute(connection).await?.rows_affected() >= u64::from(SWEEP_BATCH))
        })
    });
    swept.await
}
