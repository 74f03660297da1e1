//! The audit stream's way to the log, the metrics and the store. Two ways lead in: [`Auditor::tell`]
//! for what happens on the way to an answer, and [`Auditor::keep`] for what changes an account, an
//! app, a link or a key and must be on the disk before anybody is told that it was done.
//!
//! No event may hold a token, a secret, or a name that somebody merely typed: people type their
//! password there. How to add an event is said in `store/audit.rs`.

mod ledger;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::cause;
use super::refresh::Grace;
use crate::clock::{Clock, Timestamp};
use crate::id::KeyId;
use crate::store::Store;
use crate::store::audit::{Actor, AuditEvent, AuditKind};
use crate::store::rows::Session;
use crate::token::RefreshClaims;
use ledger::Ledger;

/// Where everybody tells what happened. One for the gateway.
pub struct Auditor {
    clock: Clock,
    store: Arc<dyn Store>,
    queue: mpsc::Sender<Note>,
    counts: Arc<Counts>,
}

/// What goes to the background.
enum Note {
    Event(Box<AuditEvent>),
    /// Asks to be told when all that came before is in the store.
    Flush(oneshot::Sender<()>),
}

/// What is counted of it.
#[derive(Default)]
struct Counts {
    told: [AtomicU64; AuditKind::COUNT],
    lost: AtomicU64,
}

impl Auditor {
    /// Starts what writes in the background, on the runtime that this is called on.
    pub(super) fn start(store: Arc<dyn Store>, clock: Clock) -> Self {
        let (queue, notes) = mpsc::channel(QUEUE_MAX);
        let counts = Arc::<Counts>::default();
        let scribe = Scribe {
            store: Arc::clone(&store),
            clock: clock.clone(),
            counts: Arc::clone(&counts),
            ledger: Ledger::default(),
            unwritten: Vec::new(),
        };
        // Ends with its sender, when it has written all it heard.
        tokio::spawn(scribe.run(notes));
        Self { clock, store, queue, counts }
    }

    /// An event of now, to be filled in and told.
    pub fn event(&self, kind: AuditKind) -> AuditEvent {
        AuditEvent::new(kind, self.clock.now())
    }

    /// Tells of an event. Never waits: it is in the log at once and in the store within a second.
    /// Events that strangers can cause at will are folded when they come often. Lost, and counted,
    /// only when the store has been away for long or the process is killed.
    pub fn tell(&self, event: AuditEvent) {
        self.say(&event);
        if self.queue.try_send(Note::Event(Box::new(event))).is_err() {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Tells of an event, and returns when it is in the store. Should the store not take it, the
    /// event is in the log, and is counted as lost: what it tells of has been done by then, and
    /// stays done.
    pub async fn keep(&self, event: AuditEvent) {
        self.say(&event);
        if let Err(error) = self.store.record(std::slice::from_ref(&event)).await {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
            let kind = event.kind.name();
            tracing::error!(kind, error = %cause(&error), "an audit event was not kept");
        }
    }

    /// Returns when all that was told so far is in the store, or `at_most` has passed.
    pub async fn flush(&self, at_most: Duration) {
        let (written, done) = oneshot::channel();
        let flushed = async {
            if self.queue.send(Note::Flush(written)).await.is_ok() {
                // An error means that nobody writes any more.
                done.await.ok();
            }
        };
        // What is late then is lost with the process; there is nobody left to tell.
        timeout(at_most, flushed).await.ok();
    }

    /// Events so far, by kind.
    pub fn told(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.counts.told.iter().map(|count| count.load(Ordering::Relaxed));
        AuditKind::all().map(AuditKind::name).zip(counts)
    }

    /// Events that are not in the store: the queue was full, or the store did not take them.
    pub fn lost(&self) -> u64 {
        self.counts.lost.load(Ordering::Relaxed)
    }

    fn say(&self, event: &AuditEvent) {
        let mut counts = AuditKind::all().zip(&self.counts.told);
        if let Some((_, count)) = counts.find(|(kind, _)| *kind == event.kind) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        log(event);
    }

    pub(super) fn answered_again(&self, presented: &RefreshClaims, grace: Grace) {
        let why = match grace {
            Grace::Time => "grace_time",
            Grace::Unseen => "grace_unseen",
        };
        let event = self.event(AuditKind::RefreshRepeated).because(why);
        let subject = format!("generation {}", presented.generation);
        self.tell(event.in_session(presented.session).about(&subject));
    }

    pub(super) fn set_right(&self, row: &Session, presented: &RefreshClaims) {
        let event = self.event(AuditKind::StoreRollback).by(Actor::Gateway);
        let subject = between(row, presented);
        self.tell(event.in_session(row.id).of_id(row.user).about(&subject));
    }

    pub(super) fn stolen(&self, row: &Session, presented: &RefreshClaims, client: IpAddr) {
        let event = self.event(AuditKind::Theft).from(client);
        let subject = between(row, presented);
        self.tell(event.in_session(row.id).of_id(row.user).about(&subject));
    }
}

/// A key that was made at `at`.
pub(super) fn key_made(key: &KeyId, at: Timestamp) -> AuditEvent {
    AuditEvent::new(AuditKind::KeyAdded, at).by(Actor::Gateway).about(key.as_str())
}

fn between(row: &Session, presented: &RefreshClaims) -> String {
    format!("generation {} was presented, {} is current", presented.generation, row.generation)
}

/// The target under which the log has these.
const AUDIT: &str = "audit";

/// A line of the log. What the event does not say has no field.
fn log(event: &AuditEvent) {
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                target: AUDIT,
                {
                    kind = event.kind.name(),
                    cause = event.cause.as_deref(),
                    actor = event.actor.role(),
                    actor.name = event.actor.name(),
                    user.id = event.user.map(tracing::field::display),
                    session.id = event.session.map(tracing::field::display),
                    client.address = event.client.map(tracing::field::display),
                    subject = event.subject.as_deref(),
                },
                "{}",
                event.kind.sentence()
            )
        };
    }
    match event.kind {
        AuditKind::StoreRollback => line!(error),
        AuditKind::Theft => line!(warn),
        _ => line!(info),
    }
}

/// Writes what was told, in batches.
struct Scribe {
    store: Arc<dyn Store>,
    clock: Clock,
    counts: Arc<Counts>,
    ledger: Ledger,
    /// Taken from the ledger, and not in the store yet.
    unwritten: Vec<AuditEvent>,
}

impl Scribe {
    async fn run(mut self, mut notes: mpsc::Receiver<Note>) {
        let mut heard = Vec::new();
        loop {
            // What was held back is written when its minute is over, though nothing new comes.
            let look = Instant::now() + LOOK_EVERY;
            let ended = match timeout_at(look, notes.recv_many(&mut heard, QUEUE_MAX)).await {
                Ok(count) => count == 0,
                Err(_) => false,
            };
            let mut waiting = Vec::new();
            for note in heard.drain(..) {
                match note {
                    Note::Event(event) => self.ledger.take(*event),
                    Note::Flush(written) => waiting.push(written),
                }
            }
            let now = if ended || !waiting.is_empty() { None } else { Some(self.clock.now()) };
            self.unwritten.append(&mut self.ledger.ready(now));
            self.write().await;
            if ended {
                return;
            }
            if self.unwritten.is_empty() {
                for written in waiting {
                    // Who asked may have lost patience.
                    written.send(()).ok();
                }
                // What comes meanwhile goes out together.
                sleep(GATHER_FOR).await;
            } else {
                // The queue holds what comes until the store is back.
                sleep(RETRY_AFTER).await;
            }
        }
    }

    async fn write(&mut self) {
        while !self.unwritten.is_empty() {
            let most = self.unwritten.len().min(BATCH_MAX);
            let Some(batch) = self.unwritten.get(..most) else { return };
            if let Err(error) = self.store.record(batch).await {
                tracing::warn!(error = %cause(&error), "audit events cannot be written");
                let beyond = self.unwritten.len().saturating_sub(QUEUE_MAX);
                self.unwritten.drain(..beyond);
                let lost = u64::try_from(beyond).unwrap_or(u64::MAX);
                self.counts.lost.fetch_add(lost, Ordering::Relaxed);
                return;
            }
            self.unwritten.drain(..most);
        }
    }
}

/// Events that may wait to be written; beyond it they are lost, and counted.
const QUEUE_MAX: usize = 4096;

/// Events of one act of the store.
const BATCH_MAX: usize = 500;

/// How long two batches are apart.
const GATHER_FOR: Duration = Duration::from_millis(200);

/// How long the store is left alone after it did not take a batch.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How often it is looked whether something that was held back is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
