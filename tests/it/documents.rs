//! The documents keep to what is there: examples load, links lead somewhere, and the files and tests
//! that are named exist.

use std::fs;
use std::path::{Path, PathBuf};

use sallyport::config::Config;
use sallyport::store::audit::AuditKind;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every document of the repository, with its text.
fn documents() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for folder in ["", "docs", "docs/decisions", "benches"] {
        files.extend(files_in(&root().join(folder), "md"));
    }
    assert!(files.len() > 10, "the documents were not found: {files:?}");
    files.into_iter().map(|file| (file.clone(), fs::read_to_string(file).unwrap())).collect()
}

fn files_in(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|one| one == extension)).collect()
}

/// All Rust sources below `src` and `tests`, as one text.
fn sources() -> String {
    let mut folders = vec![root().join("src"), root().join("tests")];
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for file in files_in(&folder, "rs") {
            text.push_str(&fs::read_to_string(file).unwrap());
        }
        let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        folders.extend(entries.filter(|path| path.is_dir()));
    }
    text
}

/// What stands between each pair of `open` and `close`.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Vec<&'a str> {
    let after = text.split(open).skip(1);
    after.filter_map(|rest| rest.split_once(close)).map(|(found, _)| found).collect()
}

/// What a document calls by its name in the code. Blocks of commands and examples are left out.
fn code_names(text: &str) -> Vec<&str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|part| part.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn every_example_of_a_configuration_loads_as_it_stands() {
    let mut count = 0;
    for (file, text) in documents() {
        for example in between(&text, "```toml\n", "```") {
            count += 1;
            match Config::parse(example, &root().join("gateway.toml")) {
                Ok(config) => assert_eq!(config.warnings, [], "{}\n{example}", file.display()),
                Err(error) => panic!("{}\n{example}\n{error}", file.display()),
            }
        }
    }
    assert!(count >= 2, "README.md has a first application and one with a name of its own");
}

#[test]
fn every_link_leads_to_a_file() {
    let mut dead = Vec::new();
    for (file, text) in documents() {
        for target in between(&text, "](", ")") {
            let path = target.split('#').next().unwrap_or_default();
            let elsewhere = path.contains("://") || path.is_empty();
            if !elsewhere && !file.parent().unwrap().join(path).exists() {
                dead.push(format!("{}: {target}", file.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

#[test]
fn the_files_and_tests_that_documents_name_exist() {
    let sources = sources();
    let is_test = |name: &str| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        name.bytes().all(plain) && name.matches('_').count() >= 3
    };
    // Promises of the store are functions that a macro makes tests of.
    let exists = |name: &str| sources.contains(&format!("fn {name}("));
    let (mut missing, mut tests) = (Vec::new(), 0);
    let held = ["ARCHITECTURE.md", "THREATS.md"].map(|name| root().join("docs").join(name));
    for (file, text) in documents() {
        if !held.contains(&file) && !file.starts_with(root().join("docs/decisions")) {
            continue;
        }
        for name in code_names(&text) {
            let gone = if name.ends_with(".rs") {
                !root().join(name).exists() && !root().join("src").join(name).exists()
            } else {
                tests += usize::from(is_test(name));
                is_test(name) && !exists(name)
            };
            if gone {
                missing.push(format!("{}: {name}", file.display()));
            }
        }
    }
    assert!(tests > 50, "only {tests} names of tests were found");
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_kind_of_audit_event_is_explained() {
    let text = fs::read_to_string(root().join("docs/LOGGING.md")).unwrap();
    for kind in AuditKind::all() {
        let mark = if kind.is_cheap() { " *" } else { "" };
        let row = format!("| `{}`{mark} | {} |", kind.name(), kind.sentence());
        assert!(text.contains(&row), "LOGGING.md lacks: {row}");
    }
}
