//! The colours, light and dark, and the operator's accent fitted to them so that every text on
//! every ground keeps the contrast of WCAG 2.2 AA: 4.5 for text (1.4.3), 3 for what must be seen
//! to be used (1.4.11).

use std::fmt;
use std::str::FromStr;

use super::PageError;

/// Contrast of text with its ground.
const TEXT: f64 = 4.5;
/// Contrast of edges, marks and focus rings.
const EDGE: f64 = 3.0;

/// A colour in sRGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour(pub [u8; 3]);

impl Colour {
    /// Deep pine: the accent if the operator names none.
    pub const DEFAULT_ACCENT: Self = Self([0x1b, 0x62, 0x5c]);
    const WHITE: Self = Self([0xff; 3]);
    const BLACK: Self = Self([0; 3]);

    /// Relative luminance, 0 to 1 (WCAG 2.2, definition of that name).
    fn luminance(self) -> f64 {
        let [r, g, b] = self.0.map(|channel| {
            let channel = f64::from(channel) / 255.0;
            if channel <= 0.04045 { channel / 12.92 } else { ((channel + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    /// Contrast ratio, 1 to 21 (WCAG 2.2, definition of that name).
    pub fn contrast(self, other: Self) -> f64 {
        let (a, b) = (self.luminance() + 0.05, other.luminance() + 0.05);
        if a > b { a / b } else { b / a }
    }

    /// This colour with `percent` of `other` in it.
    fn mixed(self, other: Self, percent: u16) -> Self {
        let mut channels = self.0;
        for (own, other) in channels.iter_mut().zip(other.0) {
            let sum =
                u16::from(*own) * (100 - percent.min(100)) + u16::from(other) * percent.min(100);
            *own = u8::try_from(sum / 100).unwrap_or(u8::MAX);
        }
        Self(channels)
    }

    /// The lightest colour of this hue and saturation.
    fn vivid(self) -> Self {
        let most = self.0.into_iter().max().map_or(1, |most| u16::from(most.max(1)));
        let scaled = |channel: u8| u8::try_from(u16::from(channel) * 255 / most).unwrap_or(u8::MAX);
        Self(self.0.map(scaled))
    }

    /// The nearest shade towards `to` that has at least `least` contrast with each of `grounds`.
    /// On the way to white it keeps its hue as long as it can.
    fn until(self, to: Self, least: f64, grounds: &[Self]) -> Self {
        let between = if to == Self::WHITE { self.vivid() } else { to };
        let first = (0..=100).map(|percent| self.mixed(between, percent));
        let second = (0..=100).map(|percent| between.mixed(to, percent));
        first
            .chain(second)
            .find(|shade| grounds.iter().all(|ground| shade.contrast(*ground) >= least))
            .unwrap_or(to)
    }

    /// What stands in for this accent where it could not be seen or read itself, in the light and
    /// in the dark scheme; `None` if it is never changed.
    pub(super) fn fitted(self) -> Option<[Self; 2]> {
        let fitted = [&LIGHT, &DARK].map(|scheme| self.until(scheme.pole, EDGE, &[scheme.surface]));
        (fitted != [self; 2]).then_some(fitted)
    }

    /// What is read best on this colour; one of the two always reaches 4.5, but only black itself.
    fn text_on(self) -> Self {
        if self.contrast(Self::WHITE) >= TEXT { Self::WHITE } else { Self::BLACK }
    }
}

/// `#rgb` or `#rrggbb`.
impl FromStr for Colour {
    type Err = PageError;

    fn from_str(text: &str) -> Result<Self, PageError> {
        let wrong = || PageError::Colour(text.to_owned());
        let digits = text.strip_prefix('#').ok_or_else(wrong)?;
        let nibbles: Option<Vec<u8>> = digits
            .chars()
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect();
        match nibbles.ok_or_else(wrong)?.as_slice() {
            [r, g, b] => Ok(Self([r * 17, g * 17, b * 17])),
            [a, b, c, d, e, f] => Ok(Self([a * 16 + b, c * 16 + d, e * 16 + f])),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [r, g, b] = self.0;
        write!(f, "#{r:02x}{g:02x}{b:02x}")
    }
}

/// The colours of one scheme.
struct Scheme {
    ground: Colour,
    surface: Colour,
    ink: Colour,
    muted: Colour,
    line: Colour,
    edge: Colour,
    bad: Colour,
    bad_ground: Colour,
    note_ground: Colour,
    /// What an accent is mixed with until it can be read.
    pole: Colour,
}

const LIGHT: Scheme = Scheme {
    ground: Colour([0xf3, 0xf1, 0xec]),
    surface: Colour([0xff, 0xfe, 0xfc]),
    ink: Colour([0x1c, 0x23, 0x26]),
    muted: Colour([0x57, 0x60, 0x63]),
    line: Colour([0xde, 0xda, 0xd1]),
    edge: Colour([0x84, 0x83, 0x7b]),
    bad: Colour([0xa1, 0x26, 0x1c]),
    bad_ground: Colour([0xfc, 0xee, 0xeb]),
    note_ground: Colour([0xf4, 0xf0, 0xe2]),
    pole: Colour::BLACK,
};

const DARK: Scheme = Scheme {
    ground: Colour([0x12, 0x16, 0x18]),
    surface: Colour([0x1b, 0x20, 0x23]),
    ink: Colour([0xe9, 0xe7, 0xe2]),
    muted: Colour([0xa6, 0xae, 0xb0]),
    line: Colour([0x32, 0x3a, 0x3e]),
    edge: Colour([0x7c, 0x88, 0x8d]),
    bad: Colour([0xff, 0xa3, 0x96]),
    bad_ground: Colour([0x3a, 0x20, 0x1d]),
    note_ground: Colour([0x2c, 0x2a, 0x20]),
    pole: Colour::WHITE,
};

impl Scheme {
    /// The custom properties that `style.css` speaks of.
    fn properties(&self, accent: Colour) -> Vec<(&'static str, Colour)> {
        let grounds = [self.ground, self.surface, self.note_ground];
        let fill = accent.until(self.pole, EDGE, &[self.surface]);
        vec![
            ("ground", self.ground),
            ("surface", self.surface),
            ("ink", self.ink),
            ("muted", self.muted),
            ("line", self.line),
            ("edge", self.edge),
            ("bad", self.bad),
            ("bad-ground", self.bad_ground),
            ("note-ground", self.note_ground),
            ("accent", fill),
            ("on-accent", fill.text_on()),
            ("accent-ink", accent.until(self.pole, TEXT, &grounds)),
        ]
    }
}

/// The rules that give the colours their names, to stand before `style.css`.
pub(super) fn rules(accent: Colour) -> String {
    let block = |scheme: &Scheme| -> String {
        scheme.properties(accent).iter().map(|(name, value)| format!("--{name}:{value};")).collect()
    };
    format!(
        ":root{{color-scheme:light dark;{}}}@media(prefers-color-scheme:dark){{:root{{{}}}}}",
        block(&LIGHT),
        block(&DARK)
    )
}

/// Our mark, a gate within a gate, for the browser's tab.
pub(super) fn icon(accent: Colour) -> String {
    let on = accent.text_on();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 32 32\">\
         <path fill=\"{accent}\" d=\"M3 30V14a13 13 0 0 1 26 0v16z\"/>\
         <path fill=\"none\" stroke=\"{on}\" stroke-width=\"2.5\" d=\"M10.5 30V15a5.5 5.5 0 0 1 11 0v15\"/>\
         </svg>"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(scheme: &Scheme, accent: Colour, name: &str) -> Colour {
        let found = scheme.properties(accent).into_iter().find(|(key, _)| *key == name);
        found.expect("the property exists").1
    }

    /// (text or edge, ground, least contrast): every pair that `style.css` makes.
    const PAIRS: &[(&str, &str, f64)] = &[
        ("ink", "ground", TEXT),
        ("ink", "surface", TEXT),
        ("ink", "note-ground", TEXT),
        ("ink", "bad-ground", TEXT),
        ("muted", "ground", TEXT),
        ("muted", "surface", TEXT),
        ("bad", "surface", TEXT),
        ("bad", "bad-ground", TEXT),
        ("accent-ink", "ground", TEXT),
        ("accent-ink", "surface", TEXT),
        ("accent-ink", "note-ground", TEXT),
        ("on-accent", "accent", TEXT),
        ("edge", "surface", EDGE),
        ("accent", "surface", EDGE),
    ];

    fn check(accent: Colour) {
        for scheme in [&LIGHT, &DARK] {
            for (text, ground, least) in PAIRS {
                let (a, b) = (named(scheme, accent, text), named(scheme, accent, ground));
                let got = a.contrast(b);
                assert!(got >= *least, "accent {accent}: {text} {a} on {ground} {b} has {got:.2}");
            }
        }
    }

    #[test]
    fn the_own_colours_reach_double_a() {
        check(Colour::DEFAULT_ACCENT);
        // On this one white falls short, and so does everything lighter than black.
        check(Colour([0xde, 0x38, 0x00]));
    }

    #[test]
    fn an_accent_that_is_fit_for_its_scheme_stays_as_it_is() {
        let accent = Colour::DEFAULT_ACCENT;
        assert_eq!(named(&LIGHT, accent, "accent"), accent);
        assert_eq!(named(&LIGHT, accent, "accent-ink"), accent);
    }

    #[test]
    fn contrast_is_as_the_standard_defines_it() {
        let black = Colour::BLACK;
        assert!((black.contrast(Colour::WHITE) - 21.0).abs() < 1e-9);
        assert!((Colour([0x77; 3]).contrast(Colour::WHITE) - 4.478).abs() < 0.001);
        assert!((black.contrast(black) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_colour_is_three_or_six_hex_digits() {
        assert_eq!("#1b625c".parse::<Colour>().unwrap(), Colour::DEFAULT_ACCENT);
        assert_eq!("#Fa0".parse::<Colour>().unwrap(), Colour([0xff, 0xaa, 0]));
        for wrong in ["", "#", "1b625c", "#1b625", "#1b625c0", "#ggg", "red", "#١٢٣", "#}*{"] {
            assert!(wrong.parse::<Colour>().is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn every_accent_can_be_read_and_seen(accent: [u8; 3]) {
            check(Colour(accent));
        }
    }
}
