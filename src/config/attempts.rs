//! How often strangers may guess: one set of quotas for each thing that can be guessed at.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

/// Something that a stranger could try again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    /// Name and secret of an account.
    Login,
    /// A new account.
    Signup,
    /// A one-time link's secret: the first account, an invitation, a reset.
    Setup,
    /// A new password for the old one.
    Password,
    /// Id and secret of an app.
    Mint,
}

impl Act {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Login, Self::Signup, Self::Setup, Self::Password, Self::Mint];

    /// As the config and the metrics call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Signup => "signup",
            Self::Setup => "setup",
            Self::Password => "password",
            Self::Mint => "mint",
        }
    }
}

/// One `T` for each [`Act`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerAct<T> {
    /// [`Act::Login`]
    pub login: T,
    /// [`Act::Signup`]
    pub signup: T,
    /// [`Act::Setup`]
    pub setup: T,
    /// [`Act::Password`]
    pub password: T,
    /// [`Act::Mint`]
    pub mint: T,
}

impl<T> PerAct<T> {
    /// What `make` makes for each.
    pub fn each(mut make: impl FnMut(Act) -> T) -> Self {
        Self {
            login: make(Act::Login),
            signup: make(Act::Signup),
            setup: make(Act::Setup),
            password: make(Act::Password),
            mint: make(Act::Mint),
        }
    }

    /// The one for `act`.
    pub const fn of(&self, act: Act) -> &T {
        match act {
            Act::Login => &self.login,
            Act::Signup => &self.signup,
            Act::Setup => &self.setup,
            Act::Password => &self.password,
            Act::Mint => &self.mint,
        }
    }

    /// The one for `act`, to be changed.
    pub const fn of_mut(&mut self, act: Act) -> &mut T {
        match act {
            Act::Login => &mut self.login,
            Act::Signup => &mut self.signup,
            Act::Setup => &mut self.setup,
            Act::Password => &mut self.password,
            Act::Mint => &mut self.mint,
        }
    }
}

/// `[attempts]`: guesses, by what is guessed at and by kind of key.
#[derive(Debug, Clone)]
pub struct Attempts {
    /// `[attempts.login]` and so on; what they leave out is as in `[attempts]`.
    pub acts: PerAct<Quotas>,
    /// Refresh tokens that we never signed, from one network.
    pub forgeries: Quota,
    /// One account from one browser that has logged in to it before.
    pub per_device: Quota,
    /// How long after its last login such a browser is known.
    pub device_ttl: Duration,
    /// Keys remembered in all; beyond it those nearest to being as good as new go first.
    pub max_keys: NonZeroUsize,
}

/// The limits of one act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// One account from one network (IPv4 /32, IPv6 /64).
    pub per_account_and_network: Quota,
    /// One network, whatever the account.
    pub per_network: Quota,
    /// One account, wherever from.
    pub per_account: Quota,
    /// Whether a success counts too.
    pub count_successes: bool,
}

/// `count` in each `per`, refilled evenly (GCRA).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// How many at once.
    pub count: NonZeroU32,
    /// In which time that many are given back.
    pub per: Duration,
}
