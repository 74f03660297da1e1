//! Login as steps. Each step proves one factor; what has been proved so far travels with the
//! browser in a sealed state, so that a further factor is a further step and not another login.

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::device::DeviceCookie;
use super::human::Asking;
use super::limits::{Allowance, Charge, Guess};
use super::name::login_key;
use super::pair::{Pair, PairError};
use super::password::HashError;
use super::stats::LoginOutcome;
use super::{Sessions, cause};
use crate::captcha::CaptchaError;
use crate::clock::Timestamp;
use crate::config::Act;
use crate::id::{SessionId, TokenId, UserId};
use crate::secret::{NoRandomness, PasswordHash, Secret};
use crate::store::StoreError;
use crate::store::audit::{Actor, AuditKind};
use crate::store::rows::{EndReason, RefreshRecord, Session, User, UserChange};
use crate::token::SealError;

/// One attempt at one step.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The account's name as it was typed. Not looked at when `pending` goes on with a login.
    pub identifier: String,
    /// What is to prove the step's factor.
    pub secret: Secret<String>,
    /// Where the request came from, after trusted proxies.
    pub client: IpAddr,
    /// `User-Agent`, for the list of one's sessions.
    pub user_agent: String,
    /// Whether the session is to outlive the browser's run.
    pub remember: bool,
    /// The state that an earlier step gave out.
    pub pending: Option<String>,
    /// What this browser was given to keep when somebody last logged in with it.
    pub device: Option<String>,
    /// What the captcha's widget gave, if there was one.
    pub captcha: Option<String>,
    /// The session that this browser is still in: it ends when the new one begins.
    pub replaces: Option<SessionId>,
}

/// What one step led to.
#[derive(Debug, Clone)]
pub enum LoginStep {
    /// A session has begun.
    Done(Box<Begun>),
    /// Another factor is to be proved.
    Next {
        /// To be presented with it. Sealed, and good for ten minutes.
        pending: String,
        /// Which.
        factor: Factor,
    },
}

/// A login that succeeded.
#[derive(Debug, Clone)]
pub struct Begun {
    /// The tokens of the new session.
    pub pair: Pair,
    /// What is left of the tightest limit.
    pub allowance: Allowance,
    /// What the browser is to keep, so that it is known the next time.
    pub device: Option<DeviceCookie>,
}

/// One thing that proves who somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Factor {
    /// Something they know.
    Password,
}

impl Factor {
    /// The factors of an account, in the order in which they are asked for.
    const fn all_of(_user: &User) -> &'static [Self] {
        &[Self::Password]
    }

    /// As `amr` names it (RFC 8176 section 2).
    const fn amr(self) -> &'static str {
        match self {
            Self::Password => "pwd",
        }
    }
}

/// A step that did not succeed. What is wrong with name or secret is never told apart.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoginError {
    /// Wrong name, wrong secret, disabled account (`invalid_credentials`).
    #[error("the name or the secret is wrong")]
    Refused(Allowance),
    /// Too many guesses (`rate_limited`).
    #[error("too many attempts")]
    Limited(Allowance),
    /// The pending state is too old, altered, or overtaken by a change of the account: the login
    /// has to begin anew (`session_expired`).
    #[error("the login has to begin anew")]
    Stale,
    /// Nobody has shown to be there (`captcha_failed`).
    #[error("the captcha was not solved")]
    NotHuman,
    /// Whether somebody is there cannot be found out (`captcha_unavailable`).
    #[error("the captcha cannot be checked: {0}")]
    CaptchaUnavailable(#[source] Arc<dyn Error + Send + Sync>),
    /// Too many logins at the moment.
    #[error("too many passwords are being checked")]
    Busy {
        /// When it may be worth another try.
        retry_after: Duration,
    },
    /// We could not find out.
    #[error("logging in failed on our side: {0}")]
    Unavailable(#[source] Arc<dyn Error + Send + Sync>),
}

impl LoginError {
    const fn outcome(&self) -> LoginOutcome {
        match self {
            Self::Refused(_) | Self::Stale => LoginOutcome::Refused,
            Self::Limited(_) => LoginOutcome::Limited,
            Self::NotHuman => LoginOutcome::NotHuman,
            Self::Busy { .. } => LoginOutcome::Busy,
            Self::CaptchaUnavailable(_) | Self::Unavailable(_) => LoginOutcome::Failed,
        }
    }

    fn ours(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Unavailable(Arc::new(error))
    }
}

impl From<StoreError> for LoginError {
    fn from(error: StoreError) -> Self {
        Self::ours(error)
    }
}

impl From<HashError> for LoginError {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Busy { retry_after } => Self::Busy { retry_after },
            error => Self::ours(error),
        }
    }
}

impl From<CaptchaError> for LoginError {
    fn from(error: CaptchaError) -> Self {
        match error {
            CaptchaError::Missing | CaptchaError::Failed => Self::NotHuman,
            CaptchaError::Busy { retry_after } => Self::Busy { retry_after },
            CaptchaError::Unavailable(cause) => Self::CaptchaUnavailable(cause),
        }
    }
}

impl From<PairError> for LoginError {
    fn from(error: PairError) -> Self {
        Self::ours(error)
    }
}

impl From<NoRandomness> for LoginError {
    fn from(error: NoRandomness) -> Self {
        Self::ours(error)
    }
}

impl From<SealError> for LoginError {
    fn from(error: SealError) -> Self {
        Self::ours(error)
    }
}

/// What has been proved so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    /// Whose account, as text.
    user: String,
    /// In this order.
    done: Vec<Factor>,
    /// Whether the session is to outlive the browser's run; asked for once, at the first step.
    remember: bool,
}

impl Sessions {
    /// Takes one step of a login. Costs the same, and says the same, for accounts that exist, that
    /// do not, and that are disabled.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub async fn log_in(self: &Arc<Self>, attempt: Attempt) -> Result<LoginStep, LoginError> {
        let client = attempt.client;
        let device = device(&attempt.user_agent);
        let step = self.step(attempt).await;
        match &step {
            Ok(LoginStep::Done(begun)) => {
                self.stats.count_login(LoginOutcome::Begun);
                let who = &begun.pair.who;
                let event = self.audit.event(AuditKind::Login).by(Actor::User(who.login.clone()));
                let event = event.of_id(who.id).in_session(begun.pair.session).from(client);
                self.audit.tell(event.about(&device));
            }
            Ok(LoginStep::Next { .. }) => self.stats.count_login(LoginOutcome::NextStep),
            Err(error) => {
                self.stats.count_login(error.outcome());
                match error {
                    LoginError::Unavailable(source) => {
                        let error = cause(source.as_ref());
                        tracing::warn!(%error, "a login failed on our side");
                    }
                    LoginError::Limited(_) => self.tell_refused(None, "rate_limited", client),
                    LoginError::Stale => self.tell_refused(None, "stale", client),
                    // The first is told where it is known why, the next two where the captcha was
                    // checked, and the last concerns nobody.
                    LoginError::Refused(_)
                    | LoginError::NotHuman
                    | LoginError::CaptchaUnavailable(_)
                    | LoginError::Busy { .. } => {}
                }
            }
        }
        step
    }

    /// Tells why a login was refused: the log and the operator, never the client.
    fn tell_refused(&self, user: Option<&User>, why: &'static str, client: IpAddr) {
        let event = self.audit.event(AuditKind::LoginFailed).because(why).from(client);
        self.audit.tell(match user {
            Some(user) => event.of(user),
            None => event,
        });
    }

    async fn step(self: &Arc<Self>, attempt: Attempt) -> Result<LoginStep, LoginError> {
        let pending = match &attempt.pending {
            Some(sealed) => Some(self.unseal(sealed)?),
            None => None,
        };
        // The account's own id serves as its name from the second step on. A name that no account
        // can have shares one key with its like.
        let key = match &pending {
            Some(pending) => pending.user.clone(),
            None => login_key(&attempt.identifier, self.settings.case).unwrap_or_default(),
        };
        // Charged before anything is looked up or hashed: refused attempts must cost us nothing.
        let device = self.known_device(attempt.device.as_deref(), &key, self.clock.now());
        let guess = Guess { act: Act::Login, account: &key, client: attempt.client, device };
        let charge = self.charge(guess).await.map_err(LoginError::Limited)?;
        let charge = match pending {
            // Shown at the first step, for the whole login.
            Some(_) => charge,
            None => {
                let token = attempt.captcha.as_deref();
                let asking =
                    Asking { act: Act::Login, account: &key, client: attempt.client, token };
                self.prove_human(asking, charge).await?
            }
        };
        let (client, account) = (attempt.client, key.clone());
        let step = self.prove(attempt, pending, key, &charge).await;
        match &step {
            Ok(_) => charge.succeeded(),
            Err(LoginError::Refused(_) | LoginError::Stale) => {
                if !charge.by_device() {
                    self.limits.suspect(Act::Login, &account, client);
                }
                drop(charge);
            }
            // Nothing was compared, so nothing was guessed.
            Err(_) => charge.refund(),
        }
        step
    }

    /// Proves one factor, and goes on from there.
    async fn prove(
        self: &Arc<Self>,
        attempt: Attempt,
        pending: Option<Pending>,
        key: String,
        charge: &Charge,
    ) -> Result<LoginStep, LoginError> {
        let refused = LoginError::Refused(charge.allowance());
        let first = pending.is_none();
        let user = self.named(first, key).await?;
        let mut done = pending.as_ref().map(|pending| pending.done.clone()).unwrap_or_default();
        let remember = pending.as_ref().map_or(attempt.remember, |pending| pending.remember);
        // An unknown account is asked for what every account is asked for first.
        let next = user.as_ref().map_or(Some(Factor::Password), |user| missing(user, &done));
        let Some(factor) = next else { return Err(LoginError::Stale) };
        let proof = match factor {
            Factor::Password => {
                let hash = user.as_ref().and_then(|user| user.password.clone());
                let right = self.password_is_right(&attempt.secret, hash.clone()).await?;
                if !right {
                    let why = self.why_wrong(user.as_ref(), &attempt.secret);
                    self.tell_refused(user.as_ref(), why, attempt.client);
                    return Err(refused);
                }
                hash
            }
        };
        // Only now, so that a disabled account has cost as much as any other.
        let Some(user) = user else { return Err(refused) };
        if user.disabled {
            self.tell_refused(Some(&user), "disabled", attempt.client);
            return Err(refused);
        }
        done.push(factor);
        if let Some(factor) = missing(&user, &done) {
            let pending = self.seal(&Pending { user: user.id.to_string(), done, remember })?;
            return Ok(LoginStep::Next { pending, factor });
        }
        let client = attempt.client;
        let device = self.device_after_login(attempt.device.as_deref(), &user, self.clock.now());
        let opening = Opening { attempt, user, proof, amr: done, remember };
        // From here on it must not stop half way, whether or not the client is still there.
        let this = self.clone();
        let opened = self.room.spawn(async move { this.open(opening).await }).await;
        let Some(pair) = opened.map_err(LoginError::ours)?? else {
            self.tell_refused(None, "changed_meanwhile", client);
            return Err(refused);
        };
        let allowance = charge.allowance_if_right();
        Ok(LoginStep::Done(Box::new(Begun { pair, allowance, device })))
    }

    /// Why a password was not right, for the audit log.
    fn why_wrong(&self, user: Option<&User>, secret: &Secret<String>) -> &'static str {
        match user {
            None => "unknown_user",
            Some(_) if !self.hashers.recipe().plausible(secret) => "too_long",
            Some(user) if user.password.is_none() => "no_password",
            Some(_) => "wrong_secret",
        }
    }

    async fn named(&self, first: bool, key: String) -> Result<Option<User>, StoreError> {
        let store = self.store.clone();
        self.on_room(async move {
            if first {
                return store.user_by_login(&key).await;
            }
            match key.parse::<UserId>() {
                Ok(id) => store.user(id).await,
                Err(_) => Ok(None),
            }
        })
        .await
    }

    pub(super) async fn password_is_right(
        &self,
        secret: &Secret<String>,
        hash: Option<PasswordHash>,
    ) -> Result<bool, LoginError> {
        if !self.hashers.recipe().plausible(secret) {
            return Ok(false);
        }
        match self.hashers.verify(secret.clone(), hash).await {
            Ok(right) => Ok(right),
            Err(error @ (HashError::Unreadable(_) | HashError::Foreign(_))) => {
                // To the client it is a wrong password: the account must not stand out.
                tracing::error!(error = %cause(&error), "a password could not be compared");
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Begins the session. `None` if the account changed so that it may not log in any more.
    pub(super) async fn open(
        self: &Arc<Self>,
        opening: Opening,
    ) -> Result<Option<Pair>, LoginError> {
        let Opening { attempt, user, mut proof, amr, remember } = opening;
        let now = self.clock.now();
        let session = self.new_session(&attempt, &user, &amr, remember, now)?;
        match self.store.begin_session(&session).await {
            Err(StoreError::NoSuchUser) => return Ok(None),
            begun => begun?,
        }
        // Between the proof and the beginning the password may have been changed, and the change
        // could not end a session that was not there yet. From here on it could: so look now.
        let user = loop {
            let Some((row, user)) = self.store.session(session.id).await? else { return Ok(None) };
            if row.ended.is_some() {
                return Ok(None);
            }
            if user.password == proof {
                break user;
            }
            // A rehash by another login is a change of the hash only.
            let still = self.password_is_right(&attempt.secret, user.password.clone()).await;
            if !matches!(still, Ok(true)) {
                self.end(session.id, EndReason::Account).await?;
                return still.map(|_| None);
            }
            proof = user.password;
        };
        let pair = match self.pair(&session, &user, Some(&session.current), now).await {
            Ok(pair) => pair,
            Err(error) => {
                self.end(session.id, EndReason::Operator).await?;
                return Err(error.into());
            }
        };
        if let Some(old) = attempt.replaces.filter(|old| *old != session.id) {
            // The new session stands; that the old one does not end is no reason to take it back.
            if let Err(error) = self.end(old, EndReason::Replaced).await {
                tracing::warn!(session.id = %old, %error, "a replaced session was not ended");
            }
        }
        self.renew_hash(&user, attempt.secret);
        Ok(Some(pair))
    }

    fn new_session(
        &self,
        attempt: &Attempt,
        user: &User,
        amr: &[Factor],
        remember: bool,
        now: Timestamp,
    ) -> Result<Session, NoRandomness> {
        let config = &self.settings.session;
        let expires_at = now.plus(config.refresh_ttl);
        Ok(Session {
            id: SessionId::generate()?,
            user: user.id,
            generation: 1,
            seen_generation: 0,
            current: RefreshRecord {
                key: self.keys.ring().signing_key(now).clone(),
                token: TokenId::generate()?,
                issued_at: now,
                expires_at,
            },
            rotated_at: now,
            auth_time: now,
            amr: amr.iter().map(|factor| factor.amr().to_owned()).collect(),
            expires_at,
            idle_expires_at: now.plus(config.idle_ttl).min(expires_at),
            persistent: remember,
            address: Some(attempt.client.to_canonical()),
            device: device(&attempt.user_agent),
            created_at: now,
            ended: None,
        })
    }

    /// Hashes the password anew if its hash was made with other parameters than today's. In the
    /// background, and only if nobody has changed it meanwhile.
    fn renew_hash(self: &Arc<Self>, user: &User, secret: Secret<String>) {
        let Some(old) = user.password.clone() else { return };
        if self.hashers.recipe().is_current(&old) {
            return;
        }
        let (this, id) = (self.clone(), user.id);
        self.room.spawn(async move {
            // If there is no thread for it now, the next login will see to it.
            let Ok(new) = this.hashers.hash(secret).await else { return };
            let change = UserChange {
                password: Some(new),
                only_if_password: Some(old),
                rehash: true,
                ..UserChange::default()
            };
            let now = this.clock.now();
            let until = this.revoked_until(now);
            if let Err(error) = this.store.change_user(id, &change, None, now, until).await {
                tracing::warn!(user.id = %id, %error, "a password could not be hashed anew");
            }
        });
    }

    fn seal(&self, pending: &Pending) -> Result<String, LoginError> {
        let plain = serde_json::to_vec(pending).map_err(LoginError::ours)?;
        let sealer = self.keys.ring().sealer(SEALED_AS);
        Ok(sealer.seal(&plain, self.clock.now(), PENDING_TTL)?)
    }

    fn unseal(&self, sealed: &str) -> Result<Pending, LoginError> {
        let sealer = self.keys.ring().sealer(SEALED_AS);
        let plain = sealer.open(sealed, self.clock.now()).ok_or(LoginError::Stale)?;
        serde_json::from_slice(&plain).map_err(|_| LoginError::Stale)
    }
}

/// A login whose factors are all proved.
pub(super) struct Opening {
    pub(super) attempt: Attempt,
    pub(super) user: User,
    /// The hash that the password was right for.
    pub(super) proof: Option<PasswordHash>,
    pub(super) amr: Vec<Factor>,
    pub(super) remember: bool,
}

/// The first factor that is not proved yet.
fn missing(user: &User, done: &[Factor]) -> Option<Factor> {
    Factor::all_of(user).iter().copied().find(|factor| !done.contains(factor))
}

/// A `User-Agent` as it is kept: without controls, and cut.
fn device(user_agent: &str) -> String {
    let mut kept: String = user_agent.chars().filter(|c| !c.is_control()).take(256).collect();
    kept.truncate(kept.floor_char_boundary(DEVICE_BYTES_MAX));
    kept
}

const DEVICE_BYTES_MAX: usize = 256;

/// How long the steps of one login may take.
const PENDING_TTL: Duration = Duration::from_secs(600);

/// The sealer's label.
const SEALED_AS: &str = "login";
