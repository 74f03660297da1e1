//! The sections that give our own endpoints the shape that a site's clients know: paths, fields,
//! answers, texts.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::Cors;
use crate::config::{Endpoint as Known, REASONS};

/// `[endpoints.NAME]`, by name.
#[derive(Deserialize, Serialize, Default)]
#[serde(transparent)]
pub(in crate::config) struct Endpoints(pub BTreeMap<String, Endpoint>);

impl JsonSchema for Endpoints {
    fn schema_name() -> Cow<'static, str> {
        "endpoints".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let names = Known::ALL.map(|endpoint| endpoint.row().name);
        json_schema!({
            "type": "object",
            "description": "The gateway's own endpoints, for clients that know other paths, names \
                and answers than ours. One table each, such as `[endpoints.login]`; what is left \
                out is as it is without the table.",
            "propertyNames": { "enum": names.as_slice() },
            "additionalProperties": generator.subschema_for::<Endpoint>(),
        })
    }
}

/// One endpoint.
#[derive(Deserialize, Serialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Endpoint {
    /// Where it is, on every host: a whole path, below `login.base` or anywhere else; or `false`:
    /// nowhere. Away from the base, other methods of the path are the routes' business.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathOrOff>,
    /// Its method: `POST`, `PUT`, `PATCH` or `DELETE` for what is a `POST`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// What the fields of its body are called: our name, then the site's, or several of which a body
    /// has one (the first is that of our pages and of messages). 1 to 64 letters, digits, `_`, `-`,
    /// `.` each.
    pub fields: BTreeMap<String, Names>,
    /// What becomes of a body with a field that the endpoint does not know.
    pub unknown_fields: UnknownFields,
    /// Who may use it: `"required"` asks for a valid access token first, `"optional"` is what it asks
    /// by itself.
    pub access: Asks,
    /// Status of its answer, 200 to 299. Default: 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 200, max = 299))]
    pub status: Option<u16>,
    /// Its answer: a table is JSON, a text is plain text. `$name` is a value of the answer: alone in
    /// a text it keeps its type, within a longer one it is written out; `$$` is a dollar. A key whose
    /// value has none this time is left out. Which values there are is in `docs/REPLACE.md`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Template>,
    /// Which cookies an answer with new tokens sets: `"access"`, `"refresh"`, and `"device"`, by which
    /// a browser is known again. A person's login by a page of ours always sets all, for a browser
    /// has no other place for them. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookies: Option<Vec<CookieKind>>,
    /// Its refusals; what is not set here is as `[errors]` says.
    pub errors: Errors,
    /// Which foreign pages may read its answers and refusals; preflights are answered accordingly.
    /// The CSRF guard still has a say: name the origins in `csrf.allowed_origins` too. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
}

/// Refusals, those of routes too. What programs are told can be changed freely; logs, metrics and
/// the header `X-Sallyport` keep our codes.
#[derive(Deserialize, Serialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Errors {
    /// The body: a table is JSON, a text is plain text; values are `$code`, `$message`, `$status`,
    /// `$login_url`, `$retry_after` (seconds), `$limit` (attempts) and `$request_id`. Default:
    /// `{ error = "$code", message = "$message", login_url = "$login_url" }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Template>,
    /// Whether a person, rather than a program, gets a page that says why. Default: `true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pages: Option<bool>,
    /// What `$message` is, by our code or by the finer reason that the access log tells. It may hold
    /// the values of the body; `$message` is then ours. People read it too, on the page that tells a
    /// refusal; what our forms say is among the texts of the pages.
    pub messages: ByReason<String>,
    /// What `$code` is, likewise.
    pub codes: ByReason<String>,
    /// The status, 400 to 599, likewise.
    pub statuses: ByReason<u16>,
}

/// A value for each of some reasons.
#[derive(Deserialize, Serialize)]
#[serde(transparent)]
pub(in crate::config) struct ByReason<T>(pub BTreeMap<String, T>);

impl<T> Default for ByReason<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: JsonSchema> JsonSchema for ByReason<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("by_reason_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "title": "table of reasons",
            "propertyNames": { "enum": REASONS },
            "additionalProperties": generator.subschema_for::<T>(),
        })
    }
}

/// A path, or `false` for none.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
pub(in crate::config) enum PathOrOff {
    Path(String),
    Off(bool),
}

impl JsonSchema for PathOrOff {
    fn schema_name() -> Cow<'static, str> {
        "path or `false`".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "boolean"], "title": Self::schema_name() })
    }
}

/// One name or several.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
pub(in crate::config) enum Names {
    One(String),
    Some(Vec<String>),
}

impl Names {
    /// As a list.
    pub(in crate::config) fn list(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Some(names) => names,
        }
    }
}

impl JsonSchema for Names {
    fn schema_name() -> Cow<'static, str> {
        "name or names".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "array"],
            "title": Self::schema_name(),
            "items": { "type": "string" },
        })
    }
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum UnknownFields {
    /// it is as if the field were not there
    #[default]
    Ignore,
    /// it is refused
    Refuse,
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum Asks {
    /// no more than the endpoint asks by itself
    #[default]
    Optional,
    /// a valid access token
    Required,
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum CookieKind {
    /// the access cookie
    Access,
    /// the refresh cookie
    Refresh,
    /// the cookie by which a browser is known again
    Device,
}

/// JSON as TOML writes it; a text may hold values.
#[derive(Deserialize, Serialize)]
#[serde(transparent)]
pub(in crate::config) struct Template(pub serde_json::Value);

impl Template {
    /// What marks it in the schema: anything may stand in it.
    pub(in crate::config) const TITLE: &str = "template";
}

impl JsonSchema for Template {
    fn schema_name() -> Cow<'static, str> {
        Self::TITLE.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "boolean", "integer", "number", "array", "object"],
            "title": Self::TITLE,
        })
    }
}
