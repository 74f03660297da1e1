//! `<base>/account`: who I am and where I am logged in, as a page; `<base>/sessions`: the same for
//! programs, and the ends of sessions.

use http::StatusCode;
use serde_json::json;

use super::pages::{self, Done, Page, SessionLine};
use super::password::PASSWORD_CHANGED;
use super::{Answered, Asked, Endpoint, Endpoints, Refused, query};
use crate::id::SessionId;
use crate::message::reject::Rejection;
use crate::store::StoreError;
use crate::store::rows::{EndReason, Session};

/// Most sessions that are listed.
const MOST: u32 = 200;

const SESSION_ENDED: &str = "session_ended";
const OTHERS_ENDED: &str = "others_ended";

impl Endpoints {
    pub(super) async fn account_page(&self, asked: &Asked<'_>) -> Result<Answered, Refused> {
        let (identity, user) = match self.account_holder(asked, Endpoint::AccountPage)? {
            Ok(holder) => holder,
            Err(to_login) => return Ok(to_login),
        };
        // From the store and not the token: here one looks whether a change was made.
        let account = self.sessions.account(user).await.map_err(unavailable)?;
        let account = account.ok_or(Rejection::TokenRevoked)?;
        let sessions = self.sessions.sessions_of(user, MOST).await.map_err(unavailable)?;
        let ids: Vec<String> = sessions.iter().map(|session| session.id.to_string()).collect();
        let lines: Vec<SessionLine<'_>> = sessions
            .iter()
            .zip(&ids)
            .map(|(session, id)| SessionLine {
                id,
                device: &session.device,
                address: session.address,
                since: session.created_at,
                last_used: session.rotated_at,
                current: identity.session == Some(session.id),
            })
            .collect();
        let done = match query(asked.head, "done").as_deref() {
            Some(SESSION_ENDED) => Some(Done::SessionEnded),
            Some(OTHERS_ENDED) => Some(Done::OthersEnded),
            Some(PASSWORD_CHANGED) => Some(Done::PasswordChanged),
            _ => None,
        };
        let page = Page::Account(pages::Account {
            login: &account.login,
            name: account.name.as_deref(),
            email: account.email.as_deref(),
            roles: &account.roles,
            sessions: &lines,
            done,
        });
        Ok(self.page(StatusCode::OK, &page, asked))
    }

    pub(super) async fn own_sessions(&self, asked: &Asked<'_>) -> Result<Answered, Refused> {
        let (identity, user) = match self.account_holder(asked, Endpoint::AccountPage)? {
            Ok(holder) => holder,
            Err(to_login) => return Ok(to_login),
        };
        let sessions = self.sessions.sessions_of(user, MOST).await.map_err(unavailable)?;
        let told: Vec<_> =
            sessions.iter().map(|session| as_json(session, identity.session)).collect();
        Ok(Answered::json(json!({ "sessions": told })))
    }

    pub(super) async fn end_session(&self, asked: &Asked<'_>) -> Result<Answered, Refused> {
        let (identity, user) = match self.account_holder(asked, Endpoint::AccountPage)? {
            Ok(holder) => holder,
            Err(to_login) => return Ok(to_login),
        };
        let id = asked.fields.required_text("session")?;
        // One that is somebody else's is none that we would know of.
        let id: SessionId = id.parse().map_err(|_| Rejection::NotFound)?;
        let ended = self.sessions.end_own_session(user, id).await.map_err(unavailable)?;
        let own = identity.session == Some(id);
        let answer = match (asked.page, ended) {
            // Nobody minds that it had ended before.
            (true, _) if own => Answered::see_other(&self.signed_out_url(None))?,
            (true, _) => self.done(SESSION_ENDED)?,
            (false, true) => Answered::json(json!({ "ended": 1 })),
            (false, false) => return Err(Rejection::NotFound.into()),
        };
        Ok(if own { answer.with_cookies(self.cleared_cookies()) } else { answer })
    }

    pub(super) async fn end_other_sessions(&self, asked: &Asked<'_>) -> Result<Answered, Refused> {
        let (identity, user) = match self.account_holder(asked, Endpoint::AccountPage)? {
            Ok(holder) => holder,
            Err(to_login) => return Ok(to_login),
        };
        let ended = self.sessions.end_sessions_of(user, identity.session, EndReason::Logout);
        let ended = ended.await.map_err(unavailable)?;
        match asked.page {
            true => self.done(OTHERS_ENDED),
            false => Ok(Answered::json(json!({ "ended": ended.len() }))),
        }
    }

    /// Back to the page of one's account, which says what was done.
    pub(super) fn done(&self, what: &str) -> Result<Answered, Refused> {
        let page = self.path(Endpoint::AccountPage);
        let done = page.map(|page| match what {
            PASSWORD_CHANGED => format!("{page}?done={what}"),
            _ => format!("{page}?done={what}#sessions"),
        });
        Answered::see_other(done.as_deref().unwrap_or("/"))
    }
}

fn as_json(session: &Session, current: Option<SessionId>) -> serde_json::Value {
    let (browser, system) = pages::device(&session.device);
    json!({
        "id": session.id.to_string(),
        "browser": browser,
        "system": system,
        "user_agent": session.device,
        "address": session.address.map(|address| address.to_string()),
        "created_at": session.created_at.secs(),
        "last_used_at": session.rotated_at.secs(),
        "expires_at": session.expires_at.min(session.idle_expires_at).secs(),
        "current": current == Some(session.id),
    })
}

fn unavailable(error: StoreError) -> Rejection {
    Rejection::StoreUnavailable(error.into())
}
