//! `audit list`, and how the command line tells of what it did itself.

use std::fs::File;
use std::io::Read;

use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use serde_json::json;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use super::{Desk, Failure, Shown, output};
use crate::clock::Timestamp;
use crate::session::login_key;
use crate::store::audit::{Actor, AuditEntry, AuditEvent, AuditFilter, AuditKind};

/// Events read by one query.
const PAGE: u32 = 1000;

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Shows what happened, the oldest first.
    List {
        /// Only from then on: a length of time back from now (24h, 7d), a day (2026-11-01) or a
        /// moment (2026-11-01T10:00:00Z).
        #[arg(long, value_name = "WHEN")]
        since: Option<String>,
        /// Only what concerns this account. For one that was removed, the name as it was written.
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// Only events of this kind.
        #[arg(long, value_parser = PossibleValuesParser::new(AuditKind::all().map(AuditKind::name)))]
        kind: Option<String>,
        /// The most that are shown: the newest.
        #[arg(long, value_name = "NUMBER", default_value_t = 1000,
              value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        limit: u32,
        #[command(flatten)]
        shown: Shown,
    },
}

impl Desk {
    pub(super) fn audit(&self, command: AuditCommand) -> Result<(), Failure> {
        let AuditCommand::List { since, user, kind, limit, shown } = command;
        let mut filter = AuditFilter {
            since: since.map(|text| moment(&text, self.now)).transpose()?,
            kind: kind.as_deref().and_then(AuditKind::from_name),
            ..AuditFilter::default()
        };
        if let Some(name) = user {
            let key = login_key(&name, self.config.login.case)?;
            match self.room.block_on(self.store.user_by_login(&key))? {
                Some(user) => filter.user = Some(user.id),
                None => filter.login = Some(name),
            }
        }
        let mut entries = self.pages(filter, limit)?;
        entries.reverse();
        if shown.json {
            output::json(&entries.iter().map(as_json).collect());
        } else {
            let head = ["TIME", "KIND", "CAUSE", "ACTOR", "USER", "SESSION", "CLIENT", "N", "WHAT"];
            output::table(head, &entries.iter().map(row).collect::<Vec<_>>());
        }
        Ok(())
    }

    /// The newest events first, at most `limit`.
    fn pages(&self, mut filter: AuditFilter, limit: u32) -> Result<Vec<AuditEntry>, Failure> {
        let mut entries: Vec<AuditEntry> = Vec::new();
        let mut left = limit;
        while left > 0 {
            let most = left.min(PAGE);
            let page = self.room.block_on(self.store.audit(&filter, most))?;
            let count = u32::try_from(page.len()).unwrap_or(u32::MAX);
            filter.before = page.last().map(|entry| entry.sequence);
            entries.extend(page);
            if count < most {
                break;
            }
            left -= most;
        }
        Ok(entries)
    }

    /// An event that whoever runs this command has caused, to be filled in and noted.
    pub(super) fn event(&self, kind: AuditKind) -> AuditEvent {
        AuditEvent::new(kind, self.now).by(Actor::Operator(operator())).because("operator")
    }

    /// Writes down what has been done. Should that fail, the command fails with words that say that
    /// the act itself stands.
    pub(super) fn note(&self, event: AuditEvent) -> Result<(), Failure> {
        self.note_all(&[event])
    }

    /// The same for several.
    pub(super) fn note_all(&self, events: &[AuditEvent]) -> Result<(), Failure> {
        self.room.block_on(self.store.record(events)).map_err(Failure::NotNoted)
    }
}

/// Who runs this command: the user that logged in to the system, though they may have become
/// another since; else the one that the process belongs to.
fn operator() -> String {
    let login = read("/proc/self/loginuid").and_then(|text| text.trim().parse::<u32>().ok());
    // The kernel says so when nobody has logged in, as in a container.
    let login = login.filter(|id| *id != u32::MAX);
    let id = login.unwrap_or_else(|| rustix::process::getuid().as_raw());
    let name = read("/etc/passwd").and_then(|text| name_in(&text, id));
    name.unwrap_or_else(|| format!("uid {id}"))
}

/// The name of a user in the form of passwd(5): `name:password:id:...`.
fn name_in(passwd: &str, id: u32) -> Option<String> {
    let id = id.to_string();
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(id.as_str())).then(|| name.to_owned())
    })
}

fn read(path: &str) -> Option<String> {
    const BYTES_MAX: u64 = 1 << 20;
    let mut text = String::new();
    File::open(path).ok()?.take(BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// A length of time before `now`, a day or a moment.
fn moment(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    if let Ok(back) = humantime::parse_duration(text) {
        return Ok(now.minus(back));
    }
    let day = || Date::parse(text, format_description!("[year]-[month]-[day]")).ok();
    let at = match OffsetDateTime::parse(text, &Rfc3339).ok() {
        Some(at) => Some(at),
        None => day().map(|day| day.midnight().assume_utc()),
    };
    let Some(at) = at else {
        return Err(Failure::Usage(format!(
            "{text:?} is no length of time (24h), no day (2026-11-01) and no moment \
             (2026-11-01T10:00:00Z)"
        )));
    };
    let millis = at.unix_timestamp_nanos() / 1_000_000;
    Ok(Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX)).max(Timestamp::EPOCH))
}

fn actor(event: &AuditEvent) -> String {
    match event.actor.name() {
        Some(name) => format!("{} {name}", event.actor.role()),
        None => event.actor.role().to_owned(),
    }
}

fn row(entry: &AuditEntry) -> [String; 9] {
    let event = &entry.event;
    let user = event.login.clone().or_else(|| event.user.map(|id| id.to_string()));
    [
        output::moment(event.at),
        event.kind.name().to_owned(),
        event.cause.as_deref().unwrap_or_default().to_owned(),
        actor(event),
        user.unwrap_or_default(),
        event.session.map(|id| id.to_string()).unwrap_or_default(),
        event.client.map(|address| address.to_string()).unwrap_or_default(),
        event.count.to_string(),
        event.subject.as_deref().unwrap_or_default().to_owned(),
    ]
}

fn as_json(entry: &AuditEntry) -> serde_json::Value {
    let event = &entry.event;
    json!({
        "sequence": entry.sequence,
        "at": output::moment(event.at),
        "kind": event.kind.name(),
        "cause": event.cause,
        "actor": event.actor.role(),
        "actor_name": event.actor.name(),
        "user_id": event.user.map(|id| id.to_string()),
        "user": event.login,
        "session": event.session.map(|id| id.to_string()),
        "client": event.client.map(|address| address.to_string()),
        "subject": event.subject,
        "count": event.count,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_moment_is_a_length_back_a_day_or_a_moment() {
        let now = Timestamp::from_secs(1_800_000_000);
        assert_eq!(moment("24h", now).unwrap(), now.minus(Duration::from_hours(24)));
        assert_eq!(moment("2026-11-01", now).unwrap(), Timestamp::from_secs(1_793_491_200));
        let at = moment("2026-11-01T01:00:00+01:00", now).unwrap();
        assert_eq!(at, Timestamp::from_secs(1_793_491_200));
        for wrong in ["", "yesterday", "2026-13-01", "1_000", "99999999999999999999y"] {
            assert!(matches!(moment(wrong, now), Err(Failure::Usage(_))), "{wrong}");
        }
    }

    #[test]
    fn a_user_of_the_system_is_found_by_its_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\nbroken\n";
        assert_eq!(name_in(passwd, 1000).as_deref(), Some("ada"));
        assert_eq!(name_in(passwd, 0).as_deref(), Some("root"));
        assert_eq!(name_in(passwd, 1), None);
        assert!(!operator().is_empty());
    }
}
