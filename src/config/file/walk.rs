//! Walks a parsed file along the schema and tells all strange keys and wrong types at once, which a
//! deserialiser, stopping at the first, cannot. Notes on the way which key stands on which line.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::config::Problem;

/// Which key stands on which line.
pub(in crate::config) struct Lines {
    /// Offset of the first byte of each line after the first.
    starts: Vec<usize>,
    keys: HashMap<String, usize>,
}

impl Lines {
    /// Of no key yet.
    pub(super) fn new(text: &str) -> Self {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        Self { starts, keys: HashMap::new() }
    }

    /// The line of `key`, or of the nearest table around it that the file has.
    pub(in crate::config) fn of(&self, key: &str) -> Option<usize> {
        let mut key = key;
        loop {
            if let Some(line) = self.keys.get(key) {
                return Some(*line);
            }
            key = key.get(..key.rfind(['.', '['])?)?;
        }
    }

    pub(super) fn toml_error(&self, error: &toml::de::Error) -> Problem {
        Problem {
            key: String::new(),
            line: error.span().map(|span| self.at(span.start)),
            text: error.message().replace('\n', ", "),
            hint: None,
        }
    }

    fn at(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset) + 1
    }
}

/// All that does not fit the schema, in the order of the file.
pub(super) fn walk(
    schema: &Value,
    table: &Spanned<DeTable<'_>>,
    lines: &mut Lines,
) -> Vec<Problem> {
    let mut walk = Walk { root: schema, lines, problems: Vec::new() };
    walk.table(schema, table.get_ref(), "");
    let mut problems = walk.problems;
    problems.sort_by_key(|problem| problem.line);
    problems
}

struct Walk<'a> {
    root: &'a Value,
    lines: &'a mut Lines,
    problems: Vec<Problem>,
}

impl Walk<'_> {
    fn problem(&mut self, key: &str, text: String, hint: Option<String>) {
        let line = self.lines.of(key);
        self.problems.push(Problem { key: key.to_owned(), line, text, hint });
    }

    fn table(&mut self, schema: &Value, table: &DeTable<'_>, at: &str) {
        let known = schema.get("properties").and_then(Value::as_object);
        for (key, value) in table {
            let path = join(at, key.get_ref());
            self.lines.keys.insert(path.clone(), self.lines.at(key.span().start));
            match known.and_then(|known| known.get(key.get_ref().as_ref())) {
                Some(schema) => self.value(schema, value, &path),
                None => {
                    let hint = self.hint_for_key(schema, key.get_ref(), at);
                    self.problem(&path, "unknown key".to_owned(), hint);
                }
            }
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str) {
            if !table.keys().any(|key| key.get_ref().as_ref() == name) {
                self.problem(&join(at, name), "missing".to_owned(), None);
            }
        }
    }

    fn value(&mut self, schema: &Value, value: &Spanned<DeValue<'_>>, at: &str) {
        let kind = kind(value.get_ref());
        let mut branches = Vec::new();
        flatten(schema, &mut branches);
        let fitting: Vec<&Value> = branches
            .iter()
            .copied()
            .filter(|branch| kinds(branch).any(|one| one == kind))
            .collect();
        let Some(first) = fitting.first() else {
            let text = format!("expected {}, found {}", expected(&branches), in_words(kind));
            return self.problem(at, text, None);
        };
        match value.get_ref() {
            DeValue::String(text) => self.choice(&fitting, text, at),
            DeValue::Integer(number) => {
                let read = i128::from_str_radix(number.as_str(), number.radix()).ok();
                self.range(first, read, at);
            }
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{at}[{index}]");
                    let line = self.lines.at(item.span().start);
                    self.lines.keys.insert(path.clone(), line);
                    if let Some(schema) = first.get("items") {
                        self.value(schema, item, &path);
                    }
                }
            }
            DeValue::Table(table) => self.table(first, table, at),
            DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
        }
    }

    /// A string where only some words are meant.
    fn choice(&mut self, fitting: &[&Value], text: &DeString<'_>, at: &str) {
        let mut words = Vec::new();
        for branch in fitting {
            match allowed(branch) {
                Some(some) => words.extend(some),
                None => return,
            }
        }
        if words.contains(&text.as_ref()) {
            return;
        }
        let hint = did_you_mean(text, words.iter().copied());
        let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
        self.problem(at, format!("{text:?} is not one of {}", words.join(", ")), hint);
    }

    fn range(&mut self, schema: &Value, number: Option<i128>, at: &str) {
        let bound = |name: &str| schema.get(name).and_then(Value::as_i64).map(i128::from);
        let least = bound("minimum");
        let most = bound("maximum").or(Some(i128::from(i64::MAX)));
        let fits = number.is_some_and(|number| {
            least.is_none_or(|least| least <= number) && most.is_none_or(|most| number <= most)
        });
        if fits {
            return;
        }
        let mut text = "out of range".to_owned();
        if let (Some(least), Some(most)) = (least, bound("maximum")) {
            // Writing to a string cannot fail.
            let _ = write!(text, "; from {least} to {most}");
        } else if let Some(least) = least {
            let _ = write!(text, "; {least} or more");
        }
        self.problem(at, text, None);
    }

    fn hint_for_key(&self, schema: &Value, key: &str, at: &str) -> Option<String> {
        let known = schema.get("properties")?.as_object()?;
        if let Some(hint) = did_you_mean(key, known.keys().map(String::as_str)) {
            return Some(hint);
        }
        // The right key in the wrong place.
        let sections = self.root.get("properties")?.as_object()?;
        let home = sections.iter().find(|(_, section)| {
            let mut branches = Vec::new();
            flatten(section.get("items").unwrap_or(section), &mut branches);
            branches.iter().any(|branch| {
                branch.get("properties").is_some_and(|known| known.get(key).is_some())
            })
        });
        match home {
            Some((name, section)) if section.get("items").is_some() => {
                Some(format!("it belongs into [[{name}]]"))
            }
            Some((name, _)) => Some(format!("it belongs into [{name}]")),
            None => {
                let names: Vec<&str> = known.keys().map(String::as_str).collect();
                let place = if at.is_empty() { "the file" } else { at };
                Some(format!("{place} knows {}", names.join(", ")))
            }
        }
    }
}

/// `did you mean "x"?`, for the nearest of `known` if it is near enough to be meant.
pub(in crate::config) fn did_you_mean<'a>(
    word: &str,
    known: impl Iterator<Item = &'a str>,
) -> Option<String> {
    // Two slips in a word of six letters, or a word that begins like a longer one.
    const NEAR: f64 = 0.84;
    let lower = word.to_ascii_lowercase().replace('-', "_");
    known
        .map(|one| (strsim::jaro_winkler(&lower, &one.to_ascii_lowercase()), one))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, one)| format!("did you mean {one:?}?"))
}

fn join(at: &str, key: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let key =
        if !key.is_empty() && key.bytes().all(bare) { key.to_owned() } else { format!("{key:?}") };
    if at.is_empty() { key } else { format!("{at}.{key}") }
}

/// The alternatives of a schema; one if it has none.
pub(in crate::config) fn flatten<'a>(schema: &'a Value, into: &mut Vec<&'a Value>) {
    let branches = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array);
    match branches {
        Some(branches) => branches.iter().for_each(|branch| flatten(branch, into)),
        None => into.push(schema),
    }
}

/// The words that a string may be; `None`: any.
pub(in crate::config) fn allowed(schema: &Value) -> Option<Vec<&str>> {
    match (schema.get("const"), schema.get("enum").and_then(Value::as_array)) {
        (Some(word), _) => Some(word.as_str().into_iter().collect()),
        (None, Some(words)) => Some(words.iter().filter_map(Value::as_str).collect()),
        (None, None) => None,
    }
}

/// The types that a schema without alternatives allows, in JSON's words.
pub(in crate::config) fn kinds(schema: &Value) -> impl Iterator<Item = &str> {
    let (one, many) = match schema.get("type") {
        Some(Value::Array(kinds)) => (None, kinds.as_slice()),
        one => (one, [].as_slice()),
    };
    one.into_iter().chain(many).filter_map(Value::as_str)
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "string",
        DeValue::Integer(_) => "integer",
        DeValue::Float(_) => "number",
        DeValue::Boolean(_) => "boolean",
        DeValue::Datetime(_) => "datetime",
        DeValue::Array(_) => "array",
        DeValue::Table(_) => "object",
    }
}

fn in_words(kind: &str) -> &'static str {
    match kind {
        "string" => "a string",
        "integer" => "a whole number",
        "number" => "a fraction",
        "boolean" => "true or false",
        "datetime" => "a date",
        "array" => "a list",
        _ => "a table",
    }
}

fn expected(branches: &[&Value]) -> String {
    let mut words: Vec<&str> = Vec::new();
    for branch in branches {
        match branch.get("title").and_then(Value::as_str) {
            Some("duration") => words.push("a duration such as \"5m\""),
            Some("size") => words.push("a size such as \"64KiB\""),
            _ => words.extend(kinds(branch).map(in_words)),
        }
    }
    words.dedup();
    words.join(" or ")
}
