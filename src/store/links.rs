//! One-time links: whoever holds one may make the first account, make an account, or set a password
//! anew. The store knows only the hash of what stands in a link.

use async_trait::async_trait;
use aws_lc_rs::digest;

use super::StoreError;
use super::rows::User;
use crate::clock::Timestamp;
use crate::id::UserId;
use crate::secret::{PasswordHash, Secret};

/// The one-time links of a store.
#[async_trait]
pub trait Links {
    /// Adds a link. `NoSuchUser` if it is a reset of an account that is gone.
    async fn add_link(&self, link: &Link) -> Result<(), StoreError>;
    /// The link with this hash, if it may still be used at `now`. Spends nothing.
    async fn link(&self, hash: &LinkHash, now: Timestamp) -> Result<Option<Link>, StoreError>;
    /// The links that may still be used at `now`, the newest first, at most `limit`: each with the
    /// login name of the account whose password it resets.
    async fn links(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<(Link, Option<String>)>, StoreError>;
    /// Takes a link back. Returns whether it was there and not over at `now`.
    async fn withdraw_link(&self, hash: &LinkHash, now: Timestamp) -> Result<bool, StoreError>;
    /// Spends a link of this kind and adds `user`, both or neither. `NoSuchLink` if it was spent,
    /// is over at `now` or never was; a setup link also if there is any account already. `NameTaken`
    /// leaves the link as it is. Of several setups at once one is done. An account made by setup
    /// spends all other setup links.
    async fn sign_up_by_link(
        &self,
        hash: &LinkHash,
        kind: LinkKind,
        user: &User,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Spends a reset link and all others of its account, sets the password, and ends the account's
    /// sessions with revocations until `revoked_until`, all or nothing. Returns the account.
    /// `NoSuchLink` as above.
    async fn reset_by_link(
        &self,
        hash: &LinkHash,
        password: &PasswordHash,
        now: Timestamp,
        revoked_until: Timestamp,
    ) -> Result<User, StoreError>;
}

/// What a link is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// The first account of a store.
    Setup,
    /// An account with rights that were chosen beforehand.
    Invite,
    /// A new password for an account that exists.
    Reset,
}

impl LinkKind {
    /// As kept in the store, and shown in links and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Invite => "invite",
            Self::Reset => "reset",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Setup, Self::Invite, Self::Reset].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A link that has not been used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What the store knows it by.
    pub hash: LinkHash,
    /// What it is good for.
    pub kind: LinkKind,
    /// Whose password it resets; none for the other kinds.
    pub user: Option<UserId>,
    /// Roles of the account that it makes.
    pub roles: Vec<String>,
    /// Permissions of the account that it makes.
    pub permissions: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From then on it is of no use.
    pub expires_at: Timestamp,
}

/// The hash of the secret in a link. A plain one: the secret has 256 random bits, which nobody tries
/// through, and a slow hash would only be work on a stranger's order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkHash([u8; 32]);

impl LinkHash {
    /// Of the secret as it stands in the link.
    pub fn of(secret: &Secret<String>) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"sallyport one-time link\0");
        context.update(secret.expose().as_bytes());
        let mut hash = [0; 32];
        for (byte, digested) in hash.iter_mut().zip(context.finish().as_ref()) {
            *byte = *digested;
        }
        Self(hash)
    }

    /// By which operators speak of a link: 16 hexadecimal digits, which tell nothing of its secret.
    pub fn id(&self) -> String {
        let (start, _rest) = self.0.split_at(8);
        start.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(super) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for LinkHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_says_nothing_of_its_secret_and_differs_by_it() {
        let hash = |text: &str| LinkHash::of(&Secret::new(text.to_owned()));
        assert_eq!(hash("a"), hash("a"));
        assert_ne!(hash("a"), hash("b"));
        assert_eq!((hash("a").id().len(), hash("a").id()), (16, hash("a").id()));
        assert_ne!(hash("a").id(), hash("b").id());
        assert_eq!(format!("{:?}", hash("a")), "LinkHash(..)");
    }

    #[test]
    fn every_kind_is_read_back_by_its_name() {
        for kind in [LinkKind::Setup, LinkKind::Invite, LinkKind::Reset] {
            assert_eq!(LinkKind::from_name(kind.as_str()), Some(kind));
        }
        assert_eq!(LinkKind::from_name("login"), None);
    }
}
