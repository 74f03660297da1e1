//! `Cookie` fields, one a line: what is found is one thing, and what is stripped is gone.
#![no_main]

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use sallyport::message::cookies::{Found, Sent, find, find_each, strip};

const NAMES: [&str; 2] = ["__Host-a", "b"];

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(100) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(COOKIE, value);
        }
    }
    let found = find_each(&headers, NAMES);
    for (name, found) in NAMES.into_iter().zip(found.map(Sent::read)) {
        assert_eq!(find(&headers, name), found);
        if let Found::One(value) = found {
            assert!(value.bytes().all(|byte| (0x21..=0x7e).contains(&byte)), "{value:?}");
        }
    }
    strip(&mut headers, &NAMES);
    for found in find_each(&headers, NAMES) {
        assert!(!matches!(found, Sent::One(_)), "a credential goes to the application");
    }
});
