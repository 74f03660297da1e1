//! A page of every kind and variant. Shown once at start, so that a template of the operator's
//! fails then; the tests look at them too.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use http::StatusCode;

use super::page::*;
use crate::clock::Timestamp;

const MESSAGES: &[Message] = &[
    Message::InvalidCredentials,
    Message::IdentifierMissing,
    Message::SecretMissing,
    Message::IdentifierInvalid,
    Message::IdentifierTaken,
    Message::SecretTooShort,
    Message::SecretTooLong,
    Message::SecretNotDigits,
    Message::SecretUnprintable,
    Message::SecretCommon,
    Message::SecretsDiffer,
    Message::CurrentSecretWrong,
    Message::RateLimited { retry_after: None },
    Message::RateLimited { retry_after: Some(Duration::from_secs(200)) },
    Message::CaptchaFailed,
    Message::ForeignPage,
    Message::Unavailable,
    Message::Malformed,
];

const REASONS: &[Reason] = &[
    Reason::SessionEnded,
    Reason::SessionRevoked,
    Reason::CookiesRefused,
    Reason::RecentLoginNeeded,
    Reason::PasswordChanged,
    Reason::AccountMade,
    Reason::FormKept,
];

/// Codes and statuses that the gateway answers with, and one that it has no text for.
const FAILURES: &[(u16, &str)] = &[
    (400, "malformed"),
    (401, "missing_token"),
    (403, "forbidden"),
    (403, "csrf_guard"),
    (404, "not_found"),
    (405, "method_not_allowed"),
    (410, "link_spent"),
    (413, "payload_too_large"),
    (415, "validation_error"),
    (421, "misdirected"),
    (429, "rate_limited"),
    (431, "payload_too_large"),
    (500, "internal"),
    (502, "upstream_unavailable"),
    (503, "upstream_unavailable"),
    (504, "upstream_timeout"),
    (418, "teapot"),
];

const SESSIONS: &[SessionLine<'_>] = &[
    SessionLine {
        id: "0f4e2d9a6b1c48d7a3e5f60718293a4b",
        device: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        address: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 17))),
        since: Timestamp::from_secs(1_785_000_000),
        last_used: Timestamp::from_secs(1_785_300_000),
        current: true,
    },
    SessionLine {
        id: "1f4e2d9a6b1c48d7a3e5f60718293a4b",
        device: "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 \
                 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
        address: Some(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 4))),
        since: Timestamp::from_secs(1_784_000_000),
        last_used: Timestamp::from_secs(1_785_200_000),
        current: false,
    },
    SessionLine {
        id: "2f4e2d9a6b1c48d7a3e5f60718293a4b",
        device: "",
        address: None,
        since: Timestamp::from_secs(1_783_000_000),
        last_used: Timestamp::from_secs(1_783_000_000),
        current: false,
    },
];

/// Every kind of page in every variant.
pub fn samples() -> Vec<Page<'static>> {
    let mut pages = vec![
        Page::LoggedOut { return_to: None },
        Page::LoggedOut { return_to: Some("/notes?page=2") },
        Page::LogoutConfirm { login: "ada", return_to: Some("/notes") },
        Page::LogoutConfirm { login: "ada", return_to: None },
        Page::CookiesRefused { why: Refusal::Cookies, return_to: Some("/notes?page=2#line-7") },
        Page::CookiesRefused {
            why: Refusal::WrongHost { expected: "https://notes.example.org" },
            return_to: None,
        },
        Page::ResetRequest { identifier: "", sent: false, error: None },
        Page::ResetRequest { identifier: "", sent: true, error: None },
    ];
    pages.push(Page::Resume(Resume { place: "/notes/7?draft=1", fields: &[] }));
    pages.push(Page::Login(Login::default()));
    for reason in REASONS {
        pages.push(Page::Login(Login {
            reason: Some(*reason),
            return_to: Some("/notes?page=2"),
            ..Login::default()
        }));
    }
    for message in MESSAGES {
        pages.extend(with_error(*message));
    }
    for (status, code) in FAILURES {
        pages.extend(failures(*status, code));
    }
    for kind in [SignupKind::Open, SignupKind::Setup, SignupKind::Invite] {
        pages.push(Page::Signup(signup(kind, None)));
    }
    pages.push(Page::NewPassword(new_password(Some("t0ken"), None)));
    for done in
        [None, Some(Done::SessionEnded), Some(Done::OthersEnded), Some(Done::PasswordChanged)]
    {
        pages.push(account(SESSIONS, done));
    }
    pages.push(account(SESSIONS.get(..1).unwrap_or_default(), None));
    pages
}

fn with_error(message: Message) -> [Page<'static>; 4] {
    [
        Page::Login(Login {
            identifier: "ada",
            return_to: Some("/notes"),
            error: Some(message),
            reason: Some(Reason::SessionEnded),
            remember: true,
            captcha: true,
            kept: Some("k1.c2VhbGVk"),
        }),
        Page::Signup(signup(SignupKind::Open, Some(message))),
        Page::NewPassword(new_password(None, Some(message))),
        Page::ResetRequest { identifier: "ada", sent: false, error: Some(message) },
    ]
}

fn failures(status: u16, code: &'static str) -> [Page<'static>; 2] {
    let bare = Failure {
        status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        code,
        message: "One sentence.",
        own_words: None,
        request_id: None,
        retry_after: None,
        login: None,
        login_url: Some("/auth/login"),
        switch_url: None,
    };
    let full = Failure {
        request_id: Some("0198c6d0-5f2e-7c31-9a42-1d6b8f0e2a77"),
        retry_after: Some(Duration::from_secs(200)),
        login: Some("ada"),
        switch_url: Some("/auth/logout?return_to=/admin"),
        ..bare.clone()
    };
    [Page::Error(bare), Page::Error(full)]
}

fn signup(kind: SignupKind, error: Option<Message>) -> Signup<'static> {
    Signup {
        kind,
        identifier: if error.is_some() { "ada" } else { "" },
        token: (kind != SignupKind::Open).then_some("t0ken"),
        min_length: 10,
        return_to: (kind == SignupKind::Open).then_some("/notes"),
        error,
    }
}

fn new_password(token: Option<&'static str>, error: Option<Message>) -> NewPassword<'static> {
    NewPassword { login: "ada", token, min_length: 10, error }
}

fn account(sessions: &'static [SessionLine<'static>], done: Option<Done>) -> Page<'static> {
    Page::Account(Account {
        login: "ada",
        name: Some("Ada Lovelace"),
        email: Some("ada@example.org"),
        roles: &[],
        sessions,
        done,
    })
}
