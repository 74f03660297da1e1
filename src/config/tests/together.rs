//! Strange keys, wrong types and bad values are told at once, without what only follows from them.

use super::APP;
use super::problems::{of, told};

#[test]
fn strange_keys_wrong_types_and_bad_values_are_told_together() {
    assert_eq!(
        of("[session]\naccess_ttl = \"5x\"\nrotat = true\n[limits]\nheader_count = \"many\"\n\
            body_bytes = \"10MB\"\n[login]\nbase = \"/\"\n"),
        [
            "gateway.toml:4: session.access_ttl: \"5x\" is not a duration; write it as \"30s\", \
             \"5m\", \"12h\" or \"30d\"",
            "gateway.toml:5: session.rotat: unknown key; did you mean \"rotate\"?",
            "gateway.toml:7: limits.header_count: expected a whole number, found a string",
            "gateway.toml:8: limits.body_bytes: \"10MB\" is not a size; write it as \"512B\", \
             \"64KiB\", \"10MiB\" or \"1GiB\"",
            "gateway.toml:10: login.base: \"/\" is not a plain path below /; write it as \"/auth\", \
             without a trailing slash",
        ]
    );
}

#[test]
fn what_only_follows_from_a_strange_key_is_not_told() {
    for (text, only) in [
        ("[lisen]\nhttps = \"[::]:1\"\n", "1: lisen: unknown key; did you mean \"listen\"?"),
        (
            "[session]\ndev_http = \"[::1]:1\"\n",
            "2: session.dev_http: unknown key; it belongs into [listen]",
        ),
        (
            "[listen]\nhttp = \"[::]:1\"\nhtps = \"[::]:2\"\n",
            "3: listen.htps: unknown key; did you mean \"https\"?",
        ),
        (
            "[listen]\ndev_http = 1\npublic_url = \"http://a.test\"\n",
            "2: listen.dev_http: expected a string, found a whole number",
        ),
        (
            "[listen]\nhttps = \"[::]:1\"\npublic_ulr = \"https://a.test\"\n\
             [cookies]\ndomain = \"a.test\"\n",
            "3: listen.public_ulr: unknown key; did you mean \"public_url\"?",
        ),
        (
            "[listen]\nhttps = \"[::]:1\"\npublic_url = \"https://a.test\"\n\
             [tls]\ncertifcate = \"a\"\nkey = \"b\"\n",
            "5: tls.certifcate: unknown key; did you mean \"certificate\"?",
        ),
    ] {
        assert_eq!(told(text), [format!("gateway.toml:{only}")], "{text}");
    }
    for (text, only) in [
        (
            "[session]\nacces_ttl = \"1h\"\nreuse_grace = \"5m\"\n".to_owned(),
            "4: session.acces_ttl: unknown key; did you mean \"access_ttl\"?",
        ),
        (
            "[csrf]\nsignals = [\"origin\", 1]\nheader_suffices = true\n".to_owned(),
            "4: csrf.signals[1]: expected a string or a table, found a whole number",
        ),
        (
            format!("{}[[route]]\npath = \"/\"\nupstream = \"app\"\n", APP.replace("\"app\"", "1")),
            "4: upstream[0].name: expected a string, found a whole number",
        ),
        (
            format!(
                "{}[[route]]\npath = \"/\"\nupstream = \"app\"\n",
                APP.replace("upstream", "upstreams")
            ),
            "3: upstreams: unknown key; did you mean \"upstream\"?",
        ),
        (
            format!("{APP}[[route]]\npath = \"/\"\n[[route]]\npath = \"/\"\nmethod = [\"GET\"]\n"),
            "10: route[1].method: unknown key; did you mean \"methods\"?",
        ),
        (
            format!("{APP}[[route]]\npath = 1\n[[route]]\npath = \"/\"\n"),
            "7: route[0].path: expected a string, found a whole number",
        ),
    ] {
        assert_eq!(of(&text), [format!("gateway.toml:{only}")], "{text}");
    }
}
