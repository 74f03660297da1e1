//! Makes values from outside fit to be shown: nothing in them can reorder, hide or flood the text
//! around them. Escaping of markup is the template engine's part and comes after.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// Most characters of a name that a sentence shows.
pub(super) const NAME: usize = 64;
/// Most characters of a free text: a device, an error's sentence.
pub(super) const SENTENCE: usize = 300;
/// Most characters of a name that goes back into its field. A cut name is a wrong one, yet nearer
/// to what was typed than none; no account has one this long.
pub(super) const TYPED: usize = 256;
/// Most bytes of a target that a form carries; a longer one is left out.
const TARGET: usize = 4096;

/// Characters that change how *other* characters are shown, or cannot be seen at all: controls
/// (line ends with them), bidi controls (Unicode Standard Annex 9 section 2), line and paragraph
/// separators, and the tag characters. The joiners stay: Persian and emoji need them.
fn disturbs(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{061C}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}'
                | '\u{E0000}'..='\u{E0FFF}'
        )
}

/// The text with every disturbing character shown as `U+FFFD`.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().any(disturbs) {
        text.chars().map(|c| if disturbs(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
    } else {
        Cow::Borrowed(text)
    }
}

/// The text, clean and of at most `most` characters, the last of them an ellipsis if it was cut.
pub(super) fn short(text: &str, most: usize) -> String {
    let text = text.trim();
    match text.char_indices().nth(most) {
        None => clean(text).into_owned(),
        Some(_) => {
            let head: String = text.chars().take(most.saturating_sub(1)).collect();
            let mut head = clean(&head).into_owned();
            head.push('…');
            head
        }
    }
}

/// The text as it goes back into the field where it was typed: disturbing characters are dropped,
/// since no login name has them, and there is no ellipsis.
pub(super) fn typed(text: &str) -> String {
    text.chars().filter(|c| !disturbs(*c)).take(TYPED).collect()
}

/// A sealed text, if it has the characters of one; an honest browser sends back no other.
pub(super) fn typed_seal(text: &str) -> String {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.bytes().all(fits) { text.to_owned() } else { String::new() }
}

/// Everything that is not plain ASCII; the delimiters of a URL stay as they are.
const NOT_PLAIN: &AsciiSet = &CONTROLS.add(b' ');

/// A value that a form carries, in ASCII. `None` if it is too long to be carried.
pub(super) fn carried(text: &str) -> Option<String> {
    let encoded = utf8_percent_encode(text, NOT_PLAIN).to_string();
    (!encoded.is_empty() && encoded.len() <= TARGET).then_some(encoded)
}

/// A validated target in the form that a browser would send it in (WHATWG URL, percent-encode
/// sets), so that cleaning never changes where it leads. Whoever validated it, what is neither a
/// path nor the web is no target: a link to `javascript:` must not depend on another's care.
pub(super) fn target(text: &str) -> Option<String> {
    let leads = ["/", "https://", "http://"].iter().any(|start| text.starts_with(start));
    leads.then(|| carried(text)).flatten()
}

/// Browser and system of a `User-Agent`, as far as they can be told; `None` where they cannot.
/// Product tokens are looked for in the order in which the later ones are also claimed by the
/// earlier: Edge says Chrome, Chrome says Safari.
pub fn device(user_agent: &str) -> (Option<&'static str>, Option<&'static str>) {
    const BROWSERS: &[(&str, &str)] = &[
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Vivaldi/", "Vivaldi"),
        ("SamsungBrowser/", "Samsung Internet"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("CriOS/", "Chrome"),
        ("Chromium/", "Chromium"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
        ("Wget/", "Wget"),
    ];
    const SYSTEMS: &[(&str, &str)] = &[
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("CrOS", "ChromeOS"),
        ("Macintosh", "macOS"),
        ("FreeBSD", "FreeBSD"),
        ("Linux", "Linux"),
    ];
    let find = |table: &[(&str, &'static str)]| {
        table.iter().find(|(token, _)| user_agent.contains(token)).map(|(_, name)| *name)
    };
    (find(BROWSERS), find(SYSTEMS))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bidi_and_control_characters_are_shown_as_what_they_are_not() {
        assert_eq!(clean("ada\u{202E}nimda"), "ada\u{FFFD}nimda");
        assert_eq!(clean("a\u{2066}b\u{2069}c\u{0}d\ne"), "a\u{FFFD}b\u{FFFD}c\u{FFFD}d\u{FFFD}e");
        assert_eq!(clean("Ünïcode 中文 שלום 👩\u{200D}🚀"), "Ünïcode 中文 שלום 👩\u{200D}🚀");
    }

    #[test]
    fn a_long_name_is_cut_with_an_ellipsis() {
        assert_eq!(short("abcdef", 6), "abcdef");
        assert_eq!(short("abcdefg", 6), "abcde…");
        assert_eq!(short("ääääääää", 3), "ää…");
    }

    #[test]
    fn a_typed_name_keeps_what_a_name_may_have() {
        assert_eq!(typed("ada\u{202E}\n lovelace"), "ada lovelace");
        assert_eq!(typed(&"x".repeat(100_000)).len(), TYPED);
    }

    #[test]
    fn a_target_keeps_its_query_and_fragment() {
        assert_eq!(target("/a?b=c&d=%20#e/f").as_deref(), Some("/a?b=c&d=%20#e/f"));
        assert_eq!(target("/ä b").as_deref(), Some("/%C3%A4%20b"));
        assert_eq!(target(&format!("/{}", "a".repeat(5000))), None);
        for wrong in ["", "javascript:alert(1)", " /a", "data:text/html,a", "a"] {
            assert_eq!(target(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_device_is_told_by_the_most_telling_product() {
        let edge = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like \
                    Gecko) Chrome/130.0.0.0 Safari/537.36 Edg/130.0.0.0";
        assert_eq!(device(edge), (Some("Edge"), Some("Windows")));
        let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 \
                     (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1";
        assert_eq!(device(phone), (Some("Safari"), Some("iPhone")));
        assert_eq!(device("\u{0}<script>"), (None, None));
    }

    proptest! {
        #[test]
        fn whatever_comes_in_is_bounded_and_clean(text in "\\PC*|.*", most in 1_usize..100) {
            let shown = short(&text, most);
            prop_assert!(shown.chars().count() <= most);
            prop_assert!(!shown.chars().any(disturbs));
            prop_assert!(!typed(&text).chars().any(disturbs));
            if let Some(carried) = carried(&text) {
                prop_assert!(carried.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
