//! `[store]` as it is written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Period, SecretRef, TextOrSecret};

/// Where users, sessions and keys are kept.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Store {
    /// `"sqlite://PATH"`: one file, for one gateway (three slashes for an absolute path).
    /// `"postgres://USER@HOST/NAME"`: for many replicas; since it may hold a password, it can also
    /// come from a `file` or an environment variable. Several hosts (`HOST:PORT,HOST:PORT`) are a
    /// primary and its standbys, in any order: the gateway goes to the one that takes writes. The
    /// server's certificate is verified unless the URL names an `sslmode`. Files in it start at
    /// the folder of this one.
    pub url: TextOrSecret,
    /// The same Postgres without the connection pooler that `url` leads to: for listening and for
    /// migrations, which need a connection of their own. Default: `url`.
    pub direct_url: Option<TextOrSecret>,
    /// Seals the signing keys that the store keeps, so that a stolen copy of it signs nothing. At
    /// least 32 bytes that nobody can guess, the same on every replica. Default: they are not sealed.
    pub seal_key: Option<SecretRef>,
    /// Former values of `seal_key`, which still open what they sealed. `sallyport keys reseal` seals
    /// anew, after which they may go.
    pub retired_seal_keys: Vec<SecretRef>,
    /// Connections to Postgres that one replica holds at most, 2 to 500, beside one or two that
    /// listen.
    #[schemars(range(min = 2, max = 500))]
    pub connections: u32,
    /// How long one act may take, and how long it may wait for its turn, before it is answered with
    /// 503; `"100ms"` to `"1m"`.
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "1m"))]
    pub patience: Period,
    /// After so long without a word from the store, a replica is not ready, and refuses tokens that
    /// live longer than this, since it can no longer judge them; shorter ones end by themselves.
    /// `"2s"` to `"1h"`.
    #[schemars(extend("x-minimum" = "2s", "x-maximum" = "1h"))]
    pub revocation_max_age: Period,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            url: TextOrSecret::Text("sqlite://data/sallyport.db".to_owned()),
            direct_url: None,
            seal_key: None,
            retired_seal_keys: Vec::new(),
            connections: 16,
            patience: Period::new("5s"),
            revocation_max_age: Period::new("5m"),
        }
    }
}
