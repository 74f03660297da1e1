//! What we ship and what we show works: every config file, and every snippet in the README.

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

#[test]
fn every_snippet_of_the_readme_loads() {
    let path = root().join("README.md");
    // The README comes with the release; until then nothing is promised.
    let Ok(text) = fs::read_to_string(&path) else { return };
    let snippets: Vec<_> = text
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("\n```").next().unwrap_or_default())
        .collect();
    assert!(!snippets.is_empty(), "the README shows no config");
    for snippet in snippets {
        let mut whole = snippet.to_owned();
        // A snippet may show a part; the rest is as short as a config can be.
        if !snippet.contains("[[upstream]]") {
            whole.push_str("\n[[upstream]]\nname = \"app\"\nservers = [\"demo\"]\n");
        }
        if !snippet.contains("[[route]]") {
            whole.push_str("\n[[route]]\npath = \"/**\"\n");
        }
        if !snippet.contains("[listen]") {
            whole.push_str("\n[listen]\nhttps = \"127.0.0.1:8443\"\n");
        }
        loads(&whole, &path);
    }
}
