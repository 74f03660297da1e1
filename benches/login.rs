//! What a login costs beside its Argon2id, and what a refresh and a mint cost: CPU time of all the
//! gateway's threads, by the kernel's own account of each, beside bare Argon2id and bare transactions
//! of SQLite in the same run. Callers and gateway are in one process; the callers' thread is not counted.
//!
//! `cargo bench --profile budget --bench login` (or without the profile: minutes more to build, and the
//! same figures); they stand in `docs/PERFORMANCE.md`. The bound of 2 % for all that a login costs
//! beside its hash is checked by `budget.py`, in instructions: in time, most of the rest is what the hash
//! has swept out of the caches, which is why a refresh is measured after a hash too.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic, reason = "a program for people")]
#![allow(clippy::indexing_slicing, reason = "a program for people")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sallyport::clock::{Clock, Stopwatch};
use sallyport::config::Config;
use sallyport::gateway::Gateway;
use sallyport::id::UserId;
use sallyport::secret::Secret;
use sallyport::session::{Recipe, keep_app_secret};
use sallyport::store::apps::App;
use sallyport::store::rows::User;
use sqlx::Connection as _;

// As in the gateway: what memory costs is a part of what a hash costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rounds, in each of which everything has its turn: the machine's mood changes.
const ROUNDS: usize = 10;
const CALLERS: usize = 4;
const LOGINS: usize = 40;
const REFRESHES: usize = 200;
const MINTS: usize = 200;
const TRANSACTIONS: usize = 200;

const PASSWORD: &str = "correct horse battery staple";
const SECRET: &str = "K7gNU3sdo-OL0wNhqoVWhr3g6s1xYv72mEh2Wq4ZpQ0";
const CONFIG: &str = "[listen]\nhttps = \"127.0.0.1:0\"\npublic_url = \"https://localhost\"\n\
    [log]\naccess = { file = \"access.log\" }\n\
    [attempts]\nper_account_and_network = { count = 1000000, per = \"1s\" }\n\
    per_network = { count = 1000000, per = \"1s\" }\nper_account = { count = 1000000, per = \"1s\" }\n\
    per_device = { count = 1000000, per = \"1s\" }\n\
    [[upstream]]\nname = \"app\"\nservers = [\"demo\"]\n[[route]]\npath = \"/**\"\nupstream = \"app\"\n";

fn main() {
    // `cargo test --benches` only wants to know whether it runs at all.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = Config::parse(CONFIG, &folder.path().join("gateway.toml")).unwrap();
    let recipe = Recipe::new(&config.password).unwrap();
    let gateway = Gateway::start(config, Clock::system()).unwrap();
    fill(&gateway, &recipe);
    let mut callers: Vec<_> =
        (0..CALLERS).map(|_| Caller::connect(&gateway, folder.path())).collect();
    let mut bare = Bare::open(folder.path());
    let hash = recipe.hash(&Secret::new(PASSWORD.to_owned())).unwrap();

    let [mut logins, mut hashes, mut refreshes, mut colds, mut mints, mut commits] =
        ["login", "bare Argon2id", "refresh", "refresh after hash", "mint", "bare transaction"]
            .map(Cost::new);
    for _ in 0..ROUNDS {
        hashes.of(LOGINS, Whose::Own, || {
            for _ in 0..LOGINS {
                assert!(recipe.verify(&Secret::new(PASSWORD.to_owned()), &hash).unwrap());
            }
        });
        logins.by(&mut callers, LOGINS, Caller::log_in);
        refreshes.by(&mut callers, REFRESHES, Caller::refresh);
        // What a hash leaves of the caches is what the rest of a login finds.
        colds.of(LOGINS, Whose::Gateways, || {
            for _ in 0..LOGINS {
                assert!(recipe.verify(&Secret::new(PASSWORD.to_owned()), &hash).unwrap());
                callers[0].refresh();
            }
        });
        mints.by(&mut callers, MINTS, Caller::mint);
        // With its worker's thread; the gateway has nothing to do meanwhile.
        commits.of(TRANSACTIONS, Whose::All, || (0..TRANSACTIONS).for_each(|_| bare.commit()));
    }
    println!("{:<18} {:>9} {:>9}   CPU by threads, microseconds each", "", "a second", "CPU us");
    for cost in [&hashes, &logins, &refreshes, &colds, &mints, &commits] {
        cost.print();
    }
    let rest = logins.each() - logins.by_threads("hash");
    let share = rest / logins.by_threads("hash");
    println!(
        "a login beside its hash: {rest:.0} us, {:.1} % of it; a refresh after a hash: {:.0} us; the \
         login's hash beside the bare one: {:+.1} %",
        share * 100.0,
        colds.each(),
        (logins.by_threads("hash") / hashes.each() - 1.0) * 100.0,
    );
    gateway.stop();
}

fn fill(gateway: &Gateway, recipe: &Recipe) {
    let now = Clock::system().now();
    let user = User {
        id: UserId::generate(now).unwrap(),
        login: "ada".to_owned(),
        login_key: "ada".to_owned(),
        name: None,
        email: None,
        roles: vec!["editor".to_owned()],
        permissions: vec!["read".to_owned()],
        password: Some(recipe.hash(&Secret::new(PASSWORD.to_owned())).unwrap()),
        disabled: false,
        created_at: now,
    };
    let app = App {
        id: "quest".parse().unwrap(),
        name: None,
        secrets: vec![keep_app_secret(&Secret::new(SECRET.to_owned()), now).unwrap()],
        roles: Vec::new(),
        permissions: vec!["read".to_owned()],
        disabled: false,
        created_at: now,
    };
    gateway.room().block_on(async {
        gateway.store().add_user(&user).await.unwrap();
        gateway.store().add_app(&app).await.unwrap();
        gateway.sessions().learn_apps().await.unwrap();
    });
}

/// Whose threads are counted.
#[derive(Clone, Copy, PartialEq)]
enum Whose {
    Own,
    Gateways,
    All,
}

/// What one kind of act has cost.
struct Cost {
    what: &'static str,
    count: usize,
    took: Duration,
    /// Nanoseconds on a CPU, by name of the thread.
    spent: BTreeMap<String, u64>,
}

impl Cost {
    fn new(what: &'static str) -> Self {
        Self { what, count: 0, took: Duration::ZERO, spent: BTreeMap::new() }
    }

    /// All callers at once, so that the hashing thread always has something to do. Their threads have
    /// ended by the time that is counted.
    fn by(&mut self, callers: &mut [Caller], count: usize, act: impl Fn(&mut Caller) + Sync) {
        let each = count / callers.len();
        self.of(count, Whose::Gateways, || {
            std::thread::scope(|scope| {
                for caller in callers {
                    scope.spawn(|| (0..each).for_each(|_| act(caller)));
                }
            });
        });
    }

    /// `count` acts.
    fn of(&mut self, count: usize, whose: Whose, acts: impl FnOnce()) {
        let before = threads();
        let watch = Stopwatch::start();
        acts();
        self.took += watch.elapsed();
        self.count += count;
        for (id, (name, spent)) in threads() {
            let own = id == std::process::id();
            let counts = match whose {
                Whose::Own => own,
                Whose::Gateways => !own,
                Whose::All => true,
            };
            if counts {
                let earlier = before.get(&id).map_or(0, |(_, spent)| *spent);
                *self.spent.entry(name).or_default() += spent - earlier;
            }
        }
    }

    /// Microseconds of one act.
    fn each(&self) -> f64 {
        self.by_threads("")
    }

    fn by_threads(&self, start: &str) -> f64 {
        let named = self.spent.iter().filter(|(name, _)| name.starts_with(start));
        let nanos: u64 = named.map(|(_, spent)| spent).sum();
        Duration::from_nanos(nanos).as_secs_f64() * 1e6 / number(self.count)
    }

    fn print(&self) {
        let rate = number(self.count) / self.took.as_secs_f64();
        print!("{:<18} {rate:>9.1} {:>9.1}  ", self.what, self.each());
        for name in self.spent.keys() {
            let each = self.by_threads(name);
            if each >= 0.5 {
                print!(" {name} {each:.1}");
            }
        }
        println!();
    }
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

/// All threads of this process: their names, and nanoseconds that each has been on a CPU.
fn threads() -> BTreeMap<u32, (String, u64)> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let read = tasks.filter_map(|task| {
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        let spent = fs::read_to_string(task.path().join("schedstat")).ok()?;
        let spent = spent.split(' ').next()?.parse().ok()?;
        Some((task.file_name().to_str()?.parse().ok()?, (name.trim().to_owned(), spent)))
    });
    read.collect()
}

/// One who calls over one TLS connection.
struct Caller {
    stream: StreamOwned<ClientConnection, TcpStream>,
    /// The refresh token of the last login or refresh.
    token: String,
}

impl Caller {
    fn connect(gateway: &Gateway, folder: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        let file = folder.join("certs/development.pem");
        for certificate in CertificateDer::pem_file_iter(file).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(gateway.addresses().https.unwrap()).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { stream: StreamOwned::new(tls, socket), token: String::new() }
    }

    fn log_in(&mut self) {
        let body = format!(r#"{{"username":"ada","password":"{PASSWORD}"}}"#);
        self.token = refresh_cookie(&self.ask("/auth/login", "", &body));
    }

    fn refresh(&mut self) {
        let field = format!("Cookie: __Host-sallyport_refresh={}\r\n", self.token);
        self.token = refresh_cookie(&self.ask("/auth/refresh", &field, "{}"));
    }

    fn mint(&mut self) {
        let body = format!(r#"{{"app_id":"quest","app_secret":"{SECRET}","user_id":"usr_demo"}}"#);
        self.ask("/auth/token", "", &body);
    }

    /// The head of the answer, which must be 200.
    fn ask(&mut self, path: &str, fields: &str, body: &str) -> String {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\n{fields}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).unwrap();
        let mut come = Vec::new();
        let mut piece = [0; 16 * 1024];
        loop {
            let count = self.stream.read(&mut piece).unwrap();
            assert!(count > 0, "the gateway closed instead of answering");
            come.extend_from_slice(&piece[..count]);
            let text = String::from_utf8_lossy(&come);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.unwrap().parse().unwrap();
            if body.len() >= length {
                assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {text}");
                return head.to_owned();
            }
        }
    }
}

fn refresh_cookie(head: &str) -> String {
    let (_, rest) = head.split_once("__Host-sallyport_refresh=").unwrap();
    rest.split(';').next().unwrap().to_owned()
}

/// Transactions of one row each on a file beside the gateway's, as durable as its own.
struct Bare {
    runtime: tokio::runtime::Runtime,
    connection: sqlx::SqliteConnection,
}

impl Bare {
    fn open(folder: &Path) -> Self {
        use sqlx::ConnectOptions as _;
        use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let connection = runtime.block_on(async {
            let options = SqliteConnectOptions::new()
                .filename(folder.join("bare.db"))
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .disable_statement_logging();
            let mut connection = options.connect().await.unwrap();
            let table = "CREATE TABLE one (id INTEGER PRIMARY KEY, turn INTEGER, text TEXT)";
            sqlx::query(table).execute(&mut connection).await.unwrap();
            let row = "INSERT INTO one VALUES (1, 0, hex(randomblob(100)))";
            sqlx::query(row).execute(&mut connection).await.unwrap();
            connection
        });
        Self { runtime, connection }
    }

    fn commit(&mut self) {
        self.runtime.block_on(async {
            let mut act = self.connection.begin().await.unwrap();
            let change = "UPDATE one SET turn = turn + 1 WHERE id = 1";
            sqlx::query(change).execute(&mut *act).await.unwrap();
            act.commit().await.unwrap();
        });
    }
}
