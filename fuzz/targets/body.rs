//! Bodies of the gateway's own endpoints, JSON and forms.
#![no_main]

use http::HeaderValue;
use libfuzzer_sys::fuzz_target;
use sallyport::message::form::read;

fuzz_target!(|data: &[u8]| {
    for kind in ["application/json", "application/x-www-form-urlencoded"] {
        let kind = HeaderValue::from_static(kind);
        let Ok(fields) = read(Some(&kind), data, 16) else { continue };
        for name in ["username", "password", "remember", "count", ""] {
            if let Ok(Some(text)) = fields.text(name) {
                assert!(text.len() <= data.len(), "longer than all there was");
            }
            // Each either is one or is not; what it is not must not end anything.
            let (_flag, _number) = (fields.flag(name), fields.number(name));
        }
    }
    // A media type is sent by strangers too.
    if let Ok(kind) = HeaderValue::from_bytes(data.get(..64).unwrap_or(data)) {
        let _read = read(Some(&kind), b"{}", 16);
    }
});
