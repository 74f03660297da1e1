//! `docs/CONFIG.md` and `docs/gateway.schema.json`, made from the doc comments, defaults and bounds
//! in `file`; tests hold the committed files to them.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::file::{self, allowed, flatten, kinds};

/// What stands before the sections. Not said by any one key.
const OPENING: &str = "\
# The configuration: `gateway.toml`

Made from the doc comments in `src/config/file/`; do not edit. After a change there:
`SALLYPORT_BLESS=1 cargo test config`.

Every section and every key may be left out unless it is marked *needed*. A key that is not listed
here is an error, and so is a value of a wrong type or out of range; `sallyport check` tells all of
them at once, each with its line, and exits with 78.

- **duration**: text such as `\"30s\"`, `\"5m\"`, `\"12h\"`, `\"30d\"`, `\"1h 30m\"`. Time limits of connections and
  requests are looked at four times a second: they end up to half a second late, and never early.
- **size**: text such as `\"512B\"`, `\"64KiB\"`, `\"10MiB\"`, `\"1GiB\"`, or a plain number of bytes.
- **secret**: `{ file = \"PATH\" }` or `{ env = \"NAME\" }`: a file (one line end at its end does not
  count) or an environment variable, at most 64 KiB. Nothing else is read from the environment.
- **path of a file**: relative paths start at the folder of `gateway.toml` itself, so that every
  command finds the same data whatever folder it is called from.
";

/// The text of `docs/CONFIG.md`.
pub fn reference() -> String {
    let schema = file::schema();
    let mut text = OPENING.to_owned();
    for (name, section) in properties(&schema) {
        let many = section.get("items");
        let section = many.unwrap_or(section);
        let title = if many.is_some() { format!("[[{name}]]") } else { format!("[{name}]") };
        // Writing to a string cannot fail.
        let _ = write!(text, "\n## `{title}`\n\n{}\n\n", description(section));
        keys(section, 0, &mut text);
        for_each_name(section, 0, &mut text);
    }
    text
}

/// The text of `docs/gateway.schema.json`: for editors that complete and check TOML by a JSON
/// Schema.
pub fn schema_json() -> String {
    format!("{:#}\n", file::schema())
}

fn keys(schema: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    let needed: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    // Tables that several keys of a section have alike are listed with the first.
    let mut listed: Vec<(&Value, &str)> = Vec::new();
    for (name, key) in properties(schema) {
        let mut branches = Vec::new();
        flatten(key, &mut branches);
        let default = match (needed.contains(&name.as_str()), key.get("default")) {
            (true, _) => ", *needed*".to_owned(),
            (false, Some(default)) if tells(default, &branches) => {
                format!(", default `{}`", toml(default))
            }
            (false, _) => String::new(),
        };
        let kind = kind(&branches);
        let _ = writeln!(text, "{indent}- **`{name}`** ({kind}{default}): {}", description(key));
        for branch in branches {
            choices(branch, depth + 1, text);
            // Secrets are the same everywhere, and explained at the top.
            if is_secret(branch) {
                continue;
            }
            let table = branch.get("items").unwrap_or(branch);
            let Some(inner) = table.get("properties") else { continue };
            match listed.iter().find(|(earlier, _)| *earlier == inner) {
                Some((_, earlier)) => {
                    let _ = writeln!(text, "{indent}  - the same keys as **`{earlier}`**");
                }
                None => {
                    listed.push((inner, name));
                    keys(table, depth + 1, text);
                }
            }
            for_each_name(branch, depth + 1, text);
        }
    }
}

/// The keys of the tables that stand under names: one list for all of them.
fn for_each_name(schema: &Value, depth: usize, text: &mut String) {
    let any = schema.get("additionalProperties").filter(|any| any.get("properties").is_some());
    let Some(any) = any else { return };
    let indent = "  ".repeat(depth);
    let names = schema.get("propertyNames").and_then(allowed).unwrap_or_default().join("`, `");
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{indent}- **`NAME`** (table): one of `{names}`.");
    keys(any, depth + 1, text);
}

/// Each word that a key may be, if it is one of some, with its meaning.
fn choices(branch: &Value, depth: usize, text: &mut String) {
    let Some(meaning) = branch.get("description").and_then(Value::as_str) else { return };
    if branch.get("const").is_none() {
        return;
    }
    let indent = "  ".repeat(depth);
    for word in allowed(branch).into_iter().flatten() {
        let _ = writeln!(text, "{indent}- `\"{word}\"`: {meaning}");
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

/// As one paragraph.
fn description(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_secret(branch: &Value) -> bool {
    properties(branch).map(|(name, _)| name.as_str()).eq(["file", "env"])
}

/// A default that says something: not a table whose keys have defaults of their own.
fn tells(default: &Value, branches: &[&Value]) -> bool {
    let mut keys = branches.iter().flat_map(|branch| properties(branch));
    let Some(object) = default.as_object() else { return true };
    !object.is_empty() && keys.all(|(_, key)| key.get("default").is_none())
}

fn kind(branches: &[&Value]) -> String {
    let mut words: Vec<&str> = Vec::new();
    for branch in branches {
        let title = branch.get("title").and_then(Value::as_str);
        let many = branch.get("items").is_some();
        let word = match (title, kinds(branch).next()) {
            (Some(title), _) => title,
            (None, _) if is_secret(branch) => "secret",
            (None, Some("string")) if allowed(branch).is_some() => "word",
            (None, Some("string")) => "text",
            (None, Some("integer")) => "number",
            (None, Some("boolean")) => "`true` or `false`",
            (None, _) if many => "list",
            (None, _) => "table",
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words.join(" or ")
}

/// As it is written in the file.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(object) => {
            let pairs: Vec<String> =
                object.iter().map(|(key, value)| format!("{key} = {}", toml(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}
