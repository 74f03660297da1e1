//! Bodies of our own endpoints: a JSON object or an HTML form, flat, small, read strictly.

use std::fmt;
use std::sync::Arc;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use percent_encoding::percent_decode;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::config::FieldNames;
use crate::secret::Secret;

/// Most fields of a body, unless said otherwise.
pub const MAX_FIELDS: usize = 32;

/// Why a body says nothing. The client is at fault, always.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Neither JSON nor a form, or compressed, or not UTF-8 by its own word.
    #[error("the body must be application/json or application/x-www-form-urlencoded, in UTF-8")]
    MediaType,
    /// Broken JSON, a broken escape, or bytes that are not UTF-8.
    #[error("the body cannot be read")]
    Malformed,
    /// JSON, but no object.
    #[error("the body must be a JSON object")]
    NotAnObject,
    /// A field that comes twice: whichever is taken, somebody may have taken the other.
    #[error("a field comes twice")]
    Repeated,
    /// More fields than allowed.
    #[error("the body has too many fields")]
    TooManyFields,
    /// A field of the wrong type. Named only when it is one that was asked for.
    #[error("field `{0}` has the wrong type")]
    WrongType(String),
    /// An object or a list where a plain value belongs.
    #[error("a field holds an object or a list")]
    Nested,
    /// A field that must be there is not.
    #[error("field `{0}` is missing")]
    Missing(String),
    /// A field that the endpoint does not know, on a site that refuses such.
    #[error("the body has an unknown field")]
    Unknown,
}

/// The fields of a body. What they hold is never printed: passwords are among it. They are asked for
/// by our names, whatever a site calls them, and errors speak of them by the site's.
#[derive(Default)]
pub struct Fields {
    sent: Vec<(String, Value)>,
    names: Arc<FieldNames>,
}

enum Value {
    Text(Secret<String>),
    /// Text of a form, where everything is text.
    FormText(Secret<String>),
    Flag(bool),
    Number(serde_json::Number),
    Null,
}

/// The request's one `Content-Type`.
///
/// # Errors
/// [`BodyError::MediaType`] when it comes twice, or when the body is compressed.
pub fn content_type(headers: &HeaderMap) -> Result<Option<&HeaderValue>, BodyError> {
    let coded = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (one, None) if !coded => Ok(one),
        _ => Err(BodyError::MediaType),
    }
}

/// Reads a body of at most `max_fields` fields. No body is one without fields.
///
/// # Errors
/// See [`BodyError`].
pub fn read(
    content_type: Option<&HeaderValue>,
    body: &[u8],
    max_fields: usize,
) -> Result<Fields, BodyError> {
    let kind = match content_type {
        None if body.is_empty() => return Ok(Fields::default()),
        None => return Err(BodyError::MediaType),
        Some(value) => media_type(value).ok_or(BodyError::MediaType)?,
    };
    if body.is_empty() {
        return Ok(Fields::default());
    }
    match kind {
        MediaType::Json => read_json(body, max_fields),
        MediaType::Form => read_form(body, max_fields),
    }
}

impl Fields {
    /// The same fields on a site that has its own names for them.
    ///
    /// # Errors
    /// [`BodyError::Repeated`] when one comes under two names, [`BodyError::Unknown`] when the site
    /// refuses what it does not know.
    pub fn named(self, names: Arc<FieldNames>) -> Result<Self, BodyError> {
        if names.refuse_unknown && !self.sent.iter().all(|(name, _)| names.knows(name)) {
            return Err(BodyError::Unknown);
        }
        let sent = |name: &String| self.sent.iter().any(|(sent, _)| sent == name);
        if names.sets().any(|set| set.iter().filter(|name| sent(name)).count() > 1) {
            return Err(BodyError::Repeated);
        }
        Ok(Self { names, ..self })
    }

    /// The complaint that field `name` is missing.
    pub fn missing(&self, name: &str) -> BodyError {
        BodyError::Missing(self.names.first(name).to_owned())
    }

    /// The text of field `name`; `None` when it is absent or `null`.
    ///
    /// # Errors
    /// [`BodyError::WrongType`] when it is no text.
    pub fn text(&self, name: &str) -> Result<Option<&str>, BodyError> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Text(text) | Value::FormText(text)) => Ok(Some(text.expose())),
            Some(Value::Flag(_) | Value::Number(_)) => Err(self.wrong_type(name)),
        }
    }

    /// The text of field `name`, which must be there.
    ///
    /// # Errors
    /// [`BodyError::Missing`] and [`BodyError::WrongType`].
    pub fn required_text(&self, name: &str) -> Result<&str, BodyError> {
        self.text(name)?.ok_or_else(|| self.missing(name))
    }

    /// The flag `name`; `None` when it is absent or `null`. In a form, `true`, `on` (a ticked box)
    /// and `1` are true; `false`, `off`, `0` and nothing are false.
    ///
    /// # Errors
    /// [`BodyError::WrongType`] when it is no flag.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, BodyError> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Flag(flag)) => Ok(Some(*flag)),
            Some(Value::FormText(text)) => match text.expose().as_str() {
                "true" | "on" | "1" => Ok(Some(true)),
                "false" | "off" | "0" | "" => Ok(Some(false)),
                _ => Err(self.wrong_type(name)),
            },
            Some(Value::Text(_) | Value::Number(_)) => Err(self.wrong_type(name)),
        }
    }

    /// The whole number `name`, not negative; `None` when it is absent or `null`.
    ///
    /// # Errors
    /// [`BodyError::WrongType`] when it is anything else.
    pub fn number(&self, name: &str) -> Result<Option<u64>, BodyError> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(number)) => {
                number.as_u64().map(Some).ok_or_else(|| self.wrong_type(name))
            }
            Some(Value::FormText(text)) => {
                let digits = text.expose();
                let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
                let number = digits.parse().ok().filter(|_| plain);
                number.map(Some).ok_or_else(|| self.wrong_type(name))
            }
            Some(Value::Text(_) | Value::Flag(_)) => Err(self.wrong_type(name)),
        }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.names.of(name).find_map(|theirs| self.sent(theirs))
    }

    fn sent(&self, theirs: &str) -> Option<&Value> {
        self.sent.iter().find_map(|(key, value)| (key == theirs).then_some(value))
    }

    fn wrong_type(&self, name: &str) -> BodyError {
        BodyError::WrongType(self.names.first(name).to_owned())
    }

    fn add(&mut self, name: String, value: Value, max_fields: usize) -> Result<(), BodyError> {
        if self.sent.len() >= max_fields {
            return Err(BodyError::TooManyFields);
        }
        if self.sent(&name).is_some() {
            return Err(BodyError::Repeated);
        }
        self.sent.push((name, value));
        Ok(())
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fields({})", self.sent.len())
    }
}

enum MediaType {
    Json,
    Form,
}

/// Reads `type/subtype` and its parameters (RFC 9110 section 8.3.1). The only charset is UTF-8, and
/// a parameter that we do not know changes nothing.
fn media_type(value: &HeaderValue) -> Option<MediaType> {
    let mut parts = value.to_str().ok()?.split(';').map(str::trim);
    let name = parts.next()?;
    let kind = if name.eq_ignore_ascii_case("application/json") {
        MediaType::Json
    } else if name.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        MediaType::Form
    } else {
        return None;
    };
    for parameter in parts.filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=')?;
        let charset = value.trim_matches('"');
        if name.eq_ignore_ascii_case("charset") && !charset.eq_ignore_ascii_case("utf-8") {
            return None;
        }
    }
    Some(kind)
}

fn read_form(body: &[u8], max_fields: usize) -> Result<Fields, BodyError> {
    let mut fields = Fields::default();
    for pair in body.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
        let mut parts = pair.splitn(2, |&byte| byte == b'=');
        let name = decode(parts.next().unwrap_or_default())?;
        let value = decode(parts.next().unwrap_or_default())?;
        fields.add(name, Value::FormText(Secret::new(value)), max_fields)?;
    }
    Ok(fields)
}

/// As the WHATWG URL standard reads a form, but strict: it would put U+FFFD for what is not UTF-8,
/// and so make many passwords one.
fn decode(text: &[u8]) -> Result<String, BodyError> {
    let mut broken = text.split(|&byte| byte == b'%').skip(1);
    let digits = |behind: &[u8]| matches!(behind, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit());
    if broken.any(|behind| !digits(behind)) {
        return Err(BodyError::Malformed);
    }
    let spaced: Vec<u8> = text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    let spaced = Secret::new(spaced);
    let decoded = percent_decode(spaced.expose()).collect();
    let decoded = String::from_utf8(decoded).map_err(|_| BodyError::Malformed)?;
    plain(decoded)
}

/// No text of ours holds NUL, and databases disagree about it.
fn plain(text: String) -> Result<String, BodyError> {
    if text.contains('\0') { Err(BodyError::Malformed) } else { Ok(text) }
}

fn read_json(body: &[u8], max_fields: usize) -> Result<Fields, BodyError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let fields = Flat { max_fields }.deserialize(&mut json).map_err(|error| {
        if error.is_data() { BodyError::NotAnObject } else { BodyError::Malformed }
    })?;
    json.end().map_err(|_| BodyError::Malformed)?;
    fields
}

/// Reads an object of plain values. The first fault is kept as a value, since the errors of serde
/// are texts; the rest of the body is then only checked for being JSON.
struct Flat {
    max_fields: usize,
}

impl<'de> DeserializeSeed<'de> for Flat {
    type Value = Result<Fields, BodyError>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Flat {
    type Value = Result<Fields, BodyError>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Ok(Fields::default());
        while let Some(name) = map.next_key::<String>()? {
            let Ok(known) = &mut fields else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let added = map
                .next_value_seed(Plain)?
                .and_then(|value| known.add(plain(name)?, value, self.max_fields));
            if let Err(fault) = added {
                fields = Err(fault);
            }
        }
        Ok(fields)
    }
}

/// Reads one plain value.
struct Plain;

impl<'de> DeserializeSeed<'de> for Plain {
    type Value = Result<Value, BodyError>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Plain {
    type Value = Result<Value, BodyError>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain value")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Ok(Value::Flag(flag)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Ok(Value::Number(number.into())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Ok(Value::Number(number.into())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        let number = serde_json::Number::from_f64(number).ok_or(BodyError::Malformed);
        Ok(number.map(Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(plain(text.to_owned()).map(|text| Value::Text(Secret::new(text))))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Ok(Value::Null))
    }

    // `IgnoredAny` is skipped without recursion, so depth costs no stack.
    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Err(BodyError::Nested))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Err(BodyError::Nested))
    }
}

#[cfg(test)]
#[path = "form_tests.rs"]
mod tests;
