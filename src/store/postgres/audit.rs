//! The audit stream.

use async_trait::async_trait;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::Postgres;
use crate::clock::Timestamp;
use crate::store::audit::{
    Audit, AuditColumns, AuditEntry, AuditEvent, AuditFilter, audit_columns,
};
use crate::store::columns::all;
use crate::store::{SWEEP_BATCH, StoreError};

#[async_trait]
impl Audit for Postgres {
    async fn record(&self, events: &[AuditEvent]) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        let columns = Columns::of(events);
        self.act(move |connection| Box::pin(columns.insert(connection))).await
    }

    async fn audit(&self, filter: &AuditFilter, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
        let filter = filter.clone();
        let found = self.act(move |connection| {
            Box::pin(async move {
                let sql = concat!(
                    "SELECT ",
                    audit_columns!(),
                    " FROM audit WHERE ($1::bigint IS NULL OR at >= $1) \
                     AND ($2::bytea IS NULL OR user_id = $2) \
                     AND ($3::text IS NULL OR login = $3) AND ($4::text IS NULL OR kind = $4) \
                     AND ($5::bigint IS NULL OR sequence < $5) ORDER BY sequence DESC LIMIT $6"
                );
                let rows = sqlx::query_as::<_, AuditColumns>(sql)
                    .bind(filter.since.map(Timestamp::millis))
                    .bind(filter.user.as_ref().map(|id| id.as_bytes().as_slice()))
                    .bind(filter.login.as_deref())
                    .bind(filter.kind.map(|kind| kind.name()))
                    .bind(filter.before)
                    .bind(i64::from(limit));
                all(rows.fetch_all(connection).await?)
            })
        });
        found.await
    }

    async fn sweep_audit(&self, before: Timestamp, most: u64) -> Result<bool, StoreError> {
        let swept = self.act(move |connection| {
            Box::pin(async move {
                let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM audit")
                    .fetch_one(&mut *connection)
                    .await?;
                let full = i64::from(SWEEP_BATCH);
                let beyond = kept.saturating_sub_unsigned(most).max(0).min(full);
                let mut transaction = connection.begin().await?;
                let old = "DELETE FROM audit WHERE sequence IN \
                           (SELECT sequence FROM audit WHERE at < $1 LIMIT $2)";
                let old = sqlx::query(old).bind(before.millis()).bind(full);
                let old = old.execute(&mut *transaction).await?.rows_affected();
                let mut left = beyond.saturating_sub_unsigned(old);
                for sql in [
                    "DELETE FROM audit WHERE sequence IN \
                     (SELECT sequence FROM audit WHERE cheap ORDER BY sequence LIMIT $1)",
                    "DELETE FROM audit WHERE sequence IN \
                     (SELECT sequence FROM audit ORDER BY sequence LIMIT $1)",
                ] {
                    if left > 0 {
                        let done = sqlx::query(sql).bind(left).execute(&mut *transaction).await?;
                        left = left.saturating_sub_unsigned(done.rows_affected());
                    }
                }
                transaction.commit().await?;
                Ok(old >= u64::from(SWEEP_BATCH) || beyond >= full)
            })
        });
        swept.await
    }
}

/// Events by column, to be written by one statement.
#[derive(Default)]
struct Columns {
    at: Vec<i64>,
    kind: Vec<&'static str>,
    cause: Vec<Option<String>>,
    actor: Vec<&'static str>,
    actor_name: Vec<Option<String>>,
    user: Vec<Option<Vec<u8>>>,
    login: Vec<Option<String>>,
    session: Vec<Option<Vec<u8>>>,
    client: Vec<Option<String>>,
    subject: Vec<Option<String>>,
    count: Vec<i64>,
    cheap: Vec<bool>,
}

impl Columns {
    fn of(events: &[AuditEvent]) -> Self {
        let mut columns = Self::default();
        for event in events {
            columns.at.push(event.at.millis());
            columns.kind.push(event.kind.name());
            columns.cause.push(event.cause.as_deref().map(str::to_owned));
            columns.actor.push(event.actor.role());
            columns.actor_name.push(event.actor.name().map(str::to_owned));
            columns.user.push(event.user.map(|id| id.as_bytes().to_vec()));
            columns.login.push(event.login.clone());
            columns.session.push(event.session.map(|id| id.as_bytes().to_vec()));
            columns.client.push(event.client.map(|address| address.to_string()));
            columns.subject.push(event.subject.clone());
            columns.count.push(i64::from(event.count));
            columns.cheap.push(event.kind.is_cheap());
        }
        columns
    }

    async fn insert(self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let sql = "INSERT INTO audit (at, kind, cause, actor, actor_name, user_id, login, \
                   session_id, client, subject, count, cheap) \
                   SELECT event.at, event.kind, event.cause, event.actor, event.actor_name, \
                   coalesce(event.user_id, sessions.user_id), coalesce(event.login, users.login), \
                   event.session_id, event.client, event.subject, event.count, event.cheap \
                   FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], \
                   $6::bytea[], $7::text[], $8::bytea[], $9::text[], $10::text[], $11::bigint[], \
                   $12::boolean[]) WITH ORDINALITY AS event (at, kind, cause, actor, actor_name, \
                   user_id, login, session_id, client, subject, count, cheap, position) \
                   LEFT JOIN sessions ON sessions.id = event.session_id \
                   LEFT JOIN users ON users.id = coalesce(event.user_id, sessions.user_id) \
                   ORDER BY event.position";
        sqlx::query(sql)
            .bind(self.at)
            .bind(self.kind)
            .bind(self.cause)
            .bind(self.actor)
            .bind(self.actor_name)
            .bind(self.user)
            .bind(self.login)
            .bind(self.session)
            .bind(self.client)
            .bind(self.subject)
            .bind(self.count)
            .bind(self.cheap)
            .execute(connection)
            .await?;
        Ok(())
    }
}
