use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn line<'a>() -> Line<'a> {
    Line {
        now: Timestamp::from_millis(1_795_324_921_007),
        request_id: RequestId::from_u128(0xabc),
        client: IpAddr::from([203, 0, 113, 9]),
        protocol: "HTTP/2.0",
        method: "GET",
        host: "app.example.org",
        path: "/a/b",
        status: 200,
        outcome: "ok",
        caller: Some("ada"),
        session: Some(SessionId::from_bytes([0x5a; 16])),
        route: Some("app /**"),
        upstream: Some("app"),
        bytes: 512,
        elapsed: Duration::from_micros(1234),
        upstream_elapsed: Some(Duration::from_micros(900)),
    }
}

fn written(format: LogFormat, line: &Line<'_>) -> String {
    let mut out = Vec::new();
    let second = Second::of(line.now.secs());
    match format {
        LogFormat::Json => write::<true>(&mut out, &second, line),
        LogFormat::Text => write::<false>(&mut out, &second, line),
    }
    String::from_utf8(out).expect("a line is ASCII")
}

fn json(line: &Line<'_>) -> Value {
    serde_json::from_str(&written(LogFormat::Json, line)).expect("a line is one JSON object")
}

/// Reads a text line as a log reader would: fields parted by single blanks, a value bare or a JSON
/// string.
fn parse_text(line: &str) -> BTreeMap<String, String> {
    let mut rest = line.strip_suffix('\n').expect("a line ends in a line feed");
    let mut fields = BTreeMap::new();
    loop {
        let (key, after) = rest.split_once('=').expect("a field has a key");
        let (value, after) = if after.starts_with('"') {
            let mut values = serde_json::Deserializer::from_str(after).into_iter::<String>();
            let value = values.next().expect("a value").expect("a quoted value is a JSON string");
            (value, &after[values.byte_offset()..])
        } else {
            let end = after.find(' ').unwrap_or(after.len());
            (after[..end].to_owned(), &after[end..])
        };
        assert!(fields.insert(key.to_owned(), value).is_none(), "{key} comes twice");
        if after.is_empty() {
            return fields;
        }
        rest = after.strip_prefix(' ').expect("fields are parted by one blank");
    }
}

#[test]
fn a_text_line_tells_the_request_in_fields_that_people_can_read() {
    assert_eq!(
        written(LogFormat::Text, &line()),
        "time=2026-11-22T05:22:01.007Z request_id=00000000000000000000000000000abc \
         client=203.0.113.9 protocol=HTTP/2.0 method=GET host=app.example.org path=/a/b \
         status=200 outcome=ok caller=ada session=5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a \
         route=\"app /**\" upstream=app bytes=512 elapsed_ms=1.234 upstream_ms=0.900\n"
    );
}

#[test]
fn a_json_line_tells_the_same() {
    assert_eq!(
        written(LogFormat::Json, &line()),
        concat!(
            r#"{"time":"2026-11-22T05:22:01.007Z","#,
            r#""request_id":"00000000000000000000000000000abc","client":"203.0.113.9","#,
            r#""protocol":"HTTP/2.0","method":"GET","host":"app.example.org","path":"/a/b","#,
            r#""status":200,"outcome":"ok","caller":"ada","#,
            r#""session":"5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a","route":"app /**","#,
            r#""upstream":"app","bytes":512,"elapsed_ms":1.234,"upstream_ms":0.900}"#,
            "\n"
        )
    );
}

#[test]
fn what_is_absent_has_no_field_and_an_empty_value_has_one() {
    let bare = Line {
        caller: None,
        session: None,
        route: None,
        upstream: None,
        upstream_elapsed: None,
        host: "",
        ..line()
    };
    let fields = parse_text(&written(LogFormat::Text, &bare));
    assert_eq!(fields["host"], "");
    for key in ["caller", "session", "route", "upstream", "upstream_ms"] {
        assert!(!fields.contains_key(key), "{key}");
        assert!(json(&bare).get(key).is_none(), "{key}");
    }
}

#[test]
fn a_forged_line_inside_a_path_stays_inside_its_quotes() {
    let path = "/x\r\ntime=1 status=200 caller=root \"\\\u{1b}[2J\u{2028}\u{7f}é😀";
    let forged = Line { path, caller: Some("ada status=500"), status: 403, ..line() };
    let text = written(LogFormat::Text, &forged);
    assert!(text.contains(
        r#" path="/x\u000d\u000atime=1 status=200 caller=root \"\\\u001b[2J\u2028\u007f\u00e9\ud83d\ude00" "#
    ));
    let fields = parse_text(&text);
    assert_eq!((fields["path"].as_str(), fields["status"].as_str()), (path, "403"));
    assert_eq!(fields["caller"], "ada status=500");
    assert_eq!(json(&forged)["path"], path);
}

#[test]
fn values_are_cut_at_their_limit_on_a_whole_character_and_say_so() {
    let path = format!("/{}", "é".repeat(PATH_MAX));
    let long = Line { path: &path, ..line() };
    let cut = json(&long)["path"].as_str().expect("text").to_owned();
    let kept = cut.strip_suffix("...").expect("a cut value ends in dots");
    assert!(path.starts_with(kept) && (PATH_MAX - 1..=PATH_MAX).contains(&kept.len()));
    assert_eq!(parse_text(&written(LogFormat::Text, &long))["path"], cut);
}

#[test]
fn the_time_is_right_before_the_epoch_on_leap_days_and_beyond_the_calendar() {
    for (millis, expected) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
        (i64::MAX, "1970-01-01T00:00:00.807Z"),
    ] {
        let then = Line { now: Timestamp::from_millis(millis), ..line() };
        assert_eq!(json(&then)["time"], expected);
    }
}

proptest! {
    #[test]
    fn whatever_strangers_send_a_line_is_one_line_of_ascii_that_reads_back(
        method in ".{0,40}", host in "\\PC{0,300}", path in any::<String>(),
        caller in proptest::option::of(any::<String>()), status in 100_u16..600,
        bytes in any::<u64>(), micros in any::<u64>(), bits in any::<u128>(), v6 in any::<[u8; 16]>(),
    ) {
        let line = Line {
            request_id: RequestId::from_u128(bits), client: IpAddr::from(v6), method: &method,
            host: &host, path: &path, caller: caller.as_deref(), status, bytes,
            elapsed: Duration::from_micros(micros), ..line()
        };
        let cut = |text: &str, most: usize| {
            let end = text.floor_char_boundary(most);
            if end < text.len() { format!("{}...", &text[..end]) } else { text.to_owned() }
        };
        let text = written(LogFormat::Text, &line);
        let fields = parse_text(&text);
        let object = written(LogFormat::Json, &line);
        for written in [&text, &object] {
            prop_assert!(written.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')));
            prop_assert_eq!(written.matches('\n').count(), 1);
        }
        let object: Value = serde_json::from_str(&object).expect("one JSON object");
        for (key, value, most) in
            [("method", &method, METHOD_MAX), ("host", &host, HOST_MAX), ("path", &path, PATH_MAX)]
        {
            let expected = cut(value, most);
            prop_assert_eq!(&fields[key], &expected);
            prop_assert_eq!(object[key].as_str(), Some(expected.as_str()));
        }
        let caller = caller.map(|caller| cut(&caller, NAME_MAX));
        prop_assert_eq!(fields.get("caller"), caller.as_ref());
        prop_assert_eq!(object.get("caller").and_then(Value::as_str), caller.as_deref());
        prop_assert_eq!(&fields["bytes"], &bytes.to_string());
        prop_assert_eq!(object["bytes"].as_u64(), Some(bytes));
        prop_assert_eq!(&fields["client"], &IpAddr::from(v6).to_canonical().to_string());
    }
}
