//! Request paths: what passes has one reading.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sallyport::message::path::canonical;

fuzz_target!(|path: &str| {
    let Ok(once) = canonical(path) else { return };
    assert!(once.starts_with('/'), "{path:?} -> {once:?}");
    assert_eq!(canonical(&once).as_deref(), Ok(&*once), "{path:?}");
    for segment in once.split('/') {
        let decoded = segment.replace("%2e", ".").replace("%2E", ".");
        assert!(decoded != "." && decoded != "..", "{path:?} -> {once:?}");
    }
    assert!(!once.contains(['\\', '\0', '#', '?']), "{path:?} -> {once:?}");
    let folded = once.to_ascii_lowercase();
    for hidden in ["%2f", "%5c", "%00"] {
        assert!(!folded.contains(hidden), "{path:?} -> {once:?}");
    }
});
