//! Walks a parsed file along the schema and tells all strange keys and wrong types at once, which a
//! deserialiser, stopping at the first, cannot. Strikes them out on the way, so that the rest can be
//! deserialised and checked, and notes which key stands on which line.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::mem;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::Template;
use super::blank::{blank, needed_keys};
use crate::config::Problem;

/// Which key stands on which line, and which were struck out.
pub(in crate::config) struct Lines {
    /// Offset of the first byte of each line after the first.
    starts: Vec<usize>,
    keys: HashMap<String, usize>,
    struck: HashSet<String>,
    /// All tables and lists that a struck key is in.
    around: HashSet<String>,
}

impl Lines {
    /// Of no key yet.
    pub(super) fn new(text: &str) -> Self {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        Self { starts, keys: HashMap::new(), struck: HashSet::new(), around: HashSet::new() }
    }

    /// The line of `key`, or of the nearest table around it that the file has.
    pub(in crate::config) fn of(&self, key: &str) -> Option<usize> {
        self_and_around(key).find_map(|key| self.keys.get(key)).copied()
    }

    /// Whether what is wrong with `key` may only follow from what was struck out: `key` itself,
    /// something around it or something in it.
    pub(in crate::config) fn doubts(&self, key: &str) -> bool {
        self.around.contains(key) || self_and_around(key).any(|key| self.struck.contains(key))
    }

    /// Notes that `key` in the table or list `at` is struck out.
    fn strike(&mut self, at: &str, key: &str) {
        self.struck.insert(key.to_owned());
        for place in self_and_around(at) {
            if !self.around.insert(place.to_owned()) {
                break;
            }
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

/// `listen.cores`, then `listen`.
fn self_and_around(key: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(key), |key| key.get(..key.rfind(['.', '['])?))
}

/// All that does not fit the schema. Afterwards `table` fits it.
pub(super) fn walk(schema: &Value, table: &mut DeTable<'_>, lines: &mut Lines) -> Vec<Problem> {
    let mut walk = Walk { root: schema, lines, problems: Vec::new(), astray: Vec::new() };
    walk.table(schema, table, "");
    for (section, key) in walk.astray {
        let path = join(section, &key);
        if !walk.lines.keys.contains_key(&path) {
            walk.lines.strike(section, &path);
        }
    }
    walk.problems
}

struct Walk<'a> {
    root: &'a Value,
    lines: &'a mut Lines,
    problems: Vec<Problem>,
    /// Keys that were found elsewhere than in their section, with its name.
    astray: Vec<(&'a str, String)>,
}

impl<'a> Walk<'a> {
    fn problem(&mut self, key: &str, text: String, hint: Option<String>) {
        let line = self.lines.of(key);
        self.problems.push(Problem { key: key.to_owned(), line, text, hint });
    }

    fn table(&mut self, schema: &Value, table: &mut DeTable<'_>, at: &str) {
        let mut unknown = Vec::new();
        for (key, mut value) in mem::take(table) {
            let path = join(at, key.get_ref());
            self.lines.keys.insert(path.clone(), self.lines.at(key.span().start));
            let Some(schema_of_key) = schema_of_key(schema, key.get_ref()) else {
                unknown.push(key);
                continue;
            };
            if self.value(schema_of_key, &mut value, &path) {
                table.insert(key, value);
            } else {
                self.blank(schema, key, table, at);
            }
        }
        for key in unknown {
            let path = join(at, key.get_ref());
            self.lines.strike(at, &path);
            let meant = nearest(key.get_ref(), known_keys(schema).into_iter());
            let hint = match meant {
                Some(meant) => Some(format!("did you mean {meant:?}?")),
                None => self.home_of_key(schema, key.get_ref(), at),
            };
            self.problem(&path, "unknown key".to_owned(), hint);
            if let Some(meant) = meant
                && !has(table, meant)
            {
                let key = Spanned::new(key.span(), meant.to_owned().into());
                self.blank(schema, key, table, at);
            }
        }
        for name in needed_keys(schema) {
            if !has(table, name) {
                self.problem(&join(at, name), "missing".to_owned(), None);
                self.blank(schema, Spanned::new(0..0, name.to_owned().into()), table, at);
            }
        }
    }

    /// Strikes out a known key: it is blank from here on, or has its default.
    fn blank<'i>(
        &mut self,
        schema: &Value,
        key: Spanned<DeString<'i>>,
        table: &mut DeTable<'i>,
        at: &str,
    ) {
        let name = key.get_ref().as_ref();
        self.lines.strike(at, &join(at, name));
        let needed = needed_keys(schema).any(|one| one == name);
        let schema = schema_of_key(schema, name);
        if let Some(value) = schema.and_then(|schema| blank(schema, needed)) {
            let value = Spanned::new(key.span(), value);
            table.insert(key, value);
        }
    }

    /// Whether `value` itself fits; what does not fit within a table or a list is struck out there.
    fn value(&mut self, schema: &Value, value: &mut Spanned<DeValue<'_>>, at: &str) -> bool {
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
            self.problem(at, text, None);
            return false;
        };
        if first.get("title").is_some_and(|title| title == Template::TITLE) {
            self.template(value, at);
            return true;
        }
        match value.get_mut() {
            DeValue::String(text) => self.choice(&fitting, text, at),
            DeValue::Integer(number) => {
                let read = i128::from_str_radix(number.as_str(), number.radix()).ok();
                self.range(first, read, at)
            }
            DeValue::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    let path = format!("{at}[{index}]");
                    let line = self.lines.at(item.span().start);
                    self.lines.keys.insert(path.clone(), line);
                    let Some(schema) = first.get("items") else { continue };
                    // It keeps its place: those behind it keep their numbers.
                    if !self.value(schema, item, &path)
                        && let Some(blank) = blank(schema, true)
                    {
                        self.lines.strike(at, &path);
                        *item.get_mut() = blank;
                    }
                }
                true
            }
            DeValue::Table(table) => {
                self.table(first, table, at);
                true
            }
            DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => true,
        }
    }

    /// JSON in TOML's clothes: anything that both have, in any order.
    fn template(&mut self, value: &mut Spanned<DeValue<'_>>, at: &str) {
        match value.get_mut() {
            DeValue::Table(table) => {
                for (key, value) in table.iter_mut() {
                    self.template(value, &join(at, key.get_ref()));
                }
            }
            DeValue::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.template(item, &format!("{at}[{index}]"));
                }
            }
            DeValue::Datetime(_) => {
                self.lines.keys.insert(at.to_owned(), self.lines.at(value.span().start));
                let hint = Some("write it as text, in quotes".to_owned());
                self.problem(at, "JSON has no dates".to_owned(), hint);
                *value.get_mut() = DeValue::String(DeString::default());
            }
            DeValue::Integer(number) => {
                let read = i64::from_str_radix(number.as_str(), number.radix());
                if read.is_err() {
                    self.lines.keys.insert(at.to_owned(), self.lines.at(value.span().start));
                    self.problem(at, "out of range".to_owned(), None);
                    *value.get_mut() = DeValue::Boolean(false);
                }
            }
            DeValue::String(_) | DeValue::Float(_) | DeValue::Boolean(_) => {}
        }
    }

    /// A string where only some words are meant.
    fn choice(&mut self, fitting: &[&Value], text: &DeString<'_>, at: &str) -> bool {
        let mut words = Vec::new();
        for branch in fitting {
            match allowed(branch) {
                Some(some) => words.extend(some),
                None => return true,
            }
        }
        if words.contains(&text.as_ref()) {
            return true;
        }
        let hint = did_you_mean(text, words.iter().copied());
        let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
        self.problem(at, format!("{text:?} is not one of {}", words.join(", ")), hint);
        false
    }

    fn range(&mut self, schema: &Value, number: Option<i128>, at: &str) -> bool {
        let bound = |name: &str| schema.get(name).and_then(Value::as_i64).map(i128::from);
        let least = bound("minimum");
        let most = bound("maximum").or(Some(i128::from(i64::MAX)));
        let fits = number.is_some_and(|number| {
            least.is_none_or(|least| least <= number) && most.is_none_or(|most| number <= most)
        });
        if fits {
            return true;
        }
        let mut text = "out of range".to_owned();
        if let (Some(least), Some(most)) = (least, bound("maximum")) {
            // Writing to a string cannot fail.
            let _ = write!(text, "; from {least} to {most}");
        } else if let Some(least) = least {
            let _ = write!(text, "; {least} or more");
        }
        self.problem(at, text, None);
        false
    }

    /// Where a key that is like none of its table's belongs.
    fn home_of_key(&mut self, schema: &Value, key: &str, at: &str) -> Option<String> {
        let root: &'a Value = self.root;
        let sections = root.get("properties")?.as_object()?;
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
            Some((name, _)) => {
                self.astray.push((name, key.to_owned()));
                Some(format!("it belongs into [{name}]"))
            }
            None => {
                let names = known_keys(schema);
                let place = if at.is_empty() { "the file" } else { at };
                Some(format!("{place} knows {}", names.join(", ")))
            }
        }
    }
}

/// The keys that a table may have; of one for any keys none.
fn known_keys(schema: &Value) -> Vec<&str> {
    let names = schema.get("propertyNames").and_then(|names| names.get("enum"));
    let names = names.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let keys = schema.get("properties").and_then(Value::as_object);
    keys.into_iter().flat_map(|keys| keys.keys().map(String::as_str)).chain(names).collect()
}

/// What a table's schema says of this key; `None`: it may not be there.
fn schema_of_key<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    if let Some(known) = schema.get("properties").and_then(|known| known.get(key)) {
        return Some(known);
    }
    let any = schema.get("additionalProperties").filter(|any| any.is_object())?;
    let named = schema.get("propertyNames").is_some();
    (!named || known_keys(schema).contains(&key)).then_some(any)
}

/// `did you mean "x"?`, for the nearest of `known` if it is near enough to be meant.
pub(in crate::config) fn did_you_mean<'a>(
    word: &str,
    known: impl Iterator<Item = &'a str>,
) -> Option<String> {
    nearest(word, known).map(|one| format!("did you mean {one:?}?"))
}

fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Two slips in a word of six letters, or a word that begins like a longer one.
    const NEAR: f64 = 0.84;
    let lower = word.to_ascii_lowercase().replace('-', "_");
    known
        .map(|one| (strsim::jaro_winkler(&lower, &one.to_ascii_lowercase()), one))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, one)| one)
}

fn has(table: &DeTable<'_>, name: &str) -> bool {
    table.keys().any(|key| key.get_ref().as_ref() == name)
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
