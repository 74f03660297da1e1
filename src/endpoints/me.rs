//! `GET <base>/me`: who the caller is, from the token alone.

use serde_json::json;

use super::{Answered, Asked, Endpoints, Refused};
use crate::id::AppId;
use crate::message::reject::Rejection;

impl Endpoints {
    pub(super) fn me(&self, asked: Asked<'_>) -> Result<Answered, Refused> {
        let Some(identity) = asked.caller.identity() else {
            return Err(asked.nobody.unwrap_or(Rejection::MissingToken).into());
        };
        Ok(Answered::json(json!({
            "id": identity.subject,
            "login": identity.login,
            "name": identity.name,
            "email": identity.email,
            "roles": identity.roles,
            "permissions": identity.permissions,
            "app": identity.app.as_ref().map(AppId::as_str),
            "session": identity.session.map(|session| session.to_string()),
            "auth_time": identity.auth_time.secs(),
            "expires_at": identity.expires_at.secs(),
        })))
    }
}
