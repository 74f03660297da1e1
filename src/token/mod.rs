//! The cryptography of tokens: claims, signing, verifying, the key ring, what is revoked. No I/O,
//! no clock of its own. `jsonwebtoken` is used in this room only.
//!
//! Each kind of token has a key of its own, derived from a master secret (`derive.rs`), and one
//! exact header. A token is taken only under the header that we would have written ourselves, so
//! nothing in it ever chooses how it is checked (RFC 8725 sections 3.1 and 3.12).

mod claims;
mod derive;
mod key;
mod keyring;
mod minted;
mod profile;
mod revoked;
mod sealed;
mod sign;
mod verify;

#[cfg(test)]
mod tests;

pub use claims::{AccessClaims, AssertionClaims, RefreshClaims};
pub use keyring::{KeyError, Keyring, MasterKey, MintedRules, Rules};
pub use minted::MintedClaims;
pub use revoked::RevokedSet;
pub use sealed::{SEALED_BYTES_MAX, SealError, Sealer};
pub use sign::{SIGNED_BYTES_MAX, SignError};
pub use verify::{ISSUED_AHEAD_MAX, TOKEN_BYTES_MAX, TokenError};
