//! `keys list|rotate|reseal`.

use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use super::{Desk, Failure, Shown, output};
use crate::clock::Timestamp;
use crate::config::KeySource;
use crate::session::new_key;
use crate::store::audit::AuditKind;
use crate::store::rows::KeyRow;

/// How long a key is known before it signs: every gateway has read it by then, though its clock may
/// be two seconds off.
const AHEAD: Duration = Duration::from_secs(5);

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Lists the signing keys, the oldest first. The secrets are not shown.
    List {
        #[command(flatten)]
        shown: Shown,
    },
    /// Makes a new signing key, which running gateways use within seconds. The older ones go on
    /// verifying until the last token that they signed has expired: nobody is logged out.
    Rotate,
    /// Seals every signing key with store.seal_key, whichever of store.retired_seal_keys holds it
    /// now.
    Reseal,
}

impl Desk {
    pub(super) fn keys(&self, command: KeysCommand) -> Result<(), Failure> {
        if let KeySource::Fixed(_) = self.config.token.keys {
            let text = "token.keys names a secret of your own, from which all keys are derived: \
                        change that secret, and start the gateway anew";
            return Err(Failure::Usage(text.to_owned()));
        }
        match command {
            KeysCommand::List { shown } => self.key_list(shown),
            KeysCommand::Rotate => self.rotate(),
            KeysCommand::Reseal => self.reseal(),
        }
    }

    fn key_list(&self, shown: Shown) -> Result<(), Failure> {
        let keys = self.room.block_on(self.store.keys())?;
        let of = |key: &KeyRow| status(key, &keys, self.now);
        if shown.json {
            let all = keys.iter().map(|key| {
                json!({
                    "id": key.id.as_str(),
                    "status": of(key),
                    "created_at": output::moment(key.created_at),
                    "active_from": output::moment(key.active_from),
                })
            });
            output::json(&all.collect());
            return Ok(());
        }
        let rows: Vec<[String; 4]> = keys
            .iter()
            .map(|key| {
                let (made, from) =
                    (output::moment(key.created_at), output::moment(key.active_from));
                [key.id.as_str().to_owned(), of(key).to_owned(), made, from]
            })
            .collect();
        output::table(["ID", "STATUS", "MADE", "SIGNS FROM"], &rows);
        Ok(())
    }

    fn rotate(&self) -> Result<(), Failure> {
        let keys = self.room.block_on(self.store.keys())?;
        let newest = keys.last().map(|key| &key.id);
        let next = new_key(self.now, self.now.plus(AHEAD))?;
        if !self.room.block_on(self.store.add_key(&next, newest))? {
            let text = "another key was made at this moment; look at: sallyport keys list";
            return Err(Failure::NotFound(text.to_owned()));
        }
        let from = output::moment(next.active_from);
        output::say(format_args!("{} signs from {from} on", next.id.as_str()));
        self.note(self.event(AuditKind::KeyAdded).about(next.id.as_str()))
    }
}

/// What a key of a ring does at `now`: the last that has begun signs.
fn status(key: &KeyRow, ring: &[KeyRow], now: Timestamp) -> &'static str {
    let signing =
        ring.iter().filter(|one| one.active_from <= now).max_by_key(|one| one.active_from);
    match signing {
        Some(signing) if signing.id == key.id => "signing",
        _ if key.active_from > now => "next",
        _ => "verifying",
    }
}
