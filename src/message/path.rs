//! The one form of a request's path: matched by the routes and forwarded to the upstream, so that
//! nobody can make the two see different paths. What could be read in two ways is an error.

use std::borrow::Cow;

/// Why a path has no canonical form. The request is at fault, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin with `/` (RFC 9112 section 3.2.1).
    #[error("does not begin with a slash")]
    NotAbsolute,
    /// A `%` without two hexadecimal digits behind it.
    #[error("has a broken percent escape")]
    BadEscape,
    /// `%2F` or `%5C`: a separator to whoever decodes it, none to whoever does not.
    #[error("has an encoded slash or backslash")]
    EncodedSeparator,
    /// A raw backslash, which many take for a slash.
    #[error("has a backslash")]
    Backslash,
    /// A control character, raw or encoded.
    #[error("has a control character")]
    Control,
    /// Not UTF-8 once decoded.
    #[error("is not UTF-8 once decoded")]
    NotUtf8,
    /// An escaped `%` that starts another escape: decoding twice would change its meaning.
    #[error("is encoded twice")]
    DoubleEncoding,
    /// A raw blank, `?` or `#`, which end a path and cannot stand in it.
    #[error("has a character that ends a path")]
    Delimiter,
    /// `..` above the root.
    #[error("climbs above the root")]
    AboveRoot,
    /// `.` or `..` with parameters: a dot segment to whoever cuts parameters first.
    #[error("has a dot segment with parameters")]
    DotParameters,
}

/// The canonical form of `path` (without a query): unreserved characters decoded, all other escapes
/// kept with upper-case digits, dot segments resolved after decoding, empty segments merged, a
/// trailing slash kept. Borrowed when nothing is to change.
///
/// What RFC 3986 section 3.3 (`pchar`) does not allow and browsers send nevertheless (`[`, `]`,
/// `|`, `^`, non-ASCII and their like) is escaped: it has just one meaning.
///
/// # Errors
/// All that an application could read in another way than the route table does.
pub fn canonical(path: &str) -> Result<Cow<'_, str>, PathError> {
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    if is_canonical(path.as_bytes()) {
        Ok(Cow::Borrowed(path))
    } else {
        rewrite(path).map(Cow::Owned)
    }
}

/// Whether `path`, which is canonical, is surely read alike by those who cut parameters or decode
/// delimiters and by those who do not.
pub fn is_plain_to_all(path: &str) -> bool {
    memchr::memchr2(b';', b'%', path.as_bytes()).is_none()
}

/// `path`, which is canonical, as applications see it that cut `;parameters` from each segment.
/// `None` when there are none to cut. A path whose route differs between the two has no safe
/// answer.
pub fn without_parameters(path: &str) -> Option<Cow<'_, str>> {
    let (head, first) = path.split_once(';')?;
    if !first.contains('/') && !head.ends_with('/') {
        return Some(Cow::Borrowed(head));
    }
    let mut cut = String::with_capacity(path.len());
    for segment in path.split('/').skip(1) {
        let name = segment.split(';').next().unwrap_or_default();
        // A segment that was nothing but parameters is an empty one, and those are merged.
        if !cut.ends_with('/') {
            cut.push('/');
        }
        cut.push_str(name);
    }
    Some(Cow::Owned(cut))
}

/// `path`, which is canonical, as applications see it to which an escaped delimiter (`%21`) is the
/// plain one (`!`). To RFC 3986 (section 2.2) they are two paths, and to most applications one.
/// `None` when there is none to decode. A path whose route differs between the two has no safe
/// answer.
pub fn with_plain_delimiters(path: &str) -> Option<String> {
    let mut rest = path;
    let mut plain = String::new();
    let mut found = false;
    while let Some((before, after)) = rest.split_once('%') {
        plain.push_str(before);
        let delimiter = pair(after.as_bytes()).map(|(byte, _)| byte).filter(|&byte| is_pchar(byte));
        match delimiter {
            Some(byte) => {
                found = true;
                plain.push(char::from(byte));
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                plain.push('%');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    found.then_some(plain)
}

/// Whether `path` certainly is canonical. "No" only means that the thorough way has to look.
fn is_canonical(path: &[u8]) -> bool {
    let mut rest = path;
    while let Some(at) = rest.iter().position(|&byte| !is_plain(byte)) {
        let Some((&byte, after)) = rest.get(at..).and_then(<[u8]>::split_first) else {
            return false;
        };
        rest = match byte {
            b'/' => match after {
                [b'/', ..] => return false,
                [b'.', b'.', behind @ ..] | [b'.', behind @ ..] if ends_dots(behind) => {
                    return false;
                }
                _ => after,
            },
            b'%' => match kept_escape(after) {
                Some(after) => after,
                None => return false,
            },
            _ => return false,
        };
    }
    true
}

/// Whether `byte` stands for itself wherever it is.
fn is_plain(byte: u8) -> bool {
    // One load for each byte of a path, instead of a row of comparisons.
    static PLAIN: [bool; 128] = {
        let mut table = [false; 128];
        let mut byte = 0_u8;
        while byte < 128 {
            #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
            {
                table[byte as usize] = is_pchar(byte);
            }
            byte += 1;
        }
        table
    };
    PLAIN.get(usize::from(byte)).is_some_and(|&plain| plain)
}

/// Whether a segment of dots is over, given what stands behind them.
const fn ends_dots(behind: &[u8]) -> bool {
    matches!(behind, [] | [b'/' | b';', ..] | [b'%', b'3', b'B', ..])
}

/// What follows an escape that stands as it should, given what follows its `%`.
fn kept_escape(after: &[u8]) -> Option<&[u8]> {
    let escape = Escape::read(after).ok()?;
    let (digits, rest) = after.split_at_checked(escape.source_len())?;
    let spelled = digits.iter().all(|digit| !digit.is_ascii_lowercase());
    let twice = escape.is(b'%') && starts_with_digits(rest);
    (spelled && !twice && escape.unreserved().is_none()).then_some(rest)
}

fn rewrite(path: &str) -> Result<String, PathError> {
    // Room for a few characters that grow to an escape.
    let mut out = String::with_capacity(path.len() + 16);
    out.push('/');
    let mut chars = path.chars();
    // The leading slash, which `canonical` has seen.
    chars.next();
    while let Some(char) = chars.next() {
        match char {
            '/' => end_segment(&mut out, false)?,
            '%' => {
                let rest = chars.as_str();
                let escape = Escape::read(rest.as_bytes())?;
                match escape.unreserved() {
                    Some(byte) => out.push(char::from(byte)),
                    None => escape.write(&mut out),
                }
                chars = rest.get(escape.source_len()..).unwrap_or_default().chars();
            }
            '\\' => return Err(PathError::Backslash),
            ' ' | '?' | '#' => return Err(PathError::Delimiter),
            char if char.is_control() => return Err(PathError::Control),
            char if u8::try_from(char).is_ok_and(is_pchar) => out.push(char),
            char => Escape::of(char).write(&mut out),
        }
    }
    end_segment(&mut out, true)?;
    if is_encoded_twice(&out) { Err(PathError::DoubleEncoding) } else { Ok(out) }
}

/// Closes the segment at the end of `out`. Afterwards `out` ends with a slash, or is complete.
fn end_segment(out: &mut String, last: bool) -> Result<(), PathError> {
    let start = out.rfind('/').map_or(0, |slash| slash + 1);
    match out.get(start..).unwrap_or_default() {
        "" => {}
        // RFC 3986 section 5.2.4, with the difference that there is nothing above the root.
        "." => out.truncate(start),
        ".." => {
            let parent = out.get(..start.saturating_sub(1)).and_then(|above| above.rfind('/'));
            out.truncate(parent.ok_or(PathError::AboveRoot)? + 1);
        }
        segment if has_dot_parameters(segment) => return Err(PathError::DotParameters),
        _ if last => {}
        _ => out.push('/'),
    }
    Ok(())
}

fn has_dot_parameters(segment: &str) -> bool {
    let name = segment.split(';').next().unwrap_or_default();
    let name = name.split("%3B").next().unwrap_or_default();
    matches!(name, "." | "..")
}

fn is_encoded_twice(path: &str) -> bool {
    path.match_indices("%25").any(|(at, escape)| {
        starts_with_digits(path.as_bytes().get(at + escape.len()..).unwrap_or_default())
    })
}

const fn starts_with_digits(text: &[u8]) -> bool {
    matches!(text, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
}

/// One character, escaped: one to four bytes.
struct Escape {
    bytes: [u8; 4],
    len: usize,
}

impl Escape {
    fn of(char: char) -> Self {
        let mut bytes = [0; 4];
        let len = char.encode_utf8(&mut bytes).len();
        Self { bytes, len }
    }

    /// Reads a whole character, given what follows the `%` of its first byte.
    fn read(after: &[u8]) -> Result<Self, PathError> {
        let (first, mut rest) = pair(after).ok_or(PathError::BadEscape)?;
        match first {
            b'/' | b'\\' => return Err(PathError::EncodedSeparator),
            0..0x20 | 0x7f => return Err(PathError::Control),
            0x20..0x7f => return Ok(Self { bytes: [first, 0, 0, 0], len: 1 }),
            0x80.. => {}
        }
        // RFC 3629 section 3: the first byte says how many belong to the character.
        let len = match first {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => return Err(PathError::NotUtf8),
        };
        let mut bytes = [first, 0, 0, 0];
        for byte in bytes.iter_mut().take(len).skip(1) {
            let (b'%', after) = rest.split_first().ok_or(PathError::NotUtf8)? else {
                return Err(PathError::NotUtf8);
            };
            (*byte, rest) = pair(after).ok_or(PathError::BadEscape)?;
        }
        let escape = Self { bytes, len };
        let text = str::from_utf8(escape.bytes()).map_err(|_| PathError::NotUtf8)?;
        if text.chars().any(char::is_control) { Err(PathError::Control) } else { Ok(escape) }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// How much of the source it took, without the first `%`.
    const fn source_len(&self) -> usize {
        self.len * 3 - 1
    }

    fn is(&self, byte: u8) -> bool {
        self.bytes() == [byte]
    }

    /// The character, if RFC 3986 section 2.3 wants it decoded.
    fn unreserved(&self) -> Option<u8> {
        match self.bytes() {
            &[byte] if is_unreserved(byte) => Some(byte),
            _ => None,
        }
    }

    /// RFC 3986 section 2.1: upper-case digits.
    fn write(&self, out: &mut String) {
        for byte in self.bytes() {
            out.push('%');
            for nibble in [byte >> 4, byte & 0xf] {
                let digit = char::from_digit(nibble.into(), 16).unwrap_or('0');
                out.push(digit.to_ascii_uppercase());
            }
        }
    }
}

/// A byte from the two hexadecimal digits at the start of `text`, and what follows them.
fn pair(text: &[u8]) -> Option<(u8, &[u8])> {
    let [high, low, rest @ ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some((digit(*high)? << 4 | digit(*low)?, rest))
}

/// RFC 3986 section 2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 section 3.3, escapes apart.
const fn is_pchar(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';')
        || matches!(byte, b'=' | b':' | b'@')
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
