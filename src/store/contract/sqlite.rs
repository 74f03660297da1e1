//! A file in a temporary folder, with short waits so that a test of a lock is short.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;

use super::{Place, Store};
use crate::store::Waits;
use crate::store::seal::Seal;
use crate::store::sqlite::Sqlite;

pub(super) struct File {
    folder: TempDir,
}

impl File {
    fn path(&self) -> PathBuf {
        self.folder.path().join("data/sallyport.db")
    }
}

impl Place for File {
    async fn fresh() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    async fn open_with(&self, seal: Seal) -> Arc<dyn Store> {
        // Long enough for twenty handles on a slow machine, short enough to be waited for.
        let wait = Duration::from_secs(2);
        let waits = Waits { lock: wait, turn: wait };
        Arc::new(Sqlite::open(&self.path(), seal, waits).await.unwrap())
    }

    async fn lock(&self) -> Box<dyn Any> {
        let options = SqliteConnectOptions::new().filename(self.path());
        let mut connection = options.connect().await.unwrap();
        // Not a transaction of the driver's, which would borrow: it ends with the connection.
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
        Box::new(connection)
    }
}
