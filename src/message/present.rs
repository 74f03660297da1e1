//! Which of the fields that are asked for on the way a request has, found out by one look at its names. To
//! ask a map for a field that is not there costs more than to look at some names, and most are not there.

use http::HeaderMap;

/// A field that [`Present`] knows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// `Accept`.
    Accept,
    /// `Authorization`.
    Authorization,
    /// `Cookie`.
    Cookie,
    /// `Sec-Fetch-Dest`.
    FetchDest,
    /// `Sec-Fetch-Mode`.
    FetchMode,
    /// `TE`.
    Te,
    /// `Upgrade`.
    Upgrade,
    /// `Via`.
    Via,
}

/// Which fields a head had when it came. It does not know of what was put in or taken out since then.
#[derive(Debug, Clone, Copy, Default)]
pub struct Present(u16);

impl Field {
    /// The field of this name (lower case), if it is one of them.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "accept" => Self::Accept,
            "authorization" => Self::Authorization,
            "cookie" => Self::Cookie,
            "sec-fetch-dest" => Self::FetchDest,
            "sec-fetch-mode" => Self::FetchMode,
            "te" => Self::Te,
            "upgrade" => Self::Upgrade,
            "via" => Self::Via,
            _ => return None,
        })
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl Present {
    /// Those of `headers`.
    pub fn of(headers: &HeaderMap) -> Self {
        let fields = headers.keys().filter_map(|name| Field::named(name.as_str()));
        Self(fields.fold(0, |bits, field| bits | field.bit()))
    }

    /// Whether there is at least one of this name.
    pub const fn has(self, field: Field) -> bool {
        self.0 & field.bit() != 0
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    const FIELDS: [(Field, &str); 8] = [
        (Field::Accept, "accept"),
        (Field::Authorization, "authorization"),
        (Field::Cookie, "cookie"),
        (Field::FetchDest, "sec-fetch-dest"),
        (Field::FetchMode, "sec-fetch-mode"),
        (Field::Te, "te"),
        (Field::Upgrade, "upgrade"),
        (Field::Via, "via"),
    ];

    proptest! {
        #[test]
        fn a_field_is_present_exactly_if_the_map_has_it(
            picked in prop::collection::vec((0..FIELDS.len(), prop::bool::ANY), 0..12),
            others in prop::collection::vec("[a-z][a-z-]{0,14}", 0..6),
        ) {
            let mut headers = HeaderMap::new();
            let names = picked.iter().map(|&(at, upper)| match upper {
                true => FIELDS[at].1.to_uppercase(),
                false => FIELDS[at].1.to_owned(),
            });
            for name in names.chain(others) {
                let name: HeaderName = name.parse().unwrap();
                headers.append(name, HeaderValue::from_static("x"));
            }
            let present = Present::of(&headers);
            for (field, name) in FIELDS {
                prop_assert_eq!(present.has(field), headers.contains_key(name), "{}", name);
            }
        }
    }
}
