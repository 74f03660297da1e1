//! The extremes of every number, length of time and size: they are in the schema, the reference
//! names them, and it is they that are checked.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::config::{Config, file};

/// Bounded by other keys, or by nothing.
const WITHOUT: [&str; 5] = [
    "token.minted.max_ttl",
    "session.idle_ttl",
    "session.reuse_grace",
    "limits.body_bytes",
    "route[0].body_bytes",
];

/// A key with its place in the file.
struct Key {
    path: String,
    schema: Value,
}

/// Every key that holds a number, a length of time or a size.
fn measured() -> Vec<Key> {
    let mut found = Vec::new();
    collect(&file::schema(), "", &mut found);
    assert!(found.len() > 50, "only {} were found", found.len());
    found
}

fn collect(schema: &Value, at: &str, found: &mut Vec<Key>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    for (name, key) in properties {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        let mut branches = Vec::new();
        file::flatten(key, &mut branches);
        for branch in branches {
            let title = branch.get("title").and_then(Value::as_str);
            let number = branch.get("type").is_some_and(|kind| kind == "integer");
            // A status: which there are is said in words.
            let status = branch.get("format").is_some_and(|format| format == "uint16");
            if (number && !status) || matches!(title, Some("duration" | "size")) {
                // Of an optional key the extremes stand beside its branches.
                let mut schema = branch.clone();
                for (name, value) in key.as_object().into_iter().flatten() {
                    schema.as_object_mut().unwrap().entry(name).or_insert(value.clone());
                }
                found.push(Key { path: path.clone(), schema });
            }
            match branch.get("items") {
                Some(items) => collect(items, &format!("{path}[0]"), found),
                None => collect(branch, &path, found),
            }
        }
    }
}

impl Key {
    fn is_measure(&self) -> bool {
        self.schema.get("title").is_some_and(|title| title == "duration" || title == "size")
    }

    /// Least and most, as they are written.
    fn bounds(&self) -> (Option<Value>, Option<Value>) {
        let names = match self.is_measure() {
            true => ["x-minimum", "x-maximum"],
            false => ["minimum", "maximum"],
        };
        let [least, most] = names.map(|name| self.schema.get(name).cloned());
        (least, most)
    }

    /// What is `by` of the smallest unit beyond `bound`; `None` below nothing.
    fn beyond(&self, bound: &Value, by: i64) -> Option<Value> {
        let moved = |number: i64| number.checked_add(by).filter(|moved| *moved >= 0);
        match self.schema.get("title").and_then(Value::as_str) {
            Some("duration") => {
                let period = humantime::parse_duration(bound.as_str()?).unwrap();
                let millis = i64::try_from(period.as_millis()).unwrap();
                moved(millis).map(|millis| format!("{millis}ms").into())
            }
            Some("size") => {
                let bytes = file::Size::new(bound.as_str()?).read().unwrap();
                moved(i64::try_from(bytes).unwrap()).map(Value::from)
            }
            _ => moved(bound.as_i64()?).map(Value::from),
        }
    }
}

/// What is told of `path` when it is `value`, but for what rests on other keys.
fn told(schema: &Value, path: &str, value: &Value) -> Vec<String> {
    let mut config = json!({
        "listen": { "dev_http": "127.0.0.1:9154" },
        "upstream": [{ "name": "app", "servers": ["demo"] }],
        "route": [{ "path": "/**" }],
    });
    put(&mut config, schema, path, value);
    let lines = config.as_object().unwrap().iter();
    let text: String = lines.map(|(key, value)| format!("{key} = {}\n", toml(value))).collect();
    match Config::parse(&text, Path::new("gateway.toml")) {
        Ok(_) => Vec::new(),
        Err(error) => {
            let of_it = error.problems().iter().filter(|problem| problem.key == path);
            of_it
                .map(|problem| problem.text.clone())
                .filter(|text| !text.contains("session."))
                .collect()
        }
    }
}

/// Sets the key, and what its tables need besides.
fn put(table: &mut Value, schema: &Value, path: &str, value: &Value) {
    let (name, rest) = match path.split_once('.') {
        Some((name, rest)) => (name, Some(rest)),
        None => (path, None),
    };
    let (name, listed) = match name.strip_suffix("[0]") {
        Some(name) => (name, true),
        None => (name, false),
    };
    let Some(rest) = rest else {
        table[name] = value.clone();
        return;
    };
    let mut branches = Vec::new();
    file::flatten(&schema["properties"][name], &mut branches);
    let next = rest.split(['.', '[']).next().unwrap();
    let inner = branches
        .into_iter()
        .map(|branch| if listed { &branch["items"] } else { branch })
        .find(|branch| branch["properties"].get(next).is_some())
        .unwrap();
    if table.get(name).is_none() {
        let mut new = Map::new();
        for needed in inner["required"].as_array().into_iter().flatten() {
            let needed = needed.as_str().unwrap();
            let schema = &inner["properties"][needed];
            let filled = match (schema["title"].as_str(), schema["type"].as_str()) {
                (Some("duration"), _) => json!("1m"),
                (_, Some("integer")) => json!(1),
                (_, Some("array")) => json!(["https://a.example.test"]),
                _ => json!("x"),
            };
            new.insert(needed.to_owned(), filled);
        }
        table[name] = if listed { json!([new]) } else { json!(new) };
    }
    let place = if listed { &mut table[name][0] } else { &mut table[name] };
    put(place, inner, rest, value);
}

/// As one line of TOML.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        Value::Object(table) => {
            let pairs = table.iter().map(|(key, value)| format!("{key} = {}", toml(value)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        plain => plain.to_string(),
    }
}

#[test]
fn the_extremes_are_in_the_schema_and_in_the_words_of_the_reference() {
    let mut wrong = Vec::new();
    for key in measured() {
        if WITHOUT.contains(&key.path.as_str()) {
            continue;
        }
        let (Some(least), Some(most)) = key.bounds() else {
            wrong.push(format!("{}: no least or no most in the schema", key.path));
            continue;
        };
        let text = key.schema["description"].as_str().unwrap_or_default();
        for bound in [least, most] {
            let nothing = bound == 0 || bound == "0s";
            // What rests on another key names that key.
            let relative = key.path == "session.refresh_ttl" && bound == "1s";
            if !nothing && !relative && !text.contains(&bound.to_string()) {
                wrong.push(format!("{}: {bound} is not in its words: {text}", key.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_extremes_are_those_that_are_checked() {
    let schema = file::schema();
    let mut wrong = Vec::new();
    for key in measured() {
        if WITHOUT.contains(&key.path.as_str()) {
            continue;
        }
        let (Some(least), Some(most)) = key.bounds() else { continue };
        for bound in [&least, &most] {
            let told = told(&schema, &key.path, bound);
            if !told.is_empty() {
                wrong.push(format!("{} = {bound} is refused: {told:?}", key.path));
            }
        }
        for beyond in [key.beyond(&least, -1), key.beyond(&most, 1)].into_iter().flatten() {
            if told(&schema, &key.path, &beyond).is_empty() {
                wrong.push(format!("{} = {beyond} is taken", key.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
