//! Values that several sections have, as they are written.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A length of time as text: `"5m"`.
#[derive(Deserialize, Serialize, Clone)]
#[serde(transparent)]
pub(in crate::config) struct Period(String);

impl Period {
    /// As it would be written.
    pub(in crate::config) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// What it means; `None` if it means nothing.
    pub(in crate::config) fn read(&self) -> Option<Duration> {
        humantime::parse_duration(&self.0).ok()
    }

    /// As it was written.
    pub(in crate::config) fn text(&self) -> &str {
        &self.0
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "title": "duration" })
    }
}

/// A number of bytes: `"64KiB"`, or a plain integer.
#[derive(Deserialize, Serialize, Clone)]
#[serde(untagged)]
pub(in crate::config) enum Size {
    Bytes(u64),
    Text(String),
}

impl Size {
    /// As it would be written.
    pub(in crate::config) fn new(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// Bytes; `None` if the text is no size.
    pub(in crate::config) fn read(&self) -> Option<u64> {
        let text = match self {
            Self::Bytes(bytes) => return Some(*bytes),
            Self::Text(text) => text,
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits)?;
        let factor: u64 = match unit.trim_start_matches(' ') {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(factor)
    }

    /// As it was written.
    pub(in crate::config) fn text(&self) -> String {
        match self {
            Self::Bytes(bytes) => bytes.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"], "title": "size", "minimum": 0 })
    }
}

/// `count` in each `per`, given back evenly.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Quota {
    /// How many at once, 1 to 1000000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub count: u32,
    /// The time in which that many are given back, from `"1s"` to `"7d"`.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "7d"))]
    pub per: Period,
}

impl Quota {
    /// As it would be written.
    pub(in crate::config) fn new(count: u32, per: &str) -> Self {
        Self { count, per: Period::new(per) }
    }
}

/// A secret that stands elsewhere: exactly one of the two keys.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct SecretRef {
    /// A file whose content is the secret; one line end at its end does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The name of an environment variable whose value is the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
}

/// A secret in place, or where it stands.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum TextOrSecret {
    Text(String),
    Secret(SecretRef),
}

/// A name of a header or cookie, or `false` for none.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
pub(in crate::config) enum NameOrOff {
    Name(String),
    Off(bool),
}

impl JsonSchema for NameOrOff {
    fn schema_name() -> Cow<'static, str> {
        "name or `false`".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "boolean"], "title": Self::schema_name() })
    }
}
