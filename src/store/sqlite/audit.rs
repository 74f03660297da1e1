//! The audit stream.

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;

use super::Sqlite;
use super::writer::Extent;
use crate::clock::Timestamp;
use crate::store::audit::{
    Audit, AuditColumns, AuditEntry, AuditEvent, AuditFilter, audit_columns,
};
use crate::store::columns::all;
use crate::store::{SWEEP_BATCH, StoreError};

#[async_trait]
impl Audit for Sqlite {
    async fn record(&self, events: &[AuditEvent]) -> Result<(), StoreError> {
        let events = events.to_vec();
        let recorded = self.writer.act(Extent::Several, move |connection| {
            Box::pin(async move {
                for event in &events {
                    add(connection, event).await?;
                }
                Ok(())
            })
        });
        recorded.await
    }

    async fn audit(&self, filter: &AuditFilter, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
        let sql = concat!(
            "SELECT ",
            audit_columns!(),
            " FROM audit WHERE ($1 IS NULL OR at >= $1) AND ($2 IS NULL OR user_id = $2) \
             AND ($3 IS NULL OR login = $3) AND ($4 IS NULL OR kind = $4) \
             AND ($5 IS NULL OR sequence < $5) ORDER BY sequence DESC LIMIT $6"
        );
        let rows = sqlx::query_as::<_, AuditColumns>(sql)
            .bind(filter.since.map(Timestamp::millis))
            .bind(filter.user.as_ref().map(|id| id.as_bytes().as_slice()))
            .bind(filter.login.as_deref())
            .bind(filter.kind.map(|kind| kind.name()))
            .bind(filter.before)
            .bind(i64::from(limit));
        all(rows.fetch_all(&self.readers).await?)
    }

    async fn sweep_audit(&self, before: Timestamp, most: u64) -> Result<bool, StoreError> {
        // Counted by a reader, which keeps nobody waiting.
        let kept: i64 =
            sqlx::query_scalar("SELECT count(*) FROM audit").fetch_one(&self.readers).await?;
        let beyond = kept.saturating_sub_unsigned(most).max(0).min(i64::from(SWEEP_BATCH));
        let swept = self.writer.act(Extent::Several, move |connection| {
            Box::pin(async move {
                let old = "DELETE FROM audit WHERE sequence IN \
                           (SELECT sequence FROM audit WHERE at < $1 LIMIT $2)";
                let old = sqlx::query(old).bind(before.millis()).bind(i64::from(SWEEP_BATCH));
                let old = old.execute(&mut *connection).await?.rows_affected();
                let mut left = beyond.saturating_sub_unsigned(old);
                for sql in [
                    "DELETE FROM audit WHERE sequence IN \
                     (SELECT sequence FROM audit WHERE cheap ORDER BY sequence LIMIT $1)",
                    "DELETE FROM audit WHERE sequence IN \
                     (SELECT sequence FROM audit ORDER BY sequence LIMIT $1)",
                ] {
                    if left > 0 {
                        let done = sqlx::query(sql).bind(left).execute(&mut *connection).await?;
                        left = left.saturating_sub_unsigned(done.rows_affected());
                    }
                }
                let full = i64::from(SWEEP_BATCH);
                Ok(old >= u64::from(SWEEP_BATCH) || beyond >= full)
            })
        });
        swept.await
    }
}

async fn add(connection: &mut SqliteConnection, event: &AuditEvent) -> Result<(), StoreError> {
    let sql = "INSERT INTO audit (at, kind, cause, actor, actor_name, user_id, login, session_id, \
               client, subject, count, cheap) \
               SELECT $1, $2, $3, $4, $5, whose.id, \
               coalesce($7, (SELECT login FROM users WHERE id = whose.id)), $8, $9, $10, $11, $12 \
               FROM (SELECT coalesce($6, (SELECT user_id FROM sessions WHERE id = $8)) AS id) \
               AS whose";
    sqlx::query(sql)
        .bind(event.at.millis())
        .bind(event.kind.name())
        .bind(event.cause.as_deref())
        .bind(event.actor.role())
        .bind(event.actor.name())
        .bind(event.user.as_ref().map(|id| id.as_bytes().as_slice()))
        .bind(event.login.as_deref())
        .bind(event.session.as_ref().map(|id| id.as_bytes().as_slice()))
        .bind(event.client.map(|address| address.to_string()))
        .bind(event.subject.as_deref())
        .bind(i64::from(event.count))
        .bind(event.kind.is_cheap())
        .execute(connection)
        .await?;
    Ok(())
}
