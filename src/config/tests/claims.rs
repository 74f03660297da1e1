//! Claims profiles and minted tokens: what is taken, and what is refused since it could not work.

use std::time::Duration;

use super::problems::of;
use super::{APP, DEV, parse};
use crate::config::{Algorithm, MintedNames};

#[test]
fn minted_tokens_follow_access_tokens_unless_told_otherwise() {
    let config = parse(&format!("{DEV}[token]\nalgorithm = \"ES256\"\naudience = \"urn:x\"\n"));
    let minted = &config.token.minted;
    assert_eq!((minted.audience.as_str(), minted.algorithm), ("urn:x/minted", Algorithm::Es256));
    assert_eq!((minted.ttl, minted.max_ttl), (Duration::from_hours(1), Duration::from_hours(1)));
    assert_eq!((minted.claims.is_none(), minted.names), (true, MintedNames::WithApp));
    assert_eq!(config.cookies.minted, None);
    let config = parse(&format!(
        "{DEV}[cookies]\nminted = \"__Host-qk_token\"\n[token.minted]\naudience = \"urn:y\"\n\
         algorithm = \"HS256\"\nttl = \"5m\"\nmax_ttl = \"1d\"\nnames = \"bare\"\n"
    ));
    let minted = &config.token.minted;
    assert_eq!((minted.audience.as_str(), minted.algorithm), ("urn:y", Algorithm::Hs256));
    assert_eq!((minted.ttl, minted.max_ttl), (Duration::from_mins(5), Duration::from_hours(24)));
    assert_eq!(minted.names, MintedNames::Bare);
    assert_eq!(config.cookies.minted.as_deref(), Some("qk_token"), "no prefix on plain HTTP");
}

#[test]
fn a_profile_keeps_its_claims_in_one_order_whatever_the_files() {
    let config = parse(&format!(
        "{DEV}[token.claims]\nexp = \"exp\"\niat = \"iat\"\nsid = \"jti\"\n\
         preferred_username = \"username\"\nsub = \"id\"\nemail = \"mail\"\n"
    ));
    let claims = config.token.claims.unwrap();
    assert_eq!(
        claims.label(),
        "sub=id,sid=jti,iat=iat,exp=exp,preferred_username=username,email=mail"
    );
    assert!(config.token.profile_claims, "a token that shall have an email needs to be told it");
    assert!(claims.keeps("sid") && !claims.keeps("jti"));
}

#[test]
fn what_could_not_be_verified_or_ended_is_refused() {
    assert_eq!(
        of("[token.claims]\nsub = \"id\"\nexp = \"exp\"\niat = \"iat\"\njti = \"jti\"\n"),
        ["gateway.toml:3: token.claims: without sid, a logout could not end a token; write \
             sid = \"jti\" if clients expect a jti"]
    );
    assert_eq!(
        of("[token.minted]\nclaims = { app = \"app\" }\n"),
        [
            "gateway.toml:4: token.minted.claims: without sub, nobody could tell whose a token is",
            "gateway.toml:4: token.minted.claims: without iat, disabling an app could not refuse \
             its tokens",
            "gateway.toml:4: token.minted.claims: without exp, a token would never end",
            "gateway.toml:4: token.minted.claims: without jti, a single token could not be revoked",
        ]
    );
    assert_eq!(
        of("[token.minted.claims]\nsub = \"sub\"\njti = \"sub\"\niat = \"nbf\"\nexp = \"e p\"\n\
            sid = \"sid\"\n"),
        [
            "gateway.toml:5: token.minted.claims.jti: \"sub\" is the name of sub too",
            "gateway.toml:6: token.minted.claims.iat: \"nbf\" means something else to whoever \
             verifies the token",
            "gateway.toml:7: token.minted.claims.exp: \"e p\" is not 1 to 64 letters, digits, _, \
             -, ., : or /",
            "gateway.toml:8: token.minted.claims.sid: unknown key; token.minted.claims knows iss, aud, \
             sub, app, jti, iat, iat_ms, exp, roles, permissions",
        ]
    );
    assert_eq!(
        of("[token]\naudience = \"urn:x\"\n[token.minted]\naudience = \"urn:x\"\nttl = \"2h\"\n\
            max_ttl = \"1h\"\n[cookies]\naccess = \"a\"\nminted = \"A\"\n"),
        [
            "gateway.toml:6: token.minted.audience: the audience of access tokens: nobody could \
             tell the two apart by it",
            "gateway.toml:8: token.minted.max_ttl: less than token.minted.ttl (2h)",
            "gateway.toml:11: cookies.minted: the same name as cookies.access",
        ]
    );
}

#[test]
fn a_route_that_no_token_could_open_is_refused() {
    let few = "[token.claims]\nsub = \"sub\"\nsid = \"sid\"\niat = \"iat\"\nexp = \"exp\"\n";
    let routes = "[[route]]\npath = \"/a\"\naccess = { permissions = [\"x\"] }\n\
                  [[route]]\npath = \"/b\"\naccess = { roles = [\"x\"] }\n\
                  [[route]]\npath = \"/c\"\n\
                  [[route]]\npath = \"/d\"\nmax_auth_age = \"10m\"\n";
    let told = of(&format!("{few}{APP}{routes}"));
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].ends_with("asks for permissions, and token.claims leaves them out of tokens"));
    assert!(told[1].ends_with("asks for roles, and token.claims leaves them out of tokens"));
    assert!(told[2].ends_with("and token.claims leaves auth_time out of tokens"), "{told:?}");
    let enough = few.replace("[token.claims]\n", "[token.claims]\nauth_time = \"auth_time\"\n");
    assert_eq!(of(&format!("{enough}{APP}{routes}")).len(), 2);
}
