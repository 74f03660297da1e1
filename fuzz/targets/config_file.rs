//! `gateway.toml`: read, or refused with places and words.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use sallyport::config::Config;

fuzz_target!(|text: &str| {
    // A file that is named as a secret would be read from where the target runs: from nowhere.
    let path = Path::new("/nowhere/at/all/gateway.toml");
    if let Err(error) = Config::parse(text, path) {
        let lines = text.split('\n').count();
        assert!(!error.problems().is_empty(), "refused without a reason");
        for problem in error.problems() {
            assert!(problem.line.is_none_or(|line| (1..=lines).contains(&line)), "{problem:?}");
        }
        assert!(!error.to_string().is_empty());
    }
});
