//! When somebody has to show that a person is there, and that they have.

use std::net::IpAddr;
use std::sync::Arc;

use super::Sessions;
use super::limits::Charge;
use super::name::login_key;
use crate::captcha::{CaptchaError, Passed, REMEMBERED};
use crate::clock::Timestamp;
use crate::config::{Act, CaptchaWhen};
use crate::store::Store;
use crate::store::attempts::{AttemptKey, Charged, Toll};
use crate::store::audit::AuditKind;

/// Who asks for something that a captcha may stand before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking<'a> {
    /// For what.
    pub(super) act: Act,
    /// Whose account, in the form in which names are compared.
    pub(super) account: &'a str,
    /// From where.
    pub(super) client: IpAddr,
    /// What the widget gave them.
    pub(super) token: Option<&'a str>,
}

impl Sessions {
    /// Whether a page for this act should have the widget: a token will be asked for. `name` is what
    /// was typed as the account's, if anything was.
    pub fn captcha_is_due(&self, act: Act, name: Option<&str>, client: IpAddr) -> bool {
        let account = name.and_then(|name| login_key(name, self.settings.case).ok());
        self.asks_for_captcha(act, &account.unwrap_or_default(), client)
    }

    /// Has somebody show that a person is there, if that is asked for, before anything is looked up
    /// or compared. A charge is taken so that checking costs strangers something: when the token is
    /// no good it is given back, since nothing was guessed, and the network pays for the call.
    ///
    /// # Errors
    /// See [`CaptchaError`]; the charge is settled then.
    pub(super) async fn prove_human(
        &self,
        asking: Asking<'_>,
        charge: Charge,
    ) -> Result<Charge, CaptchaError> {
        let Asking { act, account, client, token } = asking;
        let Some(captcha) = &self.captcha else { return Ok(charge) };
        // Who has logged in here before is not to suffer for what strangers do to the account.
        let spared = charge.by_device() && captcha.settings().when != CaptchaWhen::Always;
        if spared || !self.asks_for_captcha(act, account, client) {
            return Ok(charge);
        }
        let (captcha, token) = (captcha.clone(), token.map(str::to_owned));
        let now = self.clock.now();
        // On the room, where the connection lives; to its end, though its caller has gone.
        let store = Arc::clone(&self.store);
        let verified = self.room.spawn(async move {
            match captcha.verify(token.as_deref(), client, now).await? {
                Passed::Once => spend(&*store, token.as_deref().unwrap_or_default(), now).await,
                Passed::Freely => Ok(()),
            }
        });
        let verified = verified
            .await
            .unwrap_or_else(|stopped| Err(CaptchaError::Unavailable(Arc::new(stopped))));
        match verified {
            Ok(()) => Ok(charge),
            Err(error) => {
                self.tell_unproved(&error, client);
                charge.refund();
                if matches!(error, CaptchaError::Failed) {
                    self.limits.charge_network(act, client);
                }
                Err(error)
            }
        }
    }

    fn tell_unproved(&self, error: &CaptchaError, client: IpAddr) {
        let why = match error {
            CaptchaError::Missing => "missing",
            CaptchaError::Failed => "refused",
            CaptchaError::Unavailable(_) => "unavailable",
            // Concerns nobody.
            CaptchaError::Busy { .. } => return,
        };
        self.audit.tell(self.audit.event(AuditKind::CaptchaFailed).because(why).from(client));
    }

    fn asks_for_captcha(&self, act: Act, account: &str, client: IpAddr) -> bool {
        let Some(captcha) = &self.captcha else { return false };
        let settings = captcha.settings();
        settings.on.contains(&act)
            && match settings.when {
                CaptchaWhen::Always => true,
                CaptchaWhen::AfterFailures(_) => self.limits.is_suspect(act, account, client),
            }
    }
}

/// Marks a token that was accepted here as spent at every replica.
async fn spend(store: &dyn Store, token: &str, now: Timestamp) -> Result<(), CaptchaError> {
    // A store that nobody shares need not be asked: this process remembers.
    if !store.attempts_are_shared() {
        return Ok(());
    }
    let key = AttemptKey::of("captcha token", &[token.as_bytes()]);
    match store.charge(&[Toll { key, limit: 1, per: REMEMBERED }], now).await {
        Ok(Charged::Taken(_)) => Ok(()),
        Ok(Charged::Refused(..)) => Err(CaptchaError::Failed),
        Err(error) => Err(CaptchaError::Unavailable(Arc::new(error))),
    }
}
