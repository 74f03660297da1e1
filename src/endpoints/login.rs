//! `<base>/login`: the page, and name and secret -> a session and its cookies.

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;

use super::pages::{self, Message, Page, Reason};
use super::password::PASSWORD_CHANGED;
use super::signup::ACCOUNT_MADE;
use super::{Answered, Asked, Endpoint, Endpoints, Refused, query, tell_limit};
use crate::access::Caller;
use crate::config::{Act, CAPTCHA, Remember};
use crate::message::cookies::{self, Found, Life, Which};
use crate::message::form::BodyError;
use crate::message::reject::Rejection;
use crate::message::return_to::ReturnTo;
use crate::secret::Secret;
use crate::session::{Allowance, Attempt, Begun, DeviceCookie, LoginError, LoginStep};

/// Says on the way back from a login that cookies were set just now, so that a browser which did
/// not keep them is told so instead of being sent round in circles.
const SIGNED_IN: &str = "signed_in";
/// Says that a route asks for a fresh login, so that the page asks though somebody is signed in.
pub const AGAIN: &str = "again";
/// Says why somebody who had a session is led here. It opens nothing: a link may say so too.
pub const WHY: &str = "why";
const ENDED: &str = "ended";
const REVOKED: &str = "revoked";

/// The value of [`WHY`] for this refusal, if there was a session.
pub fn why(refused: &Rejection) -> Option<&'static str> {
    match refused {
        Rejection::SessionExpired | Rejection::Expired => Some(ENDED),
        Rejection::SessionRevoked | Rejection::TokenRevoked => Some(REVOKED),
        _ => None,
    }
}

/// Says that a logout led here.
const SIGNED_OUT: &str = "signed_out";

impl Endpoints {
    pub(super) fn login_page(&self, asked: &Asked<'_>) -> Result<Answered, Refused> {
        let return_to = query(asked.head, "return_to");
        let return_to = self.return_to(return_to.as_deref(), asked);
        let place = return_to.as_ref().map(ReturnTo::as_str);
        let again = query(asked.head, AGAIN).is_some();
        if let (Caller::Session(_), false) = (&asked.caller, again) {
            return Answered::see_other(place.unwrap_or("/"));
        }
        if query(asked.head, SIGNED_IN).is_some() {
            let expected = self.config.listen.public_url.ascii();
            let wrong_host = self.config.listen.public_url.host != asked.own.host;
            let why = match wrong_host {
                true => pages::Refusal::WrongHost { expected: &expected },
                false => pages::Refusal::Cookies,
            };
            let page = Page::CookiesRefused { why, return_to: place };
            return Ok(self.page(StatusCode::OK, &page, asked));
        }
        if query(asked.head, SIGNED_OUT).is_some() {
            return Ok(self.page(StatusCode::OK, &Page::LoggedOut { return_to: place }, asked));
        }
        let reason = match &asked.nobody {
            _ if query(asked.head, PASSWORD_CHANGED).is_some() => Some(Reason::PasswordChanged),
            _ if query(asked.head, ACCOUNT_MADE).is_some() => Some(Reason::AccountMade),
            Some(Rejection::SessionExpired | Rejection::Expired) => Some(Reason::SessionEnded),
            Some(Rejection::SessionRevoked | Rejection::TokenRevoked) => {
                Some(Reason::SessionRevoked)
            }
            // The answer that led here has taken the cookies with it.
            Some(_) => match query(asked.head, WHY).as_deref() {
                Some(ENDED) => Some(Reason::SessionEnded),
                Some(REVOKED) => Some(Reason::SessionRevoked),
                _ => None,
            },
            // Signed in, and sent here by a route that asks for a fresh login.
            None if again => Some(Reason::RecentLoginNeeded),
            _ => None,
        };
        let captcha = self.sessions.captcha_is_due(Act::Login, None, asked.client);
        let login = pages::Login { return_to: place, reason, captcha, ..pages::Login::default() };
        let answer = self.page(StatusCode::OK, &Page::Login(login), asked);
        // What the browser still holds is no good: it goes, whoever set it and wherever.
        let stale = matches!(
            asked.nobody,
            Some(
                Rejection::Malformed
                    | Rejection::InvalidSignature
                    | Rejection::SessionExpired
                    | Rejection::SessionRevoked
                    | Rejection::TokenRevoked
            )
        );
        Ok(if stale { answer.with_cookies(self.cleared_cookies()) } else { answer })
    }

    pub(super) async fn login(&self, asked: &Asked<'_>) -> Result<Answered, Refused> {
        let identifier = asked.fields.text("username")?.unwrap_or_default();
        let secret = asked.fields.text("password")?.unwrap_or_default();
        let return_to = self.return_to(asked.fields.text("return_to")?, asked);
        let remember = self.remembers(asked)?;
        let refused = |message, why: Refused| {
            let form = Form { identifier, remember, return_to: return_to.as_ref() };
            self.login_refused(asked, &form, message, why)
        };
        if identifier.is_empty() {
            let missing = asked.fields.missing("username");
            return refused(Message::IdentifierMissing, missing.into());
        }
        if secret.is_empty() {
            let missing = asked.fields.missing("password");
            return refused(Message::SecretMissing, missing.into());
        }
        let attempt = Attempt {
            identifier: identifier.to_owned(),
            secret: Secret::new(secret.to_owned()),
            client: asked.client,
            user_agent: browser(asked),
            remember,
            pending: asked.fields.text("pending")?.map(str::to_owned),
            captcha: self.captcha_token(Act::Login, asked)?.map(str::to_owned),
            device: self.device(asked).map(str::to_owned),
            replaces: self.present_session(asked),
        };
        match self.sessions.log_in(attempt).await {
            Ok(LoginStep::Done(begun)) => self.logged_in(asked, &begun, return_to.as_ref()).await,
            Ok(LoginStep::Next { pending, factor }) => {
                let next = json!({ "next": factor, "pending": pending });
                Ok(Answered { status: StatusCode::ACCEPTED, ..Answered::json(next) })
            }
            Err(error) => {
                let message = match &error {
                    LoginError::Refused(_) => Message::InvalidCredentials,
                    LoginError::NotHuman => Message::CaptchaFailed,
                    LoginError::Limited(allowance) => {
                        Message::RateLimited { retry_after: Some(allowance.retry_after) }
                    }
                    LoginError::Stale
                    | LoginError::Busy { .. }
                    | LoginError::CaptchaUnavailable(_)
                    | LoginError::Unavailable(_) => Message::Unavailable,
                };
                refused(message, error.into())
            }
        }
    }

    /// Whether the cookies of this login are to outlive the browser's run.
    pub(super) fn remembers(&self, asked: &Asked<'_>) -> Result<bool, Refused> {
        let wish = asked.fields.flag("remember")?.unwrap_or(false);
        Ok(match self.config.login.remember {
            Remember::Ask => wish,
            Remember::Always => true,
            Remember::Never => false,
        })
    }

    /// What the captcha's widget gave, where it is asked for.
    pub(super) fn captcha_token<'a>(
        &self,
        act: Act,
        asked: &'a Asked<'_>,
    ) -> Result<Option<&'a str>, BodyError> {
        match &self.config.captcha {
            Some(captcha) if captcha.on.contains(&act) => asked.fields.text(CAPTCHA),
            _ => Ok(None),
        }
    }

    /// What this browser keeps from its last login, if anything that can be read.
    pub(super) fn device<'a>(&self, asked: &Asked<'a>) -> Option<&'a str> {
        self.device_in(&asked.head.headers)
    }

    /// The same of a request that was not to an endpoint.
    pub(super) fn device_in<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let name = self.config.cookies.device.as_deref()?;
        match cookies::find(headers, name) {
            Found::One(sealed) => Some(sealed),
            Found::Absent | Found::Conflict => None,
        }
    }

    /// `Set-Cookie` for what the browser is to keep. It outlives the session, "remember me" or not:
    /// it says nothing and opens nothing, and else whoever never ticks the box could be locked out.
    pub(super) fn device_cookie(&self, device: Option<&DeviceCookie>) -> Option<HeaderValue> {
        let settings = &self.config.cookies;
        settings.device.as_ref()?;
        let device = device?;
        let life = Life::For(device.ttl);
        match cookies::set(settings, Which::Device, &device.value, life) {
            Ok(cookie) => Some(cookie),
            Err(error) => {
                tracing::error!(error = %error, "a cookie could not be made");
                None
            }
        }
    }

    /// The session that this browser is in, which a login takes the place of.
    pub(super) fn present_session(&self, asked: &Asked<'_>) -> Option<crate::id::SessionId> {
        let of_caller = asked.caller.identity().and_then(|identity| identity.session);
        of_caller.or_else(|| match asked.refresh {
            Found::One(token) => self.sessions.session_of(token),
            Found::Absent | Found::Conflict => None,
        })
    }

    async fn logged_in(
        &self,
        asked: &Asked<'_>,
        begun: &Begun,
        return_to: Option<&ReturnTo>,
    ) -> Result<Answered, Refused> {
        let device = self.device_cookie(begun.device.as_ref());
        if asked.page {
            let answer = match self.resume(asked, begun.pair.who.id).await {
                Some(resumed) => resumed,
                None => self.onward(return_to)?,
            };
            return Ok(answer.with_device(device).with_pair(&begun.pair));
        }
        let who = &begun.pair.who;
        let mut answer = Answered::json(json!({
            "message": "Login successful",
            "user": {
                "id": who.id.to_string(),
                "login": who.login,
                "name": who.name,
                "roles": who.roles,
                "permissions": who.permissions,
            },
            "expires_at": begun.pair.access_expires_at().secs(),
        }));
        tell_limit(&mut answer.headers, &begun.allowance);
        Ok(answer.with_device(device).with_pair(&begun.pair))
    }

    fn login_refused(
        &self,
        asked: &Asked<'_>,
        form: &Form<'_>,
        message: Message,
        refused: Refused,
    ) -> Result<Answered, Refused> {
        let login = pages::Login {
            identifier: form.identifier,
            return_to: form.return_to.map(ReturnTo::as_str),
            error: Some(message),
            reason: None,
            remember: form.remember,
            captcha: self.sessions.captcha_is_due(Act::Login, Some(form.identifier), asked.client),
            kept: self.kept(asked),
        };
        self.refused_form(asked, &Page::Login(login), refused)
    }

    /// A refusal as it is told to a program, or as the form again for a person.
    pub(super) fn refused_form(
        &self,
        asked: &Asked<'_>,
        page: &Page<'_>,
        refused: Refused,
    ) -> Result<Answered, Refused> {
        if !asked.page {
            return Err(refused);
        }
        let status = self.status(&refused.rejection, Some(asked.endpoint));
        let mut answer = self.page(status, page, asked);
        let page_fields = std::mem::take(&mut answer.headers);
        refused.rejection.add_fields(status, asked.spread, &mut answer.headers);
        answer.headers.extend(page_fields);
        if let Some(allowance) = &refused.allowance {
            tell_limit(&mut answer.headers, allowance);
        }
        Ok(answer)
    }

    /// The way on from a login by form, past the page that sees whether cookies were kept.
    pub(super) fn onward(&self, return_to: Option<&ReturnTo>) -> Result<Answered, Refused> {
        let place = return_to.map_or("/", ReturnTo::as_str);
        let place: String = form_urlencoded::byte_serialize(place.as_bytes()).collect();
        match self.path(Endpoint::LoginPage) {
            Some(login) => Answered::see_other(&format!("{login}?{SIGNED_IN}=1&return_to={place}")),
            None => Answered::see_other(return_to.map_or("/", ReturnTo::as_str)),
        }
    }
}

/// The `User-Agent`, for the list of one's sessions.
pub(super) fn browser(asked: &Asked<'_>) -> String {
    let agent = asked.head.headers.get(USER_AGENT);
    agent.map(|agent| String::from_utf8_lossy(agent.as_bytes()).into_owned()).unwrap_or_default()
}

/// What was typed, to be shown again; never the secret.
struct Form<'a> {
    identifier: &'a str,
    remember: bool,
    return_to: Option<&'a ReturnTo>,
}

impl From<LoginError> for Refused {
    fn from(error: LoginError) -> Self {
        let (rejection, allowance) = match error {
            LoginError::Refused(allowance) => (Rejection::InvalidCredentials, Some(allowance)),
            LoginError::Limited(allowance) => {
                let Allowance { limit, retry_after, .. } = allowance;
                (Rejection::RateLimited { limit, retry_after }, Some(allowance))
            }
            LoginError::NotHuman => (Rejection::CaptchaFailed, None),
            LoginError::CaptchaUnavailable(cause) => {
                (Rejection::CaptchaUnavailable(Box::new(cause)), None)
            }
            LoginError::Stale => (Rejection::SessionExpired, None),
            LoginError::Busy { retry_after } => (Rejection::Busy { retry_after }, None),
            LoginError::Unavailable(cause) => (Rejection::StoreUnavailable(Box::new(cause)), None),
        };
        Self { rejection, cookies: Vec::new(), allowance }
    }
}

impl Endpoints {
    /// Where a logout leads; from there a login leads on to `return_to`.
    pub(super) fn signed_out_url(&self, return_to: Option<&ReturnTo>) -> String {
        let Some(login) = self.path(Endpoint::LoginPage) else { return "/".to_owned() };
        let url = format!("{login}?{SIGNED_OUT}=1");
        match return_to {
            Some(place) => super::with_place(&url, place.as_str()),
            None => url,
        }
    }
}
