//! What new secrets must be like, and whether the limits suit secrets that short.

use std::time::Duration;

use super::{DAY, Findings};
use crate::config::file;
use crate::config::{Attempts, Blocking, Password, SecretKind};

const MIN_LENGTH: &str = "login.secret.min_length";

pub(super) const fn kind(kind: file::SecretKind) -> SecretKind {
    match kind {
        file::SecretKind::Password => SecretKind::Password,
        file::SecretKind::Pin => SecretKind::Pin,
    }
}

pub(super) fn min_length(
    file: &file::LoginSecret,
    max_length: u32,
    found: &mut Findings<'_>,
) -> Option<usize> {
    let least = file.min_length.unwrap_or(match file.kind {
        file::SecretKind::Password => 15,
        file::SecretKind::Pin => 6,
    });
    if least > max_length {
        let text = format!("more than password.max_length ({max_length}) can hold");
        found.wrong(MIN_LENGTH, text);
        return None;
    }
    usize::try_from(least).ok()
}

pub(super) fn blocklist(
    secret: &file::LoginSecret,
    password: &file::Password,
    found: &mut Findings<'_>,
) -> Option<Blocking> {
    match (secret.blocklist, password.blocklist.as_deref()) {
        (true, None) => Some(Blocking::BuiltIn),
        (false, None) => Some(Blocking::Off),
        (_, Some("")) => {
            found.wrong("password.blocklist", "names no file");
            None
        }
        (true, Some(path)) => Some(Blocking::And(found.base.join(path))),
        (false, Some(_)) => {
            found.wrong("password.blocklist", "not read while login.secret.blocklist is false");
            None
        }
    }
}

/// Warns of secrets that are so short that the limits decide how long they hold.
pub(super) fn weigh(password: &Password, attempts: &Attempts, found: &mut Findings<'_>) {
    let Password { kind, min_length, .. } = *password;
    let pin = kind == SecretKind::Pin;
    // OWASP ASVS 5.0, 6.2.1. That a PIN is short is what it is a PIN for.
    if min_length < SHORT && !pin {
        let text = format!("secrets of {min_length} characters are soon guessed");
        found.warn(MIN_LENGTH, text, None);
    }
    if min_length >= SHORT && !pin {
        return;
    }
    // What people choose of so few characters is no more varied than as many digits.
    let all = u32::try_from(min_length).ok().and_then(|digits| 10_u128.checked_pow(digits));
    let Some(all) = all else { return };
    let quota = attempts.acts.login.per_account;
    let time = all * quota.per.as_millis() / u128::from(quota.count.get());
    if time < LONG_ENOUGH.as_millis() {
        let days = time / DAY.as_millis();
        let text = format!(
            "all secrets of {min_length} digits could be tried at one account within {} days",
            days + 1
        );
        let hint = "allow fewer, such as { count = 10, per = \"1d\" }, or ask for longer secrets";
        found.warn("attempts.per_account", text, Some(hint.to_owned()));
    }
}

/// From so many characters on, a password is not called short.
const SHORT: usize = 8;

/// Trying all of an account's possible secrets should take longer.
const LONG_ENOUGH: Duration = Duration::from_hours(365 * 24);
