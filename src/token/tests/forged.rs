//! Tokens that we did not make, and what is said of them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, crypto};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    ALGORITHMS, NOW, TAKEN, access, encode, header, key, masters, payload_of, ring, ring_for,
    rules, signed, verdict,
};
use crate::config::Algorithm;
use crate::secret::Secret;
use crate::token::key::Kind;
use crate::token::{AccessClaims, Keyring, TokenError};

const KINDS: [Kind; 4] = [Kind::Access, Kind::Refresh, Kind::Assertion, Kind::Minted];

/// What somebody with our key, but not our code, could make: any header, any payload.
fn inside_job(ring: &Keyring, kind: Kind, header: &str, payload: &str) -> String {
    let message = format!("{}.{}", encode(header), encode(payload));
    let signature = key(ring, kind).sign(&message).unwrap();
    format!("{message}.{signature}")
}

#[test]
fn no_kind_passes_as_another_not_even_under_its_header() {
    for algorithm in ALGORITHMS {
        let ring = ring_for(algorithm);
        for made in KINDS {
            let token = signed(&ring, made);
            for taken in TAKEN.into_iter().filter(|kind| *kind != made) {
                assert_eq!(verdict(&ring, taken, &token), Err(TokenError::WrongKind), "{made:?}");
                // The attacker writes the header of the other kind over it.
                let (_, rest) = token.split_once('.').unwrap();
                let dressed = format!("{}.{rest}", header(key(&ring, taken), taken));
                let said = verdict(&ring, taken, &dressed).unwrap_err();
                assert_eq!(said, TokenError::BadSignature, "{made:?} as {taken:?}");
                // Even whoever could sign with one kind's key makes no other kind.
                let (message, _) = dressed.rsplit_once('.').unwrap();
                let signature = key(&ring, made).sign(message).unwrap();
                let said = verdict(&ring, taken, &format!("{message}.{signature}")).unwrap_err();
                assert_eq!(said, TokenError::BadSignature, "{made:?} signs {taken:?}");
            }
        }
    }
}

#[test]
fn a_token_without_a_signature_is_nobodys() {
    for algorithm in ALGORITHMS {
        let ring = ring_for(algorithm);
        let token = signed(&ring, Kind::Access);
        let (message, _) = token.rsplit_once('.').unwrap();
        let payload = token.split('.').nth(1).unwrap();
        let kid = &key(&ring, Kind::Access).kid;
        assert_eq!(
            verdict(&ring, Kind::Access, &format!("{message}.")),
            Err(TokenError::BadSignature)
        );
        for none in ["none", "None", "NONE", "nOnE", "", "hs256", "RS256", "PS256", "ES384", "dir"]
        {
            let header = json!({ "alg": none, "typ": "at+jwt", "kid": kid }).to_string();
            for signature in ["", "AAAA"] {
                let forged = format!("{}.{payload}.{signature}", encode(&header));
                let said = verdict(&ring, Kind::Access, &forged);
                // Field order is not ours either, but the algorithm is what is told.
                assert_eq!(said, Err(TokenError::WrongAlgorithm), "{none}");
            }
        }
    }
}

#[test]
fn a_public_key_is_no_hmac_secret() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let ring = ring_for(algorithm);
        let payload = signed(&ring, Kind::Access).split('.').nth(1).unwrap().to_owned();
        let kid = &key(&ring, Kind::Access).kid;
        let set: Value = serde_json::from_str(&ring.jwks()).unwrap();
        let jwk = set["keys"].as_array().unwrap().iter().find(|jwk| jwk["kid"] == **kid).unwrap();
        let raw = |name| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap_or("")).unwrap();
        let point = [&[4], raw("x").as_slice(), &raw("y")].concat();
        for secret in [raw("x"), point, jwk.to_string().into(), set.to_string().into()] {
            let secret = EncodingKey::from_secret(&secret);
            let ours = &key(&ring, Kind::Access).header;
            let theirs = encode(format!(r#"{{"alg":"HS256","typ":"at+jwt","kid":"{kid}"}}"#));
            for (header, said) in
                [(&theirs, TokenError::WrongAlgorithm), (ours, TokenError::BadSignature)]
            {
                let message = format!("{header}.{payload}");
                let hs256 = jsonwebtoken::Algorithm::HS256;
                let signature = crypto::sign(message.as_bytes(), &secret, hs256).unwrap();
                let forged = format!("{message}.{signature}");
                assert_eq!(verdict(&ring, Kind::Access, &forged), Err(said));
            }
        }
    }
}

#[test]
fn empty_and_misshapen_signatures_are_wrong() {
    // CVE-2022-21449: an ECDSA signature of zeros was right for everything.
    for algorithm in ALGORITHMS {
        let ring = ring_for(algorithm);
        let token = signed(&ring, Kind::Access);
        let (message, _) = token.rsplit_once('.').unwrap();
        for length in [0, 1, 31, 32, 33, 63, 64, 65, 72, 96, 128] {
            for byte in [0, 0xff] {
                let forged = format!("{message}.{}", encode(vec![byte; length]));
                let said = verdict(&ring, Kind::Access, &forged);
                assert_eq!(said, Err(TokenError::BadSignature), "{length} x {byte}");
            }
        }
    }
}

#[test]
fn a_header_with_any_other_field_is_not_ours_even_if_rightly_signed() {
    let ring = ring();
    let payload = payload_of(&signed(&ring, Kind::Access)).to_string();
    let header = |extra: &str| format!(r#"{{"alg":"HS256","typ":"at+jwt","kid":"new"{extra}}}"#);
    let plain = inside_job(&ring, Kind::Access, &header(""), &payload);
    assert_eq!(verdict(&ring, Kind::Access, &plain), Ok(()), "the pattern itself is right");
    for extra in [
        r#","crit":["exp"]"#,
        r#","crit":[]"#,
        r#","zip":"DEF""#,
        r#","enc":"A256GCM""#,
        r#","jku":"https://evil.test/jwks""#,
        r#","x5u":"https://evil.test/cert""#,
        r#","x5c":["AAAA"]"#,
        r#","jwk":{"kty":"oct","k":"AAAA"}"#,
        r#","b64":false"#,
        r#","cty":"JWT""#,
        r#","alg":"HS256""#,
        r#","kid":"new""#,
        r#","typ":"at+jwt""#,
        r#","x":1"#,
        r#","app":"quest-kit""#,
        " ",
    ] {
        let token = inside_job(&ring, Kind::Access, &header(extra), &payload);
        assert_eq!(verdict(&ring, Kind::Access, &token), Err(TokenError::Malformed), "{extra}");
        // Nor does an unknown key make it a stale one, which a refresh would replace.
        let strange = header(extra).replace("new", "gone");
        let token = inside_job(&ring, Kind::Access, &strange, &payload);
        let said = verdict(&ring, Kind::Access, &token).unwrap_err();
        assert_eq!(said.is_forged(), extra != " ", "{extra}");
    }
    for other in [
        r#"{"typ":"at+jwt","alg":"HS256","kid":"new"}"#,
        r#"{"alg":"HS256","typ":"at+jwt"}"#,
        r#"{"alg":"HS256","kid":"new"}"#,
        r#"{"alg":"HS256","typ":"at+jwt","kid":7}"#,
        r#"{"alg":["HS256"],"typ":"at+jwt","kid":"new"}"#,
        r#"["HS256","at+jwt","new"]"#,
        "null",
        "",
        "{",
    ] {
        let token = inside_job(&ring, Kind::Access, other, &payload);
        assert_eq!(verdict(&ring, Kind::Access, &token), Err(TokenError::Malformed), "{other}");
    }
    for typ in ["JWT", "AT+JWT", "application/at+jwt", "rt+jwt", ""] {
        let header = format!(r#"{{"alg":"HS256","typ":"{typ}","kid":"new"}}"#);
        let token = inside_job(&ring, Kind::Access, &header, &payload);
        assert_eq!(verdict(&ring, Kind::Access, &token), Err(TokenError::WrongKind), "{typ}");
    }
}

#[test]
fn a_key_id_leads_to_our_keys_or_nowhere() {
    let ring = ring();
    let payload = payload_of(&signed(&ring, Kind::Access)).to_string();
    let long = "k".repeat(2000);
    for kid in
        ["", "gone", "NEW", "new.access-es256", "../new", "new' OR 1=1 --", "new\u{0}", &long]
    {
        let header = json!({ "alg": "HS256", "typ": "at+jwt", "kid": kid }).to_string();
        let token = inside_job(&ring, Kind::Access, &header, &payload);
        assert_eq!(verdict(&ring, Kind::Access, &token), Err(TokenError::UnknownKey), "{kid:?}");
    }
    // The other key's name over this key's signature.
    let token = signed(&ring, Kind::Access);
    let (_, rest) = token.split_once('.').unwrap();
    let old = ring.masters().next().unwrap();
    let moved = format!("{}.{rest}", old.access.header);
    assert_eq!(verdict(&ring, Kind::Access, &moved), Err(TokenError::BadSignature));
}

#[test]
fn another_gateways_token_of_the_same_key_id_is_forged() {
    for algorithm in ALGORITHMS {
        let other = Keyring::new(masters(&[("old", 8, 0), ("new", 9, 100)]), rules(algorithm));
        let other = other.unwrap();
        let ring = ring_for(algorithm);
        for kind in TAKEN {
            let said = verdict(&ring, kind, &signed(&other, kind)).unwrap_err();
            assert_eq!(said, TokenError::BadSignature);
            assert!(said.is_forged() && !said.is_stale());
        }
    }
}

#[test]
fn no_flipped_bit_goes_unnoticed() {
    for algorithm in ALGORITHMS {
        let ring = ring_for(algorithm);
        for kind in TAKEN {
            let token = signed(&ring, kind);
            for at in 0..token.len() {
                for bit in 0..7 {
                    let mut bytes = token.clone().into_bytes();
                    bytes[at] ^= 1 << bit;
                    let flipped = String::from_utf8(bytes).unwrap();
                    assert!(verdict(&ring, kind, &flipped).is_err(), "{kind:?} {at} {bit}");
                }
            }
        }
    }
}

#[test]
fn no_cut_and_no_appendix_goes_unnoticed() {
    for algorithm in ALGORITHMS {
        let ring = ring_for(algorithm);
        let token = signed(&ring, Kind::Access);
        for at in 0..token.len() {
            assert!(verdict(&ring, Kind::Access, &token[..at]).is_err(), "cut at {at}");
            assert!(verdict(&ring, Kind::Access, &token[at + 1..]).is_err(), "begun at {at}");
        }
        for more in ["A", "AA", "AAAA", "=", "==", ".", ".A", " ", "\n", "\0", ",", "é", &token] {
            assert!(verdict(&ring, Kind::Access, &format!("{token}{more}")).is_err(), "{more:?}");
            assert!(verdict(&ring, Kind::Access, &format!("{more}{token}")).is_err(), "{more:?}");
        }
    }
}

#[test]
fn each_part_has_one_spelling() {
    // The last character of 32 and of 64 bytes carries unused bits: a decoder that ignores them
    // lets one token have several spellings.
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for algorithm in ALGORITHMS {
        let ring = ring_for(algorithm);
        let token = signed(&ring, Kind::Access);
        let ends: Vec<usize> =
            token.match_indices('.').map(|(at, _)| at).chain([token.len()]).collect();
        for end in ends {
            for other in ALPHABET.chars().filter(|other| !token[..end].ends_with(*other)) {
                let changed = format!("{}{other}{}", &token[..end - 1], &token[end..]);
                assert!(verdict(&ring, Kind::Access, &changed).is_err(), "{other} at {end}");
            }
            for padding in ["=", "=="] {
                let padded = format!("{}{padding}{}", &token[..end], &token[end..]);
                assert!(verdict(&ring, Kind::Access, &padded).is_err());
            }
        }
        let swapped = token.replace('-', "+").replace('_', "/");
        assert!(swapped == token || verdict(&ring, Kind::Access, &swapped).is_err());
    }
}

#[test]
fn many_dots_cost_nothing() {
    // CVE-2025-30204: splitting at every dot before counting them.
    let ring = ring();
    let token = signed(&ring, Kind::Access);
    for dots in [0, 1, 3, 4, 100, 4096] {
        let said = verdict(&ring, Kind::Access, &".".repeat(dots)).unwrap_err();
        assert_eq!(said, TokenError::Malformed, "{dots} dots");
    }
    for huge in [".".repeat(100_000), format!("{token}{}", ".".repeat(100_000)), "A".repeat(4097)] {
        assert_eq!(verdict(&ring, Kind::Access, &huge), Err(TokenError::TooLarge));
    }
    let doubled = token.replace('.', "..");
    assert_eq!(verdict(&ring, Kind::Access, &doubled), Err(TokenError::Malformed));
}

#[test]
fn a_stranger_with_all_public_knowledge_but_no_secret_forges_nothing() {
    // Same rules, same key ids, a guess at the secret.
    for guess in [vec![0; 32], vec![2; 33], b"sallyport/1sallyport/1sallyport/1".to_vec()] {
        for algorithm in ALGORITHMS {
            let mut keys = masters(&[("new", 2, 100)]);
            keys[0].secret = Secret::new(guess.clone());
            let stranger = Keyring::new(keys, rules(algorithm)).unwrap();
            for kind in TAKEN {
                let said = verdict(&ring_for(algorithm), kind, &signed(&stranger, kind));
                assert_eq!(said, Err(TokenError::BadSignature));
            }
        }
    }
}

proptest! {
    #[test]
    fn no_text_from_outside_is_taken_or_ends_the_process(text in any::<String>()) {
        let ring = ring();
        prop_assert!(ring.verify_access(&text, NOW).is_err());
        prop_assert!(ring.verify_refresh(&text, NOW).is_err());
        prop_assert!(ring.verify_minted(&text, NOW).is_err());
    }

    #[test]
    fn no_foreign_parts_under_any_header_are_taken(
        header in prop_oneof![Just(None), any::<Vec<u8>>().prop_map(Some)],
        payload in any::<Vec<u8>>(),
        signature in any::<Vec<u8>>(),
    ) {
        for algorithm in ALGORITHMS {
            let ring = ring_for(algorithm);
            for kind in TAKEN {
                let ours = super::header(key(&ring, kind), kind);
                let header = header.as_ref().map_or(ours, encode);
                let token = format!("{header}.{}.{}", encode(&payload), encode(&signature));
                prop_assert!(verdict(&ring, kind, &token).is_err());
            }
        }
    }

    #[test]
    fn pieces_of_two_tokens_make_no_third(cut in 0..600_usize, other_generation: u64) {
        let ring = ring();
        let first = signed(&ring, Kind::Access);
        let changed = AccessClaims { generation: other_generation, ..access() };
        let second = ring.sign_access(&changed, NOW).unwrap();
        let at = cut.min(first.len()).min(second.len());
        let mixed = format!("{}{}", &first[..at], &second[at..]);
        let whole = mixed == first || mixed == second;
        prop_assert_eq!(verdict(&ring, Kind::Access, &mixed).is_ok(), whole);
    }
}
