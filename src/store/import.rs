//! Accounts from elsewhere: many at once, and what their passwords are hashed with.

use async_trait::async_trait;

use super::StoreError;
use super::rows::User;
use crate::secret::PasswordHash;

/// The most prefixes that [`Import::password_unlike`] takes.
pub const PREFIXES_MAX: usize = 4;

/// What a takeover of accounts needs.
#[async_trait]
pub trait Import {
    /// Adds accounts, all or none. `NameTaken` if any `login_key` exists, or comes twice.
    async fn add_users(&self, users: &[User]) -> Result<(), StoreError>;
    /// The hash of any account that begins with none of these: looks through all accounts. More
    /// than [`PREFIXES_MAX`] prefixes are not looked at.
    async fn password_unlike(
        &self,
        prefixes: &[String],
    ) -> Result<Option<PasswordHash>, StoreError>;
}

/// Accounts whose hash begins with none of $1 to $4. A null is no prefix.
macro_rules! password_unlike {
    ($text:literal) => {
        concat!(
            "SELECT password FROM users WHERE password IS NOT NULL \
             AND ($1",
            $text,
            " IS NULL OR substr(password, 1, length($1)) <> $1) \
             AND ($2",
            $text,
            " IS NULL OR substr(password, 1, length($2)) <> $2) \
             AND ($3",
            $text,
            " IS NULL OR substr(password, 1, length($3)) <> $3) \
             AND ($4",
            $text,
            " IS NULL OR substr(password, 1, length($4)) <> $4) LIMIT 1"
        )
    };
}
pub(super) use password_unlike;
