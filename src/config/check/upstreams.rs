//! The applications behind us.

use std::time::Duration;

use http::header::HeaderName;

use super::headers::{folded, free_name};
use super::times;
use super::{DAY, Findings, HOUR, MINUTE, SECOND};
use crate::config::file::{self, NameOrOff};
use crate::config::{
    Algorithm, Assertion, HostPolicy, IdentityHeaders, Origin, Server, Servers, Upstream,
    UpstreamHttp, UpstreamTls,
};

pub(super) fn upstream(
    index: usize,
    file: &file::Upstream,
    found: &mut Findings<'_>,
) -> Option<Upstream> {
    const LEAST: Duration = Duration::from_millis(10);
    let at = format!("upstream[{index}]");
    let key = |name: &str| format!("{at}.{name}");
    let before = found.problems.len();
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if file.name.is_empty() || file.name.len() > 64 || !file.name.bytes().all(fine) {
        let text = format!("{:?} is not 1 to 64 letters, digits, _ or -", file.name);
        found.wrong(&key("name"), text);
    }
    let servers = servers(&key("servers"), &file.servers, found);
    let (tls, http) = protocol(&at, file, found);
    let identity = identity(&key("identity"), &file.identity, found);
    let assertion = file.assertion.as_ref().map(|file| assertion(&key("assertion"), file, found));
    let own = own_names(&identity, assertion.as_ref().and_then(Option::as_ref));
    only_one_meaning(&at, &own, found);
    let allowed_names = allowed_names(&key("allowed_names"), &file.allowed_names, &own, found);
    let times = times::of_upstream(&at, file, found);
    let pool = (Duration::ZERO, HOUR);
    let pool_idle_timeout = found.period(&key("pool_idle_timeout"), &file.pool_idle_timeout, pool);
    let queue_wait = found.period(&key("queue_wait"), &file.queue_wait, (LEAST, MINUTE));
    let max_stream_age = file
        .max_stream_age
        .as_ref()
        .map(|age| found.period(&key("max_stream_age"), age, (Duration::from_secs(1), 30 * DAY)));
    if found.problems.len() > before {
        return None;
    }
    Some(Upstream {
        name: file.name.clone(),
        servers: servers?,
        tls,
        http,
        host: match file.host {
            file::HostPolicy::Preserve => HostPolicy::Preserve,
            file::HostPolicy::Server => HostPolicy::Server,
        },
        identity,
        assertion: assertion.flatten(),
        allowed_names,
        times: times?,
        pool_idle: usize::try_from(file.pool_idle).ok()?,
        pool_idle_timeout: pool_idle_timeout?,
        max_in_flight: usize::try_from(file.max_in_flight).ok()?,
        queue: usize::try_from(file.queue).ok()?,
        queue_wait: queue_wait?,
        max_stream_age: max_stream_age.flatten(),
    })
}

/// How its servers are spoken to.
fn protocol(
    at: &str,
    file: &file::Upstream,
    found: &mut Findings<'_>,
) -> (Option<UpstreamTls>, UpstreamHttp) {
    let key = |name: &str| format!("{at}.{name}");
    let secure = |one: &&String| one.get(..8).is_some_and(|s| s.eq_ignore_ascii_case("https://"));
    let https = file.servers.iter().filter(secure).count();
    if https > 0 && https < file.servers.len() {
        let hint = "make two upstreams of them";
        found.wrong_but(&key("servers"), "some are https and some are not", hint);
    }
    let tls = (https > 0).then(|| UpstreamTls {
        ca: file.tls.ca.as_ref().map(|path| found.base.join(path)),
        name: file.tls.name.clone(),
    });
    if tls.is_none() && (file.tls.ca.is_some() || file.tls.name.is_some()) {
        found.wrong(&key("tls"), "no server is https, so there is nobody to believe");
    }
    let http = match (file.http, &tls) {
        (Some(file::UpstreamHttp::One), _) | (None, None) => UpstreamHttp::One,
        (Some(file::UpstreamHttp::Two), _) => UpstreamHttp::Two,
        (Some(file::UpstreamHttp::Auto) | None, Some(_)) => UpstreamHttp::Auto,
        (Some(file::UpstreamHttp::Auto), None) => {
            let hint = "write \"1.1\" or \"2\", or https:// servers";
            found.wrong_but(&key("http"), "without TLS nothing can be agreed on", hint);
            UpstreamHttp::One
        }
    };
    if matches!(http, UpstreamHttp::Two) && file.servers.iter().any(|one| one == "demo") {
        found.wrong(&key("http"), "the demonstration speaks HTTP/1.1 only");
    }
    (tls, http)
}

/// Each name stands for one upstream.
pub(super) fn only_once(file: &[file::Upstream], found: &mut Findings<'_>) {
    for (index, upstream) in file.iter().enumerate() {
        let earlier = file.iter().take(index).position(|other| other.name == upstream.name);
        if let Some(earlier) = earlier {
            let text = format!("{:?} is the name of upstream[{earlier}] too", upstream.name);
            found.wrong(&format!("upstream[{index}].name"), text);
        }
    }
}

fn servers(key: &str, file: &[String], found: &mut Findings<'_>) -> Option<Servers> {
    if file.is_empty() {
        let hint = "write [\"http://127.0.0.1:3000\"], or [\"demo\"] for the demonstration";
        found.wrong_but(key, "names no server", hint);
        return None;
    }
    if file.iter().any(|one| one == "demo") {
        if file.len() > 1 {
            found.wrong(key, "\"demo\" stands alone");
        }
        return Some(Servers::Demo);
    }
    let mut servers: Vec<Server> = Vec::with_capacity(file.len());
    for (index, text) in file.iter().enumerate() {
        let key = format!("{key}[{index}]");
        match Origin::parse(text) {
            Some(Origin { host, port, .. }) if port > 0 => {
                let server = Server { host, port };
                if servers.contains(&server) {
                    found.wrong(&key, format!("{text:?} is there already"));
                }
                servers.push(server);
            }
            _ => found.wrong_but(
                &key,
                format!("{text:?} is not a server"),
                "write it as \"http://127.0.0.1:3000\", without a path",
            ),
        }
    }
    Some(Servers::Http(servers))
}

fn identity(key: &str, file: &file::Identity, found: &mut Findings<'_>) -> IdentityHeaders {
    let mut name = |field: &str, value: &NameOrOff| {
        let key = format!("{key}.{field}");
        match value {
            NameOrOff::Name(name) => free_name(&key, name, found),
            NameOrOff::Off(false) => None,
            NameOrOff::Off(true) => {
                found.wrong(&key, "true says no name; write the name, or false for none");
                None
            }
        }
    };
    IdentityHeaders {
        user: name("user", &file.user),
        id: name("id", &file.id),
        name: name("name", &file.name),
        email: name("email", &file.email),
        roles: name("roles", &file.roles),
        permissions: name("permissions", &file.permissions),
        session: name("session", &file.session),
        app: name("app", &file.app),
    }
}

fn assertion(key: &str, file: &file::Assertion, found: &mut Findings<'_>) -> Option<Assertion> {
    let header = free_name(&format!("{key}.header"), &file.header, found);
    let ttl = found.period(&format!("{key}.ttl"), &file.ttl, (SECOND, HOUR));
    let audience = &file.audience;
    if audience.is_empty() || audience.len() > 256 || audience.chars().any(char::is_control) {
        let text = "must have 1 to 256 bytes and no control characters";
        found.wrong(&format!("{key}.audience"), text);
        return None;
    }
    Some(Assertion {
        header: header?,
        audience: audience.clone(),
        ttl: ttl?,
        algorithm: Algorithm::from(file::Algorithm::from(file.algorithm)),
    })
}

/// The names under which an upstream learns who calls, folded.
pub(super) fn identity_names(upstream: Option<&Upstream>) -> Vec<String> {
    let Some(upstream) = upstream else { return Vec::new() };
    let own = own_names(&upstream.identity, upstream.assertion.as_ref());
    own.into_iter().map(|(_, name)| folded(name.as_str())).collect()
}

/// The headers that we set, with the key that names each.
fn own_names<'a>(
    identity: &'a IdentityHeaders,
    assertion: Option<&'a Assertion>,
) -> Vec<(&'static str, &'a HeaderName)> {
    [
        ("identity.user", identity.user.as_ref()),
        ("identity.id", identity.id.as_ref()),
        ("identity.name", identity.name.as_ref()),
        ("identity.email", identity.email.as_ref()),
        ("identity.roles", identity.roles.as_ref()),
        ("identity.permissions", identity.permissions.as_ref()),
        ("identity.session", identity.session.as_ref()),
        ("identity.app", identity.app.as_ref()),
        ("assertion.header", assertion.map(|assertion| &assertion.header)),
    ]
    .into_iter()
    .filter_map(|(key, name)| Some((key, name?)))
    .collect()
}

fn only_one_meaning(at: &str, own: &[(&str, &HeaderName)], found: &mut Findings<'_>) {
    for (index, (key, name)) in own.iter().enumerate() {
        let same =
            |(_, other): &&(&str, &HeaderName)| folded(other.as_str()) == folded(name.as_str());
        if let Some((other, _)) = own.iter().take(index).find(same) {
            found.wrong(&format!("{at}.{key}"), format!("{name} is the name of {other} too"));
        }
    }
}

fn allowed_names(
    key: &str,
    file: &[String],
    own: &[(&str, &HeaderName)],
    found: &mut Findings<'_>,
) -> Vec<HeaderName> {
    let mut names = Vec::with_capacity(file.len());
    for (index, text) in file.iter().enumerate() {
        let key = format!("{key}[{index}]");
        let Some(name) = free_name(&key, text, found) else { continue };
        let fold = folded(name.as_str());
        if fold.starts_with("x-auth-")
            || fold.starts_with("x-forwarded-")
            || own.iter().any(|(_, own)| folded(own.as_str()) == fold)
        {
            found.wrong(&key, format!("{text:?} could be read as a header of the gateway's own"));
        } else if !text.contains(['_', '.']) {
            found.wrong(&key, format!("{text:?} has no _ or . and is let through anyway"));
        } else {
            names.push(name);
        }
    }
    names
}
