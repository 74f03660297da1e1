//! The one connection that writes. Acts that wait for it together are committed together, so that
//! they share one flush to the disk; each is undone by itself if it fails, and none is answered
//! before all of it is durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{mpsc, oneshot};

use super::home::Home;
use crate::store::StoreError;
use crate::store::fault::{Busy, is_locked};
use crate::store::unwritten::Unwritten;

/// How many acts may wait for the writer. What comes then waits for a place, as long as it may.
const QUEUE: usize = 1024;
/// How many acts one commit may hold: other processes wait for the file that long.
const BATCH: usize = 128;

/// How an act is made of statements.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// One statement, which is atomic by itself.
    Single,
    /// Several statements, of which none must remain without the others.
    Several,
}

/// The way to the connection that writes.
pub(super) struct Writer {
    queue: mpsc::Sender<Box<dyn Queued>>,
    wait: Duration,
    unwritten: Arc<Unwritten>,
}

impl Writer {
    /// Takes over `connection`; `options` open another one in its place when it broke. An act may
    /// wait for its turn as long as `wait`. The task ends, after what is queued, with this handle.
    pub(super) fn start(
        connection: SqliteConnection,
        options: SqliteConnectOptions,
        home: Home,
        wait: Duration,
    ) -> Self {
        let (queue, acts) = mpsc::channel(QUEUE);
        let unwritten = Arc::<Unwritten>::default();
        let link =
            Link { options, home, connection: Some(connection), unwritten: Arc::clone(&unwritten) };
        tokio::spawn(link.run(acts));
        Self { queue, wait, unwritten }
    }

    /// Whether the disk takes what is written.
    ///
    /// # Errors
    /// It did not lately.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.unwritten.check()
    }

    /// Runs `act` and returns when it is durable. An act that has begun runs to its end, though
    /// its caller may have gone; one that was given up does not begin.
    pub(super) async fn act<T, F>(&self, extent: Extent, act: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>>
            + Send
            + 'static,
    {
        let taken = Arc::new(AtomicBool::new(false));
        let (answer, mut answered) = oneshot::channel();
        let act = Act { extent, act: Some(act), result: None, answer, taken: Arc::clone(&taken) };
        let busy = || StoreError::unavailable(Busy(self.wait));
        let gone = |_| StoreError::unavailable("its writer has stopped");

        let mut patience = std::pin::pin!(tokio::time::sleep(self.wait));
        tokio::select! {
            biased;
            sent = self.queue.send(Box::new(act)) => {
                sent.map_err(|_| StoreError::unavailable("its writer has stopped"))?;
            }
            () = &mut patience => return Err(busy()),
        }
        tokio::select! {
            biased;
            result = &mut answered => return result.map_err(gone)?,
            // Whoever sets the flag owns the act: it is given up here, or it is being done.
            () = &mut patience => if !taken.swap(true, Ordering::AcqRel) {
                return Err(busy());
            },
        }
        answered.await.map_err(gone)?
    }
}

/// The whole batch was undone, for the reason of one part of it.
#[derive(Debug, thiserror::Error)]
#[error("the commit that it shared with others failed: {0}")]
struct NotCommitted(Arc<str>);

/// What a batch was undone for.
struct Failure {
    why: Arc<str>,
    of_the_disk: bool,
}

impl From<&StoreError> for Failure {
    fn from(error: &StoreError) -> Self {
        Self { why: error.to_string().into(), of_the_disk: error.is_of_the_disk() }
    }
}

/// An act in the queue, whatever it returns.
trait Queued: Send {
    /// Does it, unless it was given up. An error ends the whole batch: the database may have
    /// rolled back on its own (full disk, failed I/O), and nothing before it can be trusted.
    fn run<'c>(
        &'c mut self,
        connection: &'c mut SqliteConnection,
    ) -> BoxFuture<'c, Result<(), Failure>>;
    /// Hands the caller its result, or the reason why the batch failed.
    fn settle(self: Box<Self>, failure: Option<&Failure>);
    /// Hands the caller an error before it was tried.
    fn refuse(self: Box<Self>, error: StoreError);
}

struct Act<T, F> {
    extent: Extent,
    act: Option<F>,
    result: Option<Result<T, StoreError>>,
    answer: oneshot::Sender<Result<T, StoreError>>,
    taken: Arc<AtomicBool>,
}

impl<T, F> Queued for Act<T, F>
where
    T: Send,
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send,
{
    fn run<'c>(
        &'c mut self,
        connection: &'c mut SqliteConnection,
    ) -> BoxFuture<'c, Result<(), Failure>> {
        Box::pin(async move {
            let Some(act) = self.act.take() else { return Ok(()) };
            if self.taken.swap(true, Ordering::AcqRel) {
                return Ok(());
            }
            let result = match self.extent {
                Extent::Single => act(connection).await,
                Extent::Several => within_savepoint(connection, act).await,
            };
            let broken = match &result {
                Err(error @ StoreError::Unavailable(_)) => Err(error.into()),
                _ => Ok(()),
            };
            self.result = Some(result);
            broken
        })
    }

    fn settle(self: Box<Self>, failure: Option<&Failure>) {
        let result = match (self.result, failure) {
            (Some(Ok(_)), Some(failure)) => {
                Err(StoreError::unavailable(NotCommitted(Arc::clone(&failure.why))))
            }
            (Some(result), _) => result,
            // It was given up, and nobody waits for it.
            (None, _) => return,
        };
        // A caller who has gone does not want the answer; what was done stays done.
        self.answer.send(result).ok();
    }

    fn refuse(self: Box<Self>, error: StoreError) {
        self.answer.send(Err(error)).ok();
    }
}

/// Runs `act` so that its failure takes back all of it, and nothing else of the batch.
async fn within_savepoint<T, F>(connection: &mut SqliteConnection, act: F) -> Result<T, StoreError>
where
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>>,
{
    let mut savepoint = connection.begin().await?;
    let result = act(&mut savepoint).await;
    match &result {
        Ok(_) => savepoint.commit().await?,
        Err(StoreError::Unavailable(_)) => {}
        Err(_) => savepoint.rollback().await?,
    }
    result
}

/// The connection and how to get another one.
struct Link {
    options: SqliteConnectOptions,
    home: Home,
    connection: Option<SqliteConnection>,
    unwritten: Arc<Unwritten>,
}

impl Link {
    async fn run(mut self, mut acts: mpsc::Receiver<Box<dyn Queued>>) {
        while let Some(first) = acts.recv().await {
            if let Err(error) = self.home.check() {
                first.refuse(error);
                continue;
            }
            if self.connection.is_none() {
                match self.options.connect().await {
                    Ok(connection) => self.connection = Some(connection),
                    Err(error) => {
                        first.refuse(error.into());
                        continue;
                    }
                }
            }
            let Some(connection) = &mut self.connection else { continue };
            if !batch(connection, (&self.home, &self.unwritten), first, &mut acts).await {
                // The driver counts transactions by itself, and may count wrongly after the
                // database ended one on its own. A new connection starts at none.
                self.connection = None;
            }
        }
    }
}

/// Does `first`, and what waits behind it, in one transaction. `false`: the connection must not be
/// used again.
async fn batch(
    connection: &mut SqliteConnection,
    (home, unwritten): (&Home, &Unwritten),
    first: Box<dyn Queued>,
    acts: &mut mpsc::Receiver<Box<dyn Queued>>,
) -> bool {
    // IMMEDIATE takes the lock now, under the busy timeout; a later upgrade could not wait.
    let mut transaction = match connection.begin_with("BEGIN IMMEDIATE").await {
        Ok(transaction) => transaction,
        Err(error) => {
            let sound = is_locked(&error);
            first.refuse(error.into());
            return sound;
        }
    };
    let mut done = Vec::new();
    let mut next = Some(first);
    let mut failure = None;
    while let Some(mut act) = next.take() {
        let ran = act.run(&mut transaction).await;
        done.push(act);
        match ran {
            Ok(()) if done.len() < BATCH => next = acts.try_recv().ok(),
            Ok(()) => {}
            Err(reason) => failure = Some(reason),
        }
    }
    let failure = match failure {
        Some(reason) => {
            drop(transaction);
            Some(reason)
        }
        // It may have gone since the first act of the batch.
        None => match home.check() {
            Ok(()) => transaction.commit().await.err().map(|error| Failure::from(&error.into())),
            Err(gone) => {
                drop(transaction);
                Some(Failure::from(&gone))
            }
        },
    };
    if let Some(failure) = failure.as_ref().filter(|failure| failure.of_the_disk) {
        unwritten.note(Arc::clone(&failure.why));
    }
    for act in done {
        act.settle(failure.as_ref());
    }
    failure.is_none()
}
