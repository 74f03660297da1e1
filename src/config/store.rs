//! Where everything is kept.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::split_host_port;
use crate::secret::Secret;

/// `[store]`
#[derive(Debug, Clone)]
pub struct Store {
    /// The file, or the server.
    pub url: StoreUrl,
    /// The server without the pooler in front of it; never for SQLite.
    pub direct_url: Option<Secret<String>>,
    /// Seals the signing keys at rest. `None`: they are not.
    pub seal_key: Option<Secret<Vec<u8>>>,
    /// What may have sealed them before.
    pub retired_seal_keys: Vec<Secret<Vec<u8>>>,
    /// Connections of one replica to Postgres.
    pub connections: u32,
    /// How long an act may take, and how long it may wait for its turn.
    pub patience: Duration,
    /// For how long what is revoked elsewhere may go unheard.
    pub revocation_max_age: Duration,
}

impl Store {
    /// All defaults, at `url`.
    pub const fn at(url: StoreUrl) -> Self {
        Self {
            url,
            direct_url: None,
            seal_key: None,
            retired_seal_keys: Vec::new(),
            connections: 16,
            patience: Duration::from_secs(5),
            revocation_max_age: Duration::from_secs(300),
        }
    }
}

/// `[store] url`
#[derive(Debug, Clone)]
pub enum StoreUrl {
    /// One file, for one gateway.
    Sqlite(PathBuf),
    /// For many replicas. The URL may hold a password.
    Postgres(Secret<String>),
}

/// A text that names no store. No message repeats it: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadStoreUrl {
    /// Another scheme, or none.
    #[error("must begin with sqlite:// or postgres://")]
    Scheme,
    /// No path, or one with parameters.
    #[error("needs a plain path behind sqlite://")]
    Path,
    /// Not of the form of a Postgres URL.
    #[error("is not a Postgres URL")]
    Postgres,
}

impl BadStoreUrl {
    /// What to write instead.
    pub const fn hint(self) -> Option<&'static str> {
        match self {
            Self::Postgres => Some(
                "write it as postgres://USER:PASSWORD@HOST:PORT/NAME, special characters \
                 percent-encoded",
            ),
            Self::Scheme | Self::Path => None,
        }
    }
}

impl StoreUrl {
    /// Reads a URL; a relative file starts at `base`.
    ///
    /// # Errors
    /// See [`BadStoreUrl`].
    pub fn parse(url: Secret<String>, base: &Path) -> Result<Self, BadStoreUrl> {
        if let Some(path) = url.expose().strip_prefix("sqlite://") {
            if path.is_empty() || path.contains(['?', '#']) {
                return Err(BadStoreUrl::Path);
            }
            return Ok(Self::Sqlite(base.join(path)));
        }
        let rest = ["postgres://", "postgresql://"]
            .into_iter()
            .find_map(|scheme| url.expose().strip_prefix(scheme))
            .ok_or(BadStoreUrl::Scheme)?;
        if is_postgres(rest) { Ok(Self::Postgres(url)) } else { Err(BadStoreUrl::Postgres) }
    }
}

/// `[user[:password]@]host[:port][,host[:port]...]/name[?parameters]`; the host may be absent when a
/// parameter names the socket.
fn is_postgres(rest: &str) -> bool {
    let (main, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let Some((authority, name)) = main.split_once('/') else { return false };
    let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let hosts_fit = if hosts.is_empty() {
        parameters.split('&').any(|one| one.starts_with("host="))
    } else {
        hosts.split(',').all(|host| split_host_port(host).is_some())
    };
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    hosts_fit && !name.is_empty() && !name.contains('/') && !user.contains('@') && plain(rest)
}
