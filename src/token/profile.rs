//! Claims under the names that the outside knows: written so, and taken back under our own.

use std::fmt;

use aws_lc_rs::digest;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::verify::TokenError;
use crate::config::ClaimsProfile;
use crate::id::TokenId;

/// `claims` with those that the profile keeps, in its order and under its names.
pub(super) fn dress(
    profile: &ClaimsProfile,
    claims: &impl Serialize,
) -> Result<Value, serde_json::Error> {
    let mut claims = serde_json::to_value(claims)?;
    let mut dressed = Map::new();
    for (claim, name) in profile.kept() {
        // Those that this token has no use for, such as an unknown email, are not there at all.
        if let Some(value) = claims.get_mut(claim) {
            dressed.insert(name.to_owned(), value.take());
        }
    }
    Ok(Value::Object(dressed))
}

/// The claims of `payload` under our own names, with what the profile leaves out filled up from
/// `absent`. What has another name than the profile gives is not looked at.
pub(super) fn undress<T: DeserializeOwned>(
    profile: &ClaimsProfile,
    payload: &[u8],
    absent: impl IntoIterator<Item = (&'static str, Value)>,
) -> Result<T, TokenError> {
    // Strictly one object: whatever else serde would make a map of is not ours.
    let Pairs(mut pairs) = serde_json::from_slice(payload).map_err(|_| TokenError::Malformed)?;
    let mut claims = Map::new();
    for (claim, name) in profile.kept() {
        let mut at = pairs.iter_mut().filter(|(key, _)| key == name);
        match (at.next(), at.next()) {
            (Some((_, value)), None) => drop(claims.insert(claim.to_owned(), value.take())),
            (None, _) => {}
            (Some(_), Some(_)) => return Err(TokenError::Malformed),
        }
    }
    // In whole seconds: it is then before the true moment, and a cut-off refuses too much rather
    // than too little.
    if !profile.keeps("iat_ms") {
        let seconds = claims.get("iat").and_then(Value::as_i64).ok_or(TokenError::Malformed)?;
        let millis = seconds.checked_mul(1000).ok_or(TokenError::Malformed)?;
        claims.insert("iat_ms".to_owned(), millis.into());
    }
    if !profile.keeps("jti") {
        claims.insert("jti".to_owned(), token_id(payload).to_string().into());
    }
    for (claim, value) in absent {
        if !profile.keeps(claim) {
            claims.insert(claim.to_owned(), value);
        }
    }
    serde_json::from_value(Value::Object(claims)).map_err(|_| TokenError::Malformed)
}

/// The id of a token that does not say its own.
fn token_id(payload: &[u8]) -> TokenId {
    let digest = digest::digest(&digest::SHA256, payload);
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    TokenId::from_bytes(id)
}

/// A JSON object as it stands: a name that comes twice is there twice.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        from.deserialize_map(Reader)
    }
}
