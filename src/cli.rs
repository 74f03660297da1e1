//! The command line. The only room that prints. Tables for people, `--json` for programs; what went
//! wrong goes to standard error, with an exit code that scripts can tell apart.

mod apps;
mod audit;
mod import;
mod init;
mod keys;
mod links;
mod manual;
mod output;
mod run;
mod sessions;
mod stores;
mod users;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};

use crate::clock::{Clock, Timestamp};
use crate::config::{Config, ConfigError};
use crate::gateway;
use crate::session::{
    AccountError, BadAppId, BadName, BlocklistError, HashError, Unfit, WeakSecret, login_key,
};
use crate::store::rows::User;
use crate::store::{self, Store, StoreError};

/// Where the config is, unless somebody says otherwise.
const CONFIG: &str = "gateway.toml";

/// A session-based auth gateway and TLS-terminating reverse proxy.
#[derive(Debug, Parser)]
#[command(name = "sallyport", version, max_term_width = 100)]
struct Arguments {
    /// The config file.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "SALLYPORT_CONFIG",
        default_value = CONFIG
    )]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the gateway. This is what happens without a command, too.
    Run,
    /// Reads the config and says everything that is wrong with it, without starting anything.
    Check,
    /// Writes a first config: asks, or takes what the flags say.
    Init(init::InitArguments),
    /// Accounts.
    #[command(subcommand)]
    User(users::UserCommand),
    /// One-time links that nobody has used.
    #[command(subcommand, alias = "link")]
    Links(links::LinksCommand),
    /// Logins.
    #[command(subcommand)]
    Session(sessions::SessionCommand),
    /// What happened to accounts, sessions, apps, links and keys.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Signing keys.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Prints a script that completes these commands in a shell.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    /// Writes the manual pages of all commands.
    Man {
        /// The folder to write them to, such as /usr/local/share/man/man1. It must exist.
        folder: PathBuf,
    },
    /// Brings the store's schema up to date, which a gateway does at its start, too: for roles that
    /// may not, and for an upgrade in steps.
    Migrate,
    /// Writes a copy of the SQLite file while the gateway runs.
    Backup {
        /// The new file.
        file: PathBuf,
    },
    /// The store as a whole.
    #[command(subcommand)]
    Store(stores::StoreCommand),
    /// Machines that may mint tokens for their users.
    #[command(subcommand)]
    App(apps::AppCommand),
    /// Single tokens.
    #[command(subcommand)]
    Token(apps::TokenCommand),
}

/// How results are shown.
#[derive(Debug, Clone, Copy, Args)]
struct Shown {
    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// What went wrong, and the exit code that says of what kind it was.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The config is wrong: 78, `EX_CONFIG` of sysexits.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The gateway cannot start: 69, `EX_UNAVAILABLE`, but for what the config caused.
    #[error(transparent)]
    Start(#[from] gateway::StartError),
    /// The store did not do it: 69.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was done could not be written down: 69.
    #[error("it is done, but the audit log has no record of it: {0}")]
    NotNoted(#[source] StoreError),
    /// A name that no account can have: 65, `EX_DATAERR`.
    #[error("the name cannot be used: {0}")]
    Name(#[from] BadName),
    /// A password that breaks the rules: 65.
    #[error("the password cannot be used: {0}")]
    Password(#[from] Unfit),
    /// The operator's list of passwords is of no use: 78.
    #[error(transparent)]
    Blocklist(#[from] BlocklistError),
    /// A file of accounts with lines that cannot be taken: 65.
    #[error("{0}")]
    Import(import::Problems),
    /// The link for the first account could not be made: 69.
    #[error("the link for the first account could not be made: {0}")]
    Setup(#[from] AccountError),
    /// What no app can be called: 65.
    #[error(transparent)]
    App(#[from] BadAppId),
    /// A secret that no app should have: 65.
    #[error("the secret cannot be used: {0}")]
    Secret(#[from] WeakSecret),
    /// 70, `EX_SOFTWARE`.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// 70.
    #[error(transparent)]
    NoRandomness(#[from] crate::secret::NoRandomness),
    /// The terminal, a pipe or a thread: 74, `EX_IOERR`.
    #[error("{what}: {source}")]
    Io { what: &'static str, source: std::io::Error },
    /// Nothing of that name: 1.
    #[error("{0}")]
    NotFound(String),
    /// What was asked for makes no sense: 64, `EX_USAGE`.
    #[error("{0}")]
    Usage(String),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Blocklist(_) => 78,
            Self::Start(
                gateway::StartError::Tls(_)
                | gateway::StartError::Log(_)
                | gateway::StartError::Pages(_),
            ) => 78,
            Self::Start(_) | Self::Setup(_) | Self::NotNoted(_) => 69,
            Self::Store(StoreError::Unavailable(_)) => 69,
            Self::Store(_) | Self::NotFound(_) => 1,
            Self::Name(_)
            | Self::Password(_)
            | Self::Import(_)
            | Self::App(_)
            | Self::Secret(_) => 65,
            Self::Hash(_) | Self::NoRandomness(_) => 70,
            Self::Io { .. } => 74,
            Self::Usage(_) => 64,
        }
    }
}

/// Does what the arguments say; the exit code tells how it went.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match obey(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure);
            ExitCode::from(failure.code())
        }
    }
}

fn obey(arguments: Arguments) -> Result<(), Failure> {
    let path = arguments.config;
    match arguments.command.unwrap_or(Command::Run) {
        Command::Run => run::run(&path),
        Command::Check => run::check(&path),
        Command::User(command) => Desk::open(&path)?.users(command),
        Command::Links(command) => Desk::open(&path)?.links(command),
        Command::Session(command) => Desk::open(&path)?.sessions(command),
        Command::Audit(command) => Desk::open(&path)?.audit(command),
        Command::Keys(command) => Desk::open(&path)?.keys(command),
        Command::Init(arguments) => init::init(&path, arguments),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { folder } => manual::man(&folder),
        Command::Migrate => Desk::open(&path).map(|_desk| Desk::migrated()),
        Command::Backup { file } => Desk::open(&path)?.backup(&file),
        Command::Store(command) => stores::copy_store(command),
        Command::App(command) => Desk::open(&path)?.apps(command),
        Command::Token(command) => Desk::open(&path)?.tokens(command),
    }
}

/// The store, opened for a command beside a gateway that may be running.
struct Desk {
    config: Config,
    store: Arc<dyn Store>,
    room: tokio::runtime::Runtime,
    now: Timestamp,
}

/// Where the store is spoken to.
fn room() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|source| Failure::Io { what: "a runtime could not be made", source })
}

/// The present moment, by the clock that the replicas share: what is cut off now was issued by theirs.
async fn present(store: &dyn Store) -> Result<Timestamp, StoreError> {
    Ok(store.shared_clock().await?.unwrap_or_else(|| Clock::system().now()))
}

impl Desk {
    fn open(path: &std::path::Path) -> Result<Self, Failure> {
        let config = Config::load(path)?;
        let room = room()?;
        let store = room.block_on(store::open(&config.store))?;
        let now = room.block_on(present(&*store))?;
        Ok(Self { config, store, room, now })
    }

    /// Makes a change, and one that `cuts_off` tokens once more, as of a moment after it was made: until then
    /// gateways issue on the old terms, and that is to be cut off as well.
    fn make<T, F>(&self, cuts_off: bool, change: impl Fn(Timestamp) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        self.room.block_on(async {
            let made = change(self.now).await?;
            match cuts_off {
                true => Ok(change(present(&*self.store).await?).await?),
                false => Ok(made),
            }
        })
    }

    /// The account with this name, or a failure that says so.
    fn user(&self, name: &str) -> Result<User, Failure> {
        let key = login_key(name, self.config.login.case)?;
        let found = self.room.block_on(self.store.user_by_login(&key))?;
        found.ok_or_else(|| Failure::NotFound(format!("there is no user {name:?}")))
    }

    /// Until when what is revoked at `now` must be remembered.
    fn revoked_until(&self, now: Timestamp) -> Timestamp {
        crate::session::revoked_until(&self.config.session, now)
    }
}
