//! What takes the place of a value that does not fit, so that the rest of the file can be judged.

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use super::walk::{allowed, flatten, kinds};

/// The emptiest value of `schema`: `check` complains of it rather than drawing conclusions from it,
/// and that complaint is not shown. `None`: whatever fits would look meant, as any number does, and
/// unless the key is `needed`, its default is the better guess.
pub(super) fn blank(schema: &Value, needed: bool) -> Option<DeValue<'static>> {
    let mut branches = Vec::new();
    flatten(schema, &mut branches);
    let (rank, kind, branch) = branches
        .iter()
        .flat_map(|branch| kinds(branch).map(|kind| (rank(branch, kind), kind, *branch)))
        .min_by_key(|(rank, ..)| *rank)?;
    if rank == LOOKS_MEANT && !needed {
        return None;
    }
    match kind {
        "string" => {
            let word = allowed(branch).and_then(|words| words.first().copied());
            Some(DeValue::String(word.unwrap_or_default().to_owned().into()))
        }
        "integer" => Some(DeValue::Integer(DeInteger::default())),
        "boolean" => Some(DeValue::Boolean(false)),
        "array" => {
            let mut array = DeArray::new();
            array.push(nowhere(blank(branch.get("items")?, true)?));
            Some(DeValue::Array(array))
        }
        "object" => {
            let mut table = DeTable::new();
            for name in needed_keys(branch) {
                let value = blank(branch.get("properties")?.get(name)?, true)?;
                table.insert(nowhere(name.to_owned().into()), nowhere(value));
            }
            Some(DeValue::Table(table))
        }
        _ => None,
    }
}

/// The keys that a table must have.
pub(super) fn needed_keys(schema: &Value) -> impl Iterator<Item = &str> {
    let keys = schema.get("required").and_then(Value::as_array);
    keys.into_iter().flatten().filter_map(Value::as_str)
}

/// The rank of what `check` cannot know to be blank.
const LOOKS_MEANT: u8 = 3;

/// The lower, the emptier.
fn rank(branch: &Value, kind: &str) -> u8 {
    match kind {
        "string" if allowed(branch).is_none() => 0,
        "array" => 1,
        "object" => 2,
        _ => LOOKS_MEANT,
    }
}

fn nowhere<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::config::file;
    use crate::config::tests::arbitrary::configs;

    proptest! {
        /// Else the errors of a whole file would shrink to the first that the deserialiser meets.
        #[test]
        fn what_is_left_without_the_strange_keys_can_be_deserialised(text in configs()) {
            prop_assume!(toml::de::DeTable::parse(&text).is_ok());
            prop_assert!(file::parse(&text).is_ok());
        }
    }
}
