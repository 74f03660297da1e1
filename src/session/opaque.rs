//! The one form in which a secret is counted, compared and hashed: the OpaqueString profile of
//! PRECIS (RFC 8265 section 4.2). What one keyboard writes as one character and another as two is
//! then the same password.

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
use zeroize::Zeroize;

use crate::secret::Secret;

/// The form that is hashed. NFC and not NFKC, as RFC 8265 has it: NFKC would make one password of
/// many (`ﬁ` of `fi`, `²` of `2`), and letters typed would be lost. Nothing is cut, folded or
/// trimmed.
pub(super) fn prepared(secret: &Secret<String>) -> Secret<String> {
    let text = secret.expose();
    if text.is_ascii() {
        return secret.clone();
    }
    // RFC 8265 section 4.2.2, rule 2: every blank is the blank that all keyboards have.
    let spaced = text.chars().map(|c| if is_blank(c) { ' ' } else { c });
    let mut spaced: String = spaced.collect();
    // Rule 4.
    if is_nfc_quick(spaced.chars()) == IsNormalized::Yes {
        return Secret::new(spaced);
    }
    let normal = spaced.nfc().collect();
    spaced.zeroize();
    Secret::new(normal)
}

/// Whether a new secret may hold `c`. RFC 8265 section 4.2.1 refuses what is not seen; the joiners
/// and variation selectors that emoji and several scripts are typed with stay, and so does what is
/// not assigned in the Unicode that we know, since phones know newer ones.
pub(super) fn is_printable(c: char) -> bool {
    let unseen = c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'
            | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
            | '\u{fdd0}'..='\u{fdef}' | '\u{e0000}'..='\u{e001f}');
    // The last two of each plane are no characters.
    !unseen && u32::from(c) & 0xfffe != 0xfffe
}

/// Unicode category Zs but for the plain space.
const fn is_blank(c: char) -> bool {
    matches!(
        c,
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form(text: &str) -> String {
        prepared(&Secret::new(text.to_owned())).expose().clone()
    }

    #[test]
    fn spellings_that_look_and_are_the_same_are_one_secret() {
        assert_eq!(form("pa\u{308}ssword"), form("p\u{e4}ssword"));
        assert_eq!(form("\u{1112}\u{1161}\u{11ab}"), "\u{d55c}", "Hangul typed in parts");
        assert_eq!(form("two\u{a0}words\u{3000}more"), "two words more");
    }

    #[test]
    fn what_differs_to_a_person_stays_different() {
        for (one, other) in [("\u{fb01}", "fi"), ("x\u{b2}", "x2"), ("\u{ff21}", "A")] {
            assert_ne!(form(one), form(other));
        }
        assert_eq!(form("  Aa  "), "  Aa  ", "neither folded nor trimmed");
    }

    #[test]
    fn any_language_is_printable_and_what_hides_is_not() {
        for text in ["Grüße, Jürgen!", "пароль", "パスワード", "كلمة السر", "👩\u{200d}🚀❤\u{fe0f}"]
        {
            assert!(text.chars().all(is_printable), "{text}");
        }
        for c in ['\0', '\n', '\u{7f}', '\u{85}', '\u{200b}', '\u{202e}', '\u{2028}', '\u{ffff}'] {
            assert!(!is_printable(c), "{c:?}");
        }
    }

    proptest! {
        #[test]
        fn preparing_twice_changes_nothing_more(text in "\\PC{0,40}|.{0,40}") {
            let once = form(&text);
            prop_assert_eq!(&form(&once), &once);
            prop_assert!(!text.is_ascii() || once == text);
        }
    }
}
