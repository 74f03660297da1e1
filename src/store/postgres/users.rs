//! Accounts. What changes or removes one takes the lock of its row first, and a login shares it:
//! so a session is begun either before, and is ended, or after, and is refused.

use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::{Postgres, links, revocations, sessions};
use crate::clock::Timestamp;
use crate::id::{Revoked, SessionId, UserId};
use crate::store::StoreError;
use crate::store::apps::BEHIND_APPS;
use crate::store::columns::{UserColumns, all, text, user_columns};
use crate::store::rows::{EndReason, User, UserChange};

pub(super) async fn add(store: &Postgres, user: User) -> Result<(), StoreError> {
    let added =
        store.act(move |connection| Box::pin(async move { insert(connection, &user).await }));
    added.await
}

/// Adds an account within an act.
pub(super) async fn insert(connection: &mut PgConnection, user: &User) -> Result<(), StoreError> {
    let sql = "INSERT INTO users (id, login, login_key, name, email, roles, permissions, \
               password, disabled, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
               ON CONFLICT (login_key) DO NOTHING";
    let done = sqlx::query(sql)
        .bind(user.id.as_bytes().as_slice())
        .bind(&user.login)
        .bind(&user.login_key)
        .bind(user.name.as_deref())
        .bind(user.email.as_deref())
        .bind(text(&user.roles))
        .bind(text(&user.permissions))
        .bind(user.password.as_ref().map(|hash| hash.expose()))
        .bind(user.disabled)
        .bind(user.created_at.millis())
        .execute(connection)
        .await?;
    if done.rows_affected() == 0 { Err(StoreError::NameTaken) } else { Ok(()) }
}

pub(super) async fn by_login(
    store: &Postgres,
    login_key: String,
) -> Result<Option<User>, StoreError> {
    let found = store.act(move |connection| {
        Box::pin(async move {
            let sql = concat!("SELECT ", user_columns!(), " FROM users WHERE login_key = $1");
            let row = sqlx::query_as::<_, UserColumns>(sql).bind(login_key);
            row.fetch_optional(connection).await?.map(User::try_from).transpose()
        })
    });
    found.await
}

pub(super) async fn by_id(store: &Postgres, id: UserId) -> Result<Option<User>, StoreError> {
    let found = store.act(move |connection| {
        Box::pin(async move {
            let sql = concat!("SELECT ", user_columns!(), " FROM users WHERE id = $1");
            let row = sqlx::query_as::<_, UserColumns>(sql).bind(id.as_bytes().as_slice());
            row.fetch_optional(connection).await?.map(User::try_from).transpose()
        })
    });
    found.await
}

pub(super) async fn page(
    store: &Postgres,
    after: Option<String>,
    limit: u32,
) -> Result<Vec<User>, StoreError> {
    let found = store.act(move |connection| {
        Box::pin(async move {
            let sql = concat!(
                "SELECT ",
                user_columns!(),
                " FROM users WHERE login_key > $1 ORDER BY login_key LIMIT $2"
            );
            let after = after.unwrap_or_else(|| BEHIND_APPS.to_owned());
            let rows = sqlx::query_as::<_, UserColumns>(sql).bind(after).bind(i64::from(limit));
            all(rows.fetch_all(connection).await?)
        })
    });
    found.await
}

pub(super) async fn any(store: &Postgres) -> Result<bool, StoreError> {
    let found = store.act(move |connection| {
        Box::pin(async move {
            let sql = "SELECT EXISTS (SELECT 1 FROM users WHERE login_key > $1)";
            Ok(sqlx::query_scalar(sql).bind(BEHIND_APPS).fetch_one(connection).await?)
        })
    });
    found.await
}

pub(super) async fn change(
    store: &Postgres,
    id: UserId,
    change: UserChange,
    keep: Option<SessionId>,
    now: Timestamp,
    revoked_until: Timestamp,
) -> Result<User, StoreError> {
    let changed = store.act(move |connection| {
        Box::pin(async move {
            let mut transaction = connection.begin().await?;
            let user = apply(&mut transaction, id, &change, keep, now, revoked_until).await?;
            transaction.commit().await?;
            Ok(user)
        })
    });
    changed.await
}

/// Changes an account within a transaction.
pub(super) async fn apply(
    connection: &mut PgConnection,
    id: UserId,
    change: &UserChange,
    keep: Option<SessionId>,
    now: Timestamp,
    revoked_until: Timestamp,
) -> Result<User, StoreError> {
    let user = locked(connection, id).await?;
    let Some(user) = change.apply(&user) else { return Ok(user) };
    update(connection, &user).await?;
    if change.ends_sessions() {
        let reason = EndReason::Account;
        sessions::end_all(connection, id, keep, reason, now, revoked_until).await?;
        links::drop_of_user(connection, id).await?;
    }
    if change.outdates_tokens() {
        revocations::add(connection, &Revoked::User(id, now), revoked_until).await?;
    }
    Ok(user)
}

pub(super) async fn remove(
    store: &Postgres,
    id: UserId,
    now: Timestamp,
    revoked_until: Timestamp,
) -> Result<(), StoreError> {
    let removed = store.act(move |connection| {
        Box::pin(async move {
            let mut transaction = connection.begin().await?;
            locked(&mut transaction, id).await?;
            let reason = EndReason::Account;
            sessions::end_all(&mut transaction, id, None, reason, now, revoked_until).await?;
            // Sessions and identities go with it, by their foreign keys.
            sqlx::query("DELETE FROM users WHERE id = $1")
                .bind(id.as_bytes().as_slice())
                .execute(&mut *transaction)
                .await?;
            revocations::add(&mut transaction, &Revoked::User(id, now), revoked_until).await?;
            Ok(transaction.commit().await?)
        })
    });
    removed.await
}

async fn locked(connection: &mut PgConnection, id: UserId) -> Result<User, StoreError> {
    let sql = concat!("SELECT ", user_columns!(), " FROM users WHERE id = $1 FOR UPDATE");
    let row = sqlx::query_as::<_, UserColumns>(sql).bind(id.as_bytes().as_slice());
    row.fetch_optional(connection).await?.ok_or(StoreError::NoSuchUser)?.try_into()
}

/// Writes what [`UserChange`] can change.
async fn update(connection: &mut PgConnection, user: &User) -> Result<(), StoreError> {
    let sql = "UPDATE users SET roles = $2, permissions = $3, password = $4, disabled = $5 \
               WHERE id = $1";
    sqlx::query(sql)
        .bind(user.id.as_bytes().as_slice())
        .bind(text(&user.roles))
        .bind(text(&user.permissions))
        .bind(user.password.as_ref().map(|hash| hash.expose()))
        .bind(user.disabled)
        .execute(connection)
        .await?;
    Ok(())
}
