//! The rotation rules as a state machine under random acts: a browser whose tabs share one cookie
//! jar and whose responses are late or lost, a thief with a copied token, two processes, sights
//! that are lost, a clock that moves, a store that goes back.
//!
//! The world watches from outside: it knows only which answers were given and what was presented,
//! and holds every answer to the promises of the design. It is run against the bare rule
//! ([`paper`], thousands of cases) and against [`Sessions`](super::Sessions) over two processes on
//! one SQLite file ([`real`]).

mod paper;
mod real;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::Union;

use crate::clock::{Clock, Timestamp};
use crate::id::SessionId;
use crate::store::rows::EndReason;

pub(super) const GRACE: Duration = Duration::from_secs(30);
pub(super) const ACCESS_TTL: Duration = Duration::from_secs(60);
pub(super) const IDLE_TTL: Duration = Duration::from_secs(7 * 86_400);
pub(super) const REFRESH_TTL: Duration = Duration::from_secs(30 * 86_400);

/// What is under test.
pub(super) trait Site {
    fn log_in(&mut self, replaces: Option<SessionId>) -> Granted;
    fn log_out(&mut self, process: usize, session: SessionId);
    fn refresh(&mut self, process: usize, token: &str) -> Result<Granted, Refused>;
    /// A sight that reaches the store.
    fn saw(&mut self, session: SessionId, generation: u64);
    /// Whether the process refuses the session's access tokens.
    fn refuses(&mut self, process: usize, session: SessionId) -> bool;
    /// Remembers how the store is now.
    fn snapshot(&mut self);
    /// Puts it back to that; `false` where that cannot be done.
    fn restore(&mut self) -> bool;
}

/// A pair, as a client sees it.
#[derive(Debug, Clone)]
pub(super) struct Granted {
    pub(super) session: SessionId,
    pub(super) generation: u64,
    pub(super) refresh: String,
    pub(super) access_ends: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Expired,
    Ended(EndReason),
    /// No verdict on the session: the clock is behind the token.
    NotNow,
}

/// What becomes of a response.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    Arrives,
    Late,
    Lost,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    /// One of the tabs makes a request; `seen`: the sight of its token reaches the store.
    Visit {
        process: usize,
        fate: Fate,
        seen: bool,
    },
    /// The oldest late response arrives.
    Deliver,
    Wait(u64),
    LogIn,
    LogOut {
        process: usize,
    },
    /// The thief copies the cookie jar.
    Copy,
    ThiefRefreshes {
        process: usize,
    },
    ThiefVisits {
        seen: bool,
    },
    ClockBack(u64),
    Snapshot,
    Restore,
}

pub(super) fn acts(thief: bool, store_goes_back: bool) -> impl Strategy<Value = Vec<Act>> {
    let process = 0..2_usize;
    let fate = prop_oneof![4 => Just(Fate::Arrives), 2 => Just(Fate::Late), 2 => Just(Fate::Lost)];
    let visit = (process.clone(), fate, prop::bool::weighted(0.7))
        .prop_map(|(process, fate, seen)| Act::Visit { process, fate, seen });
    let wait = prop_oneof![
        4 => 0..12_u64,
        4 => 25..70_u64,
        1 => 3000..90_000_u64,
    ];
    let mut kinds = vec![
        (24, visit.boxed()),
        (8, Just(Act::Deliver).boxed()),
        (20, wait.prop_map(Act::Wait).boxed()),
        (2, Just(Act::LogIn).boxed()),
        (1, process.clone().prop_map(|process| Act::LogOut { process }).boxed()),
        (1, (1..7200_u64).prop_map(Act::ClockBack).boxed()),
    ];
    if thief {
        let refreshes = process.prop_map(|process| Act::ThiefRefreshes { process });
        let visits = any::<bool>().prop_map(|seen| Act::ThiefVisits { seen });
        kinds.extend([(4, Just(Act::Copy).boxed()), (12, refreshes.boxed()), (6, visits.boxed())]);
    }
    if store_goes_back {
        kinds.extend([(2, Just(Act::Snapshot).boxed()), (2, Just(Act::Restore).boxed())]);
    }
    let act = Union::new_weighted(kinds);
    prop::collection::vec(act, 1..60)
}

/// Runs `acts` and holds every answer to what is promised.
pub(super) fn run(site: &mut impl Site, clock: &Clock, acts: &[Act]) -> Result<(), TestCaseError> {
    let mut world = World {
        site,
        clock,
        jar: None,
        late: Vec::new(),
        stolen: None,
        thief_came: false,
        families: HashMap::new(),
        dead: HashSet::new(),
        went_back: false,
        clock_went_back: false,
    };
    world.log_in()?;
    acts.iter().try_for_each(|act| world.act(*act))
}

struct World<'a, S> {
    site: &'a mut S,
    clock: &'a Clock,
    /// What the browser's cookies hold.
    jar: Option<Granted>,
    /// Responses under way, with when they were issued.
    late: Vec<(Granted, Timestamp)>,
    stolen: Option<Granted>,
    /// From then on the browser may lose its session, and should.
    thief_came: bool,
    families: HashMap<SessionId, Family>,
    /// Families of which a theft was told.
    dead: HashSet<SessionId>,
    went_back: bool,
    clock_went_back: bool,
}

/// What is known of a session from outside.
struct Family {
    begun: Timestamp,
    last_answer: Timestamp,
    /// The refresh token of each generation, and when it was first given out.
    tokens: HashMap<u64, (String, Timestamp)>,
    /// The highest generation that the store was told is in use.
    used: u64,
}

impl<S: Site> World<'_, S> {
    fn act(&mut self, act: Act) -> Result<(), TestCaseError> {
        match act {
            Act::Visit { process, fate, seen } => self.visit(process, fate, seen),
            Act::Deliver => self.deliver(),
            Act::Wait(secs) => {
                self.clock.advance(Duration::from_secs(secs));
                Ok(())
            }
            Act::LogIn => self.log_in(),
            Act::LogOut { process } => {
                if let Some(held) = self.jar.take() {
                    self.site.log_out(process, held.session);
                    prop_assert!(self.site.refuses(process, held.session));
                }
                Ok(())
            }
            Act::Copy => {
                self.stolen = self.jar.clone();
                self.thief_came = true;
                Ok(())
            }
            Act::ThiefRefreshes { process } => {
                if let Some(held) = self.stolen.clone() {
                    match self.present(process, &held)? {
                        Ok(granted) => self.stolen = Some(granted),
                        Err(Refused::NotNow) => {}
                        Err(_) => self.stolen = None,
                    }
                }
                Ok(())
            }
            Act::ThiefVisits { seen } => {
                if let Some(held) = self.stolen.clone() {
                    self.use_access(&held, seen);
                }
                Ok(())
            }
            Act::ClockBack(secs) => {
                let to = self.clock.now().minus(Duration::from_secs(secs));
                self.clock.set(to);
                self.clock_went_back = true;
                // How late a response is can no longer be told.
                self.late.clear();
                Ok(())
            }
            Act::Snapshot => {
                self.site.snapshot();
                Ok(())
            }
            Act::Restore => {
                if self.site.restore() {
                    self.went_back = true;
                    self.dead.clear();
                    // Two histories: neither tokens nor sights of the first bind the second.
                    for family in self.families.values_mut() {
                        family.tokens.clear();
                        family.used = 0;
                    }
                }
                Ok(())
            }
        }
    }

    fn log_in(&mut self) -> Result<(), TestCaseError> {
        let replaces = self.jar.as_ref().map(|held| held.session);
        let granted = self.site.log_in(replaces);
        let now = self.clock.now();
        prop_assert_eq!(granted.generation, 1);
        let family = Family { begun: now, last_answer: now, tokens: HashMap::new(), used: 0 };
        self.families.insert(granted.session, family);
        self.jar = Some(granted);
        Ok(())
    }

    fn visit(&mut self, process: usize, fate: Fate, seen: bool) -> Result<(), TestCaseError> {
        let Some(held) = self.jar.clone() else { return Ok(()) };
        if self.clock.now() < held.access_ends {
            if !self.site.refuses(process, held.session) {
                self.use_access(&held, seen);
                return Ok(());
            }
            // (a): nobody but the user, a thief or the operator ends a session.
            prop_assert!(self.thief_came, "a session that nobody ended is refused");
            self.jar = None;
            return Ok(());
        }
        match self.present(process, &held)? {
            Ok(granted) => match fate {
                Fate::Arrives => self.jar = Some(granted),
                Fate::Late => self.late.push((granted, self.clock.now())),
                Fate::Lost => {}
            },
            Err(Refused::NotNow) => {}
            Err(refused) => {
                self.may_be_refused(&held, refused)?;
                self.jar = None;
            }
        }
        Ok(())
    }

    /// (a): a browser that lost responses, or got them late, is never logged out for it.
    fn may_be_refused(&self, held: &Granted, refused: Refused) -> Result<(), TestCaseError> {
        if self.thief_came || (self.went_back && refused == Refused::Expired) {
            return Ok(());
        }
        let family = &self.families[&held.session];
        let now = self.clock.now();
        let idle = now.since(family.last_answer) >= IDLE_TTL - IDLE_TTL / 100;
        let over = now.since(family.begun) >= REFRESH_TTL;
        // A clock that was set back has moved the beginnings into the future.
        let over = over || self.clock_went_back;
        prop_assert!(
            refused == Refused::Expired && (idle || over),
            "the browser lost its session: {refused:?}"
        );
        Ok(())
    }

    fn use_access(&mut self, held: &Granted, seen: bool) {
        let alive = self.clock.now() < held.access_ends;
        if alive && seen && !self.site.refuses(0, held.session) {
            self.site.saw(held.session, held.generation);
            if let Some(family) = self.families.get_mut(&held.session) {
                family.used = family.used.max(held.generation);
            }
        }
    }

    /// The gateway attaches late cookies only when they are younger than half the grace, and not
    /// when their session has ended meanwhile.
    fn deliver(&mut self) -> Result<(), TestCaseError> {
        if self.late.is_empty() {
            return Ok(());
        }
        let (granted, issued) = self.late.remove(0);
        let fresh = self.clock.now().since(issued) < GRACE / 2;
        if fresh && !self.site.refuses(0, granted.session) && self.jar.is_some() {
            self.jar = Some(granted);
        }
        Ok(())
    }

    /// Presents a refresh token and holds the answer to everything but (a).
    fn present(
        &mut self,
        process: usize,
        held: &Granted,
    ) -> Result<Result<Granted, Refused>, TestCaseError> {
        let now = self.clock.now();
        let answer = self.site.refresh(process, &held.refresh);
        let family = self.families.get_mut(&held.session).expect("each token is of some login");
        let highest = family.tokens.keys().max().copied().unwrap_or(0);
        let successor = held.generation + 1;
        match &answer {
            Ok(granted) => {
                prop_assert_eq!(granted.session, held.session);
                // (e): one step per rotation, and a spent token leads to its own successor only.
                prop_assert_eq!(granted.generation, successor);
                // (b): never for one that two generations have gone by, ...
                prop_assert!(highest <= successor, "generation {highest} was out already");
                // (c): never for a family in which a theft was found out.
                prop_assert!(!self.dead.contains(&held.session), "a dead family was refreshed");
                let first = family.tokens.entry(successor);
                let (token, born) = first.or_insert_with(|| (granted.refresh.clone(), now));
                // (d): all who present one token get one successor.
                prop_assert_eq!(&granted.refresh, token);
                // (b): ... nor after the grace, once the store knows the successor in use.
                let apart = now.since(*born).max(born.since(now));
                prop_assert!(
                    apart < GRACE || family.used < successor,
                    "answered {apart:?} after the rotation, though the successor was seen"
                );
                family.last_answer = now;
                // To present a token is to use its generation.
                family.used = family.used.max(held.generation);
            }
            Err(Refused::Ended(EndReason::Theft)) => {
                prop_assert!(self.site.refuses(process, held.session), "its access tokens go on");
                self.dead.insert(held.session);
            }
            Err(_) => {}
        }
        Ok(answer)
    }
}
