use proptest::prelude::*;

use super::*;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

fn parse(kind: &str, body: impl AsRef<[u8]>) -> Result<Fields, BodyError> {
    let kind = HeaderValue::from_str(kind).unwrap();
    read(Some(&kind), body.as_ref(), MAX_FIELDS)
}

#[test]
fn json_and_forms_say_the_same() {
    for (kind, body) in [
        (JSON, r#"{"username":"ada","password":"a b&é","remember":true,"ttl":60,"next":null}"#),
        (
            "Application/JSON; charset=UTF-8",
            "{\"username\":\"ada\",\"password\":\"a b&\\u00e9\",\"remember\":true,\"ttl\":60}",
        ),
        (FORM, "username=ada&password=a+b%26%C3%A9&remember=on&ttl=60&"),
        (
            "application/x-www-form-urlencoded;charset=\"utf-8\"",
            "username=ada&password=a%20b%26é&remember=1&ttl=60",
        ),
    ] {
        let fields = parse(kind, body).unwrap();
        assert_eq!(fields.text("username"), Ok(Some("ada")), "{body}");
        assert_eq!(fields.required_text("password"), Ok("a b&é"), "{body}");
        assert_eq!(fields.flag("remember"), Ok(Some(true)), "{body}");
        assert_eq!(fields.number("ttl"), Ok(Some(60)), "{body}");
        assert_eq!(fields.text("next"), Ok(None), "{body}");
        assert_eq!(fields.required_text("next"), Err(BodyError::Missing("next".into())));
    }
}

#[test]
fn no_body_is_a_body_without_fields() {
    let empty = read(None, b"", MAX_FIELDS).unwrap();
    assert_eq!(empty.text("a"), Ok(None));
    assert!(parse(JSON, "").is_ok());
    assert!(parse(JSON, "{}").is_ok());
    assert!(parse(FORM, "").is_ok());
}

#[test]
fn other_media_types_are_refused() {
    assert_eq!(read(None, b"{}", MAX_FIELDS).unwrap_err(), BodyError::MediaType);
    for kind in [
        "text/plain",
        "text/plain; application/json",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "application/json, text/plain",
        "application/json; charset=utf-16",
        "application/json; charset",
        "",
    ] {
        assert_eq!(parse(kind, "{}").unwrap_err(), BodyError::MediaType, "{kind}");
        assert_eq!(parse(kind, "").unwrap_err(), BodyError::MediaType, "{kind}");
    }
}

#[test]
fn two_content_types_and_compressed_bodies_are_refused() {
    let mut headers = HeaderMap::new();
    assert_eq!(content_type(&headers), Ok(None));
    headers.append(CONTENT_TYPE, HeaderValue::from_static(JSON));
    assert_eq!(content_type(&headers), Ok(Some(&HeaderValue::from_static(JSON))));
    headers.append(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    assert_eq!(content_type(&headers), Err(BodyError::MediaType));
    headers.remove(CONTENT_ENCODING);
    headers.append(CONTENT_TYPE, HeaderValue::from_static(FORM));
    assert_eq!(content_type(&headers), Err(BodyError::MediaType));
}

#[test]
fn bad_bodies_are_told_apart() {
    use BodyError::{Malformed, Nested, NotAnObject, Repeated};
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    let cut = "{\"a\":".repeat(20_000);
    for (body, error) in [
        (&b"[1]"[..], NotAnObject),
        (b"\"a\"", NotAnObject),
        (b"null", NotAnObject),
        (b"{", Malformed),
        (b"{\"a\":1,}", Malformed),
        (b"{\"a\":1} x", Malformed),
        (b"{\"a\":NaN}", Malformed),
        (b"{\"a\":1e999}", Malformed),
        (b"{\"a\":\"\xff\"}", Malformed),
        (b"{\"a\":\"\\ud800\"}", Malformed),
        (b"{\"a\":\"\\u0000\"}", Malformed),
        (b"{\"a\":1,\"a\":1}", Repeated),
        (b"{\"a\":1,\"\\u0061\":2}", Repeated),
        (b"{\"a\":{}}", Nested),
        (b"{\"a\":[1,{\"b\":2}]}", Nested),
        (deep.as_bytes(), Nested),
        (cut.as_bytes(), Malformed),
    ] {
        let shown = String::from_utf8_lossy(body.get(..20).unwrap_or(body));
        assert_eq!(parse(JSON, body).unwrap_err(), error, "{shown}");
    }
    for (body, error) in [
        (&b"a=%ff"[..], Malformed),
        (b"a=\xff", Malformed),
        (b"a=%zz", Malformed),
        (b"a=%", Malformed),
        (b"a=%00", Malformed),
        (b"a=1&a=1", Repeated),
        (b"a=1&%61=2", Repeated),
    ] {
        assert_eq!(parse(FORM, body).unwrap_err(), error, "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn the_number_of_fields_is_bounded() {
    let form = |count: usize| (0..count).map(|n| format!("f{n}=1&")).collect::<String>();
    assert!(parse(FORM, form(MAX_FIELDS)).is_ok());
    assert_eq!(parse(FORM, form(MAX_FIELDS + 1)).unwrap_err(), BodyError::TooManyFields);
    let json = |count: usize| {
        let fields: Vec<String> = (0..count).map(|n| format!("\"f{n}\":1")).collect();
        format!("{{{}}}", fields.join(","))
    };
    assert!(parse(JSON, json(MAX_FIELDS)).is_ok());
    assert_eq!(parse(JSON, json(MAX_FIELDS + 1)).unwrap_err(), BodyError::TooManyFields);
}

#[test]
fn a_wrong_type_names_the_field_that_was_asked_for() {
    let fields = parse(JSON, r#"{"t":"true","n":1.5,"f":false,"m":-1}"#).unwrap();
    let wrong = |name: &str| BodyError::WrongType(name.to_owned());
    assert_eq!(fields.text("n"), Err(wrong("n")));
    assert_eq!(fields.text("f"), Err(wrong("f")));
    assert_eq!(fields.flag("t"), Err(wrong("t")));
    assert_eq!(fields.number("n"), Err(wrong("n")));
    assert_eq!(fields.number("m"), Err(wrong("m")));
    assert_eq!(fields.number("t"), Err(wrong("t")));
    let fields = parse(FORM, "f=maybe&n=+1&e=").unwrap();
    assert_eq!(fields.flag("f"), Err(wrong("f")));
    assert_eq!(fields.number("n"), Err(wrong("n")));
    assert_eq!(fields.number("e"), Err(wrong("e")));
    assert_eq!(fields.flag("e"), Ok(Some(false)));
}

#[test]
fn what_a_body_holds_is_not_printed() {
    let fields = parse(FORM, "password=hunter2").unwrap();
    assert_eq!(format!("{fields:?}"), "Fields(1)");
}

proptest! {
    #[test]
    fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = parse(JSON, &body);
        let _ = parse(FORM, &body);
    }

    #[test]
    fn every_text_survives_both_ways(text in "[^\0]{0,40}") {
        let json = serde_json::json!({ "a": text }).to_string();
        let json = parse(JSON, json).unwrap();
        prop_assert_eq!(json.text("a"), Ok(Some(text.as_str())));
        let form = form_urlencoded::Serializer::new(String::new()).append_pair("a", &text).finish();
        let form = parse(FORM, form).unwrap();
        prop_assert_eq!(form.text("a"), Ok(Some(text.as_str())));
    }
}
