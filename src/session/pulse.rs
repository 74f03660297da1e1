//! How well this process hears what others revoke: when that was last read, and whether all is known
//! of what was revoked while the store could not be read.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Stopwatch;

/// When revocations were last read, and up to which of the server's epochs all of them were.
pub(super) struct Pulse {
    read: Mutex<Stopwatch>,
    epoch: AtomicU64,
    missed: AtomicBool,
}

impl Pulse {
    /// Just read, all of them, on the server as it has been since `epoch`.
    pub(super) fn new(epoch: u64) -> Self {
        Self {
            read: Mutex::new(Stopwatch::start()),
            epoch: AtomicU64::new(epoch),
            missed: AtomicBool::new(false),
        }
    }

    /// The time since they were read.
    pub(super) fn silence(&self) -> Duration {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Whether some may be missing here that were written while the server could not be read. To be
    /// asked after the server has answered, with the epoch of then: it may have been away before.
    pub(super) fn is_behind(&self, epoch: u64) -> bool {
        self.missed.load(Ordering::Acquire) || self.epoch.load(Ordering::Acquire) != epoch
    }

    /// The epoch since which none is missing.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// They were read.
    pub(super) fn beat(&self) {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Stopwatch::start();
    }

    /// They could not be read.
    pub(super) fn miss(&self) {
        self.missed.store(true, Ordering::Release);
    }

    /// All of them were read, by a reading that began in `epoch`.
    pub(super) fn catch_up(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Release);
        self.missed.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_could_not_read_or_has_lost_the_server_is_behind_until_all_is_read_there() {
        let pulse = Pulse::new(3);
        assert!(!pulse.is_behind(3));
        pulse.miss();
        pulse.beat();
        assert!(pulse.is_behind(3), "one reading of what is new does not make up for it");
        pulse.catch_up(3);
        assert!(!pulse.is_behind(3));
        assert!(pulse.is_behind(4), "another server, or the same after a pause");
        pulse.catch_up(4);
        assert!(!pulse.is_behind(4));
        assert!(pulse.is_behind(5), "it was away again while that was read");
    }
}
