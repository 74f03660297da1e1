//! The walls between the rooms: an import may only lead to a lower row, and some crates belong to
//! one room. `docs/ARCHITECTURE.md` has the reasons.

use std::fs;
use std::path::{Path, PathBuf};

/// The rows, from the top. A room may import from every row below its own. What stands directly
/// in `src/` is a room too.
const ROWS: &[&[&str]] = &[
    &["main", "cli", "gateway"],
    &["listen"],
    &["journey"],
    &["endpoints", "upstream"],
    &["session"],
    &["store", "token", "access", "message", "observe", "captcha"],
    &["config", "clock", "secret", "id", "network", "deadline"],
];

/// Imports within a row.
const NEIGHBOURS: &[(&str, &str)] = &[
    ("main", "cli"),
    ("main", "gateway"),
    ("cli", "gateway"),
    ("config", "secret"),
    ("config", "network"),
    ("id", "clock"),
    ("id", "secret"),
];

/// Crates (and parts of crates) and the only places that may name them.
const CRATES: &[(&str, &[&str])] = &[
    ("sqlx", &["store/"]),
    ("jsonwebtoken", &["token/"]),
    ("rustls", &["listen/", "upstream/"]),
    ("tokio_rustls", &["listen/", "upstream/"]),
    ("toml", &["config/file.rs", "config/file/"]),
    ("governor", &["session/"]),
    ("argon2", &["session/"]),
    ("bcrypt", &["session/"]),
    ("hyper::client", &["upstream/"]),
    // The demonstration, the stand-in and the admin door are servers of their own.
    ("hyper::server", &["listen/", "upstream/demo.rs", "gateway/admin.rs", "captcha/stand_in.rs"]),
    // Whether a filter is one must be known before any log is started.
    ("tracing_subscriber", &["observe/", "config/filter.rs"]),
    ("clap", &["main.rs", "cli.rs", "cli/"]),
    ("rustix", &["session/", "cli/"]),
    ("minijinja", &["endpoints/"]),
];

#[test]
fn imports_lead_downward_and_crates_stay_in_their_rooms() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&src, &mut files);
    assert!(files.len() > 10, "the sources were not found under {src:?}");
    let mut wrong = Vec::new();
    for file in &files {
        let name = file.strip_prefix(&src).unwrap().to_str().unwrap();
        wrong.extend(judge(name, &fs::read_to_string(file).unwrap()));
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// What is wrong with the imports of one file; `name` is its path below `src/`.
fn judge(name: &str, source: &str) -> Vec<String> {
    if name == "lib.rs" {
        return Vec::new(); // The map of the crate; it holds no code.
    }
    let room = name.split('/').next().unwrap_or(name).trim_end_matches(".rs");
    let code = without_comments(source);
    let mut wrong = Vec::new();
    if row(room).is_none() {
        wrong.push(format!("{name}: the room `{room}` has no row; give it one in {}", file!()));
    }
    for target in targets(name, &code) {
        if target != room && !may_import(room, &target) {
            wrong.push(format!("{name}: `{room}` may not import `{target}`"));
        }
    }
    for (krate, homes) in CRATES {
        if names(&code, krate) && !homes.iter().any(|home| name.starts_with(home)) {
            wrong.push(format!("{name}: `{krate}` belongs to {}", homes.join(", ")));
        }
    }
    wrong
}

fn row(room: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&room))
}

fn may_import(from: &str, to: &str) -> bool {
    match (row(from), row(to)) {
        (Some(above), Some(below)) => above < below || NEIGHBOURS.contains(&(from, to)),
        _ => false,
    }
}

/// The rooms that the code of a file names, by `crate::`, by a chain of `super::` that leads out of
/// its own room, or by the crate's name, as `main.rs` must.
fn targets(name: &str, code: &str) -> Vec<String> {
    let in_room = name.split('/').count() - usize::from(name.ends_with("/mod.rs"));
    let mut found = Vec::new();
    let root = if name == "main.rs" { "sallyport::" } else { "crate::" };
    for at in starts(code, root) {
        climb(&code[at + root.len()..], 0, 0, &mut found);
    }
    for at in starts(code, "super::") {
        // Each enclosing `mod x {` of the file itself is one more step to the crate's root.
        let enclosing = code[..at].lines().filter(|line| opens_module(line)).count();
        climb(&code[at..], 0, in_room + enclosing, &mut found);
    }
    found.sort();
    found.dedup();
    found
}

/// Follows a path, or each of a group in braces, up to the crate's root, `root` steps above, and
/// keeps the name that it goes on with there.
fn climb(path: &str, mut steps: usize, root: usize, found: &mut Vec<String>) {
    let mut rest = path.trim_start();
    while let Some(after) = rest.strip_prefix("super::") {
        (rest, steps) = (after.trim_start(), steps + 1);
    }
    if let Some(group) = rest.strip_prefix('{') {
        for member in members(group) {
            climb(member, steps, root, found);
        }
    } else if steps >= root {
        let end = rest.find(|character| !is_part_of_name(character)).unwrap_or(rest.len());
        found.push(rest[..end].to_owned());
    }
}

/// The members of a group whose opening brace has been read.
fn members(group: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let mut found = Vec::new();
    let mut start = 0;
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                found.push(group[start..at].trim());
                start = at + 1;
                if character == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    found.retain(|member| !member.is_empty());
    found
}

fn opens_module(line: &str) -> bool {
    let line = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
    line.starts_with("mod ") && line.trim_end().ends_with('{')
}

const fn is_part_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// Whether `code` names the crate, or the part of one.
fn names(code: &str, path: &str) -> bool {
    let named = |at: usize| {
        let after = &code[at + path.len()..];
        after.starts_with("::") || after.starts_with(';') || after.starts_with(" as ")
    };
    starts(code, path).any(named)
}

/// Where `word` stands in `code` as the beginning of a path.
fn starts<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(|at| {
        let before = &code[..*at];
        !before.ends_with(is_part_of_name) && !before.ends_with("::")
    })
}

/// The code without the lines that are comments, which may name what they like.
fn without_comments(source: &str) -> String {
    let lines = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn a_file_may_import_what_lies_below_it() {
    let source = "use crate::clock::Timestamp;\nuse crate::{config::Log, store::{Store, rows}};\n";
    assert!(judge("session/mod.rs", source).is_empty());
    assert!(judge("main.rs", "use sallyport::{cli, gateway};").is_empty());
    assert!(
        judge("observe/a.rs", "use super::b;\nmod tests {\nuse super::super::b;\n}").is_empty()
    );
    assert!(judge("store/sqlite/a.rs", "use super::super::rows;\nuse sqlx::Row;").is_empty());
    assert!(judge("token/a.rs", "// crate::store is not for us\nuse crate::token::b;").is_empty());
}

#[test]
fn each_way_to_climb_is_found() {
    for (name, source, says) in [
        ("token/a.rs", "use crate::store::Store;", "`token` may not import `store`"),
        ("token/a.rs", "fn f(s: &crate::session::S) {}", "may not import `session`"),
        ("token/a.rs", "use crate::{clock, access::{A, B}, id};", "may not import `access`"),
        ("token/a.rs", "use crate::{\n    clock,\n    listen,\n};", "may not import `listen`"),
        ("token/mod.rs", "use super::access;", "may not import `access`"),
        ("token/a.rs", "use super::super::access;", "may not import `access`"),
        ("token/a.rs", "use super::{super::access, b};", "may not import `access`"),
        ("upstream/a.rs", "use crate::endpoints;", "may not import `endpoints`"),
        ("clock.rs", "use crate::config;", "`clock` may not import `config`"),
        ("clock.rs", "use super::config;", "`clock` may not import `config`"),
        ("helpers/a.rs", "", "the room `helpers` has no row"),
        ("session/a.rs", "use sqlx::Row;", "`sqlx` belongs to store/"),
        ("session/a.rs", "let e = jsonwebtoken::encode();", "`jsonwebtoken` belongs to token/"),
        ("config/check.rs", "use toml::Spanned;", "`toml` belongs to config/file.rs, config/file/"),
        ("journey/a.rs", "use hyper::client::conn::http1;", "`hyper::client` belongs to upstream/"),
    ] {
        let wrong = judge(name, source);
        assert!(wrong.iter().any(|found| found.contains(says)), "{name}: {source}: {wrong:?}");
    }
}
