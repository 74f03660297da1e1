//! `<base>/signup`, `<base>/setup` and `<base>/invite`: a name and a secret -> an account, and its
//! first session.

use http::StatusCode;
use serde_json::json;

use super::login::browser;
use super::pages::{self, Message, Page, SignupKind};
use super::{Answered, Asked, Endpoint, Endpoints, Refused, query};
use crate::config::{Act, Origin};
use crate::message::form::BodyError;
use crate::message::reject::{Rejection, Unusable};
use crate::message::return_to::ReturnTo;
use crate::secret::Secret;
use crate::session::{AccountError, LinkSecret, Newcomer, SignedUp, Unfit};
use crate::store::links::LinkKind;

/// The field that holds a link's secret: in the link's query, and in the form that its page shows.
pub(super) const TOKEN: &str = "token";
/// The field that repeats a new secret. A program may leave it out; a form always sends it.
pub(super) const CONFIRMATION: &str = "password_confirmation";

/// The address of a one-time link on this site, to the page at this path.
pub fn link_url(site: &Origin, page: &str, secret: &LinkSecret) -> String {
    format!("{}{page}?{TOKEN}={}", site.ascii(), secret.expose())
}

impl Endpoints {
    pub(super) fn signup_page(&self, asked: &Asked<'_>) -> Result<Answered, Refused> {
        self.strangers_may_sign_up()?;
        let return_to = query(asked.head, "return_to");
        let return_to = self.return_to(return_to.as_deref(), asked);
        let return_to = return_to.as_ref().map(ReturnTo::as_str);
        let form = Form { kind: SignupKind::Open, identifier: "", token: None, return_to };
        Ok(self.page(StatusCode::OK, &self.form(&form, None), asked))
    }

    /// Shows what a setup or invite link is good for. A GET spends nothing: programs that look at
    /// mail open every link in it.
    pub(super) async fn newcomer_page(
        &self,
        kind: LinkKind,
        asked: &Asked<'_>,
    ) -> Result<Answered, Refused> {
        let token = query(asked.head, TOKEN).unwrap_or_default();
        self.sessions.link(kind, &LinkSecret::presented(&token), asked.client).await?;
        let form = Form { kind: of(kind), identifier: "", token: Some(&token), return_to: None };
        Ok(self.secret_page(StatusCode::OK, &self.form(&form, None), asked))
    }

    pub(super) async fn signup(&self, asked: &Asked<'_>) -> Result<Answered, Refused> {
        self.strangers_may_sign_up()?;
        let return_to = self.return_to(asked.fields.text("return_to")?, asked);
        let form = Form {
            kind: SignupKind::Open,
            identifier: self.identifier(asked)?,
            token: None,
            return_to: return_to.as_ref().map(ReturnTo::as_str),
        };
        let newcomer = match self.newcomer(asked)? {
            Ok(newcomer) => newcomer,
            Err(wrong) => return self.form_refused(asked, &form, wrong),
        };
        match self.sessions.sign_up(newcomer).await {
            Ok(made) => self.welcome(asked, &made, return_to.as_ref()),
            Err(error) => self.form_refused(asked, &form, Wrong::from(error)),
        }
    }

    pub(super) async fn newcomer_by_link(
        &self,
        kind: LinkKind,
        asked: &Asked<'_>,
    ) -> Result<Answered, Refused> {
        let token = asked.fields.text(TOKEN)?.unwrap_or_default();
        let form = Form {
            kind: of(kind),
            identifier: self.identifier(asked)?,
            token: Some(token),
            return_to: None,
        };
        let newcomer = match self.newcomer(asked)? {
            Ok(newcomer) => newcomer,
            Err(wrong) => return self.form_refused(asked, &form, wrong),
        };
        let secret = LinkSecret::presented(token);
        match self.sessions.sign_up_by_link(kind, &secret, newcomer).await {
            Ok(made) => self.welcome(asked, &made, None),
            // There is nothing to fill in again: the page says so by itself.
            Err(error @ AccountError::LinkSpent) => Err(error.into()),
            Err(error) => self.form_refused(asked, &form, Wrong::from(error)),
        }
    }

    fn strangers_may_sign_up(&self) -> Result<(), Rejection> {
        if self.config.login.signup { Ok(()) } else { Err(Rejection::NotFound) }
    }

    fn identifier<'a>(&self, asked: &'a Asked<'_>) -> Result<&'a str, BodyError> {
        Ok(asked.fields.text("username")?.unwrap_or_default())
    }

    /// Who wants the account, or what is wrong with the form.
    fn newcomer(&self, asked: &Asked<'_>) -> Result<Result<Newcomer, Wrong>, BodyError> {
        let identifier = self.identifier(asked)?;
        let secret = asked.fields.text("password")?.unwrap_or_default();
        if identifier.is_empty() {
            let missing = asked.fields.missing("username");
            return Ok(Err(Wrong(Message::IdentifierMissing, missing.into())));
        }
        if secret.is_empty() {
            let missing = asked.fields.missing("password");
            return Ok(Err(Wrong(Message::SecretMissing, missing.into())));
        }
        if let Err(wrong) = confirmed(asked, secret)? {
            return Ok(Err(wrong));
        }
        Ok(Ok(Newcomer {
            login: identifier.to_owned(),
            secret: Secret::new(secret.to_owned()),
            client: asked.client,
            user_agent: browser(asked),
            captcha: self.captcha_token(Act::Signup, asked)?.map(str::to_owned),
            replaces: self.present_session(asked),
            device: self.device(asked).map(str::to_owned),
        }))
    }

    fn form<'a>(&self, form: &Form<'a>, error: Option<Message>) -> Page<'a> {
        Page::Signup(pages::Signup {
            kind: form.kind,
            identifier: form.identifier,
            token: form.token,
            min_length: self.sessions.fitness().min_length(),
            return_to: form.return_to,
            error,
        })
    }

    fn form_refused(
        &self,
        asked: &Asked<'_>,
        form: &Form<'_>,
        Wrong(message, refused): Wrong,
    ) -> Result<Answered, Refused> {
        let answer = self.refused_form(asked, &self.form(form, Some(message)), refused)?;
        Ok(if form.token.is_some() { without_referrer(answer) } else { answer })
    }

    fn welcome(
        &self,
        asked: &Asked<'_>,
        made: &SignedUp,
        return_to: Option<&ReturnTo>,
    ) -> Result<Answered, Refused> {
        let answer = match (asked.page, &made.pair) {
            (true, Some(_)) => self.onward(return_to)?,
            (true, None) => {
                let login = self.path(Endpoint::LoginPage);
                let onward = login.map(|login| format!("{login}?{ACCOUNT_MADE}=1"));
                return Answered::see_other(onward.as_deref().unwrap_or("/"));
            }
            (false, pair) => {
                let user = &made.user;
                let body = json!({
                    "message": "Account created",
                    "user": {
                        "id": user.id.to_string(),
                        "login": user.login,
                        "name": user.name,
                        "roles": user.roles,
                        "permissions": user.permissions,
                    },
                    "expires_at": pair.as_ref().map(|pair| pair.access_expires_at().secs()),
                });
                Answered { status: StatusCode::CREATED, ..Answered::json(body) }
            }
        };
        Ok(match &made.pair {
            Some(pair) => {
                answer.with_device(self.device_cookie(made.device.as_ref())).with_pair(pair)
            }
            None => answer,
        })
    }
}

/// Says on the way to the login page that an account was made.
pub(super) const ACCOUNT_MADE: &str = "account_made";

/// What was typed, to be shown again; never the secret.
struct Form<'a> {
    kind: SignupKind,
    identifier: &'a str,
    token: Option<&'a str>,
    return_to: Option<&'a str>,
}

/// What is wrong with a form, for the person and for the program.
pub(super) struct Wrong(pub(super) Message, pub(super) Refused);

impl From<AccountError> for Wrong {
    fn from(error: AccountError) -> Self {
        let message = match &error {
            AccountError::Name(_) => Message::IdentifierInvalid,
            AccountError::NameTaken => Message::IdentifierTaken,
            AccountError::Unfit(Unfit::TooShort { .. }) => Message::SecretTooShort,
            AccountError::Unfit(Unfit::TooLong { .. }) => Message::SecretTooLong,
            AccountError::Unfit(Unfit::NotDigits) => Message::SecretNotDigits,
            AccountError::Unfit(Unfit::Unprintable) => Message::SecretUnprintable,
            AccountError::Unfit(Unfit::Common) => Message::SecretCommon,
            AccountError::WrongPassword(_) => Message::CurrentSecretWrong,
            AccountError::NotHuman => Message::CaptchaFailed,
            AccountError::Limited(allowance) => {
                Message::RateLimited { retry_after: Some(allowance.retry_after) }
            }
            AccountError::LinkSpent
            | AccountError::Gone
            | AccountError::CaptchaUnavailable(_)
            | AccountError::Busy { .. }
            | AccountError::Unavailable(_) => Message::Unavailable,
        };
        Self(message, error.into())
    }
}

impl From<AccountError> for Refused {
    fn from(error: AccountError) -> Self {
        let (rejection, allowance) = match error {
            AccountError::Name(_) => (Rejection::Unusable(Unusable::Name), None),
            AccountError::NameTaken => (Rejection::NameTaken, None),
            AccountError::Unfit(unfit) => (Rejection::Unusable(unusable(unfit)), None),
            AccountError::LinkSpent => (Rejection::LinkSpent, None),
            AccountError::WrongPassword(allowance) => (Rejection::WrongPassword, Some(allowance)),
            AccountError::Limited(allowance) => {
                let (limit, retry_after) = (allowance.limit, allowance.retry_after);
                (Rejection::RateLimited { limit, retry_after }, Some(allowance))
            }
            AccountError::NotHuman => (Rejection::CaptchaFailed, None),
            AccountError::CaptchaUnavailable(cause) => {
                (Rejection::CaptchaUnavailable(Box::new(cause)), None)
            }
            AccountError::Gone => (Rejection::TokenRevoked, None),
            AccountError::Busy { retry_after } => (Rejection::Busy { retry_after }, None),
            AccountError::Unavailable(cause) => {
                (Rejection::StoreUnavailable(Box::new(cause)), None)
            }
        };
        Self { rejection, cookies: Vec::new(), allowance }
    }
}

fn unusable(unfit: Unfit) -> Unusable {
    match unfit {
        Unfit::TooShort { least, .. } => Unusable::SecretTooShort { least },
        Unfit::TooLong { most } => Unusable::SecretTooLong { most },
        Unfit::NotDigits => Unusable::SecretNotDigits,
        Unfit::Unprintable => Unusable::SecretUnprintable,
        Unfit::Common => Unusable::SecretCommon,
    }
}

/// Whether the confirmation, if there is one, repeats `secret`.
pub(super) fn confirmed(asked: &Asked<'_>, secret: &str) -> Result<Result<(), Wrong>, BodyError> {
    let again = asked.fields.text(CONFIRMATION)?;
    Ok(match again.is_none_or(|again| again == secret) {
        true => Ok(()),
        false => {
            let differ = Rejection::Unusable(Unusable::SecretsDiffer);
            Err(Wrong(Message::SecretsDiffer, differ.into()))
        }
    })
}

const fn of(kind: LinkKind) -> SignupKind {
    match kind {
        LinkKind::Setup => SignupKind::Setup,
        LinkKind::Invite | LinkKind::Reset => SignupKind::Invite,
    }
}

/// The address of the page holds a secret: nobody is told it as a referrer, not even we. Not
/// `no-referrer`: under it a browser sends the page's own form with `Origin: null` (Fetch, "append a
/// request Origin header"), and the guard against foreign pages would refuse it. `strict-origin`
/// tells the site's name and neither path nor query.
pub(super) fn without_referrer(mut answer: Answered) -> Answered {
    let policy = http::HeaderValue::from_static("strict-origin");
    answer.headers.insert(http::header::REFERRER_POLICY, policy);
    answer
}

impl Endpoints {
    /// A page whose address holds a link's secret.
    pub(super) fn secret_page(
        &self,
        status: StatusCode,
        page: &Page<'_>,
        asked: &Asked<'_>,
    ) -> Answered {
        without_referrer(self.page(status, page, asked))
    }
}
