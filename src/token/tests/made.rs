//! Tokens that we made, and how we take them back.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use proptest::prelude::*;
use serde_json::json;

use super::{
    ALGORITHMS, NOW, access, assertion, masters, minted, refresh, ring, ring_for, ring_of, rules,
};
use crate::clock::Timestamp;
use crate::config::Algorithm;
use crate::id::{KeyId, SessionId};
use crate::secret::Secret;
use crate::token::{
    AccessClaims, ISSUED_AHEAD_MAX, KeyError, Keyring, MasterKey, RefreshClaims, Rules,
    SIGNED_BYTES_MAX, SignError, TokenError,
};

/// A part of a token as JSON: 0 is the header, 1 the payload.
fn part(token: &str, index: usize) -> serde_json::Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[test]
fn an_access_token_comes_back_as_it_was_signed() {
    for algorithm in ALGORITHMS {
        let ring = ring_for(algorithm);
        let bare = AccessClaims {
            session: None,
            name: None,
            email: None,
            roles: Vec::new(),
            permissions: Vec::new(),
            amr: Vec::new(),
            ..access()
        };
        for claims in [access(), bare] {
            let token = ring.sign_access(&claims, NOW).unwrap();
            assert_eq!(ring.verify_access(&token, NOW), Ok(claims), "{algorithm:?}");
        }
    }
}

#[test]
fn a_refresh_token_comes_back_as_it_was_signed() {
    let ring = ring();
    let token = ring.sign_refresh(&refresh(), &KeyId::new("old")).unwrap();
    assert_eq!(ring.verify_refresh(&token, NOW), Ok(refresh()));
}

#[test]
fn headers_say_algorithm_kind_and_key_and_nothing_else() {
    let claims = access();
    let header = |alg: &str, typ: &str, kid: &str| json!({ "alg": alg, "typ": typ, "kid": kid });
    for (algorithm, alg, kid) in [
        (Algorithm::Hs256, "HS256", "new"),
        (Algorithm::Es256, "ES256", "new.access-es256"),
        (Algorithm::EdDsa, "EdDSA", "new.access-eddsa"),
    ] {
        let token = ring_for(algorithm).sign_access(&claims, NOW).unwrap();
        assert_eq!(part(&token, 0), header(alg, "at+jwt", kid));
        // Refresh tokens stay HMAC, whatever access tokens are.
        let key = KeyId::new("new");
        let token = ring_for(algorithm).sign_refresh(&refresh(), &key).unwrap();
        assert_eq!(part(&token, 0), header("HS256", "rt+jwt", "new"));
    }
    let asserted = ring().sign_assertion(Algorithm::EdDsa, &assertion(&claims), NOW).unwrap();
    assert_eq!(part(&asserted, 0), header("EdDSA", "JWT", "new.assertion-eddsa"));
}

#[test]
fn claims_have_their_registered_names() {
    let secs = NOW.secs();
    let token = ring().sign_access(&access(), NOW).unwrap();
    let expected = json!({
        "iss": "https://gate.test", "aud": "https://apps.test",
        "sub": "0190a1b2-c3d4-7000-8000-0123456789ab",
        "sid": "51".repeat(16), "gen": 3, "jti": "70".repeat(16),
        "iat": secs, "iat_ms": secs * 1000 + 250, "exp": secs + 300,
        "preferred_username": "ada", "name": "Ada \"Countess\" Lovelace é",
        "email": "ada@example.test", "roles": ["editor", "staff"], "permissions": ["admin"],
        "amr": ["pwd"], "auth_time": secs - 60,
    });
    assert_eq!(part(&token, 1), expected);

    let bare = AccessClaims { session: None, name: None, email: None, ..access() };
    let claims = part(&ring().sign_access(&bare, NOW).unwrap(), 1);
    assert!(["sid", "name", "email", "nbf"].iter().all(|absent| claims.get(absent).is_none()));

    let token = ring().sign_refresh(&refresh(), &KeyId::new("new")).unwrap();
    let expected = json!({
        "iss": "https://gate.test", "aud": "https://gate.test", "sid": "51".repeat(16), "gen": 3,
        "jti": "71".repeat(16), "iat": secs, "exp": secs + 86_400,
    });
    assert_eq!(part(&token, 1), expected);
}

#[test]
fn the_same_refresh_claims_and_key_give_the_same_bytes_in_every_release() {
    let (key, other) = (KeyId::new("old"), KeyId::new("new"));
    let token = ring().sign_refresh(&refresh(), &key).unwrap();
    assert_eq!(ring_of(&[("old", 1, 0)]).sign_refresh(&refresh(), &key).unwrap(), token);
    assert_ne!(ring().sign_refresh(&refresh(), &other).unwrap(), token);
    // Fractions of a second do not matter: the row keeps milliseconds, the token seconds.
    let fraction = Duration::from_millis(999);
    let claims = RefreshClaims {
        issued_at: refresh().issued_at.plus(fraction),
        expires_at: refresh().expires_at.plus(fraction),
        ..refresh()
    };
    assert_eq!(ring().sign_refresh(&claims, &key).unwrap(), token);
    // Made apart from this program: HKDF and HMAC by hand.
    assert_eq!(
        token,
        concat!(
            "eyJhbGciOiJIUzI1NiIsInR5cCI6InJ0K2p3dCIsImtpZCI6Im9sZCJ9.eyJpc3MiOiJodHRwczovL",
            "2dhdGUudGVzdCIsImF1ZCI6Imh0dHBzOi8vZ2F0ZS50ZXN0Iiwic2lkIjoiNTE1MTUxNTE1MTUxNTE",
            "1MTUxNTE1MTUxNTE1MTUxNTEiLCJnZW4iOjMsImp0aSI6IjcxNzE3MTcxNzE3MTcxNzE3MTcxNzE3M",
            "TcxNzE3MTcxIiwiaWF0IjoxNzAwMDAwMDAwLCJleHAiOjE3MDAwODY0MDB9.IHE8xGigozftLH-Xe2",
            "1O0Fst6gRI9BIuiX-D1fF1Ak0",
        )
    );
}

#[test]
fn public_keys_never_change_between_releases() {
    // Made apart from this program, from the master secret 32 x 02.
    for (algorithm, x, y) in [
        (
            Algorithm::Es256,
            "h5IkZe8UX5wPBv6uvvIwrKVvY0OjG2qPJn1X7WRwJ8E",
            json!("r93bPLUgFaBxs0sObMSx4S9gXQYm8GxyeheqgdDuvyA"),
        ),
        (Algorithm::EdDsa, "NP1iEOgSqGs1gW7hZVvKzmn8ii67drveHUCraQxPH3Q", json!(null)),
    ] {
        let rules = Rules { assertions: Vec::new(), ..rules(algorithm) };
        let ring = Keyring::new(masters(&[("new", 2, 0)]), rules).unwrap();
        let set: serde_json::Value = serde_json::from_str(&ring.jwks()).unwrap();
        // The access key first, and after it the one for minted tokens.
        assert_eq!(set["keys"].as_array().unwrap().len(), 2);
        assert_eq!((&set["keys"][0]["x"], &set["keys"][0]["y"]), (&json!(x), &y));
    }
}

#[test]
fn anyone_can_check_tokens_with_the_published_keys_alone() {
    let claims = access();
    let check = |set: &JwkSet, token: &str, audience: &str| {
        let header = jsonwebtoken::decode_header(token).unwrap();
        let jwk = set.find(header.kid.as_deref().unwrap()).unwrap();
        let key = DecodingKey::from_jwk(jwk).unwrap();
        let mut validation = Validation::new(header.alg);
        validation.validate_exp = false;
        validation.set_audience(&[audience]);
        validation.set_issuer(&["https://gate.test"]);
        let data = jsonwebtoken::decode::<serde_json::Value>(token, &key, &validation).unwrap();
        data.claims
    };
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let ring = ring_for(algorithm);
        let set: JwkSet = serde_json::from_str(&ring.jwks()).unwrap();
        let kids: BTreeSet<_> = set.keys.iter().map(|key| key.common.key_id.clone()).collect();
        assert_eq!(kids.len(), 8, "two masters, each with access, minted and two assertion keys");
        // The older key signs before the newer one is active.
        for when in [NOW, Timestamp::from_secs(50)] {
            let token = ring.sign_access(&claims, when).unwrap();
            assert_eq!(check(&set, &token, "https://apps.test")["sub"], claims.subject.as_str());
        }
        let token = ring.sign_minted(&minted(), NOW).unwrap();
        let secs = NOW.secs();
        let expected = json!({
            "iss": "https://gate.test", "aud": "https://minted.test", "sub": "usr_demo é/1",
            "app": "quest-kit", "jti": "73".repeat(16), "iat": secs, "iat_ms": secs * 1000 + 250,
            "exp": secs + 3600, "roles": ["player"], "permissions": ["missions.read"],
        });
        assert_eq!(check(&set, &token, "https://minted.test"), expected);
        let token = ring.sign_assertion(algorithm, &assertion(&claims), NOW).unwrap();
        let expected = json!({
            "iss": "https://gate.test", "aud": "https://wiki.test", "sub": claims.subject,
            "sid": "51".repeat(16), "jti": "72".repeat(16), "iat": NOW.secs(),
            "exp": NOW.secs() + 60, "preferred_username": "ada", "name": claims.name,
            "roles": claims.roles, "permissions": claims.permissions,
            "auth_time": NOW.secs() - 60,
        });
        assert_eq!(check(&set, &token, "https://wiki.test"), expected);
    }
}

#[test]
fn shared_secrets_are_not_published() {
    let rules = Rules { assertions: Vec::new(), ..rules(Algorithm::Hs256) };
    let ring = Keyring::new(masters(&[("old", 1, 0), ("new", 2, 0)]), rules).unwrap();
    assert_eq!(ring.jwks(), r#"{"keys":[]}"#);
    let text = ring_for(Algorithm::Es256).jwks();
    assert!(!text.contains("\"d\"") && !text.contains("\"k\""), "{text}");
}

#[test]
fn the_newest_active_key_signs_and_a_future_one_waits() {
    let ring = ring_of(&[("c", 3, 300), ("a", 1, 100), ("b", 2, 200)]);
    let at = |secs| ring.signing_key(Timestamp::from_secs(secs)).as_str().to_owned();
    assert_eq!(at(0), "a", "there is no older one to sign with");
    assert_eq!(at(100), "a");
    assert_eq!(ring.signing_key(Timestamp::from_millis(199_999)).as_str(), "a");
    assert_eq!(at(200), "b");
    assert_eq!(at(9999), "c");
    let token = ring.sign_access(&access(), Timestamp::from_secs(250)).unwrap();
    assert_eq!(part(&token, 0)["kid"], "b");
}

#[test]
fn a_rotated_key_still_verifies_until_it_leaves_the_ring() {
    for algorithm in ALGORITHMS {
        let before = Keyring::new(masters(&[("old", 1, 0)]), rules(algorithm)).unwrap();
        let token = before.sign_access(&access(), NOW).unwrap();
        assert_eq!(ring_for(algorithm).verify_access(&token, NOW), Ok(access()));
        let after = Keyring::new(masters(&[("new", 2, 0)]), rules(algorithm)).unwrap();
        let refused = after.verify_access(&token, NOW).unwrap_err();
        assert_eq!(refused, TokenError::UnknownKey);
        assert!(refused.is_stale() && !refused.is_forged());
    }
    let key = KeyId::new("old");
    let lone = ring_of(&[("new", 2, 0)]);
    assert!(matches!(
        lone.sign_refresh(&refresh(), &key),
        Err(SignError::UnknownKey { key: missing }) if missing == key
    ));
    let token = ring().sign_refresh(&refresh(), &key).unwrap();
    assert_eq!(lone.verify_refresh(&token, NOW), Err(TokenError::UnknownKey));
}

#[test]
fn a_change_of_algorithm_makes_living_tokens_stale_and_not_forged() {
    for before in ALGORITHMS {
        let token = ring_for(before).sign_access(&access(), NOW).unwrap();
        for after in ALGORITHMS.into_iter().filter(|after| *after != before) {
            let refused = ring_for(after).verify_access(&token, NOW).unwrap_err();
            assert!(refused.is_stale(), "{before:?} to {after:?}: {refused}");
        }
    }
}

#[test]
fn a_token_lives_until_the_very_millisecond_of_its_end() {
    let ring = ring();
    let token = ring.sign_access(&access(), NOW).unwrap();
    let end = access().expires_at;
    let tick = Duration::from_millis(1);
    assert!(ring.verify_access(&token, end.minus(tick)).is_ok());
    assert_eq!(ring.verify_access(&token, end), Err(TokenError::Expired));
    assert!(TokenError::Expired.is_stale());
    let token = ring.sign_refresh(&refresh(), &KeyId::new("new")).unwrap();
    let end = refresh().expires_at;
    assert!(ring.verify_refresh(&token, end.minus(tick)).is_ok());
    assert_eq!(ring.verify_refresh(&token, end), Err(TokenError::Expired));
}

#[test]
fn a_token_from_a_clock_five_seconds_ahead_is_taken_and_no_further() {
    let ring = ring();
    let tick = Duration::from_millis(1);
    let token = ring.sign_access(&access(), NOW).unwrap();
    let earliest = access().issued_at.minus(ISSUED_AHEAD_MAX);
    assert!(ring.verify_access(&token, earliest).is_ok());
    assert_eq!(ring.verify_access(&token, earliest.minus(tick)), Err(TokenError::NotYetValid));
    let token = ring.sign_refresh(&refresh(), &KeyId::new("new")).unwrap();
    let earliest = refresh().issued_at.minus(ISSUED_AHEAD_MAX);
    assert!(ring.verify_refresh(&token, earliest).is_ok());
    assert_eq!(ring.verify_refresh(&token, earliest.minus(tick)), Err(TokenError::NotYetValid));
}

#[test]
fn claims_beyond_three_kibibytes_are_refused_and_the_error_says_why() {
    let ring = ring();
    let with = |length| AccessClaims { permissions: vec!["p".repeat(length)], ..access() };
    let fits = (1..3000).take_while(|length| ring.sign_access(&with(*length), NOW).is_ok()).last();
    let fits = fits.unwrap();
    let longest = ring.sign_access(&with(fits), NOW).unwrap();
    assert!((SIGNED_BYTES_MAX - 1..=SIGNED_BYTES_MAX).contains(&longest.len()));
    assert!(ring.verify_access(&longest, NOW).is_ok());
    let refused = ring.sign_access(&with(fits + 1), NOW).unwrap_err();
    let SignError::TooLarge { bytes } = refused else { panic!("{refused}") };
    assert!((SIGNED_BYTES_MAX + 1..SIGNED_BYTES_MAX + 4).contains(&bytes));
    assert!(refused.to_string().contains("permissions"));
}

#[test]
fn a_ring_of_unusable_keys_is_not_made() {
    let made = |keys: &[(&str, u8, i64)]| Keyring::new(masters(keys), rules(Algorithm::Hs256));
    let id = KeyId::new;
    assert_eq!(made(&[]).unwrap_err(), KeyError::NoKeys);
    assert_eq!(made(&[("a", 1, 0), ("a", 2, 5)]).unwrap_err(), KeyError::Twice { key: id("a") });
    let long = "k".repeat(65);
    for bad in ["", "a.b", "a b", "a\"", "ä", "a\n", &long] {
        assert_eq!(made(&[(bad, 1, 0)]).unwrap_err(), KeyError::BadId { key: id(bad) });
    }
    let mut short = masters(&[("a", 1, 0)]);
    short[0].secret = Secret::new(vec![1; 31]);
    let refused = Keyring::new(short, rules(Algorithm::Hs256)).unwrap_err();
    assert_eq!(refused, KeyError::TooShort { key: id("a"), bytes: 31 });
    let shared = Rules { assertions: vec![Algorithm::Hs256], ..rules(Algorithm::Es256) };
    let refused = Keyring::new(masters(&[("a", 1, 0)]), shared).unwrap_err();
    assert_eq!(refused, KeyError::SharedAssertions);
}

#[test]
fn an_assertion_that_no_upstream_asked_for_is_not_signed() {
    let claims = access();
    let only = Rules { assertions: vec![Algorithm::EdDsa], ..rules(Algorithm::Hs256) };
    let ring = Keyring::new(masters(&[("a", 1, 0)]), only).unwrap();
    assert!(ring.sign_assertion(Algorithm::EdDsa, &assertion(&claims), NOW).is_ok());
    for algorithm in [Algorithm::Es256, Algorithm::Hs256] {
        let refused = ring.sign_assertion(algorithm, &assertion(&claims), NOW).unwrap_err();
        assert!(matches!(refused, SignError::NoAssertions { algorithm: no } if no == algorithm));
    }
}

#[test]
fn a_fixed_secret_always_has_the_same_name() {
    let fixed = |byte| MasterKey::fixed(Secret::new(vec![byte; 40]));
    assert_eq!(fixed(1).id, fixed(1).id);
    assert_ne!(fixed(1).id, fixed(2).id);
    assert_eq!(fixed(1).id.as_str().len(), 16);
    assert!(Keyring::new(vec![fixed(1)], rules(Algorithm::Hs256)).is_ok());
    let made = [MasterKey::generate(NOW).unwrap(), MasterKey::generate(NOW).unwrap()];
    assert_ne!(made[0].id, made[1].id);
    assert_ne!(made[0].secret, made[1].secret);
    assert!(Keyring::new(made.to_vec(), rules(Algorithm::Es256)).is_ok());
}

#[test]
fn no_secret_is_printed() {
    let secret = "planted-secret-planted-secret-42";
    let master = MasterKey::fixed(Secret::new(secret.as_bytes().to_vec()));
    let bytes = format!("{:?}", secret.as_bytes());
    for algorithm in ALGORITHMS {
        let ring = Keyring::new(vec![master.clone()], rules(algorithm)).unwrap();
        let inner = ring.masters().next().unwrap();
        let printed = format!(
            "{master:?} {ring:?} {:#?} {:?} {:?}",
            ring.sealer("login"),
            inner.access,
            inner.refresh
        );
        let inside = bytes.trim_matches(['[', ']']);
        assert!(!printed.contains("planted") && !printed.contains(inside), "{printed}");
        assert!(printed.contains("Secret(..)") && printed.contains(master.id.as_str()));
    }
}

proptest! {
    #[test]
    fn whatever_a_name_or_a_role_contains_comes_back(
        subject in "\\PC{0,40}",
        name in proptest::option::of(any::<String>()),
        roles in proptest::collection::vec("\\PC{0,20}", 0..6),
        generation: u64,
        millis in 0..4_102_444_800_000_i64,
        session in proptest::option::of(any::<[u8; 16]>()),
    ) {
        let issued_at = Timestamp::from_millis(millis);
        let claims = AccessClaims {
            issued_at,
            expires_at: Timestamp::from_secs(issued_at.secs() + 300),
            subject,
            name,
            roles,
            generation,
            session: session.map(SessionId::from_bytes),
            ..access()
        };
        let ring = ring();
        match ring.sign_access(&claims, issued_at) {
            Ok(token) => prop_assert_eq!(ring.verify_access(&token, issued_at), Ok(claims)),
            Err(SignError::TooLarge { bytes }) => prop_assert!(bytes > SIGNED_BYTES_MAX),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        }
    }
}
