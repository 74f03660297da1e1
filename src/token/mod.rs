//! The cryptography of tokens: claims, signing, verifying, the key ring, what is revoked. No I/O,
//! no clock of its own. `jsonwebtoken` is used in this room only.


