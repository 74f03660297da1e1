//! `user invite` and `user reset`: one-time links, shown once; `links list|withdraw`.

use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use super::users::{Rights, checked, fit_a_token, sorted};
use super::{Desk, Failure, Shown, output};
use crate::config::Endpoint;
use crate::endpoints::link_url;
use crate::session::{Purpose, draw_link};
use crate::store::audit::{AuditEvent, AuditKind};
use crate::store::links::{Link, LinkKind};

/// Shortest and longest life of a link.
const TTL: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(30 * 24));

/// Reads how long a link may be used.
pub(super) fn lifetime(text: &str) -> Result<Duration, String> {
    let ttl = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let (least, most) = TTL;
    match (least..=most).contains(&ttl) {
        true => Ok(ttl),
        false => Err("a link lives from 1m to 30d".to_owned()),
    }
}

/// Most links that are listed.
const MOST: u32 = 10_000;

#[derive(Debug, Subcommand)]
pub(super) enum LinksCommand {
    /// Lists the links that may still be used, the newest first. The links themselves are not known
    /// any more.
    List {
        #[command(flatten)]
        shown: Shown,
    },
    /// Takes a link back, or all of them: whoever holds it can do nothing with it.
    #[command(arg_required_else_help = true)]
    Withdraw {
        /// The link's id, as `links list` shows it.
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        id: Option<String>,
        /// All links that are open.
        #[arg(long)]
        all: bool,
    },
}

impl Desk {
    pub(super) fn links(&self, command: LinksCommand) -> Result<(), Failure> {
        match command {
            LinksCommand::List { shown } => self.link_list(shown),
            LinksCommand::Withdraw { id, .. } => self.withdraw(id.as_deref()),
        }
    }

    fn link_list(&self, shown: Shown) -> Result<(), Failure> {
        let links = self.room.block_on(self.store.links(self.now, MOST))?;
        if shown.json {
            output::json(
                &links.iter().map(|(link, login)| as_json(link, login.as_deref())).collect(),
            );
            return Ok(());
        }
        let rows: Vec<[String; 6]> = links
            .iter()
            .map(|(link, login)| {
                [
                    link.hash.id(),
                    link.kind.as_str().to_owned(),
                    login.clone().unwrap_or_default(),
                    output::moment(link.created_at),
                    output::moment(link.expires_at),
                    [link.roles.join(","), link.permissions.join(",")].join(" ").trim().to_owned(),
                ]
            })
            .collect();
        output::table(["ID", "FOR", "USER", "MADE", "UNTIL", "RIGHTS"], &rows);
        Ok(())
    }

    /// The one with this id; without one all.
    fn withdraw(&self, id: Option<&str>) -> Result<(), Failure> {
        let links = self.room.block_on(self.store.links(self.now, MOST))?;
        let meant = links.into_iter().filter(|(link, _)| id.is_none_or(|id| link.hash.id() == id));
        let mut events = Vec::new();
        for (link, _) in meant {
            // Somebody may have used it at this moment.
            if self.room.block_on(self.store.withdraw_link(&link.hash, self.now))? {
                let event = self.event(AuditKind::LinkWithdrawn).about(link.kind.as_str());
                events.push(AuditEvent { user: link.user, ..event });
            }
        }
        if id.is_some() && events.is_empty() {
            return Err(Failure::NotFound("there is no such open link".to_owned()));
        }
        self.note_all(&events)?;
        output::say(format_args!("withdrawn: {}", events.len()));
        Ok(())
    }

    pub(super) fn invite(&self, rights: Rights, ttl: Duration) -> Result<(), Failure> {
        let rights = checked(rights)?;
        fit_a_token(&rights.roles, &rights.permissions)?;
        let roles = sorted(rights.roles);
        let permissions = sorted(rights.permissions);
        self.hand_out(Purpose::Invite { roles, permissions }, ttl, "makes one account")
    }

    pub(super) fn reset(&self, name: &str, ttl: Duration) -> Result<(), Failure> {
        let user = self.user(name)?;
        let good = format!("sets a new password for {}", user.login);
        self.hand_out(Purpose::Reset(user.id), ttl, &good)
    }

    /// The link alone on standard output, for programs; what it is, beside it.
    fn hand_out(&self, purpose: Purpose, ttl: Duration, good: &str) -> Result<(), Failure> {
        let (link, secret) = draw_link(purpose, ttl, self.now)?;
        let page = match link.kind {
            LinkKind::Setup => Endpoint::SetupPage,
            LinkKind::Invite => Endpoint::InvitePage,
            LinkKind::Reset => Endpoint::ResetPage,
        };
        let Some(path) = self.config.shapes.path(page) else {
            let text = format!("endpoints.{} is off: such a link leads nowhere", page.row().name);
            return Err(Failure::Usage(text));
        };
        self.room.block_on(self.store.add_link(&link))?;
        let made = self.event(AuditKind::LinkMade).about(link.kind.as_str());
        self.note(AuditEvent { user: link.user, ..made })?;
        output::say(link_url(&self.config.listen.public_url, path, &secret));
        let end = output::moment(link.expires_at);
        output::note(format_args!("works once, until {end}, and {good}; it is not shown again"));
        Ok(())
    }
}

fn as_json(link: &Link, login: Option<&str>) -> serde_json::Value {
    json!({
        "id": link.hash.id(),
        "for": link.kind.as_str(),
        "user": login,
        "roles": link.roles,
        "permissions": link.permissions,
        "created_at": output::moment(link.created_at),
        "expires_at": output::moment(link.expires_at),
    })
}
