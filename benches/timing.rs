//! Does time tell who exists? Logins of known against unknown accounts, and apps with a wrong
//! secret against apps that do not exist, in turns that chance decides, compared statistically.
//!
//! `cargo bench --bench timing`; the figures are in `docs/TIMING.md`. It ends with 1 if a pair
//! differs by more than the program itself could explain.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic, reason = "a program for people")]

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use sallyport::clock::{Clock, Stopwatch};
use sallyport::config::{Config, NameCase};
use sallyport::id::UserId;
use sallyport::secret::Secret;
use sallyport::session::{
    AppError, AppProof, Attempt, LoginError, MintRequest, Parts, Recipe, Sessions, Settings,
    keep_app_secret, login_key, new_app_secret,
};
use sallyport::store::apps::App;
use sallyport::store::rows::User;
use sallyport::store::{self, Store};

/// Pairs of logins: each costs two hashes.
const LOGINS: usize = 400;
/// Pairs of mints.
const MINTS: usize = 50_000;
/// Accounts and apps that exist, so that a look-up has something to look through.
const KNOWN: usize = 1000;
/// Guesses that the limits allow: none is to be refused here.
const CONFIG: &str = "[listen]\ndev_http = \"127.0.0.1:0\"\n\
    [attempts]\nper_account_and_network = { count = 1000000, per = \"1s\" }\n\
    per_network = { count = 1000000, per = \"1s\" }\nper_account = { count = 1000000, per = \"1s\" }\n\
    [[upstream]]\nname = \"app\"\nservers = [\"demo\"]\n[[route]]\npath = \"/**\"\n";

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn main() -> ExitCode {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::parse(CONFIG, &folder.path().join("gateway.toml")).unwrap();
    let room = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let fine = room.block_on(async {
        let sessions = prepare(folder.path(), &config).await;
        println!("microseconds            known                    unknown");
        println!("               median      mean       sd   median      mean       sd   difference of means      t");
        let logins = compare(LOGINS, async |known, turn| log_in(&sessions, known, turn).await).await;
        let mints = compare(MINTS, async |known, turn| mint(&sessions, known, turn).await).await;
        // What is hashed costs tens of milliseconds: a hundredth of that is lost in any network. Of
        // a proof, which costs microseconds, half of one is: docs/TIMING.md says what it takes to
        // see it.
        tell("login", &logins, logins.known.mean() / 100.0) & tell("mint", &mints, 0.5)
    });
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn prepare(folder: &Path, config: &Config) -> Arc<Sessions> {
    let clock = Clock::system();
    let store: Arc<dyn Store> = store::open(&config.store).await.unwrap();
    assert!(folder.join("data").exists(), "the store is made beside the config");
    // One hash for all: what is looked up is the name.
    let recipe = Recipe::new(&config.password).unwrap();
    let hash = recipe.hash(&Secret::new("the right password of all".to_owned())).unwrap();
    let now = clock.now();
    for number in 0..KNOWN {
        let login = format!("known-{number:04}");
        let user = User {
            id: UserId::generate(now).unwrap(),
            login_key: login_key(&login, NameCase::Fold).unwrap(),
            login,
            name: None,
            email: None,
            roles: Vec::new(),
            permissions: Vec::new(),
            password: Some(hash.clone()),
            disabled: false,
            created_at: now,
        };
        store.add_user(&user).await.unwrap();
        let app = App {
            id: format!("known-{number:04}").parse().unwrap(),
            name: None,
            secrets: vec![keep_app_secret(&new_app_secret().unwrap(), now).unwrap()],
            roles: Vec::new(),
            permissions: vec!["read".to_owned(), "write".to_owned()],
            disabled: false,
            created_at: now,
        };
        store.add_app(&app).await.unwrap();
    }
    let room = tokio::runtime::Handle::current();
    let settings = Settings::of(config);
    Sessions::start(Parts { store, clock, room, settings, captcha: None }).await.unwrap()
}

/// Names of one length, whether they are known or not.
fn name(known: bool, turn: usize) -> String {
    let stem = if known { "known" } else { "other" };
    format!("{stem}-{:04}", turn % KNOWN)
}

async fn log_in(sessions: &Arc<Sessions>, known: bool, turn: usize) {
    let attempt = Attempt {
        identifier: name(known, turn),
        secret: Secret::new("a wrong password of some length".to_owned()),
        client: CLIENT,
        user_agent: String::new(),
        remember: false,
        pending: None,
        replaces: None,
        device: None,
        captcha: None,
    };
    let refused = sessions.log_in(attempt).await;
    assert!(matches!(refused, Err(LoginError::Refused(_))), "{refused:?}");
}

async fn mint(sessions: &Sessions, known: bool, turn: usize) {
    let proof = AppProof {
        app: name(known, turn),
        secret: Secret::new("K7gNU3sdo-OL0wNhqoVWhr3g6s1xYv72mEh2Wq4ZpQ0".to_owned()),
        client: CLIENT,
    };
    let request =
        MintRequest { subject: "usr_demo".to_owned(), roles: None, permissions: None, ttl: None };
    let refused = sessions.mint(&proof, request).await;
    assert!(matches!(refused, Err(AppError::Refused(_))), "{refused:?}");
}

struct Pair {
    known: Sample,
    unknown: Sample,
}

/// Does `act` for a known and an unknown name, in an order that chance decides each time.
async fn compare(pairs: usize, act: impl AsyncFn(bool, usize)) -> Pair {
    let chance = RandomState::new();
    let mut pair = Pair { known: Sample::default(), unknown: Sample::default() };
    for turn in 0..pairs + pairs / 10 {
        let first = chance.hash_one(turn) % 2 == 0;
        for known in [first, !first] {
            let watch = Stopwatch::start();
            act(known, turn).await;
            let took = watch.elapsed();
            // The first tenth warms up.
            if turn >= pairs / 10 {
                let sample = if known { &mut pair.known } else { &mut pair.unknown };
                sample.0.push(took);
            }
        }
    }
    pair
}

#[derive(Default)]
struct Sample(Vec<Duration>);

impl Sample {
    /// Without the slowest twentieth, which is the machine's business and not the program's.
    fn trimmed(&self) -> Vec<f64> {
        let mut micros: Vec<f64> = self.0.iter().map(|took| took.as_secs_f64() * 1e6).collect();
        micros.sort_by(f64::total_cmp);
        micros.truncate(micros.len() - micros.len() / 20);
        micros
    }

    fn mean(&self) -> f64 {
        let all = self.trimmed();
        all.iter().sum::<f64>() / count(&all)
    }

    fn variance(&self) -> f64 {
        let (all, mean) = (self.trimmed(), self.mean());
        all.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / (count(&all) - 1.0)
    }

    fn median(&self) -> f64 {
        let all = self.trimmed();
        all.get(all.len() / 2).copied().unwrap_or_default()
    }
}

fn count(all: &[f64]) -> f64 {
    f64::from(u32::try_from(all.len()).unwrap_or(u32::MAX))
}

/// Prints a row; whether the means differ by less than `most` microseconds, or not significantly.
fn tell(what: &str, pair: &Pair, most: f64) -> bool {
    let Pair { known, unknown } = pair;
    let difference = known.mean() - unknown.mean();
    // Welch's t.
    let error = (known.variance() / count(&known.trimmed())
        + unknown.variance() / count(&unknown.trimmed()))
    .sqrt();
    let t = difference / error;
    print!("{what:<10}");
    for sample in [known, unknown] {
        let sd = sample.variance().sqrt();
        print!(" {:>10.2} {:>9.2} {:>8.2}", sample.median(), sample.mean(), sd);
    }
    println!(" {difference:>12.3} +- {:<8.3} {t:>6.2}", 2.0 * error);
    difference.abs() < most || t.abs() < 3.0
}
