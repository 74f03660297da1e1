//! A form that waits for a login: sealed for one account in one browser, and held by that browser in
//! the login page itself. The store learns of it only that it was given back, and not what it was.

use std::sync::Arc;
use std::time::Duration;

use super::device::Holder;
use super::{Sessions, cause};
use crate::id::UserId;
use crate::secret;
use crate::store::Store;
use crate::store::attempts::{AttemptKey, Charged, Toll};

/// How long it waits for the login.
const TTL: Duration = Duration::from_mins(15);
/// How long it is known that it was given back: longer than replicas' clocks and [`TTL`] could make
/// it last.
const SPENT_FOR: Duration = Duration::from_mins(30);
/// The sealer's label.
const SEALED_AS: &str = "kept-form";
/// Bytes of the number by which one kept form is told from all others.
const NUMBER: usize = 16;

/// What was sent, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptForm {
    /// The origin that it was sent to.
    pub origin: String,
    /// Path and query.
    pub place: String,
    /// The body, `application/x-www-form-urlencoded`.
    pub body: Vec<u8>,
}

impl KeptForm {
    fn bytes(&self, number: [u8; NUMBER], holder: Holder) -> Option<Vec<u8>> {
        let mut bytes = [number.as_slice(), &holder.bytes()].concat();
        for text in [&self.origin, &self.place] {
            bytes.extend(u16::try_from(text.len()).ok()?.to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.extend_from_slice(&self.body);
        Some(bytes)
    }

    fn read(bytes: &[u8], holder: Holder) -> Option<([u8; NUMBER], Self)> {
        let (number, rest) = bytes.split_first_chunk()?;
        let rest = rest.strip_prefix(holder.bytes().as_slice())?;
        let (origin, rest) = text(rest)?;
        let (place, body) = text(rest)?;
        Some((*number, Self { origin, place, body: body.to_vec() }))
    }
}

fn text(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((String::from_utf8(text.to_vec()).ok()?, rest))
}

impl Sessions {
    /// Whether a browser that presents this device cookie may have a form kept: somebody has logged
    /// in with it. Asked before a body is read.
    pub fn may_keep(&self, device: &str) -> bool {
        self.latest_holder(device, self.clock.now()).is_some()
    }

    /// Seals a form for whoever logged in last with the browser that presents `device`. `None` if
    /// nobody has, or if it is too large.
    pub fn keep_form(&self, device: &str, form: &KeptForm) -> Option<String> {
        let now = self.clock.now();
        let holder = self.latest_holder(device, now)?;
        let bytes = form.bytes(secret::random().ok()?, holder)?;
        self.keys.ring().sealer(SEALED_AS).seal(&bytes, now, TTL).ok()
    }

    /// Gives a kept form back, once, if it was kept for `user`, for the browser that presents
    /// `device`, on `origin`, and not too long ago.
    pub async fn give_form_back(
        &self,
        sealed: &str,
        device: &str,
        user: UserId,
        origin: &str,
    ) -> Option<KeptForm> {
        let now = self.clock.now();
        let holder = self.holder(device, user, now)?;
        let opened = self.keys.ring().sealer(SEALED_AS).open(sealed, now)?;
        let (number, form) = KeptForm::read(&opened, holder)?;
        if form.origin != origin {
            return None;
        }
        // One of which there is one for as long as anybody could ask again, on any replica.
        let key = AttemptKey::of("kept form", &[&number]);
        let toll = [Toll { key, limit: 1, per: SPENT_FOR }];
        let store: Arc<dyn Store> = Arc::clone(&self.store);
        match self.on_room(async move { store.charge(&toll, now).await }).await {
            Ok(Charged::Taken(_)) => Some(form),
            Ok(Charged::Refused(..)) => None,
            Err(error) => {
                // Not twice, even if that is not at all.
                tracing::warn!(error = %cause(&error), "a form that was kept is lost");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_form_is_read_as_it_was_written_and_by_its_holder_only(
            origin in "[a-z]{0,9}",
            place in ".{0,99}",
            body in any::<Vec<u8>>(),
            number: [u8; NUMBER],
        ) {
            let form = KeptForm { origin, place, body };
            let [ours, theirs] = [Holder::of(1, 1), Holder::of(1, 2)];
            let bytes = form.bytes(number, ours).unwrap();
            prop_assert_eq!(KeptForm::read(&bytes, ours), Some((number, form)));
            prop_assert_eq!(KeptForm::read(&bytes, theirs), None);
            prop_assert_eq!(KeptForm::read(&bytes, Holder::of(2, 1)), None);
        }

        #[test]
        fn no_bytes_bring_the_reader_down(bytes: Vec<u8>) {
            let whole = [vec![0; NUMBER], Holder::of(0, 0).bytes().to_vec(), bytes].concat();
            let _ = KeptForm::read(&whole, Holder::of(0, 0));
        }
    }
}
