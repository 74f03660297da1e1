//! `Via` (RFC 9110 section 7.6.3): every proxy adds itself, and finds out by it that a request has
//! come round in a circle.

use http::header::{HeaderMap, HeaderValue, VIA};

/// How this process calls itself towards applications. Its own name, unlike any other's: two
/// gateways may stand behind each other, and that is no circle.
#[derive(Debug, Clone)]
pub struct Via {
    name: String,
    http1: HeaderValue,
    http2: HeaderValue,
}

impl Via {
    /// A name that ends in `mark`, of letters and digits.
    pub fn new(mark: &str) -> Self {
        let name = format!("sallyport-{mark}");
        let value = |version: &str| {
            HeaderValue::try_from(format!("{version} {name}"))
                .unwrap_or(HeaderValue::from_static("1.1 sallyport"))
        };
        Self { http1: value("1.1"), http2: value("2"), name }
    }

    /// What adds us to the list, with the protocol in which the request came.
    pub const fn element(&self, h2: bool) -> &HeaderValue {
        if h2 { &self.http2 } else { &self.http1 }
    }

    /// Whether the request has been here before.
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        headers.get_all(VIA).iter().any(|line| {
            line.as_bytes().split(|&byte| byte == b',').any(|element| self.is_element(element))
        })
    }

    /// `[protocol "/"] version blank received-by [blank comment]`
    fn is_element(&self, element: &[u8]) -> bool {
        let mut words = element.trim_ascii().split(u8::is_ascii_whitespace);
        let received_by = words
            .find(|word| !word.is_empty())
            .and_then(|_version| words.find(|word| !word.is_empty()));
        received_by.is_some_and(|name| name.eq_ignore_ascii_case(self.name.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (VIA, HeaderValue::from_static(line))).collect()
    }

    #[test]
    fn only_ones_own_name_is_a_circle() {
        let via = Via::new("4711");
        for (lines, circle) in [
            (&[][..], false),
            (&["1.1 sallyport-4711"], true),
            (&["1.1 a, HTTP/1.1  SALLYPORT-4711 (comment), 1.1 b"], true),
            (&["1.1 a", "2 sallyport-4711"], true),
            (&["1.1 sallyport-4712", "1.1 sallyport"], false),
            (&["sallyport-4711"], false),
            (&["1.1 other (sallyport-4711)"], false),
        ] {
            assert_eq!(via.is_in(&headers(lines)), circle, "{lines:?}");
        }
        let mut ours = headers(&["1.0 fred"]);
        ours.append(VIA, via.element(true).clone());
        assert!(via.is_in(&ours));
        assert_eq!(ours.get_all(VIA).iter().count(), 2);
    }
}
