//! Whether the file is still where it was. Linux lets a program go on writing to a file that has
//! been removed, and all of that is lost with the process: better to say no.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::store::StoreError;

/// One file, known by more than its name.
#[derive(Debug, Clone)]
pub(super) struct Home {
    path: PathBuf,
    device: u64,
    inode: u64,
}

#[derive(Debug, thiserror::Error)]
enum Gone {
    #[error("{path} is not there any more: {source}; put it back, or stop the gateway")]
    Missing { path: PathBuf, source: io::Error },
    #[error("{0} is another file now; stop the gateway before its database is replaced")]
    Replaced(PathBuf),
}

impl Home {
    /// The file at `path` as it is now.
    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
        let found = std::fs::metadata(path);
        let found = found.map_err(|source| Gone::Missing { path: path.to_owned(), source });
        let found = found.map_err(StoreError::unavailable)?;
        Ok(Self { path: path.to_owned(), device: found.dev(), inode: found.ino() })
    }

    /// Costs a look-up in the system's memory of names, and no disk access.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let now = Self::of(&self.path)?;
        if (now.device, now.inode) == (self.device, self.inode) {
            Ok(())
        } else {
            Err(StoreError::unavailable(Gone::Replaced(self.path.clone())))
        }
    }
}
