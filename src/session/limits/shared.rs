//! The limits that all replicas have together: rows in the store, charged after the local shield has
//! let an attempt pass, and given back with it. What another replica has used up is learnt here, so
//! that a flood costs the store one statement and not one for each attempt.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::{Allowance, Charge, Gates, Guess, Held, Limiter, Limits};
use crate::config::Act;
use crate::network::network;
use crate::session::{Sessions, cause};
use crate::store::Store;
use crate::store::attempts::{AttemptKey, Balance, Charged, Toll};

/// Whether an act is worth the statement. The secret of an app cannot be guessed, however many
/// replicas hear the guesses, and its honest callers are many at once.
pub(super) const fn is_shared(act: Act) -> bool {
    match act {
        Act::Login | Act::Signup | Act::Setup | Act::Password => true,
        Act::Mint => false,
    }
}

/// A charge at the store, to be given back there.
pub(super) struct Shared {
    store: Arc<dyn Store>,
    room: Handle,
    tolls: Vec<Toll>,
}

impl Shared {
    /// Without waiting for it. If it fails, the attempt counts as a guess, and time gives it back.
    pub(super) fn give_back(self) {
        let Self { store, room, tolls } = self;
        room.spawn(async move {
            if let Err(error) = store.refund(&tolls).await {
                tracing::debug!(error = %cause(&error), "an attempt could not be given back");
            }
        });
    }
}

impl From<Balance> for Allowance {
    fn from(balance: Balance) -> Self {
        let Balance { limit, remaining, reset, retry_after } = balance;
        Self { limit, remaining, reset, retry_after }
    }
}

impl Limits {
    /// What an attempt pays at the store: the same keys that it has paid here, in their order.
    fn tolls(&self, guess: Guess<'_>, by_device: bool) -> Vec<Toll> {
        let Guess { act, account, client, device } = guess;
        let Gates { pair, network: of_network, account: of_account, .. } = self.acts.of(act);
        let toll = |limiter: &Limiter, kind: &str, parts: &[&[u8]]| {
            let (limit, per) = limiter.quota();
            let name = format!("{kind} {}", act.name());
            Toll { key: AttemptKey::of(&name, parts), limit, per }
        };
        let account = account.as_bytes();
        if let Some(device) = device.filter(|_| by_device) {
            return vec![
                toll(&self.devices, "device", &[account, device.as_bytes()]),
                toll(&self.devices_of_account, "devices", &[account]),
            ];
        }
        let from = network(client).to_string();
        vec![
            toll(pair, "pair", &[account, from.as_bytes()]),
            toll(of_network, "network", &[from.as_bytes()]),
            toll(of_account, "account", &[account]),
        ]
    }
}

impl Sessions {
    /// Charges at the store what `charge` was charged here. Refused, it says whether that was by the
    /// keys of a device.
    pub(super) async fn charge_shared(
        &self,
        guess: Guess<'_>,
        mut charge: Charge,
    ) -> Result<Charge, (Allowance, bool)> {
        let tolls = self.limits.tolls(guess, charge.by_device);
        let (store, now, asked) = (Arc::clone(&self.store), self.clock.now(), tolls.clone());
        match self.on_room(async move { store.charge(&asked, now).await }).await {
            Ok(Charged::Taken(balances)) => {
                let tightest =
                    balances.into_iter().zip(&tolls).min_by_key(|(balance, _)| balance.remaining);
                if let Some((tightest, toll)) =
                    tightest.filter(|(one, _)| one.remaining < charge.allowance.remaining)
                {
                    charge.allowance = tightest.into();
                    charge.interval = toll.per / toll.limit.max(1);
                }
                let (store, room) = (Arc::clone(&self.store), self.room.clone());
                charge.shared = Some(Shared { store, room, tolls });
                Ok(charge)
            }
            Ok(Charged::Refused(which, balance)) => {
                let by_device = charge.by_device;
                for (number, held) in charge.held.into_iter().enumerate() {
                    if number == which { held.learn(balance.reset) } else { Held::give_back(held) }
                }
                if !by_device {
                    self.limits.count_refused(guess.act, which);
                }
                Err((balance.into(), by_device))
            }
            // What the attempt is about will find the store gone, too.
            Err(error) => {
                tracing::debug!(error = %cause(&error), "an attempt was counted here only");
                Ok(charge)
            }
        }
    }
}
