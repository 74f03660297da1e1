//! Accounts by those whom they belong to: made by signup or link, given a new password. What the
//! command line does to accounts is in `cli`.

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use unicode_normalization::UnicodeNormalization;

use super::device::DeviceCookie;
use super::fitness::Unfit;
use super::human::Asking;
use super::limits::{Allowance, Guess};
use super::links::{LinkSecret, Purpose, SETUP_TTL, draw_link};
use super::login::{Attempt, Factor, Opening};
use super::name::{BadName, login_key};
use super::pair::Pair;
use super::password::HashError;
use super::{Sessions, cause};
use crate::captcha::CaptchaError;
use crate::config::Act;
use crate::id::{Revoked, SessionId, UserId};
use crate::secret::{NoRandomness, PasswordHash, Secret};
use crate::store::StoreError;
use crate::store::audit::{Actor, AuditEvent, AuditKind};
use crate::store::links::{Link, LinkKind};
use crate::store::rows::{EndReason, User, UserChange};

/// Somebody who wants an account.
#[derive(Debug, Clone)]
pub struct Newcomer {
    /// The name that they chose.
    pub login: String,
    /// The secret that they chose.
    pub secret: Secret<String>,
    /// Where the request came from, after trusted proxies.
    pub client: IpAddr,
    /// `User-Agent`, for the list of one's sessions.
    pub user_agent: String,
    /// What the captcha's widget gave, if there was one.
    pub captcha: Option<String>,
    /// The session that this browser is still in: it ends when the new one begins.
    pub replaces: Option<SessionId>,
    /// What this browser keeps from logins before.
    pub device: Option<String>,
}

/// An account that was made just now.
#[derive(Debug, Clone)]
pub struct SignedUp {
    /// The account.
    pub user: User,
    /// Its first session. `None` if the account stands but no session could be begun: it can log in.
    pub pair: Option<Pair>,
    /// What the browser is to keep, so that it is known at its next login.
    pub device: Option<DeviceCookie>,
}

/// Why an account was not made, or a password not changed. Nothing was done then.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AccountError {
    /// No account can have this name.
    #[error(transparent)]
    Name(#[from] BadName),
    /// Somebody has the name, or it is kept for the operator.
    #[error("the name is taken")]
    NameTaken,
    /// The new secret breaks a rule.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The link was used, is over, or never was.
    #[error("the link is of no use")]
    LinkSpent,
    /// The secret in use, asked for as proof, is wrong.
    #[error("the password in use is wrong")]
    WrongPassword(Allowance),
    /// Too many attempts.
    #[error("too many attempts")]
    Limited(Allowance),
    /// Nobody has shown to be there.
    #[error("the captcha was not solved")]
    NotHuman,
    /// Whether somebody is there cannot be found out.
    #[error("the captcha cannot be checked: {0}")]
    CaptchaUnavailable(#[source] Arc<dyn Error + Send + Sync>),
    /// The account is gone or disabled.
    #[error("the account is gone or disabled")]
    Gone,
    /// Too many passwords are being hashed at the moment.
    #[error("too many passwords are being checked")]
    Busy {
        /// When it may be worth another try.
        retry_after: Duration,
    },
    /// We could not find out.
    #[error("it failed on our side: {0}")]
    Unavailable(#[source] Arc<dyn Error + Send + Sync>),
}

impl From<StoreError> for AccountError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NameTaken => Self::NameTaken,
            StoreError::NoSuchLink => Self::LinkSpent,
            StoreError::NoSuchUser => Self::Gone,
            error => Self::Unavailable(Arc::new(error)),
        }
    }
}

impl From<HashError> for AccountError {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Busy { retry_after } => Self::Busy { retry_after },
            error => Self::Unavailable(Arc::new(error)),
        }
    }
}

impl From<CaptchaError> for AccountError {
    fn from(error: CaptchaError) -> Self {
        match error {
            CaptchaError::Missing | CaptchaError::Failed => Self::NotHuman,
            CaptchaError::Busy { retry_after } => Self::Busy { retry_after },
            CaptchaError::Unavailable(cause) => Self::CaptchaUnavailable(cause),
        }
    }
}

impl From<NoRandomness> for AccountError {
    fn from(error: NoRandomness) -> Self {
        Self::Unavailable(Arc::new(error))
    }
}

impl Sessions {
    /// Makes an account for a stranger. Whether strangers may have one is the caller's to ask.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub async fn sign_up(self: &Arc<Self>, newcomer: Newcomer) -> Result<SignedUp, AccountError> {
        let key = self.free_to_choose(&newcomer)?;
        let client = newcomer.client;
        let guess = Guess { act: Act::Signup, account: &key, client, device: None };
        let charge = self.charge(guess).await.map_err(AccountError::Limited)?;
        let token = newcomer.captcha.as_deref();
        let asking = Asking { act: Act::Signup, account: &key, client, token };
        let charge = self.prove_human(asking, charge).await?;
        // Each account counts, and each name that somebody has: both are worth a captcha.
        self.limits.suspect(Act::Signup, &key, client);
        let added = self.add_stranger(&newcomer, key.clone()).await;
        let user = match added {
            Ok(user) => user,
            Err(error) => {
                // Who is told that a name is taken has learnt something; else nothing was asked.
                if !matches!(error, AccountError::NameTaken) {
                    charge.refund();
                }
                return Err(error);
            }
        };
        charge.succeeded();
        let made = self.audit.event(AuditKind::UserAdded).because("signup");
        self.tell_and_keep([made.of(&user).from(newcomer.client)]).await;
        Ok(self.first_session(newcomer, user).await)
    }

    /// Makes the account that a setup or invite link is good for, and spends the link.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub async fn sign_up_by_link(
        self: &Arc<Self>,
        kind: LinkKind,
        secret: &LinkSecret,
        newcomer: Newcomer,
    ) -> Result<SignedUp, AccountError> {
        // First of all, so that nobody without a link learns which names there are.
        let link = self.link(kind, secret, newcomer.client).await?;
        let key = match kind {
            // Who sets the gateway up is the operator, and may have any name.
            LinkKind::Setup => self.fit(&newcomer)?,
            LinkKind::Invite | LinkKind::Reset => self.free_to_choose(&newcomer)?,
        };
        self.refuse_taken(&key).await?;
        let user = self.new_user(&newcomer, key, (link.roles, link.permissions)).await?;
        let (store, added, hash) = (self.store.clone(), user.clone(), link.hash);
        let now = self.clock.now();
        self.on_room(async move { store.sign_up_by_link(&hash, kind, &added, now).await }).await?;
        let used = self.audit.event(AuditKind::LinkUsed).about(kind.as_str());
        let made = self.audit.event(AuditKind::UserAdded).because(kind.as_str());
        self.tell_and_keep([used, made].map(|event| event.of(&user).from(newcomer.client))).await;
        Ok(self.first_session(newcomer, user).await)
    }

    /// The link with this secret, if it is of this kind and may still be used. Spends nothing:
    /// programs that look at mail open every link in it.
    ///
    /// # Errors
    /// `LinkSpent`; `Limited` for a network that has tried too many; `Unavailable`.
    pub async fn link(
        &self,
        kind: LinkKind,
        secret: &LinkSecret,
        client: IpAddr,
    ) -> Result<Link, AccountError> {
        let (store, hash, now) = (self.store.clone(), secret.hash(), self.clock.now());
        let found = match secret.is_plausible() {
            true => self.on_room(async move { store.link(&hash, now).await }).await?,
            false => None,
        };
        if let Some(link) = found.filter(|link| link.kind == kind) {
            return Ok(link);
        }
        // Only now: who has a link is let in, whatever strangers have tried.
        let guess = Guess { act: Act::Setup, account: secret.expose(), client, device: None };
        drop(self.charge(guess).await.map_err(AccountError::Limited)?);
        let refused = self.audit.event(AuditKind::LinkRefused).about(kind.as_str());
        self.audit.tell(refused.from(client));
        Err(AccountError::LinkSpent)
    }

    /// Sets the password of the account that a reset link is good for, spends the link, and ends
    /// all sessions of the account.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub async fn reset_password(
        self: &Arc<Self>,
        secret: &LinkSecret,
        password: Secret<String>,
        client: IpAddr,
    ) -> Result<User, AccountError> {
        let link = self.link(LinkKind::Reset, secret, client).await?;
        let owner = link.user.ok_or(AccountError::LinkSpent)?;
        let user = self.account(owner).await?.ok_or(AccountError::LinkSpent)?;
        self.fitness.judge(&password, &[&user.login, &self.settings.site_name])?;
        let hash = self.hashers.hash(password).await?;
        let now = self.clock.now();
        let until = self.revoked_until(now);
        let (store, link, new) = (self.store.clone(), link.hash, hash.clone());
        let act = async move { store.reset_by_link(&link, &new, now, until).await };
        let done = self.ending_sessions(owner, None, hash, act).await?;
        let user = done.ok_or(AccountError::LinkSpent)?;
        let used = self.audit.event(AuditKind::LinkUsed).about(LinkKind::Reset.as_str());
        let changed = self.audit.event(AuditKind::PasswordChanged).because("reset");
        self.tell_and_keep([used, changed].map(|event| event.of(&user).from(client))).await;
        Ok(user)
    }

    /// Gives an account a new password, if the one in use is known, and ends all its sessions but
    /// `keep`. A wrong one is a guess, and counts: by `device`, what this browser keeps from its last
    /// login, if it has one, so that a thief elsewhere uses up nothing of the owner's.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub async fn change_password(
        self: &Arc<Self>,
        user: UserId,
        keep: Option<SessionId>,
        in_use: Secret<String>,
        new: Secret<String>,
        (client, device): (IpAddr, Option<&str>),
    ) -> Result<User, AccountError> {
        let found = self.account(user).await?;
        let user = found.filter(|user| !user.disabled).ok_or(AccountError::Gone)?;
        self.fitness.judge(&new, &[&user.login, &self.settings.site_name])?;
        let account = &user.login_key;
        let device = self.known_device(device, account, self.clock.now());
        let guess = Guess { act: Act::Password, account, client, device };
        let charge = self.charge(guess).await.map_err(AccountError::Limited)?;
        let changed = self.replace_password(&user, keep, in_use, new).await;
        match changed {
            Ok(Some(user)) => {
                charge.succeeded();
                let changed = self.audit.event(AuditKind::PasswordChanged).because("changed");
                let by = Actor::User(user.login.clone());
                self.tell_and_keep([changed.of(&user).from(client).by(by)]).await;
                Ok(user)
            }
            Ok(None) => Err(AccountError::WrongPassword(charge.allowance())),
            Err(error) => {
                // Nothing was compared, so nothing was guessed.
                charge.refund();
                Err(error)
            }
        }
    }

    /// A link for the first account, if there is none yet.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn setup_link(&self) -> Result<Option<LinkSecret>, AccountError> {
        if self.has_users().await? {
            return Ok(None);
        }
        let (link, secret) = draw_link(Purpose::Setup, SETUP_TTL, self.clock.now())?;
        let store = self.store.clone();
        self.on_room(async move { store.add_link(&link).await }).await?;
        let made = self.audit.event(AuditKind::LinkMade).about(LinkKind::Setup.as_str());
        self.tell_and_keep([made.by(Actor::Gateway)]).await;
        Ok(Some(secret))
    }

    async fn add_stranger(&self, newcomer: &Newcomer, key: String) -> Result<User, AccountError> {
        self.refuse_taken(&key).await?;
        let user = self.new_user(newcomer, key, (Vec::new(), Vec::new())).await?;
        let (store, added) = (self.store.clone(), user.clone());
        self.on_room(async move { store.add_user(&added).await }).await?;
        Ok(user)
    }

    /// The account's name as names are compared, if name and secret are fit to be an account's.
    fn fit(&self, newcomer: &Newcomer) -> Result<String, AccountError> {
        let key = login_key(&newcomer.login, self.settings.case)?;
        let allowed = self.settings.name_characters.as_ref();
        if allowed.is_some_and(|allowed| !allowed.make_up(&newcomer.login)) {
            return Err(BadName::Characters.into());
        }
        let known = [newcomer.login.as_str(), &self.settings.site_name];
        self.fitness.judge(&newcomer.secret, &known)?;
        Ok(key)
    }

    /// The same for those who may not have a reserved name.
    fn free_to_choose(&self, newcomer: &Newcomer) -> Result<String, AccountError> {
        let key = self.fit(newcomer)?;
        // In any case and width: an application may compare names without regard to it.
        let plain = |name: &str| name.nfkc().flat_map(char::to_lowercase).collect::<String>();
        let chosen = plain(&key);
        let mut reserved = self.settings.reserved_names.iter();
        if reserved.any(|name| plain(name) == chosen) {
            return Err(AccountError::NameTaken);
        }
        Ok(key)
    }

    /// Before a password is hashed for nothing.
    async fn refuse_taken(&self, key: &str) -> Result<(), AccountError> {
        let (store, key) = (self.store.clone(), key.to_owned());
        match self.on_room(async move { store.user_by_login(&key).await }).await? {
            Some(_) => Err(AccountError::NameTaken),
            None => Ok(()),
        }
    }

    async fn new_user(
        &self,
        newcomer: &Newcomer,
        login_key: String,
        (roles, permissions): (Vec<String>, Vec<String>),
    ) -> Result<User, AccountError> {
        let password = self.hashers.hash(newcomer.secret.clone()).await?;
        let now = self.clock.now();
        Ok(User {
            id: UserId::generate(now)?,
            login: newcomer.login.clone(),
            login_key,
            name: None,
            email: None,
            roles,
            permissions,
            password: Some(password),
            disabled: false,
            created_at: now,
        })
    }

    /// Who has just chosen a password need not type it again. That no session begins is no reason to
    /// take the account back.
    async fn first_session(self: &Arc<Self>, newcomer: Newcomer, user: User) -> SignedUp {
        let Newcomer { login, secret, client, user_agent, replaces, device, captcha } = newcomer;
        let device = self.device_after_login(device.as_deref(), &user, self.clock.now());
        let attempt = Attempt {
            identifier: login,
            secret,
            client,
            user_agent,
            remember: false,
            pending: None,
            captcha,
            device: None,
            replaces,
        };
        let proof = user.password.clone();
        let opening = Opening {
            attempt,
            user: user.clone(),
            proof,
            amr: vec![Factor::Password],
            remember: false,
        };
        let this = self.clone();
        let opened = self.room.spawn(async move { this.open(opening).await }).await;
        let pair = match opened {
            Ok(Ok(pair)) => pair,
            Ok(Err(error)) => {
                tracing::warn!(error = %cause(&error), "a new account's session did not begin");
                None
            }
            Err(error) => {
                tracing::warn!(%error, "a new account's session did not begin");
                None
            }
        };
        SignedUp { user, pair, device }
    }

    /// `None`: the password in use is another one.
    async fn replace_password(
        self: &Arc<Self>,
        user: &User,
        keep: Option<SessionId>,
        in_use: Secret<String>,
        new: Secret<String>,
    ) -> Result<Option<User>, AccountError> {
        let right = self.password_is_right(&in_use, user.password.clone()).await;
        let right = right.map_err(|error| match error {
            super::LoginError::Busy { retry_after } => AccountError::Busy { retry_after },
            error => AccountError::Unavailable(Arc::new(error)),
        })?;
        if !right {
            return Ok(None);
        }
        let hash = self.hashers.hash(new).await?;
        self.put_password(user, keep, hash).await
    }

    async fn put_password(
        &self,
        user: &User,
        keep: Option<SessionId>,
        hash: PasswordHash,
    ) -> Result<Option<User>, AccountError> {
        let change = UserChange {
            password: Some(hash.clone()),
            // Who has reset it meanwhile must not be overruled by who knew the old one.
            only_if_password: user.password.clone(),
            ..UserChange::default()
        };
        let now = self.clock.now();
        let until = self.revoked_until(now);
        let (store, id) = (self.store.clone(), user.id);
        let act = async move { store.change_user(id, &change, keep, now, until).await };
        self.ending_sessions(id, keep, hash, act).await
    }

    /// Ends the sessions of `user` but `keep` by what `act` does if it sets the password to `hash`,
    /// here at once; elsewhere as soon as they follow. `None` if it did not set it.
    async fn ending_sessions(
        &self,
        user: UserId,
        keep: Option<SessionId>,
        hash: PasswordHash,
        act: impl Future<Output = Result<User, StoreError>> + Send + 'static,
    ) -> Result<Option<User>, AccountError> {
        let (store, now) = (self.store.clone(), self.clock.now());
        let done = self.on_room(async move {
            let live = store.sessions(Some(user), now, SESSIONS_MAX).await?;
            Ok((act.await?, live))
        });
        let (changed, live) = done.await?;
        if changed.password != Some(hash) {
            return Ok(None);
        }
        let until = self.revoked_until(now);
        for (session, _) in live.iter().filter(|(session, _)| Some(session.id) != keep) {
            self.revoked.add(Revoked::Session(session.id), until);
            self.tell_ended(session.id, EndReason::Account);
        }
        Ok(Some(changed))
    }

    /// Keeps events, to the end though the caller goes.
    async fn tell_and_keep<const N: usize>(&self, events: [AuditEvent; N]) {
        let audit = self.audit.clone();
        let kept = self.room.spawn(async move {
            for event in events {
                audit.keep(event).await;
            }
        });
        // Only when the gateway has stopped is there nobody to keep it.
        kept.await.ok();
    }
}

/// Sessions of one account that are ended at once; those of before take as long as on another
/// replica.
const SESSIONS_MAX: u32 = 1000;
