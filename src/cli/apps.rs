//! `app add|list|show|grant|revoke|secret|disable|enable|remove` and `token revoke`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::users::{Rights, checked, fit_a_token, from_stdin, sorted};
use super::{Desk, Failure, Shown, output, present};
use crate::id::{AppId, TokenId};
use crate::secret::Secret;
use crate::session::{
    APP_SECRET_MAX, app_id, app_secret_fits, keep_app_secret, minted_revoked_until, new_app_secret,
    revoked_until,
};
use crate::store::apps::{App, AppChange, AppSecret};
use crate::store::audit::AuditKind;

#[derive(Debug, Subcommand)]
pub(super) enum AppCommand {
    /// Adds an app, which may mint tokens for its users. Prints its secret, once, unless it brings
    /// one along.
    Add {
        /// Its id: 1 to 64 of a-z, 0-9, -, _ and .
        id: String,
        #[command(flatten)]
        secret: SecretSource,
        /// A role that its tokens may have. May come several times.
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        /// A permission that its tokens may have. May come several times.
        #[arg(long = "permission", value_name = "PERMISSION")]
        permissions: Vec<String>,
        /// A name for display.
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        shown: Shown,
    },
    /// Lists all apps.
    List {
        #[command(flatten)]
        shown: Shown,
    },
    /// Shows one app.
    Show {
        /// Its id.
        id: String,
        #[command(flatten)]
        shown: Shown,
    },
    /// Lets an app give further roles and permissions to its tokens.
    Grant {
        /// Its id.
        id: String,
        #[command(flatten)]
        rights: Rights,
    },
    /// Takes roles and permissions. All that the app has minted is refused within a second.
    Revoke {
        /// Its id.
        id: String,
        #[command(flatten)]
        rights: Rights,
    },
    /// Its secrets. There may be several, so that one can be replaced without a pause.
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Lets an app mint no more, and refuses what it has minted.
    Disable {
        /// Its id.
        id: String,
    },
    /// Lets an app mint again. What was refused stays refused.
    Enable {
        /// Its id.
        id: String,
    },
    /// Removes an app for good with all its users, and refuses what it has minted.
    Remove {
        /// Its id.
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum SecretCommand {
    /// Adds a secret, and prints it, once, unless it is brought along.
    Add {
        /// The app's id.
        app: String,
        #[command(flatten)]
        secret: SecretSource,
        #[command(flatten)]
        shown: Shown,
    },
    /// Lists an app's secrets by their ids; what they are is not kept.
    List {
        /// The app's id.
        app: String,
        #[command(flatten)]
        shown: Shown,
    },
    /// Takes a secret. What was minted with it stands; `app disable` refuses that.
    Remove {
        /// The app's id.
        app: String,
        /// The secret's id, as `app secret list` shows it.
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Refuses a single token from now on, by its `jti`.
    Revoke {
        /// The `jti`: 32 hexadecimal digits.
        jti: String,
    },
}

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct SecretSource {
    /// Reads the secret from standard input, up to the first line's end, instead of making one.
    #[arg(long)]
    secret_stdin: bool,
}

impl Desk {
    pub(super) fn apps(&self, command: AppCommand) -> Result<(), Failure> {
        match command {
            AppCommand::Add { id, secret, roles, permissions, name, shown } => {
                let rights = Rights { roles, permissions };
                self.app_add(&id, name, rights, secret, shown)
            }
            AppCommand::List { shown } => self.app_list(shown),
            AppCommand::Show { id, shown } => {
                show(&self.app(&id)?, shown);
                Ok(())
            }
            AppCommand::Grant { id, rights } => {
                let Rights { roles, permissions } = checked(rights)?;
                let app = self.app(&id)?;
                let all = |held: &[String], new: &[String]| sorted([held, new].concat());
                fit_a_token(&all(&app.roles, &roles), &all(&app.permissions, &permissions))?;
                let change = AppChange {
                    grant_roles: roles,
                    grant_permissions: permissions,
                    ..AppChange::default()
                };
                let event = rights_told("+", &change.grant_roles, &change.grant_permissions);
                self.app_change(&id, &change, &event, "may give what was asked")
            }
            AppCommand::Revoke { id, rights } => {
                let change = AppChange {
                    revoke_roles: rights.roles,
                    revoke_permissions: rights.permissions,
                    ..AppChange::default()
                };
                let event = rights_told("-", &change.revoke_roles, &change.revoke_permissions);
                let done = "has lost what was asked; its tokens are refused";
                self.app_change(&id, &change, &event, done)
            }
            AppCommand::Secret(command) => self.app_secrets(command),
            AppCommand::Disable { id } => {
                let change = AppChange { disabled: Some(true), ..AppChange::default() };
                self.app_change(&id, &change, "disabled", "is disabled; its tokens are refused")
            }
            AppCommand::Enable { id } => {
                let change = AppChange { disabled: Some(false), ..AppChange::default() };
                self.app_change(&id, &change, "enabled", "is enabled")
            }
            AppCommand::Remove { id } => {
                let id = app_id(&id)?;
                let change = AppChange { disabled: Some(true), ..AppChange::default() };
                let until = |now| minted_revoked_until(&self.config.token.minted, now);
                // Mints no more, and then all that it has minted is cut off.
                self.room.block_on(async {
                    self.store.change_app(&id, &change, self.now, until(self.now)).await?;
                    let now = present(&*self.store).await?;
                    self.store.remove_app(&id, now, until(now)).await
                })?;
                output::say(format_args!("{id} is removed; its tokens are refused"));
                self.note(self.event(AuditKind::AppRemoved).about(id.as_str()))
            }
        }
    }

    pub(super) fn tokens(&self, command: TokenCommand) -> Result<(), Failure> {
        let TokenCommand::Revoke { jti } = command;
        let id: TokenId =
            jti.parse().map_err(|_| Failure::Usage(format!("{jti:?} is not a token's id")))?;
        let known = self.room.block_on(self.store.minted(id))?;
        // Long enough for any token there can be of which nothing is known.
        let until = minted_revoked_until(&self.config.token.minted, self.now)
            .max(revoked_until(&self.config.session, self.now));
        self.room.block_on(self.store.revoke_token(id, until))?;
        match known {
            Some(token) => output::say(format_args!("a token of {} is revoked", token.app)),
            None => output::say("revoked; no app has minted a living token of this id"),
        }
        self.note(self.event(AuditKind::TokenRevoked).about(&id.to_string()))
    }

    fn app(&self, id: &str) -> Result<App, Failure> {
        let found = self.room.block_on(self.store.app(&app_id(id)?))?;
        found.ok_or_else(|| Failure::NotFound(format!("there is no app {id:?}")))
    }

    fn app_add(
        &self,
        id: &str,
        name: Option<String>,
        rights: Rights,
        secret: SecretSource,
        shown: Shown,
    ) -> Result<(), Failure> {
        let id: AppId = app_id(id)?;
        let Rights { roles, permissions } = checked(rights)?;
        fit_a_token(&roles, &permissions)?;
        if self.room.block_on(self.store.app(&id))?.is_some() {
            // Before a secret is asked for in vain.
            return Err(crate::store::StoreError::AppTaken.into());
        }
        let (kept, made) = self.new_secret(secret)?;
        let app = App {
            id,
            name,
            secrets: vec![kept.clone()],
            roles: sorted(roles),
            permissions: sorted(permissions),
            disabled: false,
            created_at: self.now,
        };
        self.room.block_on(self.store.add_app(&app))?;
        tell_secret(&app.id, &kept, made.as_ref(), shown, "can mint tokens now");
        self.note(self.event(AuditKind::AppAdded).about(app.id.as_str()))
    }

    /// `told` is what the audit stream is told of the change, beside the app.
    fn app_change(
        &self,
        id: &str,
        change: &AppChange,
        told: &str,
        done: &str,
    ) -> Result<(), Failure> {
        let id = app_id(id)?;
        self.make(change.outdates_tokens(), |now| {
            let until = minted_revoked_until(&self.config.token.minted, now);
            self.store.change_app(&id, change, now, until)
        })?;
        output::say(format_args!("{id} {done}"));
        self.note(self.event(AuditKind::AppChanged).about(&format!("{id} {told}")))
    }

    fn app_list(&self, shown: Shown) -> Result<(), Failure> {
        let apps = self.room.block_on(self.store.apps())?;
        if shown.json {
            output::json(&apps.iter().map(as_json).collect());
            return Ok(());
        }
        let rows: Vec<[String; 7]> = apps
            .iter()
            .map(|app| {
                [
                    app.id.to_string(),
                    app.name.clone().unwrap_or_default(),
                    app.secrets.len().to_string(),
                    app.roles.join(","),
                    app.permissions.join(","),
                    status(app).to_owned(),
                    output::moment(app.created_at),
                ]
            })
            .collect();
        let head = ["ID", "NAME", "SECRETS", "ROLES", "PERMISSIONS", "STATUS", "SINCE"];
        output::table(head, &rows);
        Ok(())
    }

    fn app_secrets(&self, command: SecretCommand) -> Result<(), Failure> {
        match command {
            SecretCommand::Add { app, secret, shown } => {
                let id = self.app(&app)?.id;
                let (kept, made) = self.new_secret(secret)?;
                let change = AppChange { add_secret: Some(kept.clone()), ..AppChange::default() };
                self.room.block_on(self.store.change_app(&id, &change, self.now, self.now))?;
                tell_secret(&id, &kept, made.as_ref(), shown, "has a further secret");
                let told = format!("{id} +secret:{}", kept.id);
                self.note(self.event(AuditKind::AppChanged).about(&told))
            }
            SecretCommand::List { app, shown } => {
                let app = self.app(&app)?;
                if shown.json {
                    output::json(&app.secrets.iter().map(secret_as_json).collect());
                    return Ok(());
                }
                let rows: Vec<[String; 2]> = app
                    .secrets
                    .iter()
                    .map(|secret| [secret.id.clone(), output::moment(secret.created_at)])
                    .collect();
                output::table(["ID", "SINCE"], &rows);
                Ok(())
            }
            SecretCommand::Remove { app, id } => {
                let told = format!("-secret:{id}");
                let change = AppChange { remove_secret: Some(id), ..AppChange::default() };
                self.app_change(&app, &change, &told, "has lost the secret")
            }
        }
    }

    /// What is kept of a new secret, and the secret itself if it was made here.
    fn new_secret(
        &self,
        source: SecretSource,
    ) -> Result<(AppSecret, Option<Secret<String>>), Failure> {
        if !source.secret_stdin {
            let made = new_app_secret()?;
            return Ok((keep_app_secret(&made, self.now)?, Some(made)));
        }
        let given = from_stdin(APP_SECRET_MAX)?;
        app_secret_fits(&given)?;
        Ok((keep_app_secret(&given, self.now)?, None))
    }
}

/// Which rights were given or taken, as the audit stream is told it.
fn rights_told(sign: &str, roles: &[String], permissions: &[String]) -> String {
    let roles = roles.iter().map(|role| format!("{sign}role:{role}"));
    let each = roles.chain(permissions.iter().map(|name| format!("{sign}permission:{name}")));
    each.collect::<Vec<_>>().join(" ")
}

/// The one time that a secret is shown: alone on standard output, so that a script can take it.
fn tell_secret(
    app: &AppId,
    kept: &AppSecret,
    made: Option<&Secret<String>>,
    shown: Shown,
    done: &str,
) {
    if shown.json {
        output::json(&json!({
            "id": app.as_str(),
            "secret_id": kept.id,
            "secret": made.map(Secret::expose),
        }));
        return;
    }
    match made {
        Some(made) => {
            output::note(format_args!("{app} {done}; its secret, which is not shown again:"));
            output::say(made.expose());
        }
        None => output::say(format_args!("{app} {done}")),
    }
}

fn show(app: &App, shown: Shown) {
    if shown.json {
        return output::json(&as_json(app));
    }
    let secrets: Vec<&str> = app.secrets.iter().map(|secret| secret.id.as_str()).collect();
    let rows = [
        ("id", app.id.to_string()),
        ("name", app.name.clone().unwrap_or_default()),
        ("secrets", secrets.join(",")),
        ("roles", app.roles.join(",")),
        ("permissions", app.permissions.join(",")),
        ("status", status(app).to_owned()),
        ("since", output::moment(app.created_at)),
    ];
    output::table(["FIELD", "VALUE"], &rows.map(|(name, value)| [name.to_owned(), value]));
}

fn status(app: &App) -> &'static str {
    if app.disabled { "disabled" } else { "active" }
}

fn as_json(app: &App) -> serde_json::Value {
    json!({
        "id": app.id.as_str(),
        "name": app.name,
        "secrets": app.secrets.iter().map(secret_as_json).collect::<Vec<_>>(),
        "roles": app.roles,
        "permissions": app.permissions,
        "status": status(app),
        "created_at": output::moment(app.created_at),
    })
}

fn secret_as_json(secret: &AppSecret) -> serde_json::Value {
    json!({ "id": secret.id, "created_at": output::moment(secret.created_at) })
}
