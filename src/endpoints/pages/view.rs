//! From a [`Page`] to the names that the templates see. Every value from outside is cut here; the
//! formatter in the parent cleans and escapes it where it is written.

use std::time::Duration;

use minijinja::{HtmlEscape, Value, context};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use time::OffsetDateTime;
use time::macros::format_description;

use super::PageSettings;
use super::display::{self, NAME, SENTENCE};
use super::language::Texts;
use super::page::*;
use crate::clock::Timestamp;

/// What stays as it is in the value of a query (WHATWG URL): paths remain readable.
const QUERY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What a template calls `page`.
pub(super) fn view(page: &Page<'_>, texts: &Texts, settings: &PageSettings) -> Value {
    match page {
        Page::Login(login) => login_view(login, texts, settings),
        Page::LoggedOut { return_to } => context! {
            error => (),
            login_url => with_target(&settings.path("login_page", "/login"), *return_to),
        },
        Page::LogoutConfirm { login, return_to } => context! {
            error => (),
            token => (),
            login => display::short(login, NAME),
            return_to => return_to.and_then(display::target),
        },
        Page::CookiesRefused { why, return_to } => refusal_view(*why, *return_to, settings),
        Page::Error(failure) => failure_view(failure, texts),
        Page::Signup(signup) => signup_view(signup, texts, settings),
        Page::NewPassword(new) => context! {
            error => message(new.error, &[Field::Secret, Field::Current], texts),
            notice => (),
            return_to => (),
            login => display::short(new.login, NAME),
            token => new.token.and_then(display::carried),
            min_length => new.min_length,
        },
        Page::ResetRequest { identifier, sent, error } => context! {
            error => message(*error, &[Field::Identifier], texts),
            notice => sent.then(|| safe(texts, "reset.sent")),
            identifier => display::typed(identifier),
        },
        Page::Account(account) => account_view(account, texts),
        Page::Resume(resume) => resume_view(resume),
    }
}

/// What a template calls `captcha`.
pub(super) fn captcha(captcha: &super::Captcha) -> Value {
    context! {
        site_key => &captcha.site_key,
        // The config has seen to it that no quote or bracket is in it.
        script => Value::from_safe_string(captcha.script.replace('&', "&amp;")),
        class => &captcha.class,
        field => &captcha.field,
        action => &captcha.action,
    }
}

fn refusal_view(why: Refusal<'_>, return_to: Option<&str>, settings: &PageSettings) -> Value {
    let expected = match why {
        Refusal::Cookies => None,
        Refusal::WrongHost { expected } => Some(expected),
    };
    let host = expected.map(|url| url.split_once("://").map_or(url, |(_, host)| host));
    context! {
        error => (),
        host => host.map(|host| display::short(host, NAME)),
        host_url => expected.and_then(display::target),
        retry_url => with_target(&settings.path("login_page", "/login"), return_to),
    }
}

fn login_view(login: &Login<'_>, texts: &Texts, settings: &PageSettings) -> Value {
    context! {
        error => message(login.error, &[Field::Identifier, Field::Secret], texts),
        notice => login.reason.map(|reason| safe(texts, reason.key())),
        identifier => display::typed(login.identifier),
        return_to => login.return_to.and_then(display::target),
        token => (),
        remember => login.remember,
        kept => login.kept.map(display::typed_seal),
        signup_url => with_target(&settings.path("signup_page", "/signup"), login.return_to),
    }
}

fn signup_view(signup: &Signup<'_>, texts: &Texts, settings: &PageSettings) -> Value {
    let (title, lead, endpoint) = match signup.kind {
        SignupKind::Open => ("signup.title", None, "signup"),
        SignupKind::Setup => ("signup.setup_title", Some("signup.setup_text"), "setup"),
        SignupKind::Invite => ("signup.invite_title", Some("signup.invite_text"), "invite"),
    };
    context! {
        error => message(signup.error, &[Field::Identifier, Field::Secret], texts),
        notice => (),
        open => signup.kind == SignupKind::Open,
        title => safe(texts, title),
        lead => lead.map(|key| safe(texts, key)),
        action => settings.path(endpoint, &format!("/{endpoint}")),
        identifier => display::typed(signup.identifier),
        token => signup.token.and_then(display::carried),
        min_length => signup.min_length,
        return_to => signup.return_to.and_then(display::target),
        login_url => with_target(&settings.path("login_page", "/login"), signup.return_to),
    }
}

fn failure_view(failure: &Failure<'_>, texts: &Texts) -> Value {
    let status = failure.status.as_u16();
    let of_status = format!("error.{status}");
    let stem = match failure.code {
        "csrf_guard" => "error.csrf",
        _ if texts.has(&format!("{of_status}.title")) => &of_status,
        _ => "error.other",
    };
    let ours = || {
        let time = failure.retry_after.map(|after| span(after, texts));
        let with_time =
            time.and_then(|time| texts.html(&format!("{stem}.text_for"), &[("time", &time)]));
        with_time.or_else(|| texts.html(&format!("{stem}.text"), &[])).map(Value::from_safe_string)
    };
    let plain = |text: &str| Value::from(display::short(text, SENTENCE));
    let text = failure.own_words.map(plain).or_else(ours);
    let text = text.unwrap_or_else(|| plain(failure.message));
    // Asking again helps only against what passes by itself.
    let retry = matches!(status, 421 | 429 | 500 | 502..=504);
    // Who one is matters only where that is why the page is refused.
    let by_caller = matches!(status, 401 | 403) && failure.code != "csrf_guard";
    context! {
        error => (),
        status,
        code => display::short(failure.code, NAME),
        title => safe(texts, &format!("{stem}.title")),
        text,
        retry,
        request_id => failure.request_id.map(|id| display::short(id, NAME)),
        login => failure.login.filter(|_| by_caller).map(|login| display::short(login, NAME)),
        login_url => failure.login_url.filter(|_| by_caller).and_then(display::target),
        switch_url => failure.switch_url.filter(|_| by_caller).and_then(display::target),
    }
}

fn account_view(account: &Account<'_>, texts: &Texts) -> Value {
    let sessions: Vec<Value> =
        account.sessions.iter().take(MOST_SESSIONS).map(|line| session_view(line, texts)).collect();
    let roles: Vec<String> =
        account.roles.iter().take(MOST_SESSIONS).map(|role| display::short(role, NAME)).collect();
    let more = account.sessions.len().saturating_sub(MOST_SESSIONS);
    context! {
        error => (),
        notice => account.done.map(|done| safe(texts, done.key())),
        login => display::short(account.login, NAME),
        name => account.name.map(|name| display::short(name, NAME)),
        email => account.email.map(|email| display::short(email, NAME)),
        roles,
        sessions,
        more,
        others => account.sessions.iter().any(|line| !line.current),
    }
}

fn session_view(line: &SessionLine<'_>, texts: &Texts) -> Value {
    let device = match display::device(line.device) {
        (Some(browser), Some(system)) => {
            texts.html("account.device", &[("browser", browser), ("system", system)])
        }
        (Some(known), None) | (None, Some(known)) => Some(known.to_owned()),
        (None, None) => texts.html("account.unknown_device", &[]),
    };
    context! {
        id => display::short(line.id, NAME),
        device => Value::from_safe_string(device.unwrap_or_default()),
        address => line.address.map(|address| address.to_string()),
        since => moment(line.since),
        last_used => moment(line.last_used),
        current => line.current,
    }
}

/// The fields are escaped here and not cleaned: what a person has typed goes on as it is, and nothing
/// of it is shown.
fn resume_view(resume: &Resume<'_>) -> Value {
    let exact = |text: &str| Value::from_safe_string(HtmlEscape(text).to_string());
    let field = |(name, value): &(String, String)| {
        context! {
            name => exact(name),
            value => exact(value),
        }
    };
    context! {
        error => (),
        place => display::target(resume.place),
        shown => display::short(resume.place.split('?').next().unwrap_or_default(), NAME),
        fields => resume.fields.iter().map(field).collect::<Vec<Value>>(),
    }
}

/// A text without slots.
fn safe(texts: &Texts, key: &str) -> Value {
    Value::from_safe_string(texts.html(key, &[]).unwrap_or_default())
}

/// A message, and the field that it stands next to: the form as a whole if the page has not the
/// field that it speaks of.
fn message(message: Option<Message>, fields: &[Field], texts: &Texts) -> Option<Value> {
    let message = message?;
    let time = match message {
        Message::RateLimited { retry_after: Some(after) } => span(after, texts),
        _ => String::new(),
    };
    let field = match message.field() {
        field if !fields.contains(&field) => "form",
        Field::Form => "form",
        Field::Identifier => "identifier",
        Field::Secret => "secret",
        Field::Current => "current",
    };
    Some(context! {
        text => Value::from_safe_string(
            texts.html(message.key(), &[("time", &time)]).unwrap_or_default()
        ),
        field,
        // Which of the two was wrong is not told, so both are marked.
        both => message == Message::InvalidCredentials,
    })
}

/// A span of time, rounded up so that nobody comes back too early. Units are abbreviated: they
/// need no plural, which languages form in up to six ways.
fn span(span: Duration, texts: &Texts) -> String {
    let secs = span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0)).max(1);
    let (key, n) = match secs {
        ..=90 => ("time.seconds", secs),
        91..=5400 => ("time.minutes", secs.div_ceil(60)),
        _ => ("time.hours", secs.div_ceil(3600)),
    };
    texts.plain(key, "n", &n.to_string())
}

/// A moment for a `<time>`: the machine's form, and UTC for a browser without script.
fn moment(at: Timestamp) -> Value {
    let at = OffsetDateTime::from_unix_timestamp(at.secs()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let iso = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let text = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    context! {
        iso => at.format(iso).unwrap_or_default(),
        text => at.format(text).unwrap_or_default(),
    }
}

/// `path` with the target in its query.
fn with_target(path: &str, return_to: Option<&str>) -> String {
    match return_to.and_then(display::target) {
        Some(target) => format!("{path}?return_to={}", utf8_percent_encode(&target, QUERY)),
        None => path.to_owned(),
    }
}
