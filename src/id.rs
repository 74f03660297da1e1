//! Names of things that the gateway makes: users, sessions, tokens, keys.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::digest;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::secret::{self, NoRandomness};

/// An id that does not have the form which the gateway gives its ids.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form that the gateway makes")]
pub struct BadId;

/// An account. A UUIDv7 (RFC 9562 section 5.7): unique, and sorted by when it was made. The users
/// of apps have a UUIDv8, which follows from their names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Uuid);

impl UserId {
    /// A new id for an account made at `now`.
    pub fn generate(now: Timestamp) -> Result<Self, NoRandomness> {
        let millis = u64::try_from(now.millis()).unwrap_or(0);
        let random = secret::random::<10>()?;
        Ok(Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()))
    }

    /// The id that follows from `names` (RFC 9562 section 5.8): 122 bits of their SHA-256, each
    /// behind its length.
    fn named(names: &[&str]) -> Self {
        let mut digest = digest::Context::new(&digest::SHA256);
        for name in names {
            digest.update(&u64::try_from(name.len()).unwrap_or(u64::MAX).to_be_bytes());
            digest.update(name.as_bytes());
        }
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(digest.finish().as_ref()) {
            *to = *from;
        }
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// From the raw 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The raw 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl FromStr for UserId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        // One spelling only: the hyphenated lower-case form that `Display` writes.
        let uuid = Uuid::try_parse(text).map_err(|_| BadId)?;
        let id = Self(uuid);
        if id.to_string() == text { Ok(id) } else { Err(BadId) }
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// 128 random bits.
            pub fn generate() -> Result<Self, NoRandomness> {
                secret::random().map(Self)
            }

            /// From the raw 16 bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The raw 16 bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                parse_hex(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

random_id!(
    /// A session (`sid`): one login on one device. 32 lower-case hex digits.
    SessionId
);
random_id!(
    /// A single token (`jti`). 32 lower-case hex digits.
    TokenId
);

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserId({self})")
    }
}

fn parse_hex(text: &str) -> Result<[u8; 16], BadId> {
    let digits = text.as_bytes();
    if digits.len() != 32 || digits.iter().any(u8::is_ascii_uppercase) {
        return Err(BadId);
    }
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| BadId)?;
        if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(BadId);
        }
        *byte = u8::from_str_radix(pair, 16).map_err(|_| BadId)?;
    }
    Ok(bytes)
}

/// A signing key (`kid`): 16 lower-case hex digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KeyId(Box<str>);

impl KeyId {
    /// 64 random bits: unique within a ring, and says nothing.
    pub fn generate() -> Result<Self, NoRandomness> {
        let bytes = secret::random::<8>()?;
        Ok(Self(format!("{:016x}", u64::from_be_bytes(bytes)).into()))
    }

    /// A `kid` that was read from the store, a file or a token.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// As it stands in a token's header.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An app: a machine client that may mint tokens. 1 to 64 of `a-z 0-9 - _ .`, the first a letter or
/// a digit, so that it reads the same in headers, names and addresses.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AppId(Arc<str>);

impl AppId {
    /// As the operator wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands for the app itself where users are revoked: a cut-off of it refuses all tokens
    /// that it has minted. No account has this id.
    pub fn principal(&self) -> UserId {
        UserId::named(&["sallyport/app", self.as_str()])
    }

    /// The account of the user whom the app calls `subject`. The same for the same two names, so
    /// that it is known without the store; no account that was made otherwise has this id.
    pub fn user(&self, subject: &str) -> UserId {
        UserId::named(&["sallyport/app-user", self.as_str(), subject])
    }
}

impl FromStr for AppId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let first = text.bytes().next().is_some_and(plain);
        let fine = text.bytes().all(|byte| plain(byte) || b"-_.".contains(&byte));
        if first && fine && text.len() <= 64 { Ok(Self(text.into())) } else { Err(BadId) }
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a revocation refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Revoked {
    /// All tokens of a session.
    Session(SessionId),
    /// A single token.
    Token(TokenId),
    /// All tokens of a user that were issued at or before the moment.
    User(UserId, Timestamp),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_apps_never_meet_each_other_or_an_account() {
        let [one, other]: [AppId; 2] = ["quest", "quest.b"].map(|id| id.parse().unwrap());
        assert_eq!(one.user("ada"), one.user("ada"));
        let ids = [
            one.user("ada"),
            one.user("Ada"),
            one.user(""),
            other.user("ada"),
            one.principal(),
            other.principal(),
        ];
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
        for id in ids {
            assert_eq!(id.0.get_version_num(), 8, "accounts are of version 7");
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn an_app_is_called_by_plain_lower_case() {
        let long = "a".repeat(64);
        for good in ["a", "7", "my-app", "quest.kit_2", long.as_str()] {
            assert_eq!(good.parse::<AppId>().unwrap().as_str(), good);
        }
        let too_long = "a".repeat(65);
        for bad in ["", "-a", ".a", "A", "a/b", "a b", "é", "a\n", too_long.as_str()] {
            assert!(bad.parse::<AppId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ids_have_exactly_one_spelling() {
        let sid = SessionId::generate().unwrap();
        let text = sid.to_string();
        assert_eq!(text.parse(), Ok(sid));
        assert_eq!(text.to_uppercase().parse::<SessionId>(), Err(BadId));
        assert_eq!("+f".repeat(16).parse::<SessionId>(), Err(BadId));
        let user = UserId::generate(Timestamp::from_secs(1_700_000_000)).unwrap();
        assert_eq!(user.to_string().parse(), Ok(user));
        assert_eq!(user.to_string().to_uppercase().parse::<UserId>(), Err(BadId));
        assert_eq!(user.to_string().replace('-', "").parse::<UserId>(), Err(BadId));
    }
}
