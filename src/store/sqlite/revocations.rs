//! What must be refused.

use sqlx::sqlite::SqliteConnection;

use super::Sqlite;
use super::writer::Extent;
use crate::clock::Timestamp;
use crate::id::{Revoked, TokenId};
use crate::store::columns::{RevocationColumns, all, revoked};
use crate::store::rows::{EndReason, Revocation};
use crate::store::{SWEEP_BATCH, StoreError};

/// Writes one entry within an act.
pub(super) async fn add(
    connection: &mut SqliteConnection,
    subject: &Revoked,
    until: Timestamp,
) -> Result<(), StoreError> {
    let (kind, subject, as_of) = revoked(subject);
    let sql = "INSERT INTO revocations (kind, subject, as_of, expires_at) VALUES ($1, $2, $3, $4)";
    sqlx::query(sql)
        .bind(kind)
        .bind(subject.as_slice())
        .bind(as_of)
        .bind(until.millis())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn of_token(
    store: &Sqlite,
    token: TokenId,
    until: Timestamp,
) -> Result<(), StoreError> {
    let added = store.writer.act(Extent::Single, move |connection| {
        Box::pin(async move { add(connection, &Revoked::Token(token), until).await })
    });
    added.await?;
    store.watch.wake();
    Ok(())
}

/// Writes entries again, and ends the sessions among them, in one act.
pub(super) async fn again(
    store: &Sqlite,
    entries: Vec<(Revoked, Timestamp)>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let written = store.writer.act(Extent::Several, move |connection| {
        Box::pin(async move {
            for (subject, until) in &entries {
                if let Revoked::Session(id) = subject {
                    let sql = "UPDATE sessions SET ended_at = $2, end_reason = $3 \
                               WHERE id = $1 AND ended_at IS NULL";
                    sqlx::query(sql)
                        .bind(id.as_bytes().as_slice())
                        .bind(now.millis())
                        .bind(EndReason::Operator.as_str())
                        .execute(&mut *connection)
                        .await?;
                }
                add(connection, subject, *until).await?;
            }
            Ok(())
        })
    });
    written.await?;
    store.watch.wake();
    Ok(())
}

pub(super) async fn after(
    store: &Sqlite,
    after: i64,
    now: Timestamp,
) -> Result<Vec<Revocation>, StoreError> {
    let sql = "SELECT sequence, kind, subject, as_of, expires_at FROM revocations \
               WHERE sequence > $1 AND expires_at > $2 ORDER BY sequence";
    let rows = sqlx::query_as::<_, RevocationColumns>(sql).bind(after).bind(now.millis());
    all(rows.fetch_all(&store.readers).await?)
}

/// Removes a batch of what has expired at `now`; whether there may be more.
pub(super) async fn sweep(store: &Sqlite, now: Timestamp) -> Result<bool, StoreError> {
    let swept = store.writer.act(Extent::Single, move |connection| {
        Box::pin(async move {
            let sql = "DELETE FROM revocations WHERE sequence IN \
                       (SELECT sequence FROM revocations WHERE expires_at <= $1 LIMIT $2)";
            let done = sqlx::query(sql).bind(now.millis()).bind(i64::from(SWEEP_BATCH));
            Ok(done.execute(connection).await?.rows_affected() >= u64::from(SWEEP_BATCH))
        })
    });
    swept.await
}
