//! What the audit log is told: who signed in, whose session ended and why. Never a token, a secret
//! or a name that somebody merely typed.

use std::net::IpAddr;

use super::login::{Begun, LoginError};
use super::refresh::Grace;
use crate::id::SessionId;
use crate::store::rows::{EndReason, Session};
use crate::token::RefreshClaims;

pub(super) fn session_began(begun: &Begun, client: IpAddr) {
    let pair = &begun.pair;
    tracing::info!(
        target: AUDIT,
        { session.id = %pair.session, user.id = %pair.who.id, client.address = %client },
        "a session began"
    );
}

pub(super) fn login_refused(error: &LoginError, client: IpAddr) {
    tracing::info!(target: AUDIT, { client.address = %client, %error }, "a login was refused");
}

pub(super) fn session_ended(session: SessionId, reason: EndReason) {
    let reason = reason.as_str();
    tracing::info!(target: AUDIT, { session.id = %session, reason }, "a session was ended");
}

pub(super) fn answered_again(presented: &RefreshClaims, grace: Grace) {
    let RefreshClaims { session, generation, .. } = *presented;
    tracing::info!(
        target: AUDIT,
        { session.id = %session, presented.generation = generation, ?grace },
        "a spent refresh token was answered with its successor"
    );
}

pub(super) fn set_right(row: &Session, presented: &RefreshClaims) {
    let (row, generation) = (row.id, (row.generation, presented.generation));
    tracing::error!(
        target: AUDIT,
        { session.id = %row, store.generation = generation.0, presented.generation = generation.1 },
        "the store has gone back: a session was set right after its token"
    );
}

pub(super) fn stolen(row: &Session, presented: &RefreshClaims) {
    let Session { id, user, generation, .. } = row;
    let spent = presented.generation;
    tracing::warn!(
        target: AUDIT,
        { session.id = %id, user.id = %user, session.generation = generation, presented.generation = spent },
        "a spent refresh token was presented: the session was ended"
    );
}

/// The target under which the log finds these.
const AUDIT: &str = "audit";
