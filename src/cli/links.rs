//! `user invite` and `user reset`: one-time links, shown once.

use std::time::Duration;

use super::users::{Rights, checked, fit_a_token, sorted};
use super::{Desk, Failure, output};
use crate::config::Endpoint;
use crate::endpoints::link_url;
use crate::session::{Purpose, draw_link};
use crate::store::audit::{AuditEvent, AuditKind};
use crate::store::links::LinkKind;

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

impl Desk {
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
