//! One-time links.

use async_trait::async_trait;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::{Postgres, users};
use crate::clock::Timestamp;
use crate::id::UserId;
use crate::secret::PasswordHash;
use crate::store::columns::{LinkColumns, LinkWithLogin, all, bytes, text};
use crate::store::links::{Link, LinkHash, LinkKind, Links};
use crate::store::rows::{User, UserChange};
use crate::store::{SWEEP_BATCH, StoreError};

#[async_trait]
impl Links for Postgres {
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

async fn add(store: &Postgres, link: Link) -> Result<(), StoreError> {
    let added = store.act(move |connection| {
        Box::pin(async move {
            // FOR SHARE: who is removing the user right now goes first, or takes the link along.
            let of_user = "INSERT INTO links \
                (hash, kind, user_id, roles, permissions, created_at, expires_at) \
                SELECT $1, $2, id, $4, $5, $6, $7 FROM users WHERE id = $3 FOR SHARE";
            let of_nobody = "INSERT INTO links \
                (hash, kind, user_id, roles, permissions, created_at, expires_at) \
                VALUES ($1, $2, $3, $4, $5, $6, $7)";
            let done = sqlx::query(if link.user.is_some() { of_user } else { of_nobody })
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

async fn live(
    store: &Postgres,
    hash: LinkHash,
    now: Timestamp,
) -> Result<Option<Link>, StoreError> {
    let found = store.act(move |connection| {
        Box::pin(async move {
            let sql = "SELECT hash, kind, user_id, roles, permissions, created_at, expires_at \
                       FROM links WHERE hash = $1 AND expires_at > $2 \
                       AND (kind <> 'setup' OR NOT EXISTS \
                       (SELECT 1 FROM users WHERE login_key > chr(2)))";
            let row = sqlx::query_as::<_, LinkColumns>(sql)
                .bind(hash.as_bytes().as_slice())
                .bind(now.millis());
            row.fetch_optional(connection).await?.map(Link::try_from).transpose()
        })
    });
    found.await
}

async fn open(
    store: &Postgres,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<(Link, Option<String>)>, StoreError> {
    let found = store.act(move |connection| {
        Box::pin(async move {
            let sql = "SELECT hash, kind, user_id, links.roles, links.permissions, links.created_at, \
                       expires_at, login FROM links LEFT JOIN users ON users.id = links.user_id \
                       WHERE expires_at > $1 AND (kind <> 'setup' OR NOT EXISTS \
                               (SELECT 1 FROM users WHERE login_key > chr(2))) \
                       ORDER BY links.created_at DESC, hash LIMIT $2";
            let rows =
                sqlx::query_as::<_, LinkWithLogin>(sql).bind(now.millis()).bind(i64::from(limit));
            all(rows.fetch_all(connection).await?)
        })
    });
    found.await
}

async fn withdraw(store: &Postgres, hash: LinkHash, now: Timestamp) -> Result<bool, StoreError> {
    let withdrawn = store.act(move |connection| {
        Box::pin(async move {
            let sql = "DELETE FROM links WHERE hash = $1 AND expires_at > $2";
            let done = sqlx::query(sql).bind(hash.as_bytes().as_slice()).bind(now.millis());
            Ok(done.execute(connection).await?.rows_affected() > 0)
        })
    });
    withdrawn.await
}

async fn sign_up(
    store: &Postgres,
    hash: LinkHash,
    kind: LinkKind,
    user: User,
    now: Timestamp,
) -> Result<(), StoreError> {
    let made = store.act(move |connection| {
        Box::pin(async move {
            let mut transaction = connection.begin().await?;
            if kind == LinkKind::Setup {
                // Whoever adds an account right now goes first, and is seen by the next statement.
                let sql = "LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE";
                sqlx::query(sql).execute(&mut *transaction).await?;
            }
            let sql = "DELETE FROM links WHERE hash = $1 AND kind = $2 AND expires_at > $3 \
                       AND (kind <> 'setup' OR NOT EXISTS \
                       (SELECT 1 FROM users WHERE login_key > chr(2)))";
            let spent = sqlx::query(sql)
                .bind(hash.as_bytes().as_slice())
                .bind(kind.as_str())
                .bind(now.millis())
                .execute(&mut *transaction)
                .await?;
            if spent.rows_affected() == 0 {
                return Err(StoreError::NoSuchLink);
            }
            users::insert(&mut transaction, &user).await?;
            if kind == LinkKind::Setup {
                let sql = "DELETE FROM links WHERE kind = 'setup'";
                sqlx::query(sql).execute(&mut *transaction).await?;
            }
            Ok(transaction.commit().await?)
        })
    });
    made.await
}

async fn reset(
    store: &Postgres,
    hash: LinkHash,
    password: PasswordHash,
    now: Timestamp,
    revoked_until: Timestamp,
) -> Result<User, StoreError> {
    let reset = store.act(move |connection| {
        Box::pin(async move {
            let mut transaction = connection.begin().await?;
            // The account's row is locked before its links are, as by every other change of it: in
            // another order, two resets of one account would wait for each other.
            let sql = "SELECT users.id FROM users JOIN links ON links.user_id = users.id \
                       WHERE links.hash = $1 FOR UPDATE OF users";
            sqlx::query(sql)
                .bind(hash.as_bytes().as_slice())
                .fetch_optional(&mut *transaction)
                .await?;
            let sql = "DELETE FROM links WHERE hash = $1 AND kind = 'reset' AND expires_at > $2 \
                       RETURNING user_id";
            let owner: Option<Vec<u8>> = sqlx::query_scalar(sql)
                .bind(hash.as_bytes().as_slice())
                .bind(now.millis())
                .fetch_optional(&mut *transaction)
                .await?;
            let owner = bytes(&owner.ok_or(StoreError::NoSuchLink)?, "a user's id")?;
            let change = UserChange { password: Some(password), ..UserChange::default() };
            let id = UserId::from_bytes(owner);
            let user =
                users::apply(&mut transaction, id, &change, None, now, revoked_until).await?;
            transaction.commit().await?;
            Ok(user)
        })
    });
    reset.await
}

/// Spends the reset links of an account within a transaction.
pub(super) async fn drop_of_user(
    connection: &mut PgConnection,
    user: UserId,
) -> Result<(), StoreError> {
    let sql = "DELETE FROM links WHERE user_id = $1";
    sqlx::query(sql).bind(user.as_bytes().as_slice()).execute(connection).await?;
    Ok(())
}

/// Removes a batch of what has expired at `now`; whether there may be more.
pub(super) async fn sweep(store: &Postgres, now: Timestamp) -> Result<bool, StoreError> {
    let swept = store.act(move |connection| {
        Box::pin(async move {
            let sql = "DELETE FROM links WHERE hash IN (SELECT hash FROM links \
                       WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)";
            let done = sqlx::query(sql).bind(now.millis()).bind(i64::from(SWEEP_BATCH));
            Ok(done.execute(connection).await?.rows_affected() >= u64::from(SWEEP_BATCH))
        })
    });
    swept.await
}
