//! Who may do what: access, permissions, the CSRF guard.

use http::StatusCode;
use http::header::{HeaderName, HeaderValue};

use super::Findings;
use super::headers::free_name;
use crate::config::file;
use crate::config::{Access, Csrf, CsrfSignal, Origin};

/// What a route asks.
pub(super) fn access(key: &str, file: &file::Access, found: &mut Findings<'_>) -> Option<Access> {
    match file {
        file::Access::Named(file::AccessNamed::Public) => Some(Access::Public),
        file::Access::Named(file::AccessNamed::Optional) => Some(Access::Optional),
        file::Access::Named(file::AccessNamed::Required) => {
            Some(Access::Required { permissions: Vec::new(), roles: Vec::new() })
        }
        file::Access::Holding(asked) => {
            // An empty list asks for nothing, which is rarely what its author believes.
            if asked.permissions.is_empty() && asked.roles.is_empty() {
                let hint = "write \"required\" for anyone who is signed in";
                found.wrong_but(key, "names no permission and no role", hint);
                return None;
            }
            let (permissions, roles) = holding(key, asked, found)?;
            Some(Access::Required { permissions, roles })
        }
    }
}

/// Permissions and roles, sorted, each once.
pub(super) fn holding(
    key: &str,
    file: &file::Holding,
    found: &mut Findings<'_>,
) -> Option<(Vec<String>, Vec<String>)> {
    let before = found.problems.len();
    for (list, names) in [("permissions", &file.permissions), ("roles", &file.roles)] {
        for (index, name) in names.iter().enumerate() {
            // They travel in one header, joined by commas.
            let stray = |c: char| c.is_control() || c.is_whitespace() || c == ',';
            if name.is_empty() || name.len() > 128 || name.chars().any(stray) {
                let text = format!("{name:?} is not a name without blanks and commas");
                found.wrong(&format!("{key}.{list}[{index}]"), text);
            }
        }
    }
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort_unstable();
        names.dedup();
        names
    };
    (found.problems.len() == before).then(|| (sorted(&file.permissions), sorted(&file.roles)))
}

pub(super) fn csrf(file: &file::Csrf, found: &mut Findings<'_>) -> Option<Csrf> {
    let before = found.problems.len();
    if file.signals.is_empty() {
        let hint = "leave it out for the default";
        found.wrong_but("csrf.signals", "names no signal, so nothing could pass", hint);
    }
    let mut signals = Vec::with_capacity(file.signals.len());
    for (index, signal) in file.signals.iter().enumerate() {
        match signal {
            file::Signal::Named(file::SignalNamed::Origin) => signals.push(CsrfSignal::Origin),
            file::Signal::Named(file::SignalNamed::AllowedOrigin) => {
                signals.push(CsrfSignal::AllowedOrigin);
            }
            file::Signal::Named(file::SignalNamed::FetchSite) => {
                signals.push(CsrfSignal::FetchSite);
            }
            file::Signal::Header(header) => {
                signals.extend(signal_header(&format!("csrf.signals[{index}]"), header, found));
            }
        }
    }
    let mut allowed_origins = Vec::with_capacity(file.allowed_origins.len());
    for (index, text) in file.allowed_origins.iter().enumerate() {
        match Origin::parse(text) {
            Some(origin) => allowed_origins.push(origin),
            None => found.wrong_but(
                &format!("csrf.allowed_origins[{index}]"),
                format!("{text:?} is not a whole origin"),
                "write scheme and host, such as \"https://app.example.org\"",
            ),
        }
    }
    let header = file.signals.iter().any(|signal| matches!(signal, file::Signal::Header(_)));
    if file.header_suffices && !header {
        let text = "no header is among csrf.signals, so there is nothing to suffice";
        found.wrong("csrf.header_suffices", text);
    }
    let status = match file.status {
        401 => StatusCode::UNAUTHORIZED,
        403 => StatusCode::FORBIDDEN,
        other => {
            found.wrong("csrf.status", format!("{other} is neither 403 nor 401"));
            return None;
        }
    };
    if found.problems.len() > before {
        return None;
    }
    Some(Csrf {
        signals,
        allowed_origins,
        header_suffices: file.header_suffices,
        unmarked_passes: matches!(file.unmarked, file::Unmarked::Allow),
        safe_methods: file.safe_methods,
        status,
    })
}

fn signal_header(
    key: &str,
    file: &file::SignalHeader,
    found: &mut Findings<'_>,
) -> Option<CsrfSignal> {
    let name: Option<HeaderName> = free_name(&format!("{key}.header"), &file.header, found);
    let value = HeaderValue::from_str(&file.value).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        let text = format!("{:?} is not a header value", file.value);
        found.wrong(&format!("{key}.value"), text);
    }
    Some(CsrfSignal::Header { name: name?, value: value? })
}
