//! `[attempts]`: the quotas of each act, from what is said of it and of all.

use std::num::NonZeroUsize;

use super::{DAY, Findings, HOUR};
use crate::config::file;
use crate::config::{Act, Attempts, PerAct, Quota, Quotas};

/// Above this, guesses at one account in a row are more than NIST SP 800-63B-4 section 3.2.2 allows.
const IN_A_ROW: u32 = 100;

pub(super) fn attempts(file: &file::Attempts, found: &mut Findings<'_>) -> Option<Attempts> {
    let both = found.quota("attempts.per_account_and_network", &file.per_account_and_network);
    let network = found.quota("attempts.per_network", &file.per_network);
    let account = found.quota("attempts.per_account", &file.per_account);
    let per_device = found.quota("attempts.per_device", &file.per_device);
    let device_ttl = found.period("attempts.device_ttl", &file.device_ttl, (HOUR, 400 * DAY));
    let forgeries = match &file.refresh.per_network {
        Some(own) => found.quota("attempts.refresh.per_network", own),
        None => network,
    };
    if file.per_account.count > IN_A_ROW {
        let text = format!("NIST SP 800-63B-4 allows at most {IN_A_ROW} failures in a row");
        found.warn("attempts.per_account", text, None);
    }
    let count_all = matches!(file.count, file::Count::All);
    let acts = PerAct::each(|act| {
        let own = section(file, act);
        let mut quota = |key: &str, own: &Option<file::Quota>, common: Option<Quota>| match own {
            Some(own) => found.quota(&format!("attempts.{}.{key}", act.name()), own),
            None => common,
        };
        let per_account_and_network =
            quota("per_account_and_network", &own.per_account_and_network, both);
        let per_network = quota("per_network", &own.per_network, network);
        let per_account = quota("per_account", &own.per_account, account);
        let count_successes = match own.count {
            Some(count) => matches!(count, file::Count::All),
            // An account more is a burden though nothing was guessed.
            None => count_all || act == Act::Signup,
        };
        Some(Quotas {
            per_account_and_network: per_account_and_network?,
            per_network: per_network?,
            per_account: per_account?,
            count_successes,
        })
    });
    let PerAct { login, signup, setup, password, mint } = acts;
    Some(Attempts {
        acts: PerAct {
            login: login?,
            signup: signup?,
            setup: setup?,
            password: password?,
            mint: mint?,
        },
        forgeries: forgeries?,
        per_device: per_device?,
        device_ttl: device_ttl?,
        max_keys: usize::try_from(file.max_keys).ok().and_then(NonZeroUsize::new)?,
    })
}

const fn section(file: &file::Attempts, act: Act) -> &file::Act {
    match act {
        Act::Login => &file.login,
        Act::Signup => &file.signup,
        Act::Setup => &file.setup,
        Act::Password => &file.password,
        Act::Mint => &file.mint,
    }
}
