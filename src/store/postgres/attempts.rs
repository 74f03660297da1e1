//! How often strangers have guessed, over all replicas.

use super::Postgres;
use crate::clock::Timestamp;
use crate::store::attempts::{Charged, Toll, judge, micros};
use crate::store::{SWEEP_BATCH, StoreError};

/// How often an attempt is charged again that waited for others in a circle.
const AGAIN: usize = 3;

pub(super) async fn charge(
    store: &Postgres,
    tolls: Vec<Toll>,
    now: Timestamp,
) -> Result<Charged, StoreError> {
    for _ in 0..AGAIN {
        match charge_once(store, tolls.clone(), now).await {
            // What is there is locked in the order of keys. What another has put in meanwhile is locked
            // after that, and who comes third may hold it already: then the server ends one of them.
            Err(error) if error.is_deadlock() => {}
            done => return done,
        }
    }
    charge_once(store, tolls, now).await
}

async fn charge_once(
    store: &Postgres,
    tolls: Vec<Toll>,
    now: Timestamp,
) -> Result<Charged, StoreError> {
    let charged = store.act(move |connection| {
        Box::pin(async move {
            // What is there is locked, looked at and moved in one statement. Of two who come first
            // with a new key, neither sees the other: the conflict shows it, and looks again.
            let sql = "WITH asked AS (SELECT key, interval, burst, number FROM \
                       unnest($1::bytea[], $2::bigint[], $3::bigint[]) \
                       WITH ORDINALITY AS asked (key, interval, burst, number)), \
                       held AS (SELECT attempts.key, attempts.arrival FROM attempts \
                       WHERE key IN (SELECT key FROM asked) ORDER BY key FOR UPDATE), \
                       verdict AS (SELECT bool_and(greatest(coalesce(held.arrival, 0), $4) \
                       + asked.interval <= $4 + asked.burst) AS fits \
                       FROM asked LEFT JOIN held USING (key)), \
                       charged AS (INSERT INTO attempts (key, arrival) \
                       SELECT asked.key, $4 + asked.interval FROM asked, verdict \
                       WHERE verdict.fits ORDER BY asked.key \
                       ON CONFLICT (key) DO UPDATE \
                       SET arrival = greatest(attempts.arrival, $4) + excluded.arrival - $4 \
                       WHERE greatest(attempts.arrival, $4) + excluded.arrival - $4 <= $4 + \
                       (SELECT burst FROM asked WHERE asked.key = attempts.key LIMIT 1) \
                       RETURNING key, arrival) \
                       SELECT held.arrival, charged.arrival FROM asked LEFT JOIN held USING (key) \
                       LEFT JOIN charged USING (key) ORDER BY asked.number";
            let keys: Vec<&[u8]> =
                tolls.iter().map(|toll| toll.key.as_bytes().as_slice()).collect();
            let at = micros(now);
            let rows: Vec<(Option<i64>, Option<i64>)> = sqlx::query_as(sql)
                .bind(keys)
                .bind(tolls.iter().map(Toll::interval).collect::<Vec<i64>>())
                .bind(tolls.iter().map(Toll::burst).collect::<Vec<i64>>())
                .bind(at)
                .fetch_all(&mut *connection)
                .await?;
            let (before, after): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
            let charged = judge(&tolls, &before, &after, at);
            if matches!(charged, Charged::Refused(..)) {
                // A race for a new key was lost after others had been charged.
                let taken = tolls.iter().zip(&after).filter(|(_, after)| after.is_some());
                let taken: Vec<Toll> = taken.map(|(toll, _)| *toll).collect();
                if !taken.is_empty() {
                    give_back(connection, &taken).await?;
                }
            }
            Ok(charged)
        })
    });
    charged.await
}

pub(super) async fn refund(store: &Postgres, tolls: Vec<Toll>) -> Result<(), StoreError> {
    let refunded =
        store.act(move |connection| Box::pin(async move { give_back(connection, &tolls).await }));
    refunded.await
}

async fn give_back(
    connection: &mut sqlx::postgres::PgConnection,
    tolls: &[Toll],
) -> Result<(), StoreError> {
    let sql = "WITH asked AS (SELECT key, interval FROM \
               unnest($1::bytea[], $2::bigint[]) AS asked (key, interval)), \
               held AS (SELECT attempts.key FROM attempts \
               WHERE key IN (SELECT key FROM asked) ORDER BY key FOR UPDATE) \
               UPDATE attempts SET arrival = arrival - asked.interval \
               FROM asked, held WHERE attempts.key = asked.key AND held.key = asked.key";
    let keys: Vec<&[u8]> = tolls.iter().map(|toll| toll.key.as_bytes().as_slice()).collect();
    sqlx::query(sql)
        .bind(keys)
        .bind(tolls.iter().map(Toll::interval).collect::<Vec<i64>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Removes a batch of what is as good as new at `now`; whether there may be more.
pub(super) async fn sweep(store: &Postgres, now: Timestamp) -> Result<bool, StoreError> {
    let swept = store.act(move |connection| {
        Box::pin(async move {
            // No index finds these: it would make every attempt write to it. Replicas that sweep
            // at the same time take different rows.
            let sql = "DELETE FROM attempts WHERE key IN (SELECT key FROM attempts \
                       WHERE arrival <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)";
            let done = sqlx::query(sql).bind(micros(now)).bind(i64::from(SWEEP_BATCH));
            Ok(done.execute(connection).await?.rows_affected() >= u64::from(SWEEP_BATCH))
        })
    });
    swept.await
}
