//! Apps and what they mint: the acts, their rows, and the way between rows and columns.

use std::collections::BTreeSet;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::columns::{bytes, list, text, unreadable};
use crate::clock::Timestamp;
use crate::id::{AppId, TokenId, UserId};
use crate::secret::Secret;

/// Most secrets of one app: the one in use, the next, and a few that were not taken back yet.
pub const APP_SECRETS_MAX: usize = 4;

/// Most apps of a gateway: all are held in memory.
pub const APPS_MAX: usize = 1000;

/// Begins the `login_key` of every user of an app, and none of an account: names hold no control
/// characters. All that begins with it sorts before all accounts.
pub(super) const OF_AN_APP: &str = "\u{1}";

/// The first text that sorts behind everything that begins with [`OF_AN_APP`]; `char(2)` in SQL.
pub(super) const BEHIND_APPS: &str = "\u{2}";

/// Apps and minted tokens. As of [`Store`](super::Store), each act is atomic and durable.
#[async_trait]
pub trait Apps: Send + Sync + 'static {
    /// Adds an app. `AppTaken` if there is one of this id, `TooManyApps` beyond [`APPS_MAX`].
    async fn add_app(&self, app: &App) -> Result<(), StoreError>;
    /// The app with this id.
    async fn app(&self, id: &AppId) -> Result<Option<App>, StoreError>;
    /// All apps, by id.
    async fn apps(&self) -> Result<Vec<App>, StoreError>;
    /// Changes an app. Taking rights from it or disabling it revokes, in the same act and until
    /// `revoked_until`, all that it has minted until `now`. Returns the app as it then is.
    /// `NoSuchApp`, or `TooManySecrets` beyond [`APP_SECRETS_MAX`].
    async fn change_app(
        &self,
        id: &AppId,
        change: &AppChange,
        now: Timestamp,
        revoked_until: Timestamp,
    ) -> Result<App, StoreError>;
    /// Removes an app and revokes what it has minted. Its users go with the sweep.
    async fn remove_app(
        &self,
        id: &AppId,
        now: Timestamp,
        revoked_until: Timestamp,
    ) -> Result<(), StoreError>;
    /// Notes a token that is about to be given out, and its user unless they are known already. Returns
    /// the app as it is at that moment: a token may say nothing that was taken from it before, and what is
    /// taken after cuts the token off. `NoSuchApp` if the app is gone or disabled at that moment.
    async fn mint(&self, minted: &MintedToken, at: Timestamp) -> Result<App, StoreError>;
    /// A token that was minted and has not been swept.
    async fn minted(&self, id: TokenId) -> Result<Option<MintedToken>, StoreError>;
}

/// A machine client that may mint tokens for its users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Never changes.
    pub id: AppId,
    /// For display.
    pub name: Option<String>,
    /// What it proves itself with: any one of these. The oldest first.
    pub secrets: Vec<AppSecret>,
    /// Most roles that its tokens may have. Sorted, without doubles.
    pub roles: Vec<String>,
    /// Most permissions; likewise.
    pub permissions: Vec<String>,
    /// May not mint, and no token of its is honoured.
    pub disabled: bool,
    /// When it was added.
    pub created_at: Timestamp,
}

/// One secret of an app, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppSecret {
    /// Its name among the app's secrets: 8 hex digits.
    pub id: String,
    /// 16 random bytes.
    pub salt: Vec<u8>,
    /// HMAC-SHA-256 of the secret under the salt.
    pub hash: Secret<Vec<u8>>,
    /// When it was added.
    pub created_at: Timestamp,
}

/// A change of one app.
#[derive(Debug, Clone, Default)]
pub struct AppChange {
    /// Roles to add.
    pub grant_roles: Vec<String>,
    /// Roles to take.
    pub revoke_roles: Vec<String>,
    /// Permissions to add.
    pub grant_permissions: Vec<String>,
    /// Permissions to take.
    pub revoke_permissions: Vec<String>,
    /// Disable (`true`) or enable (`false`).
    pub disabled: Option<bool>,
    /// A further secret.
    pub add_secret: Option<AppSecret>,
    /// The id of a secret to take. `NoSuchSecret` if there is none of it.
    pub remove_secret: Option<String>,
}

/// A token that an app has minted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MintedToken {
    /// `jti`
    pub id: TokenId,
    /// By which app.
    pub app: AppId,
    /// What the app calls the user. Empty when it is read back: it is not kept with the token.
    pub subject: String,
    /// `exp`
    pub expires_at: Timestamp,
}

impl MintedToken {
    /// The account of its user.
    pub fn user(&self) -> UserId {
        self.app.user(&self.subject)
    }
}

impl AppChange {
    /// The app after this change: the one rule that every backend applies between its read and its
    /// write.
    pub(super) fn apply(&self, app: &App) -> Result<App, StoreError> {
        let mut secrets = app.secrets.clone();
        if let Some(gone) = &self.remove_secret {
            let before = secrets.len();
            secrets.retain(|secret| secret.id != *gone);
            if secrets.len() == before {
                return Err(StoreError::NoSuchSecret);
            }
        }
        secrets.extend(self.add_secret.clone());
        if secrets.len() > APP_SECRETS_MAX {
            return Err(StoreError::TooManySecrets);
        }
        Ok(App {
            secrets,
            roles: alter(&app.roles, &self.grant_roles, &self.revoke_roles),
            permissions: alter(&app.permissions, &self.grant_permissions, &self.revoke_permissions),
            disabled: self.disabled.unwrap_or(app.disabled),
            ..app.clone()
        })
    }

    /// Whether what the app has minted says what is no longer so.
    pub fn outdates_tokens(&self) -> bool {
        self.disabled == Some(true)
            || !self.revoke_roles.is_empty()
            || !self.revoke_permissions.is_empty()
    }
}

/// Sorted, without doubles. What is both granted and taken is taken.
fn alter(held: &[String], grant: &[String], revoke: &[String]) -> Vec<String> {
    let held: BTreeSet<&String> = held.iter().chain(grant).collect();
    held.into_iter().filter(|name| !revoke.contains(name)).cloned().collect()
}

/// `identities.provider` of an app's users.
pub(super) fn provider(app: &str) -> String {
    format!("app:{app}")
}

/// What stands in `users` for an app's user: `login` and `login_key`.
pub(super) fn names(minted: &MintedToken) -> (String, String) {
    let login = format!("{}/{}", minted.app, minted.subject);
    let key = format!("{OF_AN_APP}{login}");
    (login, key)
}

#[derive(sqlx::FromRow)]
pub(super) struct AppColumns {
    id: String,
    name: Option<String>,
    secrets: String,
    roles: String,
    permissions: String,
    disabled: bool,
    created_at: i64,
}

impl TryFrom<AppColumns> for App {
    type Error = StoreError;

    fn try_from(row: AppColumns) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id.parse().map_err(|_| unreadable("an app's id"))?,
            name: row.name,
            secrets: read_secrets(&row.secrets)?,
            roles: list(&row.roles, "an app's roles")?,
            permissions: list(&row.permissions, "an app's permissions")?,
            disabled: row.disabled,
            created_at: Timestamp::from_millis(row.created_at),
        })
    }
}

/// An app as its columns hold it, in their order but for the id.
pub(super) struct AppTexts {
    pub(super) secrets: String,
    pub(super) roles: String,
    pub(super) permissions: String,
}

impl From<&App> for AppTexts {
    fn from(app: &App) -> Self {
        Self {
            secrets: write_secrets(&app.secrets),
            roles: text(&app.roles),
            permissions: text(&app.permissions),
        }
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct MintedColumns {
    id: Vec<u8>,
    app: String,
    expires_at: i64,
}

impl TryFrom<MintedColumns> for MintedToken {
    type Error = StoreError;

    fn try_from(row: MintedColumns) -> Result<Self, StoreError> {
        Ok(Self {
            id: TokenId::from_bytes(bytes(&row.id, "a token's id")?),
            app: row.app.parse().map_err(|_| unreadable("an app's id"))?,
            subject: String::new(),
            expires_at: Timestamp::from_millis(row.expires_at),
        })
    }
}

/// One element of the column `secrets`.
#[derive(Serialize, Deserialize)]
struct SecretJson {
    id: String,
    salt: String,
    hash: String,
    created_at: i64,
}

fn write_secrets(secrets: &[AppSecret]) -> String {
    let list: Vec<SecretJson> = secrets
        .iter()
        .map(|secret| SecretJson {
            id: secret.id.clone(),
            salt: STANDARD_NO_PAD.encode(&secret.salt),
            hash: STANDARD_NO_PAD.encode(secret.hash.expose()),
            created_at: secret.created_at.millis(),
        })
        .collect();
    serde_json::to_string(&list).expect("texts and numbers are always JSON")
}

fn read_secrets(text: &str) -> Result<Vec<AppSecret>, StoreError> {
    let wrong = || unreadable("an app's secrets");
    let list: Vec<SecretJson> = serde_json::from_str(text).map_err(|_| wrong())?;
    list.into_iter()
        .map(|json| {
            Ok(AppSecret {
                id: json.id,
                salt: STANDARD_NO_PAD.decode(json.salt).map_err(|_| wrong())?,
                hash: Secret::new(STANDARD_NO_PAD.decode(json.hash).map_err(|_| wrong())?),
                created_at: Timestamp::from_millis(json.created_at),
            })
        })
        .collect()
}
