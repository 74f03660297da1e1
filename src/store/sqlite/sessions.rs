//! Sessions: each rule of who may change what stands in the `WHERE` of one statement.

use sqlx::sqlite::SqliteConnection;

use super::writer::Extent;
use super::{Sqlite, revocations};
use crate::clock::Timestamp;
use crate::id::{Revoked, SessionId, UserId};
use crate::store::columns::{
    SessionWithLogin, SessionWithUser, all, bytes, count, live_sessions, session_columns, text,
    user_columns,
};
use crate::store::rows::{EndReason, Session, User};
use crate::store::{Advance, SWEEP_BATCH, Step, StoreError};

pub(super) async fn begin(store: &Sqlite, session: Session) -> Result<(), StoreError> {
    let begun = store.writer.act(Extent::Single, move |connection| {
        Box::pin(async move {
            let sql = "INSERT INTO sessions (id, user_id, generation, seen_generation, \
                       refresh_key, refresh_token, refresh_issued_at, refresh_expires_at, \
                       rotated_at, auth_time, amr, expires_at, idle_expires_at, persistent, \
                       address, device, created_at, ended_at, end_reason) \
                       SELECT $1, id, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, \
                       $16, $17, $18, $19 FROM users WHERE id = $2 AND NOT disabled";
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
    store: &Sqlite,
    id: SessionId,
) -> Result<Option<(Session, User)>, StoreError> {
    let sql = concat!(
        "SELECT ",
        session_columns!(),
        ", ",
        user_columns!(),
        " FROM sessions JOIN users ON users.id = sessions.user_id WHERE sessions.id = $1"
    );
    let row = sqlx::query_as::<_, SessionWithUser>(sql).bind(id.as_bytes().as_slice());
    row.fetch_optional(&store.readers).await?.map(TryFrom::try_from).transpose()
}

pub(super) async fn advance(
    store: &Sqlite,
    id: SessionId,
    step: Step,
) -> Result<Advance, StoreError> {
    let advanced = store.writer.act(Extent::Single, move |connection| {
        Box::pin(async move {
            let sql = "UPDATE sessions SET generation = $3, \
                       seen_generation = max(seen_generation, $2), refresh_key = $4, \
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
    store: &Sqlite,
    id: SessionId,
    idle_expires_at: Timestamp,
) -> Result<(), StoreError> {
    let touched = store.writer.act(Extent::Single, move |connection| {
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

pub(super) async fn seen(store: &Sqlite, sights: Vec<(SessionId, u64)>) -> Result<(), StoreError> {
    if sights.is_empty() {
        return Ok(());
    }
    let seen = store.writer.act(Extent::Several, move |connection| {
        Box::pin(async move {
            let sql = "UPDATE sessions SET seen_generation = $2 \
                       WHERE id = $1 AND seen_generation < $2";
            for (id, generation) in &sights {
                sqlx::query(sql)
                    .bind(id.as_bytes().as_slice())
                    .bind(count(*generation))
                    .execute(&mut *connection)
                    .await?;
            }
            Ok(())
        })
    });
    seen.await
}

pub(super) async fn end(
    store: &Sqlite,
    id: SessionId,
    reason: EndReason,
    now: Timestamp,
    revoked_until: Timestamp,
) -> Result<bool, StoreError> {
    let ended = store.writer.act(Extent::Several, move |connection| {
        Box::pin(async move {
            let sql = "UPDATE sessions SET ended_at = $2, end_reason = $3 \
                       WHERE id = $1 AND ended_at IS NULL";
            let done = sqlx::query(sql)
                .bind(id.as_bytes().as_slice())
                .bind(now.millis())
                .bind(reason.as_str())
                .execute(&mut *connection)
                .await?;
            if done.rows_affected() == 0 {
                return Ok(false);
            }
            revocations::add(connection, &Revoked::Session(id), revoked_until).await?;
            Ok(true)
        })
    });
    let ended = ended.await?;
    store.watch.wake();
    Ok(ended)
}

pub(super) async fn end_of_user(
    store: &Sqlite,
    user: UserId,
    keep: Option<SessionId>,
    reason: EndReason,
    now: Timestamp,
    revoked_until: Timestamp,
) -> Result<Vec<SessionId>, StoreError> {
    let ended = store.writer.act(Extent::Several, move |connection| {
        Box::pin(end_all(connection, user, keep, reason, now, revoked_until))
    });
    let ended = ended.await?;
    store.watch.wake();
    Ok(ended)
}

/// Ends the sessions of a user within an act, those too that have expired: an access token may
/// have been given out in their last moment.
pub(super) async fn end_all(
    connection: &mut SqliteConnection,
    user: UserId,
    keep: Option<SessionId>,
    reason: EndReason,
    now: Timestamp,
    revoked_until: Timestamp,
) -> Result<Vec<SessionId>, StoreError> {
    let sql = "UPDATE sessions SET ended_at = $3, end_reason = $4 \
               WHERE user_id = $1 AND ended_at IS NULL AND id IS NOT $2 RETURNING id";
    let ended: Vec<Vec<u8>> = sqlx::query_scalar(sql)
        .bind(user.as_bytes().as_slice())
        .bind(keep.as_ref().map(|id| id.as_bytes().as_slice()))
        .bind(now.millis())
        .bind(reason.as_str())
        .fetch_all(&mut *connection)
        .await?;
    let mut ids = Vec::with_capacity(ended.len());
    for id in ended {
        let id = SessionId::from_bytes(bytes(&id, "a session's id")?);
        revocations::add(connection, &Revoked::Session(id), revoked_until).await?;
        ids.push(id);
    }
    Ok(ids)
}

pub(super) async fn live(
    store: &Sqlite,
    user: Option<UserId>,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<(Session, String)>, StoreError> {
    // Two texts, so that the sessions of one user are found by their index.
    let sql = match user {
        Some(_) => live_sessions!(" AND sessions.user_id = $3"),
        None => live_sessions!(""),
    };
    let rows = sqlx::query_as::<_, SessionWithLogin>(sql)
        .bind(now.millis())
        .bind(i64::from(limit))
        .bind(user.as_ref().map(|user| user.as_bytes().as_slice()));
    all(rows.fetch_all(&store.readers).await?)
}

/// Removes a batch of sessions that ended or expired before `before`; whether there may be more.
pub(super) async fn sweep(store: &Sqlite, before: Timestamp) -> Result<bool, StoreError> {
    // No index finds these: it would cost each rotation a page, to save a scan now and then. The
    // scan is a reader's, which keeps nobody waiting.
    let sql = "SELECT id FROM sessions WHERE ended_at < $1 OR expires_at < $1 \
               OR idle_expires_at < $1 LIMIT $2";
    let found: Vec<Vec<u8>> = sqlx::query_scalar(sql)
        .bind(before.millis())
        .bind(i64::from(SWEEP_BATCH))
        .fetch_all(&store.readers)
        .await?;
    if found.is_empty() {
        return Ok(false);
    }
    let more = found.len() >= usize::try_from(SWEEP_BATCH).unwrap_or(usize::MAX);
    let swept = store.writer.act(Extent::Several, move |connection| {
        Box::pin(async move {
            // Looked at again: it may have been refreshed since.
            let sql = "DELETE FROM sessions WHERE id = $1 \
                       AND (ended_at < $2 OR expires_at < $2 OR idle_expires_at < $2)";
            for id in found {
                sqlx::query(sql).bind(id).bind(before.millis()).execute(&mut *connection).await?;
            }
            Ok(())
        })
    });
    swept.await?;
    Ok(more)
}
