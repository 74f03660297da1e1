//! What is wrong with a config, in the operator's words: every problem on a line of its own, with
//! the place to look at.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why there is no config. The command line answers each of these with exit code 78 (`EX_CONFIG`).
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no such file.
    #[error(
        "{}: no such file; name one with --config FILE, or start from the example in README.md",
        path.display()
    )]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It is there and cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It was read, and this is what is wrong with it.
    #[error(fmt = print_all)]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// At least one, in the order of the file.
        problems: Vec<Problem>,
    },
}

impl ConfigError {
    /// Every problem with the text of the file; none when there was no text.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Missing { .. } | Self::Unreadable { .. } => &[],
            Self::Wrong { problems, .. } => problems,
        }
    }
}

fn print_all(path: &Path, problems: &[Problem], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, problem) in problems.iter().enumerate() {
        if index > 0 {
            writeln!(f)?;
        }
        write!(f, "{}", problem.in_file(path))?;
    }
    Ok(())
}

/// One thing that is wrong, or a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the key, as in `route[2].upstream`; lists count from 0. Empty: the file as a whole.
    pub key: String,
    /// The line, from 1 on, where it can be told.
    pub line: Option<usize>,
    /// What is wrong. Never holds a secret.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// The whole line: `gateway.toml:12: route[2].upstream: "ap" is not an upstream; did you mean
    /// "app"?`
    pub fn in_file<'a>(&'a self, path: &'a Path) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| {
            write!(f, "{}", path.display())?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
            write!(f, ": {self}")
        })
    }
}

/// Without the place in the file.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.text)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}
