//! The audit stream: what happened to accounts, sessions, apps, links and keys, who did it and why.
//! Fields are bounded when an event is made, and none of them can hold a secret.
//!
//! To add a kind of event: a variant of [`AuditKind`], its row in `KINDS`, its row in
//! `docs/LOGGING.md` (a test compares the two). Then tell it where it happens, by
//! `Auditor::tell` or `Auditor::keep` (`session/audit.rs`), or on the command line by `Desk::note`.

use std::borrow::Cow;
use std::net::IpAddr;

use async_trait::async_trait;

use super::StoreError;
use super::columns::bytes;
use super::rows::User;
use crate::clock::Timestamp;
use crate::id::{SessionId, UserId};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditKind {
    /// A login succeeded: a session began. The subject is the device.
    Login,
    /// A login did not. Cause: `unknown_user`, `wrong_secret`, `disabled`, ...
    LoginFailed,
    /// A spent refresh token was answered with its successor. Cause: the grace.
    RefreshRepeated,
    /// A spent refresh token was presented, and neither a second tab nor a lost response explains
    /// it: the session was ended.
    Theft,
    /// The store had gone back; a session was set right after its token.
    StoreRollback,
    /// A session was ended. Cause: by what.
    SessionEnded,
    /// An account was made. Cause: by which way.
    UserAdded,
    /// Rights or status of an account were changed. The subject says which.
    UserChanged,
    /// A password was set. Cause: `changed`, `reset`, `operator`.
    PasswordChanged,
    /// An account was removed.
    UserRemoved,
    /// Accounts were taken over from a file. The subject says how many.
    UsersImported,
    /// A one-time link was made. The subject is what it is for.
    LinkMade,
    /// A one-time link was used.
    LinkUsed,
    /// A one-time link was withdrawn before anybody used it. The subject is what it was for.
    LinkWithdrawn,
    /// Somebody presented a one-time link that is none, or not any more.
    LinkRefused,
    /// An app was made. The subject is its id.
    AppAdded,
    /// Secrets or rights of an app were changed. The subject is its id, and what changed.
    AppChanged,
    /// An app was removed. The subject is its id.
    AppRemoved,
    /// An app minted a token. The subject is the app's id.
    TokenMinted,
    /// Somebody could not mint. Cause: why. The subject is the app's id, or `(unknown)`.
    MintFailed,
    /// A single token was revoked. The subject is its id.
    TokenRevoked,
    /// A captcha was not solved, or could not be verified.
    CaptchaFailed,
    /// A signing key was made. The subject is its id.
    KeyAdded,
}

/// What is known of each kind.
struct About {
    kind: AuditKind,
    name: &'static str,
    sentence: &'static str,
    /// Whether strangers can cause it at will, with no more than requests.
    cheap: bool,
}

const fn about(kind: AuditKind, name: &'static str, sentence: &'static str, cheap: bool) -> About {
    About { kind, name, sentence, cheap }
}

#[rustfmt::skip]
const KINDS: [About; AuditKind::COUNT] = [
    about(AuditKind::Login, "login", "a session began", false),
    about(AuditKind::LoginFailed, "login_failed", "a login was refused", true),
    about(AuditKind::RefreshRepeated, "refresh_repeated", "a spent refresh token was answered with its successor", true),
    about(AuditKind::Theft, "theft", "a spent refresh token was presented: the session was ended", false),
    about(AuditKind::StoreRollback, "store_rollback", "the store has gone back: a session was set right after its token", false),
    about(AuditKind::SessionEnded, "session_ended", "a session was ended", false),
    about(AuditKind::UserAdded, "user_added", "an account was made", false),
    about(AuditKind::UserChanged, "user_changed", "an account was changed", false),
    about(AuditKind::PasswordChanged, "password_changed", "a password was set", false),
    about(AuditKind::UserRemoved, "user_removed", "an account was removed", false),
    about(AuditKind::UsersImported, "users_imported", "accounts were imported", false),
    about(AuditKind::LinkMade, "link_made", "a one-time link was made", false),
    about(AuditKind::LinkUsed, "link_used", "a one-time link was used", false),
    about(AuditKind::LinkWithdrawn, "link_withdrawn", "a one-time link was withdrawn", false),
    about(AuditKind::LinkRefused, "link_refused", "a one-time link was refused", true),
    about(AuditKind::AppAdded, "app_added", "an app was made", false),
    about(AuditKind::AppChanged, "app_changed", "an app was changed", false),
    about(AuditKind::AppRemoved, "app_removed", "an app was removed", false),
    about(AuditKind::TokenMinted, "token_minted", "a token was minted", true),
    about(AuditKind::MintFailed, "mint_failed", "a token was not minted", true),
    about(AuditKind::TokenRevoked, "token_revoked", "a token was revoked", false),
    about(AuditKind::CaptchaFailed, "captcha_failed", "a captcha was not solved", true),
    about(AuditKind::KeyAdded, "key_added", "a signing key was made", false),
];

impl AuditKind {
    /// How many there are.
    pub const COUNT: usize = 23;

    /// Every kind.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        KINDS.iter().map(|about| about.kind)
    }

    /// As the store keeps it, and as log, metrics and command line show it.
    pub fn name(self) -> &'static str {
        self.about().name
    }

    /// For people, in the log.
    pub fn sentence(self) -> &'static str {
        self.about().sentence
    }

    /// Whether strangers can cause it at will. Such events are folded when they come often, and go
    /// first when the table is full.
    pub fn is_cheap(self) -> bool {
        self.about().cheap
    }

    /// The reverse of [`Self::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        KINDS.iter().find(|about| about.name == name).map(|about| about.kind)
    }

    fn about(self) -> &'static About {
        KINDS.iter().find(|about| about.kind == self).expect("a test looks up every kind")
    }
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Actor {
    /// Whoever sent the request: nothing is proved about them.
    Client,
    /// Somebody signed in to the account of this login name.
    User(String),
    /// The app of this id.
    App(String),
    /// The command line, run by this user of the system.
    Operator(String),
    /// The gateway by itself.
    Gateway,
}

impl Actor {
    const fn parts(&self) -> (&'static str, Option<&String>) {
        match self {
            Self::Client => ("client", None),
            Self::User(name) => ("user", Some(name)),
            Self::App(name) => ("app", Some(name)),
            Self::Operator(name) => ("operator", Some(name)),
            Self::Gateway => ("gateway", None),
        }
    }

    /// `client`, `user`, `app`, `operator` or `gateway`.
    pub const fn role(&self) -> &'static str {
        self.parts().0
    }

    /// The name, where there is one.
    pub fn name(&self) -> Option<&str> {
        self.parts().1.map(String::as_str)
    }

    fn from_parts(role: &str, name: Option<String>) -> Option<Self> {
        Some(match (role, name) {
            ("client", None) => Self::Client,
            ("gateway", None) => Self::Gateway,
            ("user", Some(name)) => Self::User(name),
            ("app", Some(name)) => Self::App(name),
            ("operator", Some(name)) => Self::Operator(name),
            _ => return None,
        })
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AuditEvent {
    /// When; of several that were folded into one, the last.
    pub at: Timestamp,
    /// What.
    pub kind: AuditKind,
    /// Why, as a word.
    pub cause: Option<Cow<'static, str>>,
    /// Who did it.
    pub actor: Actor,
    /// The account that it concerns. Left out, the store fills in that of the session.
    pub user: Option<UserId>,
    /// The account's login name. Left out, the store fills it in while there is such an account.
    pub login: Option<String>,
    /// The session that it concerns.
    pub session: Option<SessionId>,
    /// Where the request came from.
    pub client: Option<IpAddr>,
    /// What else it concerns, as its kind says.
    pub subject: Option<String>,
    /// How many alike this stands for.
    pub count: u32,
}

impl AuditEvent {
    /// An event of whoever sent the request, until told otherwise.
    pub const fn new(kind: AuditKind, at: Timestamp) -> Self {
        Self {
            at,
            kind,
            cause: None,
            actor: Actor::Client,
            user: None,
            login: None,
            session: None,
            client: None,
            subject: None,
            count: 1,
        }
    }

    /// Says who did it. Names are cut to 256 bytes.
    #[must_use]
    pub fn by(mut self, actor: Actor) -> Self {
        self.actor = match actor {
            Actor::User(name) => Actor::User(bounded(&name)),
            Actor::App(name) => Actor::App(bounded(&name)),
            Actor::Operator(name) => Actor::Operator(bounded(&name)),
            Actor::Client | Actor::Gateway => actor,
        };
        self
    }

    /// Says why, by a word of a closed set. Never what somebody sent.
    #[must_use]
    pub fn because(mut self, cause: &'static str) -> Self {
        self.cause = Some(Cow::Borrowed(cause));
        self
    }

    /// Says which account it concerns.
    #[must_use]
    pub fn of(mut self, user: &User) -> Self {
        self.user = Some(user.id);
        self.login = Some(bounded(&user.login));
        self
    }

    /// Says which account it concerns, when only its id is at hand.
    #[must_use]
    pub const fn of_id(mut self, user: UserId) -> Self {
        self.user = Some(user);
        self
    }

    /// Says which session it concerns.
    #[must_use]
    pub const fn in_session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }

    /// Says where the request came from.
    #[must_use]
    pub const fn from(mut self, client: IpAddr) -> Self {
        self.client = Some(client.to_canonical());
        self
    }

    /// Says what else it concerns: the id of an app or key, the purpose of a link, what was changed.
    /// Never a secret, and never what a stranger typed as a name or password. Cut to 256 bytes.
    #[must_use]
    pub fn about(mut self, subject: &str) -> Self {
        self.subject = Some(bounded(subject));
        self
    }
}

/// Bytes of a text in an event.
const TEXT_BYTES_MAX: usize = 256;

fn bounded(text: &str) -> String {
    let mut kept: String = text.chars().filter(|c| !c.is_control()).take(TEXT_BYTES_MAX).collect();
    kept.truncate(kept.floor_char_boundary(TEXT_BYTES_MAX));
    kept
}

/// An event as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Rises with each row.
    pub sequence: i64,
    /// What is told.
    pub event: AuditEvent,
}

/// Which events are asked for. What is left out is not asked about.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Not earlier than this.
    pub since: Option<Timestamp>,
    /// Of this account.
    pub user: Option<UserId>,
    /// Of the account with this login name, exactly as the events hold it: for one that is gone.
    pub login: Option<String>,
    /// Of this kind.
    pub kind: Option<AuditKind>,
    /// With a sequence below this one: to go on with the next page.
    pub before: Option<i64>,
}

/// The audit stream.
#[async_trait]
pub trait Audit {
    /// Appends events, all or none of them.
    async fn record(&self, events: &[AuditEvent]) -> Result<(), StoreError>;
    /// The newest events that the filter lets through, newest first, at most `limit`.
    async fn audit(&self, filter: &AuditFilter, limit: u32) -> Result<Vec<AuditEntry>, StoreError>;
    /// Removes a batch of what is older than `before`, and of what is beyond `most` rows: the
    /// oldest of the cheap ones first. Returns whether there is more to remove.
    async fn sweep_audit(&self, before: Timestamp, most: u64) -> Result<bool, StoreError>;
}

/// The columns of [`AuditColumns`].
macro_rules! audit_columns {
    () => {
        "audit.sequence, audit.at, audit.kind, audit.cause, audit.actor, audit.actor_name, \
         audit.user_id, audit.login, audit.session_id, audit.client, audit.subject, audit.count"
    };
}
pub(super) use audit_columns;

#[derive(sqlx::FromRow)]
pub(super) struct AuditColumns {
    sequence: i64,
    at: i64,
    kind: String,
    cause: Option<String>,
    actor: String,
    actor_name: Option<String>,
    user_id: Option<Vec<u8>>,
    login: Option<String>,
    session_id: Option<Vec<u8>>,
    client: Option<String>,
    subject: Option<String>,
    count: i64,
}

impl TryFrom<AuditColumns> for AuditEntry {
    type Error = StoreError;

    fn try_from(row: AuditColumns) -> Result<Self, StoreError> {
        let unreadable =
            |what: &str| StoreError::Unreadable(format!("{what} of an audit event is unknown"));
        let user = row.user_id.map(|id| bytes(&id, "a user's id")).transpose()?;
        let session = row.session_id.map(|id| bytes(&id, "a session's id")).transpose()?;
        let client = row.client.map(|text| text.parse()).transpose();
        let event = AuditEvent {
            at: Timestamp::from_millis(row.at),
            kind: AuditKind::from_name(&row.kind).ok_or_else(|| unreadable("the kind"))?,
            cause: row.cause.map(Cow::Owned),
            actor: Actor::from_parts(&row.actor, row.actor_name)
                .ok_or_else(|| unreadable("the actor"))?,
            user: user.map(UserId::from_bytes),
            login: row.login,
            session: session.map(SessionId::from_bytes),
            client: client.map_err(|_| unreadable("the address"))?,
            subject: row.subject,
            count: u32::try_from(row.count).map_err(|_| unreadable("the count"))?,
        };
        Ok(Self { sequence: row.sequence, event })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_row_and_a_name_of_its_own() {
        for kind in AuditKind::all() {
            assert_eq!(AuditKind::from_name(kind.name()), Some(kind));
            assert!(!kind.sentence().is_empty());
        }
        assert_eq!(AuditKind::all().len(), AuditKind::KeyAdded as usize + 1);
    }

    #[test]
    fn texts_are_cut_and_hold_no_controls() {
        let event = AuditEvent::new(AuditKind::AppAdded, Timestamp::EPOCH)
            .about(&format!("\u{1b}[31m{}", "é".repeat(400)))
            .by(Actor::Operator("a\nb".to_owned()));
        let subject = event.subject.unwrap();
        assert!(subject.starts_with("[31mé") && subject.len() <= 256, "{}", subject.len());
        assert_eq!(event.actor, Actor::Operator("ab".to_owned()));
    }
}
