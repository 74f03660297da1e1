//! The gateway's own answers. Each endpoint is one file; [`Endpoint::ALL`] is the list that routing
//! and the access table are held to.

mod account;
mod apps;
mod kept;
mod keys;
mod login;
mod logout;
mod me;
pub mod pages;
mod password;
mod places;
mod refresh;
mod shape;
mod signup;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName,
    IF_NONE_MATCH, LOCATION, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use crate::access::Caller;
use crate::clock::Timestamp;
pub use crate::config::Endpoint;
use crate::config::{Config, Origin};
use crate::message::cookies::{self, Found, Life, Which};
use crate::message::form::Fields;
use crate::message::reject::Rejection;
use crate::message::return_to::{self, ReturnTo};
use crate::session::{Allowance, Pair, Sessions};
use crate::store::links::LinkKind;
use crate::token::AccessClaims;
pub use kept::FORM_BYTES;
pub use login::{AGAIN, WHY, why};
use pages::{Page, Pages};
use places::Places;
pub use shape::{Circumstances, Told};
pub use signup::link_url;

impl Endpoint {
    /// Whether it looks at who calls.
    pub const fn knows_caller(self) -> bool {
        !matches!(self, Self::Refresh | Self::Mint | Self::RevokeMinted | Self::Keys | Self::Asset)
    }

    /// Whether a caller whose access token has ended is refreshed in passing. Logging in and out
    /// replace or end the session: nothing is gained by renewing it first.
    pub const fn refreshes(self) -> bool {
        matches!(
            self,
            Self::LoginPage
                | Self::LogoutPage
                | Self::Me
                | Self::PasswordPage
                | Self::Password
                | Self::AccountPage
                | Self::Sessions
                | Self::EndSession
                | Self::EndOthers
        )
    }

    /// How a foreign page is kept from making a browser call it.
    pub const fn guard(self) -> Guard {
        match self {
            // No credential yet: only what is marked as foreign is refused.
            Self::Login
            | Self::Signup
            | Self::Setup
            | Self::Invite
            | Self::Reset
            | Self::Mint
            | Self::RevokeMinted => Guard::Foreign,
            Self::Refresh | Self::Logout | Self::Password | Self::EndSession | Self::EndOthers => {
                Guard::Cookie
            }
            Self::LoginPage
            | Self::LogoutPage
            | Self::Me
            | Self::SignupPage
            | Self::SetupPage
            | Self::InvitePage
            | Self::ResetPage
            | Self::PasswordPage
            | Self::AccountPage
            | Self::Sessions
            | Self::Keys
            | Self::Asset => Guard::Nothing,
        }
    }
}

/// What an endpoint asks of a request that a browser may have been tricked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// It changes nothing.
    Nothing,
    /// Refuses what is marked as foreign.
    Foreign,
    /// The whole CSRF guard, if the credential came in a cookie.
    Cookie,
}

/// A request to one of our own endpoints, read.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Which endpoint is asked.
    pub endpoint: Endpoint,
    /// The request's head.
    pub head: &'a Parts,
    /// The last part of the path, for assets.
    pub path: &'a str,
    /// Its body's fields; empty when there was no body.
    pub fields: Fields,
    /// Who calls.
    pub caller: Caller,
    /// Why that is nobody.
    pub nobody: Option<Rejection>,
    /// The refresh cookie.
    pub refresh: Found<'a>,
    /// The client's address.
    pub client: IpAddr,
    /// The origin that the request was sent to.
    pub own: Origin,
    /// The present moment.
    pub now: Timestamp,
    /// Whether a person looks at the answer, rather than a program.
    pub page: bool,
    /// Differs from request to request; see [`Rejection::retry_after`].
    pub spread: u64,
}

/// What an endpoint answers.
#[derive(Debug, Default)]
pub struct Answered {
    /// The status.
    pub status: StatusCode,
    /// Fields but for cookies.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// `Set-Cookie` fields.
    pub cookies: Vec<HeaderValue>,
    /// What they hold, and since when; `None` when they delete.
    pub pair: Option<(Arc<AccessClaims>, Timestamp)>,
    /// What it says, by our names, until it has its shape.
    values: Option<serde_json::Value>,
    /// New tokens, until they have their places.
    tokens: Option<Box<Pair>>,
    /// The cookie by which a browser is known again.
    device: Option<HeaderValue>,
}

/// A refusal by an endpoint, and the cookies that go with it.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub rejection: Rejection,
    /// `Set-Cookie` fields: what is of no use any more is deleted.
    pub cookies: Vec<HeaderValue>,
    /// What is left of the limit that it was counted against.
    pub allowance: Option<Allowance>,
}

impl<E: Into<Rejection>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self { rejection: error.into(), cookies: Vec::new(), allowance: None }
    }
}

/// Our own answers; shared by all cores.
pub struct Endpoints {
    config: Arc<Config>,
    sessions: Arc<Sessions>,
    pages: Pages,
    places: Places,
}

impl Endpoints {
    /// The endpoints of a gateway.
    pub fn new(config: Arc<Config>, sessions: Arc<Sessions>, pages: Pages) -> Self {
        let places = Places::of(&config);
        Self { config, sessions, pages, places }
    }

    /// Which endpoint a request means: none for paths that are not ours.
    ///
    /// # Errors
    /// Below the base path everything is ours: unknown paths and wrong methods are refused, and
    /// never reach an application.
    pub fn find(&self, path: &str, method: &Method) -> Result<Option<Endpoint>, Rejection> {
        self.places.find(path, method)
    }

    /// Answers.
    ///
    /// # Errors
    /// Why not.
    pub async fn answer(&self, asked: Asked<'_>) -> Result<Answered, Refused> {
        let (endpoint, page, now) = (asked.endpoint, asked.page, asked.now);
        let answered = self.say(asked).await?;
        Ok(self.shaped(endpoint, (page, now), answered))
    }

    /// Answers in our own words.
    async fn say(&self, asked: Asked<'_>) -> Result<Answered, Refused> {
        match asked.endpoint {
            Endpoint::LoginPage => self.login_page(&asked),
            Endpoint::Login => self.login(&asked).await,
            Endpoint::Refresh => self.refresh(&asked).await,
            Endpoint::LogoutPage => Ok(self.logout_page(&asked)),
            Endpoint::Logout => self.logout(&asked).await,
            Endpoint::Me => self.me(asked),
            Endpoint::SignupPage => self.signup_page(&asked),
            Endpoint::Signup => self.signup(&asked).await,
            Endpoint::SetupPage => self.newcomer_page(LinkKind::Setup, &asked).await,
            Endpoint::Setup => self.newcomer_by_link(LinkKind::Setup, &asked).await,
            Endpoint::InvitePage => self.newcomer_page(LinkKind::Invite, &asked).await,
            Endpoint::Invite => self.newcomer_by_link(LinkKind::Invite, &asked).await,
            Endpoint::ResetPage => self.reset_page(&asked).await,
            Endpoint::Reset => self.reset(&asked).await,
            Endpoint::PasswordPage => self.password_page(&asked),
            Endpoint::Password => self.password(&asked).await,
            Endpoint::AccountPage => self.account_page(&asked).await,
            Endpoint::Sessions => self.own_sessions(&asked).await,
            Endpoint::EndSession => self.end_session(&asked).await,
            Endpoint::EndOthers => self.end_other_sessions(&asked).await,
            Endpoint::Mint => self.mint(&asked).await,
            Endpoint::RevokeMinted => self.revoke_minted(&asked).await,
            Endpoint::Keys => Ok(self.keys()),
            Endpoint::Asset => self.asset(&asked),
        }
    }

    /// `Set-Cookie` fields for a new pair.
    pub fn pair_cookies(&self, pair: &Pair, now: Timestamp) -> Vec<HeaderValue> {
        self.cookies_of(pair, now, |_| true)
    }

    /// The same for those of the two that are `wanted`.
    fn cookies_of(
        &self,
        pair: &Pair,
        now: Timestamp,
        wanted: impl Fn(Which) -> bool,
    ) -> Vec<HeaderValue> {
        // In whole seconds, as tokens tell them, and from when they were made: what a site promises
        // as a minute is told as one, in whichever part of a second it begins.
        let from = pair.issued_at.max(now).secs();
        let life = |end: Timestamp| match pair.persistent {
            true => {
                let left = u64::try_from(end.secs().saturating_sub(from)).unwrap_or(0);
                Life::For(Duration::from_secs(left))
            }
            false => Life::Browser,
        };
        let settings = &self.config.cookies;
        // The access cookie goes with its token, so that its absence says "ended" and not "forged";
        // in the explicit style the answer shall be able to say `expired`.
        let access_life = life(pair.access_expires_at());
        let access = Some((Which::Access, &pair.access, access_life));
        let refresh_life = life(pair.refresh_expires_at);
        let refresh = pair.refresh.as_ref().map(|token| (Which::Refresh, token, refresh_life));
        let set = |(which, token, life): (Which, &String, Life)| {
            wanted(which).then(|| cookies::set(settings, which, token, life))
        };
        let made = access.into_iter().chain(refresh).filter_map(set);
        let made = made.filter_map(|cookie| match cookie {
            Ok(cookie) => Some(cookie),
            Err(error) => {
                tracing::error!(error = %error, "a cookie could not be made");
                None
            }
        });
        made.collect()
    }

    /// `Set-Cookie` fields that delete every variant of our cookies.
    pub fn cleared_cookies(&self) -> Vec<HeaderValue> {
        cookies::clear_variants(&self.config.cookies, &self.config.login.base)
    }

    /// A page that says why a request was refused; `place` is where the person was, if another
    /// account could be asked for it.
    pub fn error_page(
        &self,
        rejection: &Rejection,
        told: &Told,
        request_id: &str,
        (caller, place): (&Caller, Option<&str>),
        languages: Option<&HeaderValue>,
    ) -> String {
        let answer = rejection.answer();
        let login = caller.identity().map(|identity| identity.login.as_str());
        let way = |endpoint| {
            let path = self.path(endpoint)?;
            Some(place.map_or_else(|| path.to_owned(), |place| with_place(path, place)))
        };
        let login_url = way(Endpoint::LoginPage);
        let switch_url = way(Endpoint::LogoutPage);
        let failure = pages::Failure {
            status: told.status,
            code: answer.code,
            message: &answer.message,
            own_words: told.message.as_deref(),
            request_id: Some(request_id),
            retry_after: told.retry_after,
            login,
            login_url: login_url.as_deref().filter(|_| login.is_none()),
            switch_url: switch_url.as_deref().filter(|_| login.is_some()),
        };
        self.render(&Page::Error(failure), languages).html
    }

    /// The fields that every page of ours has.
    pub fn page_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in self.pages.headers() {
            headers.insert(name.clone(), value.clone());
        }
    }

    fn render(&self, page: &Page<'_>, languages: Option<&HeaderValue>) -> pages::Rendered {
        let language = self.pages.language(languages.and_then(|list| list.to_str().ok()));
        self.pages.render(page, language)
    }

    fn page(&self, status: StatusCode, page: &Page<'_>, asked: &Asked<'_>) -> Answered {
        self.page_for(status, page, &asked.head.headers)
    }

    /// The same for a request that was not to an endpoint.
    fn page_for(&self, status: StatusCode, page: &Page<'_>, asked: &HeaderMap) -> Answered {
        let mut headers = HeaderMap::new();
        for (name, value) in self.pages.headers_of(page) {
            headers.insert(name.clone(), value.clone());
        }
        let languages = asked.get(http::header::ACCEPT_LANGUAGE);
        let rendered = self.render(page, languages);
        headers.insert(CONTENT_LANGUAGE, rendered.language);
        let body = rendered.html.into();
        Answered { status, headers, body, ..Answered::default() }
    }

    /// The path of an endpoint, unless it is off.
    pub fn path(&self, endpoint: Endpoint) -> Option<&str> {
        self.config.shapes.path(endpoint)
    }

    fn asset(&self, asked: &Asked<'_>) -> Result<Answered, Refused> {
        let name = asked.path.rsplit('/').next().unwrap_or_default();
        let asset = self.pages.asset(name).ok_or(Rejection::NotFound)?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
        if let Ok(etag) = HeaderValue::from_str(&asset.etag) {
            headers.insert(ETAG, etag);
        }
        // RFC 9110 section 13.1.2
        if asked.head.headers.get(IF_NONE_MATCH).is_some_and(|held| held == asset.etag.as_str()) {
            let status = StatusCode::NOT_MODIFIED;
            return Ok(Answered { status, headers, ..Answered::default() });
        }
        let version = query(asked.head, "v");
        let kept = HeaderValue::from_static(asset.cache_control(version.as_deref()));
        headers.insert(CACHE_CONTROL, kept);
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // A logo in SVG is a document of its own when it is opened by its address: whatever it
        // holds then runs nothing and asks for nothing here.
        let inert = "default-src 'none'; style-src 'unsafe-inline'; sandbox";
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(inert));
        let body = asset.body.clone();
        Ok(Answered { headers, body, ..Answered::default() })
    }

    /// Where a person wants to go afterwards, if it is a place that we may send them to.
    fn return_to(&self, text: Option<&str>, asked: &Asked<'_>) -> Option<ReturnTo> {
        let place = return_to::check(text?, &asked.own, &self.config.login.return_hosts)?;
        // Back to a page of ours would be a way round in circles.
        // But for the two that are a place of their own.
        let path = place.as_str().split(['?', '#']).next().unwrap_or_default();
        let circle = match self.find(path, &Method::GET) {
            Ok(Some(endpoint)) => {
                !matches!(endpoint, Endpoint::AccountPage | Endpoint::PasswordPage)
            }
            Ok(None) => false,
            Err(_) => true,
        };
        (!circle).then_some(place)
    }
}

impl Answered {
    /// An object of the values that the endpoint's row in `config::Endpoint` names, which the config
    /// may give another shape. No cache may keep it.
    fn json(values: serde_json::Value) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Self { headers, values: Some(values), ..Self::default() }
    }

    /// RFC 9110 section 15.4.4: the answer to a POST that leads on is fetched by GET, never sent
    /// there again (as 307 would, with the password in it).
    fn see_other(location: &str) -> Result<Self, Refused> {
        let mut headers = HeaderMap::new();
        let location =
            HeaderValue::try_from(location).map_err(|error| Rejection::Internal(error.into()))?;
        headers.insert(LOCATION, location);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(Self { status: StatusCode::SEE_OTHER, headers, ..Self::default() })
    }

    fn with_cookies(mut self, cookies: Vec<HeaderValue>) -> Self {
        self.cookies = cookies;
        self
    }

    fn with_device(mut self, device: Option<HeaderValue>) -> Self {
        self.device = device;
        self
    }

    /// New tokens; where they go is the config's to say.
    fn with_pair(mut self, pair: &Pair) -> Self {
        self.tokens = Some(Box::new(pair.clone()));
        self
    }
}

/// `url` with the place that it leads on to.
fn with_place(url: &str, place: &str) -> String {
    let lead = if url.contains('?') { '&' } else { '?' };
    let place: String = form_urlencoded::byte_serialize(place.as_bytes()).collect();
    format!("{url}{lead}return_to={place}")
}

/// Sets the `RateLimit-*` fields of a limit (draft-ietf-httpapi-ratelimit-headers), in the place of
/// those that a refusal may have set: it knows only when the next attempt is taken.
pub fn tell_limit(headers: &mut HeaderMap, allowance: &Allowance) {
    let seconds = |time: Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
    let field = HeaderName::from_static;
    headers.insert(field("ratelimit-limit"), allowance.limit.into());
    headers.insert(field("ratelimit-remaining"), allowance.remaining.into());
    headers.insert(field("ratelimit-reset"), seconds(allowance.reset).into());
}

/// The value of a query parameter, if it comes exactly once.
fn query<'a>(head: &'a Parts, name: &str) -> Option<std::borrow::Cow<'a, str>> {
    let query = head.uri.query()?;
    let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
    let (_, value) = values.next()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_once_though_its_refusal_told_of_it_before() {
        let (limit, retry_after) = (5, Duration::from_secs(180));
        let allowance = Allowance { limit, remaining: 0, reset: retry_after * 5, retry_after };
        let mut headers = HeaderMap::new();
        let refused = Rejection::RateLimited { limit, retry_after };
        refused.add_fields(StatusCode::TOO_MANY_REQUESTS, 0, &mut headers);
        tell_limit(&mut headers, &allowance);
        for (name, value) in
            [("ratelimit-limit", "5"), ("ratelimit-remaining", "0"), ("ratelimit-reset", "900")]
        {
            let told: Vec<_> = headers.get_all(name).iter().collect();
            assert_eq!(told, [value], "{name}");
        }
        assert_eq!(headers.get("retry-after").unwrap(), "180");
    }
}
