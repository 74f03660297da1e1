//! What a route may say of the fields of its messages.

use super::problems::of;
use super::{APP, DEV, parse};

fn route(lines: &str) -> Vec<String> {
    let text = format!("{APP}identity.user = \"Remote-User\"\n[[route]]\npath = \"/a\"\n{lines}\n");
    let cut = |line: String| line.split_once("route[0].").map(|(_, rest)| rest.to_owned());
    of(&text).into_iter().filter_map(cut).collect()
}

#[test]
fn what_frames_a_message_or_says_who_calls_is_not_for_a_route_to_change() {
    for name in [
        "Content-Length",
        "Transfer-Encoding",
        "Host",
        "Connection",
        "TE",
        "Expect",
        "X-Auth-User",
        "x_auth_anything",
        "Remote-User",
        "remote.user",
        "X-Forwarded-For",
        "X-Forwarded-Whatever",
        "Forwarded",
        "Via",
        "X-Request-ID",
    ] {
        for change in [
            format!("headers.request.set = {{ \"{name}\" = \"x\" }}"),
            format!("headers.request.remove = [\"{name}\"]"),
        ] {
            let told = route(&change);
            assert_eq!(told.len(), 1, "{change}: {told:?}");
            assert!(told[0].ends_with("is the gateway's own to set and to remove"), "{told:?}");
        }
    }
    assert_eq!(
        route("headers.request.remove = [\"Cookie\", \"Authorization\", \"Referer\"]").len(),
        0
    );
    assert_eq!(route("headers.request.set = { Cookie = \"a=b\" }").len(), 1, "ours are among them");
    for name in ["Content-Length", "Transfer-Encoding", "Connection", "X-Sallyport"] {
        assert_eq!(route(&format!("headers.response.remove = [\"{name}\"]")).len(), 1, "{name}");
    }
    assert_eq!(route("headers.response.set = { Set-Cookie = \"a=b\" }").len(), 1);
    assert_eq!(route("headers.response.remove = [\"Set-Cookie\", \"Server\"]").len(), 0);
}

#[test]
fn names_and_values_that_no_field_can_have_are_told() {
    let lines = "headers.request.set = { \"a b\" = \"x\", \"X-B\" = \"line\\nbreak\", \
                 \"X-C\" = { env = \"SURELY_NOT_SET_4711\" } }";
    assert_eq!(
        route(lines),
        [
            "headers.request.set.X-B: is not a header value: it has a control character",
            "headers.request.set.X-C: the environment variable SURELY_NOT_SET_4711 is not set",
            "headers.request.set.a b: \"a b\" is not a header name",
        ]
    );
}

#[test]
fn cors_that_would_open_too_much_or_mean_nothing_is_told() {
    let told = route("cors = { origins = [\"*\"], credentials = true }");
    assert!(told[0].starts_with("cors.origins: everybody's pages may not read"), "{told:?}");
    for (origins, at) in [("[]", "cors.origins"), ("[\"page.test\"]", "cors.origins[0]")] {
        let told = route(&format!("cors = {{ origins = {origins} }}"));
        assert!(told.len() == 1 && told[0].starts_with(at), "{told:?}");
    }
    let told = route(
        "preflight = \"forward\"\n\
         cors = { origins = [\"https://a.test\"], methods = [\"put\"], expose = [\"x y\"] }",
    );
    assert_eq!(told.len(), 3, "{told:?}");
}

#[test]
fn credentials_for_pages_that_the_csrf_guard_refuses_are_warned_of() {
    let lines = "cors = { origins = [\"https://a.test\", \"https://b.test\"], credentials = true }";
    let text = format!(
        "{DEV}[csrf]\nallowed_origins = [\"https://a.test\"]\n\
         {APP}[[route]]\npath = \"/a\"\n{lines}\n"
    );
    let config = parse(&text);
    let warned: Vec<_> = config
        .warnings
        .iter()
        .map(|warning| warning.key.as_str())
        .filter(|key| key.contains("cors"))
        .collect();
    assert_eq!(warned, ["route[0].cors.origins[1]"]);
}

#[test]
fn a_fresh_login_can_only_be_asked_where_a_login_is() {
    for access in ["public", "optional"] {
        let told = route(&format!("access = \"{access}\"\nmax_auth_age = \"10m\""));
        assert!(told.len() == 1 && told[0].starts_with("max_auth_age: guests"), "{told:?}");
    }
    assert_eq!(route("max_auth_age = \"10m\"").len(), 0);
    assert_eq!(route("max_auth_age = \"0s\"").len(), 1);
}

#[test]
fn cors_of_an_endpoint_is_checked_like_that_of_a_route() {
    let warned = |lines: &str| -> Vec<String> {
        let text = format!(
            "{DEV}[csrf]\nallowed_origins = [\"https://a.test\"]\n\
             {APP}[[route]]\npath = \"/a\"\n{lines}\n"
        );
        let warnings = parse(&text).warnings;
        let keys = warnings.into_iter().map(|warning| warning.key);
        keys.filter(|key| key.contains("cors")).collect()
    };
    let cors = "cors = { origins = [\"https://a.test\", \"https://b.test\"] }";
    // A login is refused if it is marked as foreign; a refresh only if it comes by cookie.
    assert_eq!(warned(&format!("[endpoints.login]\n{cors}")), ["endpoints.login.cors.origins[1]"]);
    assert_eq!(warned(&format!("[endpoints.refresh]\n{cors}")), [""; 0]);
    assert_eq!(warned(&format!("[endpoints.me]\n{cors}")), [""; 0]);
    let all = "cors = { origins = [\"*\"] }";
    assert_eq!(warned(&format!("[endpoints.mint]\n{all}")), ["endpoints.mint.cors.origins"]);
    assert_eq!(warned(&format!("[endpoints.keys]\n{all}")), [""; 0]);
}
