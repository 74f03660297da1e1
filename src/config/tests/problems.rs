//! What an operator reads when something is wrong.

use std::path::Path;

use super::{APP, DEV};
use crate::config::{Config, ConfigError};

/// The lines that are printed for `text`.
pub(super) fn told(text: &str) -> Vec<String> {
    match Config::parse(text, Path::new("gateway.toml")) {
        Ok(_) => Vec::new(),
        Err(error) => error.to_string().lines().map(str::to_owned).collect(),
    }
}

/// What is told of `lines`, which stand behind a development listener (lines 1 and 2).
pub(super) fn of(lines: &str) -> Vec<String> {
    told(&format!("{DEV}{lines}"))
}

#[test]
fn a_missing_file_says_where_to_start() {
    let error = Config::load(Path::new("no/such/gateway.toml")).unwrap_err();
    assert!(matches!(error, ConfigError::Missing { .. }));
    assert_eq!(
        error.to_string(),
        "no/such/gateway.toml: no such file; name one with --config FILE, or start from the \
         example in README.md"
    );
    let error = Config::load(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap_err();
    assert!(error.to_string().contains(": cannot be read: "), "{error}");
    assert!(error.problems().is_empty());
}

#[test]
fn errors_of_syntax_have_their_line() {
    let lines = told("[listen]\nhttps = \n[session\n");
    assert!(lines.len() >= 2, "{lines:?}");
    assert!(lines[0].starts_with("gateway.toml:2: "), "{lines:?}");
    assert!(lines[1].starts_with("gateway.toml:3: "), "{lines:?}");
    let lines = told("[listen]\nhttps = \"a\"\nhttps = \"b\"\n");
    assert_eq!(lines, ["gateway.toml:3: duplicate key"]);
}

#[test]
fn unknown_keys_name_the_nearest_known_one_or_their_home() {
    assert_eq!(
        of("[session]\nacces_ttl = \"5m\"\nqueue = 8\nqwxz = 1\n[[routes]]\npath = \"/\"\n\
            [[route]]\npath = \"/\"\nacess = \"public\"\n\"a b\" = 1\n\
            [[upstream]]\nname = \"app\"\nservers = [\"demo\"]\n"),
        [
            "gateway.toml:4: session.acces_ttl: unknown key; did you mean \"access_ttl\"?",
            "gateway.toml:5: session.queue: unknown key; it belongs into [password]",
            "gateway.toml:6: session.qwxz: unknown key; session knows access_ttl, refresh_ttl, \
             idle_ttl, reuse_grace, rotate, refresh, jitter",
            "gateway.toml:7: routes: unknown key; did you mean \"route\"?",
            "gateway.toml:11: route[0].acess: unknown key; did you mean \"access\"?",
            "gateway.toml:12: route[0].\"a b\": unknown key; route[0] knows name, host, path, \
             methods, access, upstream, body_bytes, connect_timeout, first_byte_timeout, \
             idle_timeout, total_timeout, max_auth_age, strip_prefix, add_prefix, cors, \
             preflight, headers, security_headers",
        ]
    );
}

#[test]
fn wrong_types_words_and_ranges_are_told_at_once() {
    assert_eq!(
        of("[session]\naccess_ttl = 5\nrotate = \"yes\"\nrefresh = \"quiet\"\njitter = 51\n\
            [limits]\nheader_bytes = 1.5\nbody_bytes = -1\nh2_streams = 0\n\
            [csrf]\nsignals = [\"orgin\", 1, { header = \"x\" }]\n\
            [[route]]\naccess = \"publik\"\nmethods = \"GET\"\n[[expect]]\nas = true\n\
            [[upstream]]\nname = \"app\"\nservers = [\"demo\"]\n"),
        [
            "gateway.toml:4: session.access_ttl: expected a duration such as \"5m\", found a whole \
             number",
            "gateway.toml:5: session.rotate: expected true or false, found a string",
            "gateway.toml:6: session.refresh: \"quiet\" is not one of \"silent\", \"explicit\", \
             \"off\"",
            "gateway.toml:7: session.jitter: out of range; from 0 to 50",
            "gateway.toml:9: limits.header_bytes: expected a size such as \"64KiB\", found a \
             fraction",
            "gateway.toml:10: limits.body_bytes: out of range; 0 or more",
            "gateway.toml:11: limits.h2_streams: out of range; from 1 to 1000",
            "gateway.toml:13: csrf.signals[0]: \"orgin\" is not one of \"origin\", \
             \"allowed-origin\", \"fetch-site\"; \
             did you mean \"origin\"?",
            "gateway.toml:13: csrf.signals[1]: expected a string or a table, found a whole number",
            "gateway.toml:13: csrf.signals[2].value: missing",
            "gateway.toml:14: route[0].path: missing",
            "gateway.toml:15: route[0].access: \"publik\" is not one of \"public\", \"optional\", \
             \"required\"; did you mean \"public\"?",
            "gateway.toml:16: route[0].methods: expected a list, found a string",
            "gateway.toml:17: expect[0].request: missing",
            "gateway.toml:17: expect[0].outcome: missing",
            "gateway.toml:18: expect[0].as: expected a string or a table, found true or false",
        ]
    );
}

#[test]
fn routes_name_upstreams_that_exist_and_do_not_tie() {
    let again = APP.replace("3000", "3001");
    let two = format!("{APP}{again}[[upstream]]\nname = \"b c\"\nservers = []\n");
    assert_eq!(
        of(&format!(
            "{two}[[route]]\npath = \"/a\"\nupstream = \"ap\"\n[[route]]\npath = \"/b\"\n"
        )),
        [
            "gateway.toml:7: upstream[1].name: \"app\" is the name of upstream[0] too",
            "gateway.toml:10: upstream[2].name: \"b c\" is not 1 to 64 letters, digits, _ or -",
            "gateway.toml:11: upstream[2].servers: names no server; write \
             [\"http://127.0.0.1:3000\"], or [\"demo\"] for the demonstration",
            "gateway.toml:14: route[0].upstream: \"ap\" is not an upstream; did you mean \"app\"?",
            "gateway.toml:15: route[1].upstream: missing, since there is more than one [[upstream]]",
        ]
    );
    assert_eq!(
        of(&format!(
            "{APP}[[route]]\npath = \"/a/*\"\nhost = \"A.test\"\nmethods = [\"GET\"]\nname = \"x\"\n\
             [[route]]\npath = \"/%61/*\"\nhost = \"a.test.\"\nmethods = [\"HEAD\"]\nname = \"x\"\n"
        )),
        [
            "gateway.toml:11: route[1]: matches the same requests as route[0]; change the host, the \
             path or the methods of one of them",
            "gateway.toml:15: route[1].name: \"x\" is the name of route[0] too",
        ]
    );
    assert_eq!(
        of("[[route]]\npath = \"/a\"\n"),
        ["gateway.toml:3: route[0].upstream: there is no [[upstream]]"]
    );
}

#[test]
fn a_route_that_could_not_mean_what_it_says_is_refused() {
    assert_eq!(
        of(&format!(
            "{APP}[[route]]\npath = \"/u/:id\"\nhost = \"a:80\"\nmethods = [\"get\", \"TRACE\"]\n\
             access = {{ roles = [] }}\nbody_bytes = \"10MB\"\n\
             [[route]]\npath = \"/x\"\nmethods = []\naccess = {{ permissions = [\"a,b\"] }}\n"
        )),
        [
            "gateway.toml:7: route[0].path: \":id\": segments have no names here; write * for any \
             one segment",
            "gateway.toml:8: route[0].host: \"a:80\" is not a host name; write \"app.example.org\" \
             or \"*.example.org\", no port",
            "gateway.toml:9: route[0].methods[0]: \"get\" is not in capitals; write \"GET\"",
            "gateway.toml:9: route[0].methods[1]: TRACE is never forwarded",
            "gateway.toml:10: route[0].access: names no permission and no role; write \"required\" \
             for anyone who is signed in",
            "gateway.toml:11: route[0].body_bytes: \"10MB\" is not a size; write it as \"512B\", \
             \"64KiB\", \"10MiB\" or \"1GiB\"",
            "gateway.toml:14: route[1].methods: names no method; leave it out for any",
            "gateway.toml:15: route[1].access.permissions[0]: \"a,b\" is not a name without blanks \
             and commas",
        ]
    );
}

#[test]
fn listeners_must_fit_together() {
    assert_eq!(
        told(""),
        ["gateway.toml: listen: nothing listens; set https = \"0.0.0.0:8443\", or dev_http = \
             \"127.0.0.1:9154\" for development"]
    );
    assert_eq!(
        told(
            "[listen]\nhttps = \"8443\"\nhttp = \"127.0.0.1:1\"\nadmin = \"127.0.0.1:1\"\n\
             dev_http = \"0.0.0.0:80\"\npublic_url = \"https://a.test/x\"\n\
             trusted_proxies = [\"10.0.0.0/33\"]\ndrain_timeout = \"2h\"\n"
        ),
        [
            "gateway.toml:2: listen.https: \"8443\" is not an address with a port; write it as \
             \"0.0.0.0:8443\" or \"[::]:8443\"",
            "gateway.toml:4: listen.admin: the same address as http",
            "gateway.toml:5: listen.dev_http: takes Secure from all cookies, so it cannot go \
             together with https; leave out one of them",
            "gateway.toml:5: listen.dev_http: 0.0.0.0:80 is not a loopback address; use 127.0.0.1 \
             or [::1]",
            "gateway.toml:6: listen.public_url: \"https://a.test/x\" is not a whole origin; write \
             scheme, host and port only, such as \"https://app.example.org\"",
            "gateway.toml:7: listen.trusted_proxies[0]: \"10.0.0.0/33\" is not a network; write it \
             as \"10.0.0.0/8\", \"fd00::/8\" or a single address",
            "gateway.toml:8: listen.drain_timeout: 2h is more than 1h",
        ]
    );
    assert_eq!(
        told("[listen]\nhttps = \"0.0.0.0:443\"\n[tls]\ncertificate = \"a\"\nkey = \"b\"\n"),
        ["gateway.toml:1: listen.public_url: missing, since [tls] names a certificate; set it to \
             the site's name, such as \"https://app.example.org\""]
    );
    assert_eq!(
        told(
            "[listen]\nhttps = \"0.0.0.0:443\"\npublic_url = \"http://a.test\"\n[tls]\nkey = \"b\"\n"
        ),
        [
            "gateway.toml:3: listen.public_url: the scheme must be https",
            "gateway.toml:4: tls.certificate: missing",
        ]
    );
    assert_eq!(
        told("[listen]\nhttps = \"0.0.0.0:443\"\npublic_url = \"http://a.test\"\n"),
        ["gateway.toml:3: listen.public_url: the scheme must be https"]
    );
}

#[test]
fn lifetimes_must_fit_together() {
    assert_eq!(
        of("[session]\naccess_ttl = \"1m\"\nrefresh_ttl = \"1d\"\nidle_ttl = \"2d\"\n\
            reuse_grace = \"31s\"\n"),
        [
            "gateway.toml:6: session.idle_ttl: more than session.refresh_ttl (1d)",
            "gateway.toml:7: session.reuse_grace: more than half of session.access_ttl (1m)",
        ]
    );
    assert_eq!(
        of("[session]\naccess_ttl = \"0s\"\nrefresh_ttl = \"500d\"\nidle_ttl = \"soon\"\n"),
        [
            "gateway.toml:4: session.access_ttl: 0s is less than 1s",
            "gateway.toml:5: session.refresh_ttl: 500d is more than 400d",
            "gateway.toml:6: session.idle_ttl: \"soon\" is not a duration; write it as \"30s\", \
             \"5m\", \"12h\" or \"30d\"",
        ]
    );
    assert_eq!(
        of("[session]\nrefresh_ttl = \"1m\"\n"),
        ["gateway.toml:4: session.refresh_ttl: less than session.access_ttl (5m)"]
    );
}

#[test]
fn cookies_must_be_such_as_browsers_take() {
    let tls = "[listen]\nhttps = \"0.0.0.0:443\"\npublic_url = \"https://app.example.org\"\n";
    let of = |lines: &str| told(&format!("{tls}{lines}"));
    assert_eq!(
        of("[cookies]\naccess = \"__Host-a\"\nrefresh = \"__host-b\"\ndomain = \"example.org\"\n"),
        [
            "gateway.toml:5: cookies.access: __Host- does not go with cookies.domain; write \
             __Secure-a",
            "gateway.toml:6: cookies.refresh: \"__host-b\": write the prefix as __Host- or __Secure-",
        ]
    );
    assert_eq!(
        of(
            "[session]\nrefresh = \"explicit\"\n[cookies]\naccess = \"a;b\"\nrefresh = \"__Host-r\"\n"
        ),
        [
            "gateway.toml:7: cookies.access: \"a;b\" is not a cookie name",
            "gateway.toml:8: cookies.refresh: __Host- demands Path=/, and in the explicit style it \
             has the base path; write __Secure-r",
        ]
    );
    for (domain, text) in [
        (".example.org", "begins with a dot; write \"example.org\""),
        ("org", "browsers set no cookies for all of \"org\""),
        ("127.0.0.1", "an address has no hosts below it"),
        ("ample.org", "does not hold the host of listen.public_url (app.example.org)"),
        ("a/b", "\"a/b\" is not a domain"),
    ] {
        let lines = of(&format!("[cookies]\ndomain = \"{domain}\"\n"));
        assert_eq!(lines, [format!("gateway.toml:5: cookies.domain: {text}")]);
    }
    assert_eq!(
        told(&format!("{DEV}[cookies]\nsame_site = \"none\"\nrefresh = \"sallyport_ACCESS\"\n")),
        [
            "gateway.toml:4: cookies.same_site: browsers take such cookies over TLS only, so not on \
             dev_http",
            "gateway.toml:5: cookies.refresh: the same name as cookies.access",
        ]
    );
}

#[test]
fn headers_that_mean_something_else_are_nobodys_to_choose() {
    let upstream = "[[upstream]]\nname = \"app\"\n\
        servers = [\"ftp://a:1\", \"http://a/x\", \"http://a\", \"http://a:80\"]\n\
        allowed_names = [\"x_auth_user\", \"Remote.User\", \"x-plain\", \"x_fine\"]\n\
        identity = { user = \"Remote-User\", id = \"Host\", email = \"remote_user\", roles = true, \
        session = \"a b\" }\n\
        assertion = { audience = \"\", header = \"X_Forwarded_For\" }\n";
    assert_eq!(
        of(upstream),
        [
            "gateway.toml:5: upstream[0].servers[0]: \"ftp://a:1\" is not a server; write it as \
             \"http://127.0.0.1:3000\", without a path",
            "gateway.toml:5: upstream[0].servers[1]: \"http://a/x\" is not a server; write it as \
             \"http://127.0.0.1:3000\", without a path",
            "gateway.toml:5: upstream[0].servers[3]: \"http://a:80\" is there already",
            "gateway.toml:6: upstream[0].allowed_names[0]: \"x_auth_user\" could be read as a header \
             of the gateway's own",
            "gateway.toml:6: upstream[0].allowed_names[1]: \"Remote.User\" could be read as a header \
             of the gateway's own",
            "gateway.toml:6: upstream[0].allowed_names[2]: \"x-plain\" has no _ or . and is let \
             through anyway",
            "gateway.toml:7: upstream[0].identity.id: \"Host\" has a meaning of its own; choose \
             another name",
            "gateway.toml:7: upstream[0].identity.roles: true says no name; write the name, or false \
             for none",
            "gateway.toml:7: upstream[0].identity.session: \"a b\" is not a header name",
            "gateway.toml:7: upstream[0].identity.email: remote_user is the name of identity.user \
             too",
            "gateway.toml:8: upstream[0].assertion.header: \"X_Forwarded_For\" has a meaning of its \
             own; choose another name",
            "gateway.toml:8: upstream[0].assertion.audience: must have 1 to 256 bytes and no control \
             characters",
        ]
    );
}

#[test]
fn the_guard_cannot_be_configured_into_nonsense() {
    assert_eq!(
        of("[csrf]\nsignals = []\nallowed_origins = [\"app.test\"]\nheader_suffices = true\n\
            status = 200\n"),
        [
            "gateway.toml:4: csrf.signals: names no signal, so nothing could pass; leave it out for \
             the default",
            "gateway.toml:5: csrf.allowed_origins[0]: \"app.test\" is not a whole origin; write \
             scheme and host, such as \"https://app.example.org\"",
            "gateway.toml:6: csrf.header_suffices: no header is among csrf.signals, so there is \
             nothing to suffice",
            "gateway.toml:7: csrf.status: 200 is neither 403 nor 401",
        ]
    );
}

#[test]
fn logins_passwords_and_attempts_are_checked() {
    assert_eq!(
        of("[login]\nbase = \"/\"\nidentifier_field = \"pin\"\nsecret_field = \"pin\"\n\
            return_hosts = [\"https://a.test\"]\nsite_name = \" \"\n\
            [password]\nmemory = \"16KiB\"\nparallelism = 4\n\
            [attempts]\nper_network = { count = 1, per = \"1ms\" }\n"),
        [
            "gateway.toml:4: login.base: \"/\" is not a plain path below /; write it as \"/auth\", \
             without a trailing slash",
            "gateway.toml:6: login.secret_field: the same field as login.identifier_field",
            "gateway.toml:7: login.return_hosts[0]: \"https://a.test\" is not a host; write host or \
             host:port, without a scheme",
            "gateway.toml:8: login.site_name: must have 1 to 100 characters, none of them a control \
             character",
            "gateway.toml:10: password.memory: must be whole KiB, at least 8 for each lane \
             (password.parallelism)",
            "gateway.toml:13: attempts.per_network.per: 1ms is less than 1s",
        ]
    );
    assert_eq!(
        of("[login.secret]\nmin_length = 100\n[password]\nmax_length = 64\n"),
        ["gateway.toml:4: login.secret.min_length: more than password.max_length (64) can hold"]
    );
    assert_eq!(
        of("[login.secret]\nkind = \"pin\"\nblocklist = false\n[password]\nblocklist = \"list\"\n"),
        ["gateway.toml:7: password.blocklist: not read while login.secret.blocklist is false",]
    );
}

#[test]
fn the_store_and_secrets_are_checked_and_never_shown() {
    for (url, text) in [
        ("\"mysql://me:planted@a/b\"", "must begin with sqlite:// or postgres://"),
        ("\"sqlite://\"", "needs a plain path behind sqlite://"),
        ("\"sqlite://a?mode=memory\"", "needs a plain path behind sqlite://"),
        (
            "{ env = \"SALLYPORT_NOT_SET\" }",
            "the environment variable SALLYPORT_NOT_SET is not set",
        ),
        ("{ file = \"a\", env = \"b\" }", "needs exactly one of the keys file and env"),
        ("{ }", "needs exactly one of the keys file and env"),
    ] {
        let lines = of(&format!("[store]\nurl = {url}\n"));
        assert_eq!(lines, [format!("gateway.toml:4: store.url: {text}")]);
    }
    for url in ["postgres://me:planted@a", "postgres:///b", "postgres://a b/c", "postgres://a/b/c"]
    {
        let lines = of(&format!("[store]\nurl = \"{url}\"\n"));
        assert_eq!(
            lines,
            ["gateway.toml:4: store.url: is not a Postgres URL; write it as \
              postgres://USER:PASSWORD@HOST:PORT/NAME, special characters percent-encoded"]
        );
    }
    for (parameters, text) in [
        ("sslmod=disable&planted", "has a parameter that is not known; known are sslmode, "),
        ("sslmode=yes", "has an sslmode that is none; it is one of disable, "),
        ("target_session_attrs=any", "has target_session_attrs that would do with a server "),
        ("sslrootcert=no/such.pem", "its sslrootcert names a file that cannot be read "),
    ] {
        let lines = of(&format!("[store]\nurl = \"postgres://me:planted@a/b?{parameters}\"\n"));
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(line.starts_with(&format!("gateway.toml:4: store.url: {text}")), "{line}");
        assert!(!line.contains("planted"), "{line}");
    }
    let lines = of("[token]\nkeys = { env = \"CARGO_PKG_NAME\" }\n");
    assert_eq!(
        lines,
        ["gateway.toml:4: token.keys: has 9 bytes, and needs at least 32; make one with: openssl \
          rand -base64 48"]
    );
    let lines = of("[token]\nkeys = { file = \"no/such/key\" }\n");
    assert!(lines[0].starts_with("gateway.toml:4: token.keys: no/such/key: "), "{lines:?}");
}

#[test]
fn expectations_are_checked_for_form() {
    assert_eq!(
        of("[[expect]]\nrequest = \"/admin\"\noutcome = \"allow\"\nas = { roles = [\"\"] }\n\
            [log]\nlevel = \"loud,=\"\n")
        .iter()
        .map(|line| line.split(" filter: ").next().unwrap())
        .collect::<Vec<_>>(),
        [
            "gateway.toml:4: expect[0].request: \"/admin\" is not a request; write method and path, \
             such as \"GET /admin/users\", or a whole URL",
            "gateway.toml:6: expect[0].as.roles[0]: \"\" is not a name without blanks and commas",
            "gateway.toml:8: log.level: \"loud\" is not a",
        ]
    );
}

#[test]
fn what_is_risky_and_allowed_is_warned_of() {
    let text = format!(
        "[listen]\nhttps = \"0.0.0.0:443\"\nadmin = \"0.0.0.0:1\"\ntrusted_proxies = [\"::/0\"]\n\
         public_url = \"https://app.co.uk\"\n[session]\nrotate = false\nreuse_grace = \"0s\"\n\
         [cookies]\ndomain = \"co.uk\"\n[password]\nmemory = \"8MiB\"\n\
         [login.secret]\nmin_length = 4\n{APP}[[route]]\npath = \"/auth/**\"\n"
    );
    let config = super::parse(&text);
    let warnings: Vec<String> =
        config.warnings.iter().map(|warning| warning.in_file(Path::new("g")).to_string()).collect();
    assert_eq!(
        warnings,
        [
            "g: attempts.per_account: all secrets of 4 digits could be tried at one account within 2 \
             days; allow fewer, such as { count = 10, per = \"1d\" }, or ask for longer secrets",
            "g:3: listen.admin: everyone in reach can read the metrics; use an address that only \
             your monitoring reaches, such as 127.0.0.1",
            "g:4: listen.trusted_proxies[0]: believes everyone what they say about their address",
            "g:7: session.rotate: a stolen refresh token works, unseen, until its session ends",
            "g:8: session.reuse_grace: second tabs and lost responses will be taken for theft",
            "g:10: cookies.domain: looks like a public suffix, for which browsers drop cookies; \
             name a domain of your own below it",
            "g:12: password.memory: a weaker hash than OWASP asks for; 19MiB with 2 iterations is \
             the least with which it fits",
            "g:14: login.secret.min_length: secrets of 4 characters are soon guessed",
            "g:19: route[0].path: lies below login.base, where the gateway's own endpoints answer",
        ]
    );
}
