//! Templates of answers: JSON or text with named values in it, read once and then only filled in.
//!
//! A text that is nothing but `$name` becomes that value with the type it has; within a longer text
//! it is written out. `$$` is a dollar. A key whose value is a name that has no value this time is
//! left out.

use std::fmt::Write as _;

use serde_json::Value;

/// A template, read.
#[derive(Debug, Clone, PartialEq)]
pub enum Template {
    /// What stands there, already as JSON.
    Fixed(String),
    /// The value of that name.
    Named(String),
    /// Text with values in it.
    Text(Vec<Piece>),
    /// A list.
    List(Vec<Self>),
    /// An object; the keys keep their order.
    Table(Vec<(String, Self)>),
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// What stands there.
    Fixed(String),
    /// The value of that name.
    Named(String),
}

/// The values that a template is filled with.
pub struct Values<'a> {
    /// An object; a dot in a name leads into an object within it.
    pub named: &'a Value,
    /// The present moment in Unix seconds, for times that are told as what is left.
    pub now: i64,
}

/// What a template comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filled {
    /// A JSON text.
    Json(String),
    /// A plain text.
    Text(String),
}

/// What follows a time's name to have it in another form.
const FORMS: [&str; 3] = ["_ms", "_in", "_iso"];

/// The name of the time of which `name` is another form: `expires_at` for `expires_at_ms`.
pub(super) fn plain_time(name: &str) -> Option<&str> {
    let plain = FORMS.iter().find_map(|form| name.strip_suffix(form))?;
    plain.ends_with("_at").then_some(plain)
}

impl Template {
    /// Reads what stands in the config.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn read(value: &Value) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => Self::text(text)?,
            Value::Array(items) => {
                Self::List(items.iter().map(Self::read).collect::<Result<_, _>>()?)
            }
            Value::Object(keys) => {
                let read = |(key, value): (&String, &Value)| Ok((key.clone(), Self::read(value)?));
                Self::Table(keys.iter().map(read).collect::<Result<_, String>>()?)
            }
            Value::Null => return Err("a number that JSON does not have".to_owned()),
            Value::Bool(_) | Value::Number(_) => Self::Fixed(value.to_string()),
        })
    }

    /// Reads a text.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn text(text: &str) -> Result<Self, String> {
        let pieces = pieces(text)?;
        Ok(match pieces.as_slice() {
            [] => Self::Text(Vec::new()),
            [Piece::Named(name)] => Self::Named(name.clone()),
            _ => Self::Text(pieces),
        })
    }

    /// All names in it.
    pub(super) fn names<'a>(&'a self, found: &mut Vec<&'a str>) {
        match self {
            Self::Fixed(_) => {}
            Self::Named(name) => found.push(name),
            Self::Text(pieces) => found.extend(pieces.iter().filter_map(|piece| match piece {
                Piece::Named(name) => Some(name.as_str()),
                Piece::Fixed(_) => None,
            })),
            Self::List(items) => items.iter().for_each(|item| item.names(found)),
            Self::Table(keys) => keys.iter().for_each(|(_, value)| value.names(found)),
        }
    }

    /// As a body: a text at the top is plain text, all else is JSON.
    pub fn fill(&self, values: &Values<'_>) -> Filled {
        match self {
            Self::Named(name) => match values.get(name) {
                Some(json @ (Value::Object(_) | Value::Array(_))) => Filled::Json(json.to_string()),
                other => Filled::Text(in_words(other.as_ref())),
            },
            Self::Text(_) => Filled::Text(self.line(values)),
            Self::Fixed(_) | Self::List(_) | Self::Table(_) => {
                let mut json = String::new();
                self.write(values, &mut json);
                Filled::Json(json)
            }
        }
    }

    /// As one text.
    pub fn line(&self, values: &Values<'_>) -> String {
        match self {
            Self::Named(name) => in_words(values.get(name).as_ref()),
            Self::Text(pieces) => {
                let mut text = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Fixed(fixed) => text.push_str(fixed),
                        Piece::Named(name) => text.push_str(&in_words(values.get(name).as_ref())),
                    }
                }
                text
            }
            Self::Fixed(_) | Self::List(_) | Self::Table(_) => {
                let mut json = String::new();
                self.write(values, &mut json);
                json
            }
        }
    }

    fn write(&self, values: &Values<'_>, json: &mut String) {
        // Writing to a string cannot fail.
        match self {
            Self::Fixed(fixed) => json.push_str(fixed),
            Self::Named(name) => {
                let _ = write!(json, "{}", values.get(name).unwrap_or(Value::Null));
            }
            Self::Text(_) => {
                let _ = write!(json, "{}", Value::from(self.line(values)));
            }
            Self::List(items) => {
                json.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        json.push(',');
                    }
                    item.write(values, json);
                }
                json.push(']');
            }
            Self::Table(keys) => {
                json.push('{');
                let mut first = true;
                for (key, value) in keys {
                    if let Self::Named(name) = value
                        && values.get(name).is_none()
                    {
                        continue;
                    }
                    if !std::mem::take(&mut first) {
                        json.push(',');
                    }
                    let _ = write!(json, "{}:", Value::from(key.as_str()));
                    value.write(values, json);
                }
                json.push('}');
            }
        }
    }
}

impl Values<'_> {
    fn get(&self, name: &str) -> Option<Value> {
        if let Some(value) = self.plain(name) {
            return Some(value.clone());
        }
        let time = plain_time(name)?;
        let seconds = self.plain(time)?.as_i64()?;
        let form = name.strip_prefix(time)?;
        Some(match form {
            "_ms" => seconds.saturating_mul(1000).into(),
            "_in" => seconds.saturating_sub(self.now).max(0).into(),
            _ => iso(seconds)?.into(),
        })
    }

    fn plain(&self, name: &str) -> Option<&Value> {
        name.split('.').try_fold(self.named, |value, key| value.get(key))
    }
}

/// RFC 3339, in UTC.
fn iso(seconds: i64) -> Option<String> {
    let time = time::OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    time.format(&time::format_description::well_known::Rfc3339).ok()
}

fn in_words(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut fixed = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('$') {
        fixed.push_str(before);
        if let Some(behind) = behind.strip_prefix('$') {
            fixed.push('$');
            rest = behind;
            continue;
        }
        let name = name_at(behind);
        if name.is_empty() {
            return Err(format!("{text:?}: $ begins a name; write $$ for a dollar"));
        }
        if !fixed.is_empty() {
            pieces.push(Piece::Fixed(std::mem::take(&mut fixed)));
        }
        pieces.push(Piece::Named(name.to_owned()));
        rest = behind.strip_prefix(name).unwrap_or_default();
    }
    fixed.push_str(rest);
    if !fixed.is_empty() {
        pieces.push(Piece::Fixed(fixed));
    }
    Ok(pieces)
}

/// The name at the beginning: letters, digits and `_`, with dots within.
fn name_at(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.');
    let name = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
    // A full stop behind a name ends the sentence.
    name.trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn fill(template: &Template, named: &Value) -> Filled {
        template.fill(&Values { named, now: 1000 })
    }

    fn text(text: &str) -> Template {
        Template::text(text).unwrap()
    }

    #[test]
    fn a_name_alone_keeps_its_type_and_within_a_text_it_is_written_out() {
        let named = json!({ "count": 5, "user": { "id": "u1" }, "roles": ["a"] });
        let table = Template::Table(vec![
            ("n".to_owned(), text("$count")),
            ("id".to_owned(), text("$user.id")),
            ("said".to_owned(), text("$count of $$5 for $user.id.")),
            ("roles".to_owned(), Template::List(vec![text("$roles"), text("x")])),
        ]);
        let json = r#"{"n":5,"id":"u1","said":"5 of $5 for u1.","roles":[["a"],"x"]}"#;
        assert_eq!(fill(&table, &named), Filled::Json(json.to_owned()));
        assert_eq!(fill(&text("$user.id"), &named), Filled::Text("u1".to_owned()));
    }

    #[test]
    fn what_has_no_value_is_left_out_and_null_is_not() {
        let table = Template::Table(vec![
            ("a".to_owned(), text("$absent")),
            ("b".to_owned(), text("$null")),
            ("c".to_owned(), text("[$absent]")),
        ]);
        let json = r#"{"b":null,"c":"[]"}"#;
        assert_eq!(fill(&table, &json!({ "null": null })), Filled::Json(json.to_owned()));
    }

    #[test]
    fn a_time_has_other_forms() {
        let named = json!({ "expires_at": 1060 });
        let filled = |name: &str| fill(&text(name), &named);
        assert_eq!(filled("$expires_at_ms"), Filled::Text("1060000".to_owned()));
        assert_eq!(filled("$expires_at_in"), Filled::Text("60".to_owned()));
        assert_eq!(filled("$expires_at_iso"), Filled::Text("1970-01-01T00:17:40Z".to_owned()));
        assert_eq!(filled("$expires_at_x"), Filled::Text(String::new()));
    }

    #[test]
    fn a_dollar_that_begins_no_name_is_refused() {
        for wrong in ["$", "a $ b", "$-", "$$$"] {
            assert!(Template::text(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_values_a_table_stays_json_with_just_its_keys(value: String, key: String) {
            let table = Template::Table(vec![
                (key.clone(), text("$value")),
                (format!("{key}2"), text("<$value>")),
            ]);
            let named = json!({ "value": value.as_str() });
            let Filled::Json(json) = fill(&table, &named) else { panic!("no JSON") };
            let read: Value = serde_json::from_str(&json).unwrap();
            let expected = json!({ key.clone(): value, format!("{key}2"): format!("<{value}>") });
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn whatever_is_written_is_read_or_refused(text in "\\PC{0,40}") {
            let read = Template::text(&text);
            prop_assert!(read.is_ok() || text.contains('$'));
        }
    }
}
