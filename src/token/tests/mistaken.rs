//! Tokens with a right signature and wrong claims: what a mistake of ours, or of a later release,
//! could bring about. The signature must not be the only thing that is looked at.

use std::time::Duration;

use serde_json::{Value, json};

use super::{NOW, TAKEN, access, authentic, encode, key, payload_of, ring, signed, verdict};
use crate::token::TokenError;
use crate::token::key::Kind;

#[test]
fn a_claim_of_a_wrong_type_is_not_taken_for_an_absent_one() {
    // CVE-2026-25537: `exp` and `nbf` of a wrong type passed as not there.
    let ring = ring();
    let wrong = |right: &Value| {
        let mut wrong = vec![json!(null), json!({}), json!([right]), json!(true), json!(1.5)];
        match right {
            Value::Number(number) => {
                wrong.extend([
                    json!(number.to_string()),
                    json!(number.as_f64()),
                    json!(1e30),
                    json!(""),
                ]);
            }
            _ => wrong.extend([json!(7), json!(-7)]),
        }
        wrong
    };
    for kind in TAKEN {
        let claims = payload_of(&signed(&ring, kind));
        assert_eq!(verdict(&ring, kind, &authentic(&ring, kind, &claims.to_string())), Ok(()));
        let names: Vec<String> = claims.as_object().unwrap().keys().cloned().collect();
        for name in &names {
            for value in wrong(&claims[name]) {
                let mut claims = claims.clone();
                claims[name] = value.clone();
                let said = verdict(&ring, kind, &authentic(&ring, kind, &claims.to_string()));
                assert_eq!(said, Err(TokenError::Malformed), "{name}: {value}");
            }
        }
        for value in [json!("1"), json!(1.0), json!([1]), json!(null), json!({})] {
            let mut claims = claims.clone();
            claims["nbf"] = value.clone();
            let said = verdict(&ring, kind, &authentic(&ring, kind, &claims.to_string()));
            assert_eq!(said, Err(TokenError::Malformed), "nbf: {value}");
        }
    }
}

#[test]
fn a_claim_that_is_missing_or_there_twice_is_refused() {
    let ring = ring();
    for kind in TAKEN {
        let claims = payload_of(&signed(&ring, kind));
        for (name, value) in claims.as_object().unwrap() {
            let mut less = claims.clone();
            less.as_object_mut().unwrap().remove(name);
            let said = verdict(&ring, kind, &authentic(&ring, kind, &less.to_string()));
            // Name and email are there on demand.
            let optional = kind == Kind::Access && ["sid", "name", "email"].contains(&&**name);
            let expected = if optional { Ok(()) } else { Err(TokenError::Malformed) };
            assert_eq!(said, expected, "without {name}");

            let text = claims.to_string();
            for twice in [
                text.replacen('{', &format!("{{{}:{value},", json!(name)), 1),
                text.replacen(
                    '{',
                    &format!("{{\"\\u{:04x}{}\":{value},", name.as_bytes()[0], &name[1..]),
                    1,
                ),
            ] {
                let said = verdict(&ring, kind, &authentic(&ring, kind, &twice));
                assert_eq!(said, Err(TokenError::Malformed), "twice {name}");
            }
        }
        let later = claims.to_string().replacen('{', r#"{"added_later":[1,{"a":2}],"#, 1);
        assert_eq!(verdict(&ring, kind, &authentic(&ring, kind, &later)), Ok(()));
    }
}

#[test]
fn issuer_and_audience_are_exactly_ours() {
    let ring = ring();
    for kind in TAKEN {
        let claims = payload_of(&signed(&ring, kind));
        let said = |name: &str, value: &Value| {
            let mut claims = claims.clone();
            claims[name] = value.clone();
            verdict(&ring, kind, &authentic(&ring, kind, &claims.to_string()))
        };
        for other in
            ["", "https://gate.test/", "HTTPS://gate.test", "https://evil.test", "gate.test"]
        {
            assert_eq!(said("iss", &json!(other)), Err(TokenError::WrongIssuer), "{other}");
            assert_eq!(said("aud", &json!(other)), Err(TokenError::WrongAudience), "{other}");
        }
        for list in [json!([claims["aud"]]), json!([claims["aud"], "x"]), json!([])] {
            assert_eq!(said("aud", &list), Err(TokenError::Malformed));
            assert_eq!(said("iss", &list), Err(TokenError::Malformed));
        }
    }
}

#[test]
fn times_that_do_not_fit_together_are_refused() {
    let ring = ring();
    let claims = payload_of(&signed(&ring, Kind::Access));
    let said = |change: &[(&str, i64)]| {
        let mut claims = claims.clone();
        for (name, value) in change {
            claims[*name] = json!(value);
        }
        verdict(&ring, Kind::Access, &authentic(&ring, Kind::Access, &claims.to_string()))
    };
    let now = NOW.secs();
    assert_eq!(said(&[("iat", now - 1)]), Err(TokenError::Malformed), "iat is not that of iat_ms");
    assert_eq!(said(&[("iat_ms", NOW.millis() - 1000)]), Err(TokenError::Malformed));
    assert_eq!(said(&[("nbf", now)]), Ok(()));
    assert_eq!(said(&[("nbf", now + 1)]), Err(TokenError::NotYetValid));
    assert_eq!(said(&[("nbf", i64::MAX)]), Err(TokenError::NotYetValid));
    assert_eq!(said(&[("exp", i64::MIN)]), Err(TokenError::Expired));
    assert_eq!(said(&[("exp", i64::MAX)]), Ok(()));
    assert_eq!(said(&[("exp", 0)]), Err(TokenError::Expired));
    assert_eq!(said(&[("exp", 0), ("nbf", now + 1)]), Err(TokenError::NotYetValid));
    let far = i64::MAX / 1000 + 1;
    assert_eq!(said(&[("iat", far)]), Err(TokenError::Malformed));
}

#[test]
fn expired_is_only_said_of_what_is_authentic() {
    let ring = ring();
    let late = access().expires_at.plus(Duration::from_secs(1));
    let token = signed(&ring, Kind::Access);
    assert_eq!(ring.verify_access(&token, late), Err(TokenError::Expired));
    let (message, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{message}.{}", encode([7; 32]));
    assert_eq!(ring.verify_access(&forged, late), Err(TokenError::BadSignature));
    for (name, said) in [("iss", TokenError::WrongIssuer), ("aud", TokenError::WrongAudience)] {
        let mut claims = payload_of(&token);
        claims[name] = json!("https://evil.test");
        let foreign = authentic(&ring, Kind::Access, &claims.to_string());
        assert_eq!(ring.verify_access(&foreign, late), Err(said));
    }
}

#[test]
fn ids_in_another_spelling_are_refused() {
    let ring = ring();
    for (kind, names) in [
        (Kind::Access, &["sid", "jti"][..]),
        (Kind::Refresh, &["sid", "jti"]),
        (Kind::Minted, &["jti"]),
    ] {
        let claims = payload_of(&signed(&ring, kind));
        for name in names {
            for value in ["", "5A".repeat(16).as_str(), &"5a".repeat(15), &"5a".repeat(17), "+5"] {
                let mut claims = claims.clone();
                claims[*name] = json!(value);
                let said = verdict(&ring, kind, &authentic(&ring, kind, &claims.to_string()));
                assert_eq!(said, Err(TokenError::Malformed), "{name} {value}");
            }
        }
    }
}

#[test]
fn a_payload_that_is_no_object_is_refused_whatever_it_is() {
    let ring = ring();
    let claims = payload_of(&signed(&ring, Kind::Refresh));
    let values: Vec<_> =
        ["iss", "aud", "sid", "gen", "jti", "iat", "exp"].map(|name| claims[name].clone()).into();
    let deep = format!("{{\"x\":{}", "[".repeat(2500));
    let trailing = format!("{claims}{claims}");
    let array = json!(values).to_string();
    for payload in
        ["", "null", "7", "\"x\"", "[]", "{}", "{", &deep, &trailing, &array, "\u{feff}{}"]
    {
        for kind in TAKEN {
            let said = verdict(&ring, kind, &authentic(&ring, kind, payload));
            assert_eq!(said, Err(TokenError::Malformed), "{payload:.40}");
        }
    }
    // Bytes that are no text at all.
    let key = key(&ring, Kind::Refresh);
    let message = format!("{}.{}", key.header, encode([b'{', b'"', 0xff, b'"', b':', b'1', b'}']));
    let token = format!("{message}.{}", key.sign(&message).unwrap());
    assert_eq!(verdict(&ring, Kind::Refresh, &token), Err(TokenError::Malformed));
}
