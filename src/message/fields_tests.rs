use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::{Algorithm, Assertion, HostPolicy, Servers, Times, UpstreamHttp};

pub(in crate::message) fn upstream() -> Upstream {
    let name = HeaderName::from_static;
    Upstream {
        name: "app".to_owned(),
        servers: Servers::Demo,
        tls: None,
        http: UpstreamHttp::One,
        host: HostPolicy::Preserve,
        identity: IdentityHeaders {
            app: Some(name("calling-app")),
            user: Some(name("remote-user")),
            id: Some(name("x-auth-id")),
            name: None,
            email: Some(name("user_email")),
            roles: Some(name("x-auth-roles")),
            permissions: None,
            session: None,
        },
        assertion: Some(Assertion {
            header: name("who-called"),
            audience: "app".to_owned(),
            ttl: Duration::from_secs(60),
            algorithm: Algorithm::Es256,
        }),
        allowed_names: vec![name("x_needed"), name("remote_user")],
        times: Times::default(),
        pool_idle: 1,
        pool_idle_timeout: Duration::from_secs(1),
        max_in_flight: 1,
        queue: 0,
        queue_wait: Duration::from_secs(1),
        max_stream_age: None,
    }
}

fn head<T: AsRef<[u8]>>(fields: &[(&str, T)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_ref()).unwrap());
    }
    headers
}

fn names(headers: &HeaderMap) -> Vec<String> {
    let mut names: Vec<String> = headers.keys().map(|name| name.as_str().to_owned()).collect();
    names.sort();
    names
}

/// What of the name survives the firewall.
fn passes(name: &str, trusted: bool) -> bool {
    let mut headers = head(&[(name, "v"), ("accept", "*/*")]);
    Firewall::new(&upstream()).strip(&mut headers, trusted);
    assert!(headers.contains_key("accept"));
    headers.len() == 2
}

#[test]
fn fields_of_one_hop_end_here() {
    let mut headers = head(&[
        ("Connection", "keep-alive, X-Once,, close , TE"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "close"),
        ("Proxy-Authorization", "Basic x"),
        ("Proxy", "evil"),
        ("TE", "trailers"),
        ("Trailer", "x"),
        ("Transfer-Encoding", "chunked"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "x"),
        ("X-Once", "1"),
        ("X-Kept", "1"),
    ]);
    strip_hop_by_hop(&mut headers);
    assert_eq!(names(&headers), ["x-kept"]);
}

#[test]
fn connection_lists_names_in_any_case_and_over_several_lines() {
    let mut headers = head(&[
        ("Connection", "X-AUTH-user"),
        ("Connection", "cookie"),
        ("X-Auth-User", "root"),
        ("Cookie", "a=1"),
        ("Host", "app.test"),
    ]);
    strip_hop_by_hop(&mut headers);
    assert_eq!(names(&headers), ["host"]);
}

#[test]
fn a_connection_field_that_is_not_text_does_no_harm() {
    let mut headers = head(&[("connection", &b"\xff, x-once,\x80"[..]), ("x-once", b"1")]);
    strip_hop_by_hop(&mut headers);
    assert!(headers.is_empty());
}

#[test]
fn identity_in_any_spelling_is_stopped_even_from_a_trusted_peer() {
    for name in [
        "x-auth-user",
        "X_Auth_User",
        "x-auth_user",
        "x.auth.user",
        "X-AUTH-ANYTHING",
        "x~auth~user",
        "remote-user",
        "REMOTE_USER",
        "remote.user",
        "user_email",
        "user-email",
        "who-called",
        "who_called",
        "calling-app",
        "calling.app",
    ] {
        assert!(!passes(name, false), "{name}");
        assert!(!passes(name, true), "{name}");
    }
}

#[test]
fn forwarding_fields_are_believed_from_trusted_peers_only() {
    for name in [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-anything",
        "x-real-ip",
        "true-client-ip",
    ] {
        assert!(!passes(name, false), "{name}");
        assert!(passes(name, true), "{name}");
        let spelled = name.replacen('-', "_", 1);
        assert!(name == "forwarded" || !passes(&spelled, true), "{spelled}");
    }
}

#[test]
fn what_makes_an_application_see_another_request_is_believed_from_nobody() {
    for name in [
        "x-original-url",
        "x-original-host",
        "x-rewrite-url",
        "x-http-method-override",
        "x-method-override",
        "x_http_method_override",
    ] {
        assert!(!passes(name, false), "{name}");
        assert!(!passes(name, true), "{name}");
    }
}

#[test]
fn names_that_look_alike_to_an_application_pass_only_by_name() {
    assert!(passes("x_needed", false));
    assert!(!passes("x_other", false));
    assert!(!passes("x.needed", false));
    assert!(!passes("accept_encoding", false));
    for name in ["x-author", "x-auth", "remote-users", "cookie", "content-type", "tracestate"] {
        assert!(passes(name, false), "{name}");
    }
}

#[test]
fn any_number_of_refused_fields_is_removed() {
    let mut headers = HeaderMap::new();
    for number in 0..100 {
        let name = format!("x-auth-{number}");
        headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_static("1"));
    }
    headers.append("x-auth-1", HeaderValue::from_static("2"));
    headers.append("accept", HeaderValue::from_static("*/*"));
    Firewall::new(&upstream()).strip(&mut headers, false);
    assert_eq!(names(&headers), ["accept"]);
}

#[test]
fn what_comes_through_has_a_name_that_http1_knows() {
    let all = (0_u8..=255).filter_map(|byte| HeaderName::from_bytes(&[b'x', byte, b'y']).ok());
    for name in all {
        // RFC 9110 section 5.6.2: tchar.
        let odd = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let token = name.as_str().bytes().all(odd);
        let through = |strip: &dyn Fn(&mut HeaderMap)| {
            let mut headers = HeaderMap::new();
            headers.append(&name, HeaderValue::from_static("1"));
            strip(&mut headers);
            !headers.is_empty()
        };
        assert!(!passes(name.as_str(), true) || token, "{name}");
        assert_eq!(through(&strip_hop_by_hop), token, "{name}");
        assert_eq!(through(&strip_trailers), token, "{name}");
    }
}

#[test]
fn values_are_plain_or_percent_encoded() {
    for (text, value) in [
        ("ada", "ada"),
        ("Ada L.", "Ada L."),
        ("Zoë", "Zo%C3%AB"),
        ("100%", "100%25"),
        (" a ", "%20a%20"),
        ("a\r\nX-Auth-User: root", "a%0D%0AX-Auth-User: root"),
        ("", ""),
        ("\0", "%00"),
    ] {
        assert_eq!(percent_header_value(text), value, "{text}");
    }
}

proptest! {
    #[test]
    fn an_encoded_value_is_plain_and_means_the_text(text in "\\PC{0,20}|[ -~]{0,20}") {
        let value = percent_header_value(&text);
        let written = value.to_str().unwrap();
        prop_assert_eq!(written.trim(), written);
        let meant = percent_encoding::percent_decode_str(written).decode_utf8().unwrap();
        prop_assert_eq!(meant, text);
    }

    #[test]
    fn nothing_that_folds_to_a_name_of_ours_passes(
        pieces in prop::collection::vec("[-_.!~|]", 3),
        upper in any::<bool>(),
    ) {
        for (name, trusted) in [("x{}auth{}user", true), ("x{}forwarded{}for", false)] {
            let mut name = name.to_owned();
            for piece in &pieces {
                name = name.replacen("{}", piece, 1);
            }
            let name = if upper { name.to_uppercase() } else { name };
            prop_assert!(!passes(&name, trusted), "{}", name);
        }
    }
}
