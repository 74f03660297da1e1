//! Sessions, tokens, logins and passwords.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::endpoints::is_field_name;
use super::{DAY, Findings, MINUTE, SECOND, claims, secrets, show};
use crate::config::file;
use crate::config::{
    Algorithm, Characters, KeySource, Login, NameCase, Origin, Password, PathPattern, RefreshStyle,
    Remember, Segment, Session, Tokens, split_host_port,
};

/// The longest that browsers keep a cookie (RFC 6265bis section 5.5).
const COOKIE_MAX: Duration = Duration::from_hours(400 * 24);

pub(super) fn session(file: &file::Session, found: &mut Findings<'_>) -> Option<Session> {
    let access = found.period("session.access_ttl", &file.access_ttl, (SECOND, 31 * DAY));
    let refresh = found.period("session.refresh_ttl", &file.refresh_ttl, (SECOND, COOKIE_MAX));
    let idle = match &file.idle_ttl {
        Some(idle) => found.period("session.idle_ttl", idle, (SECOND, COOKIE_MAX)),
        None => refresh.map(|refresh| refresh.min(7 * DAY)),
    };
    let grace = match &file.reuse_grace {
        Some(grace) => found.period("session.reuse_grace", grace, (Duration::ZERO, 31 * DAY)),
        None => access.map(|access| (access / 2).min(30 * SECOND)),
    };
    let (access_ttl, mut refresh_ttl, mut idle_ttl, reuse_grace) =
        (access?, refresh?, idle?, grace?);
    if matches!(file.refresh, file::RefreshStyle::Off) {
        (refresh_ttl, idle_ttl) = (access_ttl, access_ttl);
    }
    let before = found.problems.len();
    if refresh_ttl < access_ttl {
        let text = format!("less than session.access_ttl ({})", show(access_ttl));
        found.wrong("session.refresh_ttl", text);
    } else if idle_ttl < access_ttl {
        let text = format!("less than session.access_ttl ({})", show(access_ttl));
        found.wrong("session.idle_ttl", text);
    }
    if idle_ttl > refresh_ttl {
        let text = format!("more than session.refresh_ttl ({})", show(refresh_ttl));
        found.wrong("session.idle_ttl", text);
    }
    if reuse_grace > access_ttl / 2 {
        let text = format!("more than half of session.access_ttl ({})", show(access_ttl));
        found.wrong("session.reuse_grace", text);
    }
    if found.problems.len() > before {
        return None;
    }
    if !file.rotate {
        let text = "a stolen refresh token works, unseen, until its session ends";
        found.warn("session.rotate", text, None);
    }
    if reuse_grace.is_zero() {
        let text = "second tabs and lost responses will be taken for theft";
        found.warn("session.reuse_grace", text, None);
    }
    Some(Session {
        access_ttl,
        refresh_ttl,
        idle_ttl,
        reuse_grace,
        rotate: file.rotate,
        refresh: match file.refresh {
            file::RefreshStyle::Silent => RefreshStyle::Silent,
            file::RefreshStyle::Explicit => RefreshStyle::Explicit,
            file::RefreshStyle::Off => RefreshStyle::Off,
        },
        jitter_percent: file.jitter,
    })
}

impl From<file::Algorithm> for Algorithm {
    fn from(of: file::Algorithm) -> Self {
        match of {
            file::Algorithm::Hs256 => Self::Hs256,
            file::Algorithm::Es256 => Self::Es256,
            file::Algorithm::EdDsa => Self::EdDsa,
        }
    }
}

/// RFC 7518 section 3.2: a key of at least the size of the hash.
const KEY_BYTES: usize = 32;

pub(super) fn token(
    file: &file::Token,
    public_url: Option<&Origin>,
    profile_claims: bool,
    found: &mut Findings<'_>,
) -> Option<Tokens> {
    let mut named = |key: &str, text: &Option<String>| match text {
        Some(text) if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) => {
            found.wrong(key, "must have 1 to 256 bytes and no control characters");
            None
        }
        Some(text) => Some(text.clone()),
        None => public_url.map(Origin::ascii),
    };
    let issuer = named("token.issuer", &file.issuer);
    let audience = named("token.audience", &file.audience);
    let keys = match &file.keys {
        file::Keys::Named(file::KeysNamed::Store) => Some(KeySource::Store),
        file::Keys::Secret(secret) => match secret.read(found.base) {
            Ok(secret) if secret.expose().len() >= KEY_BYTES => Some(KeySource::Fixed(secret)),
            Ok(secret) => {
                found.wrong_but(
                    "token.keys",
                    format!("has {} bytes, and needs at least {KEY_BYTES}", secret.expose().len()),
                    "make one with: openssl rand -base64 48",
                );
                None
            }
            Err(text) => {
                found.wrong("token.keys", text);
                None
            }
        },
    };
    let rotate_every = found.period("token.rotate_every", &file.rotate_every, (MINUTE, COOKIE_MAX));
    let algorithm = file.algorithm.into();
    let access_claims = claims::access(file.claims.as_ref(), found);
    let minted = claims::minted(&file.minted, audience.as_deref(), algorithm, found);
    Some(Tokens {
        issuer: issuer?,
        audience: audience?,
        algorithm,
        keys: keys?,
        rotate_every: rotate_every?,
        profile_claims,
        claims: access_claims?,
        minted: minted?,
    })
}

/// The base path of our own endpoints: literals only, and not the root.
pub(super) fn base(text: &str, found: &mut Findings<'_>) -> Option<PathPattern> {
    const KEY: &str = "login.base";
    let base = found.path_pattern(KEY, text)?;
    let named = |segment: &Segment| matches!(segment, Segment::Literal(name) if !name.is_empty());
    if base.segments.iter().all(named) {
        return Some(base);
    }
    let hint = "write it as \"/auth\", without a trailing slash";
    found.wrong_but(KEY, format!("{text:?} is not a plain path below /"), hint);
    None
}

pub(super) fn login(
    file: &file::Login,
    base: Option<&PathPattern>,
    public_url: Option<&Origin>,
    found: &mut Findings<'_>,
) -> Option<Login> {
    let before = found.problems.len();
    let fields = [
        ("login.identifier_field", &file.identifier_field),
        ("login.secret_field", &file.secret_field),
    ];
    for (key, field) in fields {
        if !is_field_name(field) {
            found.wrong(key, format!("{field:?} is not 1 to 64 letters, digits, _, - or ."));
        }
    }
    if file.identifier_field == file.secret_field {
        found.wrong("login.secret_field", "the same field as login.identifier_field");
    }
    let mut return_hosts = Vec::with_capacity(file.return_hosts.len());
    for (index, text) in file.return_hosts.iter().enumerate() {
        match split_host_port(text) {
            Some((host, None)) => return_hosts.push(host),
            Some((host, Some(port))) => return_hosts.push(format!("{host}:{port}")),
            None => found.wrong_but(
                &format!("login.return_hosts[{index}]"),
                format!("{text:?} is not a host"),
                "write host or host:port, without a scheme",
            ),
        }
    }
    let site_name = match &file.site_name {
        Some(name) => {
            let length = name.chars().count();
            if name.trim().is_empty() || length > 100 || name.chars().any(char::is_control) {
                let text = "must have 1 to 100 characters, none of them a control character";
                found.wrong("login.site_name", text);
            }
            Some(name.clone())
        }
        None => public_url.map(|url| url.host.clone()),
    };
    let name_characters = file.name_characters.as_deref().and_then(|text| {
        let read = Characters::read(text);
        read.map_err(|text| found.wrong("login.name_characters", text)).ok()
    });
    if found.problems.len() > before {
        return None;
    }
    Some(Login {
        base: base?.to_string(),
        identifier_field: file.identifier_field.clone(),
        secret_field: file.secret_field.clone(),
        case: match file.case {
            file::NameCase::Fold => NameCase::Fold,
            file::NameCase::Exact => NameCase::Exact,
        },
        remember: match file.remember {
            file::Remember::Ask => Remember::Ask,
            file::Remember::Always => Remember::Always,
            file::Remember::Never => Remember::Never,
        },
        return_hosts,
        site_name: site_name?,
        signup: file.signup,
        name_characters,
        reserved_names: file.reserved_names.clone(),
    })
}

/// KiB and passes of OWASP's equal choices for Argon2id with one lane.
const OWASP: [(u32, u32); 5] = [(47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4), (7_168, 5)];

pub(super) fn password(
    file: &file::Password,
    secret: &file::LoginSecret,
    cores: Option<NonZeroUsize>,
    found: &mut Findings<'_>,
) -> Option<Password> {
    let wait = found.period("password.wait", &file.wait, (Duration::ZERO, MINUTE));
    let bytes = found.size("password.memory", &file.memory, 8 << 10, 1 << 30);
    let threads = match file.threads {
        Some(threads) => usize::try_from(threads).ok().and_then(NonZeroUsize::new),
        None => cores.map(|cores| NonZeroUsize::new(cores.get() / 2).unwrap_or(NonZeroUsize::MIN)),
    };
    let bytes = bytes?;
    // RFC 9106 section 3.1: at least 8 KiB for each lane.
    if bytes % 1024 != 0 || bytes / 1024 < 8 * u64::from(file.parallelism) {
        let text = "must be whole KiB, at least 8 for each lane (password.parallelism)";
        found.wrong("password.memory", text);
        return None;
    }
    let memory_kib = u32::try_from(bytes / 1024).ok()?;
    let iterations = file.iterations;
    if !OWASP.iter().any(|(memory, passes)| memory_kib >= *memory && iterations >= *passes) {
        let text = "a weaker hash than OWASP asks for";
        let hint = "19MiB with 2 iterations is the least with which it fits".to_owned();
        found.warn("password.memory", text, Some(hint));
    }
    Some(Password {
        memory_kib,
        iterations,
        parallelism: file.parallelism,
        threads: threads?,
        queue: usize::try_from(file.queue).ok()?,
        wait: wait?,
        max_length: usize::try_from(file.max_length).ok()?,
        kind: secrets::kind(secret.kind),
        min_length: secrets::min_length(secret, file.max_length, found)?,
        blocklist: secrets::blocklist(secret, file, found)?,
    })
}
