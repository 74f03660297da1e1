//! `<base>/logout`: ends the session on the server, and deletes what the browser holds of it.

use http::StatusCode;
use serde_json::json;

use super::pages::Page;
use super::{Answered, Asked, Endpoints, Refused, query};
use crate::access::Caller;
use crate::id::{SessionId, UserId};
use crate::message::cookies::Found;
use crate::message::reject::Rejection;
use crate::message::return_to::ReturnTo;
use crate::store::audit::Actor;
use crate::store::rows::EndReason;

impl Endpoints {
    /// Asks whether it is meant: a GET changes nothing.
    pub(super) fn logout_page(&self, asked: &Asked<'_>) -> Answered {
        let return_to = query(asked.head, "return_to");
        let return_to = self.return_to(return_to.as_deref(), asked);
        let return_to = return_to.as_ref().map(ReturnTo::as_str);
        let Some(identity) = asked.caller.identity() else {
            return self.page(StatusCode::OK, &Page::LoggedOut { return_to }, asked);
        };
        let page = Page::LogoutConfirm { login: &identity.login, return_to };
        self.page(StatusCode::OK, &page, asked)
    }

    pub(super) async fn logout(&self, asked: &Asked<'_>) -> Result<Answered, Refused> {
        // Whoever holds a minted token may end it; whoever minted it has an endpoint for that.
        if let Caller::Machine(identity) = &asked.caller {
            let (sessions, actor) = (&self.sessions, Actor::User(identity.login.clone()));
            let ended =
                sessions.end_token(identity.token, identity.expires_at, actor, asked.client);
            let ended = ended.await;
            ended.map_err(|error| Rejection::StoreUnavailable(error.into()))?;
        }
        let by_caller = asked.caller.identity().and_then(|identity| identity.session);
        // Whatever its generation: somebody who holds any token of the session may end it.
        let of_cookie = match asked.refresh {
            Found::One(token) => Some(token),
            Found::Absent | Found::Conflict => None,
        };
        let tokens = [asked.fields.text("refresh_token")?, of_cookie].into_iter().flatten();
        let by_refresh: Vec<SessionId> =
            tokens.filter_map(|token| self.sessions.session_of(token)).collect();
        if query(asked.head, "all").is_some()
            && let Some(user) = self.leaving(asked, by_refresh.first().copied()).await?
        {
            let ended = self.sessions.end_sessions_of(user, None, EndReason::Logout).await;
            ended.map_err(|error| Rejection::StoreUnavailable(error.into()))?;
        }
        let mut sessions: Vec<SessionId> = by_caller.into_iter().chain(by_refresh).collect();
        sessions.dedup();
        for session in sessions {
            // If this fails the cookies stay: the session lives, and the user can try again.
            let ended = self.sessions.log_out(session).await;
            ended.map_err(|error| Rejection::StoreUnavailable(error.into()))?;
        }
        let answer = match asked.page {
            true => {
                let return_to = self.return_to(asked.fields.text("return_to")?, asked);
                Answered::see_other(&self.signed_out_url(return_to.as_ref()))?
            }
            false => Answered::json(json!({ "message": "Logout successful" })),
        };
        Ok(answer.with_cookies(self.cleared_cookies()))
    }

    /// Whose sessions end, all of them: the caller's, or that of the refresh token.
    async fn leaving(
        &self,
        asked: &Asked<'_>,
        by_refresh: Option<SessionId>,
    ) -> Result<Option<UserId>, Rejection> {
        if let Some(user) = asked.caller.identity().and_then(|identity| identity.user) {
            return Ok(Some(user));
        }
        let Some(session) = by_refresh else { return Ok(None) };
        let owner = self.sessions.owner_of(session).await;
        owner.map_err(|error| Rejection::StoreUnavailable(error.into()))
    }
}
