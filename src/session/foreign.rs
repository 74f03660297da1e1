//! Password hashes that were made elsewhere: which of them are taken over, how they are verified,
//! and what each kind costs. At the next login one of ours takes their place.

use argon2::Params;
use argon2::password_hash::phc;
use base64::Engine;
use base64::alphabet::BCRYPT;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use subtle::ConstantTimeEq;

use crate::secret::{PasswordHash, Secret};

/// A hash that is not taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ForeignError {
    /// Not a hash, or one of a kind that is not known here.
    #[error("not a hash that is known here: bcrypt ($2a$, $2b$, $2y$) and Argon2 ($argon2id$) are")]
    Unknown,
    /// A kind that keeps nobody from the password.
    #[error("a hash of this kind is too weak to be kept; give the account a new password instead")]
    Weak,
    /// It begins like one of a known kind, and does not go on so.
    #[error("a damaged hash")]
    Damaged,
    /// To verify it would hold a hashing thread for too long, or take too much memory.
    #[error(
        "a hash of a higher cost than is taken over: bcrypt up to {BCRYPT_COST_MAX}, Argon2 up to \
         256 MiB and 1 GiB times passes"
    )]
    TooCostly,
}

/// The highest cost of bcrypt: about a second.
const BCRYPT_COST_MAX: u32 = 14;
/// KiB of Argon2.
const ARGON2_KIB_MAX: u32 = 256 << 10;
/// KiB times passes of Argon2: about a second.
const ARGON2_WORK_MAX: u64 = 1 << 20;
/// What bcrypt reads of a password.
const BCRYPT_BYTES: usize = 72;

/// Whether a hash from elsewhere can be verified here, at a bearable price.
///
/// # Errors
/// Why not.
pub fn take_over(text: &str) -> Result<PasswordHash, ForeignError> {
    if text.starts_with("$2") {
        Bcrypt::read(text)?;
    } else if text.starts_with("$argon2") {
        let hash = phc::PasswordHash::new(text).map_err(|_| ForeignError::Damaged)?;
        let params = Params::try_from(&hash).map_err(|_| ForeignError::Damaged)?;
        let known = ["argon2id", "argon2i", "argon2d"].contains(&hash.algorithm.as_str());
        if !known || hash.hash.is_none() || hash.salt.is_none() {
            return Err(ForeignError::Damaged);
        }
        let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
        if params.m_cost() > ARGON2_KIB_MAX || work > ARGON2_WORK_MAX {
            return Err(ForeignError::TooCostly);
        }
    } else if WEAK.iter().any(|kind| text.starts_with(kind)) {
        return Err(ForeignError::Weak);
    } else {
        return Err(ForeignError::Unknown);
    }
    Ok(PasswordHash::new(text.to_owned()))
}

/// MD5, SHA-1 without salt, and the crypts of old.
const WEAK: [&str; 7] = ["$apr1$", "$1$", "{SHA}", "{SSHA}", "{MD5}", "$5$", "$6$"];

/// A bcrypt hash in its parts: `$2b$COST$` with 22 digits of salt and 31 of hash.
pub(super) struct Bcrypt {
    cost: u32,
    salt: [u8; 16],
    digest: [u8; 23],
}

impl Bcrypt {
    /// The parts of `text`. `2x` is the work of a maker that garbled some passwords, and `2` of one
    /// before the terminating zero: neither is read.
    pub(super) fn read(text: &str) -> Result<Self, ForeignError> {
        let rest = ["$2a$", "$2b$", "$2y$"].iter().find_map(|prefix| text.strip_prefix(prefix));
        let (cost, rest) =
            rest.and_then(|rest| rest.split_once('$')).ok_or(ForeignError::Damaged)?;
        let two_digits = cost.len() == 2 && cost.bytes().all(|byte| byte.is_ascii_digit());
        let cost = cost.parse().ok().filter(|cost| two_digits && *cost >= 4);
        let cost = cost.ok_or(ForeignError::Damaged)?;
        if cost > BCRYPT_COST_MAX {
            return Err(ForeignError::TooCostly);
        }
        let (salt, digest) = rest.split_at_checked(22).ok_or(ForeignError::Damaged)?;
        let digits = GeneralPurpose::new(
            &BCRYPT,
            // Some makers leave the spare bits of the last digit as they were.
            GeneralPurposeConfig::new()
                .with_decode_allow_trailing_bits(true)
                .with_decode_padding_mode(DecodePaddingMode::RequireNone),
        );
        let bytes = |text: &str| digits.decode(text).map_err(|_| ForeignError::Damaged);
        Ok(Self {
            cost,
            salt: bytes(salt)?.try_into().map_err(|_| ForeignError::Damaged)?,
            digest: bytes(digest)?.try_into().map_err(|_| ForeignError::Damaged)?,
        })
    }

    /// Whether `secret` belongs to it, as its maker would say: bcrypt reads the first 72 bytes. Of
    /// a longer password these decide, until the login that they let through has it hashed whole.
    /// One with a zero byte never does, since bcrypt's makers read up to there: it would let in
    /// whoever knows the beginning.
    pub(super) fn is_of(&self, secret: &Secret<String>) -> bool {
        let bytes = secret.expose().as_bytes();
        let read = bytes.get(..BCRYPT_BYTES).unwrap_or(bytes);
        let mut ended = Secret::new([read, &[0][..]].concat());
        if read.len() == BCRYPT_BYTES {
            ended = Secret::new(read.to_vec());
        }
        let made = bcrypt::bcrypt(self.cost, self.salt, ended.expose());
        let same = made
            .iter()
            .zip(&self.digest)
            .fold(subtle::Choice::from(1), |same, (a, b)| same & a.ct_eq(b));
        bool::from(same) && !bytes.contains(&0)
    }
}

/// All that the price of verifying a hash depends on. Two of one kind cost the same.
pub(super) fn kind(hash: &PasswordHash) -> String {
    match Bcrypt::read(hash.expose()) {
        Ok(bcrypt) => format!("bcrypt {}", bcrypt.cost),
        Err(_) => prefix(hash).to_owned(),
    }
}

/// What stands before the salt.
pub(super) fn prefix(hash: &PasswordHash) -> &str {
    let text = hash.expose();
    // A PHC string has salt and hash behind its last two dollars, bcrypt both behind its last.
    let dollars = if text.starts_with("$2") { 1 } else { 2 };
    let at = text.rmatch_indices('$').nth(dollars - 1).map_or(text.len(), |(at, _)| at + 1);
    text.get(..at).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(secret: &str, hash: &str) -> bool {
        Bcrypt::read(hash).unwrap().is_of(&Secret::new(secret.to_owned()))
    }

    /// From the test vectors of Openwall's crypt_blowfish, whose maker named the variants.
    const U: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

    #[test]
    fn bcrypts_own_vectors_are_verified() {
        assert!(is("U*U", U));
        assert!(!is("U*", U));
        assert!(is("U*U*", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"));
        assert!(is("U*U*U", "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"));
        assert!(is("", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy"));
    }

    #[test]
    fn a_long_password_is_read_up_to_its_72nd_byte_as_its_maker_did() {
        let hash = "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui";
        let long = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ\
                    0123456789chars after 72 are ignored";
        assert!(is(long, hash));
        assert!(is(&long[..72], hash));
        assert!(!is(&long[..71], hash));
    }

    #[test]
    fn a_zero_byte_never_matches() {
        assert!(!is("U*U\0", U));
        assert!(!is("U*U\0U", U));
        assert!(!is("\0", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy"));
    }

    #[test]
    fn what_cannot_be_verified_at_a_bearable_price_is_refused_with_a_reason() {
        let y = U.replace("$2a$", "$2y$");
        let phc = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$\
                   qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo";
        for good in [U, &y, phc] {
            assert_eq!(take_over(good).unwrap().expose(), good);
        }
        for (text, why) in [
            ("", ForeignError::Unknown),
            ("secret", ForeignError::Unknown),
            ("$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/", ForeignError::Weak),
            ("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", ForeignError::Weak),
            (&U.replace("$2a$", "$2x$"), ForeignError::Damaged),
            (&U.replace("$05$", "$15$"), ForeignError::TooCostly),
            (&U.replace("$05$", "$31$"), ForeignError::TooCostly),
            (&U.replace("$05$", "$03$"), ForeignError::Damaged),
            (&U.replace("$05$", "$+5$"), ForeignError::Damaged),
            (&U[..59], ForeignError::Damaged),
            (&format!("{U}x"), ForeignError::Damaged),
            (&phc.replace("argon2id", "argon2x"), ForeignError::Damaged),
            (&phc.replace("m=19456", "m=4194304"), ForeignError::TooCostly),
            (&phc.replace("t=2", "t=4000"), ForeignError::TooCostly),
            ("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0", ForeignError::Damaged),
        ] {
            assert_eq!(take_over(text), Err(why), "{text}");
        }
    }

    #[test]
    fn what_stands_before_the_salt_tells_the_price() {
        let of = |text: &str| PasswordHash::new(text.to_owned());
        let phc = of("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA");
        assert_eq!(prefix(&phc), "$argon2id$v=19$m=19456,t=2,p=1$");
        assert_eq!(prefix(&of(U)), "$2a$05$");
        assert_eq!(kind(&of(U)), kind(&of(&U.replace("$2a$", "$2y$"))));
        assert_ne!(kind(&of(U)), kind(&phc));
        assert_eq!(prefix(&of("nonsense")), "nonsense");
    }
}
