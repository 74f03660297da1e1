//! Refresh, rotation and theft. [`decide`] is the whole rule, pure; the rest of the file reads the
//! row, asks it, and makes its answer true by compare-and-swap.

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::limits::Allowance;
use super::stats::RefreshOutcome;
use super::{Pair, Sessions, cause};
use crate::clock::Timestamp;
use crate::config;
use crate::id::{Revoked, TokenId};
use crate::store::rows::{EndReason, RefreshRecord, Session, User};
use crate::store::{Advance, Step, StoreError};
use crate::token::{RefreshClaims, TokenError};

/// What an authentic refresh token is to be answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is the current one: spend it, move to the next generation.
    Rotate,
    /// It is the current one, and this site does not rotate: a new access token only.
    Keep,
    /// It is the current one's predecessor: the same current token again, and no rotation.
    Again(Grace),
    /// It is newer than the row, so the store has gone back: set the row to it, then as if current.
    Rollback,
    /// It was spent, and neither a second tab nor a lost response explains it.
    Theft,
    /// The session has ended before.
    Ended(EndReason),
    /// The session's time is over.
    Expired,
}

/// Why a predecessor is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grace {
    /// The rotation was less than `reuse_grace` ago: a second tab.
    Time,
    /// Nobody has ever presented a token of the successor generation: a lost response.
    Unseen,
}

/// What of `[session]` the decision rests on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) rotate: bool,
    pub(super) reuse_grace: Duration,
    pub(super) idle_ttl: Duration,
}

impl From<&config::Session> for Rules {
    fn from(session: &config::Session) -> Self {
        let config::Session { rotate, reuse_grace, idle_ttl, .. } = *session;
        Self { rotate, reuse_grace, idle_ttl }
    }
}

/// The rule of rotation and theft (RFC 9700 section 4.14.2), for a token whose signature is good.
pub(super) fn decide(
    row: &Session,
    presented: &RefreshClaims,
    now: Timestamp,
    rules: Rules,
) -> Decision {
    if let Some(ended) = row.ended {
        return Decision::Ended(ended.reason);
    }
    let newer = presented.generation > row.generation;
    // A store that has gone back has forgotten refreshes, and with them how far they moved the idle
    // end; the token itself shows one.
    let shown = presented.issued_at.plus(rules.idle_ttl);
    let idle_end = if newer { row.idle_expires_at.max(shown) } else { row.idle_expires_at };
    if now >= row.expires_at || now >= idle_end {
        return Decision::Expired;
    }
    if newer {
        return Decision::Rollback;
    }
    if presented.generation == row.generation {
        return if rules.rotate { Decision::Rotate } else { Decision::Keep };
    }
    if presented.generation.checked_add(1) != Some(row.generation) {
        return Decision::Theft;
    }
    // Both ways: another replica's clock may be ahead of ours. But a clock that was set back must
    // not stretch the grace until it has caught up.
    let apart = now.since(row.rotated_at).max(row.rotated_at.since(now));
    if apart < rules.reuse_grace {
        Decision::Again(Grace::Time)
    } else if row.seen_generation < row.generation {
        Decision::Again(Grace::Unseen)
    } else {
        Decision::Theft
    }
}

/// A refresh that was granted.
#[derive(Debug, Clone)]
pub struct Refreshed {
    /// The tokens to give out.
    pub pair: Pair,
    /// Why, for the access line.
    pub outcome: RefreshOutcome,
}

/// A refresh that was not.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RefreshError {
    /// Not a token of ours, or not any more, or not yet.
    #[error("the refresh token is not authentic: {0}")]
    Unauthentic(TokenError),
    /// The session's time is over, or nothing is known of it (`session_expired`).
    #[error("the session has expired")]
    Expired,
    /// The session was ended: by logout, by the operator, or because this very token was spent
    /// before (`session_revoked`).
    #[error("the session has ended: {}", .0.as_str())]
    Revoked(EndReason),
    /// Too many unauthentic tokens from this network (`rate_limited`).
    #[error("too many refresh tokens that are not authentic")]
    Limited(Allowance),
    /// We could not find out. The token may be as good as ever: no cookie may be deleted for this.
    #[error("refreshing failed on our side: {0}")]
    Unavailable(#[source] Arc<dyn Error + Send + Sync>),
}

impl RefreshError {
    /// Whether the presented token will never be of use again, so that its cookie may go. Else the
    /// fault is ours, or time's.
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Expired | Self::Revoked(_) => true,
            // A replica whose clock is behind, or that has not learnt a key yet, says so of a token
            // that is good.
            Self::Unauthentic(error) => {
                !matches!(error, TokenError::NotYetValid | TokenError::UnknownKey)
            }
            Self::Limited(_) | Self::Unavailable(_) => false,
        }
    }

    /// How it is counted.
    pub const fn outcome(&self) -> RefreshOutcome {
        match self {
            Self::Unauthentic(_) => RefreshOutcome::Unauthentic,
            Self::Expired => RefreshOutcome::Expired,
            Self::Revoked(EndReason::Theft) => RefreshOutcome::Theft,
            Self::Revoked(_) => RefreshOutcome::Ended,
            Self::Limited(_) => RefreshOutcome::Limited,
            Self::Unavailable(_) => RefreshOutcome::Failed,
        }
    }
}

impl From<StoreError> for RefreshError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(Arc::new(error))
    }
}

impl Sessions {
    /// Answers a presented refresh token: with a new pair, with the same successor as everyone who
    /// presented it, or not at all. Requests that present the same token at the same time share one
    /// act, and the act runs to its end though they have gone.
    ///
    /// # Errors
    /// See [`RefreshError`]. An authentic token is never refused by a limit.
    pub async fn refresh(
        self: &Arc<Self>,
        token: &str,
        client: IpAddr,
    ) -> Result<Refreshed, RefreshError> {
        let presented = match self.authentic(token).await {
            Ok(presented) => presented,
            Err(error) => return Err(self.refuse(error, client)),
        };
        let act = self.clone().answer(presented, client);
        let landed = self.flights.join(token, act).await;
        landed.unwrap_or_else(|grounded| {
            self.stats.count_refresh(RefreshOutcome::Failed);
            Err(RefreshError::Unavailable(Arc::new(grounded)))
        })
    }

    async fn authentic(self: &Arc<Self>, token: &str) -> Result<RefreshClaims, TokenError> {
        let now = self.clock.now();
        match self.keys.ring().verify_refresh(token, now) {
            // Another replica may have made a key since we last looked.
            Err(TokenError::UnknownKey) if self.learn_keys().await => {
                self.keys.ring().verify_refresh(token, now)
            }
            verified => verified,
        }
    }

    fn refuse(&self, error: TokenError, client: IpAddr) -> RefreshError {
        let refusal = match error {
            TokenError::Expired => RefreshError::Expired,
            // What an honest browser may hold costs it nothing.
            error if !error.is_forged() => RefreshError::Unauthentic(error),
            error => match self.limits.charge_forgery(client) {
                Ok(_) => RefreshError::Unauthentic(error),
                Err(allowance) => RefreshError::Limited(allowance),
            },
        };
        self.stats.count_refresh(refusal.outcome());
        refusal
    }

    /// One act, from the row to the answer, counted once however many await it.
    async fn answer(
        self: Arc<Self>,
        presented: RefreshClaims,
        client: IpAddr,
    ) -> Result<Refreshed, RefreshError> {
        let answer = self.settle(&presented, client).await;
        match &answer {
            Ok(refreshed) => {
                self.stats.count_refresh(refreshed.outcome);
                if let RefreshOutcome::Again(grace) = refreshed.outcome {
                    self.audit.answered_again(&presented, grace);
                }
            }
            Err(error) => {
                self.stats.count_refresh(error.outcome());
                if let RefreshError::Unavailable(source) = error {
                    tracing::warn!(error = %cause(source.as_ref()), "a refresh failed");
                }
            }
        }
        answer
    }

    async fn settle(
        &self,
        presented: &RefreshClaims,
        client: IpAddr,
    ) -> Result<Refreshed, RefreshError> {
        for _ in 0..ROUNDS_MAX {
            // Read before the row is: what is signed below is dated before any end of the session
            // that the row does not show yet, so the revocation written then outlives it.
            let now = self.clock.now();
            let row = self.store.session(presented.session).await?;
            let (row, user) = row.ok_or(RefreshError::Expired)?;
            if user.disabled && row.ended.is_none() {
                self.end(row.id, EndReason::Account).await?;
                return Err(RefreshError::Revoked(EndReason::Account));
            }
            let (outcome, to) = match decide(&row, presented, now, self.rules) {
                Decision::Rotate => (RefreshOutcome::Rotated, row.generation.saturating_add(1)),
                Decision::Rollback if self.rules.rotate => {
                    (RefreshOutcome::Rollback, presented.generation.saturating_add(1))
                }
                Decision::Rollback => (RefreshOutcome::Rollback, presented.generation),
                Decision::Keep => return self.keep(&row, &user, now).await,
                Decision::Again(grace) => return self.again(&row, &user, now, grace).await,
                Decision::Theft => return Err(self.stolen(&row, presented, client).await?),
                Decision::Ended(reason) => {
                    // Whoever ended it, its access tokens need not wait until we hear of it.
                    self.revoked.add(Revoked::Session(row.id), self.revoked_until(now));
                    return Err(RefreshError::Revoked(reason));
                }
                Decision::Expired => return Err(RefreshError::Expired),
            };
            if let Some(moved) = self.advance(&row, to, now).await? {
                if outcome == RefreshOutcome::Rollback {
                    self.audit.set_right(&row, presented);
                }
                let refresh = self.rules.rotate.then_some(&moved.current);
                let pair = self.pair(&moved, &user, refresh, now).await?;
                return Ok(Refreshed { pair, outcome });
            }
            // Somebody was quicker: what the token is to be answered with must be asked anew.
        }
        Err(RefreshError::Unavailable(Arc::new(Contended)))
    }

    /// Moves the session to `to` if it is still where `row` shows it; the row as it then is.
    async fn advance(
        &self,
        row: &Session,
        to: u64,
        now: Timestamp,
    ) -> Result<Option<Session>, RefreshError> {
        let step = Step {
            from: row.generation,
            to,
            next: RefreshRecord {
                key: self.keys.ring().signing_key(now).clone(),
                token: TokenId::generate().map_err(unavailable)?,
                issued_at: now,
                expires_at: row.expires_at,
            },
            at: now,
            idle_expires_at: self.idle_end(row, now),
        };
        Ok(match self.store.advance(row.id, &step).await? {
            Advance::Lost => None,
            Advance::Done => Some(Session {
                generation: to,
                current: step.next,
                rotated_at: now,
                idle_expires_at: step.idle_expires_at,
                ..row.clone()
            }),
        })
    }

    async fn keep(
        &self,
        row: &Session,
        user: &User,
        now: Timestamp,
    ) -> Result<Refreshed, RefreshError> {
        self.touch(row, now).await?;
        let pair = self.pair(row, user, None, now).await?;
        Ok(Refreshed { pair, outcome: RefreshOutcome::Kept })
    }

    async fn again(
        &self,
        row: &Session,
        user: &User,
        now: Timestamp,
        grace: Grace,
    ) -> Result<Refreshed, RefreshError> {
        self.touch(row, now).await?;
        // All who race get the same bytes, so the order in which the answers reach the cookie jar
        // does not matter.
        let pair = self.pair(row, user, Some(&row.current), now).await?;
        Ok(Refreshed { pair, outcome: RefreshOutcome::Again(grace) })
    }

    /// Moves the idle end, unless that would write a row to gain next to nothing.
    async fn touch(&self, row: &Session, now: Timestamp) -> Result<(), StoreError> {
        let idle_end = self.idle_end(row, now);
        if idle_end.since(row.idle_expires_at) > self.rules.idle_ttl / 100 {
            self.store.touch(row.id, idle_end).await?;
        }
        Ok(())
    }

    fn idle_end(&self, row: &Session, now: Timestamp) -> Timestamp {
        // Never back: the clock may have been.
        now.plus(self.rules.idle_ttl).max(row.idle_expires_at).min(row.expires_at)
    }

    async fn stolen(
        &self,
        row: &Session,
        presented: &RefreshClaims,
        client: IpAddr,
    ) -> Result<RefreshError, StoreError> {
        self.end(row.id, EndReason::Theft).await?;
        self.audit.stolen(row, presented, client);
        Ok(RefreshError::Revoked(EndReason::Theft))
    }
}

/// How often a refresh that others overtake asks anew. Whoever lost a race finds the successor in
/// the row, so the second round answers; more are lost only to a logout and a login in between.
const ROUNDS_MAX: usize = 8;

#[derive(Debug, thiserror::Error)]
#[error("the session changed each time it was read")]
struct Contended;

pub(super) fn unavailable(error: impl Error + Send + Sync + 'static) -> RefreshError {
    RefreshError::Unavailable(Arc::new(error))
}

#[cfg(test)]
mod tests;
