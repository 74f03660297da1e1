//! Apps and what they mint. What changes or removes an app locks its row, and minting shares that
//! lock: so a token is noted either before, and is cut off, or after, and is not made.

use async_trait::async_trait;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::{Postgres, revocations};
use crate::clock::Timestamp;
use crate::id::{AppId, Revoked, TokenId};
use crate::store::apps::{
    APPS_MAX, App, AppChange, AppColumns, AppTexts, Apps, MintedColumns, MintedToken, names,
    provider,
};
use crate::store::columns::all;
use crate::store::{SWEEP_BATCH, StoreError};

#[async_trait]
impl Apps for Postgres {
    async fn add_app(&self, app: &App) -> Result<(), StoreError> {
        let app = app.clone();
        let added = self.act(move |connection| {
            Box::pin(async move {
                let mut transaction = connection.begin().await?;
                let known: i64 = sqlx::query_scalar("SELECT count(*) FROM apps WHERE id <> $1")
                    .bind(app.id.as_str())
                    .fetch_one(&mut *transaction)
                    .await?;
                if usize::try_from(known).is_ok_and(|known| known >= APPS_MAX) {
                    return Err(StoreError::TooManyApps);
                }
                let sql = "INSERT INTO apps \
                           (id, name, secrets, roles, permissions, disabled, created_at) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING";
                let texts = AppTexts::from(&app);
                let done = sqlx::query(sql)
                    .bind(app.id.as_str())
                    .bind(app.name.as_deref())
                    .bind(texts.secrets)
                    .bind(texts.roles)
                    .bind(texts.permissions)
                    .bind(app.disabled)
                    .bind(app.created_at.millis())
                    .execute(&mut *transaction)
                    .await?;
                if done.rows_affected() == 0 {
                    return Err(StoreError::AppTaken);
                }
                // Its users of old are its users again.
                sqlx::query("DELETE FROM removed_apps WHERE id = $1")
                    .bind(app.id.as_str())
                    .execute(&mut *transaction)
                    .await?;
                Ok(transaction.commit().await?)
            })
        });
        added.await
    }

    async fn app(&self, id: &AppId) -> Result<Option<App>, StoreError> {
        let id = id.clone();
        let found = self.act(move |connection| {
            Box::pin(async move {
                let sql = "SELECT id, name, secrets, roles, permissions, disabled, created_at \
                           FROM apps WHERE id = $1";
                let row = sqlx::query_as::<_, AppColumns>(sql).bind(id.as_str());
                row.fetch_optional(connection).await?.map(App::try_from).transpose()
            })
        });
        found.await
    }

    async fn apps(&self) -> Result<Vec<App>, StoreError> {
        let found = self.act(|connection| {
            Box::pin(async move {
                let sql = "SELECT id, name, secrets, roles, permissions, disabled, created_at \
                           FROM apps ORDER BY id";
                all(sqlx::query_as::<_, AppColumns>(sql).fetch_all(connection).await?)
            })
        });
        found.await
    }

    async fn change_app(
        &self,
        id: &AppId,
        change: &AppChange,
        now: Timestamp,
        revoked_until: Timestamp,
    ) -> Result<App, StoreError> {
        let (id, change) = (id.clone(), change.clone());
        let changed = self.act(move |connection| {
            Box::pin(async move {
                let mut transaction = connection.begin().await?;
                stop_minting(&mut transaction).await?;
                let sql = "SELECT id, name, secrets, roles, permissions, disabled, created_at \
                           FROM apps WHERE id = $1 FOR UPDATE";
                let row = sqlx::query_as::<_, AppColumns>(sql).bind(id.as_str());
                let row = row.fetch_optional(&mut *transaction).await?;
                let app = change.apply(&App::try_from(row.ok_or(StoreError::NoSuchApp)?)?)?;
                let texts = AppTexts::from(&app);
                let sql = "UPDATE apps SET secrets = $2, roles = $3, permissions = $4, \
                           disabled = $5 WHERE id = $1";
                sqlx::query(sql)
                    .bind(id.as_str())
                    .bind(texts.secrets)
                    .bind(texts.roles)
                    .bind(texts.permissions)
                    .bind(app.disabled)
                    .execute(&mut *transaction)
                    .await?;
                if change.outdates_tokens() {
                    cut_off(&mut transaction, &id, now, revoked_until).await?;
                }
                transaction.commit().await?;
                Ok(app)
            })
        });
        changed.await
    }

    async fn remove_app(
        &self,
        id: &AppId,
        now: Timestamp,
        revoked_until: Timestamp,
    ) -> Result<(), StoreError> {
        let id = id.clone();
        let removed = self.act(move |connection| {
            Box::pin(async move {
                let mut transaction = connection.begin().await?;
                stop_minting(&mut transaction).await?;
                let done = sqlx::query("DELETE FROM apps WHERE id = $1")
                    .bind(id.as_str())
                    .execute(&mut *transaction)
                    .await?;
                if done.rows_affected() == 0 {
                    return Err(StoreError::NoSuchApp);
                }
                let sql = "INSERT INTO removed_apps (id) VALUES ($1) ON CONFLICT DO NOTHING";
                sqlx::query(sql).bind(id.as_str()).execute(&mut *transaction).await?;
                cut_off(&mut transaction, &id, now, revoked_until).await?;
                Ok(transaction.commit().await?)
            })
        });
        removed.await
    }

    async fn mint(&self, minted: &MintedToken, at: Timestamp) -> Result<App, StoreError> {
        let minted = minted.clone();
        let noted = self.act(move |connection| {
            Box::pin(async move {
                // One statement, since it is one round trip. Of two that come first for a user, the
                // later waits for the earlier, here as there.
                let sql = "WITH app AS MATERIALIZED \
                           (SELECT id, name, secrets, roles, permissions, disabled, created_at \
                           FROM apps WHERE id = $2 AND NOT disabled FOR SHARE), \
                           known AS (INSERT INTO users (id, login, login_key, roles, permissions, \
                           disabled, created_at) SELECT $3, $5, $6, '[]', '[]', FALSE, $7 FROM app \
                           ON CONFLICT DO NOTHING), \
                           named AS (INSERT INTO identities (provider, subject, user_id) \
                           SELECT $8, $9, $3 FROM app ON CONFLICT DO NOTHING), \
                           noted AS (INSERT INTO minted_tokens (id, app, user_id, expires_at) \
                           SELECT $1, id, $3, $4 FROM app) \
                           SELECT id, name, secrets, roles, permissions, disabled, created_at \
                           FROM app";
                let user = minted.user();
                let (login, login_key) = names(&minted);
                let app = sqlx::query_as::<_, AppColumns>(sql)
                    .bind(minted.id.as_bytes().as_slice())
                    .bind(minted.app.as_str())
                    .bind(user.as_bytes().as_slice())
                    .bind(minted.expires_at.millis())
                    .bind(login)
                    .bind(login_key)
                    .bind(at.millis())
                    .bind(provider(minted.app.as_str()))
                    .bind(&minted.subject)
                    .fetch_optional(connection)
                    .await?;
                app.ok_or(StoreError::NoSuchApp)?.try_into()
            })
        });
        noted.await
    }

    async fn minted(&self, id: TokenId) -> Result<Option<MintedToken>, StoreError> {
        let found = self.act(move |connection| {
            Box::pin(async move {
                let sql = "SELECT id, app, expires_at FROM minted_tokens WHERE id = $1";
                let row = sqlx::query_as::<_, MintedColumns>(sql).bind(id.as_bytes().as_slice());
                row.fetch_optional(connection).await?.map(MintedToken::try_from).transpose()
            })
        });
        found.await
    }
}

/// Removes a batch of the tokens that have ended at `now`, and of the users of removed apps;
/// whether there may be more.
pub(super) async fn sweep(store: &Postgres, now: Timestamp) -> Result<bool, StoreError> {
    let swept = store.act(move |connection| {
        Box::pin(async move {
            let batch = u64::from(SWEEP_BATCH);
            // Replicas that sweep at the same time take different rows.
            let sql = "DELETE FROM minted_tokens WHERE id IN (SELECT id FROM minted_tokens \
                       WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)";
            let tokens = sqlx::query(sql)
                .bind(now.millis())
                .bind(i64::from(SWEEP_BATCH))
                .execute(&mut *connection)
                .await?;
            let removed: Option<String> = sqlx::query_scalar("SELECT id FROM removed_apps LIMIT 1")
                .fetch_optional(&mut *connection)
                .await?;
            let Some(removed) = removed else { return Ok(tokens.rows_affected() >= batch) };
            // Identities go with their users, by their foreign key.
            let sql = "DELETE FROM users WHERE id IN \
                       (SELECT user_id FROM identities WHERE provider = $1 LIMIT $2)";
            let users = sqlx::query(sql)
                .bind(provider(&removed))
                .bind(i64::from(SWEEP_BATCH))
                .execute(&mut *connection)
                .await?;
            if users.rows_affected() < batch {
                sqlx::query("DELETE FROM removed_apps WHERE id = $1")
                    .bind(&removed)
                    .execute(connection)
                    .await?;
            }
            Ok(tokens.rows_affected() >= batch || users.rows_affected() >= batch)
        })
    });
    swept.await
}

/// Refuses all that the app has minted until `now`.
async fn cut_off(
    connection: &mut PgConnection,
    id: &AppId,
    now: Timestamp,
    until: Timestamp,
) -> Result<(), StoreError> {
    revocations::add(connection, &Revoked::User(id.principal(), now), until).await
}

/// Lets the mints that are under way come to their end, and all others wait for this transaction. The lock
/// of a row alone is not enough: those who share it do not stand in line behind who wants it for himself,
/// so one who minted without a pause could not be disabled.
async fn stop_minting(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("LOCK TABLE apps IN EXCLUSIVE MODE").execute(connection).await?;
    Ok(())
}
