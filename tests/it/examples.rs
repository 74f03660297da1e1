//! What we ship works: every config file loads. What we show is for `documents` to prove.

use std::fs;
use std::path::{Path, PathBuf};

use sallyport::config::Config;

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
