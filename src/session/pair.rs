//! The tokens that a login or a refresh gives out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::refresh::unavailable;
use super::{RefreshError, Sessions};
use crate::clock::Timestamp;
use crate::config::RefreshStyle;
use crate::id::{SessionId, TokenId, UserId};
use crate::secret::{self, NoRandomness};
use crate::store::rows::{RefreshRecord, Session, User};
use crate::token::{AccessClaims, RefreshClaims, SignError};

/// An access token and, unless the client is to keep the one it has, a refresh token.
#[derive(Clone)]
pub struct Pair {
    /// The access token.
    pub access: String,
    /// What it says, so that nobody has to verify what we have just signed.
    pub claims: Arc<AccessClaims>,
    /// The refresh token; `None`: keep what you have.
    pub refresh: Option<String>,
    /// The session's absolute end: the refresh token's too.
    pub refresh_expires_at: Timestamp,
    /// When it was granted. Cookies that are attached much later than that are to be dropped.
    pub issued_at: Timestamp,
    /// Of which session.
    pub session: SessionId,
    /// Of which generation.
    pub generation: u64,
    /// Whether the cookies outlive the browser's run.
    pub persistent: bool,
    /// Whose.
    pub who: Arc<Who>,
}

impl Pair {
    /// When the access token ends.
    pub fn access_expires_at(&self) -> Timestamp {
        self.claims.expires_at
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the tokens.
        f.debug_struct("Pair")
            .field("session", &self.session)
            .field("generation", &self.generation)
            .field("issued_at", &self.issued_at)
            .finish_non_exhaustive()
    }
}

/// What a user may know of their own account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The account.
    pub id: UserId,
    /// As the user writes it.
    pub login: String,
    /// For display.
    pub name: Option<String>,
    /// For display.
    pub email: Option<String>,
    /// Sorted.
    pub roles: Vec<String>,
    /// Sorted.
    pub permissions: Vec<String>,
}

impl From<&User> for Who {
    fn from(user: &User) -> Self {
        Self {
            id: user.id,
            login: user.login.clone(),
            name: user.name.clone(),
            email: user.email.clone(),
            roles: user.roles.clone(),
            permissions: user.permissions.clone(),
        }
    }
}

/// A pair could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum PairError {
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl From<PairError> for RefreshError {
    fn from(error: PairError) -> Self {
        unavailable(error)
    }
}

impl Sessions {
    /// Signs an access token of `session`'s generation, dated `now`, and the refresh token that
    /// `refresh` records. The account's roles and permissions are those it has now.
    pub(super) async fn pair(
        &self,
        session: &Session,
        user: &User,
        refresh: Option<&RefreshRecord>,
        now: Timestamp,
    ) -> Result<Pair, PairError> {
        let profile = self.settings.profile_claims;
        let ends = now.plus(self.jittered_access_ttl()?).min(session.expires_at);
        // As it stands in the token: in whole seconds.
        let expires_at = Timestamp::from_secs(ends.secs());
        let issued_at = self.skew.shared(now).min(expires_at);
        let claims = AccessClaims {
            issued_at,
            expires_at,
            subject: user.id.to_string(),
            session: Some(session.id),
            generation: session.generation,
            token: TokenId::generate()?,
            preferred_username: user.login.clone(),
            name: user.name.clone().filter(|_| profile),
            email: user.email.clone().filter(|_| profile),
            roles: user.roles.clone(),
            permissions: user.permissions.clone(),
            amr: session.amr.clone(),
            // By our own clock: a token says of nobody that they proved who they are after it was issued.
            auth_time: session.auth_time.min(issued_at),
        };
        let access = self.keys.ring().sign_access(&claims, now)?;
        let off = self.settings.session.refresh == RefreshStyle::Off;
        let refresh = match refresh.filter(|_| !off) {
            Some(record) => Some(self.refresh_token(session, record).await?),
            None => None,
        };
        Ok(Pair {
            access,
            claims: Arc::new(claims),
            refresh,
            refresh_expires_at: session.expires_at,
            issued_at: now,
            session: session.id,
            generation: session.generation,
            persistent: session.persistent,
            who: Arc::new(Who::from(user)),
        })
    }

    /// The same record gives the same bytes, whoever signs.
    async fn refresh_token(
        &self,
        session: &Session,
        record: &RefreshRecord,
    ) -> Result<String, SignError> {
        let claims = RefreshClaims {
            session: session.id,
            generation: session.generation,
            token: record.token,
            issued_at: record.issued_at,
            expires_at: record.expires_at,
        };
        match self.keys.ring().sign_refresh(&claims, &record.key) {
            // Another replica's newest key.
            Err(SignError::UnknownKey { .. }) if self.learn_keys().await => {
                self.keys.ring().sign_refresh(&claims, &record.key)
            }
            signed => signed,
        }
    }

    /// `access_ttl` less a random part of its jitter, so that those who came together do not come
    /// back together.
    fn jittered_access_ttl(&self) -> Result<Duration, NoRandomness> {
        let session = &self.settings.session;
        let most = session.access_ttl / 100 * u32::from(session.jitter_percent.min(100));
        let share = f64::from(u32::from_be_bytes(secret::random::<4>()?)) / f64::from(u32::MAX);
        Ok(session.access_ttl - most.mul_f64(share))
    }
}
