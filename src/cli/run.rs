//! `run` and `check`.

use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{CONFIG, Failure, output};
use crate::clock::Clock;
use crate::config::{Config, Endpoint};
use crate::endpoints::link_url;
use crate::gateway::{self, Addresses, Gateway};
use crate::observe;
use crate::session::Fitness;

pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let config = Config::load(path)?;
    observe::start_logging(&config.log).map_err(gateway::StartError::from)?;
    for warning in &config.warnings {
        tracing::warn!(key = %warning.key, "{warning}");
    }
    let public_url = config.listen.public_url.clone();
    let site = public_url.ascii();
    let login = config.shapes.path(Endpoint::LoginPage).map(str::to_owned);
    let setup_page = config.shapes.path(Endpoint::SetupPage).map(str::to_owned);
    let gateway = Gateway::start(config, Clock::system())?;
    let room = gateway.room().clone();
    // Before anything is said: who starts us may send the signal as soon as they have read it.
    let mut signals = room.block_on(async { Signals::new() })?;
    // Without a page for it there is no link to it.
    let setup = match setup_page {
        Some(page) => {
            let link = room.block_on(gateway.sessions().setup_link())?;
            link.map(|secret| link_url(&public_url, &page, &secret))
        }
        None => None,
    };
    greet(gateway.addresses(), &site, login.as_deref());
    if let Some(link) = setup {
        invite(path, &link);
    }
    let log = gateway.access_log();
    gateway.run(async move {
        loop {
            tokio::select! {
                _ = signals.term.recv() => return,
                _ = signals.int.recv() => return,
                _ = signals.hup.recv() => {
                    if let Some(log) = &log {
                        log.reopen();
                    }
                }
            }
        }
    });
    Ok(())
}

struct Signals {
    term: Signal,
    int: Signal,
    /// A rotated access log is to be opened anew.
    hup: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let on = |kind| {
            let failed = |source| Failure::Io { what: "signals cannot be waited for", source };
            signal(kind).map_err(failed)
        };
        Ok(Self {
            term: on(SignalKind::terminate())?,
            int: on(SignalKind::interrupt())?,
            hup: on(SignalKind::hangup())?,
        })
    }
}

/// Where to go, and how to get in.
fn greet(addresses: &Addresses, site: &str, login: Option<&str>) {
    let listed = [
        ("https", addresses.https),
        ("http, leads to https", addresses.http),
        ("http without TLS, for development on this machine only", addresses.dev_http),
        ("admin: /healthz /readyz /metrics", addresses.admin),
    ];
    output::note("sallyport is ready");
    for (what, address) in listed {
        if let Some(address) = address {
            output::note(format_args!("  {address}  {what}"));
        }
    }
    match (addresses.https, addresses.dev_http) {
        (None, Some(address)) => output::note(format_args!("  open     http://{address}/")),
        _ => output::note(format_args!("  open     {site}/")),
    }
    match login {
        Some(login) => output::note(format_args!("  log in   at {login}")),
        None => output::note("  log in   not by a page: endpoints.login_page is off"),
    }
}

/// How the first account comes into being.
fn invite(path: &Path, link: &str) {
    let config = match path == Path::new(CONFIG) {
        true => String::new(),
        false => format!(" --config {}", path.display()),
    };
    output::note(format_args!(
        "  nobody has an account yet; make the first one by this link, which works once and for \
         a day:\n    {link}\n  or in another terminal:\n    \
         sallyport user add NAME --permission admin{config}"
    ));
}

pub(super) fn check(path: &Path) -> Result<(), Failure> {
    let config = Config::load(path)?;
    Fitness::new(&config.password)?;
    let pages = gateway::pages(&config)?;
    for warning in &config.warnings {
        output::note(format_args!("warning: {}", warning.in_file(path)));
    }
    if let Some(fitted) = pages.fitted_accent() {
        output::note(format_args!("warning: {}: {fitted}", path.display()));
    }
    let count = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    };
    output::say(format_args!(
        "{}: {}, {}, {}",
        path.display(),
        count(config.routes.len(), "route"),
        count(config.upstreams.len(), "upstream"),
        count(config.warnings.len(), "warning"),
    ));
    Ok(())
}
