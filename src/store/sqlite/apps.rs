//! Apps and what they mint.

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;

use super::writer::Extent;
use super::{Sqlite, revocations};
use crate::clock::Timestamp;
use crate::id::{AppId, Revoked, TokenId};
use crate::store::apps::{
    APPS_MAX, App, AppChange, AppColumns, AppTexts, Apps, MintedColumns, MintedToken, names,
    provider,
};
use crate::store::columns::all;
use crate::store::{SWEEP_BATCH, StoreError};

#[async_trait]
impl Apps for Sqlite {
    async fn add_app(&self, app: &App) -> Result<(), StoreError> {
        let app = app.clone();
        let added = self.writer.act(Extent::Several, move |connection| {
            Box::pin(async move {
                let known: i64 = sqlx::query_scalar("SELECT count(*) FROM apps WHERE id <> $1")
                    .bind(app.id.as_str())
                    .fetch_one(&mut *connection)
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
                    .execute(&mut *connection)
                    .await?;
                if done.rows_affected() == 0 {
                    return Err(StoreError::AppTaken);
                }
                // Its users of old are its users again.
                sqlx::query("DELETE FROM removed_apps WHERE id = $1")
                    .bind(app.id.as_str())
                    .execute(connection)
                    .await?;
                Ok(())
            })
        });
        added.await
    }

    async fn app(&self, id: &AppId) -> Result<Option<App>, StoreError> {
        let row = select(id).fetch_optional(&self.readers).await?;
        row.map(App::try_from).transpose()
    }

    async fn apps(&self) -> Result<Vec<App>, StoreError> {
        let sql = "SELECT id, name, secrets, roles, permissions, disabled, created_at FROM apps \
                   ORDER BY id";
        all(sqlx::query_as::<_, AppColumns>(sql).fetch_all(&self.readers).await?)
    }

    async fn change_app(
        &self,
        id: &AppId,
        change: &AppChange,
        now: Timestamp,
        revoked_until: Timestamp,
    ) -> Result<App, StoreError> {
        let (id, change) = (id.clone(), change.clone());
        let changed = self.writer.act(Extent::Several, move |connection| {
            Box::pin(async move {
                let row = select(&id).fetch_optional(&mut *connection).await?;
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
                    .execute(&mut *connection)
                    .await?;
                if change.outdates_tokens() {
                    cut_off(connection, &id, now, revoked_until).await?;
                }
                Ok(app)
            })
        });
        let changed = changed.await?;
        self.watch.wake();
        Ok(changed)
    }

    async fn remove_app(
        &self,
        id: &AppId,
        now: Timestamp,
        revoked_until: Timestamp,
    ) -> Result<(), StoreError> {
        let id = id.clone();
        let removed = self.writer.act(Extent::Several, move |connection| {
            Box::pin(async move {
                let done = sqlx::query("DELETE FROM apps WHERE id = $1")
                    .bind(id.as_str())
                    .execute(&mut *connection)
                    .await?;
                if done.rows_affected() == 0 {
                    return Err(StoreError::NoSuchApp);
                }
                let sql = "INSERT INTO removed_apps (id) VALUES ($1) ON CONFLICT DO NOTHING";
                sqlx::query(sql).bind(id.as_str()).execute(&mut *connection).await?;
                cut_off(connection, &id, now, revoked_until).await
            })
        });
        removed.await?;
        self.watch.wake();
        Ok(())
    }

    async fn mint(&self, minted: &MintedToken, at: Timestamp) -> Result<App, StoreError> {
        let minted = minted.clone();
        let noted = self.writer.act(Extent::Several, move |connection| {
            Box::pin(async move {
                let user = minted.user();
                let row = select(&minted.app).fetch_optional(&mut *connection).await?;
                let app = App::try_from(row.ok_or(StoreError::NoSuchApp)?)?;
                if app.disabled {
                    return Err(StoreError::NoSuchApp);
                }
                let sql = "INSERT INTO minted_tokens (id, app, user_id, expires_at) \
                           VALUES ($1, $2, $3, $4)";
                sqlx::query(sql)
                    .bind(minted.id.as_bytes().as_slice())
                    .bind(minted.app.as_str())
                    .bind(user.as_bytes().as_slice())
                    .bind(minted.expires_at.millis())
                    .execute(&mut *connection)
                    .await?;
                let (login, login_key) = names(&minted);
                let sql = "INSERT INTO users (id, login, login_key, roles, permissions, disabled, \
                           created_at) VALUES ($1, $2, $3, '[]', '[]', 0, $4) \
                           ON CONFLICT DO NOTHING";
                sqlx::query(sql)
                    .bind(user.as_bytes().as_slice())
                    .bind(login)
                    .bind(login_key)
                    .bind(at.millis())
                    .execute(&mut *connection)
                    .await?;
                let sql = "INSERT INTO identities (provider, subject, user_id) \
                           VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
                sqlx::query(sql)
                    .bind(provider(minted.app.as_str()))
                    .bind(&minted.subject)
                    .bind(user.as_bytes().as_slice())
                    .execute(connection)
                    .await?;
                Ok(app)
            })
        });
        noted.await
    }

    async fn minted(&self, id: TokenId) -> Result<Option<MintedToken>, StoreError> {
        let sql = "SELECT id, app, expires_at FROM minted_tokens WHERE id = $1";
        let row = sqlx::query_as::<_, MintedColumns>(sql).bind(id.as_bytes().as_slice());
        row.fetch_optional(&self.readers).await?.map(MintedToken::try_from).transpose()
    }
}

/// Removes a batch of the tokens that have ended at `now`, and of the users of removed apps;
/// whether there may be more.
pub(super) async fn sweep(store: &Sqlite, now: Timestamp) -> Result<bool, StoreError> {
    let swept = store.writer.act(Extent::Several, move |connection| {
        Box::pin(async move {
            let batch = u64::from(SWEEP_BATCH);
            let sql = "DELETE FROM minted_tokens WHERE id IN \
                       (SELECT id FROM minted_tokens WHERE expires_at <= $1 LIMIT $2)";
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
    connection: &mut SqliteConnection,
    id: &AppId,
    now: Timestamp,
    until: Timestamp,
) -> Result<(), StoreError> {
    revocations::add(connection, &Revoked::User(id.principal(), now), until).await
}

type ById = sqlx::query::QueryAs<
    'static,
    sqlx::Sqlite,
    AppColumns,
    <sqlx::Sqlite as sqlx::Database>::Arguments,
>;

fn select(id: &AppId) -> ById {
    let sql = "SELECT id, name, secrets, roles, permissions, disabled, created_at FROM apps \
               WHERE id = $1";
    sqlx::query_as(sql).bind(id.as_str().to_owned())
}
