//! A copy of the file as of one moment, made while others read and write it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use super::{Sqlite, open};
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}")]
struct NotWritten {
    path: PathBuf,
    source: io::Error,
}

/// Writes it beside its place and puts it there when it is whole: what is called `to` is a backup,
/// or is not there.
pub(super) async fn write(store: &Sqlite, to: &Path) -> Result<(), StoreError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::unavailable(NotWritten { path, source })
    };
    if to.try_exists().map_err(failed(to))? {
        return Err(StoreError::Refused(format!("{} is there already", to.display())));
    }
    let mut partial = to.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    // For its owner alone from the first byte: it holds password hashes and signing keys.
    let made =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial);
    drop(made.map_err(failed(&partial))?);
    let done = copy(store, &partial).await;
    let done = match done {
        Ok(()) => publish(&partial, to).map_err(failed(to)),
        Err(error) => Err(error),
    };
    if done.is_err() {
        // Half a backup helps nobody; that it could not be removed either is not the news.
        std::fs::remove_file(&partial).ok();
    }
    done
}

async fn copy(store: &Sqlite, partial: &Path) -> Result<(), StoreError> {
    let name = partial.to_str().ok_or_else(|| {
        StoreError::Refused(format!("{} is not a name in UTF-8", partial.display()))
    })?;
    let mut source = store.options.connect().await?;
    // One read of one snapshot, so nobody waits for it; an empty file may be there.
    sqlx::query("VACUUM INTO $1").bind(name).execute(&mut source).await?;
    let options = SqliteConnectOptions::new().filename(partial).create_if_missing(false);
    let mut copy = options.read_only(true).disable_statement_logging().connect().await?;
    open::inspect(&mut copy).await
}

fn publish(partial: &Path, to: &Path) -> io::Result<()> {
    File::open(partial)?.sync_all()?;
    // Not over what has come there meanwhile.
    std::fs::hard_link(partial, to)?;
    std::fs::remove_file(partial)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
