//! `[store]`: where everything is kept, and what seals the keys there.

use std::time::Duration;

use super::{Findings, HOUR, MINUTE, SECOND};
use crate::config::file::{self, SecretRef, TextOrSecret};
use crate::config::{Store, StoreUrl};
use crate::secret::Secret;

/// Fewer could be guessed sooner than the keys they seal (RFC 8725 section 3.5).
const SEAL_BYTES_MIN: usize = 32;

pub(super) fn store(file: &file::Store, found: &mut Findings<'_>) -> Option<Store> {
    let before = found.problems.len();
    let url = store_url("store.url", &file.url, found);
    let direct = file.direct_url.as_ref();
    let direct = direct.and_then(|url| store_url("store.direct_url", url, found));
    let direct_url = match (&url, direct) {
        (Some(StoreUrl::Postgres(_)), Some(StoreUrl::Postgres(direct))) => Some(direct),
        (Some(_), Some(_)) => {
            found.wrong("store.direct_url", "is for Postgres only, beside a url of Postgres");
            None
        }
        _ => None,
    };
    let seal_key = file.seal_key.as_ref();
    let seal_key = seal_key.and_then(|secret| seal_key_of("store.seal_key", secret, found));
    let retired_seal_keys: Vec<_> = file
        .retired_seal_keys
        .iter()
        .enumerate()
        .filter_map(|(index, secret)| {
            seal_key_of(&format!("store.retired_seal_keys[{index}]"), secret, found)
        })
        .collect();
    let patience = (Duration::from_millis(100), MINUTE);
    let patience = found.period("store.patience", &file.patience, patience);
    let age = (2 * SECOND, HOUR);
    let age = found.period("store.revocation_max_age", &file.revocation_max_age, age);
    if found.problems.len() > before {
        return None;
    }
    Some(Store {
        url: url?,
        direct_url,
        seal_key,
        retired_seal_keys,
        connections: file.connections,
        patience: patience?,
        revocation_max_age: age?,
    })
}

fn store_url(key: &str, text: &TextOrSecret, found: &mut Findings<'_>) -> Option<StoreUrl> {
    let url = match text {
        TextOrSecret::Text(text) => Secret::new(text.clone()),
        TextOrSecret::Secret(secret) => {
            let bytes = secret.read(found.base).map_err(|text| found.wrong(key, text)).ok()?;
            match std::str::from_utf8(bytes.expose()) {
                Ok(text) => Secret::new(text.to_owned()),
                Err(_) => {
                    found.wrong(key, "is not UTF-8");
                    return None;
                }
            }
        }
    };
    match StoreUrl::parse(url, found.base) {
        Ok(url) => Some(url),
        Err(bad) => {
            match bad.hint() {
                Some(hint) => found.wrong_but(key, bad.to_string(), hint),
                None => found.wrong(key, bad.to_string()),
            }
            None
        }
    }
}

fn seal_key_of(key: &str, secret: &SecretRef, found: &mut Findings<'_>) -> Option<Secret<Vec<u8>>> {
    match secret.read(found.base) {
        Ok(secret) if secret.expose().len() >= SEAL_BYTES_MIN => Some(secret),
        Ok(secret) => {
            let has = secret.expose().len();
            let text = format!("has {has} bytes, and needs at least {SEAL_BYTES_MIN}");
            found.wrong_but(key, text, "make one with: openssl rand -base64 48");
            None
        }
        Err(text) => {
            found.wrong(key, text);
            None
        }
    }
}
