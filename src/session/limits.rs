//! How often strangers may guess: which keys an attempt is charged to, and when it is given back.
//!
//! This is a local shield: each process has its own. What replicas share is asked after it, in
//! [`Sessions::charge`], and what it says is remembered here.

mod gcra;
mod shared;

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Sessions;
use super::device::DeviceId;
use crate::clock::Clock;
use crate::config::{Act, Attempts, PerAct, Quota, Quotas};
use crate::network::network;
use gcra::{Held, Key, Ledger, Limiter, SteadyClock};
use shared::Shared;

/// What a limit says of itself, for the `RateLimit-*` and `Retry-After` fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Attempts that the limit gives at once.
    pub limit: u32,
    /// Attempts left now.
    pub remaining: u32,
    /// Until all of them are back.
    pub reset: Duration,
    /// Until the next attempt is taken; zero when one may be made now.
    pub retry_after: Duration,
}

/// One attempt at something that could be guessed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guess<'a> {
    /// At what.
    pub(super) act: Act,
    /// Whose: a name in the form in which names are compared, or an app's id. It counts whether it
    /// exists or not.
    pub(super) account: &'a str,
    /// From where.
    pub(super) client: IpAddr,
    /// The browser, if it has logged in to this very account before.
    pub(super) device: Option<DeviceId>,
}

/// The limits on guesses, all kinds of key together.
pub(super) struct Limits {
    acts: PerAct<Gates>,
    devices: Arc<Limiter>,
    /// Whoever has logged in often holds many devices: together they are no more than one account
    /// has for strangers.
    devices_of_account: Arc<Limiter>,
    forgeries: Arc<Limiter>,
    /// Failures after which a captcha is asked for, by account and by network.
    suspects: Option<Arc<Limiter>>,
    hashers: [RandomState; 2],
    ledger: Arc<Ledger>,
    clock: SteadyClock,
    forgeries_refused: AtomicU64,
}

/// The limits of one act.
struct Gates {
    pair: Arc<Limiter>,
    network: Arc<Limiter>,
    account: Arc<Limiter>,
    count_successes: bool,
    /// By pair, network and account.
    refused: [AtomicU64; GATES.len()],
}

/// What a refusal was by, as the metrics call it.
const GATES: [&str; 3] = ["account_and_network", "network", "account"];

impl Limits {
    /// Empty limits after `attempts`, moved by `clock`. After as many failures as `suspicious`
    /// grants, [`Limits::is_suspect`] says so.
    pub(super) fn new(attempts: &Attempts, suspicious: Option<Quota>, clock: &Clock) -> Self {
        let clock = SteadyClock::new(clock.clone());
        let ledger = Ledger::new(attempts.max_keys.get());
        let limiter = |quota| Limiter::new(quota, &ledger, &clock);
        let gates = |quotas: &Quotas| Gates {
            pair: limiter(quotas.per_account_and_network),
            network: limiter(quotas.per_network),
            account: limiter(quotas.per_account),
            count_successes: quotas.count_successes,
            refused: Default::default(),
        };
        Self {
            acts: PerAct::each(|act| gates(attempts.acts.of(act))),
            devices: limiter(attempts.per_device),
            devices_of_account: limiter(attempts.acts.login.per_account),
            forgeries: limiter(attempts.forgeries),
            suspects: suspicious.map(limiter),
            hashers: [RandomState::new(), RandomState::new()],
            ledger,
            clock,
            forgeries_refused: AtomicU64::new(0),
        }
    }

    /// Charges an attempt to all its keys or, when one refuses, to none.
    ///
    /// A browser that has logged in to the account before is charged by itself, and not by the
    /// network and the account, which strangers may have used up. When its own allowance is used up,
    /// it is a stranger like any other, and no worse off than without the cookie.
    ///
    /// # Errors
    /// What the refusing limit says.
    pub(super) fn charge(&self, guess: Guess<'_>) -> Result<Charge, Allowance> {
        let Guess { act, account, client, device } = guess;
        let gates = self.acts.of(act);
        if let Some(device) = device {
            let steps = [
                (&self.devices, self.key("device", act, &(account, device))),
                (&self.devices_of_account, self.key("devices", act, &account)),
            ];
            if let Ok(charge) = take(&steps, gates.count_successes) {
                return Ok(Charge { by_device: true, ..charge });
            }
        }
        let from = network(client);
        let steps = [
            (&gates.pair, self.key("pair", act, &(account, from))),
            (&gates.network, self.key("network", act, &from)),
            (&gates.account, self.key("account", act, &account)),
        ];
        // Not an app by itself: whoever knows its id could lock it out from anywhere, and a random
        // secret is not guessed at from many networks either.
        let [pair, network, account] = steps;
        let steps = match act {
            Act::Mint => vec![pair, network],
            _ => vec![pair, network, account],
        };
        take(&steps, gates.count_successes).map_err(|(which, allowance)| {
            self.count_refused(act, which);
            allowance
        })
    }

    fn count_refused(&self, act: Act, which: usize) {
        if let Some(count) = self.acts.of(act).refused.get(which) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Charges the network with a refresh token that we never signed.
    ///
    /// # Errors
    /// What the limit says when it is used up.
    pub(super) fn charge_forgery(&self, client: IpAddr) -> Result<(), Allowance> {
        match self.forgeries.take(self.key_of(&("forgery", network(client)))) {
            Ok((held, _)) => {
                drop(held);
                Ok(())
            }
            Err(allowance) => {
                self.forgeries_refused.fetch_add(1, Ordering::Relaxed);
                Err(allowance)
            }
        }
    }

    /// Charges the network alone, with something that is no guess at any account and yet costs us
    /// something. Beyond the limit there is nothing more to charge.
    pub(super) fn charge_network(&self, act: Act, client: IpAddr) {
        let key = self.key("network", act, &network(client));
        drop(self.acts.of(act).network.take(key));
    }

    /// Remembers a failure of a stranger, for [`Limits::is_suspect`].
    pub(super) fn suspect(&self, act: Act, account: &str, client: IpAddr) {
        let Some(limiter) = &self.suspects else { return };
        for key in self.suspects_of(act, account, client) {
            // Beyond the limit there is nothing more to remember.
            drop(limiter.take(key));
        }
    }

    /// Whether the account or the network has failed so often of late that a captcha is due.
    pub(super) fn is_suspect(&self, act: Act, account: &str, client: IpAddr) -> bool {
        let keys = self.suspects_of(act, account, client);
        self.suspects.as_ref().is_some_and(|all| keys.into_iter().any(|key| all.is_used_up(key)))
    }

    fn suspects_of(&self, act: Act, account: &str, client: IpAddr) -> [Key; 2] {
        let of_account = self.key("suspect account", act, &account);
        [of_account, self.key("suspect network", act, &network(client))]
    }

    /// Forgets the keys that are as good as new.
    pub(super) fn sweep(&self) {
        self.ledger.sweep(&self.clock);
    }

    /// Keys remembered now.
    pub(super) fn keys(&self) -> usize {
        self.ledger.len()
    }

    /// Attempts that were not heard: by act, by key, how many.
    pub(super) fn refusals(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let of_acts = Act::ALL.into_iter().flat_map(move |act| {
            let counts = GATES.iter().zip(&self.acts.of(act).refused);
            counts.map(move |(gate, count)| (act.name(), *gate, read(count)))
        });
        let forgeries = read(&self.forgeries_refused);
        of_acts.chain(std::iter::once(("refresh", "network", forgeries)))
    }

    fn key(&self, kind: &str, act: Act, what: &impl Hash) -> Key {
        self.key_of(&(kind, act, what))
    }

    fn key_of(&self, what: &impl Hash) -> Key {
        let [first, second] = &self.hashers;
        Key(first.hash_one(what), second.hash_one(what))
    }
}

/// Takes one attempt from each, or from none: a refused attempt may not use up what others are to
/// have.
fn take(
    steps: &[(&Arc<Limiter>, Key)],
    count_successes: bool,
) -> Result<Charge, (usize, Allowance)> {
    let mut held = Vec::with_capacity(steps.len());
    let mut tightest: Option<(Allowance, Duration)> = None;
    for (which, (limiter, key)) in steps.iter().enumerate() {
        match limiter.take(*key) {
            Ok((one, allowance)) => {
                held.push(one);
                if tightest.is_none_or(|(least, _)| allowance.remaining < least.remaining) {
                    tightest = Some((allowance, limiter.interval()));
                }
            }
            Err(allowance) => {
                held.into_iter().for_each(Held::give_back);
                return Err((which, allowance));
            }
        }
    }
    let nothing =
        Allowance { limit: 0, remaining: 0, reset: Duration::ZERO, retry_after: Duration::ZERO };
    let (allowance, interval) = tightest.unwrap_or((nothing, Duration::ZERO));
    Ok(Charge { held, shared: None, allowance, interval, count_successes, by_device: false })
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").field("keys", &self.keys()).finish_non_exhaustive()
    }
}

/// An attempt that has been charged. Dropped, it stays charged: it was a guess, or its caller went
/// away before anybody could tell.
#[must_use]
pub(super) struct Charge {
    held: Vec<Held>,
    /// What was charged at the store, for all replicas.
    shared: Option<Shared>,
    allowance: Allowance,
    /// After which the limit of `allowance` gives one attempt back.
    interval: Duration,
    count_successes: bool,
    by_device: bool,
}

impl Charge {
    /// Whether it was charged to a browser that has logged in before, and not to a stranger.
    pub(super) const fn by_device(&self) -> bool {
        self.by_device
    }

    /// What is left of the tightest limit.
    pub(super) const fn allowance(&self) -> Allowance {
        self.allowance
    }

    /// What will be left of it once [`Self::succeeded`] has been told.
    pub(super) fn allowance_if_right(&self) -> Allowance {
        let Allowance { limit, remaining, reset, retry_after } = self.allowance;
        if self.count_successes {
            return self.allowance;
        }
        let remaining = remaining.saturating_add(1).min(limit);
        Allowance { limit, remaining, reset: reset.saturating_sub(self.interval), retry_after }
    }

    /// It was right: no guess, unless this site counts successes too.
    pub(super) fn succeeded(self) {
        if !self.count_successes {
            self.refund();
        }
    }

    /// Nothing was compared, so nothing was guessed.
    pub(super) fn refund(self) {
        self.held.into_iter().for_each(Held::give_back);
        if let Some(shared) = self.shared {
            shared.give_back();
        }
    }
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Charge").field("allowance", &self.allowance).finish_non_exhaustive()
    }
}

impl Sessions {
    /// Charges an attempt, before anything is looked up or hashed for it. To be settled by
    /// [`Charge::succeeded`] or [`Charge::refund`]; else it stays charged.
    ///
    /// Where the secret is compared without an await and without cost, as an app's is, charge right
    /// before the comparison and settle right after it: what is under way counts in full, so that
    /// many honest callers at once would be in each other's way.
    ///
    /// # Errors
    /// What the refusing limit says.
    pub(super) async fn charge(&self, guess: Guess<'_>) -> Result<Charge, Allowance> {
        let charge = self.limits.charge(guess)?;
        if !shared::is_shared(guess.act) || !self.store.attempts_are_shared() {
            return Ok(charge);
        }
        match self.charge_shared(guess, charge).await {
            // Its own allowance is used up at another replica: a stranger like any other.
            Err((_, true)) => {
                let guess = Guess { device: None, ..guess };
                let charge = self.limits.charge(guess)?;
                self.charge_shared(guess, charge).await.map_err(|(allowance, _)| allowance)
            }
            Err((allowance, false)) => Err(allowance),
            Ok(charge) => Ok(charge),
        }
    }
}

#[cfg(test)]
mod tests;
