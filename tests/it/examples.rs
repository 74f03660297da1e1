//! What we ship works: every config file loads. What we show is for `documents` to prove.

use std::fs;
use std::path::{Component, Path, PathBuf};

use sallyport::config::{Config, StoreUrl, Verifier};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn loads(text: &str, path: &Path) {
    if let Err(error) = Config::parse(text, path) {
        panic!("{}:\n{error}\n{text}", path.display());
    }
}

#[test]
fn the_default_config_and_every_example_load() {
    let mut files: Vec<PathBuf> = fs::read_dir(root().join("config"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    files.push(root().join("gateway.toml"));
    assert!(files.len() > 2, "{files:?}");
    for path in files {
        loads(&fs::read_to_string(&path).unwrap(), &path);
    }
}

/// Without `.` and `..`: two names of one file are the same.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
        plain
    })
}

#[test]
fn the_four_that_replace_others_run_beside_the_main_gateway_and_each_other() {
    // What nobody may have twice: a browser keeps one jar for all ports of a host.
    let mut taken: Vec<String> = Vec::new();
    let mut take = |what: String| {
        assert!(!taken.contains(&what), "{what} is there twice");
        taken.push(what);
    };
    for (file, address) in [
        ("gateway.toml", "0.0.0.0:8443"),
        ("config/questkit.toml", "127.0.0.1:9151"),
        ("config/inspir.toml", "127.0.0.1:9152"),
        ("config/turnstile.toml", "127.0.0.1:9153"),
        ("config/pin.toml", "127.0.0.1:9154"),
    ] {
        let config = Config::load(&root().join(file)).unwrap_or_else(|error| panic!("{error}"));
        let listen = &config.listen;
        let main = listen.https.or(listen.dev_http).unwrap();
        assert_eq!(main.to_string(), address, "{file}");
        assert_eq!(listen.admin.is_some(), file == "gateway.toml", "{file}");
        let stand_in = config.captcha.as_ref().and_then(|captcha| match captcha.verifier {
            Verifier::StandIn(address) => Some(address),
            Verifier::Service { .. } => None,
        });
        for address in [Some(main), listen.http, listen.admin, stand_in].into_iter().flatten() {
            take(format!("port {}", address.port()));
        }
        let StoreUrl::Sqlite(data) = &config.store.url else { panic!("{file}: a file of its own") };
        let data = plain(data);
        assert!(data.starts_with(root().join("data")), "{}", data.display());
        take(data.display().to_string());
        let cookies = config.cookies;
        let more = [cookies.device, cookies.minted].into_iter().flatten();
        for name in [cookies.access, cookies.refresh].into_iter().chain(more) {
            take(format!("cookie {name}"));
        }
    }
}
