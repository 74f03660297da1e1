//! Whatever the text: an answer, never a panic.

use std::path::Path;

use proptest::prelude::*;

use crate::config::Config;

/// Text that looks like a config: known and unknown keys with values of every kind.
pub(in crate::config) fn configs() -> impl Strategy<Value = String> {
    let header = prop::sample::select(vec![
        "[listen]",
        "[session]",
        "[cookies]",
        "[token]",
        "[login]",
        "[password]",
        "[pages]",
        "[csrf]",
        "[log]",
        "[attempts]",
        "[attempts.login]",
        "[captcha]",
        "[limits]",
        "[store]",
        "[tls]",
        "[[upstream]]",
        "[[route]]",
        "[[expect]]",
        "[route]",
        "[[listen]]",
        "[upstream.identity]",
        "[x.y]",
        "",
    ]);
    let key = prop::sample::select(vec![
        "https",
        "dev_http",
        "public_url",
        "access_ttl",
        "reuse_grace",
        "access",
        "domain",
        "keys",
        "base",
        "memory",
        "signals",
        "level",
        "per_network",
        "header_bytes",
        "url",
        "name",
        "servers",
        "identity",
        "path",
        "host",
        "methods",
        "upstream",
        "request",
        "as",
        "outcome",
        "a.b",
        "\"\\u0000\"",
        "",
    ]);
    let value = prop_oneof![
        Just("\"127.0.0.1:1\"".to_owned()),
        Just("[\"demo\"]".to_owned()),
        Just("\"/a/**\"".to_owned()),
        Just("\"99999999999999999999d\"".to_owned()),
        Just("{ file = \"/\" }".to_owned()),
        Just("99999999999999999999999".to_owned()),
        Just("0xFFFF_FFFF_FFFF_FFFF".to_owned()),
        Just("-9223372036854775808".to_owned()),
        Just("1979-05-27".to_owned()),
        Just("nan".to_owned()),
        Just("[[[{ a = [] }]]]".to_owned()),
        "\"\\PC{0,20}\"",
        "[0-9]{1,20}(B|KiB|GiB|d|s|)".prop_map(|text| format!("{text:?}")),
    ];
    let line = prop_oneof![
        header.prop_map(str::to_owned),
        (key, value).prop_map(|(key, value)| format!("{key} = {value}")),
    ];
    prop::collection::vec(line, 0..24).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*", config in configs()) {
        for text in [text, config] {
            if let Err(error) = Config::parse(&text, Path::new("g")) {
                prop_assert!(!error.problems().is_empty());
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
