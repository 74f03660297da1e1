//! The rules of signing in: a session begins, is refreshed, ends. Rules over store and token; no
//! HTTP, no SQL. `governor` is used in this room only.
//!
//! Everything here may be called from any core: work that touches the store runs on a runtime of
//! its own, and an act once begun there runs to its end though its caller has gone.

mod accounts;
mod app_secret;
mod apps;
mod audit;
mod background;
mod blocklist;
mod device;
mod ends;
mod fitness;
mod flight;
mod foreign;
mod human;
mod kept;
mod keys;
mod limits;
mod links;
mod login;
mod name;
mod opaque;
mod pair;
mod password;
mod progress;
mod pulse;
mod ready;
mod refresh;
mod stats;

#[cfg(test)]
mod machine;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

pub use accounts::{AccountError, Newcomer, SignedUp};
pub use app_secret::{
    APP_SECRET_MAX, APP_SECRET_MIN, WeakSecret, app_secret_fits, keep_app_secret, new_app_secret,
};
pub use apps::{
    AppError, AppProof, BadAppId, MintRequest, Minted, SUBJECT_BYTES_MAX, Unwanted, app_id,
    minted_revoked_until,
};
pub use audit::Auditor;
pub use blocklist::BlocklistError;
pub use device::DeviceCookie;
pub use fitness::{Fitness, Unfit};
pub use foreign::{ForeignError, take_over};
pub use kept::KeptForm;
pub use keys::make as new_key;
pub use limits::Allowance;
pub use links::{LinkSecret, Purpose, draw_link};
pub use login::{Attempt, Begun, Factor, LoginError, LoginStep};
pub use name::{BadName, MAX_NAME_BYTES, login_key};
pub use pair::{Pair, Who};
pub use password::{HashError, Hashers, Recipe};
pub use ready::NotReady;
pub use refresh::{Grace, RefreshError, Refreshed};
pub use stats::{Count, LoginOutcome, MintOutcome, RefreshOutcome, Stats};

use crate::captcha::Captcha;
use crate::clock::{Clock, Timestamp};
use crate::config::{self, Config, KeySource, NameCase};
use crate::id::{SessionId, UserId};
use crate::secret::NoRandomness;
use crate::store::rows::User;
use crate::store::{Store, StoreError};
use crate::token::{KeyError, Keyring, RevokedSet, Rules};
use apps::Directory;
use flight::Flights;
use keys::Keys;
use limits::Limits;
use progress::Progress;
use pulse::Pulse;
use ready::Skew;

/// What [`Sessions`] is made of.
pub struct Parts {
    /// Where users, sessions, revocations and keys are kept.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Clock,
    /// The runtime on which the store is spoken to.
    pub room: Handle,
    /// What the operator wants.
    pub settings: Settings,
    /// Whether a person is there, if that is to be shown.
    pub captcha: Option<Arc<Captcha>>,
}

/// The sections of the config that concern signing in.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `[session]`
    pub session: config::Session,
    /// `[password]`
    pub password: config::Password,
    /// `[attempts]`
    pub attempts: config::Attempts,
    /// `[audit]`
    pub audit: config::Audit,
    /// `login.case`
    pub case: NameCase,
    /// `login.name_characters`
    pub name_characters: Option<config::Characters>,
    /// `login.reserved_names`
    pub reserved_names: Vec<String>,
    /// `login.site_name`: nobody's password.
    pub site_name: String,
    /// `token.keys`
    pub keys: KeySource,
    /// `token.rotate_every`
    pub rotate_keys_every: Duration,
    /// Whether access tokens carry `name` and `email`.
    pub profile_claims: bool,
    /// `token.minted`
    pub minted: config::Minted,
    /// Issuer, audience and algorithms.
    pub tokens: Rules,
    /// `store.revocation_max_age`
    pub revocation_max_age: Duration,
}

impl Settings {
    /// The settings of a whole configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            session: config.session.clone(),
            password: config.password.clone(),
            attempts: config.attempts.clone(),
            audit: config.audit.clone(),
            case: config.login.case,
            name_characters: config.login.name_characters.clone(),
            reserved_names: config.login.reserved_names.clone(),
            site_name: config.login.site_name.clone(),
            keys: config.token.keys.clone(),
            rotate_keys_every: config.token.rotate_every,
            profile_claims: config.token.profile_claims,
            minted: config.token.minted.clone(),
            tokens: Rules::of(config),
            revocation_max_age: config.store.revocation_max_age,
        }
    }
}

/// Why signing in cannot be offered at all. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store does not answer, or holds what cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The signing keys are of no use.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The hashing threads could not be started.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The list of common passwords is of no use.
    #[error(transparent)]
    Blocklist(#[from] BlocklistError),
    /// No key could be drawn.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The runtime was shut down meanwhile.
    #[error("the runtime has stopped")]
    Stopped,
}

/// Logins, refreshes and logouts; shared by all cores.
pub struct Sessions {
    store: Arc<dyn Store>,
    clock: Clock,
    room: Handle,
    settings: Settings,
    rules: refresh::Rules,
    keys: Arc<Keys>,
    apps: Arc<Directory>,
    revoked: Arc<RevokedSet>,
    limits: Arc<Limits>,
    hashers: Arc<Hashers>,
    fitness: Fitness,
    captcha: Option<Arc<Captcha>>,
    flights: Flights<Result<Refreshed, RefreshError>>,
    sights: mpsc::Sender<(SessionId, u64)>,
    pulse: Arc<Pulse>,
    skew: Arc<Skew>,
    stats: Arc<Stats>,
    audit: Arc<Auditor>,
    background: Vec<AbortHandle>,
}

impl Sessions {
    /// Loads or makes the keys, reads the revocations in force, and starts what runs in the
    /// background. Until it has returned nothing may be served: a session ended before the restart
    /// would be let in.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(parts: Parts) -> Result<Arc<Self>, StartError> {
        let room = parts.room.clone();
        room.spawn(Self::assemble(parts)).await.map_err(|_| StartError::Stopped)?
    }

    async fn assemble(parts: Parts) -> Result<Arc<Self>, StartError> {
        let Parts { store, clock, room, settings, captcha } = parts;
        let secrets = room.spawn_blocking({
            let password = settings.password.clone();
            move || Ok::<_, StartError>((Hashers::start(&password)?, Fitness::new(&password)?))
        });
        let now = clock.now();
        let (kept, rules) = (keys_used_for(&settings), settings.tokens.clone());
        let every = settings.rotate_keys_every;
        let (keys, first) = Keys::load(&settings.keys, rules, every, kept, &store, now).await?;
        let keys = Arc::new(keys);
        let audit = Arc::new(Auditor::start(store.clone(), clock.clone()));
        if let Some(first) = first {
            audit.keep(audit::key_made(&first, now)).await;
        }
        let revoked = Arc::new(RevokedSet::new());
        let pulse = Arc::new(Pulse::new(store.epoch()));
        let numbers = background::read_revocations(&*store, &revoked, &pulse, 0, now).await?;
        let progress =
            Progress::after_all(numbers.last().copied().unwrap_or(0), store.longest_act());
        let skew = Arc::new(Skew::of(&*store, &clock).await);
        let apps = Arc::new(Directory::load(&*store).await?);
        let suspicious = captcha.as_ref().and_then(|captcha| captcha.settings().after());
        let limits = Arc::new(Limits::new(&settings.attempts, suspicious, &clock));
        let stats = Arc::<Stats>::default();
        let (sights, seen) = mpsc::channel(background::SIGHTS_MAX);
        let (hashers, fitness) = secrets.await.map_err(|_| StartError::Stopped)??;
        let hashers = Arc::new(hashers);
        background::learn_kinds(&*store, &hashers).await?;

        let follow = background::follow(
            store.clone(),
            revoked.clone(),
            keys.clone(),
            pulse.clone(),
            (clock.clone(), skew.clone()),
            progress,
        );
        let sweep =
            background::sweep(store.clone(), revoked.clone(), limits.clone(), clock.clone());
        let rotate = background::rotate_keys(keys.clone(), audit.clone(), clock.clone());
        let forget = background::sweep_audit(store.clone(), settings.audit.clone(), clock.clone());
        let max_age = settings.revocation_max_age;
        let heed = background::heed_silence(revoked.clone(), pulse.clone(), max_age);
        let compare = ready::compare_clocks(store.clone(), skew.clone(), clock.clone());
        // Not among those that are aborted: it ends with its sender, when it has told all it heard.
        room.spawn(background::report(store.clone(), seen, stats.clone()));
        let background = vec![
            room.spawn(follow).abort_handle(),
            room.spawn(sweep).abort_handle(),
            room.spawn(rotate).abort_handle(),
            room.spawn(forget).abort_handle(),
            room.spawn(background::follow_kinds(store.clone(), hashers.clone())).abort_handle(),
            room.spawn(heed).abort_handle(),
            room.spawn(compare).abort_handle(),
            room.spawn(apps::follow(store.clone(), apps.clone())).abort_handle(),
        ];
        Ok(Arc::new(Self {
            rules: refresh::Rules::from(&settings.session),
            flights: Flights::new(FLIGHTS_MAX, room.clone()),
            store,
            clock,
            room,
            settings,
            keys,
            apps,
            revoked,
            limits,
            hashers,
            captcha,
            fitness,
            sights,
            pulse,
            skew,
            stats,
            audit,
            background,
        }))
    }

    /// The key ring; a core takes a snapshot, and looks again when it changes.
    pub fn keyring(&self) -> watch::Receiver<Arc<Keyring>> {
        self.keys.subscribe()
    }

    /// What is refused though its signature is good.
    pub const fn revoked(&self) -> &Arc<RevokedSet> {
        &self.revoked
    }

    /// What a new secret must be like.
    pub const fn fitness(&self) -> &Fitness {
        &self.fitness
    }

    /// What has happened so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Where to tell what happened.
    pub fn audit(&self) -> &Auditor {
        &self.audit
    }

    /// Logins that wait for a hashing thread.
    pub fn logins_waiting(&self) -> usize {
        self.hashers.waiting()
    }

    /// Refreshes under way.
    pub fn refreshes_under_way(&self) -> usize {
        self.flights.len()
    }

    /// Keys that the limits remember.
    pub fn limit_keys(&self) -> usize {
        self.limits.keys()
    }

    /// Attempts that a limit has not let be heard: by act, by kind of key, how many.
    pub fn limit_refusals(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        self.limits.refusals()
    }

    /// Checks that a person is there, by outcome; none if there is no captcha.
    pub fn captchas(&self) -> impl Iterator<Item = Count> {
        self.captcha.iter().flat_map(|captcha| captcha.stats().counts())
    }

    /// Says that a token of this generation, access or refresh, was presented. Never waits; told to
    /// the store in the background and in batches. May be lost: then a theft is found out one
    /// rotation later.
    pub fn saw(&self, session: SessionId, generation: u64) {
        if self.sights.try_send((session, generation)).is_err() {
            self.stats.count_lost_sights(1);
        }
    }

    /// The account as it is now.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn account(&self, user: UserId) -> Result<Option<User>, StoreError> {
        let store = self.store.clone();
        self.on_room(async move { store.user(user).await }).await
    }

    /// Whether anybody could log in at all.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn has_users(&self) -> Result<bool, StoreError> {
        let store = self.store.clone();
        self.on_room(async move { store.has_users().await }).await
    }

    /// How long a revocation written at `now` has to hold: until the last access token signed
    /// before has expired.
    pub fn revoked_until(&self, now: Timestamp) -> Timestamp {
        revoked_until(&self.settings.session, now)
    }

    /// Reads keys that another replica has made; whether there were any.
    async fn learn_keys(&self) -> bool {
        if !self.keys.may_ask(self.clock.now()) {
            return false;
        }
        let keys = self.keys.clone();
        let reload = self.room.spawn(async move { keys.reload().await });
        match reload.await {
            Ok(Ok(new)) => new,
            Ok(Err(error)) => {
                tracing::warn!(error = %cause(&error), "the signing keys could not be read");
                false
            }
            Err(_) => false,
        }
    }

    /// Has keys read that another replica may have made, without waiting for it. Once a second at
    /// most, however often it is asked.
    pub fn ask_for_keys(self: &Arc<Self>) {
        let this = Arc::clone(self);
        self.room.spawn(async move { this.learn_keys().await });
    }

    /// Runs `act` where the store lives, and to its end even if the caller goes.
    async fn on_room<T: Send + 'static>(
        &self,
        act: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        match self.room.spawn(act).await {
            Ok(outcome) => outcome,
            Err(error) => Err(StoreError::Unavailable(Box::new(error))),
        }
    }
}

/// How long what is made with a key may be of use.
fn keys_used_for(settings: &Settings) -> Duration {
    let Settings { session, attempts, minted, .. } = settings;
    session.refresh_ttl.max(attempts.device_ttl).max(minted.max_ttl)
}

/// Until when what is revoked at `now` must be remembered: the last access token that was given out
/// has ended by then, on every replica's clock.
pub fn revoked_until(session: &config::Session, now: Timestamp) -> Timestamp {
    now.plus(session.access_ttl).plus(CLOCKS_APART)
}

impl Drop for Sessions {
    fn drop(&mut self) {
        self.background.iter().for_each(AbortHandle::abort);
    }
}

/// An error with all that caused it, on one line, for the log.
fn cause(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        // Many errors already say what is inside them.
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}

/// Refreshes under way at a time, each with a token of its own; beyond it 503.
const FLIGHTS_MAX: usize = 4096;

/// How far apart replicas' clocks may be before a revocation could end too early.
const CLOCKS_APART: Duration = Duration::from_secs(60);
