//! Characters that a text may consist of, as people write them: `A-Za-z0-9_-`.

/// A set of characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Characters(Vec<(char, char)>);

impl Characters {
    /// Reads single characters and ranges; a `-` at an edge is itself.
    ///
    /// # Errors
    /// What is wrong with the text, in words.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut ranges = Vec::new();
        let mut rest = text.chars().peekable();
        while let Some(first) = rest.next() {
            let mut ahead = rest.clone();
            let last = match (ahead.next(), ahead.next()) {
                (Some('-'), Some(last)) => {
                    rest = ahead;
                    last
                }
                _ => first,
            };
            if last < first {
                return Err(format!("{first}-{last} is a range that runs backwards"));
            }
            ranges.push((first, last));
        }
        if ranges.is_empty() { Err("names no character".to_owned()) } else { Ok(Self(ranges)) }
    }

    /// Whether `text` consists of them.
    pub fn make_up(&self, text: &str) -> bool {
        let known = |one: char| self.0.iter().any(|(first, last)| (*first..=*last).contains(&one));
        text.chars().all(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_single_characters_and_a_dash_at_an_edge_are_read() {
        let names = Characters::read("A-Za-z0-9_-").unwrap();
        for fine in ["Ada", "ada_1", "a-b", "-", ""] {
            assert!(names.make_up(fine), "{fine}");
        }
        for wrong in ["a b", "\u{e4}", "a.b", "[", "a\n"] {
            assert!(!names.make_up(wrong), "{wrong:?}");
        }
        let odd = Characters::read("-a").unwrap();
        assert!(odd.make_up("a-") && !odd.make_up("b"));
        assert!(Characters::read("").is_err());
        assert!(Characters::read("z-a").is_err());
    }
}
