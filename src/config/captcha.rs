//! The check that a person is there: a service that speaks the siteverify protocol.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{Act, Origin, Quota};
use crate::secret::Secret;

/// `[captcha]`
#[derive(Debug, Clone)]
pub struct Captcha {
    /// Who says whether a token is good.
    pub verifier: Verifier,
    /// Proves to the verifier who asks.
    pub secret: Secret<String>,
    /// The field of our own forms and JSON bodies that carries the token.
    pub field: String,
    /// When a token is asked for.
    pub when: CaptchaWhen,
    /// For what.
    pub on: Vec<Act>,
    /// Whether people are let in unchecked while the verifier cannot be asked.
    pub allow_on_failure: bool,
    /// The whole call, from the look-up of the host's name to the last byte.
    pub timeout: Duration,
    /// Calls under way at a time.
    pub calls: usize,
    /// Where the token may have been solved; empty: anywhere that the verifier allows.
    pub hostnames: Vec<String>,
    /// What the token must have been solved for.
    pub action: Option<String>,
    /// Whether the verifier is told the client's address.
    pub send_address: bool,
    /// PEM file of authorities that are trusted beside the usual ones.
    pub authorities: Option<PathBuf>,
    /// What our own pages show; `None`: they cannot be used where a token is asked for.
    pub widget: Option<Widget>,
}

impl Captcha {
    /// After how many failures a token is asked for; `None`: always.
    pub const fn after(&self) -> Option<Quota> {
        match self.when {
            CaptchaWhen::Always => None,
            CaptchaWhen::AfterFailures(quota) => Some(quota),
        }
    }
}

/// Who says whether a token is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verifier {
    /// A service.
    Service {
        /// Where it is.
        origin: Origin,
        /// Path, and query if any.
        path: String,
    },
    /// The built-in one for tests and demonstrations, on this loopback address.
    StandIn(SocketAddr),
}

/// `captcha.when`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaptchaWhen {
    /// Each time.
    Always,
    /// Once an account or a network has failed so often.
    AfterFailures(Quota),
}

/// What makes a browser ask its person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Widget {
    /// Tells the service which site asks.
    pub site_key: String,
    /// URL of the script. `None`: the stand-in's own.
    pub script: Option<String>,
    /// Class of the element that the script fills.
    pub class: String,
    /// Origins that the page may load from and talk to; the script's own is among them.
    pub origins: Vec<String>,
}
