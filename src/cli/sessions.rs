//! `session list|end`.

use clap::Subcommand;
use serde_json::json;

use super::{Desk, Failure, Shown, output};
use crate::id::SessionId;
use crate::store::audit::AuditKind;
use crate::store::rows::{EndReason, Session};

/// Most sessions that are listed.
const MOST: u32 = 10_000;

#[derive(Debug, Subcommand)]
pub(super) enum SessionCommand {
    /// Lists the live sessions, the newest first.
    List {
        /// Only those of this account.
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        #[command(flatten)]
        shown: Shown,
    },
    /// Ends one session, or all of an account.
    #[command(arg_required_else_help = true)]
    End {
        /// The session's id, as `session list` shows it.
        #[arg(required_unless_present = "user", conflicts_with = "user")]
        id: Option<String>,
        /// All sessions of this account.
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
    },
}

impl Desk {
    pub(super) fn sessions(&self, command: SessionCommand) -> Result<(), Failure> {
        match command {
            SessionCommand::List { user, shown } => self.session_list(user.as_deref(), shown),
            SessionCommand::End { id, user } => self.session_end(id.as_deref(), user.as_deref()),
        }
    }

    fn session_list(&self, user: Option<&str>, shown: Shown) -> Result<(), Failure> {
        let user = user.map(|name| self.user(name)).transpose()?.map(|user| user.id);
        let sessions = self.room.block_on(self.store.sessions(user, self.now, MOST))?;
        if shown.json {
            output::json(&sessions.iter().map(|(row, login)| as_json(row, login)).collect());
            return Ok(());
        }
        let rows: Vec<[String; 6]> = sessions
            .iter()
            .map(|(row, login)| {
                [
                    row.id.to_string(),
                    login.clone(),
                    row.address.map(|address| address.to_string()).unwrap_or_default(),
                    output::moment(row.created_at),
                    output::moment(row.rotated_at),
                    row.device.chars().take(48).collect(),
                ]
            })
            .collect();
        output::table(["ID", "USER", "ADDRESS", "SINCE", "LAST USED", "DEVICE"], &rows);
        Ok(())
    }

    fn session_end(&self, id: Option<&str>, user: Option<&str>) -> Result<(), Failure> {
        let until = self.revoked_until(self.now);
        let reason = EndReason::Operator;
        if let Some(name) = user {
            let user = self.user(name)?;
            let act = self.store.end_sessions_of(user.id, None, reason, self.now, until);
            let ended = self.room.block_on(act)?;
            let event = |id: &SessionId| self.event(AuditKind::SessionEnded).in_session(*id);
            let events: Vec<_> = ended.iter().map(|id| event(id).of(&user)).collect();
            self.note_all(&events)?;
            output::say(format_args!("ended: {}", ended.len()));
            return Ok(());
        }
        let text = id.unwrap_or_default();
        let id: SessionId =
            text.parse().map_err(|_| Failure::Usage(format!("{text:?} is not a session's id")))?;
        let act = self.store.end_session(id, reason, self.now, until);
        if self.room.block_on(act)? {
            output::say("ended");
            self.note(self.event(AuditKind::SessionEnded).in_session(id))
        } else {
            Err(Failure::NotFound("there is no such live session".to_owned()))
        }
    }
}

fn as_json(row: &Session, login: &str) -> serde_json::Value {
    json!({
        "id": row.id.to_string(),
        "user": login,
        "address": row.address.map(|address| address.to_string()),
        "device": row.device,
        "created_at": output::moment(row.created_at),
        "last_used_at": output::moment(row.rotated_at),
        "expires_at": output::moment(row.expires_at.min(row.idle_expires_at)),
        "persistent": row.persistent,
    })
}
