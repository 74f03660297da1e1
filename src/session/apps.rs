//! Apps: which there are, who proves to be one, and what they mint.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::app_secret::is_secret_of;
use super::limits::{Guess, Limits};
use super::stats::MintOutcome;
use super::{Allowance, CLOCKS_APART, Sessions, cause};
use crate::clock::Timestamp;
use crate::config::{self, Act};
use crate::id::{AppId, Revoked, TokenId};
use crate::secret::{NoRandomness, Secret};
use crate::store::apps::{App, MintedToken};
use crate::store::audit::{Actor, AuditKind};
use crate::store::{Store, StoreError};
use crate::token::{MintedClaims, SignError};

/// Who claims to be an app.
#[derive(Debug)]
pub struct AppProof {
    /// The id that was presented, whatever it is.
    pub app: String,
    /// The secret that was presented.
    pub secret: Secret<String>,
    /// From where.
    pub client: IpAddr,
}

/// What an app asks for one of its users.
#[derive(Debug)]
pub struct MintRequest {
    /// What the app calls the user: 1 to [`SUBJECT_BYTES_MAX`] bytes without control characters.
    pub subject: String,
    /// The roles that the token shall have. `None`: all that the app may give.
    pub roles: Option<Vec<String>>,
    /// The permissions; likewise.
    pub permissions: Option<Vec<String>>,
    /// How long it shall live. `None`: `token.minted.ttl`.
    pub ttl: Option<Duration>,
}

/// Most bytes of what an app calls a user.
pub const SUBJECT_BYTES_MAX: usize = 255;

/// A token that was minted.
pub struct Minted {
    /// The token.
    pub token: String,
    /// What it says.
    pub claims: MintedClaims,
}

impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the token.
        f.debug_struct("Minted").field("claims", &self.claims).finish_non_exhaustive()
    }
}

/// What an app wants revoked.
#[derive(Debug)]
pub enum Unwanted<'a> {
    /// A token, by itself.
    Token(&'a str),
    /// A token, by its `jti`.
    Id(TokenId),
}

/// Why an app was not served.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppError {
    /// No such app, a wrong secret, or a disabled app: all one (`invalid_credentials`).
    #[error("the app or its secret is wrong")]
    Refused(Allowance),
    /// Too many wrong ones (`rate_limited`).
    #[error("too many attempts")]
    Limited(Allowance),
    /// Another life than the app may ask for (`validation_error`).
    #[error("a token lives from 1 to {} seconds", .longest.as_secs())]
    BadLife {
        /// The longest.
        longest: Duration,
    },
    /// What no user can be called (`validation_error`).
    #[error("a user is named by 1 to {SUBJECT_BYTES_MAX} bytes without control characters")]
    BadSubject,
    /// We could not find out, or not do it.
    #[error("an app could not be served: {0}")]
    Unavailable(#[source] Arc<dyn Error + Send + Sync>),
}

impl AppError {
    fn ours(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Unavailable(Arc::new(error))
    }

    const fn outcome(&self) -> MintOutcome {
        match self {
            Self::Refused(_) => MintOutcome::Refused,
            Self::Limited(_) => MintOutcome::Limited,
            Self::BadLife { .. } | Self::BadSubject => MintOutcome::Invalid,
            Self::Unavailable(_) => MintOutcome::Failed,
        }
    }
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        Self::ours(error)
    }
}

impl From<SignError> for AppError {
    fn from(error: SignError) -> Self {
        Self::ours(error)
    }
}

impl From<NoRandomness> for AppError {
    fn from(error: NoRandomness) -> Self {
        Self::ours(error)
    }
}

/// All apps, held in memory: so a wrong id costs what a wrong secret costs, and a flood of either
/// never reaches the store.
pub(super) struct Directory {
    /// In the order of their ids: to find one takes as many steps as to find that there is none.
    known: watch::Sender<Arc<[App]>>,
    /// Stands in the place of an app that is not there while there is none at all. It has no secret.
    nobody: App,
    /// One proof at a time, a few microseconds each: many that an honest app sends at once must not
    /// use up each other's guesses before the first of them is known to be right.
    proving: Mutex<()>,
}

impl Directory {
    /// As the store has it now.
    ///
    /// # Errors
    /// The store does not answer.
    pub(super) async fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let nobody = App {
            id: "nobody".parse().expect("five plain letters and more are an app's id"),
            name: None,
            secrets: Vec::new(),
            roles: Vec::new(),
            permissions: Vec::new(),
            disabled: true,
            created_at: Timestamp::EPOCH,
        };
        let known = watch::Sender::new(Arc::new([]) as Arc<[App]>);
        let directory = Self { known, nobody, proving: Mutex::new(()) };
        directory.reload(store).await?;
        Ok(directory)
    }

    /// Takes over what was changed since.
    ///
    /// # Errors
    /// The store does not answer; what was known stays.
    pub(super) async fn reload(&self, store: &dyn Store) -> Result<(), StoreError> {
        let mut apps = store.apps().await?;
        apps.sort_unstable_by(|one, other| one.id.as_str().cmp(other.id.as_str()));
        self.known.send_replace(apps.into());
        Ok(())
    }

    /// The app of this id; or one that stands in its place, so that what is done with an app is done
    /// with one in memory like any other. And which of both it is.
    fn find<'a>(&'a self, known: &'a [App], id: &str) -> (&'a App, bool) {
        let at = known.partition_point(|app| app.id.as_str() < id);
        let app = known.get(at).or(known.last()).unwrap_or(&self.nobody);
        (app, !known.is_empty() && app.id.as_str() == id)
    }

    /// The app that `proof` proves to speak for; or why there is none, as the audit log is told it.
    fn prove(&self, proof: &AppProof, limits: &Limits) -> Result<App, Unproved> {
        let known = self.known.borrow().clone();
        let _one_at_a_time = self.proving.lock().unwrap_or_else(PoisonError::into_inner);
        let (app, exists) = self.find(&known, &proof.app);
        let because = |cause, error| {
            let (id, known) = (app.id.clone(), exists);
            Unproved { error, cause, id, known }
        };
        let (account, client) = (proof.app.as_str(), proof.client);
        let guess = Guess { act: Act::Mint, account, client, device: None };
        let charge = limits
            .charge(guess)
            .map_err(|allowance| because("rate_limited", AppError::Limited(allowance)))?;
        // The secret first, so that a disabled app costs as much as any other.
        let right = is_secret_of(app, &proof.secret);
        if !exists || !right || app.disabled {
            let cause = match (exists, right) {
                // Whether the secret is that of the app that stands in its place is nobody's business.
                (false, _) => "unknown_app",
                (true, false) => "wrong_secret",
                (true, true) => "disabled",
            };
            return Err(because(cause, AppError::Refused(charge.allowance())));
        }
        charge.succeeded();
        Ok(app.clone())
    }
}

/// A proof that proves nothing.
struct Unproved {
    error: AppError,
    cause: &'static str,
    /// The app of the id that was presented, or that which stood in its place.
    id: AppId,
    /// Which of both.
    known: bool,
}

impl Sessions {
    /// Mints a token for a user of an app. Says the same, and costs the same, for an app that does
    /// not exist, a wrong secret, and an app that is disabled.
    ///
    /// # Errors
    /// See [`AppError`].
    pub async fn mint(&self, proof: &AppProof, request: MintRequest) -> Result<Minted, AppError> {
        let minted = self.mint_for(proof, request).await;
        match &minted {
            Ok(Minted { claims, .. }) => {
                self.stats.count_mint(MintOutcome::Minted);
                let app = claims.app.as_str();
                let event = self.audit.event(AuditKind::TokenMinted).from(proof.client).about(app);
                let user = claims.app.user(&claims.subject);
                self.audit.tell(event.by(Actor::App(app.to_owned())).of_id(user));
            }
            Err(error) => {
                self.stats.count_mint(error.outcome());
                if let AppError::Unavailable(source) = error {
                    let error = cause(source.as_ref());
                    tracing::warn!(error, "a token could not be minted on our side");
                }
            }
        }
        minted
    }

    /// Revokes a token that the app has minted. One that is not its own, or is not known, stays as
    /// it is, and the app is not told (RFC 7009 section 2.2).
    ///
    /// # Errors
    /// See [`AppError`].
    pub async fn revoke_minted(
        &self,
        proof: &AppProof,
        unwanted: Unwanted<'_>,
    ) -> Result<(), AppError> {
        let app = self.proved(proof)?;
        let found = match unwanted {
            Unwanted::Token(text) => {
                let claims = self.keys.ring().read_minted(text).ok();
                claims.map(|claims| (claims.app, claims.token, claims.expires_at))
            }
            Unwanted::Id(id) => {
                let store = self.store.clone();
                let row = self.on_room(async move { store.minted(id).await }).await?;
                row.map(|row| (row.app, row.id, row.expires_at))
            }
        };
        match found {
            Some((by, token, expires_at)) if by == app.id => {
                let actor = Actor::App(app.id.as_str().to_owned());
                Ok(self.end_token(token, expires_at, actor, proof.client).await?)
            }
            _ => Ok(()),
        }
    }

    /// Revokes a single token that ends at `expires_at`, because `actor` at `client` wants it.
    ///
    /// # Errors
    /// The store did not do it.
    pub async fn end_token(
        &self,
        token: TokenId,
        expires_at: Timestamp,
        actor: Actor,
        client: IpAddr,
    ) -> Result<(), StoreError> {
        let until = expires_at.plus(CLOCKS_APART);
        let store = self.store.clone();
        self.on_room(async move { store.revoke_token(token, until).await }).await?;
        // Here at once; elsewhere as soon as they follow.
        self.revoked.add(Revoked::Token(token), until);
        let event = self.audit.event(AuditKind::TokenRevoked).by(actor).from(client);
        self.audit.tell(event.about(&token.to_string()));
        Ok(())
    }

    /// Takes over what was changed about apps, without waiting for the next look.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn learn_apps(&self) -> Result<(), StoreError> {
        self.apps.reload(&*self.store).await
    }

    async fn mint_for(&self, proof: &AppProof, request: MintRequest) -> Result<Minted, AppError> {
        let settings = &self.settings.minted;
        let ttl = request.ttl.unwrap_or(settings.ttl);
        if ttl < Duration::from_secs(1) || ttl > settings.max_ttl {
            return Err(AppError::BadLife { longest: settings.max_ttl });
        }
        let subject = request.subject;
        let length = subject.len();
        if length == 0 || length > SUBJECT_BYTES_MAX || subject.chars().any(char::is_control) {
            return Err(AppError::BadSubject);
        }
        let app = self.proved(proof)?;
        // Read before the app is, so that what is taken from it after that cuts off what is signed below.
        let now = self.clock.now();
        // As it stands in the token: in whole seconds.
        let expires_at = Timestamp::from_secs(now.plus(ttl).secs());
        let noted = MintedToken { id: TokenId::generate()?, app: app.id, subject, expires_at };
        let (store, note) = (self.store.clone(), noted.clone());
        let app = match self.on_room(async move { store.mint(&note, now).await }).await {
            Ok(app) if is_secret_of(&app, &proof.secret) => app,
            // Removed, disabled, or without this secret since this process last looked.
            Ok(_) | Err(StoreError::NoSuchApp) => return Err(self.outdated(proof)),
            Err(error) => return Err(error.into()),
        };
        let claims = MintedClaims {
            app: app.id,
            subject: noted.subject,
            token: noted.id,
            issued_at: self.skew.shared(now).min(expires_at),
            expires_at,
            roles: granted(request.roles, app.roles),
            permissions: granted(request.permissions, app.permissions),
        };
        let token = self.keys.ring().sign_minted(&claims, now)?;
        Ok(Minted { token, claims })
    }

    /// The refusal of a proof that was right a moment ago: nothing was guessed.
    fn outdated(&self, proof: &AppProof) -> AppError {
        let (account, client) = (proof.app.as_str(), proof.client);
        let guess = Guess { act: Act::Mint, account, client, device: None };
        let charge = match self.limits.charge(guess) {
            Ok(charge) => charge,
            Err(allowance) => return AppError::Limited(allowance),
        };
        let allowance = charge.allowance();
        charge.refund();
        AppError::Refused(allowance)
    }

    /// The app that `proof` proves to speak for. Who proves nothing is told of.
    fn proved(&self, proof: &AppProof) -> Result<App, AppError> {
        self.apps.prove(proof, &self.limits).map_err(|unproved| {
            let Unproved { error, cause, id, known } = unproved;
            let event = self.audit.event(AuditKind::MintFailed).because(cause).from(proof.client);
            // Something in any case: time must not tell that there is no such app.
            self.audit.tell(event.about(if known { id.as_str() } else { NOBODY }));
            error
        })
    }
}

/// What the audit stream is told in the place of an app that is not there.
const NOBODY: &str = "(unknown)";

/// What is asked for and may be given; all that may be given when nothing is said.
fn granted(asked: Option<Vec<String>>, held: Vec<String>) -> Vec<String> {
    match asked {
        None => held,
        Some(asked) => held.into_iter().filter(|right| asked.contains(right)).collect(),
    }
}

/// Until when what an app has minted until `now` must be remembered as revoked: the last of it has
/// ended by then, on every replica's clock.
pub fn minted_revoked_until(minted: &config::Minted, now: Timestamp) -> Timestamp {
    now.plus(minted.max_ttl).plus(CLOCKS_APART)
}

/// Takes over what the command line or another replica changes, for ever.
pub(super) async fn follow(store: Arc<dyn Store>, directory: Arc<Directory>) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        let read = directory.reload(&*store).await;
        if let (Err(error), false) = (&read, failing) {
            tracing::warn!(error = %cause(error), "the apps cannot be read");
        }
        failing = read.is_err();
    }
}

/// Half of the second in which a change must be heard of.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// An app by the id that the operator typed.
///
/// # Errors
/// It is no app's id.
pub fn app_id(text: &str) -> Result<AppId, BadAppId> {
    text.parse().map_err(|_| BadAppId)
}

/// Not the id of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an app's id is 1 to 64 of a-z, 0-9, -, _ and ., and begins with a letter or a digit")]
pub struct BadAppId;
