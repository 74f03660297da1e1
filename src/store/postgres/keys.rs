//! The ring of keys.

use sqlx::Connection;

use super::Postgres;
use super::listen::CHANNEL;
use crate::clock::Timestamp;
use crate::id::KeyId;
use crate::store::StoreError;
use crate::store::columns::{KeyColumns, Resealed, resealed};
use crate::store::rows::KeyRow;

pub(super) async fn ring(store: &Postgres) -> Result<Vec<KeyRow>, StoreError> {
    let found = store.act(move |connection| {
        Box::pin(async move {
            let sql = "SELECT id, secret, active_from, created_at FROM keys ORDER BY position";
            Ok(sqlx::query_as::<_, KeyColumns>(sql).fetch_all(connection).await?)
        })
    });
    found.await?.into_iter().map(|row| row.opened(&store.seal)).collect()
}

pub(super) async fn add(
    store: &Postgres,
    key: KeyRow,
    newest: Option<KeyId>,
) -> Result<bool, StoreError> {
    let sealed = store.seal.close(&key.id, &key.secret)?;
    let added = store.act(move |connection| {
        Box::pin(async move {
            // The condition refuses one who is late; the predecessor, which is unique, one of two
            // who come at the same moment and do not see each other.
            let sql = "WITH written AS (INSERT INTO keys \
                       (id, predecessor, secret, active_from, created_at) \
                       SELECT $1, coalesce($2, ''), $3, $4, $5 \
                       WHERE (SELECT id FROM keys ORDER BY position DESC LIMIT 1) \
                       IS NOT DISTINCT FROM $2 ON CONFLICT DO NOTHING RETURNING 1) \
                       SELECT pg_notify($6, '') FROM written";
            let done = sqlx::query(sql)
                .bind(key.id.as_str())
                .bind(newest.as_ref().map(|id| id.as_str()))
                .bind(sealed)
                .bind(key.active_from.millis())
                .bind(key.created_at.millis())
                .bind(CHANNEL)
                .execute(connection)
                .await?;
            Ok(done.rows_affected() == 1)
        })
    });
    added.await
}

pub(super) async fn drop_made_before(
    store: &Postgres,
    before: Timestamp,
) -> Result<(), StoreError> {
    let dropped = store.act(move |connection| {
        Box::pin(async move {
            let sql = "DELETE FROM keys WHERE created_at < $1 \
                       AND position < (SELECT max(position) FROM keys)";
            sqlx::query(sql).bind(before.millis()).execute(connection).await?;
            Ok(())
        })
    });
    dropped.await
}

/// Seals anew what is not sealed as it should be, all or nothing.
pub(super) async fn reseal(store: &Postgres) -> Result<usize, StoreError> {
    let sql = "SELECT id, secret, active_from, created_at FROM keys ORDER BY position";
    let found = store.act(move |connection| {
        Box::pin(
            async move { Ok(sqlx::query_as::<_, KeyColumns>(sql).fetch_all(connection).await?) },
        )
    });
    let resealed = resealed(&found.await?, &store.seal)?;
    let written = store.act(move |connection| {
        Box::pin(async move {
            let mut transaction = connection.begin().await?;
            let mut count = 0;
            for Resealed { id, before, after } in resealed {
                // Only as it was read: another replica may be about the same thing.
                let sql = "UPDATE keys SET secret = $3 WHERE id = $1 AND secret = $2";
                let done = sqlx::query(sql).bind(id).bind(before).bind(after);
                if done.execute(&mut *transaction).await?.rows_affected() == 1 {
                    count += 1;
                }
            }
            transaction.commit().await?;
            Ok(count)
        })
    });
    written.await
}
