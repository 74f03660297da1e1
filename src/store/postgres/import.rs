//! Accounts from elsewhere.

use async_trait::async_trait;
use sqlx::Connection;

use super::Postgres;
use crate::secret::PasswordHash;
use crate::store::StoreError;
use crate::store::columns::text;
use crate::store::import::{Import, PREFIXES_MAX, password_unlike};
use crate::store::rows::User;

#[async_trait]
impl Import for Postgres {
    async fn add_users(&self, users: &[User]) -> Result<(), StoreError> {
        let columns = Columns::of(users);
        let added = self.act(move |connection| {
            Box::pin(async move {
                let mut transaction = connection.begin().await?;
                let sql = "INSERT INTO users (id, login, login_key, name, email, roles, \
                           permissions, password, disabled, created_at) \
                           SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::text[], \
                           $5::text[], $6::text[], $7::text[], $8::text[], $9::boolean[], \
                           $10::bigint[]) ON CONFLICT (login_key) DO NOTHING";
                let wanted = u64::try_from(columns.id.len()).unwrap_or(u64::MAX);
                let done = sqlx::query(sql)
                    .bind(columns.id)
                    .bind(columns.login)
                    .bind(columns.login_key)
                    .bind(columns.name)
                    .bind(columns.email)
                    .bind(columns.roles)
                    .bind(columns.permissions)
                    .bind(columns.password)
                    .bind(columns.disabled)
                    .bind(columns.created_at)
                    .execute(&mut *transaction)
                    .await?;
                if done.rows_affected() != wanted {
                    // The transaction goes back with its end.
                    return Err(StoreError::NameTaken);
                }
                Ok(transaction.commit().await?)
            })
        });
        added.await
    }

    async fn password_unlike(
        &self,
        prefixes: &[String],
    ) -> Result<Option<PasswordHash>, StoreError> {
        let prefixes = prefixes.to_vec();
        let found = self.act(move |connection| {
            Box::pin(async move {
                let mut query = sqlx::query_scalar::<_, String>(password_unlike!("::text"));
                for index in 0..PREFIXES_MAX {
                    query = query.bind(prefixes.get(index));
                }
                Ok(query.fetch_optional(connection).await?.map(PasswordHash::new))
            })
        });
        found.await
    }
}

/// Accounts by column, to be written by one statement.
#[derive(Default)]
struct Columns {
    id: Vec<Vec<u8>>,
    login: Vec<String>,
    login_key: Vec<String>,
    name: Vec<Option<String>>,
    email: Vec<Option<String>>,
    roles: Vec<String>,
    permissions: Vec<String>,
    password: Vec<Option<String>>,
    disabled: Vec<bool>,
    created_at: Vec<i64>,
}

impl Columns {
    fn of(users: &[User]) -> Self {
        let mut columns = Self::default();
        for user in users {
            columns.id.push(user.id.as_bytes().to_vec());
            columns.login.push(user.login.clone());
            columns.login_key.push(user.login_key.clone());
            columns.name.push(user.name.clone());
            columns.email.push(user.email.clone());
            columns.roles.push(text(&user.roles));
            columns.permissions.push(text(&user.permissions));
            columns.password.push(user.password.as_ref().map(|hash| hash.expose().to_owned()));
            columns.disabled.push(user.disabled);
            columns.created_at.push(user.created_at.millis());
        }
        columns
    }
}
