//! The life of the signing keys: made on first start, kept in the store, rotated with overlap, and
//! published to the cores as whole new rings.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::StartError;
use crate::clock::Timestamp;
use crate::config::KeySource;
use crate::id::KeyId;
use crate::secret::{self, NoRandomness, Secret};
use crate::store::rows::KeyRow;
use crate::store::{Store, StoreError};
use crate::token::{KeyError, Keyring, MasterKey, Rules};

/// The current ring and how it comes about.
pub(super) struct Keys {
    source: Source,
    rules: Rules,
    rotate_every: Duration,
    /// The longest life of anything that a key signs.
    outlive: Duration,
    published: watch::Sender<Arc<Keyring>>,
    /// The published ring's keys, as the store had them.
    known: Mutex<Vec<KeyRow>>,
    /// When somebody last asked for keys out of turn.
    asked: Mutex<Timestamp>,
}

enum Source {
    Store(Arc<dyn Store>),
    /// The operator's own, who rotates it with a restart.
    Fixed,
}

/// The keys could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub(super) enum RotationError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl Keys {
    /// Loads the ring, and makes its first key when there is none. Two gateways that start on one
    /// empty store agree on one key. Returns the id of that key, if it was made here.
    pub(super) async fn load(
        source: &KeySource,
        rules: Rules,
        rotate_every: Duration,
        outlive: Duration,
        store: &Arc<dyn Store>,
        now: Timestamp,
    ) -> Result<(Self, Option<KeyId>), StartError> {
        let (source, known, masters, made) = match source {
            KeySource::Fixed(secret) => {
                (Source::Fixed, Vec::new(), vec![MasterKey::fixed(secret.clone())], None)
            }
            KeySource::Store => {
                let (rows, made) = stored(store.as_ref(), now).await?;
                let masters = rows.iter().cloned().map(master).collect();
                (Source::Store(store.clone()), rows, masters, made)
            }
        };
        let ring = Arc::new(Keyring::new(masters, rules.clone())?);
        let keys = Self {
            source,
            rules,
            rotate_every,
            outlive,
            published: watch::Sender::new(ring),
            known: Mutex::new(known),
            asked: Mutex::new(Timestamp::EPOCH),
        };
        Ok((keys, made))
    }

    /// The ring as of now.
    pub(super) fn ring(&self) -> Arc<Keyring> {
        self.published.borrow().clone()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<Keyring>> {
        self.published.subscribe()
    }

    /// Whether keys may be read from the store out of turn: strangers can cause that with made-up
    /// key ids, so once a second has to do.
    pub(super) fn may_ask(&self, now: Timestamp) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let apart = now.since(*asked).max(asked.since(now));
        let may = matches!(self.source, Source::Store(_)) && apart >= Duration::from_secs(1);
        if may {
            *asked = now;
        }
        may
    }

    /// Reads the store's keys and publishes them if they are others than before. Whether they were.
    pub(super) async fn reload(&self) -> Result<bool, RotationError> {
        let Source::Store(store) = &self.source else { return Ok(false) };
        self.publish(self.rows(&**store).await?)
    }

    /// The store's keys. One that has gone back (a promoted standby, a restored backup) has lost the
    /// newest: people hold what they signed, so they are written there again.
    async fn rows(&self, store: &dyn Store) -> Result<Vec<KeyRow>, StoreError> {
        let mut rows = store.keys().await?;
        for lost in self.lost(&rows) {
            // Another replica may be quicker, with the same key.
            if store.add_key(&lost, rows.last().map(|row| &row.id)).await? {
                tracing::warn!(key.id = lost.id.as_str(), "the store had forgotten a signing key");
            }
            rows = store.keys().await?;
        }
        Ok(rows)
    }

    /// What was known and is not among these, though it was made after the oldest: what was dropped
    /// is older than all that is left.
    fn lost(&self, rows: &[KeyRow]) -> Vec<KeyRow> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(oldest) = rows.iter().map(|row| row.created_at).min() else { return Vec::new() };
        let is_lost =
            |key: &&KeyRow| key.created_at > oldest && rows.iter().all(|row| row.id != key.id);
        known.iter().filter(is_lost).cloned().collect()
    }

    /// Makes the next key when the newest is old enough, drops those that nothing alive was signed
    /// with, and publishes what others made. Returns the id of the key that was made.
    pub(super) async fn rotate(&self, now: Timestamp) -> Result<Option<KeyId>, RotationError> {
        let Source::Store(store) = &self.source else { return Ok(None) };
        let mut made = None;
        let mut rows = self.rows(&**store).await?;
        // One that was given back stands behind those that were made meanwhile.
        let made_last = rows.iter().map(|row| row.created_at).max();
        if let (Some(newest), Some(made_last)) = (rows.last(), made_last)
            && now.since(made_last) >= self.rotate_every
        {
            // Known to every replica before the first token is signed with it.
            let next = make(now, now.plus(AHEAD))?;
            let added = store.add_key(&next, Some(&newest.id)).await?;
            made = added.then_some(next.id);
            rows = store.keys().await?;
        }
        if let Some(before) = self.useless_before(&rows, now) {
            store.drop_keys(before).await?;
            rows = store.keys().await?;
        }
        self.publish(rows)?;
        Ok(made)
    }

    /// The moment before which a key must have been made so that nothing it signed can be alive:
    /// its successor has signed in its place for longer than anything lives.
    fn useless_before(&self, rows: &[KeyRow], now: Timestamp) -> Option<Timestamp> {
        let mut rows: Vec<&KeyRow> = rows.iter().collect();
        rows.sort_by_key(|row| row.active_from);
        let oldest_needed =
            rows.iter().rposition(|row| now.since(row.active_from) > self.outlive)?;
        (oldest_needed > 0).then(|| rows.get(oldest_needed).map(|row| row.created_at))?
    }

    fn publish(&self, rows: Vec<KeyRow>) -> Result<bool, RotationError> {
        // Held until the ring is out, so that the two never differ.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let ids = rows.iter().map(|row| &row.id);
        if rows.is_empty() || ids.eq(known.iter().map(|row| &row.id)) {
            return Ok(false);
        }
        let masters = rows.iter().cloned().map(master).collect();
        let ring = Arc::new(Keyring::new(masters, self.rules.clone())?);
        self.published.send_replace(ring);
        *known = rows;
        Ok(true)
    }
}

async fn stored(
    store: &dyn Store,
    now: Timestamp,
) -> Result<(Vec<KeyRow>, Option<KeyId>), StartError> {
    let mut rows = store.keys().await?;
    let mut made = None;
    if rows.is_empty() {
        let first = make(now, now)?;
        // If another was quicker, its key is ours too.
        made = store.add_key(&first, None).await?.then_some(first.id);
        rows = store.keys().await?;
    }
    Ok((rows, made))
}

/// A key made at `now`, which signs from `active_from` on. It must be in the store that much sooner
/// that every replica has read it by then.
///
/// # Errors
/// No key could be drawn.
pub fn make(now: Timestamp, active_from: Timestamp) -> Result<KeyRow, NoRandomness> {
    Ok(KeyRow {
        id: KeyId::generate()?,
        secret: Secret::new(secret::random::<32>()?.to_vec()),
        active_from,
        created_at: now,
    })
}

fn master(row: KeyRow) -> MasterKey {
    MasterKey { id: row.id, secret: row.secret, active_from: row.active_from }
}

/// How long before its first use a new key is in the store. Replicas look every [`LOOK_EVERY`].
const AHEAD: Duration = Duration::from_secs(120);

/// How often the store is asked for keys that another replica has made.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(30);
