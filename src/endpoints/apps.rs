//! `POST <base>/token` and `POST <base>/token/revoke`: for apps, by their id and secret.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::{Answered, Asked, Endpoints, Refused};
use crate::message::form::BodyError;
use crate::message::reject::Rejection;
use crate::secret::Secret;
use crate::session::{Allowance, AppError, AppProof, MintRequest, Unwanted};

/// Fields of the body, by their canonical names.
const APP_ID: &str = "app_id";
const APP_SECRET: &str = "app_secret";
const USER_ID: &str = "user_id";
const ROLES: &str = "roles";
const PERMISSIONS: &str = "permissions";
const TTL: &str = "ttl";
const TOKEN: &str = "token";
const JTI: &str = "jti";

impl Endpoints {
    pub(super) async fn mint(&self, asked: &Asked<'_>) -> Result<Answered, Refused> {
        let proof = proof(asked)?;
        let request = MintRequest {
            subject: required(asked, USER_ID)?.to_owned(),
            roles: asked.fields.text(ROLES)?.map(names),
            permissions: asked.fields.text(PERMISSIONS)?.map(names),
            ttl: asked.fields.number(TTL)?.map(Duration::from_secs),
        };
        let minted = self.sessions.mint(&proof, request).await?;
        let claims = &minted.claims;
        Ok(Answered::json(json!({
            "token": minted.token,
            "token_type": "Bearer",
            "expires_at": claims.expires_at.secs(),
            "jti": claims.token.to_string(),
            "user_id": claims.subject,
            "roles": claims.roles,
            "permissions": claims.permissions,
        })))
    }

    pub(super) async fn revoke_minted(&self, asked: &Asked<'_>) -> Result<Answered, Refused> {
        let proof = proof(asked)?;
        let (token, jti) = (asked.fields.text(TOKEN)?, asked.fields.text(JTI)?);
        let unwanted = match (token, jti) {
            (Some(token), None) if !token.is_empty() => Some(Unwanted::Token(token)),
            (None, Some(jti)) if !jti.is_empty() => jti.parse().ok().map(Unwanted::Id),
            (Some(_), Some(_)) => {
                let text = "Name a token by `token` or by `jti`, not by both.";
                return Err(Rejection::Validation(text.into()).into());
            }
            _ => return Err(asked.fields.missing(TOKEN).into()),
        };
        // What is no id at all is the id of no token; the proof is looked at all the same.
        let unwanted = unwanted.unwrap_or(Unwanted::Token(""));
        self.sessions.revoke_minted(&proof, unwanted).await?;
        // RFC 7009 section 2.2: the same for a token that was not known.
        Ok(Answered::json(json!({ "message": "If the token was yours, it is revoked." })))
    }
}

/// Who claims to be an app: by the body's fields, or by HTTP Basic (RFC 6749 section 2.3.1), never
/// by both.
fn proof(asked: &Asked<'_>) -> Result<AppProof, Refused> {
    let given = |name| asked.fields.text(name).map(|text| text.is_some());
    let in_body = given(APP_ID)? || given(APP_SECRET)?;
    let (app, secret) = match basic(asked)? {
        Some(_) if in_body => {
            let text = "An app proves itself once: in the body or by HTTP Basic.";
            return Err(Rejection::Validation(text.into()).into());
        }
        Some(pair) => pair,
        None => {
            let app = required(asked, APP_ID)?.to_owned();
            (app, Secret::new(required(asked, APP_SECRET)?.to_owned()))
        }
    };
    Ok(AppProof { app, secret, client: asked.client })
}

fn basic(asked: &Asked<'_>) -> Result<Option<(String, Secret<String>)>, Refused> {
    let mut found = None;
    for value in asked.head.headers.get_all(AUTHORIZATION) {
        let text = value.to_str().map_err(|_| Rejection::Malformed)?;
        let (scheme, encoded) = text.split_once(' ').unwrap_or((text, ""));
        if !scheme.eq_ignore_ascii_case("basic") {
            continue;
        }
        let pair = read_basic(encoded.trim_start_matches(' ')).ok_or(Rejection::Malformed)?;
        if found.replace(pair).is_some() {
            return Err(Rejection::Malformed.into());
        }
    }
    Ok(found)
}

/// RFC 7617 section 2, with both parts encoded as in a form (RFC 6749 section 2.3.1).
fn read_basic(encoded: &str) -> Option<(String, Secret<String>)> {
    let decoded = Secret::new(STANDARD.decode(encoded).ok()?);
    let pair = std::str::from_utf8(decoded.expose()).ok()?;
    let (app, secret) = pair.split_once(':')?;
    let decode = |part: &str| {
        let spaced = Secret::new(part.replace('+', " "));
        percent_decode_str(spaced.expose()).decode_utf8().ok().map(std::borrow::Cow::into_owned)
    };
    let (app, secret) = (decode(app)?, Secret::new(decode(secret)?));
    (!app.is_empty() && !secret.expose().is_empty()).then_some((app, secret))
}

/// A text that must be there and say something.
fn required<'a>(asked: &'a Asked<'_>, name: &str) -> Result<&'a str, BodyError> {
    let text = asked.fields.required_text(name)?;
    if text.is_empty() { Err(asked.fields.missing(name)) } else { Ok(text) }
}

/// Names that stand apart by blanks, as in a `scope` (RFC 6749 section 3.3).
fn names(text: &str) -> Vec<String> {
    text.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

impl From<AppError> for Refused {
    fn from(error: AppError) -> Self {
        let (rejection, allowance) = match error {
            AppError::Refused(allowance) => (Rejection::InvalidCredentials, Some(allowance)),
            AppError::Limited(allowance) => {
                let Allowance { limit, retry_after, .. } = allowance;
                (Rejection::RateLimited { limit, retry_after }, Some(allowance))
            }
            AppError::BadLife { longest } => {
                let text = format!("`ttl` must be from 1 to {} seconds.", longest.as_secs());
                (Rejection::Validation(text.into()), None)
            }
            AppError::BadSubject => {
                let text = "`user_id` must have 1 to 255 bytes and no control characters.";
                (Rejection::Validation(text.into()), None)
            }
            AppError::Unavailable(cause) => (Rejection::StoreUnavailable(Box::new(cause)), None),
        };
        Self { rejection, cookies: Vec::new(), allowance }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_are_read_as_oauth_writes_them() {
        let read = |pair: &str| {
            let read = read_basic(&STANDARD.encode(pair));
            read.map(|(app, secret)| (app, secret.expose().clone()))
        };
        let pair = |app: &str, secret: &str| Some((app.to_owned(), secret.to_owned()));
        assert_eq!(read("quest:s3cret"), pair("quest", "s3cret"));
        assert_eq!(read("quest:a:b"), pair("quest", "a:b"), "the first colon parts");
        assert_eq!(read("qu%65st:a%3A%2B+b"), pair("quest", "a:+ b"));
        for bad in ["", "quest", ":", "quest:", ":secret", "quest:%ff"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        for bad in ["", "====", "cXVlc3Q6cw", "cXVlc3Q6cw== x", "\u{e9}"] {
            assert!(read_basic(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn rights_are_asked_for_as_a_scope_is() {
        assert_eq!(names(""), [""; 0]);
        assert_eq!(names(" read  write "), ["read", "write"]);
    }
}
