//! The secrets of apps: how they are kept, and how one that is presented is compared.
//!
//! Not Argon2id: they are no passwords but keys, made by a generator (docs/decisions). So minting
//! costs microseconds, and a flood of wrong secrets costs us no more than it costs the sender.

use std::collections::BTreeSet;
use std::hint::black_box;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::{Choice, ConstantTimeEq};

use crate::clock::Timestamp;
use crate::secret::{self, NoRandomness, Secret};
use crate::store::apps::{APP_SECRETS_MAX, App, AppSecret};

/// Fewest characters of a secret that an operator brings along: 20 random letters and digits have
/// more than the 112 bits that NIST SP 800-63B-4 section 3.1.2.2 asks of a secret that is not
/// hashed slowly.
pub const APP_SECRET_MIN: usize = 20;

/// Most bytes of one.
pub const APP_SECRET_MAX: usize = 1024;

/// Fewest different characters in one. Nobody can tell chance by looking, but `aaaa...` is none.
const DIFFERENT_MIN: usize = 8;

/// Why a secret cannot be an app's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakSecret {
    /// Too few characters.
    #[error("an app's secret has at least {APP_SECRET_MIN} characters, and they are random")]
    Short,
    /// Too many bytes.
    #[error("an app's secret has at most {APP_SECRET_MAX} bytes")]
    Long,
    /// Too few different ones.
    #[error("an app's secret is random: this one repeats itself")]
    Monotonous,
}

/// A new random secret, 256 bits, for the operator to hand to the app.
///
/// # Errors
/// The system has no randomness.
pub fn new_app_secret() -> Result<Secret<String>, NoRandomness> {
    let bytes = Secret::new(secret::random::<32>()?);
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes.expose())))
}

/// Whether a secret that an operator brings along can be an app's.
///
/// # Errors
/// Why not.
pub fn app_secret_fits(secret: &Secret<String>) -> Result<(), WeakSecret> {
    let text = secret.expose();
    if text.len() > APP_SECRET_MAX {
        return Err(WeakSecret::Long);
    }
    if text.chars().count() < APP_SECRET_MIN {
        return Err(WeakSecret::Short);
    }
    let different: BTreeSet<char> = text.chars().collect();
    if different.len() < DIFFERENT_MIN {
        return Err(WeakSecret::Monotonous);
    }
    Ok(())
}

/// What is kept of `secret`.
///
/// # Errors
/// The system has no randomness.
pub fn keep_app_secret(secret: &Secret<String>, now: Timestamp) -> Result<AppSecret, NoRandomness> {
    let salt = secret::random::<16>()?.to_vec();
    let hash = Secret::new(digest(&salt, secret.expose()));
    let id = format!("{:08x}", u32::from_be_bytes(secret::random::<4>()?));
    Ok(AppSecret { id, salt, hash, created_at: now })
}

/// Whether `presented` is one of the app's secrets. Takes the same time whatever the app has, and
/// wherever a difference is: always as many hashes as an app can have secrets, each compared whole.
pub(super) fn is_secret_of(app: &App, presented: &Secret<String>) -> bool {
    let mut right = Choice::from(0);
    for slot in 0..APP_SECRETS_MAX {
        let (salt, hash, real) = match app.secrets.get(slot) {
            Some(secret) => (secret.salt.as_slice(), secret.hash.expose().as_slice(), 1),
            None => (NO_SALT.as_slice(), NO_HASH.as_slice(), 0),
        };
        let tag = digest(salt, presented.expose());
        right |= tag.as_slice().ct_eq(hash) & Choice::from(real);
    }
    black_box(right).into()
}

fn digest(salt: &[u8], secret: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, salt);
    hmac::sign(&key, secret.as_bytes()).as_ref().to_vec()
}

/// In the place of a secret that is not there.
const NO_SALT: [u8; 16] = [0; 16];
const NO_HASH: [u8; 32] = [0; 32];

#[cfg(test)]
mod tests {
    use super::*;

    fn app(secrets: Vec<AppSecret>) -> App {
        App {
            id: "quest".parse().unwrap(),
            name: None,
            secrets,
            roles: Vec::new(),
            permissions: Vec::new(),
            disabled: false,
            created_at: Timestamp::EPOCH,
        }
    }

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[test]
    fn each_secret_of_an_app_is_taken_and_nothing_else() {
        let texts: Vec<String> =
            (0..APP_SECRETS_MAX).map(|n| format!("secret number {n}")).collect();
        for count in 0..=APP_SECRETS_MAX {
            let kept = texts.iter().take(count);
            let kept: Vec<_> = kept
                .map(|text| keep_app_secret(&secret(text), Timestamp::EPOCH).unwrap())
                .collect();
            let app = app(kept);
            for (at, text) in texts.iter().enumerate() {
                assert_eq!(is_secret_of(&app, &secret(text)), at < count, "{at} of {count}");
            }
            for wrong in ["", "secret number", "secret number 00", "SECRET NUMBER 0", "\u{0}"] {
                assert!(!is_secret_of(&app, &secret(wrong)), "{wrong:?}");
            }
        }
        // A hash of zeros, should there ever be one, is not what fills an empty place.
        assert!(!is_secret_of(&app(Vec::new()), &secret("")));
    }

    #[test]
    fn the_same_secret_is_kept_differently_each_time_and_never_shown() {
        let text = new_app_secret().unwrap();
        assert!(app_secret_fits(&text).is_ok());
        assert_ne!(new_app_secret().unwrap().expose(), text.expose());
        let [one, two] = [(); 2].map(|()| keep_app_secret(&text, Timestamp::EPOCH).unwrap());
        assert_ne!(one.hash, two.hash);
        assert_ne!(one.id, two.id);
        let shown = format!("{one:?}");
        assert!(!shown.contains(text.expose()) && shown.contains("Secret(..)"), "{shown}");
    }

    #[test]
    fn what_could_be_guessed_is_no_secret_of_an_app() {
        for (text, why) in [
            ("", WeakSecret::Short),
            ("correct horse batte", WeakSecret::Short),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", WeakSecret::Monotonous),
            ("abcabcabcabcabcabcabcabcabc", WeakSecret::Monotonous),
        ] {
            assert_eq!(app_secret_fits(&secret(text)), Err(why), "{text}");
        }
        let long = "0123456789abcdef".repeat(65);
        assert_eq!(app_secret_fits(&secret(&long)), Err(WeakSecret::Long));
        assert_eq!(app_secret_fits(&secret("K7gNU3sdo-OL0wNhqoVW")), Ok(()));
    }
}
