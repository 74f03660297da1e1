//! The same acts against two processes on one SQLite file.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::super::refresh::RefreshError;
use super::super::tests::{CLIENT, PASSWORD, Site as Gateway, attempt, settings};
use super::super::{LoginStep, Pair, Sessions};
use super::{ACCESS_TTL, GRACE, Granted, Refused, Site, acts, run};
use crate::id::{SessionId, TokenId};
use crate::token::TokenError;

struct Real {
    runtime: Runtime,
    gateway: Gateway,
    processes: [Arc<Sessions>; 2],
}

impl Real {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let mut settings = settings();
        settings.session.access_ttl = ACCESS_TTL;
        settings.session.reuse_grace = GRACE;
        settings.attempts.acts.login.per_account.count = NonZeroU32::new(10_000).unwrap();
        let (gateway, processes) = runtime.block_on(async {
            let gateway = Gateway::with(settings).await;
            let second = gateway.second().await;
            let processes = [gateway.sessions.clone(), second];
            (gateway, processes)
        });
        Self { runtime, gateway, processes }
    }
}

fn granted(pair: Pair) -> Granted {
    Granted {
        session: pair.session,
        generation: pair.generation,
        access_ends: pair.access_expires_at(),
        refresh: pair.refresh.unwrap(),
    }
}

impl Site for Real {
    fn log_in(&mut self, replaces: Option<SessionId>) -> Granted {
        let mut attempt = attempt("ada", PASSWORD);
        attempt.replaces = replaces;
        let step = self.runtime.block_on(self.processes[0].log_in(attempt)).unwrap();
        let LoginStep::Done(begun) = step else { panic!("{step:?}") };
        granted(begun.pair)
    }

    fn log_out(&mut self, process: usize, session: SessionId) {
        self.runtime.block_on(self.processes[process].log_out(session)).unwrap();
    }

    fn refresh(&mut self, process: usize, token: &str) -> Result<Granted, Refused> {
        let sessions = &self.processes[process];
        match self.runtime.block_on(sessions.refresh(token, CLIENT)) {
            Ok(refreshed) => Ok(granted(refreshed.pair)),
            Err(RefreshError::Expired) => Err(Refused::Expired),
            Err(RefreshError::Revoked(reason)) => Err(Refused::Ended(reason)),
            Err(RefreshError::Unauthentic(TokenError::NotYetValid)) => Err(Refused::NotNow),
            Err(error) => panic!("{error}"),
        }
    }

    fn saw(&mut self, session: SessionId, generation: u64) {
        // Straight to the store: what is lost on the way is up to the test.
        let seen = [(session, generation)];
        self.runtime.block_on(self.gateway.store.seen(&seen)).unwrap();
    }

    fn refuses(&mut self, process: usize, session: SessionId) -> bool {
        let none = TokenId::from_bytes([0; 16]);
        let now = self.gateway.clock.now();
        self.processes[process].revoked().refuses(Some(&session), &none, None, now)
    }

    fn snapshot(&mut self) {}

    fn restore(&mut self) -> bool {
        false
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 200, ..Default::default() })]

    #[test]
    fn two_processes_keep_every_honest_browser(acts in acts(false, false)) {
        let mut real = Real::new();
        let clock = real.gateway.clock.clone();
        run(&mut real, &clock, &acts)?;
    }

    #[test]
    fn two_processes_find_every_thief(acts in acts(true, false)) {
        let mut real = Real::new();
        let clock = real.gateway.clock.clone();
        run(&mut real, &clock, &acts)?;
    }
}

#[test]
fn a_session_ended_by_one_process_is_refused_by_the_other_within_a_second() {
    let mut real = Real::new();
    let pair = real.log_in(None);
    real.log_out(0, pair.session);
    let started = crate::clock::Stopwatch::start();
    while !real.refuses(1, pair.session) {
        assert!(started.elapsed() < Duration::from_secs(1), "not heard within a second");
        std::thread::yield_now();
    }
}
