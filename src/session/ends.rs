//! How sessions end, and whose they are.

use std::sync::Arc;

use super::Sessions;
use crate::clock::Timestamp;
use crate::id::{Revoked, SessionId, UserId};
use crate::store::StoreError;
use crate::store::audit::{Actor, AuditKind};
use crate::store::rows::{EndReason, Session};

impl Sessions {
    /// The session that an authentic refresh token belongs to, whatever its generation: for a
    /// logout, and for a login that takes the place of another.
    pub fn session_of(&self, refresh_token: &str) -> Option<SessionId> {
        let claims = self.keys.ring().verify_refresh(refresh_token, self.clock.now()).ok()?;
        Some(claims.session)
    }

    /// Ends a session at its user's wish. Harmless when it has ended before or is unknown.
    ///
    /// # Errors
    /// The store did not do it.
    pub async fn log_out(self: &Arc<Self>, session: SessionId) -> Result<(), StoreError> {
        self.end_session(session, EndReason::Logout).await.map(drop)
    }

    /// Ends a session for `reason`. `false` if it had ended or is unknown.
    ///
    /// # Errors
    /// The store did not do it.
    pub async fn end_session(
        self: &Arc<Self>,
        session: SessionId,
        reason: EndReason,
    ) -> Result<bool, StoreError> {
        let this = self.clone();
        self.on_room(async move { this.end(session, reason).await }).await
    }

    /// Ends one of a user's own sessions. `false` if it is not theirs, has ended or is unknown.
    ///
    /// # Errors
    /// The store did not do it.
    pub async fn end_own_session(
        self: &Arc<Self>,
        user: UserId,
        session: SessionId,
    ) -> Result<bool, StoreError> {
        let store = self.store.clone();
        let row = self.on_room(async move { store.session(session).await }).await?;
        match row {
            Some((row, _)) if row.user == user => {
                self.end_session(session, EndReason::Logout).await
            }
            _ => Ok(false),
        }
    }

    /// Whose session it is, ended or not.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn owner_of(&self, session: SessionId) -> Result<Option<UserId>, StoreError> {
        let store = self.store.clone();
        let row = self.on_room(async move { store.session(session).await }).await?;
        Ok(row.map(|(session, _)| session.user))
    }

    /// When the session will have expired if nobody refreshes it, as the store knows it now. `None`: it
    /// has ended, or is unknown.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn lasts_until(&self, session: SessionId) -> Result<Option<Timestamp>, StoreError> {
        let store = self.store.clone();
        let row = self.on_room(async move { store.session(session).await }).await?;
        let row = row.map(|(session, _)| session).filter(|session| session.ended.is_none());
        Ok(row.map(|session| session.idle_expires_at.min(session.expires_at)))
    }

    /// Ends all sessions of a user but `keep`; returns those ended.
    ///
    /// # Errors
    /// The store did not do it.
    pub async fn end_sessions_of(
        self: &Arc<Self>,
        user: UserId,
        keep: Option<SessionId>,
        reason: EndReason,
    ) -> Result<Vec<SessionId>, StoreError> {
        let this = self.clone();
        self.on_room(async move {
            let now = this.clock.now();
            let until = this.revoked_until(now);
            let ended = this.store.end_sessions_of(user, keep, reason, now, until).await?;
            for session in &ended {
                this.revoked.add(Revoked::Session(*session), until);
                this.tell_ended(*session, reason);
            }
            Ok(ended)
        })
        .await
    }

    /// The sessions of a user that are alive, newest first, at most `limit`.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn sessions_of(&self, user: UserId, limit: u32) -> Result<Vec<Session>, StoreError> {
        let (store, now) = (self.store.clone(), self.clock.now());
        let rows =
            self.on_room(async move { store.sessions(Some(user), now, limit).await }).await?;
        Ok(rows.into_iter().map(|(session, _)| session).collect())
    }

    pub(super) async fn end(
        &self,
        session: SessionId,
        reason: EndReason,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let until = self.revoked_until(now);
        let ended = self.store.end_session(session, reason, now, until).await?;
        // Here at once; elsewhere as soon as they follow.
        self.revoked.add(Revoked::Session(session), until);
        // A theft has an event of its own.
        if ended && reason != EndReason::Theft {
            self.tell_ended(session, reason);
        }
        Ok(ended)
    }

    pub(super) fn tell_ended(&self, session: SessionId, reason: EndReason) {
        let event = self.audit.event(AuditKind::SessionEnded).because(reason.as_str());
        let by = match reason {
            // By a change that has an event of its own, or by the operator's hand.
            EndReason::Account | EndReason::Operator => event.by(Actor::Gateway),
            EndReason::Logout | EndReason::Theft | EndReason::Replaced => event,
        };
        self.audit.tell(by.in_session(session));
    }
}
