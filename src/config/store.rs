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
    /// A parameter that means nothing to us.
    #[error("has a parameter that is not known")]
    Parameter,
    /// An `sslmode` that Postgres does not know.
    #[error("has an sslmode that is none")]
    SslMode,
    /// A server that may be one which takes no writes.
    #[error("has target_session_attrs that would do with a server which takes no writes")]
    Attributes,
    /// A parameter that names a file.
    #[error("its {0} names a file that cannot be read ({1})")]
    File(&'static str, std::io::ErrorKind),
    /// The same, of a file that is something else.
    #[error("its {0} names a file that holds no {1}")]
    Content(&'static str, &'static str),
}

impl BadStoreUrl {
    /// What to write instead.
    pub const fn hint(self) -> Option<&'static str> {
        match self {
            Self::Postgres => Some(
                "write it as postgres://USER:PASSWORD@HOST:PORT/NAME, special characters \
                 percent-encoded",
            ),
            Self::Parameter => Some(
                "known are sslmode, sslrootcert, sslcert, sslkey, target_session_attrs, \
                 application_name, options, host, hostaddr, port, dbname, user and password",
            ),
            Self::SslMode => Some(
                "it is one of disable, allow, prefer, require, verify-ca and verify-full, and the \
                 last if it is left out",
            ),
            Self::Attributes => Some("the gateway has to write: make it read-write"),
            Self::Scheme | Self::Path | Self::File(..) | Self::Content(..) => None,
        }
    }
}

impl StoreUrl {
    /// Reads a URL; a relative file starts at `base`, and so do those that parameters name.
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
        if !is_postgres(rest) {
            return Err(BadStoreUrl::Postgres);
        }
        let Some((main, parameters)) = url.expose().split_once('?') else {
            return Ok(Self::Postgres(url));
        };
        let parameters = parameters_at(parameters, base)?;
        Ok(Self::Postgres(Secret::new(format!("{main}?{parameters}"))))
    }
}

/// The same parameters, each of which is known, with their files at `base`. A slip that the driver
/// passes over could cost the trust in the server.
fn parameters_at(text: &str, base: &Path) -> Result<String, BadStoreUrl> {
    const FILES: [(&str, &str); 3] =
        [("sslrootcert", "certificate"), ("sslcert", "certificate"), ("sslkey", "private key")];
    const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
    const OTHERS: [&str; 8] =
        ["application_name", "options", "host", "hostaddr", "port", "dbname", "user", "password"];
    let mut written = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        let file = FILES.into_iter().find(|(file, _)| *file == name);
        match (&*name, &*value) {
            ("sslmode", mode) if !MODES.contains(&mode) => return Err(BadStoreUrl::SslMode),
            ("sslmode", _) | ("target_session_attrs", "read-write" | "primary") => {}
            ("target_session_attrs", _) => return Err(BadStoreUrl::Attributes),
            (name, _) if OTHERS.contains(&name) || name.starts_with("options[") => {}
            _ if file.is_some() => {}
            _ => return Err(BadStoreUrl::Parameter),
        }
        match file {
            // A certificate may stand there itself.
            Some((file, content)) if !value.starts_with("-----BEGIN") => {
                let path = base.join(&*value);
                let unread = |error: std::io::Error| BadStoreUrl::File(file, error.kind());
                let text = std::fs::read(&path).map_err(unread)?;
                if !holds(&text, content) {
                    return Err(BadStoreUrl::Content(file, content));
                }
                written.append_pair(&name, &path.to_string_lossy());
            }
            _ => {
                written.append_pair(&name, &value);
            }
        }
    }
    Ok(written.finish())
}

/// Whether there is a block of PEM of this kind: the driver passes over a file without any.
fn holds(text: &[u8], content: &str) -> bool {
    let line = format!("{}-----", content.to_ascii_uppercase());
    text.windows(line.len()).any(|part| part == line.as_bytes())
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
