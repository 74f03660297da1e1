//! How often strangers have guessed: for what must outlive a restart, and for several processes on
//! one file.

use super::Sqlite;
use super::writer::Extent;
use crate::clock::Timestamp;
use crate::store::attempts::{Charged, Toll, judge, micros};
use crate::store::{SWEEP_BATCH, StoreError};

pub(super) async fn charge(
    store: &Sqlite,
    tolls: Vec<Toll>,
    now: Timestamp,
) -> Result<Charged, StoreError> {
    let charged = store.writer.act(Extent::Several, move |connection| {
        Box::pin(async move {
            let at = micros(now);
            let mut before = Vec::with_capacity(tolls.len());
            for toll in &tolls {
                let sql = "SELECT arrival FROM attempts WHERE key = $1";
                let held = sqlx::query_scalar::<_, i64>(sql).bind(toll.key.as_bytes().as_slice());
                before.push(held.fetch_optional(&mut *connection).await?);
            }
            let after: Vec<i64> = tolls
                .iter()
                .zip(&before)
                .map(|(toll, held)| held.unwrap_or(0).max(at).saturating_add(toll.interval()))
                .collect();
            let fits = tolls
                .iter()
                .zip(&after)
                .all(|(toll, after)| *after <= at.saturating_add(toll.burst()));
            if !fits {
                let none = vec![None; tolls.len()];
                return Ok(judge(&tolls, &before, &none, at));
            }
            for (toll, arrival) in tolls.iter().zip(&after) {
                let sql = "INSERT INTO attempts (key, arrival) VALUES ($1, $2) \
                           ON CONFLICT (key) DO UPDATE SET arrival = excluded.arrival";
                sqlx::query(sql)
                    .bind(toll.key.as_bytes().as_slice())
                    .bind(arrival)
                    .execute(&mut *connection)
                    .await?;
            }
            let after: Vec<Option<i64>> = after.into_iter().map(Some).collect();
            Ok(judge(&tolls, &before, &after, at))
        })
    });
    charged.await
}

pub(super) async fn refund(store: &Sqlite, tolls: Vec<Toll>) -> Result<(), StoreError> {
    let refunded = store.writer.act(Extent::Several, move |connection| {
        Box::pin(async move {
            for toll in &tolls {
                sqlx::query("UPDATE attempts SET arrival = arrival - $2 WHERE key = $1")
                    .bind(toll.key.as_bytes().as_slice())
                    .bind(toll.interval())
                    .execute(&mut *connection)
                    .await?;
            }
            Ok(())
        })
    });
    refunded.await
}

/// Removes a batch of what is as good as new at `now`; whether there may be more.
pub(super) async fn sweep(store: &Sqlite, now: Timestamp) -> Result<bool, StoreError> {
    let swept = store.writer.act(Extent::Single, move |connection| {
        Box::pin(async move {
            let sql = "DELETE FROM attempts WHERE key IN \
                       (SELECT key FROM attempts WHERE arrival <= $1 LIMIT $2)";
            let done = sqlx::query(sql).bind(micros(now)).bind(i64::from(SWEEP_BATCH));
            Ok(done.execute(connection).await?.rows_affected() >= u64::from(SWEEP_BATCH))
        })
    });
    swept.await
}
