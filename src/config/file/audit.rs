//! The section on the record of what happened.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Period;

/// The record of what happened to accounts, sessions, apps, links and keys, which `sallyport audit
/// list` shows. It is in the store; the log has the same events.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Audit {
    /// How long an event is kept, `"1d"` to `"3650d"`.
    #[schemars(extend("x-minimum" = "1d", "x-maximum" = "3650d"))]
    pub keep: Period,
    /// Events kept at most, 1000 to 100000000, about 200 bytes each. Beyond it the oldest go, those
    /// first that strangers can cause at will.
    #[schemars(range(min = 1000, max = 100_000_000))]
    pub max_rows: u32,
}

impl Default for Audit {
    fn default() -> Self {
        Self { keep: Period::new("90d"), max_rows: 1_000_000 }
    }
}
