//! `[attempts]`: how often strangers may guess.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Period, Quota};

/// How often strangers may guess; beyond it 429 with `Retry-After`. A network is an IPv4 address or
/// an IPv6 /64. Only what was wrong is charged. A section for one act, such as `[attempts.login]`,
/// changes what it names for that act alone.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Attempts {
    /// Guesses at one account from one network.
    pub per_account_and_network: Quota,
    /// Guesses from one network, whatever the account.
    pub per_network: Quota,
    /// Guesses at one account, wherever from. NIST SP 800-63B-4 section 3.2.2 wants at most 100 in
    /// a row.
    pub per_account: Quota,
    /// Guesses at one account from one browser that has logged in to it before (`cookies.device`).
    /// They count here and not above, so that no stranger can use up what the owner has. All such
    /// browsers of an account together have `per_account` once more.
    pub per_device: Quota,
    /// How long after its last login a browser is known, `"1h"` to `"400d"`. Signing keys are kept
    /// at least as long.
    #[schemars(extend("x-minimum" = "1h", "x-maximum" = "400d"))]
    pub device_ttl: Period,
    /// What is counted.
    pub count: Count,
    /// Keys remembered in all, 100 to 10000000, about 100 bytes each. When there are more, those
    /// that would soon be as good as new are forgotten first.
    #[schemars(range(min = 100, max = 10_000_000))]
    pub max_keys: u32,
    /// Name and secret of an account.
    pub login: Act,
    /// New accounts. `count` is `"all"` here unless this section says otherwise.
    pub signup: Act,
    /// Secrets of one-time links: the first account, invitations, resets.
    pub setup: Act,
    /// A new password in the place of the old one.
    pub password: Act,
    /// Id and secret of an app.
    pub mint: Act,
    /// Refresh tokens that the gateway never signed. An authentic one is never refused by a limit.
    pub refresh: Forgeries,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            per_account_and_network: Quota::new(5, "15m"),
            per_network: Quota::new(50, "15m"),
            per_account: Quota::new(100, "15m"),
            per_device: Quota::new(5, "15m"),
            device_ttl: Period::new("90d"),
            count: Count::Failures,
            max_keys: 200_000,
            login: Act::default(),
            signup: Act::default(),
            setup: Act::default(),
            password: Act::default(),
            mint: Act::default(),
            refresh: Forgeries::default(),
        }
    }
}

/// What one act has of its own.
#[derive(Deserialize, Serialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Act {
    /// As above, for this act alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_account_and_network: Option<Quota>,
    /// As above, for this act alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_network: Option<Quota>,
    /// As above, for this act alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_account: Option<Quota>,
    /// As above, for this act alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<Count>,
}

/// What forged tokens are counted by.
#[derive(Deserialize, Serialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Forgeries {
    /// As above, for this act alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_network: Option<Quota>,
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum Count {
    /// failed attempts only
    Failures,
    /// successes too
    All,
}
