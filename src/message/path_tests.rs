use proptest::prelude::*;

use super::*;

fn ok(path: &str) -> String {
    canonical(path).unwrap_or_else(|error| panic!("{path}: {error}")).into_owned()
}

fn refused(path: &str) -> PathError {
    match canonical(path) {
        Ok(form) => panic!("{path} passed as {form}"),
        Err(error) => error,
    }
}

#[test]
fn a_canonical_path_is_not_copied() {
    for path in [
        "/",
        "/a",
        "/a/",
        "/a/b.c/.well-known/..x/...",
        "/caf%C3%A9/%20/100%25",
        "/a;b=c/d",
        "/!$&'()*+,;=:@-._~",
        "/%25zz",
        "/.%25/..%20",
        "/%25%C3%A9",
        "/...;x",
    ] {
        assert!(matches!(canonical(path), Ok(Cow::Borrowed(form)) if form == path), "{path}");
    }
}

#[test]
fn spellings_of_one_path_have_one_form() {
    for (path, form) in [
        ("/%41DMIN/x", "/ADMIN/x"),
        ("/a/%2e%2e/b", "/b"),
        ("/a/.%2E/b", "/b"),
        ("/a/./b/.", "/a/b/"),
        ("/a/b/..", "/a/"),
        ("/a/..", "/"),
        ("//a///b//", "/a/b/"),
        ("/a//../b", "/b"),
        ("/%7euser", "/~user"),
        ("/%c3%a9", "/%C3%A9"),
        ("/é", "/%C3%A9"),
        ("/[slug]|^{x}", "/%5Bslug%5D%7C%5E%7Bx%7D"),
        ("/%3b%3f%23", "/%3B%3F%23"),
        ("/\u{212a}\u{130}", "/%E2%84%AA%C4%B0"),
    ] {
        assert_eq!(ok(path), form, "{path}");
    }
}

#[test]
fn a_path_with_two_readings_is_refused() {
    use PathError::{
        AboveRoot, Backslash, BadEscape, Control, Delimiter, DotParameters, DoubleEncoding,
        EncodedSeparator, NotAbsolute, NotUtf8,
    };
    for (path, error) in [
        ("", NotAbsolute),
        ("public/a", NotAbsolute),
        ("*", NotAbsolute),
        ("/%zz", BadEscape),
        ("/%", BadEscape),
        ("/%4", BadEscape),
        ("/%+1", BadEscape),
        ("/a%2fb", EncodedSeparator),
        ("/a%2Fb", EncodedSeparator),
        ("/a%5cb", EncodedSeparator),
        ("/..%2fadmin", EncodedSeparator),
        ("/a\\b", Backslash),
        ("/%00", Control),
        ("/a\0", Control),
        ("/a%0d%0aSet-Cookie:x", Control),
        ("/a\x7f", Control),
        ("/%7F", Control),
        ("/%C2%85", Control),
        ("/%ff", NotUtf8),
        ("/%c0%af", NotUtf8),
        ("/%C3/x", NotUtf8),
        ("/%C3x", NotUtf8),
        ("/%ED%A0%80", NotUtf8),
        ("/%C3%", BadEscape),
        ("/%252e%252e/admin", DoubleEncoding),
        ("/%25%32%65", DoubleEncoding),
        ("/%2525", DoubleEncoding),
        ("/foo/secret#/bar", Delimiter),
        ("/admin/x?/public/", Delimiter),
        ("/a b", Delimiter),
        ("/..", AboveRoot),
        ("/a/../../b", AboveRoot),
        ("/%2e%2e/", AboveRoot),
        ("/a/..;/b", DotParameters),
        ("/a/.;x=1/b", DotParameters),
        ("/a/%2e.;x", DotParameters),
        ("/a/..%3B/b", DotParameters),
    ] {
        assert_eq!(refused(path), error, "{path}");
    }
}

#[test]
fn parameters_are_cut_from_every_segment() {
    for (path, cut) in [
        ("/a;x/b;y=1;z/c", Some("/a/b/c")),
        ("/admin;x", Some("/admin")),
        ("/;x/admin", Some("/admin")),
        ("/a/;x", Some("/a/")),
        ("/a;x/", Some("/a/")),
        ("/;", Some("/")),
        ("/a/b", None),
        ("/a%3Bx", None),
    ] {
        assert_eq!(without_parameters(path).as_deref(), cut, "{path}");
    }
}

/// The same rules, written for plainness: all bytes with the mark whether they were escaped.
fn twin(path: &str) -> Option<String> {
    let mut stack: Vec<Vec<(u8, bool)>> = Vec::new();
    let mut trailing = false;
    for segment in path.strip_prefix('/')?.split('/') {
        let marked = decode(segment)?;
        let decoded: Vec<u8> = marked.iter().map(|&(byte, _)| byte).collect();
        let text = String::from_utf8(decoded).ok()?;
        if text.chars().any(char::is_control) || text.contains('\\') || text.contains('/') {
            return None;
        }
        if text.starts_with(".;") || text.starts_with("..;") {
            return None;
        }
        trailing = matches!(text.as_str(), "" | "." | "..");
        match text.as_str() {
            "" | "." => {}
            ".." => drop(stack.pop()?),
            _ => stack.push(marked),
        }
    }
    let mut out = String::new();
    for segment in stack {
        out.push('/');
        for (byte, escaped) in segment {
            if is_unreserved(byte) || (!escaped && is_pchar(byte)) {
                out.push(char::from(byte));
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    if trailing {
        out.push('/');
    }
    let twice = out.split("%25").skip(1).any(|behind| {
        behind.len() >= 2 && behind.bytes().take(2).all(|byte| byte.is_ascii_hexdigit())
    });
    (!twice).then_some(out)
}

fn decode(segment: &str) -> Option<Vec<(u8, bool)>> {
    let mut marked = Vec::new();
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                let digits = String::from_utf8(digits.to_vec()).ok()?;
                marked.push((u8::from_str_radix(&digits, 16).ok()?, true));
            }
            b' ' | b'?' | b'#' => return None,
            byte => marked.push((byte, false)),
        }
    }
    Some(marked)
}

fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        5 => "[a-zA-Z0-9]{1,3}",
        4 => Just("/".to_owned()),
        2 => Just(".".to_owned()),
        2 => "%[0-9a-fA-F]{2}",
        1 => Just("%2e".to_owned()),
        1 => Just("%25".to_owned()),
        1 => Just("%c3%a9".to_owned()),
        1 => Just("%E2%82%AC".to_owned()),
        1 => Just(";".to_owned()),
        1 => "[!-~]",
        1 => "\\PC",
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

/// What an application sees that decodes once.
fn decoded(path: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(path).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_fast_way_agrees_with_the_plain_one(path in hostile()) {
        prop_assert_eq!(canonical(&path).ok().map(Cow::into_owned), twin(&path));
    }

    #[test]
    fn what_passes_is_canonical(path in hostile()) {
        if let Ok(form) = canonical(&path) {
            prop_assert!(matches!(canonical(&form), Ok(Cow::Borrowed(again)) if again == form));
            prop_assert!(form.starts_with('/') && !form.contains("//"));
            prop_assert!(form.split('/').all(|segment| segment != "." && segment != ".."));
            prop_assert!(form.is_ascii() && !form.contains(['\\', '?', '#', ' ']));
            for escape in form.split('%').skip(1) {
                let digits = escape.get(..2).unwrap();
                prop_assert_eq!(digits, digits.to_ascii_uppercase());
                let byte = u8::from_str_radix(digits, 16).unwrap();
                prop_assert!(!is_unreserved(byte) && !byte.is_ascii_control());
                prop_assert!(byte != b'/' && byte != b'\\');
            }
        }
    }

    #[test]
    fn whoever_decodes_the_form_sees_no_other_path(path in hostile()) {
        if let Ok(form) = canonical(&path) {
            let seen = decoded(&form);
            // Decoding brings no separator and no dot segment to light.
            let slashes = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'/').count();
            prop_assert_eq!(slashes(&seen), slashes(form.as_bytes()));
            prop_assert!(seen.split(|&b| b == b'/').all(|part| part != b".." && part != b"."));
            // Nor does decoding twice.
            prop_assert_eq!(decoded(&String::from_utf8(seen.clone()).unwrap()), seen);
        }
    }

    #[test]
    fn cutting_parameters_leaves_a_canonical_path(path in hostile()) {
        if let Ok(form) = canonical(&path) {
            match without_parameters(&form) {
                None => prop_assert!(!form.contains(';')),
                Some(cut) => {
                    prop_assert!(!cut.contains(';'));
                    prop_assert_eq!(canonical(&cut).map(Cow::into_owned), Ok(cut.into_owned()));
                }
            }
        }
    }
}

#[test]
fn escaped_delimiters_are_shown_as_plain_ones() {
    for (path, plain) in [
        ("/admin%21", Some("/admin!")),
        ("/a%40b/%24%26%27%28%29%2A%2B%2C%3B%3D%3A", Some("/a@b/$&'()*+,;=:")),
        ("/%C3%A4%21%20x", Some("/%C3%A4!%20x")),
        ("/%C3%A4%20", None),
        ("/100%25", None),
        ("/plain!", None),
    ] {
        assert_eq!(canonical(path).unwrap(), path, "it is canonical");
        assert_eq!(with_plain_delimiters(path).as_deref(), plain, "{path}");
    }
}
