//! The open streams of one core, so that an ended session ends them too, and a gateway that stops.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;

use super::Journey;
use super::authenticate::is_revoked;
use crate::access::Identity;
use crate::clock::Timestamp;
use crate::deadline::Deadlines;
use crate::observe::CoreMetrics;
use crate::token::RevokedSet;
use crate::upstream::Ending;

/// The tunnels of one core.
#[derive(Debug, Default)]
pub(super) struct Tunnels {
    open: RefCell<Vec<Weak<Tunnel>>>,
    /// The version of the revocations that all of them were last checked against.
    checked: Cell<u64>,
    /// How long the list may grow before the ended ones are taken out.
    prune_at: Cell<usize>,
    /// When the first of them may have expired.
    first_until: Cell<Option<Timestamp>>,
}

/// No end that is known beforehand.
pub(super) const EVER: Timestamp = Timestamp::from_millis(i64::MAX);
/// After which a store that has not answered is asked again; nobody is thrown out meanwhile.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// No version of the revocations: whoever was checked against it is checked again.
const NEVER: u64 = u64::MAX;
const PRUNE_AT_LEAST: usize = 64;

#[derive(Debug)]
struct Tunnel {
    identity: Option<Arc<Identity>>,
    /// Whether it comes to its end by itself, and is waited for when the gateway stops.
    finite: bool,
    /// When its session has expired, as far as is known: then the store is asked.
    until: Cell<Timestamp>,
    why: Cell<Ending>,
    end: Notify,
}

impl Tunnels {
    /// Enters a tunnel of `identity`, or of nobody, which may be as old as `age`. The future is ready
    /// when it must end, and says why; the entry goes with the future. `finite`: it ends by itself, and
    /// has the time of any answer when the gateway stops. `until`: when its session has expired, unless
    /// it is refreshed.
    pub(super) fn open(
        &self,
        identity: Option<&Arc<Identity>>,
        finite: bool,
        (age, until): (Option<Duration>, Timestamp),
        deadlines: &Rc<Deadlines>,
    ) -> impl Future<Output = Ending> + use<> {
        let identity = identity.map(Arc::clone);
        let why = Cell::new(Ending::Session);
        let tunnel =
            Rc::new(Tunnel { identity, finite, until: Cell::new(until), why, end: Notify::new() });
        self.expect(until);
        let mut open = self.open.borrow_mut();
        // Those that have ended go when the list has doubled, so that it stays in proportion.
        if open.len() >= self.prune_at.get() {
            open.retain(|tunnel| tunnel.strong_count() > 0);
            self.prune_at.set((open.len() * 2).max(PRUNE_AT_LEAST));
        }
        open.push(Rc::downgrade(&tunnel));
        // Its session may have ended while its upstream was awaited: the next tick looks.
        self.checked.set(NEVER);
        let old = age.map(|age| {
            let deadline = deadlines.entry();
            deadline.arm(age);
            deadline
        });
        async move {
            let mut ended = pin!(tunnel.end.notified());
            poll_fn(|cx| {
                if ended.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(tunnel.why.get());
                }
                match &old {
                    Some(old) => old.poll(cx).map(|()| Ending::Age),
                    None => Poll::Pending,
                }
            })
            .await
        }
    }

    /// Ends those whose caller is refused by now. Called on every tick; looks only when something
    /// was revoked since.
    pub(super) fn end_revoked(&self, revoked: &RevokedSet) {
        let version = revoked.version();
        if self.checked.replace(version) == version {
            return;
        }
        self.end_where(Ending::Session, |tunnel| {
            tunnel.identity.as_deref().is_some_and(|identity| is_revoked(revoked, identity))
        });
    }

    /// Somebody may have expired at `until`.
    fn expect(&self, until: Timestamp) {
        let first = self.first_until.get().map_or(until, |first| first.min(until));
        self.first_until.set(Some(first));
    }

    /// Those whose time has come, each once; called on every tick, and looks only when there is one.
    fn expired(&self, now: Timestamp) -> Vec<Rc<Tunnel>> {
        if self.first_until.get().is_none_or(|first| first > now) {
            return Vec::new();
        }
        let open: Vec<_> = self.open.borrow().iter().filter_map(Weak::upgrade).collect();
        let (over, rest): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|tunnel| tunnel.until.get() <= now);
        self.first_until.set(rest.iter().map(|tunnel| tunnel.until.get()).min());
        // Until it is known better.
        over.iter().for_each(|tunnel| tunnel.until.set(EVER));
        over
    }

    /// Ends all that would not end otherwise: the gateway stops.
    pub(super) fn end_all(&self) {
        self.end_where(Ending::Stopping, |tunnel| !tunnel.finite);
    }

    fn end_where(&self, why: Ending, over: impl Fn(&Tunnel) -> bool) {
        self.open.borrow_mut().retain(|tunnel| {
            let Some(tunnel) = tunnel.upgrade() else { return false };
            let over = over(&tunnel);
            if over {
                tunnel.end(why);
            }
            !over
        });
    }
}

impl Tunnel {
    fn end(&self, why: Ending) {
        self.why.set(why);
        self.end.notify_one();
    }
}

impl Journey {
    /// Ends the streams of those whose session was ended or has expired. Called on every tick.
    pub fn end_tunnels(self: &Rc<Self>) {
        self.tunnels.end_revoked(self.shared.sessions.revoked());
        for tunnel in self.tunnels.expired(self.shared.clock.now()) {
            match tunnel.identity.as_deref().and_then(|identity| identity.session) {
                // Nobody can refresh it.
                None => tunnel.end(Ending::Session),
                Some(session) => {
                    let (journey, tunnel) = (Rc::clone(self), Rc::downgrade(&tunnel));
                    tokio::task::spawn_local(async move {
                        let until = journey.shared.sessions.lasts_until(session).await;
                        let Some(tunnel) = tunnel.upgrade() else { return };
                        let now = journey.shared.clock.now();
                        // It may have been refreshed by other requests.
                        let later = match until {
                            Ok(until) => until.filter(|until| *until > now),
                            Err(_unknown) => Some(now.plus(ASK_AGAIN)),
                        };
                        match later {
                            None => tunnel.end(Ending::Session),
                            Some(later) => {
                                tunnel.until.set(later);
                                journey.tunnels.expect(later);
                            }
                        }
                    });
                }
            }
        }
    }

    /// When a caller's session has expired if nobody refreshes it, as far as its token tells.
    pub(super) fn lasts_until(&self, identity: &Identity) -> Timestamp {
        let settings = &self.shared.config.session;
        match identity.session {
            None => identity.expires_at,
            Some(_) => {
                let end = identity.auth_time.plus(settings.refresh_ttl);
                identity.issued_at.plus(settings.idle_ttl).min(end)
            }
        }
    }
}

/// Has metrics show a stream for as long as its `stop` is waited for, and why it was ended.
pub(super) fn counted(
    stop: impl Future<Output = Ending>,
    metrics: Arc<CoreMetrics>,
) -> impl Future<Output = Ending> {
    let shown = Shown(metrics);
    shown.0.stream_begun();
    async move {
        let ending = stop.await;
        shown.0.stream_ended(ending.word());
        ending
    }
}

/// Over when it is dropped.
struct Shown(Arc<CoreMetrics>);

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.stream_over();
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::id::{Revoked, SessionId, TokenId};

    #[test]
    fn a_revoked_session_ends_its_tunnels_and_no_others() {
        let identity = |byte: u8| {
            Arc::new(Identity {
                subject: String::new(),
                user: None,
                app: None,
                login: String::new(),
                name: None,
                email: None,
                roles: Vec::new(),
                permissions: Vec::new(),
                session: Some(SessionId::from_bytes([byte; 16])),
                generation: 0,
                token: TokenId::from_bytes([byte; 16]),
                issued_at: Timestamp::EPOCH,
                expires_at: Timestamp::from_secs(60),
                auth_time: Timestamp::EPOCH,
            })
        };
        let (tunnels, revoked) = (Tunnels::default(), RevokedSet::new());
        let deadlines = Deadlines::new();
        let open = |byte: u8| tunnels.open(Some(&identity(byte)), true, (None, EVER), &deadlines);
        let mut one = Box::pin(open(1));
        let mut two = Box::pin(open(2));
        let mut cx = Context::from_waker(Waker::noop());
        revoked.add(Revoked::Session(SessionId::from_bytes([1; 16])), Timestamp::from_secs(60));
        tunnels.end_revoked(&revoked);
        assert_eq!(one.as_mut().poll(&mut cx), Poll::Ready(Ending::Session));
        assert_eq!(two.as_mut().poll(&mut cx), Poll::Pending);
        drop(two);
        revoked.add(Revoked::Session(SessionId::from_bytes([3; 16])), Timestamp::from_secs(60));
        tunnels.end_revoked(&revoked);
        assert!(tunnels.open.borrow().is_empty(), "a tunnel that has ended is forgotten");
        // One that opens after its session was ended is found out by the next look.
        let mut late = Box::pin(open(1));
        tunnels.end_revoked(&revoked);
        assert_eq!(late.as_mut().poll(&mut cx), Poll::Ready(Ending::Session));
        for _ in 0..1000 {
            drop(open(2));
        }
        assert!(tunnels.open.borrow().len() <= 2 * PRUNE_AT_LEAST);
    }

    #[test]
    fn a_gateway_that_stops_ends_the_tunnels_of_nobody_too_and_none_that_ends_by_itself() {
        let (tunnels, deadlines) = (Tunnels::default(), Deadlines::new());
        let mut nobodys = Box::pin(tunnels.open(None, false, (None, EVER), &deadlines));
        let mut finite = Box::pin(tunnels.open(None, true, (None, EVER), &deadlines));
        let mut cx = Context::from_waker(Waker::noop());
        tunnels.end_revoked(&RevokedSet::new());
        assert_eq!(nobodys.as_mut().poll(&mut cx), Poll::Pending);
        tunnels.end_all();
        assert_eq!(nobodys.as_mut().poll(&mut cx), Poll::Ready(Ending::Stopping));
        assert_eq!(finite.as_mut().poll(&mut cx), Poll::Pending);
    }
}
