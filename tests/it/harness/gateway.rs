//! A whole gateway within this process: real TLS, a real SQLite file, real sockets, and a clock
//! that only the test moves.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sallyport::clock::{Clock, Timestamp};
use sallyport::config::{Config, NameCase};
use sallyport::gateway::Gateway;
use sallyport::id::{SessionId, UserId};
use sallyport::secret::Secret;
use sallyport::session::{Recipe, Sessions, login_key};
use sallyport::store::Store;
use sallyport::store::rows::{Session, User, UserChange};
use tempfile::TempDir;

use super::{Answer, Client, Upstream, curl};

/// Everybody's password.
pub(crate) const PASSWORD: &str = "correct horse battery staple";
/// The access cookie's name.
pub(crate) const ACCESS: &str = "__Host-sallyport_access";
/// The refresh cookie's name.
pub(crate) const REFRESH: &str = "__Host-sallyport_refresh";
/// The device cookie's name.
pub(crate) const DEVICE: &str = "__Host-sallyport_device";
/// How long an access token lives unless the test's config says otherwise.
pub(crate) const ACCESS_TTL: Duration = Duration::from_secs(300);

/// A route of each kind, all to the upstream `app`.
pub(crate) const ROUTES: &str = r#"
[[route]]
path = "/public/**"
access = "public"
[[route]]
path = "/optional/**"
access = "optional"
[[route]]
path = "/admin/**"
access = { permissions = ["admin"] }
[[route]]
path = "/editor/**"
access = { roles = ["editor", "owner"] }
[[route]]
path = "/**"
"#;

/// A running gateway with files of its own. Stops when it is dropped.
pub(crate) struct Gate {
    gateway: Option<Gateway>,
    clock: Clock,
    recipe: Recipe,
    folder: TempDir,
}

impl Gate {
    /// A gateway with the routes of [`ROUTES`] before `upstream`.
    pub(crate) fn before(upstream: &Upstream) -> Self {
        Self::with(upstream, "")
    }

    /// The same with further lines of config.
    pub(crate) fn with(upstream: &Upstream, lines: &str) -> Self {
        let url = upstream.url();
        Self::start(&format!(
            "{lines}\n[[upstream]]\nname = \"app\"\nservers = [\"{url}\"]\n{ROUTES}"
        ))
    }

    /// A gateway of just this config, whose sections on listening, passwords and logs may be left
    /// out.
    pub(crate) fn start(text: &str) -> Self {
        // What the gateway puts into tokens counts whole seconds, and so does a test.
        Self::start_at(text, Clock::manual(Timestamp::from_secs(Clock::system().now().secs())))
    }

    /// The same by this clock.
    pub(crate) fn start_at(text: &str, clock: Clock) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::parse(&complete(text), &folder.path().join("gateway.toml")).unwrap();
        let recipe = Recipe::new(&config.password).unwrap();
        let gateway = Gateway::start(config, clock.clone()).unwrap();
        Self { gateway: Some(gateway), clock, recipe, folder }
    }

    fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("it runs until it is dropped")
    }

    /// Where TLS is spoken.
    pub(crate) fn address(&self) -> SocketAddr {
        self.gateway().addresses().https.unwrap()
    }

    /// Where only the way to TLS is shown.
    pub(crate) fn plain_address(&self) -> SocketAddr {
        self.gateway().addresses().http.unwrap()
    }

    /// What a path of the admin listener answers.
    pub(crate) fn admin(&self, path: &str) -> Answer {
        let address = self.gateway().addresses().admin.unwrap();
        curl(&[&format!("http://{address}{path}")])
    }

    /// The clock, which stands still until it is moved.
    pub(crate) const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// The rules of signing in, as the running gateway uses them.
    pub(crate) fn sessions(&self) -> &Arc<Sessions> {
        self.gateway().sessions()
    }

    /// The store's file.
    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("data/sallyport.db")
    }

    /// Asks the store, on the runtime where it lives.
    pub(crate) fn store<T: Send>(&self, ask: impl AsyncFnOnce(&dyn Store) -> T) -> T {
        let store = self.gateway().store();
        self.gateway().room().block_on(ask(&**store))
    }

    /// Makes an account.
    pub(crate) fn add_user(&self, name: &str, roles: &[&str], permissions: &[&str]) -> UserId {
        let owned = |list: &[&str]| list.iter().map(|&one| one.to_owned()).collect();
        let now = self.clock.now();
        let user = User {
            id: UserId::generate(now).unwrap(),
            login: name.to_owned(),
            login_key: login_key(name, NameCase::Fold).unwrap(),
            name: Some(format!("{name} the person")),
            email: None,
            roles: owned(roles),
            permissions: owned(permissions),
            password: Some(self.recipe.hash(&Secret::new(PASSWORD.to_owned())).unwrap()),
            disabled: false,
            created_at: now,
        };
        self.store(async |store| store.add_user(&user).await).unwrap();
        user.id
    }

    /// Changes an account as the operator would.
    pub(crate) fn change_user(&self, id: UserId, change: &UserChange) {
        let now = self.clock.now();
        let until = self.sessions().revoked_until(now);
        self.store(async |store| store.change_user(id, change, None, now, until).await).unwrap();
    }

    /// A session as the store knows it.
    pub(crate) fn session(&self, id: SessionId) -> Session {
        self.store(async |store| store.session(id).await).unwrap().unwrap().0
    }

    /// All accounts and live sessions, to see whether something has changed.
    pub(crate) fn snapshot(&self) -> String {
        let now = self.clock.now();
        self.store(async |store| {
            let users = store.users(None, 1000).await.unwrap();
            let sessions = store.sessions(None, now, 1000).await.unwrap();
            let mut text = String::new();
            writeln!(text, "{users:#?}\n{sessions:#?}").unwrap();
            text
        })
    }

    /// The certificate that it shows, which signs itself.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("certs/development.pem")
    }

    /// A browser that has never been here.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address(), &self.certificate(), self.clock.clone())
    }

    /// A browser in which this account has logged in.
    pub(crate) fn signed_in(&self, name: &str) -> Client {
        let mut client = self.client();
        let answer = client.log_in(name, PASSWORD, true);
        assert_eq!(answer.status, 200, "{answer:#?}");
        client
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            gateway.stop();
        }
    }
}

/// Adds the sections that are not there.
pub(crate) fn complete(text: &str) -> String {
    let defaults = [
        (
            "[listen]",
            "https = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
             public_url = \"https://localhost:8443\"\ncores = 2\ndrain_timeout = \"0s\"",
        ),
        // As cheap as Argon2id can be: what is tested is not its cost.
        ("[password]", "memory = \"8KiB\"\niterations = 1"),
        // Ends of tokens are then known to the second.
        ("[session]", "jitter = 0"),
        ("[log]", "access = \"off\""),
    ];
    let mut whole = String::new();
    for (section, lines) in defaults {
        if !text.lines().any(|line| line.trim() == section) {
            writeln!(whole, "{section}\n{lines}\n").unwrap();
        }
    }
    whole + text
}
