//! What a route says of the fields of its messages, and how fresh a login it asks for.

use std::time::Duration;

use http::Method;
use http::header::{HeaderName, HeaderValue};

/// The settings of a route that concern fields, not who may come. Empty for most.
#[derive(Debug, Clone, Default)]
pub struct Manners {
    /// Which foreign pages may read its answers. `None`: that is between them and the application.
    pub cors: Option<Cors>,
    /// Whether the application answers preflights itself.
    pub forward_preflight: bool,
    /// What changes on the way to the application.
    pub request: Changes,
    /// What changes on the way back, in the application's own answers.
    pub response: Changes,
    /// Fields that an answer of the application gets if it has none of that name.
    pub security: Vec<(HeaderName, HeaderValue)>,
    /// Whether `Strict-Transport-Security` is left to the application.
    pub own_security: bool,
    /// How the path changes on the way to the application.
    pub mapping: Option<Mapping>,
    /// The oldest login that suffices.
    pub max_auth_age: Option<Duration>,
}

/// `route.strip_prefix` and `route.add_prefix`, without a slash at their ends.
#[derive(Debug, Clone, Default)]
pub struct Mapping {
    /// Taken off the front of the path; empty: nothing.
    pub strip: String,
    /// Put before what is left; empty: nothing.
    pub add: String,
}

impl Mapping {
    /// The application's path for `path`, which is canonical.
    pub fn apply(&self, path: &str) -> String {
        // Routes are held to lie below what they strip.
        let rest = path.strip_prefix(&self.strip).unwrap_or(path);
        let rest = if rest.is_empty() { "/" } else { rest };
        format!("{}{rest}", self.add)
    }
}

/// Fields to remove, and then fields to set.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Taken out, however often they are there.
    pub remove: Vec<HeaderName>,
    /// Put in, in the place of what is there.
    pub set: Vec<(HeaderName, HeaderValue)>,
}

/// `route.cors` (Fetch standard, section 3.2).
#[derive(Debug, Clone)]
pub struct Cors {
    /// Whose pages may read answers.
    pub origins: CorsOrigins,
    /// Methods that a preflight allows; `None`: whatever it asks for.
    pub methods: Option<HeaderValue>,
    /// Request fields that a preflight allows; `None`: whatever it asks for.
    pub headers: Option<HeaderValue>,
    /// Whether answers to requests with cookies may be read.
    pub credentials: bool,
    /// How long a browser may remember a preflight, in seconds.
    pub max_age: HeaderValue,
    /// Response fields that a page may read, besides those that any may.
    pub expose: Option<HeaderValue>,
}

/// `route.cors.origins`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsOrigins {
    /// Everybody's.
    Any,
    /// Of these, as browsers write them.
    These(Vec<String>),
}

impl Cors {
    /// A comma-separated list; `None` for an empty one.
    pub(super) fn list(items: &[String]) -> Option<HeaderValue> {
        let text = items.join(", ");
        HeaderValue::try_from(text).ok().filter(|value| !value.is_empty())
    }

    /// The methods as a list.
    pub(super) fn method_list(methods: &[Method]) -> Option<HeaderValue> {
        let names: Vec<String> = methods.iter().map(|method| method.as_str().to_owned()).collect();
        Self::list(&names)
    }
}
