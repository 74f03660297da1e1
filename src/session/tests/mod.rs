//! Sessions over a real SQLite file, with the clock moved by hand.

mod apps;
mod changes;
mod login;
mod refresh;

use std::net::{IpAddr, Ipv4Addr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::Handle;

use super::*;
use crate::config::{Algorithm, Quota, RefreshStyle};
use crate::secret::{PasswordHash, Secret};
use crate::store::Waits;
use crate::store::rows::{EndReason, Session};
use crate::store::seal::Seal;
use crate::store::sqlite::Sqlite;
use crate::token::MintedRules;

pub(super) const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
pub(super) const PASSWORD: &str = "correct horse battery";

/// The gateway's sessions on a file of their own, and one account, `Ada`.
pub(super) struct Site {
    pub(super) sessions: Arc<Sessions>,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Clock,
    pub(super) ada: UserId,
    pub(super) folder: TempDir,
}

impl Site {
    pub(super) async fn new() -> Self {
        Self::with(settings()).await
    }

    pub(super) async fn with(settings: Settings) -> Self {
        let clock = Clock::manual(Timestamp::from_secs(1_800_000_000));
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).await;
        let ada = user(&settings, "Ada", clock.now());
        store.add_user(&ada).await.unwrap();
        let sessions = start(store.clone(), &clock, settings).await;
        Self { sessions, store, clock, ada: ada.id, folder }
    }

    /// Another gateway process on the same file.
    pub(super) async fn second(&self) -> Arc<Sessions> {
        let settings = self.sessions.settings.clone();
        start(open(self.folder.path()).await, &self.clock, settings).await
    }

    pub(super) async fn log_in(&self) -> Pair {
        match self.sessions.log_in(attempt("ada", PASSWORD)).await.unwrap() {
            LoginStep::Done(begun) => begun.pair,
            LoginStep::Next { .. } => panic!("a password is all that is asked"),
        }
    }

    pub(super) async fn refresh(&self, token: &str) -> Result<Refreshed, RefreshError> {
        self.sessions.refresh(token, CLIENT).await
    }

    pub(super) async fn row(&self, session: SessionId) -> Session {
        self.store.session(session).await.unwrap().unwrap().0
    }

    pub(super) fn wait(&self, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
    }
}

pub(super) async fn open(folder: &Path) -> Arc<dyn Store> {
    Arc::new(Sqlite::open(&folder.join("test.db"), Seal::none(), Waits::default()).await.unwrap())
}

pub(super) async fn start(
    store: Arc<dyn Store>,
    clock: &Clock,
    settings: Settings,
) -> Arc<Sessions> {
    let parts =
        Parts { store, clock: clock.clone(), room: Handle::current(), settings, captcha: None };
    Sessions::start(parts).await.unwrap()
}

pub(super) fn settings() -> Settings {
    let quota =
        |count| Quota { count: NonZeroU32::new(count).unwrap(), per: Duration::from_secs(900) };
    Settings {
        session: config::Session {
            access_ttl: Duration::from_secs(60),
            refresh_ttl: Duration::from_secs(30 * 86_400),
            idle_ttl: Duration::from_secs(7 * 86_400),
            reuse_grace: Duration::from_secs(30),
            rotate: true,
            refresh: RefreshStyle::Silent,
            jitter_percent: 5,
        },
        password: config::Password {
            memory_kib: 8,
            iterations: 1,
            parallelism: 1,
            threads: NonZeroUsize::MIN,
            queue: 100,
            wait: Duration::from_secs(60),
            kind: config::SecretKind::Password,
            min_length: 8,
            blocklist: config::Blocking::BuiltIn,
            max_length: 1024,
        },
        attempts: config::Attempts {
            acts: config::PerAct::each(|_| config::Quotas {
                per_account_and_network: quota(5),
                per_network: quota(50),
                per_account: quota(100),
                count_successes: false,
            }),
            forgeries: quota(50),
            per_device: quota(5),
            device_ttl: Duration::from_secs(30 * 86_400),
            max_keys: NonZeroUsize::new(1000).unwrap(),
        },
        audit: config::Audit { keep: Duration::from_secs(90 * 86_400), max_rows: 1_000_000 },
        case: NameCase::Fold,
        name_characters: None,
        reserved_names: vec!["admin".to_owned()],
        site_name: "notes.example.org".to_owned(),
        keys: KeySource::Store,
        rotate_keys_every: Duration::from_secs(90 * 86_400),
        profile_claims: false,
        revocation_max_age: Duration::from_secs(300),
        minted: config::Minted {
            audience: "https://app.example.test/minted".into(),
            algorithm: Algorithm::Hs256,
            ttl: Duration::from_secs(3600),
            max_ttl: Duration::from_secs(7200),
            claims: None,
            names: config::MintedNames::WithApp,
        },
        tokens: Rules {
            issuer: "https://app.example.test".into(),
            audience: "https://app.example.test".into(),
            algorithm: Algorithm::Hs256,
            assertions: Vec::new(),
            claims: None,
            minted: MintedRules {
                audience: "https://app.example.test/minted".into(),
                algorithm: Algorithm::Hs256,
                claims: None,
            },
        },
    }
}

pub(super) fn user(settings: &Settings, login: &str, now: Timestamp) -> User {
    User {
        id: UserId::generate(now).unwrap(),
        login: login.to_owned(),
        login_key: login_key(login, settings.case).unwrap(),
        name: Some("Ada Lovelace".into()),
        email: None,
        roles: vec!["editor".into()],
        permissions: vec!["write".into()],
        password: Some(hash(&settings.password, PASSWORD)),
        disabled: false,
        created_at: now,
    }
}

pub(super) fn hash(config: &config::Password, password: &str) -> PasswordHash {
    Recipe::new(config).unwrap().hash(&Secret::new(password.to_owned())).unwrap()
}

pub(super) fn attempt(identifier: &str, password: &str) -> Attempt {
    Attempt {
        identifier: identifier.to_owned(),
        secret: Secret::new(password.to_owned()),
        client: CLIENT,
        user_agent: "Test/1".into(),
        remember: true,
        pending: None,
        device: None,
        captcha: None,
        replaces: None,
    }
}
