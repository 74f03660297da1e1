//! One signing key of one kind: its header, its algorithm, its key id.

use std::fmt;

use aws_lc_rs::agreement::{self, ECDH_P256};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey, crypto};
use serde::{Deserialize, Serialize};

use super::derive::{Purpose, Root};
use super::keyring::KeyError;
use crate::config::{Algorithm, ClaimsProfile};
use crate::id::{AppId, KeyId};
use crate::secret::Secret;

/// What a token is for. Each kind has keys of its own, and says its name in `typ`
/// (RFC 8725 section 3.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Says who calls; checked on each request.
    Access,
    /// Buys the next pair of tokens; always HMAC.
    Refresh,
    /// Tells one upstream who called.
    Assertion,
    /// Made for the users of an app; checked on each request.
    Minted,
}

impl Kind {
    /// `typ` in the header.
    pub(super) const fn typ(self) -> &'static str {
        match self {
            Self::Access => "at+jwt", // RFC 9068 section 2.1.
            Self::Refresh => "rt+jwt",
            Self::Minted => "mt+jwt",
            Self::Assertion => "JWT", // RFC 7519 section 5.1: what applications' libraries expect.
        }
    }

    /// What its tokens can be signed with.
    pub(super) const fn algorithms(self) -> &'static [Algorithm] {
        match self {
            Self::Access | Self::Minted => &[Algorithm::Hs256, Algorithm::Es256, Algorithm::EdDsa],
            Self::Refresh => &[Algorithm::Hs256],
            Self::Assertion => &[Algorithm::Es256, Algorithm::EdDsa],
        }
    }

    /// The name of the kind in labels and key ids.
    const fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
            Self::Assertion => "assertion",
            Self::Minted => "minted",
        }
    }
}

/// A JOSE header with exactly the fields that we write; a token with any other field
/// (`crit`, `zip`, `jwk`, `jku`, `x5u`, ...) is not ours.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) alg: String,
    pub(super) typ: String,
    pub(super) kid: String,
    /// In minted tokens: the app. A private name (RFC 7515 section 4.3), which verifiers outside
    /// pass over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) app: Option<String>,
}

/// A derived key with everything that is fixed about its tokens.
pub(super) struct TokenKey {
    /// The header of all its tokens, encoded. Verifying compares it instead of reading it. Minted
    /// tokens have that of [`header_of`](Self::header_of).
    pub(super) header: String,
    /// The name in that header.
    pub(super) kid: String,
    /// What its tokens are signed with.
    pub(super) algorithm: Algorithm,
    typ: &'static str,
    signing: EncodingKey,
    verifying: DecodingKey,
    public: Option<PublicKey>,
}

impl TokenKey {
    /// The key of `kind` and `algorithm` under the master `id`. A profile has keys of its own, so
    /// that nothing is ever read after another profile than it was written by.
    pub(super) fn derive(
        root: &Root,
        id: &KeyId,
        kind: Kind,
        algorithm: Algorithm,
        profile: Option<&ClaimsProfile>,
    ) -> Result<Self, KeyError> {
        let rejected = || KeyError::Derivation { key: id.clone() };
        let alg = registered_name(algorithm);
        let label = profile.map(ClaimsProfile::label).unwrap_or_default();
        // Public keys of several kinds stand in one set, so each needs a name of its own.
        let public = match algorithm {
            Algorithm::Hs256 => None,
            Algorithm::Es256 => Some("es256"),
            Algorithm::EdDsa => Some("eddsa"),
        };
        let tag = profile.map(|_| short(&label));
        let name = (public.is_some() || tag.is_some()).then(|| kind.name().to_owned());
        let parts: Vec<String> =
            name.into_iter().chain(tag).chain(public.map(str::to_owned)).collect();
        let kid = match parts.as_slice() {
            [] => id.as_str().to_owned(),
            parts => format!("{}.{}", id.as_str(), parts.join("-")),
        };
        let purpose = Purpose { kind: kind.name(), algorithm: alg, profile: &label };
        let (signing, verifying, public) = match algorithm {
            Algorithm::Hs256 => {
                let secret = root.derive(purpose, 0);
                let signing = EncodingKey::from_secret(secret.expose());
                (signing, DecodingKey::from_secret(secret.expose()), None)
            }
            Algorithm::Es256 => {
                let pair = p256_pair(root, purpose).ok_or_else(rejected)?;
                let public = PublicKey::p256(&kid, &pair).ok_or_else(rejected)?;
                let pkcs8 = pair.to_pkcs8v1().map_err(|_| rejected())?;
                let verifying = DecodingKey::from_ec_der(pair.public_key().as_ref());
                (EncodingKey::from_ec_der(pkcs8.as_ref()), verifying, Some(public))
            }
            Algorithm::EdDsa => {
                let seed = root.derive(purpose, 0);
                let pair =
                    Ed25519KeyPair::from_seed_unchecked(seed.expose()).map_err(|_| rejected())?;
                let public = PublicKey::ed25519(&kid, &pair);
                let pkcs8 = pair.to_pkcs8v1().map_err(|_| rejected())?;
                let verifying = DecodingKey::from_ed_der(pair.public_key().as_ref());
                (EncodingKey::from_ed_der(pkcs8.as_ref()), verifying, Some(public))
            }
        };
        let typ = kind.typ();
        let header = header(alg, typ, &kid, None).map_err(|_| rejected())?;
        Ok(Self { header, kid, algorithm, typ, signing, verifying, public })
    }

    /// The header of a token that is minted for `app`, encoded.
    pub(super) fn header_of(&self, app: &AppId) -> Result<String, serde_json::Error> {
        header(registered_name(self.algorithm), self.typ, &self.kid, Some(app))
    }

    /// The signature of `message`, encoded.
    pub(super) fn sign(&self, message: &str) -> Result<String, jsonwebtoken::errors::Error> {
        crypto::sign(message.as_bytes(), &self.signing, library_name(self.algorithm))
    }

    /// Whether `signature` is this key's signature of `message`. An error if it is not even
    /// canonical base64url.
    pub(super) fn verify(
        &self,
        message: &str,
        signature: &str,
    ) -> Result<bool, jsonwebtoken::errors::Error> {
        // RFC 8725 section 3.1: the algorithm is the key's.
        let algorithm = library_name(self.algorithm);
        crypto::verify(signature, message.as_bytes(), &self.verifying, algorithm)
    }

    /// The public half, if there is one.
    pub(super) const fn public(&self) -> Option<&PublicKey> {
        self.public.as_ref()
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

fn header(
    alg: &str,
    typ: &str,
    kid: &str,
    app: Option<&AppId>,
) -> Result<String, serde_json::Error> {
    let app = app.map(|app| app.as_str().to_owned());
    let header = Header { alg: alg.to_owned(), typ: typ.to_owned(), kid: kid.to_owned(), app };
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header)?))
}

/// A short name for a profile, in the `kid` of its keys.
fn short(label: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, label.as_bytes());
    digest.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// A public key as others read it (RFC 7517 section 4).
#[derive(Debug, Serialize)]
pub(super) struct PublicKey {
    kty: &'static str,
    crv: &'static str,
    x: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    alg: &'static str,
    r#use: &'static str,
    kid: String,
}

impl PublicKey {
    fn p256(kid: &str, pair: &EcdsaKeyPair) -> Option<Self> {
        // SEC 1 section 2.3.3: 04, then x and y of 32 bytes each.
        let point = pair.public_key().as_ref().strip_prefix(&[4])?;
        let (x, y) = point.split_at_checked(32)?;
        Some(Self {
            kty: "EC", // RFC 7518 section 6.2.
            crv: "P-256",
            x: URL_SAFE_NO_PAD.encode(x),
            y: Some(URL_SAFE_NO_PAD.encode(y)),
            alg: "ES256",
            r#use: "sig",
            kid: kid.to_owned(),
        })
    }

    fn ed25519(kid: &str, pair: &Ed25519KeyPair) -> Self {
        Self {
            kty: "OKP", // RFC 8037 section 2.
            crv: "Ed25519",
            x: URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()),
            y: None,
            alg: "EdDSA",
            r#use: "sig",
            kid: kid.to_owned(),
        }
    }
}

/// `alg` of a header (RFC 7518 section 3.1, RFC 8037 section 3.1).
pub(super) const fn registered_name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Hs256 => "HS256",
        Algorithm::Es256 => "ES256",
        Algorithm::EdDsa => "EdDSA",
    }
}

const fn library_name(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
    }
}

/// The order of P-256's group (FIPS 186-5, SP 800-186 section 3.2.1.3).
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// Draws candidates until one is a private key: taking a number modulo the order instead would
/// favour small keys. One in 2^32 is refused, so the 256 attempts do not run out.
fn p256_pair(root: &Root, purpose: Purpose<'_>) -> Option<EcdsaKeyPair> {
    let scalar = (0..=u8::MAX).map(|attempt| root.derive(purpose, attempt)).find(is_p256_scalar)?;
    let private = agreement::PrivateKey::from_private_key(&ECDH_P256, scalar.expose()).ok()?;
    let public = private.compute_public_key().ok()?;
    EcdsaKeyPair::from_private_key_and_public_key(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        scalar.expose(),
        public.as_ref(),
    )
    .ok()
}

/// Whether `candidate` is at least 1 and below the order. Done at start only, and what its time
/// tells is that one in 2^32 was refused.
fn is_p256_scalar(candidate: &Secret<[u8; 32]>) -> bool {
    let number = candidate.expose();
    *number != [0; 32] && *number < P256_ORDER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_is_above_zero_and_below_the_order() {
        let ok = |number| is_p256_scalar(&Secret::new(number));
        let mut one = [0; 32];
        one[31] = 1;
        let mut last = P256_ORDER;
        last[31] -= 1;
        assert!(!ok([0; 32]) && !ok(P256_ORDER) && !ok([0xff; 32]));
        assert!(ok(one) && ok(last));
        for key in [one, last] {
            assert!(agreement::PrivateKey::from_private_key(&ECDH_P256, &key).is_ok());
        }
    }
}
