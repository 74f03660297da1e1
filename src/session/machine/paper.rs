//! The bare rule, with a map for a store.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::super::refresh::{Decision, Rules, decide};
use super::{ACCESS_TTL, GRACE, Granted, IDLE_TTL, REFRESH_TTL, Refused, Site, acts, run};
use crate::clock::{Clock, Timestamp};
use crate::id::{KeyId, SessionId, TokenId, UserId};
use crate::store::rows::{EndReason, Ended, RefreshRecord, Session};
use crate::token::RefreshClaims;

const RULES: Rules = Rules { rotate: true, reuse_grace: GRACE, idle_ttl: IDLE_TTL };

struct Paper {
    clock: Clock,
    rows: HashMap<SessionId, Session>,
    copy: Option<HashMap<SessionId, Session>>,
    revoked: HashSet<SessionId>,
    /// What each token says.
    issued: HashMap<String, RefreshClaims>,
    ids: u128,
}

impl Paper {
    fn new(clock: &Clock) -> Self {
        Self {
            clock: clock.clone(),
            rows: HashMap::new(),
            copy: None,
            revoked: HashSet::new(),
            issued: HashMap::new(),
            ids: 0,
        }
    }

    fn id(&mut self) -> [u8; 16] {
        self.ids += 1;
        self.ids.to_be_bytes()
    }

    fn record(&mut self, expires_at: Timestamp) -> RefreshRecord {
        let token = TokenId::from_bytes(self.id());
        RefreshRecord { key: KeyId::new("k"), token, issued_at: self.clock.now(), expires_at }
    }

    fn grant(&mut self, row: &Session) -> Granted {
        let RefreshRecord { token, issued_at, expires_at, .. } = row.current;
        let (session, generation) = (row.id, row.generation);
        let refresh = format!("{session}.{generation}.{token}");
        let claims = RefreshClaims { session, generation, token, issued_at, expires_at };
        self.issued.insert(refresh.clone(), claims);
        // The shortest that the jitter allows: the sooner the next rotation, the harder.
        let access_ends = self.clock.now().plus(ACCESS_TTL * 95 / 100);
        Granted { session, generation, refresh, access_ends }
    }

    fn end(&mut self, session: SessionId, reason: EndReason) {
        let at = self.clock.now();
        if let Some(row) = self.rows.get_mut(&session) {
            row.ended.get_or_insert(Ended { at, reason });
        }
        self.revoked.insert(session);
    }
}

impl Site for Paper {
    fn log_in(&mut self, replaces: Option<SessionId>) -> Granted {
        let now = self.clock.now();
        let expires_at = now.plus(REFRESH_TTL);
        let row = Session {
            id: SessionId::from_bytes(self.id()),
            user: UserId::from_bytes([0; 16]),
            generation: 1,
            seen_generation: 0,
            current: self.record(expires_at),
            rotated_at: now,
            auth_time: now,
            amr: Vec::new(),
            expires_at,
            idle_expires_at: now.plus(IDLE_TTL),
            persistent: true,
            address: None,
            device: String::new(),
            created_at: now,
            ended: None,
        };
        let granted = self.grant(&row);
        self.rows.insert(row.id, row);
        if let Some(old) = replaces {
            self.end(old, EndReason::Replaced);
        }
        granted
    }

    fn log_out(&mut self, _process: usize, session: SessionId) {
        self.end(session, EndReason::Logout);
    }

    fn refresh(&mut self, _process: usize, token: &str) -> Result<Granted, Refused> {
        let now = self.clock.now();
        let presented = self.issued[token];
        let mut row = self.rows.get(&presented.session).cloned().ok_or(Refused::Expired)?;
        let idle_end = now.plus(IDLE_TTL).max(row.idle_expires_at).min(row.expires_at);
        match decide(&row, &presented, now, RULES) {
            Decision::Rotate | Decision::Rollback => {
                row.seen_generation = row.seen_generation.max(row.generation);
                row.generation = presented.generation + 1;
                row.current = self.record(row.expires_at);
                row.rotated_at = now;
                row.idle_expires_at = idle_end;
            }
            Decision::Again(_) => row.idle_expires_at = idle_end,
            Decision::Theft => {
                self.end(row.id, EndReason::Theft);
                return Err(Refused::Ended(EndReason::Theft));
            }
            Decision::Ended(reason) => return Err(Refused::Ended(reason)),
            Decision::Expired => return Err(Refused::Expired),
            Decision::Keep => panic!("this site rotates"),
        }
        let granted = self.grant(&row);
        self.rows.insert(row.id, row);
        Ok(granted)
    }

    fn saw(&mut self, session: SessionId, generation: u64) {
        if let Some(row) = self.rows.get_mut(&session) {
            row.seen_generation = row.seen_generation.max(generation);
        }
    }

    fn refuses(&mut self, _process: usize, session: SessionId) -> bool {
        self.revoked.contains(&session)
    }

    fn snapshot(&mut self) {
        self.copy = Some(self.rows.clone());
    }

    fn restore(&mut self) -> bool {
        match self.copy.clone() {
            Some(rows) => {
                self.rows = rows;
                true
            }
            None => false,
        }
    }
}

fn clock() -> Clock {
    Clock::manual(Timestamp::from_secs(1_800_000_000))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_lost_or_late_response_never_logs_anybody_out(acts in acts(false, false)) {
        let clock = clock();
        run(&mut Paper::new(&clock), &clock, &acts)?;
    }

    #[test]
    fn nor_does_a_store_that_went_back(acts in acts(false, true)) {
        let clock = clock();
        run(&mut Paper::new(&clock), &clock, &acts)?;
    }

    #[test]
    fn a_thief_is_found_out_and_the_family_is_dead(acts in acts(true, false)) {
        let clock = clock();
        run(&mut Paper::new(&clock), &clock, &acts)?;
    }

    #[test]
    fn the_promises_hold_for_each_history_of_a_store_that_went_back(acts in acts(true, true)) {
        let clock = clock();
        run(&mut Paper::new(&clock), &clock, &acts)?;
    }
}
