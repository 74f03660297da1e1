//! `[captcha]`: the check that a person is there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Period, TextOrSecret};

/// The check that a person is there, by a service that speaks the siteverify protocol (Cloudflare
/// Turnstile, hCaptcha, reCAPTCHA). It comes before the password is looked at. Without this section
/// there is none.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Captcha {
    /// Where tokens are verified, an `https` URL (or `http` on the loopback), such as
    /// `"https://challenges.cloudflare.com/turnstile/v0/siteverify"`,
    /// `"https://api.hcaptcha.com/siteverify"` or
    /// `"https://www.google.com/recaptcha/api/siteverify"`. Needed unless there is a `stand_in`.
    pub url: Option<String>,
    /// The secret key that the service gave you, in place or by `file` or `env`. Needed unless there
    /// is a `stand_in`, whose own is then used.
    pub secret: Option<TextOrSecret>,
    /// Field of a login or signup body that carries the token. 1 to 64 letters, digits, `_`, `-`,
    /// `.`. The services' scripts write to `cf-turnstile-response`, `h-captcha-response` and
    /// `g-recaptcha-response`; that of Turnstile takes another name, too. Programs may use another:
    /// `[endpoints.login] fields = { captcha = "..." }`.
    pub field: String,
    /// When a token is asked for: `"always"`, or `{ after_failures = 3, per = "1h" }`, once an
    /// account or a network has failed so often in that time. A browser that has logged in to the
    /// account before (`cookies.device`) is not asked for what others failed.
    pub when: When,
    /// For what it is asked.
    pub on: Vec<Asked>,
    /// What happens while the service cannot be asked, or answers nothing that can be read.
    pub on_failure: OnFailure,
    /// How long a call may take in all, `"100ms"` to `"30s"`.
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "30s"))]
    pub timeout: Period,
    /// Calls under way at a time, 1 to 10000; beyond it the answer is 503 at once.
    #[schemars(range(min = 1, max = 10_000))]
    pub calls: u32,
    /// Hosts on which the token may have been solved; the service's answer must name one of them.
    /// Empty: it is the service that says where a site key may be used.
    pub hostnames: Vec<String>,
    /// The action for which the token must have been solved, up to 32 letters, digits, `_`, `-`; our
    /// own pages tell it to the widget. Default: any.
    pub action: Option<String>,
    /// Whether the service is told the client's address.
    pub send_address: bool,
    /// PEM file with certificates of authorities that are trusted for `url` beside those that
    /// the system trusts.
    pub ca: Option<String>,
    /// The site key, which our own pages give to the widget. Without it they show none, and cannot
    /// be used where a token is asked for.
    pub site_key: Option<String>,
    /// URL of the widget's script. Default: that of Turnstile
    /// (`"https://challenges.cloudflare.com/turnstile/v0/api.js"`), or the stand-in's.
    pub script: Option<String>,
    /// Class of the element that the script fills: `cf-turnstile`, `h-captcha`, `g-recaptcha`.
    pub widget: String,
    /// Origins that the page with the widget may load scripts, styles and frames from and talk to,
    /// as `"https://hcaptcha.com"` or `"https://*.hcaptcha.com"`. Default: the script's own.
    pub origins: Option<Vec<String>>,
    /// **For tests and demonstrations only**: a loopback address and port on which the gateway itself
    /// runs a verifier that knows the services' documented test keys, and a widget. Everybody passes
    /// who asks it. Only while the gateway listens on the loopback alone. Default: none.
    pub stand_in: Option<String>,
}

impl Default for Captcha {
    fn default() -> Self {
        Self {
            url: None,
            secret: None,
            field: "cf-turnstile-response".to_owned(),
            when: When::Named(WhenNamed::Always),
            on: vec![Asked::Login, Asked::Signup],
            on_failure: OnFailure::Refuse,
            timeout: Period::new("5s"),
            calls: 64,
            hostnames: Vec::new(),
            action: None,
            send_address: false,
            ca: None,
            site_key: None,
            script: None,
            widget: "cf-turnstile".to_owned(),
            origins: None,
            stand_in: None,
        }
    }
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum When {
    Named(WhenNamed),
    After(After),
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum WhenNamed {
    /// each time
    Always,
}

/// How often, and in which time.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct After {
    /// Failures, 1 to 1000.
    #[schemars(range(min = 1, max = 1000))]
    pub after_failures: u32,
    /// The time in which they are forgotten, evenly, `"1m"` to `"7d"`. Default: `"1h"`.
    #[schemars(extend("x-minimum" = "1m", "x-maximum" = "7d"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per: Option<Period>,
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum Asked {
    /// logging in
    Login,
    /// making an account without an invitation
    Signup,
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum OnFailure {
    /// nobody gets further: 503
    Refuse,
    /// everybody is let past, unchecked
    Allow,
}
