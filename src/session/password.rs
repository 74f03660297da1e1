//! Argon2id (RFC 9106) on threads of its own, behind a bounded queue with a bounded wait: a flood
//! of logins costs who sends it, memory is threads times parameter, and the cores go on serving.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::oneshot;

use super::foreign::{self, Bcrypt, ForeignError};
use super::opaque::prepared;
use crate::config;
use crate::secret::{self, NoRandomness, PasswordHash, Secret};

/// A password was neither hashed nor verified.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// The queue is full, or no thread became free in time. Nothing was computed.
    #[error("too many passwords are being checked")]
    Busy {
        /// When it may be worth another try.
        retry_after: Duration,
    },
    /// The stored hash is not an Argon2 PHC string: damaged, or from elsewhere.
    #[error("a stored password hash cannot be read: {0}")]
    Unreadable(#[source] argon2::password_hash::Error),
    /// The stored hash is of a kind from elsewhere, and not one that could be taken over.
    #[error("a stored password hash cannot be read: {0}")]
    Foreign(#[from] ForeignError),
    /// Argon2 refused or could not get its memory.
    #[error("the password could not be hashed: {0}")]
    Failed(#[source] argon2::password_hash::Error),
    /// The parameters of `[password]` are outside of what Argon2 takes.
    #[error("[password] is outside of what Argon2 allows: {0}")]
    Parameters(#[source] argon2::Error),
    /// No salt could be drawn.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The hashing threads have ended, or could not be started.
    #[error("the hashing threads do not run")]
    Stopped,
}

/// How passwords become hashes: the parameters of `[password]`, for callers that may block (the
/// command line). The gateway goes through [`Hashers`].
#[derive(Debug, Clone)]
pub struct Recipe {
    params: Params,
    max_length: usize,
}

impl Recipe {
    /// The recipe of `[password]`.
    ///
    /// # Errors
    /// `Parameters` if Argon2 does not take them.
    pub fn new(config: &config::Password) -> Result<Self, HashError> {
        let config::Password { memory_kib, iterations, parallelism, .. } = *config;
        let params = Params::new(memory_kib, iterations, parallelism, None)
            .map_err(HashError::Parameters)?;
        Ok(Self { params, max_length: config.max_length })
    }

    /// Whether `secret` is short enough to be looked at as a password. Longer ones are none of
    /// ours, and hashing them would be work on a stranger's order.
    pub fn plausible(&self, secret: &Secret<String>) -> bool {
        secret.expose().len() <= self.max_length
    }

    /// Hashes all of `secret`, in its one form, with a fresh salt. Takes tens of milliseconds
    /// and `memory_kib`.
    ///
    /// # Errors
    /// `Failed` or `NoRandomness`.
    pub fn hash(&self, secret: &Secret<String>) -> Result<PasswordHash, HashError> {
        let salt = secret::random::<16>()?;
        let hash: phc::PasswordHash = self
            .argon2()
            .hash_password_with_salt(prepared(secret).expose().as_bytes(), &salt)
            .map_err(HashError::Failed)?;
        Ok(PasswordHash::new(hash.to_string()))
    }

    /// Whether `secret` belongs to `hash`; compares in constant time.
    ///
    /// # Errors
    /// `Unreadable` or `Failed`.
    pub fn verify(&self, secret: &Secret<String>, hash: &PasswordHash) -> Result<bool, HashError> {
        if hash.expose().starts_with("$2") {
            return Ok(Bcrypt::read(hash.expose())?.is_of(secret));
        }
        let hash = phc::PasswordHash::new(hash.expose())
            .map_err(|error| HashError::Unreadable(error.into()))?;
        let prepared = prepared(secret);
        if self.compare(&prepared, &hash)? {
            return Ok(true);
        }
        // Elsewhere a password may have been hashed as it was typed. Whether this is asked depends
        // on what was typed, and not on the account.
        Ok(prepared != *secret && self.compare(secret, &hash)?)
    }

    fn compare(
        &self,
        secret: &Secret<String>,
        hash: &phc::PasswordHash,
    ) -> Result<bool, HashError> {
        match self.argon2().verify_password(secret.expose().as_bytes(), hash) {
            Ok(()) => Ok(true),
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(HashError::Unreadable(error)),
        }
    }

    /// Whether this recipe would make such a hash today; else it should be made anew when its
    /// password is next at hand.
    pub fn is_current(&self, hash: &PasswordHash) -> bool {
        let Ok(hash) = phc::PasswordHash::new(hash.expose()) else { return false };
        let same = |params: Params| {
            params.m_cost() == self.params.m_cost()
                && params.t_cost() == self.params.t_cost()
                && params.p_cost() == self.params.p_cost()
        };
        hash.hash.is_some()
            && hash.algorithm.as_str() == Algorithm::Argon2id.as_str()
            && hash.version == Some(Version::V0x13.into())
            && Params::try_from(&hash).is_ok_and(same)
    }

    fn argon2(&self) -> Argon2<'static> {
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone())
    }
}

/// The hashing threads and the queue before them.
pub struct Hashers {
    queue: Arc<Queue>,
    recipe: Recipe,
    /// A hash that no secret is known for: unknown names are verified against it, so that they
    /// cost what known ones do.
    nobody: PasswordHash,
    /// A hash of each other kind that accounts from elsewhere have.
    foreign: Mutex<Arc<[PasswordHash]>>,
    wait: Duration,
}

impl Hashers {
    /// Starts the threads, at lowered priority where the system lets us.
    ///
    /// # Errors
    /// The parameters are refused, or no thread could be started.
    pub fn start(config: &config::Password) -> Result<Self, HashError> {
        let recipe = Recipe::new(config)?;
        let unknowable = secret::random::<32>()?.map(|byte| char::from(b'a' + byte % 26));
        let nobody = recipe.hash(&Secret::new(unknowable.iter().collect()))?;
        let queue = Arc::new(Queue {
            line: Mutex::default(),
            arrived: Condvar::new(),
            most: config.queue.max(1),
        });
        let foreign = Mutex::new(Arc::from([]));
        let hashers = Self { queue, recipe, nobody, foreign, wait: config.wait };
        for number in 0..config.threads.get() {
            let queue = hashers.queue.clone();
            std::thread::Builder::new()
                .name(format!("hash-{number}"))
                .spawn(move || {
                    lower_priority();
                    queue.work();
                })
                .map_err(|_| HashError::Stopped)?;
        }
        Ok(hashers)
    }

    /// The recipe.
    pub const fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// What all hashes begin with that are made now.
    pub(super) fn own_prefix(&self) -> &str {
        foreign::prefix(&self.nobody)
    }

    /// Says of which other kinds there are hashes. While there are, every guess pays for one of
    /// each kind, so that its time does not tell which of them the account has, or whether there
    /// is such an account.
    pub(super) fn know(&self, others: &[PasswordHash]) {
        *self.foreign.lock().unwrap_or_else(PoisonError::into_inner) = others.into();
    }

    /// The hashes that a guess at an account is compared with: first its own, whose result counts,
    /// if there is one, then one of each other kind that there is.
    fn compared(&self, hash: Option<PasswordHash>) -> Vec<PasswordHash> {
        let foreign = Arc::clone(&self.foreign.lock().unwrap_or_else(PoisonError::into_inner));
        let mut all = vec![hash.unwrap_or_else(|| self.nobody.clone())];
        for other in std::iter::once(&self.nobody).chain(foreign.iter()) {
            if !all.iter().any(|one| foreign::kind(one) == foreign::kind(other)) {
                all.push(other.clone());
            }
        }
        all
    }

    /// Verifies `secret` against `hash`, or, for the same price and never rightly, against nobody's.
    ///
    /// # Errors
    /// `Busy`, or the hash cannot be read.
    pub async fn verify(
        &self,
        secret: Secret<String>,
        hash: Option<PasswordHash>,
    ) -> Result<bool, HashError> {
        let recipe = self.recipe.clone();
        let known = hash.is_some();
        let compared = self.compared(hash);
        let work = move || {
            let (own, others) = compared.split_first().ok_or(HashError::Stopped)?;
            let right = recipe.verify(&secret, own);
            // Who is let in is told so: only a refusal must not tell more.
            if !(known && matches!(right, Ok(true))) {
                for other in others {
                    // Paid for, and of no consequence.
                    recipe.verify(&secret, other).ok();
                }
            }
            right
        };
        Ok(self.run(work).await? && known)
    }

    /// Hashes `secret` with today's parameters.
    ///
    /// # Errors
    /// `Busy`, or Argon2 failed.
    pub async fn hash(&self, secret: Secret<String>) -> Result<PasswordHash, HashError> {
        let recipe = self.recipe.clone();
        self.run(move || recipe.hash(&secret)).await
    }

    /// Jobs that wait for a thread.
    pub fn waiting(&self) -> usize {
        self.queue.lock().jobs.len()
    }

    /// Runs `work` on a hashing thread, once it has its turn.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, HashError> {
        let busy = HashError::Busy { retry_after: self.wait.max(Duration::from_secs(1)) };
        let (begun, beginning) = oneshot::channel::<()>();
        let (done, outcome) = oneshot::channel();
        let job = Job {
            begun,
            work: Box::new(move || {
                // A waiter that left meanwhile is no error.
                let _ = done.send(work());
            }),
        };
        if !self.queue.push(job) {
            return Err(busy);
        }
        // Only the wait is bounded: work that has begun has had its price paid.
        match tokio::time::timeout(self.wait, beginning).await {
            Ok(Ok(())) => outcome.await.map_err(|_| HashError::Stopped)?,
            Ok(Err(_)) => Err(HashError::Stopped),
            Err(_) => Err(busy),
        }
    }
}

impl Drop for Hashers {
    fn drop(&mut self) {
        let mut line = self.queue.lock();
        line.closed = true;
        line.jobs.clear();
        drop(line);
        self.queue.arrived.notify_all();
    }
}

struct Job {
    /// Told when a thread takes the job up; closed when its waiter has gone.
    begun: oneshot::Sender<()>,
    work: Box<dyn FnOnce() + Send>,
}

struct Queue {
    line: Mutex<Line>,
    arrived: Condvar,
    most: usize,
}

#[derive(Default)]
struct Line {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Queue {
    /// Takes a job in unless the line is full of jobs that somebody still waits for.
    fn push(&self, job: Job) -> bool {
        let mut line = self.lock();
        if line.jobs.len() >= self.most {
            line.jobs.retain(|job| !job.begun.is_closed());
        }
        let room = line.jobs.len() < self.most && !line.closed;
        if room {
            line.jobs.push_back(job);
            self.arrived.notify_one();
        }
        room
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            // Nobody waits any more: the hash would be work for nothing.
            if job.begun.send(()).is_ok() {
                // One job's panic may not take a thread from all that come after.
                let _ = catch_unwind(AssertUnwindSafe(job.work));
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut line = self.lock();
        loop {
            if let Some(job) = line.jobs.pop_front() {
                return Some(job);
            }
            if line.closed {
                return None;
            }
            line = self.arrived.wait(line).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts the calling thread behind those that serve requests. Where the system does not let us, the
/// bound on threads has to do.
fn lower_priority() {
    // On Linux a nice value belongs to a thread, and its id names it.
    #[cfg(target_os = "linux")]
    if let Err(error) =
        rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS)
    {
        tracing::debug!(%error, "the priority of a hashing thread could not be lowered");
    }
}

/// Half way to the weakest: under load a hash gets about a tenth of what a serving thread does.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

#[cfg(test)]
mod tests;
