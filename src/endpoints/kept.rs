//! A form that meets a dead session: sealed into the login page, and after the login shown as a page
//! with one button that sends it on. Nothing is sent for anybody: the person's own click does it,
//! and then it is a request like any other, guard and permit included.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use super::pages::{Login, Page, Reason, Resume};
use super::{Answered, Asked, Endpoint, Endpoints};
use crate::config::{Act, Origin};
use crate::id::UserId;
use crate::message::return_to;
use crate::session::KeptForm;

/// The field of the login form that holds a sealed form.
pub(super) const FIELD: &str = "kept";
/// Most bytes of a form that is kept.
pub const FORM_BYTES: usize = 64 * 1024;
/// What [`FIELD`] may add to the body of a login: a form, where it goes, and sealing.
const FIELD_BYTES: usize = 128 * 1024;
/// Most fields of a form that is kept; each becomes an element of a page.
const FORM_FIELDS: usize = 512;

impl Endpoints {
    /// Whether a request of this head could be kept: a form, and from a browser in which somebody
    /// has logged in. Asked before its body is read.
    pub fn may_keep(&self, head: &Parts) -> bool {
        is_form(&head.headers)
            && self.path(Endpoint::LoginPage).is_some()
            && self.is_known_browser(&head.headers)
    }

    /// Bytes that the body of a request to `endpoint` may have beyond the usual. A stranger gets no
    /// more than without this.
    pub fn room_for_kept(&self, endpoint: Endpoint, head: &Parts) -> usize {
        let kept = endpoint == Endpoint::Login && self.is_known_browser(&head.headers);
        if kept { FIELD_BYTES } else { 0 }
    }

    fn is_known_browser(&self, headers: &HeaderMap) -> bool {
        self.config.pages.keep_forms
            && self.device_in(headers).is_some_and(|device| self.sessions.may_keep(device))
    }

    /// The login page with the form in it; `None` if the form cannot come back as it was sent.
    pub fn keep(
        &self,
        head: &Parts,
        own: &Origin,
        place: &str,
        client: std::net::IpAddr,
        body: &[u8],
    ) -> Option<Answered> {
        let place = return_to::check(place, own, &[])?;
        fields(body)?;
        let form =
            KeptForm { origin: own.ascii(), place: place.as_str().to_owned(), body: body.to_vec() };
        let sealed = self.sessions.keep_form(self.device_in(&head.headers)?, &form)?;
        let login = Login {
            return_to: Some(place.as_str()),
            reason: Some(Reason::FormKept),
            captcha: self.sessions.captcha_is_due(Act::Login, None, client),
            kept: Some(&sealed),
            ..Login::default()
        };
        Some(self.page_for(StatusCode::UNAUTHORIZED, &Page::Login(login), &head.headers))
    }

    /// What a login page holds of a form. It is never a reason to refuse a login.
    pub(super) fn kept<'a>(&self, asked: &'a Asked<'_>) -> Option<&'a str> {
        let sealed = asked.fields.text(FIELD).ok()??;
        (self.config.pages.keep_forms && !sealed.is_empty()).then_some(sealed)
    }

    /// The page that sends a kept form on, for the one whose form it was.
    pub(super) async fn resume(&self, asked: &Asked<'_>, user: UserId) -> Option<Answered> {
        let sealed = self.kept(asked)?;
        let device = self.device(asked)?;
        let form = self.sessions.give_form_back(sealed, device, user, &asked.own.ascii()).await?;
        let fields = fields(&form.body)?;
        let resume = Resume { place: &form.place, fields: &fields };
        Some(self.page(StatusCode::OK, &Page::Resume(resume), asked))
    }
}

/// A body of a form as browsers send it, in the one encoding that can be shown as one again.
fn is_form(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let kind = types.next().filter(|_| types.next().is_none());
    !headers.contains_key(CONTENT_ENCODING)
        && kind.is_some_and(|kind| {
            kind.as_bytes().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
        })
}

/// The fields, if hidden inputs would send the same again (HTML, "constructing the entry list"):
/// text in UTF-8, with line ends as browsers make them, and no name that means something else.
fn fields(body: &[u8]) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    for (name, value) in form_urlencoded::parse(body) {
        let special = name.is_empty() || name.eq_ignore_ascii_case("_charset_");
        if found.len() == FORM_FIELDS || special || !comes_back(&name) || !comes_back(&value) {
            return None;
        }
        found.push((name.into_owned(), value.into_owned()));
    }
    Some(found)
}

fn comes_back(text: &str) -> bool {
    let lone = text.replace("\r\n", "").contains(['\r', '\n']);
    // What is not UTF-8 was read as the replacement character.
    !lone && !text.contains(['\0', char::REPLACEMENT_CHARACTER])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_kept_only_if_a_page_would_send_the_same_again() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let kept = fields(b"title=a+b%26c&text=one%0D%0Atwo&text=&x=%C3%A4%E2%80%AE").unwrap();
        let wanted = [
            pair("title", "a b&c"),
            pair("text", "one\r\ntwo"),
            pair("text", ""),
            pair("x", "\u{e4}\u{202e}"),
        ];
        assert_eq!(kept, wanted);
        assert_eq!(fields(b"").unwrap(), []);
        for wrong in
            ["a=%00", "a=%0A", "a=%0Db", "%0A=b", "a=%FF", "=b", "_charset_=x", "_CHARSET_="]
        {
            assert!(fields(wrong.as_bytes()).is_none(), "{wrong}");
        }
        assert!(fields("a=&".repeat(FORM_FIELDS).as_bytes()).is_some());
        assert!(fields("a=&".repeat(FORM_FIELDS + 1).as_bytes()).is_none());
    }
}
