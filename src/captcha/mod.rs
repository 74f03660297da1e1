//! Whether a person is there: asks a service that speaks the siteverify protocol (Cloudflare
//! Turnstile, hCaptcha, reCAPTCHA), and believes nothing of what it says that is not plainly said.
//!
//! How the service is reached is handed in ([`Ask`]); this room knows the protocol and the bounds.

mod answer;
mod spent;
pub mod stand_in;
mod stats;

use std::error::Error;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::Semaphore;

use crate::clock::Timestamp;
use crate::config;
use answer::Verdict;
pub use spent::REMEMBERED;
use spent::Spent;
pub use stats::{Outcome, Stats};

/// Sends a form to the service and brings back its status and whole body. Bounded in size by whoever
/// made it; bounded in time here.
pub type Ask = Box<dyn Fn(String) -> Asking + Send + Sync>;

/// A call under way.
pub type Asking = Pin<Box<dyn Future<Output = Result<(StatusCode, Bytes), Cause>> + Send>>;

/// How somebody came past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// By a token that is spent now.
    Once,
    /// Without one that could be: the service is away, or the token is its own for tests.
    Freely,
}

/// Why a call did not succeed.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Nobody has shown to be there.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CaptchaError {
    /// No token came (`captcha_failed`).
    #[error("the captcha was not solved")]
    Missing,
    /// The token is not good: made up, spent, too old, for another site (`captcha_failed`).
    #[error("the captcha's token is not good")]
    Failed,
    /// The service cannot be asked, or said nothing that can be read (`captcha_unavailable`).
    #[error("the captcha cannot be checked: {0}")]
    Unavailable(#[source] Arc<dyn Error + Send + Sync>),
    /// Too many checks under way.
    #[error("too many captchas are being checked")]
    Busy {
        /// When it may be worth another try.
        retry_after: Duration,
    },
}

/// The check, shared by all who ask.
pub struct Captcha {
    settings: config::Captcha,
    ask: Ask,
    places: Semaphore,
    spent: Spent,
    stats: Stats,
}

/// A longer token is none: Turnstile's have at most 2048 characters, others somewhat more.
const TOKEN_BYTES_MAX: usize = 8192;

/// What Turnstile's widget gives out for the documented test keys. Whether it is good, again and
/// again, is the service's to say: with a real secret it is not.
const DUMMY_TOKEN: &str = "XXXX.DUMMY.TOKEN.XXXX";

/// When a full queue may have room again.
const SHORT_WAIT: Duration = Duration::from_secs(2);

impl Captcha {
    /// The check after `settings`, which reaches its service by `ask`.
    pub fn new(settings: config::Captcha, ask: Ask) -> Self {
        let places = Semaphore::new(settings.calls);
        Self { settings, ask, places, spent: Spent::default(), stats: Stats::default() }
    }

    /// The settings that it was made with.
    pub const fn settings(&self) -> &config::Captcha {
        &self.settings
    }

    /// What has happened so far.
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Whether somebody solved it: a token is good once, here and at the service.
    ///
    /// # Errors
    /// See [`CaptchaError`]. It fails closed, unless the config lets people past while the service
    /// is away.
    pub async fn verify(
        &self,
        token: Option<&str>,
        client: IpAddr,
        now: Timestamp,
    ) -> Result<Passed, CaptchaError> {
        let result = self.judge(token, client, now).await;
        let outcome = match &result {
            Ok(_) => Outcome::Passed,
            Err(CaptchaError::Missing) => Outcome::Missing,
            Err(CaptchaError::Failed) => Outcome::Failed,
            Err(CaptchaError::Unavailable(cause)) => {
                tracing::warn!(%cause, "the captcha's service cannot be asked");
                if self.settings.allow_on_failure {
                    self.stats.count(Outcome::LetPast);
                    return Ok(Passed::Freely);
                }
                Outcome::Unavailable
            }
            Err(CaptchaError::Busy { .. }) => Outcome::Busy,
        };
        self.stats.count(outcome);
        result
    }

    async fn judge(
        &self,
        token: Option<&str>,
        client: IpAddr,
        now: Timestamp,
    ) -> Result<Passed, CaptchaError> {
        let token = token.filter(|token| !token.is_empty()).ok_or(CaptchaError::Missing)?;
        if token.len() > TOKEN_BYTES_MAX || token.chars().any(char::is_control) {
            return Err(CaptchaError::Failed);
        }
        let Ok(_place) = self.places.try_acquire() else {
            return Err(CaptchaError::Busy { retry_after: SHORT_WAIT });
        };
        // Marked before the service is asked, so that of two who present it at once only one is
        // heard.
        let once = token != DUMMY_TOKEN;
        if once && !self.spent.spend(token, now) {
            return Err(CaptchaError::Failed);
        }
        let verdict = self.call(token, client).await;
        // What was not accepted need not be remembered: the service will not accept it later, and
        // made-up tokens are without number.
        if once && !matches!(verdict, Ok(Verdict::Good)) {
            self.spent.forget(token);
        }
        match verdict? {
            Verdict::Good => Ok(if once { Passed::Once } else { Passed::Freely }),
            Verdict::Bad => Err(CaptchaError::Failed),
        }
    }

    /// What the service is told.
    fn form(&self, token: &str, client: IpAddr) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("secret", self.settings.secret.expose());
        form.append_pair("response", token);
        if self.settings.send_address {
            form.append_pair("remoteip", &client.to_canonical().to_string());
        }
        form.finish()
    }

    async fn call(&self, token: &str, client: IpAddr) -> Result<Verdict, CaptchaError> {
        let ours = |cause: Cause| CaptchaError::Unavailable(Arc::from(cause));
        let asking = (self.ask)(self.form(token, client));
        let answered = tokio::time::timeout(self.settings.timeout, asking).await;
        let (status, body) = answered
            .map_err(|_| ours("no whole answer within captcha.timeout".into()))?
            .map_err(ours)?;
        answer::judge(status, &body, &self.settings).map_err(|error| ours(error.into()))
    }
}

impl std::fmt::Debug for Captcha {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Captcha").field("settings", &self.settings).finish_non_exhaustive()
    }
}
