//! What a route says of fields, and of the age of a login.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use http::header::{self, HeaderName, HeaderValue};

use super::headers::{TAKEN, folded};
use super::{DAY, Findings, SECOND};
use crate::config::file::{self, TextOrSecret};
use crate::config::{
    Access, Changes, Cors, CorsOrigins, Manners, Mapping, Origin, PathPattern, Segment,
};

/// What of the rest of the file a route's manners depend on.
pub(super) struct Site<'a> {
    /// `csrf.allowed_origins`
    pub(super) allowed_origins: &'a [String],
    /// Whether the cookies are meant to be sent from within foreign frames.
    pub(super) framed: bool,
    /// Names of the identity headers of each upstream, folded.
    pub(super) identity: &'a [Vec<String>],
}

/// A route as far as it is known.
pub(super) struct Facts<'a> {
    pub(super) at: &'a str,
    pub(super) access: Option<&'a Access>,
    pub(super) methods: Option<&'a [Method]>,
    pub(super) upstream: Option<usize>,
}

pub(super) fn manners(
    file: &file::Route,
    facts: &Facts<'_>,
    site: &Site<'_>,
    found: &mut Findings<'_>,
) -> Option<Manners> {
    let key = |name: &str| format!("{}.{name}", facts.at);
    let forward = matches!(file.preflight, file::Preflight::Forward);
    let cors = file.cors.as_ref().map(|file| {
        if forward {
            let hint = "leave out one of them";
            found.wrong_but(
                &key("preflight"),
                "the application cannot answer what cors does",
                hint,
            );
        }
        let allowed = file.credentials.then_some(site.allowed_origins);
        cors(&key("cors"), file, facts.methods, allowed, found)
    });
    let own = facts.upstream.and_then(|index| site.identity.get(index));
    let own = own.map_or(&[][..], Vec::as_slice);
    let request = request(&key("headers.request"), &file.headers.request, own, found);
    let response = response(&key("headers.response"), &file.headers.response, found);
    let max_auth_age = match &file.max_auth_age {
        None => None,
        Some(age) => {
            if let Some(Access::Public | Access::Optional) = facts.access {
                let hint = "set access = \"required\", or leave out max_auth_age";
                found.wrong_but(&key("max_auth_age"), "guests have no login that has an age", hint);
            }
            Some(found.period(&key("max_auth_age"), age, (SECOND, 400 * DAY))?)
        }
    };
    let security = match (file.security_headers, facts.access) {
        (true, Some(access)) => security(access, site.framed),
        _ => Vec::new(),
    };
    let mapping = mapping(file, facts.at, found);
    Some(Manners {
        mapping: mapping?,
        cors: match cors {
            None => None,
            Some(cors) => Some(cors?),
        },
        forward_preflight: forward,
        request: request?,
        response: response?,
        security,
        own_security: !file.security_headers,
        max_auth_age,
    })
}

/// How the path changes; the inner `None`: it does not.
fn mapping(file: &file::Route, at: &str, found: &mut Findings<'_>) -> Option<Option<Mapping>> {
    let before = found.problems.len();
    let mut prefix = |name: &str, text: &Option<String>| {
        let Some(text) = text else { return String::new() };
        let key = format!("{at}.{name}");
        let Some(pattern) = found.path_pattern(&key, text) else { return String::new() };
        let named = |one: &Segment| matches!(one, Segment::Literal(name) if !name.is_empty());
        if !pattern.segments.iter().all(named) {
            let hint = "write it as \"/app\", without a slash at its end";
            found.wrong_but(&key, format!("{text:?} is not a plain path below /"), hint);
        }
        pattern.to_string()
    };
    let strip = prefix("strip_prefix", &file.strip_prefix);
    let add = prefix("add_prefix", &file.add_prefix);
    if found.problems.len() > before {
        return None;
    }
    // What is wrong with the path itself is told by its own check.
    let path = PathPattern::parse(&file.path).ok();
    if let (false, Some(path), Ok(above)) = (strip.is_empty(), path, PathPattern::parse(&strip))
        && !path.is_below(&above)
    {
        let text = format!("the route's path does not lie below {strip:?}");
        found.wrong(&format!("{at}.strip_prefix"), text);
        return None;
    }
    let none = strip.is_empty() && add.is_empty();
    Some((!none).then_some(Mapping { strip, add }))
}

/// What an answer gets that says nothing of it. Each keeps what a browser does anyway when it is
/// careful, so that an application has to do something odd to be disturbed.
fn security(access: &Access, framed: bool) -> Vec<(HeaderName, HeaderValue)> {
    let mut fields = vec![
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("strict-origin-when-cross-origin")),
    ];
    // In a foreign frame a browser sends none of our cookies unless they are `SameSite=None`, so
    // whoever is shown there is a guest: nothing is lost where a login is asked for.
    if !framed && !matches!(access, Access::Public) {
        fields.push((header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN")));
    }
    fields
}

/// `allowed`: those whose requests pass the CSRF guard, if it is to have a say.
pub(super) fn cors(
    at: &str,
    file: &file::Cors,
    methods_of_route: Option<&[Method]>,
    allowed: Option<&[String]>,
    found: &mut Findings<'_>,
) -> Option<Cors> {
    let key = |name: &str| format!("{at}.{name}");
    let before = found.problems.len();
    let origins = origins(&key("origins"), file, allowed, found);
    let methods = match &file.methods {
        None => methods_of_route.and_then(Cors::method_list),
        Some(names) => {
            for (index, name) in names.iter().enumerate() {
                let upper = !name.bytes().any(|byte| byte.is_ascii_lowercase());
                if Method::from_bytes(name.as_bytes()).is_err() || !upper {
                    let text = format!("{name:?} is not a method in capitals");
                    found.wrong(&format!("{}[{index}]", key("methods")), text);
                }
            }
            Cors::list(names)
        }
    };
    let any_header = file.headers == ["*"];
    for (list, names) in [("headers", &file.headers), ("expose", &file.expose)] {
        for (index, name) in names.iter().enumerate() {
            let any = any_header && list == "headers";
            if !any && HeaderName::from_bytes(name.as_bytes()).is_err() {
                let text = format!("{name:?} is not a header name");
                found.wrong(&format!("{}[{index}]", key(list)), text);
            }
        }
    }
    let max_age = found.period(&key("max_age"), &file.max_age, (Duration::ZERO, DAY));
    if found.problems.len() > before {
        return None;
    }
    let headers = match any_header {
        true => None,
        // An empty list allows none, which is not the same as any.
        false => Some(Cors::list(&file.headers).unwrap_or(HeaderValue::from_static(""))),
    };
    Some(Cors {
        origins: origins?,
        methods,
        headers,
        credentials: file.credentials,
        max_age: HeaderValue::from(max_age?.as_secs()),
        expose: Cors::list(&file.expose),
    })
}

fn origins(
    key: &str,
    file: &file::Cors,
    allowed: Option<&[String]>,
    found: &mut Findings<'_>,
) -> Option<CorsOrigins> {
    const REFUSED: &str = "the CSRF guard refuses its requests that change something";
    if file.origins == ["*"] {
        if file.credentials {
            let text = "everybody's pages may not read what is meant for one user";
            found.wrong_but(key, text, "name the origins, or leave out credentials");
        } else if allowed.is_some() {
            let hint = "name the origins here and in csrf.allowed_origins";
            found.warn(key, REFUSED, Some(hint.to_owned()));
        }
        return Some(CorsOrigins::Any);
    }
    if file.origins.is_empty() {
        found.wrong_but(key, "names no origin", "leave out cors for none");
        return None;
    }
    let mut origins = Vec::with_capacity(file.origins.len());
    for (index, text) in file.origins.iter().enumerate() {
        let key = format!("{key}[{index}]");
        let Some(origin) = Origin::parse(text) else {
            let hint = "write scheme and host, such as \"https://app.example.org\"";
            found.wrong_but(&key, format!("{text:?} is not a whole origin"), hint);
            continue;
        };
        let same = |one: &String| Origin::parse(one).is_some_and(|one| one == origin);
        if allowed.is_some_and(|allowed| !allowed.iter().any(same)) {
            let hint = format!("add {text:?} to csrf.allowed_origins");
            found.warn(&key, REFUSED, Some(hint));
        }
        origins.push(origin.ascii());
    }
    Some(CorsOrigins::These(origins))
}

fn request(
    at: &str,
    file: &file::RequestChanges,
    own: &[String],
    found: &mut Findings<'_>,
) -> Option<Changes> {
    let before = found.problems.len();
    // Without them an application would be asked for another thing than what was judged.
    let free = |name: &str| {
        let fold = folded(name);
        let named = TAKEN.contains(&fold.as_str())
            && !matches!(
                fold.as_str(),
                "accept" | "accept-encoding" | "authorization" | "origin" | "range" | "referer"
            );
        !named
            && fold != "x-request-id"
            && !fold.starts_with("x-auth-")
            && !fold.starts_with("x-forwarded-")
            && !own.contains(&fold)
    };
    let mut changes = Changes::default();
    for (name, value) in &file.set {
        let key = format!("{at}.set.{name}");
        let value = match value {
            TextOrSecret::Text(text) => field_value(&key, text.as_bytes(), found),
            TextOrSecret::Secret(secret) => match secret.read(found.base) {
                Ok(secret) => field_value(&key, secret.expose(), found).map(|mut value| {
                    value.set_sensitive(true);
                    value
                }),
                Err(text) => {
                    found.wrong(&key, text);
                    None
                }
            },
        };
        let name = field_name(&key, name, free, found);
        changes.set.extend(name.zip(value));
    }
    for (index, name) in file.remove.iter().enumerate() {
        let free = |name: &str| free(name) || folded(name) == "cookie";
        changes.remove.extend(field_name(&format!("{at}.remove[{index}]"), name, free, found));
    }
    (found.problems.len() == before).then_some(changes)
}

fn response(at: &str, file: &file::ResponseChanges, found: &mut Findings<'_>) -> Option<Changes> {
    const FRAMING: [&str; 12] = [
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "date",
        "x-request-id",
        "x-sallyport",
    ];
    let before = found.problems.len();
    let free = |name: &str| !FRAMING.contains(&folded(name).as_str());
    let mut changes = Changes::default();
    let set: &BTreeMap<String, String> = &file.set;
    for (name, value) in set {
        let key = format!("{at}.set.{name}");
        let value = field_value(&key, value.as_bytes(), found);
        let free = |name: &str| free(name) && folded(name) != "set-cookie";
        let name = field_name(&key, name, free, found);
        changes.set.extend(name.zip(value));
    }
    for (index, name) in file.remove.iter().enumerate() {
        changes.remove.extend(field_name(&format!("{at}.remove[{index}]"), name, free, found));
    }
    (found.problems.len() == before).then_some(changes)
}

fn field_name(
    key: &str,
    text: &str,
    free: impl Fn(&str) -> bool,
    found: &mut Findings<'_>,
) -> Option<HeaderName> {
    let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
        found.wrong(key, format!("{text:?} is not a header name"));
        return None;
    };
    if free(text) {
        return Some(name);
    }
    found.wrong(key, format!("{text:?} is the gateway's own to set and to remove"));
    None
}

fn field_value(key: &str, bytes: &[u8], found: &mut Findings<'_>) -> Option<HeaderValue> {
    let value = HeaderValue::from_bytes(bytes).ok();
    if value.is_none() {
        found.wrong(key, "is not a header value: it has a control character");
    }
    value
}
