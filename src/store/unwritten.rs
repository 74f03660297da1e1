//! Whether the disk took what was last written. Reading goes on where there is no room to write, so
//! that an answer to a question tells nothing of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::StoreError;
use crate::clock::Stopwatch;

/// How long a failure counts: while it lasts, there are others, and after it nobody has to write
/// first.
const COUNTS: Duration = Duration::from_secs(5);

/// The last act that failed for want of a disk.
#[derive(Debug, Default)]
pub(super) struct Unwritten(Mutex<Option<(Stopwatch, Arc<str>)>>);

/// It was less than a moment ago.
#[derive(Debug, thiserror::Error)]
#[error("the last act could not be written: {0}")]
struct Lately(Arc<str>);

impl Unwritten {
    /// An act has failed so.
    pub(super) fn note(&self, why: Arc<str>) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((Stopwatch::start(), why));
    }

    /// Whether none has failed so lately.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((since, why)) if since.elapsed() < COUNTS => {
                Err(StoreError::unavailable(Lately(Arc::clone(why))))
            }
            _ => Ok(()),
        }
    }
}
