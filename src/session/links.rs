//! One-time links as they are made: the secret that goes into a link and the row that does not hold
//! it. Shared by the gateway and the command line.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::Timestamp;
use crate::id::UserId;
use crate::secret::{self, NoRandomness, Secret};
use crate::store::links::{Link, LinkHash, LinkKind};

/// How long a setup link may be used. It is made anew at every start without accounts, and each
/// works until then: whichever the operator finds in the log is good.
pub(super) const SETUP_TTL: Duration = Duration::from_hours(24);

/// What stands in a link. Whoever has it may use it, so it is shown once and never kept.
#[derive(Clone)]
pub struct LinkSecret(Secret<String>);

impl LinkSecret {
    /// As it was presented.
    pub fn presented(text: &str) -> Self {
        Self(Secret::new(text.to_owned()))
    }

    /// As it goes into a link: 43 letters, digits, `-` and `_`.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    pub(super) fn hash(&self) -> LinkHash {
        LinkHash::of(&self.0)
    }

    /// Whether it has the form of one of ours. What has not need not be looked for.
    pub(super) fn is_plausible(&self) -> bool {
        let text = self.expose();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        text.len() == SECRET_LENGTH && text.bytes().all(plain)
    }
}

impl fmt::Debug for LinkSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkSecret(..)")
    }
}

/// What a link is to be good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// The first account, which may do everything that asks for the permission `admin`.
    Setup,
    /// An account with these rights.
    Invite {
        /// Sorted, without doubles.
        roles: Vec<String>,
        /// Sorted, without doubles.
        permissions: Vec<String>,
    },
    /// A new password for this account.
    Reset(UserId),
}

/// Draws a link that may be used until `ttl` from `now`: the row for the store, and the secret for
/// the person.
///
/// # Errors
/// The system has no randomness.
pub fn draw_link(
    purpose: Purpose,
    ttl: Duration,
    now: Timestamp,
) -> Result<(Link, LinkSecret), NoRandomness> {
    let secret = secret::random::<SECRET_BYTES>()?;
    let secret = LinkSecret(Secret::new(URL_SAFE_NO_PAD.encode(secret)));
    let (kind, user, roles, permissions) = match purpose {
        Purpose::Setup => (LinkKind::Setup, None, Vec::new(), vec!["admin".to_owned()]),
        Purpose::Invite { roles, permissions } => (LinkKind::Invite, None, roles, permissions),
        Purpose::Reset(user) => (LinkKind::Reset, Some(user), Vec::new(), Vec::new()),
    };
    let link = Link {
        hash: secret.hash(),
        kind,
        user,
        roles,
        permissions,
        created_at: now,
        expires_at: now.plus(ttl),
    };
    Ok((link, secret))
}

/// 256 bits: nobody tries them through, so a link needs no slow hash.
const SECRET_BYTES: usize = 32;

/// In base64 without padding.
const SECRET_LENGTH: usize = 43;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    #[test]
    fn a_link_holds_what_it_is_good_for_and_not_its_secret() {
        let ttl = Duration::from_hours(1);
        let (link, secret) = draw_link(Purpose::Setup, ttl, NOW).unwrap();
        assert!(secret.is_plausible(), "{}", secret.expose());
        assert_eq!(link.hash, LinkSecret::presented(secret.expose()).hash());
        assert_eq!((link.kind, link.expires_at), (LinkKind::Setup, NOW.plus(ttl)));
        assert_eq!(link.permissions, ["admin"]);
        let shown = format!("{link:?} {secret:?}");
        assert!(!shown.contains(secret.expose()), "{shown}");
        let (_, other) = draw_link(Purpose::Setup, ttl, NOW).unwrap();
        assert_ne!(other.expose(), secret.expose());
    }

    #[test]
    fn what_has_not_the_form_of_a_secret_is_not_looked_for() {
        for text in ["", "short", &"a".repeat(44), &"ä".repeat(43), &format!("{} ", "a".repeat(42))]
        {
            assert!(!LinkSecret::presented(text).is_plausible(), "{text:?}");
        }
    }
}
