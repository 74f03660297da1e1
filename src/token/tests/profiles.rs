//! Tokens whose claims have other names, or are not there at all.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    ALGORITHMS, NOW, access, authentic, masters, minted, payload_of, ring, rules, signed, verdict,
};
use crate::clock::Timestamp;
use crate::config::{Algorithm, ClaimsProfile};
use crate::id::TokenId;
use crate::token::key::Kind;
use crate::token::{AccessClaims, Keyring, MintedClaims, Rules, TokenError};

fn profile(pairs: &[(&'static str, &str)]) -> ClaimsProfile {
    ClaimsProfile::new(pairs.iter().map(|(claim, name)| (*claim, (*name).to_owned())).collect())
}

/// What an API promised its clients: `id`, `username`, and times.
fn few() -> ClaimsProfile {
    profile(&[
        ("sub", "id"),
        ("sid", "jti"),
        ("iat", "iat"),
        ("exp", "exp"),
        ("preferred_username", "username"),
    ])
}

fn four() -> ClaimsProfile {
    profile(&[("sub", "sub"), ("jti", "jti"), ("iat", "iat"), ("exp", "exp")])
}

fn ring_with(
    algorithm: Algorithm,
    access: Option<ClaimsProfile>,
    minted: Option<ClaimsProfile>,
) -> Keyring {
    let plain = rules(algorithm);
    let rules = Rules {
        claims: access,
        minted: crate::token::MintedRules { claims: minted, ..plain.minted },
        ..plain
    };
    Keyring::new(masters(&[("old", 1, 0), ("new", 2, 100)]), rules).unwrap()
}

#[test]
fn a_token_has_exactly_the_claims_of_its_profile_in_its_order() {
    for algorithm in ALGORITHMS {
        let ring = ring_with(algorithm, Some(few()), Some(four()));
        let token = signed(&ring, Kind::Access);
        let secs = NOW.secs();
        let expected = json!({
            "id": access().subject, "jti": "51".repeat(16), "iat": secs, "exp": secs + 300,
            "username": "ada",
        });
        assert_eq!(payload_of(&token), expected);
        let token = signed(&ring, Kind::Minted);
        let expected = json!({
            "sub": "usr_demo é/1", "jti": "73".repeat(16), "iat": secs, "exp": secs + 3600,
        });
        assert_eq!(payload_of(&token), expected);
    }
}

#[test]
fn what_a_profile_leaves_out_is_filled_up_with_what_allows_least() {
    for algorithm in ALGORITHMS {
        let ring = ring_with(algorithm, Some(few()), Some(four()));
        let whole = Timestamp::from_secs(NOW.secs());
        let read = ring.verify_access(&signed(&ring, Kind::Access), NOW).unwrap();
        let expected = AccessClaims {
            issued_at: whole,
            generation: 0,
            token: read.token,
            name: None,
            email: None,
            roles: Vec::new(),
            permissions: Vec::new(),
            amr: Vec::new(),
            auth_time: Timestamp::EPOCH,
            ..access()
        };
        assert_eq!(read, expected);
        let read = ring.verify_minted(&signed(&ring, Kind::Minted), NOW).unwrap();
        let expected = MintedClaims {
            issued_at: whole,
            roles: Vec::new(),
            permissions: Vec::new(),
            ..minted()
        };
        assert_eq!(read, expected, "the app is known by the header");
    }
}

#[test]
fn a_token_that_does_not_say_its_id_has_one_of_its_own() {
    let ring = ring_with(Algorithm::Hs256, Some(few()), None);
    let id = |claims: &AccessClaims| {
        let token = ring.sign_access(claims, NOW).unwrap();
        ring.verify_access(&token, NOW).unwrap().token
    };
    let other = AccessClaims { expires_at: NOW.plus(Duration::from_secs(60)), ..access() };
    assert_eq!(id(&access()), id(&access()));
    assert_ne!(id(&access()), id(&other));
    assert_ne!(id(&access()), TokenId::from_bytes([0; 16]));
}

#[test]
fn a_whole_profile_of_our_own_names_loses_nothing() {
    let access_names = [
        "iss",
        "aud",
        "sub",
        "sid",
        "gen",
        "jti",
        "iat",
        "iat_ms",
        "exp",
        "preferred_username",
        "name",
        "email",
        "roles",
        "permissions",
        "amr",
        "auth_time",
    ];
    let minted_names =
        ["iss", "aud", "sub", "app", "jti", "iat", "iat_ms", "exp", "roles", "permissions"];
    let own = |names: &[&'static str]| profile(&names.iter().map(|n| (*n, *n)).collect::<Vec<_>>());
    let dressed = ring_with(Algorithm::Es256, Some(own(&access_names)), Some(own(&minted_names)));
    assert_eq!(dressed.verify_access(&signed(&dressed, Kind::Access), NOW), Ok(access()));
    assert_eq!(dressed.verify_minted(&signed(&dressed, Kind::Minted), NOW), Ok(minted()));
    for kind in [Kind::Access, Kind::Minted] {
        assert_eq!(payload_of(&signed(&dressed, kind)), payload_of(&signed(&ring(), kind)));
    }
}

#[test]
fn what_was_written_by_one_profile_is_stale_under_another_and_not_forged() {
    let own = rules(Algorithm::Hs256);
    for algorithm in ALGORITHMS {
        let rings = [
            ring_with(algorithm, None, None),
            ring_with(algorithm, Some(few()), Some(four())),
            ring_with(algorithm, Some(four()), Some(few())),
        ];
        for (at, written) in rings.iter().enumerate() {
            for (other, read) in rings.iter().enumerate() {
                for kind in [Kind::Access, Kind::Minted] {
                    let said = verdict(read, kind, &signed(written, kind));
                    if at == other {
                        // `four` and `few` each lack what the other kind needs.
                        assert!(at == 2 || said.is_ok(), "{said:?}");
                    } else {
                        assert_eq!(said, Err(TokenError::UnknownKey), "{at} {other}");
                    }
                }
                // Refresh tokens know no profiles: nobody is signed out by a change of one.
                assert_eq!(verdict(read, Kind::Refresh, &signed(written, Kind::Refresh)), Ok(()));
            }
        }
    }
    assert_eq!(own.claims, None);
}

#[test]
fn a_profile_is_read_as_strictly_as_it_is_written() {
    let ring = ring_with(Algorithm::Hs256, Some(few()), Some(four()));
    for kind in [Kind::Access, Kind::Minted] {
        let claims = payload_of(&signed(&ring, kind));
        for (name, value) in claims.as_object().unwrap() {
            let mut less = claims.clone();
            less.as_object_mut().unwrap().remove(name);
            let said = verdict(&ring, kind, &authentic(&ring, kind, &less.to_string()));
            // The type allows an access token without a session, and `check` no such profile.
            let needless = kind == Kind::Access && name == "jti";
            if !needless && name != "username" {
                assert_eq!(said, Err(TokenError::Malformed), "without {name}");
            }
            let twice = claims.to_string().replacen('{', &format!("{{{}:{value},", json!(name)), 1);
            let said = verdict(&ring, kind, &authentic(&ring, kind, &twice));
            assert_eq!(said, Err(TokenError::Malformed), "twice {name}");
            for wrong in [json!(null), json!([value]), json!({}), json!(true), json!(1.5)] {
                let mut claims = claims.clone();
                claims[name] = wrong.clone();
                let said = verdict(&ring, kind, &authentic(&ring, kind, &claims.to_string()));
                assert_eq!(said, Err(TokenError::Malformed), "{name}: {wrong}");
            }
        }
        // Our own name of a claim that the profile calls otherwise, or leaves out, is nobody's.
        let mut more = claims.clone();
        more["permissions"] = json!(["admin"]);
        more["iat_ms"] = json!(i64::MAX);
        more["preferred_username"] = json!("root");
        let token = authentic(&ring, kind, &more.to_string());
        assert_eq!(verdict(&ring, kind, &token), Ok(()));
        if kind == Kind::Access {
            let read = ring.verify_access(&token, NOW).unwrap();
            assert_eq!(read.permissions, [""; 0]);
            assert_eq!(read.preferred_username, "ada");
        }
        for payload in ["", "null", "[]", "{}", "[[\"sub\",\"x\"]]", "{", "\"x\""] {
            let said = verdict(&ring, kind, &authentic(&ring, kind, payload));
            assert_eq!(said, Err(TokenError::Malformed), "{payload}");
        }
        let mut far = claims.clone();
        far["iat"] = json!(i64::MAX);
        let said = verdict(&ring, kind, &authentic(&ring, kind, &far.to_string()));
        assert_eq!(said, Err(TokenError::Malformed), "more milliseconds than there are");
    }
}

#[test]
fn an_app_is_who_the_signed_header_says() {
    let ring = ring();
    let token = signed(&ring, Kind::Minted);
    let (_, rest) = token.split_once('.').unwrap();
    let key = &ring.masters().last().unwrap().minted;
    // Another app's header over this app's signature.
    let other = key.header_of(&"other".parse().unwrap()).unwrap();
    let said = ring.verify_minted(&format!("{other}.{rest}"), NOW);
    assert_eq!(said, Err(TokenError::BadSignature));
    // Rightly signed, but header and claim differ.
    let mut claims = payload_of(&token);
    claims["app"] = json!("other");
    let said = ring.verify_minted(&authentic(&ring, Kind::Minted, &claims.to_string()), NOW);
    assert_eq!(said, Err(TokenError::Malformed));
    // Headers that only look like one of ours.
    let header = |app: Value| json!({ "alg": "HS256", "typ": "mt+jwt", "kid": "new", "app": app });
    for app in [json!("Quest"), json!(""), json!("a/b"), json!(7), json!(null), json!(["a"])] {
        let encoded = super::encode(header(app.clone()).to_string());
        let said = ring.verify_minted(&format!("{encoded}.{rest}"), NOW);
        assert_eq!(said, Err(TokenError::Malformed), "{app}");
    }
    let gone = json!({ "alg": "HS256", "typ": "mt+jwt", "kid": "gone", "app": "quest-kit" });
    let ours = super::encode(gone.to_string());
    let said = ring.verify_minted(&format!("{ours}.{rest}"), NOW).unwrap_err();
    assert!(matches!(said, TokenError::UnknownKey), "{said:?}");
}

#[test]
fn an_ended_token_can_still_be_read_to_be_revoked() {
    let ring = ring();
    let token = signed(&ring, Kind::Minted);
    let late = minted().expires_at;
    assert_eq!(ring.verify_minted(&token, late), Err(TokenError::Expired));
    assert_eq!(ring.read_minted(&token), Ok(minted()));
}

#[test]
fn public_keys_of_minted_tokens_stand_in_the_set_under_their_kid() {
    for (algorithm, suffix) in [(Algorithm::Es256, "es256"), (Algorithm::EdDsa, "eddsa")] {
        let plain = rules(Algorithm::Hs256);
        let rules =
            Rules { minted: crate::token::MintedRules { algorithm, ..plain.minted }, ..plain };
        let ring = Keyring::new(masters(&[("new", 2, 0)]), rules).unwrap();
        let token = signed(&ring, Kind::Minted);
        let header = super::encode("");
        assert!(header.is_empty());
        let read = crate::token::verify::read_header(token.split('.').next().unwrap()).unwrap();
        assert_eq!(read.kid, format!("new.minted-{suffix}"));
        assert_eq!(read.app.as_deref(), Some("quest-kit"));
        let set: Value = serde_json::from_str(&ring.jwks()).unwrap();
        let kids: Vec<&str> = set["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["kid"].as_str().unwrap())
            .collect();
        assert!(kids.contains(&read.kid.as_str()), "{kids:?}");
    }
}
