//! What an account's secret must be like, and which names strangers may take.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a new secret must be like. The command line obeys it too; old secrets go on working.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct LoginSecret {
    /// What people log in with.
    pub kind: SecretKind,
    /// Fewest characters, 1 to 128. Default: 15 for a password, which is what NIST SP 800-63B-4 asks
    /// of one that is the only factor, and 6 for a PIN. OWASP ASVS 6.2.1 wants 8 at the very least;
    /// less is warned of, and so are limits (`attempts.per_account`) under which all of so few
    /// digits could be tried within a year.
    #[schemars(range(min = 1, max = 128))]
    pub min_length: Option<u32>,
    /// Whether secrets are refused that everybody tries first: those on the list that is compiled in
    /// and in `password.blocklist`, repetitions, rows of keys, and the account's or site's own name.
    pub blocklist: bool,
}

impl Default for LoginSecret {
    fn default() -> Self {
        Self { kind: SecretKind::Password, min_length: None, blocklist: true }
    }
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum SecretKind {
    /// any printable characters, in any language
    Password,
    /// digits only
    Pin,
}

/// Names that a stranger could pass for the operator with, and those that RFC 2142 sets apart.
pub(in crate::config) fn reserved_names() -> Vec<String> {
    let names = [
        "abuse",
        "admin",
        "administrator",
        "anonymous",
        "hostmaster",
        "moderator",
        "nobody",
        "operator",
        "owner",
        "postmaster",
        "root",
        "security",
        "support",
        "system",
        "webmaster",
    ];
    names.map(str::to_owned).to_vec()
}
