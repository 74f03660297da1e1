//! `migrate`, `backup`, `store copy`, and the sealing of keys: what an operator does to the store itself.

use std::path::Path;

use clap::Subcommand;

use super::{Desk, Failure, output};
use crate::config::StoreUrl;
use crate::secret::Secret;
use crate::store::copy::copy;

#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Copies a whole installation into a new store: accounts, sessions, keys, revocations. Nobody
    /// is logged out. Stop the gateways first: what they write meanwhile stays behind.
    Copy {
        /// Where it is now: sqlite://PATH or postgres://USER@HOST/NAME. `@FILE` reads the URL from a
        /// file, so that its password stands in no list of processes.
        #[arg(long, value_name = "URL")]
        from: String,
        /// Where it shall be; nothing may be there yet. Likewise.
        #[arg(long, value_name = "URL")]
        to: String,
    },
}

/// Copies one store into another.
pub(super) fn copy_store(command: StoreCommand) -> Result<(), Failure> {
    let StoreCommand::Copy { from, to } = command;
    let (from, to) = (url("--from", from)?, url("--to", to)?);
    let room = super::room()?;
    let copied = room.block_on(copy(&from, &to))?;
    let rows: Vec<[String; 2]> =
        copied.into_iter().map(|one| [one.table, one.rows.to_string()]).collect();
    output::table(["TABLE", "ROWS"], &rows);
    output::note("copied; now let store.url of every gateway name the new store");
    Ok(())
}

fn url(option: &str, text: String) -> Result<StoreUrl, Failure> {
    let text = match text.strip_prefix('@') {
        None => Secret::new(text),
        Some(file) => {
            let unread = |source| Failure::Io { what: "the file with the URL", source };
            let text = Secret::new(std::fs::read_to_string(file).map_err(unread)?);
            Secret::new(text.expose().trim_end_matches(['\r', '\n']).to_owned())
        }
    };
    StoreUrl::parse(text, Path::new("")).map_err(|bad| {
        let hint = bad.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
        Failure::Usage(format!("{option}: {bad}{hint}"))
    })
}

impl Desk {
    /// Opening the store has done it: all that is left is to say so.
    pub(super) fn migrated() {
        output::say("the store's schema is up to date");
    }

    pub(super) fn backup(&self, to: &Path) -> Result<(), Failure> {
        self.room.block_on(self.store.backup(to))?;
        output::say(format_args!("{}: a whole copy, checked", to.display()));
        Ok(())
    }

    /// Opening the store reseals, too; this says how it stands.
    pub(super) fn reseal(&self) -> Result<(), Failure> {
        if self.config.store.seal_key.is_none() {
            output::note("store.seal_key is not set: the keys are kept without a seal");
        }
        self.room.block_on(self.store.reseal_keys())?;
        let keys = self.room.block_on(self.store.keys())?.len();
        output::say(format_args!(
            "{keys} keys are under the present seal; store.retired_seal_keys may go once every \
             replica has the new store.seal_key"
        ));
        Ok(())
    }
}
