//! Secrets that everybody tries first: a list, and the ways in which people stretch what is on it to
//! a length that is asked for. NIST SP 800-63B-4 section 3.1.1.2 wants such a list instead of rules
//! of composition.

use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Why the operator's list could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BlocklistError {
    /// The system's reason.
    #[error("password.blocklist: {} cannot be read: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Over 64 MiB.
    #[error("password.blocklist: {} is larger than 64 MiB", .0.display())]
    TooLarge(PathBuf),
    /// Not text.
    #[error("password.blocklist: {} is not UTF-8 from line {line} on", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Where.
        line: usize,
    },
}

/// The list, as 64 bits of each entry: a file with a million of them then takes some ten megabytes.
/// That two entries share their bits makes one good password in 10^13 a common one.
pub(super) struct Blocklist {
    hasher: RandomState,
    entries: HashSet<u64>,
}

impl Blocklist {
    /// The list that is compiled in, and what stands in `file`.
    pub(super) fn load(file: Option<&Path>) -> Result<Self, BlocklistError> {
        let mut list = Self { hasher: RandomState::new(), entries: HashSet::new() };
        let ours = BUILT_IN.lines().filter(|line| !line.starts_with("# ") && *line != "#");
        ours.for_each(|line| list.add(line));
        if let Some(path) = file {
            read(path)?.lines().for_each(|line| list.add(line));
        }
        Ok(list)
    }

    fn add(&mut self, line: &str) {
        let entry = folded(line);
        if !entry.is_empty() {
            self.entries.insert(self.hasher.hash_one(entry.as_slice()));
        }
    }

    fn lists(&self, text: &[char]) -> bool {
        self.entries.contains(&self.hasher.hash_one(text))
    }

    /// Whether `secret` is on the list, is one of `known` (the account's name, the site's), or is
    /// made of such a one as everybody would make it: repeated, or with a few characters, a row of
    /// keys or something common before or behind it.
    pub(super) fn is_common(&self, secret: &str, known: &[&str]) -> bool {
        let known: Vec<Vec<char>> = known.iter().map(|word| folded(word)).collect();
        self.common(&folded(secret), &known)
    }

    fn common(&self, text: &[char], known: &[Vec<char>]) -> bool {
        if self.lists(text) || known.iter().any(|word| word == text) || is_row(text) {
            return true;
        }
        if let Some(unit) = repeated(text)
            && (unit.len() <= FEW || self.common(unit, known))
        {
            return true;
        }
        let (before, core, behind) = core(text);
        let added = |part: &[char]| {
            part.len() <= FEW || is_row(part) || self.lists(part) || repeated(part).is_some()
        };
        core.len() < text.len()
            && !core.is_empty()
            && added(before)
            && added(behind)
            && self.common(core, known)
    }
}

impl std::fmt::Debug for Blocklist {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blocklist({})", self.entries.len())
    }
}

/// Without what makes no difference to who tries it: case, and blanks.
fn folded(text: &str) -> Vec<char> {
    text.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect()
}

/// The shortest beginning of which `text` is a repetition, the last one perhaps cut.
fn repeated(text: &[char]) -> Option<&[char]> {
    let most = text.len() / 2;
    (1..=most.min(UNIT_MAX))
        .find(|&period| text.iter().zip(text.iter().skip(period)).all(|(one, next)| one == next))
        .and_then(|period| text.get(..period))
}

/// Whether `text` consists of rows of neighbours: `aaa`, `4321`, `qwertz`, `1qaz2wsx`.
fn is_row(text: &[char]) -> bool {
    let mut run = 1;
    for pair in text.windows(2) {
        let &[one, next] = pair else { continue };
        if are_neighbours(one, next) {
            run += 1;
        } else if run < RUN {
            return false;
        } else {
            run = 1;
        }
    }
    run >= RUN && text.len() >= RUN
}

fn are_neighbours(one: char, next: char) -> bool {
    one == next
        || ROWS.iter().any(|row| {
            let mut pairs = row.chars().zip(row.chars().skip(1));
            pairs.any(|pair| pair == (one, next) || pair == (next, one))
        })
}

/// What is before the first letter, from there to the last letter, and what is behind.
fn core(text: &[char]) -> (&[char], &[char], &[char]) {
    let first = text.iter().position(|c| c.is_alphabetic()).unwrap_or(text.len());
    let end = text.iter().rposition(|c| c.is_alphabetic()).map_or(first, |last| last + 1);
    let (before, rest) = text.split_at_checked(first).unwrap_or((text, &[]));
    let (core, behind) = rest.split_at_checked(end.saturating_sub(first)).unwrap_or((rest, &[]));
    (before, core, behind)
}

fn read(path: &Path) -> Result<String, BlocklistError> {
    let failed = |source| BlocklistError::File { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_MAX) {
        return Err(BlocklistError::TooLarge(path.to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = good.split(|&byte| byte == b'\n').count();
        BlocklistError::NotText { path: path.to_owned(), line }
    })
}

/// Sorted, with its origin and licence on top.
const BUILT_IN: &str = include_str!("common.txt");

const FILE_MAX: u64 = 64 << 20;

/// So many characters, whatever they are, make nothing safe.
const FEW: usize = 5;

/// Neighbours in a row that are no chance.
const RUN: usize = 3;

/// Longest unit of a repetition that is looked for. Bounds the work that a stranger can order.
const UNIT_MAX: usize = 64;

/// The alphabet, the digits, the rows and columns of keyboards.
const ROWS: [&str; 9] = [
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890",
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "qwertzuiop",
    "yxcvbnm",
    "azertyuiop",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
];

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    fn built_in() -> Blocklist {
        Blocklist::load(None).unwrap()
    }

    #[test]
    fn what_everybody_tries_first_is_common_however_it_is_stretched() {
        let list = built_in();
        for secret in [
            "password",
            "Password",
            "p a s s w o r d",
            "passwordpassword",
            "passwordpasswordpass",
            "password1234567890",
            "!!Password2024!",
            "123456789012345",
            "987654321",
            "aaaaaaaaaaaaaaaaaaaa",
            "abababababababab",
            "qwertyuiopasdfghjkl",
            "1qaz2wsx3edc4rfv",
            "abcdefgh12345678",
            "adaadaadaadaada",
            "Ada Lovelace 1815",
            "notes.example.org",
        ] {
            let known = ["ada", "Ada Lovelace", "notes.example.org"];
            assert!(list.is_common(secret, &known), "{secret:?}");
        }
    }

    #[test]
    fn a_few_words_in_a_row_are_not_common() {
        let list = built_in();
        for secret in [
            "correct horse battery staple",
            "dragons do not eat cereal",
            "the lazy dog sleeps again",
            "Grüße aus Castrop-Rauxel",
            "my password is a secret one",
            "k7#vQ-pL2mXw9z!",
            "пустой самолёт над морем",
        ] {
            assert!(!list.is_common(secret, &["ada", "notes.example.org"]), "{secret:?}");
        }
    }

    #[test]
    fn the_pins_that_everybody_has_are_common() {
        let list = built_in();
        for pin in ["1234", "0000", "123456", "654321", "112233", "121212", "696969"] {
            assert!(list.is_common(pin, &[]), "{pin}");
        }
        for pin in ["804913", "370582", "59138046"] {
            assert!(!list.is_common(pin, &[]), "{pin}");
        }
    }

    #[test]
    fn the_list_is_sorted_and_has_what_it_says() {
        let words: Vec<&str> = BUILT_IN.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(words.is_sorted() && words.len() > 10_000, "{}", words.len());
        assert!(built_in().entries.len() >= words.len());
    }

    #[test]
    fn a_file_adds_to_the_list_and_one_that_is_no_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        std::fs::write(&path, "# no comment\nSallyport Is Great\r\n\n").unwrap();
        let list = Blocklist::load(Some(&path)).unwrap();
        assert!(list.is_common("sallyportisgreat", &[]));
        assert!(list.is_common("password", &[]));
        std::fs::write(&path, b"one\ntwo\n\xff\n").unwrap();
        let error = Blocklist::load(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("from line 3 on"), "{error}");
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(Blocklist::load(Some(&path)), Err(BlocklistError::File { .. })));
    }

    proptest! {
        #[test]
        fn what_chance_makes_is_not_common(secret in "[a-z0-9]{16,40}") {
            static LIST: LazyLock<Blocklist> = LazyLock::new(built_in);
            prop_assert!(!LIST.is_common(&secret, &["ada"]));
        }

        #[test]
        fn whatever_is_typed_is_judged(secret in "\\PC{0,200}|.{0,200}", name in ".{0,20}") {
            let list = Blocklist { hasher: RandomState::new(), entries: HashSet::new() };
            list.is_common(&secret, &[&name]);
        }
    }
}
