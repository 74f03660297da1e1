//! Writing fields into a line without the formatting machinery, and without a way out: whatever a
//! stranger sent, it stays inside its quotes, on its line, in ASCII.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

/// Appends the fields of one line in the order in which they are told, as JSON or as text. The format
/// is known to the compiler, which then writes names without a call.
pub(super) struct Fields<'a, const JSON: bool> {
    out: &'a mut Vec<u8>,
}

impl<'a, const JSON: bool> Fields<'a, JSON> {
    /// Opens a line at the end of `out` with its first field, which is text of ours.
    pub(super) fn begin(out: &'a mut Vec<u8>, key: Key, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        // A line is rarely longer; and if it is, the buffer grows.
        out.reserve(LINE_ROOM);
        out.extend_from_slice(if JSON { b"{" } else { b"" });
        let mut line = Self { out };
        // What parts a field from the one before it.
        line.own(if JSON { key.json } else { key.text }.split_at(1).1, write);
        line
    }

    /// Closes the line.
    pub(super) fn end(self) {
        self.out.extend_from_slice(if JSON { b"}\n" } else { b"\n" });
    }

    /// Text of any origin, cut to `most` bytes.
    pub(super) fn text(&mut self, key: Key, value: &str, most: usize) {
        self.key(key);
        let cut = value.len() > most;
        let value = value.get(..value.floor_char_boundary(most)).unwrap_or(value);
        if !JSON && !cut && !value.is_empty() && all(value, is_bare, &BARE) {
            self.out.extend_from_slice(value.as_bytes());
            return;
        }
        self.out.push(b'"');
        if all(value, is_plain, &PLAIN) {
            self.out.extend_from_slice(value.as_bytes());
        } else {
            escape(self.out, value);
        }
        if cut {
            self.out.extend_from_slice(CUT);
        }
        self.out.push(b'"');
    }

    /// Text of ours that needs no escape: letters, digits and `-_:./`.
    pub(super) fn ascii(&mut self, key: Key, write: impl FnOnce(&mut Vec<u8>)) {
        self.own(if JSON { key.json } else { key.text }, write);
    }

    #[inline]
    fn own(&mut self, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.out.extend_from_slice(key.as_bytes());
        if JSON {
            self.out.push(b'"');
        }
        write(self.out);
        if JSON {
            self.out.push(b'"');
        }
    }

    /// A number.
    pub(super) fn number(&mut self, key: Key, value: u64) {
        self.key(key);
        number(self.out, value);
    }

    /// A time in milliseconds, to the microsecond.
    pub(super) fn millis(&mut self, key: Key, value: Duration) {
        self.key(key);
        let micros = value.subsec_micros();
        let millis = value.as_secs().saturating_mul(1000).saturating_add(u64::from(micros / 1000));
        number(self.out, millis);
        self.out.push(b'.');
        padded::<3>(self.out, u64::from(micros % 1000));
    }

    #[inline]
    fn key(&mut self, key: Key) {
        self.out.extend_from_slice(if JSON { key.json } else { key.text }.as_bytes());
    }
}

/// A field's name as both formats write it, made by the compiler: see [`key!`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) text: &'static str,
    pub(super) json: &'static str,
}

/// The [`Key`] of this name.
macro_rules! key {
    ($name:literal) => {
        $crate::observe::encode::Key {
            text: concat!(" ", $name, "="),
            json: concat!(",\"", $name, "\":"),
        }
    };
}
pub(super) use key;

/// Room that a line mostly needs.
const LINE_ROOM: usize = 1024;

/// Stands at the end of a value that was longer than its line allows.
const CUT: &[u8] = b"...";

/// Whether all bytes are such, without an early exit. The compiler takes many of a long text at a time;
/// of a short one, as most are, a table knows each sooner.
fn all(value: &str, such: impl Fn(u8) -> bool, table: &[bool; 256]) -> bool {
    const SHORT: usize = 24;
    let bytes = value.bytes();
    match value.len() < SHORT {
        true => bytes.fold(true, |so_far, byte| {
            so_far & table.get(usize::from(byte)).is_some_and(|&such| such)
        }),
        false => bytes.fold(true, |so_far, byte| so_far & such(byte)),
    }
}

/// For each byte whether it is such.
macro_rules! table {
    ($such:path) => {{
        let mut table = [false; 256];
        let mut byte = 0_u8;
        loop {
            #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
            {
                table[byte as usize] = $such(byte);
            }
            if byte == u8::MAX {
                break table;
            }
            byte += 1;
        }
    }};
}

static BARE: [bool; 256] = table!(is_bare);
static PLAIN: [bool; 256] = table!(is_plain);

/// A byte that may stand in a text line outside quotes.
const fn is_bare(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'<' | b'>'..=b'[' | b']'..=b'~')
}

/// A byte that stands for itself between quotes.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' ' | b'!' | b'#'..=b'[' | b']'..=b'~')
}

/// RFC 8259 section 7; all that is not printable ASCII as `\uXXXX`, so that neither a terminal nor a
/// log reader that splits at U+2028 is led astray.
fn escape(out: &mut Vec<u8>, value: &str) {
    for character in value.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            ' '..='~' => out.extend(u8::try_from(character)),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let [high, low] = unit.to_be_bytes();
                    out.extend_from_slice(b"\\u");
                    out.extend_from_slice(&hex(high));
                    out.extend_from_slice(&hex(low));
                }
            }
        }
    }
}

/// Two lower-case hex digits.
pub(super) const fn hex(byte: u8) -> [u8; 2] {
    // Without a branch: letters are 39 further than digits.
    const fn digit(nibble: u8) -> u8 {
        b'0' + nibble + 39 * (nibble / 10)
    }
    [digit(byte >> 4), digit(byte & 15)]
}

/// Sixteen bytes in lower-case hex.
pub(super) fn digits(bytes: [u8; 16]) -> [u8; 32] {
    let mut digits = [0; 32];
    let (eights, _) = digits.as_chunks_mut::<8>();
    let (quarters, _) = bytes.as_chunks::<4>();
    for (eight, quarter) in eights.iter_mut().zip(quarters) {
        *eight = eight_digits(u32::from_be_bytes(*quarter));
    }
    digits
}

/// All digits at once: some times for each request, it counts.
const fn eight_digits(value: u32) -> [u8; 8] {
    // A nibble to each byte ...
    let wide = value as u64;
    let wide = (wide | (wide << 16)) & 0x0000_ffff_0000_ffff;
    let wide = (wide | (wide << 8)) & 0x00ff_00ff_00ff_00ff;
    let wide = (wide | (wide << 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    // ... of which those above 9 carry into the next nibble when 6 is added, and are letters.
    let letters = ((wide + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    (wide + 0x3030_3030_3030_3030 + letters * 39).to_be_bytes()
}

/// A decimal number.
pub(super) fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    for place in digits.iter_mut().rev() {
        *place = decimal(value);
        start -= 1;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

/// So many digits of a decimal number, with leading zeros.
pub(super) fn padded<const DIGITS: usize>(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [b'0'; DIGITS];
    for place in digits.iter_mut().rev() {
        *place = decimal(value);
        value /= 10;
    }
    out.extend_from_slice(&digits);
}

/// A number of one byte: an address has four of them.
fn octet(out: &mut Vec<u8>, value: u8) {
    if value >= 100 {
        out.push(b'0' + value / 100);
    }
    if value >= 10 {
        out.push(b'0' + value / 10 % 10);
    }
    out.push(b'0' + value % 10);
}

/// An address; one that IPv6 wraps around IPv4 as the IPv4 that it is.
pub(super) fn address(out: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            for (index, value) in v4.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                octet(out, value);
            }
        }
        IpAddr::V6(v6) => {
            let start = out.len();
            // A vector takes whatever it is given; if that ever changed, half an address would be
            // worse than none.
            if write!(out, "{v6}").is_err() {
                out.truncate(start);
            }
        }
    }
}

fn decimal(value: u64) -> u8 {
    // Always fits: the remainder is below ten.
    b'0' + u8::try_from(value % 10).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn short_and_long_texts_are_judged_alike() {
        for byte in 0..=0x7f_u8 {
            for (such, table) in [(is_bare as fn(u8) -> bool, &BARE), (is_plain, &PLAIN)] {
                for length in [1, 23, 24, 25, 100] {
                    let mut text = vec![b'a'; length];
                    text[length / 2] = byte;
                    let text = String::from_utf8(text).unwrap();
                    assert_eq!(all(&text, such, table), such(byte), "{text:?}");
                }
            }
        }
        assert!(!BARE[0x80..].iter().chain(&PLAIN[0x80..]).any(|&such| such));
    }

    #[test]
    fn numbers_are_written_as_the_library_writes_them() {
        for value in [0, 1, 9, 10, 99, 100, 12_345_678, u64::MAX - 1, u64::MAX] {
            assert_eq!(written(|out| number(out, value)), value.to_string());
        }
        assert_eq!(written(|out| padded::<3>(out, 7)), "007");
        assert_eq!(written(|out| padded::<4>(out, 2026)), "2026");
    }

    #[test]
    fn addresses_are_written_as_the_library_writes_them() {
        for value in 0..=u8::MAX {
            assert_eq!(written(|out| octet(out, value)), value.to_string());
        }
        for text in ["0.0.0.0", "203.0.113.9", "255.255.255.255", "::1", "2001:db8::7:0:1"] {
            assert_eq!(written(|out| address(out, text.parse().unwrap())), text);
        }
        assert_eq!(written(|out| address(out, "::ffff:192.0.2.1".parse().unwrap())), "192.0.2.1");
    }

    #[test]
    fn a_time_is_told_in_milliseconds_to_the_microsecond() {
        let mut out = Vec::new();
        let mut fields = Fields::<false>::begin(&mut out, key!("of"), |out| out.push(b'x'));
        fields.millis(key!("a"), Duration::from_nanos(1_234_567_999));
        fields.millis(key!("b"), Duration::from_micros(5));
        fields.millis(key!("c"), Duration::ZERO);
        fields.end();
        assert_eq!(String::from_utf8(out).unwrap(), "of=x a=1234.567 b=0.005 c=0.000\n");
    }
}
