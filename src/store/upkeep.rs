//! What keeps a store sound beside its everyday acts.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::clock::Timestamp;
use crate::id::Revoked;

/// Sealing anew, the server's clock, backups.
#[async_trait]
pub trait Upkeep {
    /// Brings every signing key under the present seal key, in one act: those that are not sealed,
    /// and those that a retired seal key holds. Returns how many that were.
    async fn reseal_keys(&self) -> Result<usize, StoreError>;
    /// What the clock says that all replicas share; `None` for a store in one machine.
    async fn shared_clock(&self) -> Result<Option<Timestamp>, StoreError>;
    /// How long an act may be under way at most: what it has not shown by then, it never shows.
    fn longest_act(&self) -> Duration;
    /// Moves on whenever the server may have become another one, which may have forgotten something.
    fn epoch(&self) -> u64;
    /// Writes revocations again that a server has lost which took another's place, and ends the
    /// sessions among them, in one act.
    async fn revoke_again(
        &self,
        entries: &[(Revoked, Timestamp)],
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Writes a copy of the whole store, as of one moment, to a new file, while others go on.
    ///
    /// `Refused`: the server's own tools do that, or the file exists.
    async fn backup(&self, to: &Path) -> Result<(), StoreError>;
    /// Before an end that is no crash: what a store in a file still has in its log moves to the file,
    /// which is whole by itself then. Nothing if somebody else is at the file just now, or for a server.
    async fn put_away(&self) -> Result<(), StoreError>;
}
