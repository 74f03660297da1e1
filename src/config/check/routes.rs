//! Routes and expectations.

use std::collections::HashMap;

use http::Method;

use super::access::{access, holding};
use super::manners::{Facts, Site, manners};
use super::{Findings, times};
use crate::config::file::{self, did_you_mean};
use crate::config::{
    Expect, ExpectCaller, HostPattern, Origin, Outcome, PathPattern, Route, Segment, Times,
};

/// What routes take from the rest of the file.
pub(super) struct General<'a> {
    /// The upstreams' names.
    pub(super) upstreams: &'a [&'a str],
    /// How long each of them may take.
    pub(super) times: &'a [Option<Times>],
    /// `limits.body_bytes`
    pub(super) body_bytes: u64,
    /// What a route's manners depend on.
    pub(super) site: Site<'a>,
}

pub(super) fn routes(
    file: &[file::Route],
    general: &General<'_>,
    base: Option<&PathPattern>,
    found: &mut Findings<'_>,
) -> Option<Vec<Route>> {
    if file.is_empty() {
        let hint = "add a [[route]] with path = \"/**\"".to_owned();
        found.warn("route", "no route: nothing but the gateway's own pages answers", Some(hint));
    }
    let routes: Vec<Option<Route>> = file
        .iter()
        .enumerate()
        .map(|(index, route)| self::route(index, route, general, found))
        .collect();
    ties(&routes, found);
    names(file, found);
    for (index, route) in routes.iter().enumerate() {
        let Some(route) = route else { continue };
        if base.is_some_and(|base| route.path.is_below(base)) {
            let text = "lies below login.base, where the gateway's own endpoints answer";
            found.warn(&format!("route[{index}].path"), text, None);
        }
    }
    routes.into_iter().collect()
}

fn route(
    index: usize,
    file: &file::Route,
    general: &General<'_>,
    found: &mut Findings<'_>,
) -> Option<Route> {
    let at = format!("route[{index}]");
    let key = |name: &str| format!("{at}.{name}");
    let before = found.problems.len();
    let host = file.host.as_deref().and_then(|text| {
        HostPattern::parse(text).map_err(|error| found.wrong(&key("host"), error.to_string())).ok()
    });
    let path = found.path_pattern(&key("path"), &file.path);
    if let Some([.., Segment::Literal(_), Segment::Literal(last)]) =
        path.as_ref().map(|path| path.segments.as_slice())
        && last.is_empty()
    {
        let hint = format!("write \"{}**\" for all below it", file.path);
        found.warn(&key("path"), "matches with the trailing slash only", Some(hint));
    }
    let methods = file.methods.as_deref().and_then(|names| methods(&key("methods"), names, found));
    let access = access(&key("access"), &file.access, found);
    let upstream = upstream(&at, file.upstream.as_deref(), general.upstreams, found);
    let body_bytes = match &file.body_bytes {
        Some(size) => found.size(&key("body_bytes"), size, 0, u64::MAX),
        None => Some(general.body_bytes),
    };
    // An upstream that is wrong has been told of; it need not hide what is wrong with its routes.
    let upstreams = |index: usize| general.times.get(index).copied().flatten().unwrap_or_default();
    let times = upstream.map(upstreams);
    let times = times::of_route(&at, file, times, found);
    let facts = Facts { at: &at, access: access.as_ref(), methods: methods.as_deref(), upstream };
    let manners = manners(file, &facts, &general.site, found);
    if found.problems.len() > before {
        return None;
    }
    let path = path?;
    let name = file.name.clone().unwrap_or_else(|| {
        let methods = methods.as_ref().map(|methods: &Vec<Method>| {
            let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
            names.join(",") + " "
        });
        let host = host.as_ref().map(HostPattern::to_string);
        format!("{}{}{path}", methods.unwrap_or_default(), host.unwrap_or_default())
    });
    Some(Route {
        name,
        host,
        path,
        methods,
        access: access?,
        upstream: upstream?,
        body_bytes: body_bytes?,
        times: times?,
        manners: manners?,
    })
}

fn methods(key: &str, file: &[String], found: &mut Findings<'_>) -> Option<Vec<Method>> {
    if file.is_empty() {
        found.wrong_but(key, "names no method", "leave it out for any");
        return None;
    }
    let mut methods = Vec::with_capacity(file.len() + 1);
    for (index, text) in file.iter().enumerate() {
        let key = format!("{key}[{index}]");
        match Method::from_bytes(text.as_bytes()) {
            Ok(Method::CONNECT | Method::TRACE) => {
                found.wrong(&key, format!("{text} is never forwarded"));
            }
            // RFC 9110 section 9.1: methods are case-sensitive, and all known ones are in capitals.
            Ok(_) if text.bytes().any(|byte| byte.is_ascii_lowercase()) => {
                let hint = format!("write {:?}", text.to_ascii_uppercase());
                found.wrong_but(&key, format!("{text:?} is not in capitals"), hint);
            }
            Ok(method) => methods.push(method),
            Err(_) => found.wrong(&key, format!("{text:?} is not a method")),
        }
    }
    // HEAD tells of a page what GET does; it must not slip past to a route that asks for less.
    if methods.contains(&Method::GET) {
        methods.push(Method::HEAD);
    }
    methods.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    methods.dedup();
    Some(methods)
}

fn upstream(
    at: &str,
    name: Option<&str>,
    upstreams: &[&str],
    found: &mut Findings<'_>,
) -> Option<usize> {
    let Some(name) = name else {
        if upstreams.len() == 1 {
            return Some(0);
        }
        let text = if upstreams.is_empty() {
            "there is no [[upstream]]"
        } else {
            "missing, since there is more than one [[upstream]]"
        };
        found.wrong(&format!("{at}.upstream"), text);
        return None;
    };
    let index = upstreams.iter().position(|one| *one == name);
    // An upstream without a name is told of already, and may be the one that is meant.
    if index.is_none() && !upstreams.contains(&"") {
        let hint = did_you_mean(name, upstreams.iter().copied());
        found.note(&format!("{at}.upstream"), format!("{name:?} is not an upstream"), hint);
    }
    index
}

/// Two routes that match the same requests and of which neither is closer.
fn ties(routes: &[Option<Route>], found: &mut Findings<'_>) {
    let mut seen: HashMap<_, Vec<(usize, &Route)>> = HashMap::new();
    for (index, route) in routes.iter().enumerate() {
        let Some(route) = route else { continue };
        let same_place = seen.entry((&route.host, &route.path)).or_default();
        let overlaps = |other: &Route| match (&route.methods, &other.methods) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => ours.iter().any(|method| theirs.contains(method)),
            // Named methods come before any.
            (Some(_), None) | (None, Some(_)) => false,
        };
        if let Some((earlier, _)) = same_place.iter().find(|(_, other)| overlaps(other)) {
            let text = format!("matches the same requests as route[{earlier}]");
            let hint = "change the host, the path or the methods of one of them";
            found.wrong_but(&format!("route[{index}]"), text, hint);
        }
        same_place.push((index, route));
    }
}

/// Names that were given, each for one route.
fn names(file: &[file::Route], found: &mut Findings<'_>) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (index, route) in file.iter().enumerate() {
        let Some(name) = &route.name else { continue };
        let key = format!("route[{index}].name");
        if name.is_empty() || name.chars().count() > 128 || name.chars().any(char::is_control) {
            let text = "must have 1 to 128 characters, none of them a control character";
            found.wrong(&key, text);
        }
        if let Some(earlier) = seen.get(name.as_str()) {
            found.wrong(&key, format!("{name:?} is the name of route[{earlier}] too"));
        } else {
            seen.insert(name, index);
        }
    }
}

pub(super) fn expects(file: &[file::Expect], found: &mut Findings<'_>) -> Option<Vec<Expect>> {
    if !file.is_empty() {
        found.warn("expect", "checked for form only: this version does not run them yet", None);
    }
    file.iter()
        .enumerate()
        .map(|(index, one)| expect(index, one, found))
        .collect::<Vec<_>>()
        .into_iter()
        .collect()
}

fn expect(index: usize, file: &file::Expect, found: &mut Findings<'_>) -> Option<Expect> {
    let key = format!("expect[{index}].request");
    let request = read_request(&file.request);
    if request.is_none() {
        let hint = "write method and path, such as \"GET /admin/users\", or a whole URL";
        found.wrong_but(&key, format!("{:?} is not a request", file.request), hint);
    }
    let caller = match &file.r#as {
        file::ExpectAs::Named(file::ExpectNamed::Anonymous) => Some(ExpectCaller::Anonymous),
        file::ExpectAs::Named(file::ExpectNamed::User) => {
            Some(ExpectCaller::User { permissions: Vec::new(), roles: Vec::new() })
        }
        file::ExpectAs::Holding(held) => holding(&format!("expect[{index}].as"), held, found)
            .map(|(permissions, roles)| ExpectCaller::User { permissions, roles }),
    };
    let (method, origin, target) = request?;
    Some(Expect {
        method,
        origin,
        target,
        caller: caller?,
        outcome: match file.outcome {
            file::Outcome::Public => Outcome::Public,
            file::Outcome::Allow => Outcome::Allow,
            file::Outcome::Login => Outcome::Login,
            file::Outcome::Deny => Outcome::Deny,
            file::Outcome::NoRoute => Outcome::NoRoute,
        },
    })
}

/// `GET /path?query` or `GET https://host/path?query`.
fn read_request(text: &str) -> Option<(Method, Option<Origin>, String)> {
    let (method, target) = text.split_once(' ')?;
    let method = Method::from_bytes(method.as_bytes()).ok()?;
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) || target.contains('#') {
        return None;
    }
    if target.starts_with('/') {
        return Some((method, None, target.to_owned()));
    }
    let host_at = target.find("://")? + 3;
    let path_at = target.get(host_at..)?.find('/').map_or(target.len(), |at| host_at + at);
    let (origin, path) = target.split_at_checked(path_at)?;
    let path = if path.is_empty() { "/" } else { path };
    Some((method, Some(Origin::parse(origin)?), path.to_owned()))
}
