//! `user add|list|show|password|grant|revoke|disable|enable|remove`.

use std::io::{IsTerminal, Read};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;
use zeroize::Zeroize;

use super::import::Source;
use super::links::lifetime;
use super::{Desk, Failure, Shown, output, present};
use crate::id::UserId;
use crate::secret::{PasswordHash, Secret};
use crate::session::{Fitness, Recipe, login_key};
use crate::store::audit::{AuditEvent, AuditKind};
use crate::store::rows::{User, UserChange};

/// Accounts shown by one query.
const PAGE: u32 = 500;
/// What all roles and permissions of an account may take in a token of 3 KiB: base64 makes four
/// bytes of three, and names, times and ids need their room too.
const RIGHTS_BYTES_MAX: usize = 1280;

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Makes an account. Asks for its password.
    Add {
        /// The login name.
        name: String,
        #[command(flatten)]
        password: PasswordSource,
        /// A role to give it. May come several times.
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        /// A permission to give it. May come several times.
        #[arg(long = "permission", value_name = "PERMISSION")]
        permissions: Vec<String>,
        /// A name for display.
        #[arg(long)]
        display_name: Option<String>,
        /// An email address, for headers; nothing is sent to it.
        #[arg(long)]
        email: Option<String>,
    },
    /// Makes a link by which somebody makes an account of their own, once. Shown once.
    Invite {
        /// A role to give it. May come several times.
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        /// A permission to give it. May come several times.
        #[arg(long = "permission", value_name = "PERMISSION")]
        permissions: Vec<String>,
        /// How long the link may be used, from "1m" to "30d".
        #[arg(long, value_name = "DURATION", default_value = "3d", value_parser = lifetime)]
        ttl: Duration,
    },
    /// Makes a link by which the account's owner sets a new password, once. Shown once.
    Reset {
        /// The login name.
        name: String,
        /// How long the link may be used, from "1m" to "30d".
        #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = lifetime)]
        ttl: Duration,
    },
    /// Lists all accounts.
    List {
        #[command(flatten)]
        shown: Shown,
    },
    /// Shows one account.
    Show {
        /// The login name.
        name: String,
        #[command(flatten)]
        shown: Shown,
    },
    /// Takes over accounts with their password hashes (bcrypt, Argon2) from a file: all or none.
    Import {
        #[command(flatten)]
        source: Source,
    },
    /// Sets a new password and ends the account's sessions.
    Password {
        /// The login name.
        name: String,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Gives roles and permissions. A running gateway honours them within a second.
    Grant {
        /// The login name.
        name: String,
        #[command(flatten)]
        rights: Rights,
    },
    /// Takes roles and permissions. A running gateway honours it within a second.
    Revoke {
        /// The login name.
        name: String,
        #[command(flatten)]
        rights: Rights,
    },
    /// Ends the account's sessions and lets nobody log in to it.
    Disable {
        /// The login name.
        name: String,
    },
    /// Lets an account log in again. What has ended stays ended.
    Enable {
        /// The login name.
        name: String,
    },
    /// Removes an account for good, and ends its sessions.
    Remove {
        /// The login name.
        name: String,
    },
}

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct PasswordSource {
    /// Reads the password from standard input, up to the first line's end, instead of asking.
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Rights {
    /// A role. May come several times.
    #[arg(long = "role", value_name = "ROLE")]
    pub(super) roles: Vec<String>,
    /// A permission. May come several times.
    #[arg(long = "permission", value_name = "PERMISSION")]
    pub(super) permissions: Vec<String>,
}

impl Desk {
    pub(super) fn users(&self, command: UserCommand) -> Result<(), Failure> {
        match command {
            UserCommand::Add { name, password, roles, permissions, display_name, email } => {
                let new = New { name, roles, permissions, display_name, email };
                self.add(new, password)
            }
            UserCommand::Import { source } => self.import(&source),
            UserCommand::Invite { roles, permissions, ttl } => {
                self.invite(Rights { roles, permissions }, ttl)
            }
            UserCommand::Reset { name, ttl } => self.reset(&name, ttl),
            UserCommand::List { shown } => self.list(shown),
            UserCommand::Show { name, shown } => {
                self.show(&self.user(&name)?, shown);
                Ok(())
            }
            UserCommand::Password { name, password } => {
                let user = self.user(&name)?;
                let hash = self.new_password(&user.login, password)?;
                let change = UserChange { password: Some(hash), ..UserChange::default() };
                let event = self.event(AuditKind::PasswordChanged);
                self.change(&user, &change, event, "has a new password; their sessions have ended")
            }
            UserCommand::Grant { name, rights } => {
                let Rights { roles, permissions } = checked(rights)?;
                let user = self.user(&name)?;
                let all = |held: &[String], new: &[String]| sorted([held, new].concat());
                let (held, may) = (&user.roles, &user.permissions);
                fit_a_token(&all(held, &roles), &all(may, &permissions))?;
                let event = self.changed(&[("+role:", &roles), ("+permission:", &permissions)]);
                let change = UserChange {
                    grant_roles: roles,
                    grant_permissions: permissions,
                    ..UserChange::default()
                };
                self.change(&user, &change, event, "was given what was asked")
            }
            UserCommand::Revoke { name, rights } => {
                let Rights { roles, permissions } = rights;
                let event = self.changed(&[("-role:", &roles), ("-permission:", &permissions)]);
                let change = UserChange {
                    revoke_roles: roles,
                    revoke_permissions: permissions,
                    ..UserChange::default()
                };
                self.change(&self.user(&name)?, &change, event, "has lost what was asked")
            }
            UserCommand::Disable { name } => {
                let change = UserChange { disabled: Some(true), ..UserChange::default() };
                let event = self.event(AuditKind::UserChanged).about("disabled");
                let user = self.user(&name)?;
                self.change(&user, &change, event, "is disabled; their sessions have ended")
            }
            UserCommand::Enable { name } => {
                let change = UserChange { disabled: Some(false), ..UserChange::default() };
                let event = self.event(AuditKind::UserChanged).about("enabled");
                self.change(&self.user(&name)?, &change, event, "is enabled")
            }
            UserCommand::Remove { name } => {
                let user = self.user(&name)?;
                let change = UserChange { disabled: Some(true), ..UserChange::default() };
                // Is given nothing more, and then all that was given is cut off.
                self.room.block_on(async {
                    let until = self.revoked_until(self.now);
                    self.store.change_user(user.id, &change, None, self.now, until).await?;
                    let now = present(&*self.store).await?;
                    self.store.remove_user(user.id, now, self.revoked_until(now)).await
                })?;
                output::say(format_args!("{} is removed", user.login));
                self.note(self.event(AuditKind::UserRemoved).of(&user))
            }
        }
    }

    fn add(&self, new: New, password: PasswordSource) -> Result<(), Failure> {
        let login_key = login_key(&new.name, self.config.login.case)?;
        let rights = checked(Rights { roles: new.roles, permissions: new.permissions })?;
        if self.room.block_on(self.store.user_by_login(&login_key))?.is_some() {
            // Before a password is asked for in vain.
            return Err(crate::store::StoreError::NameTaken.into());
        }
        fit_a_token(&rights.roles, &rights.permissions)?;
        let hash = self.new_password(&new.name, password)?;
        let user = User {
            id: UserId::generate(self.now)?,
            login: new.name,
            login_key,
            name: new.display_name,
            email: new.email,
            roles: sorted(rights.roles),
            permissions: sorted(rights.permissions),
            password: Some(hash),
            disabled: false,
            created_at: self.now,
        };
        self.room.block_on(self.store.add_user(&user))?;
        output::say(format_args!("{} can log in now", user.login));
        let event = self.changed(&[("+role:", &user.roles), ("+permission:", &user.permissions)]);
        self.note(AuditEvent { kind: AuditKind::UserAdded, ..event }.of(&user))
    }

    /// An event that tells which rights were given and taken.
    fn changed(&self, rights: &[(&str, &[String])]) -> AuditEvent {
        let each = rights
            .iter()
            .flat_map(|(what, names)| names.iter().map(move |name| format!("{what}{name}")));
        let words = each.collect::<Vec<_>>().join(" ");
        let event = self.event(AuditKind::UserChanged);
        if words.is_empty() { event } else { event.about(&words) }
    }

    fn change(
        &self,
        user: &User,
        change: &UserChange,
        event: AuditEvent,
        done: &str,
    ) -> Result<(), Failure> {
        self.make(change.outdates_tokens(), |now| {
            self.store.change_user(user.id, change, None, now, self.revoked_until(now))
        })?;
        output::say(format_args!("{} {done}", user.login));
        self.note(event.of(user))
    }

    fn list(&self, shown: Shown) -> Result<(), Failure> {
        let mut all: Vec<User> = Vec::new();
        loop {
            let after = all.last().map(|user| user.login_key.as_str());
            let page = self.room.block_on(self.store.users(after, PAGE))?;
            let last = page.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
            all.extend(page);
            if last {
                break;
            }
        }
        if shown.json {
            output::json(&all.iter().map(as_json).collect());
        } else {
            let rows: Vec<[String; 5]> = all
                .iter()
                .map(|user| {
                    [
                        user.login.clone(),
                        user.roles.join(","),
                        user.permissions.join(","),
                        status(user).to_owned(),
                        output::moment(user.created_at),
                    ]
                })
                .collect();
            output::table(["NAME", "ROLES", "PERMISSIONS", "STATUS", "SINCE"], &rows);
        }
        Ok(())
    }

    fn show(&self, user: &User, shown: Shown) {
        if shown.json {
            return output::json(&as_json(user));
        }
        let rows = [
            ("name", user.login.clone()),
            ("id", user.id.to_string()),
            ("display name", user.name.clone().unwrap_or_default()),
            ("email", user.email.clone().unwrap_or_default()),
            ("roles", user.roles.join(",")),
            ("permissions", user.permissions.join(",")),
            ("status", status(user).to_owned()),
            ("since", output::moment(user.created_at)),
        ];
        output::table(["FIELD", "VALUE"], &rows.map(|(name, value)| [name.to_owned(), value]));
    }

    fn new_password(&self, login: &str, source: PasswordSource) -> Result<PasswordHash, Failure> {
        let recipe = Recipe::new(&self.config.password)?;
        let fitness = Fitness::new(&self.config.password)?;
        let secret = match source.password_stdin {
            true => from_stdin(self.config.password.max_length)?,
            false => from_prompt()?,
        };
        fitness.judge(&secret, &[login, &self.config.login.site_name])?;
        Ok(recipe.hash(&secret)?)
    }
}

/// What `user add` was told.
struct New {
    name: String,
    roles: Vec<String>,
    permissions: Vec<String>,
    display_name: Option<String>,
    email: Option<String>,
}

pub(super) fn from_stdin(max_bytes: usize) -> Result<Secret<String>, Failure> {
    let failed = |source| Failure::Io { what: "standard input could not be read", source };
    // One byte more than allowed is enough to see that it is too long; and a line's end.
    let most = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(3);
    let mut text = String::new();
    std::io::stdin().lock().take(most).read_to_string(&mut text).map_err(failed)?;
    let first = text.split('\n').next().unwrap_or_default();
    let secret = Secret::new(first.strip_suffix('\r').unwrap_or(first).to_owned());
    text.zeroize();
    Ok(secret)
}

fn from_prompt() -> Result<Secret<String>, Failure> {
    if !std::io::stdin().is_terminal() {
        let text = "there is no terminal to ask at; pass the password with --password-stdin";
        return Err(Failure::Usage(text.to_owned()));
    }
    let failed = |source| Failure::Io { what: "the password could not be asked for", source };
    let first = Secret::new(rpassword::prompt_password("Password: ").map_err(failed)?);
    let again = Secret::new(rpassword::prompt_password("Once more: ").map_err(failed)?);
    if first != again {
        return Err(Failure::Usage("the two passwords differ".to_owned()));
    }
    Ok(first)
}

/// Roles and permissions travel in header fields joined by commas, so they hold none.
pub(super) fn checked(rights: Rights) -> Result<Rights, Failure> {
    let fine = |c: char| c.is_ascii_graphic() && c != ',';
    for right in rights.roles.iter().chain(&rights.permissions) {
        if right.is_empty() || right.len() > 64 || !right.chars().all(fine) {
            return Err(Failure::Usage(format!(
                "{right:?} cannot be a role or a permission: 1 to 64 printable ASCII characters, \
                 no blanks, no commas"
            )));
        }
    }
    Ok(rights)
}

/// A token carries all of an account's rights. One that is too large could not be signed, and its
/// user could not log in any more.
pub(super) fn fit_a_token(roles: &[String], permissions: &[String]) -> Result<(), Failure> {
    // As JSON stands in a token: two quotes and a comma each.
    let bytes: usize = roles.iter().chain(permissions).map(|right| right.len() + 3).sum();
    if bytes > RIGHTS_BYTES_MAX {
        return Err(Failure::Usage(format!(
            "these roles and permissions take {bytes} bytes in a token, and {RIGHTS_BYTES_MAX} is \
             the most; use roles for groups of permissions"
        )));
    }
    Ok(())
}

pub(super) fn sorted(mut list: Vec<String>) -> Vec<String> {
    list.sort();
    list.dedup();
    list
}

fn status(user: &User) -> &'static str {
    if user.disabled { "disabled" } else { "active" }
}

fn as_json(user: &User) -> serde_json::Value {
    json!({
        "id": user.id.to_string(),
        "name": user.login,
        "display_name": user.name,
        "email": user.email,
        "roles": user.roles,
        "permissions": user.permissions,
        "status": status(user),
        "created_at": output::moment(user.created_at),
    })
}
