//! What a new secret must be like: long enough, printable, and not what everybody tries first. For
//! signup, links, a change of password and the command line alike.

use std::sync::Arc;

use super::blocklist::{Blocklist, BlocklistError};
use super::opaque;
use crate::config::{self, Blocking, SecretKind};
use crate::secret::Secret;

/// A secret that may not become a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Fewer characters than `login.secret.min_length`.
    #[error("a {what} needs at least {least} characters", what = word(*.kind))]
    TooShort {
        /// What people log in with.
        kind: SecretKind,
        /// Characters needed.
        least: usize,
    },
    /// More bytes than `password.max_length`.
    #[error("a password has at most {most} bytes")]
    TooLong {
        /// Bytes allowed.
        most: usize,
    },
    /// Something else than digits in a PIN.
    #[error("a PIN consists of digits")]
    NotDigits,
    /// Control characters, or such as nobody sees.
    #[error("a password consists of visible characters")]
    Unprintable,
    /// On the block-list, or the name of the account or site.
    #[error("this is among the first that anybody would try")]
    Common,
}

const fn word(kind: SecretKind) -> &'static str {
    match kind {
        SecretKind::Password => "password",
        SecretKind::Pin => "PIN",
    }
}

/// The rules of `[login.secret]`.
#[derive(Debug, Clone)]
pub struct Fitness {
    kind: SecretKind,
    min_length: usize,
    max_length: usize,
    blocklist: Option<Arc<Blocklist>>,
}

impl Fitness {
    /// The rules of these settings. Reads the operator's block-list.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn new(config: &config::Password) -> Result<Self, BlocklistError> {
        let blocklist = match &config.blocklist {
            Blocking::Off => None,
            Blocking::BuiltIn => Some(Blocklist::load(None)?),
            Blocking::And(file) => Some(Blocklist::load(Some(file))?),
        };
        let config::Password { kind, min_length, max_length, .. } = *config;
        Ok(Self { kind, min_length, max_length, blocklist: blocklist.map(Arc::new) })
    }

    /// Whether `secret` may become the password of an account; `known` are the names that go with
    /// it. There are no rules of composition: they make worse passwords (NIST SP 800-63B-4 section
    /// 3.1.1.2).
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self, secret: &Secret<String>, known: &[&str]) -> Result<(), Unfit> {
        if secret.expose().len() > self.max_length {
            return Err(Unfit::TooLong { most: self.max_length });
        }
        let prepared = opaque::prepared(secret);
        let text = prepared.expose();
        if !text.chars().all(opaque::is_printable) {
            return Err(Unfit::Unprintable);
        }
        if self.kind == SecretKind::Pin && !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Unfit::NotDigits);
        }
        if text.chars().count() < self.min_length {
            return Err(Unfit::TooShort { kind: self.kind, least: self.min_length });
        }
        match &self.blocklist {
            Some(list) if list.is_common(text, known) => Err(Unfit::Common),
            _ => Ok(()),
        }
    }

    /// Fewest characters of a new secret.
    pub const fn min_length(&self) -> usize {
        self.min_length
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::time::Duration;

    use super::*;

    fn rules(kind: SecretKind, min_length: usize, blocklist: Blocking) -> Fitness {
        Fitness::new(&config::Password {
            memory_kib: 64,
            iterations: 1,
            parallelism: 1,
            threads: NonZeroUsize::MIN,
            queue: 2,
            wait: Duration::from_secs(60),
            max_length: 64,
            kind,
            min_length,
            blocklist,
        })
        .unwrap()
    }

    fn judge(rules: &Fitness, text: &str) -> Result<(), Unfit> {
        rules.judge(&Secret::new(text.to_owned()), &["ada"])
    }

    #[test]
    fn length_is_counted_in_characters_from_below_and_in_bytes_from_above() {
        let ours = rules(SecretKind::Password, 8, Blocking::BuiltIn);
        let short = Unfit::TooShort { kind: SecretKind::Password, least: 8 };
        assert_eq!(judge(&ours, "кошкаиг"), Err(short));
        assert_eq!(judge(&ours, "кошкаигр"), Ok(()));
        // Seven characters, whichever way the keyboard writes them.
        assert_eq!(judge(&ours, "e\u{301}e\u{300}e\u{302}xyzw"), Err(short));
        assert_eq!(judge(&ours, &"к".repeat(33)), Err(Unfit::TooLong { most: 64 }));
        assert_eq!(judge(&ours, "k7#v pL2m"), Ok(()));
    }

    #[test]
    fn a_password_is_anything_printable_that_is_not_common() {
        let ours = rules(SecretKind::Password, 8, Blocking::BuiltIn);
        assert_eq!(judge(&ours, "onlysmallletters"), Ok(()));
        assert_eq!(judge(&ours, "no\u{202e}thing here"), Err(Unfit::Unprintable));
        assert_eq!(judge(&ours, "tab\tinside"), Err(Unfit::Unprintable));
        assert_eq!(judge(&ours, "Baseball"), Err(Unfit::Common));
        assert_eq!(judge(&ours, "ada-2024"), Err(Unfit::Common));
        assert_eq!(judge(&rules(SecretKind::Password, 8, Blocking::Off), "Baseball"), Ok(()));
    }

    #[test]
    fn a_pin_is_made_of_digits() {
        let ours = rules(SecretKind::Pin, 4, Blocking::BuiltIn);
        assert_eq!(judge(&ours, "8049"), Ok(()));
        assert_eq!(judge(&ours, "80a9"), Err(Unfit::NotDigits));
        assert_eq!(judge(&ours, "٨٠٤٩"), Err(Unfit::NotDigits), "digits that every keyboard has");
        let short = Unfit::TooShort { kind: SecretKind::Pin, least: 4 };
        assert_eq!(judge(&ours, "804"), Err(short));
        assert_eq!(short.to_string(), "a PIN needs at least 4 characters");
        assert_eq!(judge(&ours, "0000"), Err(Unfit::Common));
        let open = rules(SecretKind::Pin, 4, Blocking::Off);
        assert_eq!(judge(&open, "0000"), Ok(()));
    }
}
