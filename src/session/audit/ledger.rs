//! What keeps a flood out of the table. Events that strangers can cause at will are told once, and
//! those alike that follow within a minute are counted and told together at its end; and in one
//! minute there is room for so many different ones, beyond which they are told by kind and cause
//! alone. Everything else passes as it is.

use std::collections::HashMap;

use crate::clock::Timestamp;
use crate::store::audit::{Actor, AuditEvent};

/// Cheap events that differ, in one minute. With what is held back of each, twice as many rows.
pub(super) const DIFFERENT_MAX: usize = 300;

/// The minute under way.
#[derive(Default)]
pub(super) struct Ledger {
    /// Its number since the epoch.
    minute: i64,
    /// How many of each were seen since it was told, and when the last of them.
    seen: HashMap<AuditEvent, (u32, Timestamp)>,
    ready: Vec<AuditEvent>,
}

impl Ledger {
    /// Takes an event in.
    pub(super) fn take(&mut self, event: AuditEvent) {
        let minute = minute(event.at);
        if minute != self.minute {
            self.turn();
            self.minute = minute;
        }
        if !event.kind.is_cheap() {
            self.ready.push(event);
            return;
        }
        let (at, count) = (event.at, event.count);
        let mut alike = AuditEvent { at: Timestamp::EPOCH, count: 1, ..event };
        if self.seen.len() >= DIFFERENT_MAX && !self.seen.contains_key(&alike) {
            // Kinds and causes are of closed sets, so these are few.
            alike = AuditEvent {
                cause: alike.cause,
                ..AuditEvent::new(alike.kind, Timestamp::EPOCH).by(Actor::Client)
            };
        }
        if let Some((more, last)) = self.seen.get_mut(&alike) {
            *more = more.saturating_add(count);
            *last = at;
        } else {
            self.ready.push(AuditEvent { at, count, ..alike.clone() });
            self.seen.insert(alike, (0, at));
        }
    }

    /// What is to be written: of what is held back, that of a minute which is over at `now`, or all
    /// of it for `None`.
    pub(super) fn ready(&mut self, now: Option<Timestamp>) -> Vec<AuditEvent> {
        match now {
            Some(now) if minute(now) == self.minute => {}
            Some(now) => {
                self.turn();
                self.minute = minute(now);
            }
            None => self.tell_held(),
        }
        std::mem::take(&mut self.ready)
    }

    fn turn(&mut self) {
        self.tell_held();
        self.seen.clear();
    }

    fn tell_held(&mut self) {
        for (alike, (more, last)) in &mut self.seen {
            if *more > 0 {
                self.ready.push(AuditEvent { at: *last, count: *more, ..alike.clone() });
                *more = 0;
            }
        }
    }
}

fn minute(at: Timestamp) -> i64 {
    at.secs().div_euclid(60)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;

    use super::*;
    use crate::store::audit::AuditKind;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn failure(address: u32, at: Timestamp) -> AuditEvent {
        let client = IpAddr::V4(Ipv4Addr::from_bits(address));
        AuditEvent::new(AuditKind::LoginFailed, at).because("wrong_secret").from(client)
    }

    fn total(events: &[AuditEvent]) -> u32 {
        events.iter().map(|event| event.count).sum()
    }

    #[test]
    fn the_first_is_told_at_once_and_those_alike_at_the_end_of_the_minute() {
        let mut ledger = Ledger::default();
        let later = NOW.plus(std::time::Duration::from_secs(20));
        ledger.take(failure(1, NOW));
        assert_eq!(ledger.ready(Some(NOW)), [failure(1, NOW)]);
        ledger.take(failure(1, NOW));
        ledger.take(failure(1, later));
        ledger.take(failure(2, later));
        assert_eq!(ledger.ready(Some(later)), [failure(2, later)]);
        let next = NOW.plus(std::time::Duration::from_secs(60));
        let folded = AuditEvent { count: 2, ..failure(1, later) };
        assert_eq!(ledger.ready(Some(next)), [folded]);
        assert!(ledger.ready(None).is_empty());
        ledger.take(failure(1, next));
        assert_eq!(ledger.ready(Some(next)), [failure(1, next)], "a new minute");
    }

    #[test]
    fn what_is_not_cheap_is_never_folded() {
        let mut ledger = Ledger::default();
        let login = AuditEvent::new(AuditKind::Login, NOW);
        (0..1000).for_each(|_| ledger.take(login.clone()));
        assert_eq!(ledger.ready(Some(NOW)).len(), 1000);
    }

    #[test]
    fn a_million_addresses_in_a_minute_make_a_bounded_number_of_rows() {
        let mut ledger = Ledger::default();
        for address in 0..1_000_000 {
            ledger.take(failure(address, NOW));
        }
        let rows = ledger.ready(None);
        assert_eq!(total(&rows), 1_000_000);
        assert!(rows.len() <= 2 * DIFFERENT_MAX + 2, "{}", rows.len());
        assert!(ledger.seen.len() <= DIFFERENT_MAX + 1);
    }

    proptest! {
        #[test]
        fn no_event_is_lost_by_folding(
            events in prop::collection::vec((0_u32..600, 0_u64..200), 0..1500),
            looks in prop::collection::vec(any::<bool>(), 1500),
        ) {
            let mut ledger = Ledger::default();
            let mut told = 0;
            for ((address, seconds), look) in events.iter().zip(&looks) {
                let at = NOW.plus(std::time::Duration::from_secs(*seconds));
                ledger.take(failure(*address, at));
                if *look {
                    told += total(&ledger.ready(Some(at)));
                }
            }
            told += total(&ledger.ready(None));
            prop_assert_eq!(told as usize, events.len());
        }
    }
}
