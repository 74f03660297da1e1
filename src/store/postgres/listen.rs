//! How a change by any replica is noticed: the server says so. Where it cannot (a connection that
//! broke, an engine without NOTIFY), each wait is short, and the caller's reading is the poll.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use crate::clock::Stopwatch;
use crate::store::StoreError;

/// What is notified when a revocation or key was written. Rotations are silent: each notification
/// takes a lock of the whole database at its commit.
pub(super) const CHANNEL: &str = "sallyport";
/// How long a wait lasts at most while nobody listens.
const DEAF: Duration = Duration::from_millis(500);
/// What the operator is told then: nothing is lost but a part of a second.
const DEAFENED: &str = "the store does not notify, so it is asked twice a second";
/// As many notifications as one wait may answer together.
const TOGETHER: usize = 1024;

/// After so much silence the connection is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(10);

pub(super) struct Ear {
    pool: PgPool,
    line: Mutex<Option<Line>>,
    reopened: AtomicU64,
    /// Where the talking is done.
    room: Handle,
}

impl Drop for Ear {
    /// The driver says good-bye by a task, and whoever lets the store go may stand outside of any
    /// runtime, as commands do.
    fn drop(&mut self) {
        let _room = self.room.enter();
        drop(self.line.get_mut().take());
    }
}

struct Line {
    listener: PgListener,
    /// Since the last sign of life.
    silence: Stopwatch,
}

impl Ear {
    /// Listens from now on. An engine that cannot notify is polled instead.
    pub(super) async fn start(pool: PgPool) -> Self {
        let line = match Line::open(&pool).await {
            Ok(line) => Some(line),
            Err(error) => {
                tracing::warn!(%error, "{DEAFENED}");
                None
            }
        };
        Self { pool, line: Mutex::new(line), reopened: AtomicU64::new(0), room: Handle::current() }
    }

    pub(super) async fn changed(&self, at_most: Duration) -> Result<(), StoreError> {
        let mut end = std::pin::pin!(tokio::time::sleep(at_most));
        let mut line = tokio::select! {
            line = self.line.lock() => line,
            () = &mut end => return Ok(()),
        };
        let Some(open) = line.as_mut() else {
            tokio::select! {
                () = tokio::time::sleep(DEAF) => {}
                () = &mut end => {}
            }
            *line = self.again().await;
            if line.is_some() {
                tracing::info!("the store notifies again");
            }
            return Ok(());
        };
        match open.hear(end).await {
            Ok(Heard::Something | Heard::Nothing) => {}
            // What was said meanwhile is lost: the caller reads, and we listen anew.
            Ok(Heard::Lost) => {
                *line = self.again().await;
                if line.is_none() {
                    tracing::warn!("{DEAFENED}");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "{DEAFENED}");
                *line = None;
            }
        }
        Ok(())
    }

    /// How often a new line took the place of one that broke.
    pub(super) fn reopened(&self) -> u64 {
        self.reopened.load(Ordering::Acquire)
    }

    async fn again(&self) -> Option<Line> {
        let line = tokio::time::timeout(DEAF, Line::open(&self.pool)).await.ok()?.ok()?;
        self.reopened.fetch_add(1, Ordering::Release);
        Some(line)
    }
}

enum Heard {
    Something,
    Nothing,
    Lost,
}

impl Line {
    async fn open(pool: &PgPool) -> Result<Self, sqlx::Error> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(Self { listener, silence: Stopwatch::start() })
    }

    async fn hear(
        &mut self,
        mut end: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Heard, sqlx::Error> {
        // A peer that vanished without a word would be listened to for ever.
        if self.silence.elapsed() > SILENCE {
            let alive = sqlx::query("SELECT 1").execute(&mut self.listener);
            let Ok(answer) = tokio::time::timeout(DEAF, alive).await else {
                return Ok(Heard::Lost);
            };
            answer?;
            self.silence = Stopwatch::start();
        }
        let heard = tokio::select! {
            heard = self.listener.try_recv() => heard?,
            () = &mut end => return Ok(Heard::Nothing),
        };
        if heard.is_none() {
            return Ok(Heard::Lost);
        }
        self.silence = Stopwatch::start();
        // Those that are there already are answered by the same reading.
        for _ in 0..TOGETHER {
            match self.listener.try_recv().now_or_never() {
                Some(Ok(Some(_))) => {}
                Some(Ok(None)) => return Ok(Heard::Lost),
                Some(Err(error)) => return Err(error),
                None => break,
            }
        }
        Ok(Heard::Something)
    }
}
