//! `File` -> [`Config`]: each text becomes a value in which the wrong thing cannot be written, and
//! what cannot become one is noted with its key. Nothing stops at the first problem.

mod access;
mod attempts;
mod audit;
mod captcha;
mod claims;
mod cookies;
mod credentials;
mod endpoints;
mod headers;
mod listen;
mod manners;
mod pages;
mod routes;
mod secrets;
mod store;
mod times;
mod upstreams;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::file::{File, Lines, Period, Quota, Size};
use super::{
    AccessLog, Config, Limits, Log, LogFormat, PathPattern, Problem, Quota as CheckedQuota, file,
    log_filter,
};

/// Checks all of `file`; relative paths start at `base`. `strange` is what was struck out of it.
///
/// # Errors
/// All problems, the strange ones among them, in the order of the file. What may only follow from a
/// strange one is left out.
pub(super) fn check(
    file: File,
    lines: Lines,
    strange: Vec<Problem>,
    base: &Path,
) -> Result<Config, Vec<Problem>> {
    let mut found = Findings { lines, base, problems: Vec::new(), warnings: Vec::new() };
    let config = assemble(file, &mut found);
    found.problems.retain(|problem| !found.lines.doubts(&problem.key));
    found.problems.extend(strange);
    found.problems.sort_by_key(|problem| problem.line);
    found.warnings.sort_by_key(|problem| problem.line);
    match config {
        Some(config) if found.problems.is_empty() => {
            Ok(Config { warnings: found.warnings, ..config })
        }
        _ => Err(found.problems),
    }
}

/// Runs every check before it gives up on any, so that all problems are found.
fn assemble(file: File, found: &mut Findings<'_>) -> Option<Config> {
    let dev = file.listen.dev_http.is_some();
    let base = credentials::base(&file.login.base, found);
    let listen = listen::listen(&file.listen, file.tls.is_some(), found);
    let public_url = listen.as_ref().map(|listen| &listen.public_url);
    let shapes = endpoints::shapes(&file, base.as_ref(), found);
    let tls = listen::tls(file.tls, found);
    let store = store::store(&file.store, found);
    let session = credentials::session(&file.session, found);
    let refresh_path = cookies::refresh_path(file.session.refresh, base.as_ref(), shapes.as_ref());
    let cookies = cookies::cookies(&file.cookies, refresh_path, public_url, dev, found);
    let upstreams: Vec<Option<_>> = file
        .upstream
        .iter()
        .enumerate()
        .map(|(index, upstream)| upstreams::upstream(index, upstream, found))
        .collect();
    upstreams::only_once(&file.upstream, found);
    let asked = file.token.claims.as_ref();
    let profile_claims = upstreams
        .iter()
        .flatten()
        .any(|upstream| upstream.identity.name.is_some() || upstream.identity.email.is_some())
        || asked.is_some_and(|claims| claims.name.is_some() || claims.email.is_some());
    let token = credentials::token(&file.token, public_url, profile_claims, found);
    let login = credentials::login(&file.login, base.as_ref(), public_url, found);
    let cores = listen.as_ref().map(|listen| listen.cores);
    let password = credentials::password(&file.password, &file.login.secret, cores, found);
    let pages = pages::pages(&file.pages, found);
    let csrf = access::csrf(&file.csrf, found);
    let attempts = attempts::attempts(&file.attempts, found);
    if let (Some(password), Some(attempts)) = (&password, &attempts) {
        secrets::weigh(password, attempts, found);
    }
    let captcha = captcha::captcha(file.captcha.as_ref(), &file.listen, found);
    let limits = limits(&file.limits, found);
    let body_bytes = limits.as_ref().map_or(0, |limits| limits.body_bytes);
    let names: Vec<&str> = file.upstream.iter().map(|upstream| upstream.name.as_str()).collect();
    let identity: Vec<Vec<String>> =
        upstreams.iter().map(|one| upstreams::identity_names(one.as_ref())).collect();
    let site = manners::Site {
        allowed_origins: &file.csrf.allowed_origins,
        framed: matches!(file.cookies.same_site, file::SameSite::None),
        identity: &identity,
    };
    let times: Vec<_> = upstreams.iter().map(|one| Some(one.as_ref()?.times)).collect();
    let general = routes::General { upstreams: &names, times: &times, body_bytes, site };
    let routes = routes::routes(&file.route, &general, base.as_ref(), found);
    if let (Some(token), Some(routes)) = (&token, &routes) {
        claims::can_be_met(token, routes, found);
    }
    let expects = routes::expects(&file.expect, found);
    let log = log(&file.log, found);
    let audit = audit::audit(&file.audit, found);
    Some(Config {
        listen: listen?,
        tls: tls?,
        store: store?,
        session: session?,
        cookies: cookies?,
        token: token?,
        login: login?,
        shapes: shapes?,
        password: password?,
        pages: pages?,
        csrf: csrf?,
        attempts: attempts?,
        captcha: captcha?,
        limits: limits?,
        upstreams: upstreams.into_iter().map(|one| one.map(Arc::new)).collect::<Option<_>>()?,
        routes: routes?,
        log: log?,
        audit: audit?,
        expects: expects?,
        warnings: Vec::new(),
    })
}

/// What was found so far.
struct Findings<'a> {
    lines: Lines,
    /// The folder that relative paths start at.
    base: &'a Path,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Findings<'_> {
    fn wrong(&mut self, key: &str, text: impl Into<String>) {
        self.note(key, text.into(), None);
    }

    fn wrong_but(&mut self, key: &str, text: impl Into<String>, hint: impl Into<String>) {
        self.note(key, text.into(), Some(hint.into()));
    }

    fn note(&mut self, key: &str, text: String, hint: Option<String>) {
        let line = self.lines.of(key);
        self.problems.push(Problem { key: key.to_owned(), line, text, hint });
    }

    fn warn(&mut self, key: &str, text: impl Into<String>, hint: Option<String>) {
        let line = self.lines.of(key);
        self.warnings.push(Problem { key: key.to_owned(), line, text: text.into(), hint });
    }

    /// A duration between two others, both included.
    fn period(
        &mut self,
        key: &str,
        period: &Period,
        bounds: (Duration, Duration),
    ) -> Option<Duration> {
        let Some(read) = period.read() else {
            let text = format!("{:?} is not a duration", period.text());
            self.wrong_but(key, text, "write it as \"30s\", \"5m\", \"12h\" or \"30d\"");
            return None;
        };
        let (least, most) = bounds;
        if read < least {
            self.wrong(key, format!("{} is less than {}", period.text(), show(least)));
            return None;
        }
        if read > most {
            self.wrong(key, format!("{} is more than {}", period.text(), show(most)));
            return None;
        }
        Some(read)
    }

    /// A number of bytes between two others, both included.
    fn size(&mut self, key: &str, size: &Size, least: u64, most: u64) -> Option<u64> {
        let Some(read) = size.read() else {
            let text = format!("{:?} is not a size", size.text());
            self.wrong_but(key, text, "write it as \"512B\", \"64KiB\", \"10MiB\" or \"1GiB\"");
            return None;
        };
        if read < least || read > most {
            let text = format!("{} is not from {least} to {most} bytes", size.text());
            self.wrong(key, text);
            return None;
        }
        Some(read)
    }

    /// A size of something that is held in memory.
    fn memory(&mut self, key: &str, size: &Size, least: u64, most: u64) -> Option<usize> {
        self.size(key, size, least, most).and_then(|bytes| usize::try_from(bytes).ok())
    }

    fn quota(&mut self, key: &str, quota: &Quota) -> Option<CheckedQuota> {
        let per = self.period(&format!("{key}.per"), &quota.per, (SECOND, 7 * DAY));
        // The schema has refused 0 already.
        Some(CheckedQuota { count: quota.count.try_into().ok()?, per: per? })
    }

    fn address(&mut self, key: &str, text: &str) -> Option<SocketAddr> {
        let address = text.parse().ok();
        if address.is_none() {
            let text = format!("{text:?} is not an address with a port");
            self.wrong_but(key, text, "write it as \"0.0.0.0:8443\" or \"[::]:8443\"");
        }
        address
    }

    fn path_pattern(&mut self, key: &str, text: &str) -> Option<PathPattern> {
        PathPattern::parse(text).map_err(|error| self.wrong(key, error.to_string())).ok()
    }
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// In the largest unit that it is whole in.
fn show(period: Duration) -> String {
    let seconds = period.as_secs();
    if period.subsec_nanos() > 0 {
        return format!("{}ms", period.as_millis());
    }
    for (unit, name) in [(DAY, "d"), (HOUR, "h"), (MINUTE, "m")] {
        let unit = unit.as_secs();
        if seconds > 0 && seconds.is_multiple_of(unit) {
            return format!("{}{name}", seconds / unit);
        }
    }
    format!("{seconds}s")
}

fn limits(file: &file::Limits, found: &mut Findings<'_>) -> Option<Limits> {
    const SHORT: (Duration, Duration) = (Duration::from_millis(100), MINUTE);
    let handshake_timeout =
        found.period("limits.handshake_timeout", &file.handshake_timeout, SHORT);
    let header_timeout = found.period("limits.header_timeout", &file.header_timeout, SHORT);
    let keep_alive_timeout =
        found.period("limits.keep_alive_timeout", &file.keep_alive_timeout, (SECOND, HOUR));
    let header_bytes = found.memory("limits.header_bytes", &file.header_bytes, 8 << 10, 256 << 10);
    let body_bytes = found.size("limits.body_bytes", &file.body_bytes, 0, u64::MAX);
    let own_body_bytes =
        found.memory("limits.own_body_bytes", &file.own_body_bytes, 1 << 10, 1 << 20);
    let own_body_timeout = found.period("limits.own_body_timeout", &file.own_body_timeout, SHORT);
    let write_stall_timeout =
        found.period("limits.write_stall_timeout", &file.write_stall_timeout, (SECOND, HOUR));
    let window = |key: &str, size: &Size, least: u64, found: &mut Findings<'_>| {
        found.size(key, size, least, 64 << 20).and_then(|bytes| u32::try_from(bytes).ok())
    };
    let h2_stream_window =
        window("limits.h2_stream_window", &file.h2_stream_window, 16 << 10, found);
    let h2_connection_window =
        window("limits.h2_connection_window", &file.h2_connection_window, 64 << 10, found);
    let body_min_rate = found.size("limits.body_min_rate", &file.body_min_rate, 0, 1 << 30);
    let body_stall_timeout =
        found.period("limits.body_stall_timeout", &file.body_stall_timeout, (SECOND, HOUR));
    Some(Limits {
        connections: usize::try_from(file.connections).ok()?,
        connections_per_network: usize::try_from(file.connections_per_network).ok()?,
        handshake_timeout: handshake_timeout?,
        header_timeout: header_timeout?,
        keep_alive_timeout: keep_alive_timeout?,
        header_bytes: header_bytes?,
        header_count: usize::try_from(file.header_count).ok()?,
        body_bytes: body_bytes?,
        own_body_bytes: own_body_bytes?,
        own_body_timeout: own_body_timeout?,
        requests_per_connection: file.requests_per_connection,
        h2_streams: file.h2_streams,
        h2_stream_window: h2_stream_window?,
        h2_connection_window: h2_connection_window?,
        h2_resets: file.h2_resets,
        h2_empty_frames: file.h2_empty_frames,
        write_stall_timeout: write_stall_timeout?,
        body_min_rate: body_min_rate?,
        body_stall_timeout: body_stall_timeout?,
    })
}

fn log(file: &file::Log, found: &mut Findings<'_>) -> Option<Log> {
    if let Err(error) = log_filter(&file.level) {
        let hint = "write \"info\" or \"info,sallyport=debug\"";
        found.wrong_but("log.level", error.to_string(), hint);
    }
    Some(Log {
        level: file.level.clone(),
        format: match file.format {
            file::LogFormat::Text => LogFormat::Text,
            file::LogFormat::Json => LogFormat::Json,
        },
        access: match &file.access {
            file::AccessLog::Named(file::AccessLogNamed::Stdout) => AccessLog::Stdout,
            file::AccessLog::Named(file::AccessLogNamed::Off) => AccessLog::Off,
            file::AccessLog::File(file) => AccessLog::File(found.base.join(&file.file)),
        },
    })
}
