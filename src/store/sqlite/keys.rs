//! The ring of keys.

use super::Sqlite;
use super::writer::Extent;
use crate::clock::Timestamp;
use crate::id::KeyId;
use crate::store::StoreError;
use crate::store::columns::{KeyColumns, Resealed, resealed};
use crate::store::rows::KeyRow;

pub(super) async fn ring(store: &Sqlite) -> Result<Vec<KeyRow>, StoreError> {
    let sql = "SELECT id, secret, active_from, created_at FROM keys ORDER BY position";
    let rows = sqlx::query_as::<_, KeyColumns>(sql).fetch_all(&store.readers).await?;
    rows.into_iter().map(|row| row.opened(&store.seal)).collect()
}

pub(super) async fn add(
    store: &Sqlite,
    key: KeyRow,
    newest: Option<KeyId>,
) -> Result<bool, StoreError> {
    let sealed = store.seal.close(&key.id, &key.secret)?;
    let added = store.writer.act(Extent::Single, move |connection| {
        Box::pin(async move {
            // `IS` compares an empty ring, too: NULL with NULL.
            let sql = "INSERT INTO keys \
                       (id, secret, active_from, created_at, predecessor) \
                       SELECT $1, $2, $3, $4, coalesce($5, '') \
                       WHERE (SELECT id FROM keys ORDER BY position DESC LIMIT 1) IS $5 \
                       ON CONFLICT DO NOTHING";
            let done = sqlx::query(sql)
                .bind(key.id.as_str())
                .bind(sealed)
                .bind(key.active_from.millis())
                .bind(key.created_at.millis())
                .bind(newest.as_ref().map(|id| id.as_str()))
                .execute(connection)
                .await?;
            Ok(done.rows_affected() == 1)
        })
    });
    let added = added.await?;
    store.watch.wake();
    Ok(added)
}

pub(super) async fn drop_made_before(store: &Sqlite, before: Timestamp) -> Result<(), StoreError> {
    let dropped = store.writer.act(Extent::Single, move |connection| {
        Box::pin(async move {
            let sql = "DELETE FROM keys WHERE created_at < $1 \
                       AND position < (SELECT max(position) FROM keys)";
            sqlx::query(sql).bind(before.millis()).execute(connection).await?;
            Ok(())
        })
    });
    dropped.await?;
    store.watch.wake();
    Ok(())
}

/// Seals anew what is not sealed as it should be, all or nothing.
pub(super) async fn reseal(store: &Sqlite) -> Result<usize, StoreError> {
    let sql = "SELECT id, secret, active_from, created_at FROM keys ORDER BY position";
    let rows = sqlx::query_as::<_, KeyColumns>(sql).fetch_all(&store.readers).await?;
    let resealed = resealed(&rows, &store.seal)?;
    if resealed.is_empty() {
        return Ok(0);
    }
    let written = store.writer.act(Extent::Several, move |connection| {
        Box::pin(async move {
            let mut count = 0;
            for Resealed { id, before, after } in resealed {
                // Only as it was read: another process may be about the same thing.
                let sql = "UPDATE keys SET secret = $3 WHERE id = $1 AND secret = $2";
                let done = sqlx::query(sql).bind(id).bind(before).bind(after);
                if done.execute(&mut *connection).await?.rows_affected() == 1 {
                    count += 1;
                }
            }
            Ok(count)
        })
    });
    written.await
}
