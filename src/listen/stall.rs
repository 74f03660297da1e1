//! A client of HTTP/2 that asks for much and takes none of it: its connection goes on, for other
//! streams, and so the stream itself has to be watched. Without that a window of zero would hold a
//! place at an application for ever (CVE-2019-9517).

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::deadline::{Deadline, Deadlines};

/// Runs HTTP/2's streams on the core that owns their connection, and ends those that stall.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    deadlines: Rc<Deadlines>,
    limit: Duration,
    /// What the service has just begun: hyper hands over the stream of a request right after it has
    /// called the service for it.
    next: Rc<RefCell<Option<Rc<Taken>>>>,
}

/// How much of a response the client has taken.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Pieces handed out so far.
    pieces: Cell<u64>,
    /// Whether the last of them is still being waited for.
    waiting: Cell<bool>,
}

impl Taken {
    /// A further piece is asked for: the client has taken those before.
    pub(super) fn asked(&self) {
        self.waiting.set(false);
    }

    /// A piece was handed out.
    pub(super) fn handed(&self) {
        self.pieces.set(self.pieces.get() + 1);
        self.waiting.set(true);
    }
}

impl Streams {
    /// `limit`: how long a client may take none of a response.
    pub(super) fn new(deadlines: Rc<Deadlines>, limit: Duration) -> Self {
        Self { deadlines, limit, next: Rc::default() }
    }

    /// The stream that is handed over next is this one's.
    pub(super) fn expect(&self) -> Rc<Taken> {
        let taken = Rc::<Taken>::default();
        *self.next.borrow_mut() = Some(Rc::clone(&taken));
        taken
    }
}

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, future: F) {
        match self.next.borrow_mut().take() {
            Some(taken) => {
                // Boxed, for a task is moved some times before and after it runs.
                let stream = Box::pin(future);
                let watched = until_stalled(stream, taken, Rc::clone(&self.deadlines), self.limit);
                tokio::task::spawn_local(watched);
            }
            None => drop(tokio::task::spawn_local(future)),
        }
    }
}

/// Runs `stream` to its end, or drops it, which resets it, once nothing was taken for `limit`.
async fn until_stalled(
    mut stream: Pin<Box<impl Future>>,
    taken: Rc<Taken>,
    deadlines: Rc<Deadlines>,
    limit: Duration,
) {
    let mut deadline: Option<Deadline> = None;
    let mut seen = 0;
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !taken.waiting.get() {
            return Poll::Pending;
        }
        let deadline = deadline.get_or_insert_with(|| deadlines.entry());
        if seen != taken.pieces.get() {
            seen = taken.pieces.get();
            deadline.arm(limit);
        }
        deadline.poll(cx)
    })
    .await;
}
