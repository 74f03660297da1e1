//! Sessions. An act on several of them locks them in the order of their ids, so that no two wait
//! for each other.

use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::Postgres;
use super::listen::CHANNEL;
use crate::clock::Timestamp;
use crate::id::{SessionId, UserId};
use crate::store::columns::{
    SessionWithLogin, SessionWithUser, all, bytes, count, live_sessions, session_columns, text,
    user_columns,
};
use crate::store::rows::{EndReason, Session, User};
use crate::store::{Advance, SWEEP_BATCH, Step, StoreError};

pub(super) async fn begin(store: &Postgres, session: Session) -> Result<(), StoreError> {
    let begun = store.act(move |connection| {
        Box::pin(async move {
            // FOR SHARE: who is disabling the user right now goes first, or waits and ends this.
            let sql = "INSERT INTO sessions (id, user_id, generation, seen_generation, \
                       refresh_key, refresh_token, refresh_issued_at, refresh_expires_at, \
                       rotated_at, auth_time, amr, expires_at, idle_expires_at, persistent, \
                       address, device, created_at, ended_at, end_reason) \
                       SELECT $1, id, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, \
                       $16, $17, $18, $19 FROM users WHERE id = $2 AND NOT disabled FOR SHARE";
            let done = sqlx::query(sql)
                .bind(session.id.as_bytes().as_slice())
                .bind(session.user.as_bytes().as_slice())
                .bind(count(session.generation))
                .bind(count(session.seen_generation))
                .bind(session.current.key.as_str())
                .bind(session.current.token.as_bytes().as_slice())
                .bind(session.current.issued_at.millis())
                .bind(session.current.expires_at.millis())
                .bind(session.rotated_at.millis())
                .bind(session.auth_time.millis())
                .bind(text(&session.amr))
                .bind(session.expires_at.millis())
                .bind(session.idle_expires_at.millis())
                .bind(session.persistent)
                .bind(session.address.map(|address| address.to_string()))
                .bind(&session.device)
                .bind(session.created_at.millis())
                .bind(session.ended.map(|ended| ended.at.millis()))
                .bind(session.ended.map(|ended| ended.reason.as_str()))
                .execute(connection)
                .await?;
            if done.rows_affected() == 0 { Err(StoreError::NoSuchUser) } else { Ok(()) }
        })
    });
    begun.await
}

pub(super) async fn by_id(
    store: &Postgres,
    id: SessionId,
) -> Result<Option<(Session, User)>, StoreError> {
    let found = store.act(move |connection| {
        Box::pin(async move {
            let sql = concat!(
                "SELECT ",
                session_columns!(),
                ", ",
                user_columns!(),
                " FROM sessions JOIN users ON users.id = sessions.user_id WHERE sessions.id = $1"
            );
            let row = sqlx::query_as::<_, SessionWithUser>(sql).bind(id.as_bytes().as_slice());
            row.fetch_optional(connection).await?.map(TryFrom::try_from).transpose()
        })
    });
    found.await
}

pub(super) async fn advance(
    store: &Postgres,
    id: SessionId,
    step: Step,
) -> Result<Advance, StoreError> {
    let advanced = store.act(move |connection| {
        Box::pin(async move {
            let sql = "UPDATE sessions SET generation = $3, \
                       seen_generation = greatest(seen_generation, $2), refresh_key = $4, \
                       refresh_token = $5, refresh_issued_at = $6, refresh_expires_at = $7, \
                       rotated_at = $8, idle_expires_at = $9 \
                       WHERE id = $1 AND generation = $2 AND ended_at IS NULL";
            let done = sqlx::query(sql)
                .bind(id.as_bytes().as_slice())
                .bind(count(step.from))
                .bind(count(step.to))
                .bind(step.next.key.as_str())
                .bind(step.next.token.as_bytes().as_slice())
                .bind(step.next.issued_at.millis())
                .bind(step.next.expires_at.millis())
                .bind(step.at.millis())
                .bind(step.idle_expires_at.millis())
                .execute(connection)
                .await?;
            Ok(if done.rows_affected() == 1 { Advance::Done } else { Advance::Lost })
        })
    });
    advanced.await
}

pub(super) async fn touch(
    store: &Postgres,
    id: SessionId,
    idle_expires_at: Timestamp,
) -> Result<(), StoreError> {
    let touched = store.act(move |connection| {
        Box::pin(async move {
            let sql = "UPDATE sessions SET idle_expires_at = $2 \
                       WHERE id = $1 AND ended_at IS NULL";
            sqlx::query(sql)
                .bind(id.as_bytes().as_slice())
                .bind(idle_expires_at.millis())
                .execute(connection)
                .await?;
            Ok(())
        })
    });
    touched.await
}

pub(super) async fn seen(store: &Postgres, sights: &[(SessionId, u64)]) -> Result<(), StoreError> {
    if sights.is_empty() {
        return Ok(());
    }
    let ids: Vec<Vec<u8>> = sights.iter().map(|(id, _)| id.as_bytes().to_vec()).collect();
    let generations: Vec<i64> = sights.iter().map(|(_, generation)| count(*generation)).collect();
    let seen = store.act(move |connection| {
        Box::pin(async move {
            let sql = "WITH sights AS (SELECT id, max(generation) AS generation \
                       FROM unnest($1, $2) AS sight (id, generation) GROUP BY id), \
                       locked AS MATERIALIZED (SELECT sessions.id, sights.generation \
                       FROM sessions JOIN sights ON sights.id = sessions.id \
                       WHERE sessions.seen_generation < sights.generation \
                       ORDER BY sessions.id FOR NO KEY UPDATE OF sessions) \
                       UPDATE sessions \
                       SET seen_generation = greatest(seen_generation, locked.generation) \
                       FROM locked WHERE sessions.id = locked.id";
            sqlx::query(sql).bind(ids).bind(generations).execute(connection).await?;
            Ok(())
        })
    });
    seen.await
}

pub(super) async fn end(
    store: &Postgres,
    id: SessionId,
    reason: EndReason,
    now: Timestamp,
    revoked_until: Timestamp,
) -> Result<bool, StoreError> {
    let ended = store.act(move |connection| {
        Box::pin(async move {
            let sql = "WITH ended AS (UPDATE sessions SET ended_at = $2, end_reason = $3 \
                       WHERE id = $1 AND ended_at IS NULL RETURNING id), \
                       written AS (INSERT INTO revocations (kind, subject, expires_at) \
                       SELECT 'session', id, $4 FROM ended RETURNING 1) \
                       SELECT pg_notify($5, '') FROM written";
            let done = sqlx::query(sql)
                .bind(id.as_bytes().as_slice())
                .bind(now.millis())
                .bind(reason.as_str())
                .bind(revoked_until.millis())
                .bind(CHANNEL)
                .execute(connection)
                .await?;
            Ok(done.rows_affected() == 1)
        })
    });
    ended.await
}

pub(super) async fn end_of_user(
    store: &Postgres,
    user: UserId,
    keep: Option<SessionId>,
    reason: EndReason,
    now: Timestamp,
    revoked_until: Timestamp,
) -> Result<Vec<SessionId>, StoreError> {
    let ended = store.act(move |connection| {
        Box::pin(async move {
            let mut transaction = connection.begin().await?;
            let ended = end_all(&mut transaction, user, keep, reason, now, revoked_until).await?;
            transaction.commit().await?;
            Ok(ended)
        })
    });
    ended.await
}

/// Ends the sessions of a user within a transaction, those too that have expired: an access token
/// may have been given out in their last moment.
pub(super) async fn end_all(
    connection: &mut PgConnection,
    user: UserId,
    keep: Option<SessionId>,
    reason: EndReason,
    now: Timestamp,
    revoked_until: Timestamp,
) -> Result<Vec<SessionId>, StoreError> {
    let sql = "WITH ended AS (UPDATE sessions SET ended_at = $3, end_reason = $4 \
               WHERE ended_at IS NULL AND id IN (SELECT id FROM sessions \
               WHERE user_id = $1 AND ended_at IS NULL AND id IS DISTINCT FROM $2 \
               ORDER BY id FOR NO KEY UPDATE) RETURNING id), \
               written AS (INSERT INTO revocations (kind, subject, expires_at) \
               SELECT 'session', id, $5 FROM ended) SELECT id FROM ended";
    let ended: Vec<Vec<u8>> = sqlx::query_scalar(sql)
        .bind(user.as_bytes().as_slice())
        .bind(keep.as_ref().map(|id| id.as_bytes().as_slice()))
        .bind(now.millis())
        .bind(reason.as_str())
        .bind(revoked_until.millis())
        .fetch_all(&mut *connection)
        .await?;
    if !ended.is_empty() {
        sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL).execute(connection).await?;
    }
    let id = |id: Vec<u8>| bytes(&id, "a session's id").map(SessionId::from_bytes);
    ended.into_iter().map(id).collect()
}

pub(super) async fn live(
    store: &Postgres,
    user: Option<UserId>,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<(Session, String)>, StoreError> {
    let found = store.act(move |connection| {
        Box::pin(async move {
            let of_all = live_sessions!("");
            let of_one = live_sessions!(" AND sessions.user_id = $3");
            let sql = if user.is_some() { of_one } else { of_all };
            let mut rows = sqlx::query_as::<_, SessionWithLogin>(sql)
                .bind(now.millis())
                .bind(i64::from(limit));
            if let Some(user) = &user {
                rows = rows.bind(user.as_bytes().as_slice());
            }
            all(rows.fetch_all(connection).await?)
        })
    });
    found.await
}

/// How many sessions one look for old ones goes through.
const SLICE: i64 = 20_000;

/// Looks through some sessions behind `from`, in the order of their ids, and removes a batch of those
/// that ended or expired before `before`; where to go on, if there is more.
pub(super) async fn sweep(
    store: &Postgres,
    from: Vec<u8>,
    before: Timestamp,
) -> Result<Option<Vec<u8>>, StoreError> {
    let swept = store.act(move |connection| {
        Box::pin(async move {
            // No index finds these: it would make every rotation write to it, to save a look now and
            // then. By slices, since a look at a large table would last longer than a statement may.
            let sql = "WITH slice AS MATERIALIZED (SELECT id, \
                       ended_at < $1 OR expires_at < $1 OR idle_expires_at < $1 AS over \
                       FROM sessions WHERE id > $2 ORDER BY id LIMIT $3), \
                       old AS MATERIALIZED (SELECT id FROM slice WHERE over ORDER BY id LIMIT $4), \
                       gone AS (DELETE FROM sessions WHERE id IN (SELECT id FROM old) \
                       AND (ended_at < $1 OR expires_at < $1 OR idle_expires_at < $1)) \
                       SELECT CASE WHEN (SELECT count(*) FROM old) = $4 \
                       THEN (SELECT id FROM old ORDER BY id DESC LIMIT 1) \
                       WHEN (SELECT count(*) FROM slice) = $3 \
                       THEN (SELECT id FROM slice ORDER BY id DESC LIMIT 1) END";
            let next = sqlx::query_scalar(sql)
                .bind(before.millis())
                .bind(from)
                .bind(SLICE)
                .bind(i64::from(SWEEP_BATCH))
                .fetch_one(connection);
            Ok(next.await?)
        })
    });
    swept.await
}
