//! Step 3: one credential from the request -> who calls. Absent, invalid and valid are three
//! answers. A browser's session is refreshed in passing here.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap};
use http::request::Parts;
use tokio::time::sleep;

use super::Journey;
use super::admit::{PendingCookies, Visit};
use super::memory::Remembered;
use crate::access::{Caller, Identity};
use crate::clock::Timestamp;
use crate::config::{Cookies, MintedNames, RefreshStyle};
use crate::message::cookies::{self, Found, Sent};
use crate::message::present::{Field, Present};
use crate::message::reject::Rejection;
use crate::session::RefreshError;
use crate::token::{AccessClaims, MintedClaims, RevokedSet, TokenError};

/// How a credential came, which decides whether a foreign page could have sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Bearer,
    Cookie,
}

/// Everything in a request that could say who calls.
#[derive(Debug)]
pub(super) struct Presented<'a> {
    bearer: Bearer<'a>,
    access: Sent<'a>,
    pub(super) refresh: Sent<'a>,
    minted: Sent<'a>,
}

/// Which kinds of token are taken from where one came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// The access cookie's.
    Access,
    /// The minted cookie's.
    Minted,
    /// A Bearer's.
    Either,
}

impl Taken {
    const fn takes(self, caller: &Caller) -> bool {
        match self {
            Self::Access => matches!(caller, Caller::Session(_)),
            Self::Minted => matches!(caller, Caller::Machine(_)),
            Self::Either => true,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Bearer<'a> {
    Absent,
    Token(&'a str),
    /// Not readable as one token, or two that differ.
    Malformed,
}

/// Whether it is known already who calls.
#[derive(Debug)]
pub(super) enum Known {
    Now(Credential),
    /// Only when the session has been refreshed.
    AfterRefresh,
}

/// Who calls.
#[derive(Debug)]
pub(super) enum Credential {
    /// None that we know of. With the reason that a 401 tells.
    None(Rejection),
    /// One that is no good.
    Invalid(Rejection),
    Valid(Rc<Remembered>, Source),
}

impl Credential {
    pub(super) fn caller(&self) -> Caller {
        match self {
            Self::Valid(known, _) => known.caller.clone(),
            Self::None(_) | Self::Invalid(_) => Caller::Anonymous,
        }
    }
}

impl Credential {
    /// Why there is no caller, to be told in the answer.
    pub(super) fn take_reason(&mut self) -> Rejection {
        match self {
            Self::None(why) | Self::Invalid(why) => std::mem::replace(why, Rejection::MissingToken),
            Self::Valid(..) => Rejection::MissingToken,
        }
    }
}

impl<'a> Presented<'a> {
    /// `present`: what there is in `head`.
    pub(super) fn read(head: &'a Parts, present: Present, settings: &Cookies) -> Self {
        let Cookies { access, refresh, minted, .. } = settings;
        let (access, refresh, minted) = match minted {
            _ if !present.has(Field::Cookie) => (Sent::Absent, Sent::Absent, Sent::Absent),
            None => {
                let [access, refresh] = cookies::find_each(&head.headers, [access, refresh]);
                (access, refresh, Sent::Absent)
            }
            Some(minted) => {
                let names = [access, refresh, minted].map(String::as_str);
                let [access, refresh, minted] = cookies::find_each(&head.headers, names);
                (access, refresh, minted)
            }
        };
        let bearer = match present.has(Field::Authorization) {
            true => bearer(&head.headers),
            false => Bearer::Absent,
        };
        Self { bearer, access, refresh, minted }
    }

    /// Whether a cookie would be the credential: then a foreign page could have sent it.
    pub(super) fn by_cookie(&self) -> bool {
        matches!(self.bearer, Bearer::Absent)
            && [self.access, self.refresh, self.minted].iter().any(|one| *one != Sent::Absent)
    }

    /// The minted cookie, which counts only where no cookie of a session came.
    fn minted(&self) -> Sent<'a> {
        match (self.access, self.refresh) {
            (Sent::Absent, Sent::Absent) => self.minted,
            _ => Sent::Absent,
        }
    }
}

/// RFC 6750 section 2.1. Another scheme is not ours to read, and goes to the application.
fn bearer(headers: &HeaderMap) -> Bearer<'_> {
    let mut found = Bearer::Absent;
    for value in headers.get_all(AUTHORIZATION) {
        let Some((scheme, token)) =
            value.to_str().ok().map(|text| text.split_once(' ').unwrap_or((text, "")))
        else {
            return Bearer::Malformed;
        };
        if !scheme.eq_ignore_ascii_case("bearer") {
            continue;
        }
        let token = token.trim_start_matches(' ');
        found = match found {
            Bearer::Absent if !token.is_empty() => Bearer::Token(token),
            Bearer::Token(other) if other == token => found,
            _ => return Bearer::Malformed,
        };
    }
    found
}

impl Journey {
    /// The caller of a request, as far as it can be told without the store.
    pub(super) fn authenticate(&self, presented: &Presented<'_>, now: Timestamp) -> Known {
        let invalid = |why: Rejection| Known::Now(Credential::Invalid(why));
        match presented.bearer {
            Bearer::Malformed => return invalid(Rejection::Malformed),
            Bearer::Token(token) => {
                return match self.look_up(token.as_bytes(), Taken::Either, now) {
                    Ok(known) => Known::Now(Credential::Valid(known, Source::Bearer)),
                    Err(refused) => invalid(refused.into()),
                };
            }
            Bearer::Absent => {}
        }
        match presented.minted() {
            Sent::Absent => {}
            Sent::Conflict => return invalid(Rejection::Malformed),
            Sent::One(token) => {
                return match self.look_up(token, Taken::Minted, now) {
                    Ok(known) => Known::Now(Credential::Valid(known, Source::Cookie)),
                    Err(refused) => invalid(refused.into()),
                };
            }
        }
        let refused = match presented.access {
            Sent::Conflict => return invalid(Rejection::Malformed),
            Sent::One(token) => match self.look_up(token, Taken::Access, now) {
                Ok(known) => return Known::Now(Credential::Valid(known, Source::Cookie)),
                Err(refused) => Some(refused),
            },
            Sent::Absent => None,
        };
        let style = self.shared.config.session.refresh;
        let silent = style == RefreshStyle::Silent;
        // One that was set under another configuration is of no use to anybody.
        let off = style == RefreshStyle::Off;
        match (if off { Found::Absent } else { presented.refresh.read() }, refused) {
            // Only an absence or an end that time brings is healed; a forged token is not.
            (Found::One(_), None | Some(Refused::Ended | Refused::Retired | Refused::Outdated))
                if silent =>
            {
                Known::AfterRefresh
            }
            (Found::Conflict, None) => invalid(Rejection::Malformed),
            (Found::One(_), None) => invalid(Rejection::RefreshRequired),
            (_, Some(refused)) => invalid(refused.into()),
            (Found::Absent, None) => Known::Now(Credential::None(Rejection::MissingToken)),
        }
    }

    /// Who calls by the access token alone: nothing is refreshed for it.
    pub(super) fn recognise(&self, presented: &Presented<'_>, now: Timestamp) -> Credential {
        let (token, taken, source) = match (presented.bearer, presented.access) {
            (Bearer::Token(token), _) => (token.as_bytes(), Taken::Either, Source::Bearer),
            (Bearer::Absent, Sent::One(token)) => (token, Taken::Access, Source::Cookie),
            (Bearer::Absent, Sent::Absent) => match presented.minted() {
                Sent::One(token) => (token, Taken::Minted, Source::Cookie),
                Sent::Absent => return Credential::None(Rejection::MissingToken),
                Sent::Conflict => return Credential::Invalid(Rejection::Malformed),
            },
            (Bearer::Malformed, _) | (Bearer::Absent, Sent::Conflict) => {
                return Credential::Invalid(Rejection::Malformed);
            }
        };
        match self.look_up(token, taken, now) {
            Ok(known) => Credential::Valid(known, source),
            Err(refused) => Credential::Invalid(refused.into()),
        }
    }

    /// Whether a cookie of this request would be worth something.
    pub(super) fn counts(&self, presented: &Presented<'_>, now: Timestamp) -> bool {
        let by_access = matches!(self.recognise(presented, now), Credential::Valid(..));
        let by_refresh = match presented.refresh.read() {
            Found::One(token) => self.keyring.borrow().verify_refresh(token, now).is_ok(),
            Found::Absent | Found::Conflict => false,
        };
        by_access || by_refresh
    }

    /// New tokens for an authentic refresh token; their cookies ride on the response.
    pub(super) async fn refresh(
        &self,
        presented: &Presented<'_>,
        visit: &mut Visit,
    ) -> Result<Credential, Rejection> {
        let Found::One(token) = presented.refresh.read() else {
            return Ok(Credential::None(Rejection::MissingToken));
        };
        let mut tries = 0;
        loop {
            tries += 1;
            match self.shared.sessions.refresh(token, visit.client).await {
                Ok(refreshed) => {
                    let now = self.shared.clock.now();
                    let pair = &refreshed.pair;
                    let values = self.shared.endpoints.pair_cookies(pair, now);
                    let held = Some((Arc::clone(&pair.claims), pair.issued_at));
                    visit.cookies = PendingCookies { values, pair: held };
                    match self.verify(&refreshed.pair.access, Taken::Access, now) {
                        Ok(known) => return Ok(Credential::Valid(known, Source::Cookie)),
                        // The account was changed since it was read for this: what is so now is in
                        // another, for which the token is good again. One that is dated by the
                        // moment of the change would be refused as well.
                        Err(Refused::Outdated) if tries < REFRESHES_MAX => sleep(MOMENT).await,
                        Err(refused) => return Ok(Credential::Invalid(refused.into())),
                    }
                }
                Err(error) => {
                    if error.is_final() {
                        let values = self.shared.endpoints.cleared_cookies();
                        visit.cookies = PendingCookies { values, pair: None };
                    }
                    return match error {
                        // We could not find out: that is our fault, and nobody is logged out for it.
                        RefreshError::Unavailable(_) => Err(error.into()),
                        error => Ok(Credential::Invalid(error.into())),
                    };
                }
            }
        }
    }

    /// Verifies an access or minted token that was presented, by memory if it can.
    pub(super) fn look_up(
        &self,
        token: &[u8],
        taken: Taken,
        now: Timestamp,
    ) -> Result<Rc<Remembered>, Refused> {
        // Read before the set is asked: what is added in between raises it again.
        let version = self.shared.sessions.revoked().version();
        if let Some(known) = self.memory.recall(token) {
            if !taken.takes(&known.caller) {
                return Err(Refused::Malformed);
            }
            if known.identity.expires_at <= now {
                self.memory.forget(token);
                return Err(Refused::Ended);
            }
            if known.checked.get() != version {
                if let Err(refused) = self.honoured(&known.identity) {
                    self.memory.forget(token);
                    return Err(refused);
                }
                known.checked.set(version);
            }
            return Ok(known);
        }
        // What is remembered is text; what is not need not be.
        let text = Sent::One(token).read();
        let Found::One(text) = text else { return Err(Refused::Malformed) };
        let known = self.verify(text, taken, now)?;
        // A profile may leave out the generation; no session has the generation 0.
        if let Some(session) = known.identity.session
            && known.identity.generation > 0
        {
            self.shared.sessions.saw(session, known.identity.generation);
        }
        self.memory.remember(token, &known, now);
        Ok(known)
    }

    /// Verifies a token, and neither remembers nor reports it. One that we have just signed
    /// has not been seen by anybody: its response may yet be lost, and that must not look like
    /// theft later.
    fn verify(&self, token: &str, taken: Taken, now: Timestamp) -> Result<Rc<Remembered>, Refused> {
        let version = self.shared.sessions.revoked().version();
        let config = &self.shared.config;
        let mut identity = {
            let keyring = self.keyring.borrow();
            let minted = || {
                let claims = keyring.verify_minted(token, now)?;
                Ok(minted_identity(claims, config.token.minted.names))
            };
            match taken {
                Taken::Access => keyring.verify_access(token, now).map(identity),
                Taken::Minted => minted(),
                Taken::Either => match keyring.verify_access(token, now) {
                    // Its header says another kind. Which it is, that kind's key decides.
                    Err(TokenError::WrongKind) => minted(),
                    verified => verified.map(identity),
                },
            }
            .map_err(|error| {
                if error == TokenError::UnknownKey {
                    // Another replica may have made it. The next request will find it.
                    self.shared.sessions.ask_for_keys();
                }
                Refused::from(error)
            })?
        };
        // When the operator shortens a life, tokens that were made before must not outlive the
        // revocations that are written from now on.
        let longest = identity.issued_at.plus(match identity.app {
            None => config.session.access_ttl,
            Some(_) => config.token.minted.max_ttl,
        });
        identity.expires_at = identity.expires_at.min(longest);
        if identity.expires_at <= now {
            return Err(Refused::Ended);
        }
        self.honoured(&identity)?;
        Ok(Remembered::new(identity, version, self.pools.len()))
    }

    /// Whether nothing that was revoked concerns a token that is otherwise good.
    fn honoured(&self, identity: &Identity) -> Result<(), Refused> {
        let revoked = self.shared.sessions.revoked();
        let Identity { session, token, issued_at, expires_at, .. } = identity;
        if !revoked.judges(expires_at.since(*issued_at)) {
            return Err(Refused::Unjudged);
        }
        if !is_revoked(revoked, identity) {
            Ok(())
        } else if identity.app.is_some()
            || revoked.refuses(session.as_ref(), token, None, *issued_at)
        {
            Err(Refused::Revoked)
        } else {
            Err(Refused::Outdated)
        }
    }
}

/// How often one request has its session refreshed, if the account is changed each time.
const REFRESHES_MAX: u32 = 4;

/// How long is waited in between. Dates are compared by the millisecond, and may be a few too early.
const MOMENT: Duration = Duration::from_millis(5);

/// Why an access token is no good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// A refresh heals it.
    Ended,
    /// Of a key that we do not have (any more): a refresh heals it.
    Retired,
    /// Issued before its user was changed. If the session lives, a refresh says what is so now; if
    /// the user was disabled, the store says that.
    Outdated,
    Revoked,
    /// It lives too long to be honoured while nobody hears what is revoked.
    Unjudged,
    Malformed,
    Forged,
}

/// The store has not been heard for longer than `store.revocation_max_age`.
#[derive(Debug, thiserror::Error)]
#[error("what was revoked has not been heard for too long")]
struct Unheard;

impl From<TokenError> for Refused {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Expired => Self::Ended,
            TokenError::UnknownKey => Self::Retired,
            TokenError::BadSignature | TokenError::WrongAlgorithm => Self::Forged,
            TokenError::Malformed
            | TokenError::TooLarge
            | TokenError::WrongKind
            | TokenError::NotYetValid
            | TokenError::WrongIssuer
            | TokenError::WrongAudience => Self::Malformed,
        }
    }
}

impl From<Refused> for Rejection {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Ended => Self::Expired,
            Refused::Revoked | Refused::Outdated => Self::TokenRevoked,
            Refused::Unjudged => Self::StoreUnavailable(Box::new(Unheard)),
            Refused::Malformed => Self::Malformed,
            Refused::Forged | Refused::Retired => Self::InvalidSignature,
        }
    }
}

/// Whether something that was revoked concerns the token that says this: itself, its session, its
/// user, or the app that minted it.
pub(super) fn is_revoked(revoked: &RevokedSet, identity: &Identity) -> bool {
    let Identity { session, token, user, issued_at, .. } = identity;
    revoked.refuses(session.as_ref(), token, user.as_ref(), *issued_at)
        || identity
            .app
            .as_ref()
            .is_some_and(|app| revoked.refuses(None, token, Some(&app.principal()), *issued_at))
}

/// The user of an app. Neither name nor id can be that of an account of our own: an app says who
/// its users are, not who ours are.
fn minted_identity(claims: MintedClaims, names: MintedNames) -> Identity {
    let user = claims.app.user(&claims.subject);
    Identity {
        user: Some(user),
        subject: user.to_string(),
        login: match names {
            MintedNames::WithApp => format!("{}/{}", claims.app, claims.subject),
            MintedNames::Bare => claims.subject,
        },
        app: Some(claims.app),
        name: None,
        email: None,
        roles: claims.roles,
        permissions: claims.permissions,
        session: None,
        generation: 0,
        token: claims.token,
        issued_at: claims.issued_at,
        expires_at: claims.expires_at,
        auth_time: Timestamp::EPOCH,
    }
}

fn identity(claims: AccessClaims) -> Identity {
    Identity {
        app: None,
        user: claims.subject.parse().ok(),
        subject: claims.subject,
        login: claims.preferred_username,
        name: claims.name,
        email: claims.email,
        roles: claims.roles,
        permissions: claims.permissions,
        session: claims.session,
        generation: claims.generation,
        token: claims.token,
        issued_at: claims.issued_at,
        expires_at: claims.expires_at,
        auth_time: claims.auth_time,
    }
}
