//! What stands in a route about the fields of its messages.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Period, TextOrSecret};

/// Which foreign pages may read a route's answers.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Cors {
    /// Origins, whole (`"https://app.example.org"`), whose pages may read the answers; `["*"]` for
    /// everybody's, which does not go together with `credentials`.
    pub origins: Vec<String>,
    /// Methods that a preflight allows, in capitals. Default: those of the route.
    pub methods: Option<Vec<String>>,
    /// Request fields that a preflight allows; `["*"]` for any.
    #[serde(default = "cors_headers")]
    pub headers: Vec<String>,
    /// Whether answers to requests that carry cookies may be read. Such a request still passes the
    /// CSRF guard, so name the origins in `csrf.allowed_origins` too.
    #[serde(default)]
    pub credentials: bool,
    /// How long a browser may remember a preflight, up to `"1d"`.
    #[serde(default = "cors_max_age")]
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "1d"))]
    pub max_age: Period,
    /// Response fields that pages may read, besides those that any page may.
    #[serde(default)]
    pub expose: Vec<String>,
}

fn cors_headers() -> Vec<String> {
    ["authorization", "content-type", "x-requested-with"].map(str::to_owned).to_vec()
}

fn cors_max_age() -> Period {
    Period::new("10m")
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, Default)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum Preflight {
    /// the gateway, from `cors`; without that section with "no", unless the route is public
    #[default]
    Answer,
    /// the application: preflights reach it without any identity
    Forward,
}

/// Fields that are taken out of messages or put into them.
#[derive(Deserialize, Serialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Headers {
    /// On the way to the application.
    pub request: RequestChanges,
    /// In the application's answers; never in the gateway's own.
    pub response: ResponseChanges,
}

#[derive(Deserialize, Serialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RequestChanges {
    /// Put in, in the place of what the client sent: `{ "X-Environment" = "live" }`. A value can
    /// also be a secret from elsewhere, `{ file = "PATH" }` or `{ env = "NAME" }`. Not those that
    /// frame the message, say who calls or where a request came from.
    pub set: BTreeMap<String, TextOrSecret>,
    /// Taken out; likewise.
    pub remove: Vec<String>,
}

#[derive(Deserialize, Serialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct ResponseChanges {
    /// Put in, in the place of what the application sent. Not those that frame the message, and not
    /// `Set-Cookie`.
    pub set: BTreeMap<String, String>,
    /// Taken out: `["Server", "X-Powered-By"]`. Not those that frame the message.
    pub remove: Vec<String>,
}
