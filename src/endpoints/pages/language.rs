//! The words: one file of texts per language, and which language a browser prefers.
//!
//! A file has lines `key = text`; `#` begins a comment. `{name}` in a text is a slot. A language
//! other than English may leave keys out; the English text then stands in.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use minijinja::HtmlEscape;

use super::PageError;
use super::display;

/// Most bytes of `Accept-Language` that are looked at, and most preferences in it. A browser sends
/// fewer than ten.
const HEADER: usize = 1024;
const PREFERENCES: usize = 32;

/// The texts that are compiled in, by language tag (RFC 5646). The first is the fallback of all.
pub(super) const BUILT_IN: &[(&str, &str)] =
    &[("en", include_str!("texts/en.txt")), ("de", include_str!("texts/de.txt"))];

/// One of the languages that this gateway's pages speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Language(pub(super) usize);

/// All texts of one language.
#[derive(Debug, Clone)]
pub(super) struct Texts {
    pub(super) tag: String,
    pub(super) rtl: bool,
    texts: BTreeMap<String, String>,
}

impl Texts {
    /// Reads `source`; `file` is what an error calls it.
    pub(super) fn parse(tag: &str, file: &str, source: &str) -> Result<Self, PageError> {
        let mut texts = BTreeMap::new();
        let source = source.strip_prefix('\u{FEFF}').unwrap_or(source);
        for (number, line) in source.lines().enumerate() {
            let wrong = |detail: String| PageError::Text {
                file: file.to_owned(),
                line: number.saturating_add(1),
                detail,
            };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, text) =
                line.split_once('=').ok_or_else(|| wrong("expected `key = text`".to_owned()))?;
            let (key, text) = (key.trim(), text.trim());
            if text.is_empty() {
                return Err(wrong(format!("`{key}` has no text")));
            }
            if texts.insert(key.to_owned(), text.to_owned()).is_some() {
                return Err(wrong(format!("`{key}` is given twice")));
            }
        }
        let rtl = match texts.remove("direction").as_deref() {
            None | Some("ltr") => false,
            Some("rtl") => true,
            Some(other) => {
                return Err(PageError::Text {
                    file: file.to_owned(),
                    line: 1,
                    detail: format!("`direction` is `ltr` or `rtl`, not `{other}`"),
                });
            }
        };
        Ok(Self { tag: tag.to_owned(), rtl, texts })
    }

    /// Lays the operator's `own` texts over these.
    pub(super) fn overlay(&mut self, own: Self) {
        self.rtl |= own.rtl;
        self.texts.extend(own.texts);
    }

    /// Refuses keys and slots that `english` does not have: they are typing errors, and would show
    /// only on the page that uses them.
    pub(super) fn check(&self, english: &Self, file: &str, source: &str) -> Result<(), PageError> {
        for (key, text) in &self.texts {
            let detail = match english.texts.get(key) {
                None => {
                    let known = english.texts.keys();
                    let near = known.min_by_key(|known| strsim::damerau_levenshtein(known, key));
                    let near = near.map_or("", String::as_str);
                    format!("there is no text `{key}`; the nearest is `{near}`")
                }
                Some(model) => match slots(text).find(|slot| slots(model).all(|s| s != *slot)) {
                    None => continue,
                    Some(slot) => format!("`{key}` has no slot `{{{slot}}}`"),
                },
            };
            let is_it = |line: &str| line.split_once('=').is_some_and(|(k, _)| k.trim() == key);
            let line = source.lines().position(is_it).map_or(0, |index| index.saturating_add(1));
            return Err(PageError::Text { file: file.to_owned(), line, detail });
        }
        Ok(())
    }

    /// Takes the texts that are missing here from `english`.
    pub(super) fn complete(&mut self, english: &Self) {
        for (key, text) in &english.texts {
            self.texts.entry(key.clone()).or_insert_with(|| text.clone());
        }
    }

    /// Puts the texts that speak of a PIN in the place of those that speak of a password.
    pub(super) fn speak_of_pins(&mut self) {
        let of_pins: Vec<(String, String)> = self
            .texts
            .iter()
            .filter_map(|(key, text)| Some((key.strip_prefix("pin.")?.to_owned(), text.clone())))
            .collect();
        self.texts.extend(of_pins);
    }

    /// Whether there is such a text.
    pub(super) fn has(&self, key: &str) -> bool {
        self.texts.contains_key(key)
    }

    /// The text as HTML, the values of its slots cleaned, escaped and isolated: whatever direction
    /// a name is written in, it does not reorder the sentence around it (U+2068 to U+2069).
    pub(super) fn html(&self, key: &str, values: &[(&str, &str)]) -> Option<String> {
        let mut rest = self.texts.get(key)?.as_str();
        let mut html = String::with_capacity(rest.len());
        let mut put = |piece: std::fmt::Arguments<'_>| {
            html.write_fmt(piece).expect("writing to a String does not fail");
        };
        while let Some((before, (slot, after))) =
            rest.split_once('{').and_then(|(before, tail)| Some((before, tail.split_once('}')?)))
        {
            put(format_args!("{}", HtmlEscape(before)));
            if let Some((_, value)) = values.iter().find(|(name, _)| *name == slot) {
                let value = display::clean(value);
                put(format_args!("\u{2068}{}\u{2069}", HtmlEscape(&value)));
            }
            rest = after;
        }
        put(format_args!("{}", HtmlEscape(rest)));
        Some(html)
    }

    /// The text with its one slot filled, for a value that becomes a slot's own value.
    pub(super) fn plain(&self, key: &str, slot: &str, value: &str) -> String {
        let text = self.texts.get(key).map_or("", String::as_str);
        text.replace(&format!("{{{slot}}}"), value)
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.texts.keys().map(String::as_str)
    }

    #[cfg(test)]
    pub(super) fn slots_of(&self, key: &str) -> Vec<&str> {
        let mut found: Vec<_> = self.texts.get(key).map(|t| slots(t).collect()).unwrap_or_default();
        found.sort_unstable();
        found
    }
}

/// The names of the slots in a text.
fn slots(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|piece| piece.split_once('}').map(|(slot, _)| slot))
}

/// The language among `tags` that `header` (`Accept-Language`, RFC 9110 section 12.5.4) prefers, by
/// the lookup scheme of RFC 4647 section 3.4; the first one if it names none of them.
pub(super) fn negotiate<'a>(header: &str, tags: impl Iterator<Item = &'a str> + Clone) -> Language {
    let header = header.get(..header.floor_char_boundary(HEADER)).unwrap_or_default();
    let mut best: Option<(u16, usize)> = None;
    for preference in header.split(',').take(PREFERENCES) {
        let mut parts = preference.split(';').map(str::trim);
        let range = parts.next().unwrap_or_default();
        let weight = parts
            .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
            .map_or(Some(1000), weight);
        let (Some(weight @ 1..), Some(index)) = (weight, lookup(range, tags.clone())) else {
            continue;
        };
        // Of two equal weights the one named first wins.
        if best.is_none_or(|(other, _)| weight > other) {
            best = Some((weight, index));
        }
    }
    Language(best.map_or(0, |(_, index)| index))
}

/// The tag for `range`, which is shortened from its end until one fits.
fn lookup<'a>(range: &str, tags: impl Iterator<Item = &'a str> + Clone) -> Option<usize> {
    let mut range = range;
    loop {
        if let Some(index) = tags.clone().position(|tag| tag.eq_ignore_ascii_case(range)) {
            return Some(index);
        }
        let (shorter, _) = range.rsplit_once('-')?;
        // A single letter introduces what follows it and does not stand alone.
        range = match shorter.rsplit_once('-') {
            Some((head, single)) if single.len() == 1 => head,
            _ => shorter,
        };
    }
}

/// A weight in thousandths (RFC 9110 section 12.4.2); `None` if it is not one.
fn weight(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TAGS: [&str; 3] = ["en", "de", "pt-BR"];

    fn prefer(header: &str) -> &'static str {
        TAGS[negotiate(header, TAGS.into_iter()).0]
    }

    #[test]
    fn the_heaviest_preference_that_is_spoken_wins() {
        assert_eq!(prefer("de"), "de");
        assert_eq!(prefer("de-AT,de;q=0.9,en;q=0.8"), "de");
        assert_eq!(prefer("fr-FR,fr;q=0.9,de;q=0.5,en;q=0.3"), "de");
        assert_eq!(prefer("en;q=0.4, DE;q=0.8"), "de");
        assert_eq!(prefer("pt-br"), "pt-BR");
        assert_eq!(prefer("de-x-private"), "de");
        assert_eq!(prefer("en, de"), "en");
    }

    #[test]
    fn what_is_not_spoken_or_not_wanted_falls_back_to_the_first() {
        for header in ["", "fr", "*", "de;q=0", "de;q=0.000", "de;q=abc", "de;q=1.1", ",,;;", "pt"]
        {
            assert_eq!(prefer(header), "en", "{header:?}");
        }
    }

    #[test]
    fn only_the_beginning_of_a_long_header_is_read() {
        assert_eq!(prefer(&format!("{}de", "fr,".repeat(PREFERENCES))), "en");
        assert_eq!(prefer(&format!("{},de", "ü".repeat(HEADER))), "en");
    }

    #[test]
    fn both_built_in_languages_have_every_text_and_slot() {
        let read = |(tag, source): &(&str, &str)| Texts::parse(tag, tag, source).unwrap();
        let all: Vec<_> = BUILT_IN.iter().map(read).collect();
        for texts in &all {
            assert!(texts.keys().eq(all[0].keys()), "{} lacks or adds texts", texts.tag);
            for key in texts.keys() {
                assert_eq!(texts.slots_of(key), all[0].slots_of(key), "{} {key}", texts.tag);
            }
        }
    }

    #[test]
    fn a_wrong_line_is_told_with_its_file_and_number() {
        let error = Texts::parse("fr", "fr.txt", "a = b\n\n# c\nnonsense").unwrap_err();
        assert_eq!(error.to_string(), "fr.txt, line 4: expected `key = text`");
        let error = Texts::parse("fr", "fr.txt", "a = b\na = c").unwrap_err();
        assert_eq!(error.to_string(), "fr.txt, line 2: `a` is given twice");
    }

    #[test]
    fn a_text_with_an_unknown_key_or_slot_is_refused() {
        let english = Texts::parse("en", "en", "hello = Hello {name}").unwrap();
        let refusal = |source: &str| {
            let texts = Texts::parse("fr", "fr.txt", source).unwrap();
            texts.check(&english, "fr.txt", source).unwrap_err().to_string()
        };
        assert_eq!(
            refusal("\nhelo = Salut"),
            "fr.txt, line 2: there is no text `helo`; the nearest is `hello`"
        );
        assert_eq!(refusal("hello = Salut {nom}"), "fr.txt, line 1: `hello` has no slot `{nom}`");
    }

    #[test]
    fn the_value_of_a_slot_is_escaped_and_isolated() {
        let texts = Texts::parse("en", "en", "hello = Hello <{name}>!").unwrap();
        let html = texts.html("hello", &[("name", "<b>\u{202E}{name}")]).unwrap();
        assert_eq!(html, "Hello &lt;\u{2068}&lt;b&gt;\u{FFFD}{name}\u{2069}&gt;!");
    }

    proptest! {
        #[test]
        fn no_header_gets_beyond_the_languages_there_are(header in ".*") {
            prop_assert!(negotiate(&header, TAGS.into_iter()).0 < TAGS.len());
        }

        #[test]
        fn no_text_file_ends_the_process(source in ".*|(.*=.*\n)*") {
            if let Ok(texts) = Texts::parse("xx", "xx", &source) {
                for key in texts.keys() {
                    prop_assert!(texts.html(key, &[("a", "<")]).is_some());
                }
            }
        }
    }
}
