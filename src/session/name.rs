//! How login names are compared: one canonical form, for the store, the limits and the command
//! line alike.

use unicode_normalization::UnicodeNormalization;

use crate::config::NameCase;

/// Most bytes of a login name.
pub const MAX_NAME_BYTES: usize = 254;

/// A name that no account can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Nothing there.
    #[error("a login name is needed")]
    Empty,
    /// Over [`MAX_NAME_BYTES`].
    #[error("a login name has at most {MAX_NAME_BYTES} bytes")]
    TooLong,
    /// Blanks at an edge, which nobody sees and everybody mistypes.
    #[error("a login name neither begins nor ends with a blank")]
    BlankEdge,
    /// Characters that are not seen: controls, line ends, direction marks, joiners of no width.
    #[error("a login name consists of visible characters")]
    Invisible,
    /// A slash, which stands in the names of apps' users (`app/user`), and so in no others.
    #[error("a login name has no slash")]
    Slash,
    /// Characters that this site does not want in names (`login.name_characters`).
    #[error("a login name has other characters here")]
    Characters,
}

/// The form in which `name` is compared: as it is, or with its case folded. Folding twice changes
/// nothing more.
///
/// # Errors
/// The name is one that no account can have.
pub fn login_key(name: &str, case: NameCase) -> Result<String, BadName> {
    if name.is_empty() {
        return Err(BadName::Empty);
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(BadName::TooLong);
    }
    if name.trim() != name {
        return Err(BadName::BlankEdge);
    }
    if name.chars().any(is_invisible) {
        return Err(BadName::Invisible);
    }
    if name.contains('/') {
        return Err(BadName::Slash);
    }
    // What one keyboard writes as one character and another as two is one name (UAX 15).
    let name = name.nfc();
    Ok(match case {
        NameCase::Exact => name.collect(),
        // Down, up and down again, a character at a time: so the Greek final sigma, the sharp s and
        // the Kelvin sign fall together with their plain forms, wherever in the word they stand.
        NameCase::Fold => name
            .flat_map(char::to_lowercase)
            .flat_map(char::to_uppercase)
            .flat_map(char::to_lowercase)
            .nfc()
            .collect(),
    })
}

fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_name_are_one_account() {
        let fold = |name| login_key(name, NameCase::Fold).unwrap();
        assert_eq!(fold("Ada"), fold("aDA"));
        assert_eq!(fold("\u{212a}ate"), fold("Kate"), "the Kelvin sign");
        assert_eq!(fold("ΟΔΥΣΣΕΥΣ"), fold("οδυσσευς"));
        assert_eq!(fold("STRASSE"), fold("straße"));
        assert_eq!(fold("Zoe\u{308}"), fold("zo\u{eb}"), "typed as one character or as two");
        assert_ne!(fold("ada"), fold("adah"));
        assert_ne!(login_key("Ada", NameCase::Exact), login_key("ada", NameCase::Exact));
    }

    #[test]
    fn names_that_cannot_be_seen_are_refused() {
        for (name, why) in [
            ("", BadName::Empty),
            (" ada", BadName::BlankEdge),
            ("ada\u{a0}", BadName::BlankEdge),
            ("a\0da", BadName::Invisible),
            ("a\nda", BadName::Invisible),
            ("ad\u{200b}a", BadName::Invisible),
            ("\u{202e}ada", BadName::Invisible),
        ] {
            assert_eq!(login_key(name, NameCase::Fold), Err(why), "{name:?}");
        }
        assert_eq!(login_key(&"a".repeat(255), NameCase::Fold), Err(BadName::TooLong));
        assert!(login_key("Ada Lovelace", NameCase::Fold).is_ok());
    }

    #[test]
    fn folding_any_single_character_twice_changes_nothing_more() {
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            let Ok(once) = login_key(&c.to_string(), NameCase::Fold) else { continue };
            assert_eq!(login_key(&once, NameCase::Fold).as_ref(), Ok(&once), "{c:?}");
        }
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing_more(name in ".{0,40}") {
            if let Ok(once) = login_key(&name, NameCase::Fold)
                && once.len() <= MAX_NAME_BYTES
            {
                prop_assert_eq!(login_key(&once, NameCase::Fold), Ok(once));
            }
        }
    }
}
