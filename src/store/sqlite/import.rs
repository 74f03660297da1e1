//! Accounts from elsewhere.

use async_trait::async_trait;

use super::writer::Extent;
use super::{Sqlite, users};
use crate::secret::PasswordHash;
use crate::store::StoreError;
use crate::store::import::{Import, PREFIXES_MAX, password_unlike};
use crate::store::rows::User;

#[async_trait]
impl Import for Sqlite {
    async fn add_users(&self, users: &[User]) -> Result<(), StoreError> {
        let users = users.to_vec();
        let added = self.writer.act(Extent::Several, move |connection| {
            Box::pin(async move {
                for user in &users {
                    users::insert(connection, user).await?;
                }
                Ok(())
            })
        });
        added.await
    }

    async fn password_unlike(
        &self,
        prefixes: &[String],
    ) -> Result<Option<PasswordHash>, StoreError> {
        let mut query = sqlx::query_scalar::<_, String>(password_unlike!(""));
        for index in 0..PREFIXES_MAX {
            query = query.bind(prefixes.get(index));
        }
        Ok(query.fetch_optional(&self.readers).await?.map(PasswordHash::new))
    }
}
