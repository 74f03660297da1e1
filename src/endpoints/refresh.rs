//! `POST <base>/refresh`: a refresh token, from the body or else the cookie -> a new pair.

use serde_json::json;

use super::{Answered, Asked, Endpoints, Refused};
use crate::message::cookies::Found;
use crate::message::reject::Rejection;
use crate::session::{Allowance, RefreshError};

impl Endpoints {
    pub(super) async fn refresh(&self, asked: &Asked<'_>) -> Result<Answered, Refused> {
        let token = match (asked.fields.text("refresh_token")?, asked.refresh) {
            (Some(token), _) | (None, Found::One(token)) => token,
            (None, Found::Absent) => return Err(Rejection::MissingToken.into()),
            (None, Found::Conflict) => return Err(Rejection::Malformed.into()),
        };
        match self.sessions.refresh(token, asked.client).await {
            Ok(refreshed) => {
                let pair = &refreshed.pair;
                let answer = Answered::json(json!({
                    "message": "Access token refreshed successfully",
                    "expires_at": pair.access_expires_at().secs(),
                }));
                Ok(answer.with_pair(pair))
            }
            Err(error) => {
                let useless = error.is_final();
                let cookies = if useless { self.cleared_cookies() } else { Vec::new() };
                let allowance = match &error {
                    RefreshError::Limited(allowance) => Some(*allowance),
                    _ => None,
                };
                Err(Refused { rejection: error.into(), cookies, allowance })
            }
        }
    }
}

impl From<RefreshError> for Rejection {
    fn from(error: RefreshError) -> Self {
        use crate::token::TokenError;
        match error {
            RefreshError::Unauthentic(TokenError::Expired) | RefreshError::Expired => {
                Self::SessionExpired
            }
            RefreshError::Unauthentic(TokenError::BadSignature | TokenError::UnknownKey) => {
                Self::InvalidSignature
            }
            RefreshError::Unauthentic(_) => Self::Malformed,
            RefreshError::Revoked(_) => Self::SessionRevoked,
            RefreshError::Limited(Allowance { limit, retry_after, .. }) => {
                Self::RateLimited { limit, retry_after }
            }
            RefreshError::Unavailable(cause) => Self::StoreUnavailable(Box::new(cause)),
        }
    }
}
