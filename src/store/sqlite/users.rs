//! Accounts.

use sqlx::sqlite::SqliteConnection;

use super::writer::Extent;
use super::{Sqlite, links, revocations, sessions};
use crate::clock::Timestamp;
use crate::id::{Revoked, SessionId, UserId};
use crate::store::StoreError;
use crate::store::apps::BEHIND_APPS;
use crate::store::columns::{UserColumns, all, text, user_columns};
use crate::store::rows::{EndReason, User, UserChange};

pub(super) async fn add(store: &Sqlite, user: User) -> Result<(), StoreError> {
    let added = store.writer.act(Extent::Single, move |connection| {
        Box::pin(async move { insert(connection, &user).await })
    });
    added.await
}

/// Adds an account within an act.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    user: &User,
) -> Result<(), StoreError> {
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

pub(super) async fn by_login(store: &Sqlite, login_key: &str) -> Result<Option<User>, StoreError> {
    let sql = concat!("SELECT ", user_columns!(), " FROM users WHERE login_key = $1");
    let row = sqlx::query_as::<_, UserColumns>(sql).bind(login_key);
    row.fetch_optional(&store.readers).await?.map(User::try_from).transpose()
}

pub(super) async fn by_id(store: &Sqlite, id: UserId) -> Result<Option<User>, StoreError> {
    let row = select(id).fetch_optional(&store.readers).await?;
    row.map(User::try_from).transpose()
}

pub(super) async fn page(
    store: &Sqlite,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<User>, StoreError> {
    let sql = concat!(
        "SELECT ",
        user_columns!(),
        " FROM users WHERE login_key > $1 ORDER BY login_key LIMIT $2"
    );
    let after = after.unwrap_or(BEHIND_APPS);
    let rows = sqlx::query_as::<_, UserColumns>(sql).bind(after).bind(i64::from(limit));
    all(rows.fetch_all(&store.readers).await?)
}

pub(super) async fn any(store: &Sqlite) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM users WHERE login_key > $1)";
    Ok(sqlx::query_scalar(sql).bind(BEHIND_APPS).fetch_one(&store.readers).await?)
}

pub(super) async fn change(
    store: &Sqlite,
    id: UserId,
    change: UserChange,
    keep: Option<SessionId>,
    now: Timestamp,
    revoked_until: Timestamp,
) -> Result<User, StoreError> {
    let changed = store.writer.act(Extent::Several, move |connection| {
        Box::pin(async move { apply(connection, id, &change, keep, now, revoked_until).await })
    });
    let changed = changed.await?;
    store.watch.wake();
    Ok(changed)
}

/// Changes an account within an act.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    id: UserId,
    change: &UserChange,
    keep: Option<SessionId>,
    now: Timestamp,
    revoked_until: Timestamp,
) -> Result<User, StoreError> {
    let row = select(id).fetch_optional(&mut *connection).await?;
    let user = User::try_from(row.ok_or(StoreError::NoSuchUser)?)?;
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
    store: &Sqlite,
    id: UserId,
    now: Timestamp,
    revoked_until: Timestamp,
) -> Result<(), StoreError> {
    let removed = store.writer.act(Extent::Several, move |connection| {
        Box::pin(async move {
            let reason = EndReason::Account;
            sessions::end_all(connection, id, None, reason, now, revoked_until).await?;
            // Sessions and identities go with it, by their foreign keys.
            let removed = sqlx::query("DELETE FROM users WHERE id = $1")
                .bind(id.as_bytes().as_slice())
                .execute(&mut *connection)
                .await?;
            if removed.rows_affected() == 0 {
                return Err(StoreError::NoSuchUser);
            }
            revocations::add(connection, &Revoked::User(id, now), revoked_until).await
        })
    });
    removed.await?;
    store.watch.wake();
    Ok(())
}

type ById = sqlx::query::QueryAs<
    'static,
    sqlx::Sqlite,
    UserColumns,
    <sqlx::Sqlite as sqlx::Database>::Arguments,
>;

fn select(id: UserId) -> ById {
    let sql = concat!("SELECT ", user_columns!(), " FROM users WHERE id = $1");
    sqlx::query_as(sql).bind(id.as_bytes().to_vec())
}

/// Writes what [`UserChange`] can change.
async fn update(connection: &mut SqliteConnection, user: &User) -> Result<(), StoreError> {
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
