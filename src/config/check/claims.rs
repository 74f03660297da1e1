//! Claims profiles and minted tokens. A profile with which a token could not be verified or ended
//! is refused.

use std::time::Duration;

use super::{DAY, Findings, SECOND, show};
use crate::config::file;
use crate::config::{Access, Algorithm, ClaimsProfile, Minted, MintedNames, Route, Tokens};

/// The longest life of a minted token.
const MINTED_MAX: Duration = Duration::from_hours(400 * 24);

/// The profile of access tokens.
pub(super) fn access(
    file: Option<&file::AccessClaims>,
    found: &mut Findings<'_>,
) -> Option<Option<ClaimsProfile>> {
    let Some(file) = file else { return Some(None) };
    let needed = [
        ("sub", "nobody could tell whose a token is"),
        ("iat", "a change of an account could not refuse the tokens of before"),
        ("exp", "a token would never end"),
        ("sid", "a logout could not end a token; write sid = \"jti\" if clients expect a jti"),
    ];
    profile("token.claims", &file.each(), &needed, found).map(Some)
}

pub(super) fn minted(
    file: &file::Minted,
    audience: Option<&str>,
    algorithm: Algorithm,
    found: &mut Findings<'_>,
) -> Option<Minted> {
    const AUDIENCE: &str = "token.minted.audience";
    let audience = match &file.audience {
        Some(text) if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) => {
            found.wrong(AUDIENCE, "must have 1 to 256 bytes and no control characters");
            None
        }
        Some(text) if Some(text.as_str()) == audience => {
            let text = "the audience of access tokens: nobody could tell the two apart by it";
            found.wrong(AUDIENCE, text);
            None
        }
        Some(text) => Some(text.clone()),
        None => audience.map(|audience| format!("{audience}/minted")),
    };
    let ttl = found.period("token.minted.ttl", &file.ttl, (SECOND, 31 * DAY));
    let max_ttl = match &file.max_ttl {
        Some(most) => found.period("token.minted.max_ttl", most, (SECOND, MINTED_MAX)),
        None => ttl,
    };
    if let (Some(ttl), Some(max_ttl)) = (ttl, max_ttl)
        && max_ttl < ttl
    {
        found.wrong("token.minted.max_ttl", format!("less than token.minted.ttl ({})", show(ttl)));
        return None;
    }
    let claims = match &file.claims {
        None => Some(None),
        Some(file) => {
            let needed = [
                ("sub", "nobody could tell whose a token is"),
                ("iat", "disabling an app could not refuse its tokens"),
                ("exp", "a token would never end"),
                ("jti", "a single token could not be revoked"),
            ];
            profile("token.minted.claims", &file.each(), &needed, found).map(Some)
        }
    };
    Some(Minted {
        audience: audience?,
        algorithm: file.algorithm.map_or(algorithm, Algorithm::from),
        ttl: ttl?,
        max_ttl: max_ttl?,
        claims: claims?,
        names: match file.names {
            file::MintedNames::WithApp => MintedNames::WithApp,
            file::MintedNames::Bare => MintedNames::Bare,
        },
    })
}

fn profile(
    at: &str,
    each: &[(&'static str, &Option<String>)],
    needed: &[(&str, &str)],
    found: &mut Findings<'_>,
) -> Option<ClaimsProfile> {
    let before = found.problems.len();
    let mut kept: Vec<(&'static str, String)> = Vec::new();
    for (claim, name) in each {
        let Some(name) = name else { continue };
        let key = format!("{at}.{claim}");
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:/".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(fine) {
            found.wrong(&key, format!("{name:?} is not 1 to 64 letters, digits, _, -, ., : or /"));
        } else if name == "nbf" {
            // RFC 7519 section 4.1.5: a verifier outside would take it for a time.
            found.wrong(&key, "\"nbf\" means something else to whoever verifies the token");
        } else if let Some((other, _)) = kept.iter().find(|(_, taken)| taken == name) {
            found.wrong(&key, format!("{name:?} is the name of {other} too"));
        } else {
            kept.push((*claim, name.clone()));
        }
    }
    for (claim, why) in needed {
        if each.iter().any(|(each, name)| each == claim && name.is_none()) {
            found.wrong(at, format!("without {claim}, {why}"));
        }
    }
    (found.problems.len() == before).then(|| ClaimsProfile::new(kept))
}

/// Routes that nobody could ever use, since no access token says what they ask.
pub(super) fn can_be_met(tokens: &Tokens, routes: &[Route], found: &mut Findings<'_>) {
    let Some(profile) = &tokens.claims else { return };
    for (index, route) in routes.iter().enumerate() {
        if route.manners.max_auth_age.is_some() && !profile.keeps("auth_time") {
            let key = format!("route[{index}].max_auth_age");
            let text = "asks when its caller logged in, and token.claims leaves auth_time out of \
                        tokens";
            found.wrong(&key, text);
        }
        let Access::Required { permissions, roles } = &route.access else { continue };
        for (asks, claim) in
            [(!permissions.is_empty(), "permissions"), (!roles.is_empty(), "roles")]
        {
            if asks && !profile.keeps(claim) {
                let key = format!("route[{index}].access");
                let text = format!("asks for {claim}, and token.claims leaves them out of tokens");
                found.wrong(&key, text);
            }
        }
    }
}
