//! Browsers that have logged in before. Each holds a sealed list of the accounts that somebody has
//! logged in to with it; it opens nothing, and only gives the browser guesses of its own, so that
//! strangers cannot use up what the owner has (OWASP, "Device Cookies").

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

use super::Sessions;
use crate::clock::Timestamp;
use crate::id::UserId;
use crate::secret::{self, NoRandomness};
use crate::store::rows::User;

/// One browser, as one account knows it. Says nothing of the browser: 128 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct DeviceId([u8; ID]);

impl DeviceId {
    /// As part of a key.
    pub(super) const fn as_bytes(&self) -> &[u8; ID] {
        &self.0
    }
}

#[cfg(test)]
impl DeviceId {
    /// One for a test.
    pub(super) const fn of(n: u8) -> Self {
        Self([n; ID])
    }
}

/// What a browser is given to keep after a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceCookie {
    /// The value.
    pub value: String,
    /// How long it is of use.
    pub ttl: Duration,
}

/// The accounts of one browser, the latest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Accounts(Vec<Account>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Account {
    /// A digest of the name in the form in which names are compared. Not the name itself: all are
    /// of one length then.
    name: [u8; ID],
    /// The account's own id: it keeps its device over a change of its name.
    user: [u8; ID],
    device: DeviceId,
    until: Timestamp,
}

/// An account in a browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holder {
    user: [u8; ID],
    device: DeviceId,
}

impl Holder {
    /// One for a test.
    #[cfg(test)]
    pub(super) const fn of(user: u8, device: u8) -> Self {
        Self { user: [user; ID], device: DeviceId([device; ID]) }
    }

    /// Of one length for all.
    pub(super) fn bytes(self) -> [u8; 2 * ID] {
        let mut bytes = [0; 2 * ID];
        let both = self.user.iter().chain(&self.device.0);
        bytes.iter_mut().zip(both).for_each(|(to, from)| *to = *from);
        bytes
    }
}

/// Bytes of each id.
const ID: usize = 16;
/// Bytes of an account: three ids and a moment.
const ACCOUNT: usize = 3 * ID + 8;
/// Accounts of one browser; a family shares one.
const MOST: usize = 4;
/// The sealer's label.
const SEALED_AS: &str = "device";

impl Accounts {
    fn read(bytes: &[u8]) -> Self {
        let (accounts, _rest) = bytes.as_chunks::<ACCOUNT>();
        Self(accounts.iter().take(MOST).filter_map(Account::read).collect())
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(Account::bytes).collect()
    }

    fn device_of(&self, name: &[u8; ID], now: Timestamp) -> Option<DeviceId> {
        let known = self.0.iter().find(|one| one.name == *name && now < one.until)?;
        Some(known.device)
    }

    /// Puts an account in front; what is over or too many goes.
    fn remember(&mut self, account: Account, now: Timestamp) {
        self.0
            .retain(|one| one.user != account.user && one.name != account.name && now < one.until);
        self.0.insert(0, account);
        self.0.truncate(MOST);
    }
}

impl Account {
    fn read(bytes: &[u8; ACCOUNT]) -> Option<Self> {
        let (name, rest) = bytes.split_first_chunk()?;
        let (user, rest) = rest.split_first_chunk()?;
        let (device, rest) = rest.split_first_chunk()?;
        let until = i64::from_be_bytes(*rest.first_chunk()?);
        Some(Self {
            name: *name,
            user: *user,
            device: DeviceId(*device),
            until: Timestamp::from_millis(until),
        })
    }

    fn bytes(&self) -> Vec<u8> {
        let until = self.until.millis().to_be_bytes();
        [self.name.as_slice(), &self.user, &self.device.0, &until].concat()
    }
}

fn name_digest(login_key: &str) -> [u8; ID] {
    let mut short = [0; ID];
    let whole = digest(&SHA256, login_key.as_bytes());
    short.iter_mut().zip(whole.as_ref()).for_each(|(to, from)| *to = *from);
    short
}

impl Sessions {
    /// Which device a browser is to the account of this name, by what it presented.
    pub(super) fn known_device(
        &self,
        presented: Option<&str>,
        login_key: &str,
        now: Timestamp,
    ) -> Option<DeviceId> {
        self.accounts_of(presented?, now).device_of(&name_digest(login_key), now)
    }

    /// What the browser is to keep now that somebody has logged in to `user` with it. It stays the
    /// same device, so that logging in again and again makes no second allowance.
    pub(super) fn device_after_login(
        &self,
        presented: Option<&str>,
        user: &User,
        now: Timestamp,
    ) -> Option<DeviceCookie> {
        let mut accounts =
            presented.map(|sealed| self.accounts_of(sealed, now)).unwrap_or_default();
        let id = *user.id.as_bytes();
        let known = accounts.0.iter().find(|one| one.user == id).map(|one| one.device);
        let fresh = || secret::random().map(DeviceId);
        let ttl = self.settings.attempts.device_ttl;
        let cookie = known.map_or_else(fresh, Ok).and_then(|device| {
            let name = name_digest(&user.login_key);
            let account = Account { name, user: id, device, until: now.plus(ttl) };
            accounts.remember(account, now);
            let sealer = self.keys.ring().sealer(SEALED_AS);
            sealer.seal(&accounts.bytes(), now, ttl).map_err(|_| NoRandomness)
        });
        match cookie {
            Ok(value) => Some(DeviceCookie { value, ttl }),
            Err(error) => {
                // The login stands without it.
                tracing::warn!(%error, "no device cookie could be made");
                None
            }
        }
    }

    /// Who logged in last with the browser that presents this.
    pub(super) fn latest_holder(&self, presented: &str, now: Timestamp) -> Option<Holder> {
        let accounts = self.accounts_of(presented, now);
        let latest = accounts.0.first().filter(|one| now < one.until)?;
        Some(Holder { user: latest.user, device: latest.device })
    }

    /// The same for one of those who have.
    pub(super) fn holder(&self, presented: &str, user: UserId, now: Timestamp) -> Option<Holder> {
        let accounts = self.accounts_of(presented, now);
        let theirs =
            accounts.0.iter().find(|one| one.user == *user.as_bytes() && now < one.until)?;
        Some(Holder { user: theirs.user, device: theirs.device })
    }

    fn accounts_of(&self, sealed: &str, now: Timestamp) -> Accounts {
        let opened = self.keys.ring().sealer(SEALED_AS).open(sealed, now);
        opened.map(|bytes| Accounts::read(&bytes)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    fn account(n: u8, until: Timestamp) -> Account {
        Account { name: [n; ID], user: [n; ID], device: DeviceId([n; ID]), until }
    }

    #[test]
    fn a_browser_keeps_its_latest_accounts_and_each_only_until_its_end() {
        let mut accounts = Accounts::default();
        for n in 0..6 {
            accounts.remember(account(n, NOW.plus(HOUR)), NOW);
        }
        accounts.remember(account(4, NOW.plus(HOUR * 2)), NOW);
        let names: Vec<u8> = accounts.0.iter().map(|one| one.name[0]).collect();
        assert_eq!(names, [4, 5, 3, 2]);
        assert_eq!(Accounts::read(&accounts.bytes()), accounts);
        let later = NOW.plus(HOUR);
        assert_eq!(accounts.device_of(&[5; ID], later), None);
        assert_eq!(accounts.device_of(&[4; ID], later), Some(DeviceId([4; ID])));
        accounts.remember(account(9, later.plus(HOUR)), later);
        let names: Vec<u8> = accounts.0.iter().map(|one| one.name[0]).collect();
        assert_eq!(names, [9, 4]);
    }

    #[test]
    fn what_is_cut_or_too_long_is_read_as_far_as_it_is_whole() {
        let bytes = Accounts(vec![account(1, NOW), account(2, NOW)]).bytes();
        assert_eq!(Accounts::read(&bytes[..ACCOUNT + 5]).0, [account(1, NOW)]);
        assert_eq!(Accounts::read(&bytes.repeat(9)).0.len(), MOST);
        assert_eq!(Accounts::read(&[]).0, []);
    }
}
