use proptest::prelude::*;

use super::*;

const ACCESS: &str = "__Host-sp_access";
const REFRESH: &str = "__Host-sp_refresh";

fn settings() -> Cookies {
    Cookies {
        access: ACCESS.to_owned(),
        refresh: REFRESH.to_owned(),
        device: None,
        minted: None,
        refresh_path: "/".to_owned(),
        domain: None,
        same_site: SameSite::Lax,
        secure: true,
    }
}

fn fields<T: AsRef<[u8]>>(values: &[T]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(COOKIE, HeaderValue::from_bytes(value.as_ref()).unwrap());
    }
    headers
}

fn found(values: &[&str]) -> String {
    format!("{:?}", find(&fields(values), "sid"))
}

fn stripped(values: &[&str]) -> Option<String> {
    let mut headers = fields(values);
    strip(&mut headers, &["sid", "rid"]);
    let mut left = headers.get_all(COOKIE).iter();
    let first = left.next().map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(left.next(), None, "one field before HTTP/1.1");
    first
}

#[test]
fn a_cookie_is_found_wherever_it_stands() {
    for values in [
        &["sid=abc"][..],
        &["a=1; sid=abc; b=2"],
        &["a=1;sid=abc;b=2"],
        &["a=1;\tsid=abc"],
        &["a=1", "sid=abc", "b=2"],
        &["sid=abc; sid=abc", "sid=abc"],
        &["a=\u{e9}; sid=abc"],
        &["; ;; sid=abc;"],
    ] {
        assert_eq!(found(values), r#"One("abc")"#, "{values:?}");
    }
    assert_eq!(found(&["sid=a=b=="]), r#"One("a=b==")"#);
    assert_eq!(found(&["sid="]), r#"One("")"#);
}

#[test]
fn a_name_that_comes_with_two_values_is_a_conflict() {
    for values in [
        &["sid=abc; sid=abd"][..],
        &["sid=abc", "sid=abd"],
        &["sid=abc; x=1; sid="],
        &["sid=abc; sid=\"abc\""],
        &["sid=\"abc\""],
        &["sid=a b"],
        &["sid=abc "],
        &["sid=a\u{e9}"],
        &["sid=a,b"],
    ] {
        assert_eq!(found(values), "Conflict", "{values:?}");
    }
}

#[test]
fn what_only_looks_like_our_cookie_is_not() {
    for values in [
        &["SID=abc"][..],
        &["sid"],
        &["sid =abc"],
        &["=sid=abc"],
        &["xsid=abc"],
        &["sidx=abc"],
        &["\u{2000}sid=abc"],
        &["\u{a0}sid=abc"],
        &["$Version=1"],
        &["a=sid=abc"],
        &[],
    ] {
        assert_eq!(found(values), "Absent", "{values:?}");
    }
    // An old parser would see one quoted value here, and the cookie would be hidden in it.
    assert_eq!(found(&[r#"$Version=1; a="b; sid=abc; c""#]), r#"One("abc")"#);
}

#[test]
fn more_cookies_than_are_read_hold_no_credential() {
    let many = format!("{}sid=abc", "a=1; ".repeat(MAX_PAIRS));
    assert_eq!(found(&[&many]), "Conflict");
    let most = format!("{}sid=abc", "a=1; ".repeat(MAX_PAIRS - 1));
    assert_eq!(found(&[&most]), r#"One("abc")"#);
    let long = format!("a={}; sid=abc", "x".repeat(MAX_BYTES));
    assert_eq!(found(&[&long]), "Conflict");
}

#[test]
fn our_cookies_are_taken_out_and_the_others_keep_their_bytes() {
    for (values, left) in [
        (&["sid=x"][..], None),
        (&["sid=x; rid=y"], None),
        (&["sid=x", "rid=y"], None),
        (&["sid=x;"], None),
        (&["a=1"], Some("a=1")),
        (&["a=1;b=2 ;;c"], Some("a=1;b=2 ;;c")),
        (&["sid=x; a=1"], Some("a=1")),
        (&["a=1; sid=x"], Some("a=1")),
        (&["a=1; sid=x; b=2; rid=y; c=3"], Some("a=1; b=2; c=3")),
        (&["a=1", "b=2"], Some("a=1; b=2")),
        (&["a=1", "sid=x", "b=2"], Some("a=1; b=2")),
        (&["sid=x; sid=z; a=1"], Some("a=1")),
        (&["a=\"1;2\"; sid=x"], Some("a=\"1;2\"")),
        (&["sid=\"bad\"; a=1"], Some("a=1")),
    ] {
        assert_eq!(stripped(values).as_deref(), left, "{values:?}");
    }
}

#[test]
fn bytes_that_are_not_text_disturb_nobody() {
    let mut headers = fields(&[&b"a=\xff\xfe; sid=abc; b=\x80"[..]]);
    assert_eq!(find(&headers, "sid"), Found::One("abc"));
    strip(&mut headers, &["sid"]);
    assert_eq!(headers.get(COOKIE).unwrap().as_bytes(), b"a=\xff\xfe; b=\x80");
}

#[test]
fn cookies_are_set_as_their_prefix_and_the_config_demand() {
    let text = |settings: &Cookies, which, life| {
        set(settings, which, "tok", life).unwrap().to_str().unwrap().to_owned()
    };
    let mut config = settings();
    assert_eq!(
        text(&config, Which::Access, Life::Browser),
        format!("{ACCESS}=tok; HttpOnly; SameSite=Lax; Secure; Path=/")
    );
    assert_eq!(
        text(&config, Which::Refresh, Life::For(Duration::from_secs(60))),
        format!("{REFRESH}=tok; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=60")
    );
    // The prefix outweighs a domain and a path that slipped in.
    config.domain = Some("example.test".to_owned());
    config.refresh_path = "/auth".to_owned();
    assert!(!text(&config, Which::Refresh, Life::Browser).contains("/auth"));
    assert!(!text(&config, Which::Access, Life::Browser).contains("Domain"));
    config.refresh = "__Secure-r".to_owned();
    config.secure = false;
    assert_eq!(
        text(&config, Which::Refresh, Life::Browser),
        "__Secure-r=tok; HttpOnly; SameSite=Lax; Secure; Path=/auth; Domain=example.test"
    );
    config.access = "accessToken".to_owned();
    config.same_site = SameSite::None;
    config.domain = None;
    assert_eq!(
        text(&config, Which::Access, Life::Browser),
        "accessToken=tok; HttpOnly; SameSite=Lax; Path=/"
    );
    assert!(text(&config, Which::Access, Life::For(Duration::MAX)).contains("Max-Age=34560000"));
}

#[test]
fn a_value_that_browsers_would_not_keep_is_an_error() {
    let try_set = |value: &str| set(&settings(), Which::Access, value, Life::Browser).err();
    assert_eq!(try_set("a;b"), Some(CookieError::Value));
    assert_eq!(try_set("a\r\nb"), Some(CookieError::Value));
    assert_eq!(try_set("é"), Some(CookieError::Value));
    assert_eq!(try_set(&"x".repeat(MAX_PAIR_BYTES)), Some(CookieError::TooLong));
    assert_eq!(try_set(&"x".repeat(MAX_PAIR_BYTES - ACCESS.len())), None);
}

#[test]
fn clearing_reaches_every_variant_that_we_could_have_set() {
    let mut config = settings();
    config.access = "__Secure-sp_access".to_owned();
    config.domain = Some("example.test".to_owned());
    let fields = clear_variants(&config, "/auth");
    let texts: Vec<&str> = fields.iter().map(|field| field.to_str().unwrap()).collect();
    for name in ["sp_access", "sp_refresh"] {
        for prefix in ["", "__Secure-"] {
            for path in ["/", "/auth"] {
                for domain in ["", "; Domain=example.test"] {
                    let wanted = format!(
                        "{prefix}{name}=; HttpOnly; SameSite=Lax; Secure; Path={path}{domain}; \
                         Max-Age=0"
                    );
                    assert!(texts.contains(&wanted.as_str()), "{wanted}\n{texts:#?}");
                }
            }
        }
        let host = format!("__Host-{name}=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0");
        assert!(texts.contains(&host.as_str()), "{host}");
    }
    assert_eq!(texts.len(), 18);
    assert!(texts.iter().all(|text| text.ends_with("Max-Age=0")));
}

#[test]
fn what_is_set_is_cleared_with_the_same_attributes() {
    let config = settings();
    for which in [Which::Access, Which::Refresh] {
        let cleared = clear(&config, which).unwrap();
        assert!(clear_variants(&config, "/auth").contains(&cleared));
    }
}

/// Reads cookies in the plainest way.
fn twin(values: &[String], name: &str) -> Option<Result<String, ()>> {
    let mut all: Vec<String> = Vec::new();
    for piece in values.iter().flat_map(|value| value.split(';')) {
        let piece = piece.trim_start_matches([' ', '\t']);
        if let Some((left, right)) = piece.split_once('=')
            && left == name
        {
            all.push(right.to_owned());
        }
    }
    let first = all.first()?.clone();
    let fine = first.bytes().all(|b| b.is_ascii_graphic() && !b"\",;\\".contains(&b));
    Some(if fine && all.iter().all(|one| *one == first) { Ok(first) } else { Err(()) })
}

proptest! {
    #[test]
    fn reading_agrees_with_a_plain_twin(
        values in prop::collection::vec("((sid|a|sid |rid|)=?(x|y|\"x\"|x y|é|)(; |;| ;|))*", 0..4),
    ) {
        let headers = fields(&values);
        let expected = match twin(&values, "sid") {
            None => Found::Absent,
            Some(Err(())) => Found::Conflict,
            Some(Ok(ref value)) => {
                prop_assert_eq!(find(&headers, "sid"), Found::One(value));
                return Ok(());
            }
        };
        prop_assert_eq!(find(&headers, "sid"), expected);
    }

    #[test]
    fn nothing_of_ours_is_left_and_all_else_is(
        values in prop::collection::vec("((sid|a|b|rid|)=?[xy\"é]{0,40}(; |;| ;))*", 0..4),
    ) {
        let mut headers = fields(&values);
        strip(&mut headers, &["sid", "rid"]);
        prop_assert!(headers.get_all(COOKIE).iter().count() <= 1);
        prop_assert_eq!(find_each(&headers, ["sid", "rid"]), [Sent::Absent; 2]);
        let others = |values: &[String]| -> Vec<String> {
            let pieces = values.iter().flat_map(|value| value.split(';'));
            let pieces = pieces.map(|piece| piece.trim_start_matches([' ', '\t']).to_owned());
            let ours = |piece: &String| piece.starts_with("sid=") || piece.starts_with("rid=");
            pieces.filter(|piece| !piece.is_empty() && !ours(piece)).collect()
        };
        let left: Vec<String> = headers
            .get_all(COOKIE)
            .iter()
            .map(|value| String::from_utf8(value.as_bytes().to_vec()).unwrap())
            .collect();
        prop_assert_eq!(others(&left), others(&values));
    }

    #[test]
    fn no_bytes_make_it_panic(value in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, value);
            find(&headers, "a");
            strip(&mut headers, &["a"]);
        }
    }
}
