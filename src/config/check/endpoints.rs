//! Paths, fields, answers and texts of our own endpoints.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use http::{Method, StatusCode};

use super::{Findings, manners};
use crate::config::endpoint::{CAPTCHA, Place, Row};
use crate::config::file::{self, did_you_mean};
use crate::config::shape::{ERROR_VALUES, Errors, FieldName, FieldNames, Shape, Shapes};
use crate::config::{Cors, Endpoint, PathPattern, Segment, Template};

/// The shape of every endpoint, those that the file does not speak of included.
pub(super) fn shapes(
    file: &file::File,
    base: Option<&PathPattern>,
    found: &mut Findings<'_>,
) -> Option<Shapes> {
    let before = found.problems.len();
    let nothing = file::Endpoint::default();
    let off = matches!(file.session.refresh, file::RefreshStyle::Off);
    let endpoints: Vec<Option<Shape>> = Endpoint::ALL
        .into_iter()
        .map(|endpoint| {
            let row = endpoint.row();
            let file_of = file.endpoints.0.get(row.name).unwrap_or(&nothing);
            let asks = |act| file.captcha.as_ref().is_some_and(|captcha| captcha.on.contains(&act));
            let captcha = match endpoint {
                Endpoint::Login => asks(file::Asked::Login),
                Endpoint::Signup => asks(file::Asked::Signup),
                _ => false,
            };
            let captcha = file.captcha.as_ref().filter(|_| captcha);
            let mut shape = shape(&row, file_of, (&file.login, captcha), base, found)?;
            shape.cors = cors(endpoint, file_of, &shape.method, &file.csrf, found)?;
            // Nobody has anything to show it.
            let idle = endpoint == Endpoint::Refresh && off;
            Some(if idle { Shape { path: None, ..shape } } else { shape })
        })
        .collect();
    collisions(&endpoints, found);
    let errors = errors("errors", &file.errors, found);
    let endpoints = endpoints.into_iter().collect::<Option<_>>()?;
    (found.problems.len() == before).then_some(Shapes { endpoints, errors })
}

fn shape(
    row: &Row,
    file: &file::Endpoint,
    (login, captcha): (&file::Login, Option<&file::Captcha>),
    base: Option<&PathPattern>,
    found: &mut Findings<'_>,
) -> Option<Shape> {
    let at = format!("endpoints.{}", row.name);
    let key = |name: &str| format!("{at}.{name}");
    let under = matches!(row.place, Place::Under(_));
    let (path, moved) = path(&key("path"), row, file.path.as_ref(), base?, found)?;
    let method = method(&key("method"), row, file.method.as_deref(), found);
    let fields = fields(&key("fields"), row, file, (login, captcha), found);
    let body = file.body.as_ref().and_then(|file| {
        let body = template(&key("body"), &file.0, found)?;
        known_names(&key("body"), &body, |name| row.has_value(name), &values_of(row), found);
        Some(body)
    });
    if file.body.is_some() && row.values.is_empty() {
        found.wrong(&key("body"), format!("the answer of {} is not made of values", row.name));
    }
    if file.cookies.is_some() && !row.gives_tokens {
        found.wrong(&key("cookies"), format!("{} gives no tokens", row.name));
    }
    let sets = |kind| file.cookies.as_ref().is_none_or(|kinds| kinds.contains(&kind));
    let errors = errors(&key("errors"), &file.errors, found);
    Some(Shape {
        path,
        under,
        moved,
        method: method?,
        fields: Arc::new(fields),
        access_required: file.access == file::Asks::Required,
        status: file.status.and_then(|status| StatusCode::from_u16(status).ok()),
        body,
        access_cookie: sets(file::CookieKind::Access),
        refresh_cookie: sets(file::CookieKind::Refresh),
        device_cookie: sets(file::CookieKind::Device),
        errors,
        cors: None,
    })
}

/// Which foreign pages may read its answers.
fn cors(
    endpoint: Endpoint,
    file: &file::Endpoint,
    method: &Method,
    csrf: &file::Csrf,
    found: &mut Findings<'_>,
) -> Option<Option<Cors>> {
    let Some(file) = &file.cors else { return Some(None) };
    let own_session = matches!(
        endpoint,
        Endpoint::Refresh
            | Endpoint::Logout
            | Endpoint::Password
            | Endpoint::EndSession
            | Endpoint::EndOthers
    );
    // The others that change something refuse whatever is marked as foreign, cookies or not.
    let guarded = *method != Method::GET && (file.credentials || !own_session);
    let allowed = guarded.then_some(csrf.allowed_origins.as_slice());
    let methods = std::slice::from_ref(method);
    let key = format!("endpoints.{}.cors", endpoint.row().name);
    manners::cors(&key, file, Some(methods), allowed, found).map(Some)
}

/// The path, and whether it was moved away from the base.
fn path(
    key: &str,
    row: &Row,
    file: Option<&file::PathOrOff>,
    base: &PathPattern,
    found: &mut Findings<'_>,
) -> Option<(Option<String>, bool)> {
    let text = match file {
        Some(file::PathOrOff::Path(text)) => text,
        Some(file::PathOrOff::Off(false)) => return Some((None, false)),
        Some(file::PathOrOff::Off(true)) => {
            found.wrong_but(key, "true is not a path", "leave it out for the default");
            return None;
        }
        None => {
            let path = match row.place {
                Place::Below(path) | Place::Under(path) => format!("{base}{path}"),
                Place::At(path) => path.to_owned(),
            };
            return Some((Some(path), false));
        }
    };
    let path = found.path_pattern(key, text)?;
    let (last, rest) = path.segments.split_last()?;
    let named = |segment: &Segment| matches!(segment, Segment::Literal(name) if !name.is_empty());
    if !rest.iter().all(named) || !matches!(last, Segment::Literal(_)) {
        found.wrong_but(key, format!("{text:?} is not a plain path"), "write it as \"/api/login\"");
        return None;
    }
    let moved = !path.is_below(base);
    let mut path = path.to_string();
    if matches!(row.place, Place::Under(_)) && !path.ends_with('/') {
        path.push('/');
    }
    if path == "/" {
        found.wrong(key, "the root itself is for the application");
        return None;
    }
    Some((Some(path), moved))
}

fn method(key: &str, row: &Row, file: Option<&str>, found: &mut Findings<'_>) -> Option<Method> {
    const CHANGING: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];
    let Some(text) = file else { return Some(row.method.clone()) };
    if row.method == Method::GET {
        found.wrong(key, format!("{} is asked for by GET only", row.name));
        return None;
    }
    if !CHANGING.contains(&text) {
        let hint = did_you_mean(text, CHANGING.into_iter());
        let hint = hint.unwrap_or_else(|| "write POST, PUT, PATCH or DELETE".to_owned());
        found.wrong_but(key, format!("{text:?} is no method for what changes something"), hint);
        return None;
    }
    Method::from_bytes(text.as_bytes()).ok()
}

fn fields(
    key: &str,
    row: &Row,
    file: &file::Endpoint,
    (login, captcha): (&file::Login, Option<&file::Captcha>),
    found: &mut Findings<'_>,
) -> FieldNames {
    let known = row.fields.iter().copied().filter(|name| captcha.is_some() || *name != CAPTCHA);
    let known: Vec<&'static str> = known.collect();
    for (ours, theirs) in &file.fields {
        let key = format!("{key}.{ours}");
        if !known.contains(&ours.as_str()) {
            let hint = did_you_mean(ours, known.iter().copied());
            let hint = hint.unwrap_or_else(|| match &*known {
                [] => format!("{} reads no fields", row.name),
                fields => format!("{} reads {}", row.name, fields.join(", ")),
            });
            found.wrong_but(&key, "no field of this endpoint", hint);
        }
        if theirs.list().is_empty() {
            found.wrong(&key, "names no field");
        }
        for name in theirs.list().iter().filter(|name| !is_field_name(name)) {
            found.wrong(&key, format!("{name:?} is not 1 to 64 letters, digits, _, - or ."));
        }
    }
    let default = |ours: &str| match ours {
        "username" => login.identifier_field.clone(),
        "password" => login.secret_field.clone(),
        CAPTCHA => captcha.map_or(ours, |captcha| captcha.field.as_str()).to_owned(),
        other => other.to_owned(),
    };
    let mut names: Vec<FieldName> = known
        .iter()
        .map(|&ours| {
            let given = file.fields.get(ours).map(|names| names.list().to_vec());
            let theirs = given.unwrap_or_else(|| vec![default(ours)]);
            FieldName { ours, theirs, of_pages: None }
        })
        .collect();
    let mut seen: HashMap<String, &str> = HashMap::new();
    for field in &names {
        for name in &field.theirs {
            if let Some(earlier) = seen.insert(name.clone(), field.ours) {
                let key = match field.ours {
                    CAPTCHA if !file.fields.contains_key(CAPTCHA) => "captcha.field".to_owned(),
                    ours => format!("{key}.{ours}"),
                };
                found.wrong(&key, format!("{name:?} is {earlier} already"));
            }
        }
    }
    for field in &mut names {
        field.of_pages = Some(default(field.ours)).filter(|name| !seen.contains_key(name));
    }
    let refuse_unknown = file.unknown_fields == file::UnknownFields::Refuse;
    FieldNames { names, refuse_unknown, widget: captcha.is_some() }
}

/// Whether a field of a body can have this name.
pub(super) fn is_field_name(name: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=64).contains(&name.len()) && name.bytes().all(fine)
}

fn errors(at: &str, file: &file::Errors, found: &mut Findings<'_>) -> Errors {
    let known = |name: &str| ERROR_VALUES.contains(&name);
    let body = file.body.as_ref().and_then(|file| {
        let key = format!("{at}.body");
        let body = template(&key, &file.0, found)?;
        known_names(&key, &body, known, &ERROR_VALUES, found);
        Some(body)
    });
    let mut messages = HashMap::new();
    for (reason, text) in &file.messages.0 {
        let key = format!("{at}.messages.{reason}");
        match Template::text(text) {
            Ok(message) => {
                known_names(&key, &message, known, &ERROR_VALUES, found);
                messages.insert(reason.clone(), message);
            }
            Err(text) => found.wrong(&key, text),
        }
    }
    Errors {
        body,
        pages: file.pages,
        messages,
        codes: codes(at, &file.codes.0, found),
        statuses: statuses(at, &file.statuses.0, found),
    }
}

fn codes(
    at: &str,
    file: &BTreeMap<String, String>,
    found: &mut Findings<'_>,
) -> HashMap<String, String> {
    for (reason, code) in file {
        if code.is_empty() || code.len() > 128 || code.chars().any(char::is_control) {
            let text = "must have 1 to 128 bytes, and no control characters";
            found.wrong(&format!("{at}.codes.{reason}"), text);
        }
    }
    file.clone().into_iter().collect()
}

fn statuses(
    at: &str,
    file: &BTreeMap<String, u16>,
    found: &mut Findings<'_>,
) -> HashMap<String, StatusCode> {
    let mut statuses = HashMap::new();
    for (reason, status) in file {
        match StatusCode::from_u16(*status).ok().filter(|_| (400..600).contains(status)) {
            Some(status) => drop(statuses.insert(reason.clone(), status)),
            None => {
                let text = format!("{status} is not a status of a refusal, 400 to 599");
                found.wrong(&format!("{at}.statuses.{reason}"), text);
            }
        }
    }
    statuses
}

fn template(key: &str, file: &serde_json::Value, found: &mut Findings<'_>) -> Option<Template> {
    Template::read(file).map_err(|text| found.wrong(key, text)).ok()
}

fn known_names(
    key: &str,
    template: &Template,
    known: impl Fn(&str) -> bool,
    all: &[&str],
    found: &mut Findings<'_>,
) {
    let mut names = Vec::new();
    template.names(&mut names);
    for name in names.into_iter().filter(|name| !known(name)) {
        let hint = did_you_mean(name, all.iter().copied());
        let hint = hint.unwrap_or_else(|| format!("there is {}", all.join(", ")));
        found.wrong_but(key, format!("${name} is not a value of it"), hint);
    }
}

fn values_of(row: &Row) -> Vec<&'static str> {
    let tokens = if row.gives_tokens { &crate::config::endpoint::TOKENS[..] } else { &[] };
    row.values.iter().chain(tokens).copied().collect()
}

/// Two endpoints of one path and method.
fn collisions(shapes: &[Option<Shape>], found: &mut Findings<'_>) {
    let mut seen: HashMap<(&str, &Method), &str> = HashMap::new();
    for (endpoint, shape) in Endpoint::ALL.into_iter().zip(shapes) {
        let Some(shape) = shape else { continue };
        let Some(path) = shape.path.as_deref() else { continue };
        let name = endpoint.row().name;
        if let Some(earlier) = seen.insert((path, &shape.method), name) {
            let text = format!("{} {path} is endpoints.{earlier} already", shape.method);
            found.wrong(&format!("endpoints.{name}.path"), text);
        }
    }
}
