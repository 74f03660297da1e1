//! `<base>/password`: a new secret for who knows the one in use; `<base>/reset`: for who has a link.

use http::StatusCode;
use serde_json::json;

use super::pages::{self, Message, Page};
use super::signup::{TOKEN, Wrong, confirmed, without_referrer};
use super::{Answered, Asked, Endpoint, Endpoints, Refused, query};
use crate::access::Identity;
use crate::id::UserId;
use crate::message::reject::Rejection;
use crate::secret::Secret;
use crate::session::{AccountError, LinkSecret};
use crate::store::links::LinkKind;

/// The field of the secret in use.
const IN_USE: &str = "current_password";
/// The field of the new one.
const NEW: &str = "new_password";
/// Says on the way to the login page that a password was changed.
pub(super) const PASSWORD_CHANGED: &str = "password_changed";

impl Endpoints {
    pub(super) fn password_page(&self, asked: &Asked<'_>) -> Result<Answered, Refused> {
        let (identity, _) = match self.account_holder(asked, Endpoint::PasswordPage)? {
            Ok(holder) => holder,
            Err(to_login) => return Ok(to_login),
        };
        let page = self.new_password(&identity.login, None, None);
        Ok(self.page(StatusCode::OK, &page, asked))
    }

    pub(super) async fn password(&self, asked: &Asked<'_>) -> Result<Answered, Refused> {
        let (identity, user) = match self.account_holder(asked, Endpoint::PasswordPage)? {
            Ok(holder) => holder,
            Err(to_login) => return Ok(to_login),
        };
        let refused = |Wrong(message, refused): Wrong| {
            let page = self.new_password(&identity.login, None, Some(message));
            self.refused_form(asked, &page, refused)
        };
        let in_use = asked.fields.text(IN_USE)?.unwrap_or_default();
        let new = asked.fields.text(NEW)?.unwrap_or_default();
        if in_use.is_empty() {
            let missing = asked.fields.missing(IN_USE);
            return refused(Wrong(Message::CurrentSecretWrong, missing.into()));
        }
        if new.is_empty() {
            let missing = asked.fields.missing(NEW);
            return refused(Wrong(Message::SecretMissing, missing.into()));
        }
        if let Err(wrong) = confirmed(asked, new)? {
            return refused(wrong);
        }
        let (in_use, new) = (Secret::new(in_use.to_owned()), Secret::new(new.to_owned()));
        let keep = identity.session;
        let from = (asked.client, self.device(asked));
        let changed = self.sessions.change_password(user, keep, in_use, new, from).await;
        match changed {
            Ok(_) if asked.page => self.done(PASSWORD_CHANGED),
            Ok(_) => Ok(Answered::json(json!({ "message": "Password changed" }))),
            Err(error) => refused(Wrong::from(error)),
        }
    }

    /// Shows the form that a reset link is good for. A GET spends nothing.
    pub(super) async fn reset_page(&self, asked: &Asked<'_>) -> Result<Answered, Refused> {
        let token = query(asked.head, TOKEN).unwrap_or_default();
        let login = self.login_by_link(&token, asked).await?;
        let page = self.new_password(&login, Some(&token), None);
        Ok(self.secret_page(StatusCode::OK, &page, asked))
    }

    pub(super) async fn reset(&self, asked: &Asked<'_>) -> Result<Answered, Refused> {
        let token = asked.fields.text(TOKEN)?.unwrap_or_default();
        let new = asked.fields.text(NEW)?.unwrap_or_default();
        let wrong = if new.is_empty() {
            let missing = asked.fields.missing(NEW);
            Err(Wrong(Message::SecretMissing, missing.into()))
        } else {
            confirmed(asked, new)?
        };
        let done = match wrong {
            Ok(()) => {
                let new = Secret::new(new.to_owned());
                let secret = LinkSecret::presented(token);
                let done = self.sessions.reset_password(&secret, new, asked.client).await;
                done.map_err(|error| match error {
                    error @ AccountError::LinkSpent => Err(error.into()),
                    error => Ok(Wrong::from(error)),
                })
            }
            Err(wrong) => Err(Ok(wrong)),
        };
        match done {
            Ok(_) if asked.page => {
                let login = self.path(Endpoint::LoginPage);
                let onward = login.map(|login| format!("{login}?{PASSWORD_CHANGED}=1"));
                Answered::see_other(onward.as_deref().unwrap_or("/"))
            }
            Ok(_) => Ok(Answered::json(json!({ "message": "Password changed" }))),
            // There is nothing to fill in again: the page says so by itself.
            Err(Err(spent)) => Err(spent),
            Err(Ok(Wrong(message, refused))) if asked.page => {
                let login = self.login_by_link(token, asked).await?;
                let page = self.new_password(&login, Some(token), Some(message));
                Ok(without_referrer(self.refused_form(asked, &page, refused)?))
            }
            Err(Ok(Wrong(_, refused))) => Err(refused),
        }
    }

    /// The name of the account that a reset link is good for.
    async fn login_by_link(&self, token: &str, asked: &Asked<'_>) -> Result<String, Refused> {
        let secret = LinkSecret::presented(token);
        let link = self.sessions.link(LinkKind::Reset, &secret, asked.client).await?;
        let owner = link.user.ok_or(Rejection::LinkSpent)?;
        let owner = self.sessions.account(owner).await;
        let owner = owner.map_err(|error| Rejection::StoreUnavailable(error.into()))?;
        Ok(owner.ok_or(Rejection::LinkSpent)?.login)
    }

    fn new_password<'a>(
        &self,
        login: &'a str,
        token: Option<&'a str>,
        error: Option<Message>,
    ) -> Page<'a> {
        let min_length = self.sessions.fitness().min_length();
        Page::NewPassword(pages::NewPassword { login, token, min_length, error })
    }

    /// Who calls, with the account that is theirs; the way to the login page for a person who is
    /// not logged in, and back to this page.
    pub(super) fn account_holder<'a>(
        &self,
        asked: &'a Asked<'_>,
        page: Endpoint,
    ) -> Result<Result<(&'a Identity, UserId), Answered>, Refused> {
        let Some(identity) = asked.caller.identity() else {
            if !asked.page {
                return Err(self.nobody(asked));
            }
            let Some(login) = self.path(Endpoint::LoginPage) else {
                return Err(self.nobody(asked));
            };
            let place = self.path(page).unwrap_or("/");
            let place: String = form_urlencoded::byte_serialize(place.as_bytes()).collect();
            return Ok(Err(Answered::see_other(&format!("{login}?return_to={place}"))?));
        };
        // A token that was minted for somebody whom only an app knows.
        let user = identity.user.ok_or(Rejection::Forbidden)?;
        Ok(Ok((identity, user)))
    }

    /// Why a caller is nobody.
    pub(super) fn nobody(&self, asked: &Asked<'_>) -> Refused {
        let why = match &asked.nobody {
            Some(Rejection::Malformed) => Rejection::Malformed,
            Some(Rejection::InvalidSignature) => Rejection::InvalidSignature,
            Some(Rejection::Expired) => Rejection::Expired,
            Some(Rejection::TokenRevoked) => Rejection::TokenRevoked,
            Some(Rejection::RefreshRequired) => Rejection::RefreshRequired,
            Some(Rejection::SessionExpired) => Rejection::SessionExpired,
            Some(Rejection::SessionRevoked) => Rejection::SessionRevoked,
            Some(Rejection::RateLimited { limit, retry_after }) => {
                Rejection::RateLimited { limit: *limit, retry_after: *retry_after }
            }
            _ => Rejection::MissingToken,
        };
        why.into()
    }
}
