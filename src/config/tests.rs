//! The config as its users meet it: the shipped files, what a few lines mean, and the reference.

pub(super) mod arbitrary;
mod claims;
mod extremes;
mod manners;
mod pages;
mod problems;
mod secrets;
mod together;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;

use super::*;

const APP: &str = "[[upstream]]\nname = \"app\"\nservers = [\"http://127.0.0.1:3000\"]\n";
const DEV: &str = "[listen]\ndev_http = \"127.0.0.1:9154\"\n";

fn parse(text: &str) -> Config {
    match Config::parse(text, Path::new("gateway.toml")) {
        Ok(config) => config,
        Err(error) => panic!("{error}"),
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_shipped_config_loads() {
    let mut files = vec![root().join("gateway.toml")];
    for entry in fs::read_dir(root().join("config")).unwrap() {
        files.push(entry.unwrap().path());
    }
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        if let Err(error) = Config::load(&file) {
            panic!("{error}");
        }
    }
}

#[test]
fn the_default_config_is_without_warnings_and_says_what_the_design_says() {
    let config = Config::load(&root().join("gateway.toml")).unwrap();
    assert_eq!(config.warnings, []);
    assert_eq!(config.listen.https, Some("0.0.0.0:8443".parse().unwrap()));
    assert_eq!(config.listen.http, Some("0.0.0.0:8080".parse().unwrap()));
    assert_eq!(config.listen.admin, Some("127.0.0.1:9100".parse().unwrap()));
    assert_eq!(config.listen.public_url.ascii(), "https://localhost:8443");
    assert!(matches!(&config.tls, Tls::Development { folder } if *folder == root().join("certs")));
    let data = root().join("data/sallyport.db");
    assert!(matches!(&config.store.url, StoreUrl::Sqlite(path) if *path == data));
    let shown: Vec<_> = config
        .routes
        .iter()
        .map(|route| (route.name.as_str(), route.access.clone(), route.upstream))
        .collect();
    let required = |permissions: &[&str]| Access::Required {
        permissions: permissions.iter().map(|&one| one.to_owned()).collect(),
        roles: Vec::new(),
    };
    assert_eq!(
        shown,
        [
            ("/assets/**", Access::Public, 0),
            ("/public/**", Access::Public, 0),
            ("/hello/**", Access::Optional, 0),
            ("/admin/**", required(&["admin"]), 0),
            ("/**", required(&[]), 0),
        ]
    );
}

#[test]
fn what_is_left_out_has_the_designs_defaults() {
    let config =
        parse(&format!("[listen]\nhttps = \"[::]:8443\"\n{APP}[[route]]\npath = \"/**\"\n"));
    assert_eq!(config.warnings, []);
    let minutes = Duration::from_mins;
    let days = |days: u64| Duration::from_hours(24 * days);
    let session = &config.session;
    assert_eq!(session.access_ttl, minutes(5));
    assert_eq!((session.refresh_ttl, session.idle_ttl), (days(30), days(7)));
    assert_eq!(session.reuse_grace, Duration::from_secs(30));
    assert_eq!((session.rotate, session.jitter_percent), (true, 5));
    assert_eq!(session.refresh, RefreshStyle::Silent);
    let cookies = &config.cookies;
    assert_eq!(cookies.access, "__Host-sallyport_access");
    assert_eq!(cookies.refresh, "__Host-sallyport_refresh");
    assert_eq!((cookies.refresh_path.as_str(), cookies.secure), ("/", true));
    assert_eq!((cookies.domain.as_deref(), cookies.same_site), (None, SameSite::Lax));
    assert_eq!(config.listen.public_url.ascii(), "https://localhost:8443");
    assert!(config.listen.trusted_proxies.is_empty());
    assert_eq!(config.token.issuer, "https://localhost:8443");
    assert_eq!(config.token.algorithm, Algorithm::Hs256);
    assert!(matches!(config.token.keys, KeySource::Store));
    assert!(!config.token.profile_claims);
    assert_eq!(
        (config.login.base.as_str(), config.login.site_name.as_str()),
        ("/auth", "localhost")
    );
    let password = &config.password;
    assert_eq!((password.memory_kib, password.iterations, password.parallelism), (19_456, 2, 1));
    assert_eq!((password.min_length, password.max_length), (15, 1024));
    assert_eq!(password.threads.get(), (config.listen.cores.get() / 2).max(1));
    let quota = |quota: &Quota| (quota.count.get(), quota.per);
    assert_eq!(quota(&config.attempts.acts.login.per_account_and_network), (5, minutes(15)));
    assert_eq!(quota(&config.attempts.acts.login.per_network), (50, minutes(15)));
    assert_eq!(quota(&config.attempts.acts.login.per_account), (100, minutes(15)));
    assert_eq!(config.csrf.signals.len(), 3);
    assert_eq!(config.csrf.status, http::StatusCode::FORBIDDEN);
    assert!(!config.csrf.unmarked_passes && !config.csrf.header_suffices);
    let upstream = &config.upstreams[0];
    let name = |name: &Option<HeaderName>| name.as_ref().map(ToString::to_string);
    assert_eq!(name(&upstream.identity.user).as_deref(), Some("x-auth-user"));
    assert_eq!(upstream.identity.email, None);
    assert_eq!(config.routes[0].body_bytes, 10 << 20);
    assert_eq!(
        config.routes[0].access,
        Access::Required { permissions: Vec::new(), roles: Vec::new() }
    );
}

#[test]
fn a_short_access_ttl_shortens_the_grace_with_it() {
    let config = parse(&format!("{DEV}[session]\naccess_ttl = \"20s\"\nrefresh_ttl = \"1h\"\n"));
    assert_eq!(config.session.reuse_grace, Duration::from_secs(10));
    assert_eq!(config.session.idle_ttl, Duration::from_hours(1));
}

#[test]
fn the_development_listener_takes_prefix_and_secure_and_says_so() {
    let config = parse(&format!("{DEV}[cookies]\naccess = \"__Secure-at\"\n"));
    assert_eq!(config.listen.dev_http, Some(SocketAddr::from(([127, 0, 0, 1], 9154))));
    assert_eq!(config.listen.public_url.ascii(), "http://localhost:9154");
    assert_eq!(config.cookies.access, "at");
    assert_eq!(config.cookies.refresh, "sallyport_refresh");
    assert!(!config.cookies.secure);
    let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "route: no route: nothing but the gateway's own pages answers; add a [[route]] with \
             path = \"/**\"",
            "listen.dev_http: no TLS: cookies lose their prefix and Secure; for development only",
        ]
    );
}

#[test]
fn cookie_prefixes_follow_the_path_and_the_domain() {
    let tls = "[listen]\nhttps = \"0.0.0.0:443\"\npublic_url = \"https://app.example.org\"\n";
    let config = parse(&format!("{tls}[session]\nrefresh = \"explicit\"\n"));
    assert_eq!(config.cookies.access, "__Host-sallyport_access");
    assert_eq!(config.cookies.refresh, "__Secure-sallyport_refresh");
    assert_eq!(config.cookies.refresh_path, "/auth");
    let config =
        parse(&format!("{tls}[cookies]\ndomain = \"Example.org\"\naccess = \"qk_token\"\n"));
    assert_eq!(config.cookies.access, "qk_token");
    assert_eq!(config.cookies.refresh, "__Secure-sallyport_refresh");
    assert_eq!(config.cookies.domain.as_deref(), Some("example.org"));
}

#[test]
fn get_brings_head_so_that_head_cannot_slip_past_to_a_laxer_route() {
    let route =
        "[[route]]\nhost = \"*.Example.org\"\npath = \"/%61\"\nmethods = [\"POST\", \"GET\"]\n";
    let config = parse(&format!("{DEV}{APP}{route}"));
    let route = &config.routes[0];
    assert_eq!(route.methods, Some(vec![Method::GET, Method::HEAD, Method::POST]));
    assert_eq!(route.name, "GET,HEAD,POST *.example.org/a");
}

#[test]
fn named_methods_and_other_hosts_do_not_tie() {
    let routes = "[[route]]\npath = \"/a\"\n[[route]]\npath = \"/a\"\nmethods = [\"POST\"]\n\
                  [[route]]\npath = \"/a\"\nmethods = [\"PUT\"]\n\
                  [[route]]\npath = \"/a\"\nhost = \"a.test\"\n[[route]]\npath = \"/a/\"\n";
    let config = parse(&format!("{DEV}{APP}{routes}"));
    assert_eq!(config.routes.len(), 5);
    let last = config.warnings.last().unwrap();
    assert_eq!(
        last.to_string(),
        "route[4].path: matches with the trailing slash only; write \"/a/**\" for all below it"
    );
}

#[test]
fn expectations_are_read() {
    let expect = "[[expect]]\nrequest = \"GET /admin/users?page=2\"\noutcome = \"login\"\n\
                  [[expect]]\nrequest = \"POST https://App.test:444\"\noutcome = \"no-route\"\n\
                  as = { permissions = [\"b\", \"a\", \"b\"] }\n";
    let config = parse(&format!("{DEV}{expect}"));
    assert_eq!(
        config.expects,
        [
            Expect {
                method: Method::GET,
                origin: None,
                target: "/admin/users?page=2".to_owned(),
                caller: ExpectCaller::Anonymous,
                outcome: Outcome::Login,
            },
            Expect {
                method: Method::POST,
                origin: Origin::parse("https://app.test:444"),
                target: "/".to_owned(),
                caller: ExpectCaller::User {
                    permissions: vec!["a".to_owned(), "b".to_owned()],
                    roles: Vec::new(),
                },
                outcome: Outcome::NoRoute,
            },
        ]
    );
}

#[test]
fn secrets_come_from_files_and_the_environment_and_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key"), "0123456789abcdef0123456789abcdef\r\n").unwrap();
    fs::write(
        folder.path().join("url"),
        "postgres://me:planted-secret@db:5432/gate?application_name=y\n",
    )
    .unwrap();
    let text =
        format!("{DEV}[token]\nkeys = {{ file = \"key\" }}\n[store]\nurl = {{ file = \"url\" }}\n");
    let config = Config::parse(&text, &folder.path().join("gateway.toml")).unwrap();
    let KeySource::Fixed(key) = &config.token.keys else { panic!("{:?}", config.token.keys) };
    assert_eq!(key.expose(), b"0123456789abcdef0123456789abcdef");
    assert!(matches!(&config.store.url, StoreUrl::Postgres(url) if url.expose().ends_with("=y")));
    assert!(!format!("{config:?}").contains("planted-secret"));
    // Cargo sets this one for every test, and it is longer than a key must be.
    let text = format!("{DEV}[token]\nkeys = {{ env = \"CARGO_PKG_DESCRIPTION\" }}\n");
    let config = parse(&text);
    let KeySource::Fixed(key) = &config.token.keys else { panic!("{:?}", config.token.keys) };
    assert_eq!(key.expose(), env!("CARGO_PKG_DESCRIPTION").as_bytes());
}

#[test]
fn an_upstream_that_asks_for_email_puts_it_into_tokens() {
    let config =
        parse(&format!("{DEV}{APP}identity = {{ email = \"Remote-Email\", user = false }}\n"));
    let identity = &config.upstreams[0].identity;
    assert_eq!(identity.email, Some(HeaderName::from_static("remote-email")));
    assert_eq!(identity.user, None);
    assert!(config.token.profile_claims);
}

/// Compares `text` with a committed file, or writes it when asked to.
fn committed(name: &str, text: &str) {
    let path = root().join("docs").join(name);
    if std::env::var_os("SALLYPORT_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "docs/{name} is stale: SALLYPORT_BLESS=1 cargo test config");
}

#[test]
fn the_reference_is_what_the_code_says() {
    committed("CONFIG.md", &reference());
    committed("gateway.schema.json", &schema_json());
}

#[test]
fn every_key_of_the_reference_has_a_meaning() {
    for line in reference().lines().filter(|line| line.trim_start().starts_with("- **`")) {
        let (_, meaning) = line.split_once("): ").unwrap();
        assert!(meaning.len() > 3, "{line}");
    }
}
