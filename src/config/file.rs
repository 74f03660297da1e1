//! The exact mirror of `gateway.toml`, and the only place that knows TOML. A text is first walked
//! along the schema, so that all strange keys and wrong types are told at once, each with its line;
//! what is left without them is deserialised. What the values mean is `check`'s business.

mod accounts;
mod attempts;
mod audit;
mod blank;
mod captcha;
mod claims;
mod endpoints;
mod guards;
mod manners;
mod pages;
mod routes;
mod secrets;
mod sections;
mod store;
mod values;
mod walk;

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use toml::de::DeTable;

pub(super) use accounts::*;
pub(super) use attempts::*;
pub(super) use audit::*;
pub(super) use captcha::*;
pub(super) use claims::*;
pub(super) use endpoints::*;
pub(super) use guards::*;
pub(super) use manners::*;
pub(super) use pages::*;
pub(super) use routes::*;
pub(super) use sections::*;
pub(super) use store::*;
pub(super) use values::*;
pub(super) use walk::{Lines, allowed, did_you_mean, flatten, kinds};

use super::{ConfigError, Problem};

/// Bytes of a config file: tens of thousands of routes, and not a device that never ends.
const MAX_BYTES: u64 = 16 << 20;

/// All keys of `gateway.toml`. Every section may be left out.
#[derive(Deserialize, Serialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "gateway.toml")]
pub(super) struct File {
    pub listen: Listen,
    pub tls: Option<Tls>,
    pub store: Store,
    pub session: Session,
    pub cookies: Cookies,
    pub token: Token,
    pub login: Login,
    pub endpoints: Endpoints,
    pub errors: Errors,
    pub password: Password,
    pub pages: Pages,
    pub csrf: Csrf,
    pub attempts: Attempts,
    pub captcha: Option<Captcha>,
    pub limits: Limits,
    pub upstream: Vec<Upstream>,
    pub route: Vec<Route>,
    pub expect: Vec<Expect>,
    pub log: Log,
    pub audit: Audit,
}

/// The text of the file at `path`.
pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ConfigError::Missing { path: path.to_owned() },
        _ => unreadable(error),
    })?;
    let mut text = String::new();
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if u64::try_from(read).is_ok_and(|read| read <= MAX_BYTES) {
        return Ok(text);
    }
    Err(unreadable(io::Error::new(io::ErrorKind::FileTooLarge, "more than 16 MiB")))
}

/// Reads `text`, and tells all keys that do not exist and values of a wrong type. The `File` is what
/// is left without them, for `check` to tell what is wrong with that.
///
/// # Errors
/// All errors of syntax.
pub(super) fn parse(text: &str) -> Result<(File, Lines, Vec<Problem>), Vec<Problem>> {
    let mut lines = Lines::new(text);
    let (mut table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let mut problems: Vec<Problem> = errors.iter().map(|one| lines.toml_error(one)).collect();
        problems.sort_by_key(|problem| problem.line);
        return Err(problems);
    }
    let mut problems = walk::walk(&schema(), table.get_mut(), &mut lines);
    match File::deserialize(toml::Deserializer::from(table)) {
        Ok(file) => Ok((file, lines, problems)),
        Err(error) => {
            problems.push(lines.toml_error(&error));
            problems.sort_by_key(|problem| problem.line);
            Err(problems)
        }
    }
}

/// The JSON Schema of the file: every key with its meaning, type, default and extremes. What TOML
/// cannot say (`null`) is taken out of it.
pub(super) fn schema() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<File>().to_value();
    drop_null(&mut schema);
    schema
}

fn drop_null(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object.get("default").is_some_and(Value::is_null) {
                object.remove("default");
            }
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|one| one != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(branches)) = object.get_mut("anyOf") {
                branches.retain(|one| one.get("type").is_none_or(|kind| kind != "null"));
            }
            object.values_mut().for_each(drop_null);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_null),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
