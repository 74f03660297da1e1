//! What a page says, as plain data: the endpoints decide it, the templates only show it.

use std::net::IpAddr;
use std::time::Duration;

use http::StatusCode;

use crate::clock::Timestamp;

/// One page for one person.
#[derive(Debug, Clone)]
pub enum Page<'a> {
    /// Name and password.
    Login(Login<'a>),
    /// The session is over, as asked.
    LoggedOut {
        /// Where the next login leads.
        return_to: Option<&'a str>,
    },
    /// Asks before ending the session: a `GET` changes nothing.
    LogoutConfirm {
        /// Who is logged in.
        login: &'a str,
        /// Where "stay logged in" and the logout lead.
        return_to: Option<&'a str>,
    },
    /// The browser came back without the cookie that it was just given.
    CookiesRefused {
        /// Why that may be.
        why: Refusal<'a>,
        /// Where the person wanted to go.
        return_to: Option<&'a str>,
    },
    /// Something went wrong, or is not allowed.
    Error(Failure<'a>),
    /// A new account.
    Signup(Signup<'a>),
    /// A new password for an account that exists.
    NewPassword(NewPassword<'a>),
    /// Asks for a link by which the password can be set anew.
    ResetRequest {
        /// What was typed before.
        identifier: &'a str,
        /// Whether the request was taken; said alike for known and unknown names.
        sent: bool,
        /// What was wrong with the attempt before.
        error: Option<Message>,
    },
    /// Who I am and where I am logged in.
    Account(Account<'a>),
    /// What was sent before the login, to be sent on.
    Resume(Resume<'a>),
}

impl Page<'_> {
    /// What kind of page it is, in a word: the name of its template.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Login(_) => "login",
            Self::LoggedOut { .. } => "logged_out",
            Self::LogoutConfirm { .. } => "logout",
            Self::CookiesRefused { .. } => "cookies",
            Self::Error(_) => "error",
            Self::Signup(_) => "signup",
            Self::NewPassword(_) => "password",
            Self::ResetRequest { .. } => "reset",
            Self::Account(_) => "account",
            Self::Resume(_) => "resume",
        }
    }
}

/// The login form.
#[derive(Debug, Clone, Default)]
pub struct Login<'a> {
    /// What was typed as the name before; kept over a failed attempt.
    pub identifier: &'a str,
    /// Where the login leads back to, already validated.
    pub return_to: Option<&'a str>,
    /// What was wrong with the attempt before.
    pub error: Option<Message>,
    /// Why the person sees this page though they may think they are logged in.
    pub reason: Option<Reason>,
    /// Whether "stay logged in" is ticked.
    pub remember: bool,
    /// Whether the captcha's widget is shown, if the site has one.
    pub captcha: bool,
    /// A form that waits for the login, sealed.
    pub kept: Option<&'a str>,
}

/// A form that waited for the login.
#[derive(Debug, Clone, Copy)]
pub struct Resume<'a> {
    /// Where it goes: a path of this origin, already validated.
    pub place: &'a str,
    /// What is in it.
    pub fields: &'a [(String, String)],
}

/// Why the browser's cookies did not come back.
#[derive(Debug, Clone, Copy)]
pub enum Refusal<'a> {
    /// The browser keeps no cookies of this site.
    Cookies,
    /// The login was made on another host name than the one that was asked for.
    WrongHost {
        /// The name under which it works, as an origin.
        expected: &'a str,
    },
}

/// Why a login page is shown to somebody who had a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It ended by time.
    SessionEnded,
    /// It was ended: elsewhere, by an administrator, or because a token was used twice.
    SessionRevoked,
    /// The browser did not send the cookie back.
    CookiesRefused,
    /// The route asks for a login that is not so long ago.
    RecentLoginNeeded,
    /// The password was changed; every session has ended.
    PasswordChanged,
    /// An account was made; it can log in now.
    AccountMade,
    /// What was sent is kept and goes on after the login.
    FormKept,
}

/// What was wrong with the last attempt to send a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Name or password is wrong, and we do not say which.
    InvalidCredentials,
    /// No name was given.
    IdentifierMissing,
    /// No password was given.
    SecretMissing,
    /// The name has a form that no account can have.
    IdentifierInvalid,
    /// The name is somebody's.
    IdentifierTaken,
    /// The new password is too short.
    SecretTooShort,
    /// The password is longer than we take.
    SecretTooLong,
    /// The new PIN has something else than digits.
    SecretNotDigits,
    /// The new password has characters that nobody sees.
    SecretUnprintable,
    /// The new password is one of those that everybody tries first.
    SecretCommon,
    /// The two new passwords differ.
    SecretsDiffer,
    /// The password in use, asked for as proof, is wrong.
    CurrentSecretWrong,
    /// Too many attempts.
    RateLimited {
        /// When the next attempt may succeed.
        retry_after: Option<Duration>,
    },
    /// The captcha was not solved.
    CaptchaFailed,
    /// The request was marked as coming from a foreign page.
    ForeignPage,
    /// We cannot check right now.
    Unavailable,
    /// The form's body could not be read.
    Malformed,
}

/// An error page.
#[derive(Debug, Clone)]
pub struct Failure<'a> {
    /// The status that the page is sent with.
    pub status: StatusCode,
    /// The stable code of the error.
    pub code: &'a str,
    /// One English sentence, shown where we have no better text for the status.
    pub message: &'a str,
    /// What the config says of this error, which is then shown instead of any text of ours.
    pub own_words: Option<&'a str>,
    /// Tells the operator which request it was.
    pub request_id: Option<&'a str>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// Who is logged in, if anybody.
    pub login: Option<&'a str>,
    /// Leads to the login page.
    pub login_url: Option<&'a str>,
    /// Leads to a change of account.
    pub switch_url: Option<&'a str>,
}

/// How somebody comes to make an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignupKind {
    /// Anybody may.
    Open,
    /// The first account of a new gateway, by a link in its log.
    Setup,
    /// By a link that somebody sent.
    Invite,
}

/// The form for a new account.
#[derive(Debug, Clone)]
pub struct Signup<'a> {
    /// How they came here.
    pub kind: SignupKind,
    /// What was typed as the name before.
    pub identifier: &'a str,
    /// The one-time link's secret, for `Setup` and `Invite`.
    pub token: Option<&'a str>,
    /// Fewest characters of the password.
    pub min_length: usize,
    /// Where the first login leads.
    pub return_to: Option<&'a str>,
    /// What was wrong with the attempt before.
    pub error: Option<Message>,
}

/// The form for a new password.
#[derive(Debug, Clone)]
pub struct NewPassword<'a> {
    /// Whose; told to password managers.
    pub login: &'a str,
    /// The one-time link's secret; without one the password in use is asked for.
    pub token: Option<&'a str>,
    /// Fewest characters of the new password.
    pub min_length: usize,
    /// What was wrong with the attempt before.
    pub error: Option<Message>,
}

/// The account page.
#[derive(Debug, Clone)]
pub struct Account<'a> {
    /// Login name.
    pub login: &'a str,
    /// Display name.
    pub name: Option<&'a str>,
    /// Email.
    pub email: Option<&'a str>,
    /// Roles.
    pub roles: &'a [String],
    /// Live sessions, the newest first; at most [`MOST_SESSIONS`] are shown.
    pub sessions: &'a [SessionLine<'a>],
    /// What has just been done.
    pub done: Option<Done>,
}

/// Sessions that the account page lists; the rest are counted.
pub const MOST_SESSIONS: usize = 30;

/// One session on the account page.
#[derive(Debug, Clone)]
pub struct SessionLine<'a> {
    /// `sid`, sent back to end it.
    pub id: &'a str,
    /// `User-Agent` of the login.
    pub device: &'a str,
    /// Where the login came from.
    pub address: Option<IpAddr>,
    /// When the login was.
    pub since: Timestamp,
    /// When it was last refreshed.
    pub last_used: Timestamp,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// What the account page confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// One session was ended.
    SessionEnded,
    /// All other sessions were ended.
    OthersEnded,
    /// The password is a new one.
    PasswordChanged,
}

/// The field that a message stands next to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Form,
    Identifier,
    Secret,
    Current,
}

impl Message {
    /// The text's key under `error.`.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::InvalidCredentials => "form.invalid_credentials",
            Self::IdentifierMissing => "form.identifier_missing",
            Self::SecretMissing => "form.secret_missing",
            Self::IdentifierInvalid => "form.identifier_invalid",
            Self::IdentifierTaken => "form.identifier_taken",
            Self::SecretTooShort => "form.secret_too_short",
            Self::SecretTooLong => "form.secret_too_long",
            Self::SecretNotDigits => "form.secret_not_digits",
            Self::SecretUnprintable => "form.secret_unprintable",
            Self::SecretCommon => "form.secret_common",
            Self::SecretsDiffer => "form.secrets_differ",
            Self::CurrentSecretWrong => "form.current_secret_wrong",
            Self::RateLimited { retry_after: None } => "form.rate_limited",
            Self::RateLimited { retry_after: Some(_) } => "form.rate_limited_for",
            Self::CaptchaFailed => "form.captcha_failed",
            Self::ForeignPage => "form.foreign_page",
            Self::Unavailable => "form.unavailable",
            Self::Malformed => "form.malformed",
        }
    }

    pub(super) fn field(self) -> Field {
        match self {
            Self::IdentifierMissing | Self::IdentifierInvalid | Self::IdentifierTaken => {
                Field::Identifier
            }
            Self::InvalidCredentials
            | Self::SecretMissing
            | Self::SecretTooShort
            | Self::SecretTooLong
            | Self::SecretNotDigits
            | Self::SecretUnprintable
            | Self::SecretCommon
            | Self::SecretsDiffer => Field::Secret,
            Self::CurrentSecretWrong => Field::Current,
            Self::RateLimited { .. }
            | Self::CaptchaFailed
            | Self::ForeignPage
            | Self::Unavailable
            | Self::Malformed => Field::Form,
        }
    }
}

impl Reason {
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::SessionEnded => "reason.session_ended",
            Self::SessionRevoked => "reason.session_revoked",
            Self::CookiesRefused => "reason.cookies_refused",
            Self::RecentLoginNeeded => "reason.recent_login_needed",
            Self::PasswordChanged => "reason.password_changed",
            Self::AccountMade => "reason.account_made",
            Self::FormKept => "reason.form_kept",
        }
    }
}

impl Done {
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::SessionEnded => "account.session_ended",
            Self::OthersEnded => "account.others_ended",
            Self::PasswordChanged => "account.password_changed",
        }
    }
}
