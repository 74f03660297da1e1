//! What must be refused. Each entry is told to all replicas at its commit.

use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::Postgres;
use super::listen::CHANNEL;
use crate::clock::Timestamp;
use crate::id::{Revoked, TokenId};
use crate::store::columns::{RevocationColumns, all, revoked};
use crate::store::rows::{EndReason, Revocation};
use crate::store::{SWEEP_BATCH, StoreError};

/// Writes one entry, as one statement.
pub(super) async fn add(
    connection: &mut PgConnection,
    subject: &Revoked,
    until: Timestamp,
) -> Result<(), StoreError> {
    let (kind, subject, as_of) = revoked(subject);
    let sql = "WITH written AS (INSERT INTO revocations (kind, subject, as_of, expires_at) \
               VALUES ($1, $2, $3, $4) RETURNING 1) SELECT pg_notify($5, '') FROM written";
    sqlx::query(sql)
        .bind(kind)
        .bind(subject.as_slice())
        .bind(as_of)
        .bind(until.millis())
        .bind(CHANNEL)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn of_token(
    store: &Postgres,
    token: TokenId,
    until: Timestamp,
) -> Result<(), StoreError> {
    let added = store.act(move |connection| {
        Box::pin(async move { add(connection, &Revoked::Token(token), until).await })
    });
    added.await
}

/// Writes entries again, and ends the sessions among them, in one transaction.
pub(super) async fn again(
    store: &Postgres,
    entries: Vec<(Revoked, Timestamp)>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let written = store.act(move |connection| {
        Box::pin(async move {
            let mut transaction = connection.begin().await?;
            for (subject, until) in &entries {
                if let Revoked::Session(id) = subject {
                    let sql = "UPDATE sessions SET ended_at = $2, end_reason = $3 \
                               WHERE id = $1 AND ended_at IS NULL";
                    sqlx::query(sql)
                        .bind(id.as_bytes().as_slice())
                        .bind(now.millis())
                        .bind(EndReason::Operator.as_str())
                        .execute(&mut *transaction)
                        .await?;
                }
                add(&mut transaction, subject, *until).await?;
            }
            Ok(transaction.commit().await?)
        })
    });
    written.await
}

pub(super) async fn after(
    store: &Postgres,
    after: i64,
    now: Timestamp,
) -> Result<Vec<Revocation>, StoreError> {
    let found = store.act(move |connection| {
        Box::pin(async move {
            let sql = "SELECT sequence, kind, subject, as_of, expires_at FROM revocations \
                       WHERE sequence > $1 AND expires_at > $2 ORDER BY sequence";
            let rows = sqlx::query_as::<_, RevocationColumns>(sql).bind(after).bind(now.millis());
            all(rows.fetch_all(connection).await?)
        })
    });
    found.await
}

/// Removes a batch of what has expired at `now`; whether there may be more.
pub(super) async fn sweep(store: &Postgres, now: Timestamp) -> Result<bool, StoreError> {
    let swept = store.act(move |connection| {
        Box::pin(async move {
            // Replicas that sweep at the same time take different rows.
            let sql = "DELETE FROM revocations WHERE sequence IN \
                       (SELECT sequence FROM revocations WHERE expires_at <= $1 LIMIT $2 \
                       FOR UPDATE SKIP LOCKED)";
            let done = sqlx::query(sql).bind(now.millis()).bind(i64::from(SWEEP_BATCH));
            Ok(done.execute(connection).await?.rows_affected() >= u64::from(SWEEP_BATCH))
        })
    });
    swept.await
}
