//! Requests that need the same act share one: the first begins it, the others await its outcome.
//! An act once begun runs to its end, though all who awaited it have gone.

use std::future::Future;
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Acts under way, by key. The key is compared whole: no hash of it decides whose answer a request
/// gets.
pub(super) struct Flights<T> {
    under_way: Arc<DashMap<Box<str>, watch::Receiver<Option<T>>>>,
    max: usize,
    room: Handle,
}

/// Why a flight brought no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Grounded {
    /// As many acts are under way as there may be.
    #[error("too many acts are under way")]
    Full,
    /// The act ended without an outcome: it panicked, or its runtime was shut down.
    #[error("the act ended without an outcome")]
    Lost,
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    /// None under way yet; at most `max` at a time, each on `room`.
    pub(super) fn new(max: usize, room: Handle) -> Self {
        Self { under_way: Arc::default(), max, room }
    }

    /// The outcome of the act for `key` that is under way, or else of `act`, begun now.
    pub(super) async fn join<F>(&self, key: &str, act: F) -> Result<T, Grounded>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut outcome = self.board(key, act)?;
        let outcome = outcome.wait_for(Option::is_some).await.map_err(|_| Grounded::Lost)?;
        outcome.clone().ok_or(Grounded::Lost)
    }

    /// Acts under way.
    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }

    fn board<F>(&self, key: &str, act: F) -> Result<watch::Receiver<Option<T>>, Grounded>
    where
        F: Future<Output = T> + Send + 'static,
    {
        // Counted before the entry is locked: to count locks each shard in turn.
        let full = self.len() >= self.max;
        match self.under_way.entry(key.into()) {
            Entry::Occupied(flight) => Ok(flight.get().clone()),
            Entry::Vacant(_) if full => Err(Grounded::Full),
            Entry::Vacant(place) => {
                let (landed, outcome) = watch::channel(None);
                place.insert(outcome.clone());
                let landing = Landing { under_way: self.under_way.clone(), key: key.into() };
                self.room.spawn(async move {
                    let outcome = act.await;
                    // Off the table first: who comes from now on must see what the act has changed,
                    // not what it found.
                    drop(landing);
                    landed.send_replace(Some(outcome));
                });
                Ok(outcome)
            }
        }
    }
}

/// Takes a flight off the table when its act is over, in whichever way.
struct Landing<T> {
    under_way: Arc<DashMap<Box<str>, watch::Receiver<Option<T>>>>,
    key: Box<str>,
}

impl<T> Drop for Landing<T> {
    fn drop(&mut self) {
        self.under_way.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn callers_with_one_key_share_one_act_and_others_do_not() {
        let flights = Flights::new(10, Handle::current());
        let acts = AtomicUsize::new(0);
        let (go, gate) = oneshot::channel::<()>();
        let first = flights.board("a", async move {
            gate.await.unwrap();
            1
        });
        let counted = || {
            acts.fetch_add(1, Ordering::Relaxed);
            async { 2 }
        };
        let second = flights.board("a", async { 3 });
        assert_eq!(flights.join("b", counted()).await, Ok(2));
        go.send(()).unwrap();
        for outcome in [first, second] {
            assert_eq!(*outcome.unwrap().wait_for(Option::is_some).await.unwrap(), Some(1));
        }
        assert_eq!(flights.len(), 0);
        assert_eq!(flights.join("a", async { 4 }).await, Ok(4), "a landed act is not shared");
    }

    #[tokio::test]
    async fn an_act_runs_to_its_end_though_its_caller_has_gone() {
        let flights = Flights::new(10, Handle::current());
        let (go, gate) = oneshot::channel::<()>();
        let (done, end) = oneshot::channel();
        drop(flights.board("a", async move {
            gate.await.unwrap();
            done.send(()).unwrap();
        }));
        go.send(()).unwrap();
        end.await.unwrap();
    }

    #[tokio::test]
    async fn a_full_table_refuses_new_acts_but_shares_those_under_way() {
        let flights = Flights::new(1, Handle::current());
        let (go, gate) = oneshot::channel::<()>();
        let first = flights.board("a", async move {
            gate.await.unwrap();
            1
        });
        assert_eq!(flights.join("b", async { 2 }).await, Err(Grounded::Full));
        let second = flights.board("a", async { 3 }).unwrap();
        go.send(()).unwrap();
        for mut outcome in [first.unwrap(), second] {
            assert_eq!(*outcome.wait_for(Option::is_some).await.unwrap(), Some(1));
        }
    }

    #[tokio::test]
    async fn an_act_that_panics_leaves_no_entry_behind() {
        let flights = Flights::<u8>::new(10, Handle::current());
        let outcome = flights.join("a", async { panic!("planted by the test") }).await;
        assert_eq!(outcome, Err(Grounded::Lost));
        assert_eq!(flights.len(), 0);
    }
}
