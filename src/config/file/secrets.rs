//! Secrets by reference. Nothing else in the program reads the environment.

use std::fs;
use std::io::Read;
use std::path::Path;

use crate::secret::Secret;

use super::SecretRef;

/// Bytes of a secret: more than any key or URL, less than a device that never ends.
const MAX_BYTES: u64 = 64 << 10;

impl SecretRef {
    /// The secret itself; a relative file starts at `base`.
    ///
    /// # Errors
    /// What is wrong with the reference, in words that do not hold the secret.
    pub(in crate::config) fn read(&self, base: &Path) -> Result<Secret<Vec<u8>>, String> {
        match (&self.file, &self.env) {
            (Some(file), None) => read_file(&base.join(file)),
            (None, Some(name)) => read_variable(name),
            _ => Err("needs exactly one of the keys file and env".to_owned()),
        }
    }
}

fn read_file(path: &Path) -> Result<Secret<Vec<u8>>, String> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let mut bytes = Secret::new(bytes);
    if u64::try_from(bytes.expose().len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(format!("{}: more than 64 KiB", path.display()));
    }
    // Editors and `echo` put a line end behind it, which nobody means as a part of the secret.
    let trimmed =
        bytes.expose().strip_suffix(b"\n").map(|rest| rest.strip_suffix(b"\r").unwrap_or(rest));
    if let Some(trimmed) = trimmed {
        bytes = Secret::new(trimmed.to_vec());
    }
    if bytes.expose().is_empty() {
        return Err(format!("{}: is empty", path.display()));
    }
    Ok(bytes)
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
fn read_variable(name: &str) -> Result<Secret<Vec<u8>>, String> {
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Err(format!("the environment variable {name} is empty")),
        Ok(value) => Ok(Secret::new(value.into_bytes())),
        Err(std::env::VarError::NotPresent) => {
            Err(format!("the environment variable {name} is not set"))
        }
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(format!("the environment variable {name} is not UTF-8"))
        }
    }
}
