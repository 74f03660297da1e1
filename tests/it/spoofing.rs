//! Nobody speaks in the gateway's name: judged by the bytes that the application received.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

use crate::harness::{ACCESS, Gate, HOST, REFRESH, Request, Upstream, response};

/// What an attacker puts into every field; it must never arrive.
const MARK: &str = "mallory-was-here";

/// Names in the family of ours, in the spellings that survive somewhere.
const FORGED_NAMES: &[&str] = &[
    "X-Auth-User",
    "x-auth-user",
    "X-AUTH-USER",
    "X_Auth_User",
    "x_auth_user",
    "X.Auth.User",
    "X-Auth_User",
    "X_Auth-User",
    "x-auth.user",
    "X-Auth-User_",
    "X~Auth~User",
    "X!Auth!User",
    "X-Auth'User",
    "X-Auth-Id",
    "X-Auth-Name",
    "X-Auth-Email",
    "X-Auth-Roles",
    "X-Auth-Permissions",
    "X_AUTH_PERMISSIONS",
    "X-Auth-Session",
    "X-Auth-Assertion",
    "X-Auth-Anything",
    "X-Auth-",
    "Forwarded",
    "X-Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Uri",
    "X-Forwarded-Method",
    "X-Forwarded-Server",
    "X_Forwarded_For",
    "X.Forwarded.Host",
    "X-Forwarded_Proto",
    "X-Real-IP",
    "X_Real_IP",
    "X-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "X-Original-URL",
    "X-Original-URI",
    "X-Rewrite-URL",
    "X-Original-Host",
    "X-Host",
    "Proxy",
    "Proxy-Authorization",
    "Proxy-Connection",
    "Keep-Alive",
    "Some_Name",
    "some.name",
];

fn application() -> Upstream {
    Upstream::answering(|_| response("200 OK", &[], "the application"))
}

/// Everything of a request that the application was sent.
fn bytes(request: &Request) -> String {
    String::from_utf8_lossy(&request.head).into_owned()
}

/// A path of each kind of route, and whether it wants somebody.
const KINDS: [(&str, bool); 5] = [
    ("/public/a", false),
    ("/optional/a", false),
    ("/a", true),
    ("/admin/a", true),
    ("/editor/a", true),
];

#[test]
fn no_forged_field_reaches_the_application_on_any_kind_of_route() {
    let upstream = application();
    let gate = Gate::before(&upstream);
    gate.add_user("ada", &["editor"], &["admin"]);
    for h2 in [false, true] {
        for (path, signed_in) in KINDS {
            for signed_in in [true, signed_in] {
                let client = if signed_in { gate.signed_in("ada") } else { gate.client() };
                let mut client = if h2 { client.over_h2() } else { client };
                let mut ask = client.ask("GET", path).field("X-Innocent", "passes");
                for name in FORGED_NAMES {
                    // RFC 9113 section 8.2.2: these make an HTTP/2 request malformed.
                    if !(h2 && matches!(*name, "Proxy-Connection" | "Keep-Alive")) {
                        ask = ask.field(name, MARK);
                    }
                }
                assert_eq!(ask.send().status, 200, "{path}");
                let request = upstream.requests().pop().unwrap();
                assert!(!bytes(&request).contains(MARK), "{path}:\n{}", bytes(&request));
                assert_eq!(request.field("x-innocent"), ["passes"]);
                let known = signed_in && path != "/public/a";
                let user: &[&str] = if known { &["ada"] } else { &[] };
                assert_eq!(request.field("x-auth-user"), user, "{path}, signed in: {signed_in}");
            }
        }
    }
}

#[test]
fn each_forged_name_is_dropped_on_its_own_too() {
    let upstream = application();
    let gate = Gate::before(&upstream);
    let mut client = gate.client();
    for name in FORGED_NAMES {
        let answer = client.ask("GET", "/optional/a").field(name, MARK).send();
        assert_eq!(answer.status, 200, "{name}");
        let request = upstream.requests().pop().unwrap();
        assert!(!bytes(&request).contains(MARK), "{name}:\n{}", bytes(&request));
        assert!(!bytes(&request).to_ascii_lowercase().contains("x-auth"), "{name}");
    }
}

#[test]
fn a_client_cannot_have_the_gateways_own_fields_taken_out_by_naming_them_in_connection() {
    let upstream = application();
    let gate = Gate::before(&upstream);
    gate.add_user("ada", &["editor"], &["admin"]);
    let client = gate.signed_in("ada");
    let token = client.jar.get(ACCESS).unwrap().to_owned();
    for listed in [
        "X-Auth-User",
        "x-auth-user",
        "X-AUTH-USER, x-auth-id",
        "keep-alive, X-Auth-User",
        "X-Auth-Roles,X-Auth-Permissions,X-Auth-Session",
        "Host",
        "Cookie, Origin",
        "X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host",
        "Via, X-Request-Id",
        "Content-Length, Transfer-Encoding",
        ",,, ,x-auth-user,",
    ] {
        let request = format!(
            "POST /admin/a HTTP/1.1\r\nHost: {HOST}\r\nConnection: {listed}\r\n\
             connection: x-auth-user\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: 4\r\n\r\nbody"
        );
        let answer = client.raw(request).unwrap();
        assert_eq!(answer.status, 200, "{listed}: {answer:#?}");
        let received = upstream.requests().pop().unwrap();
        let once = |name: &str, value: &str| {
            assert_eq!(received.field(name), [value], "{listed}:\n{}", bytes(&received));
        };
        once("x-auth-user", "ada");
        once("x-auth-roles", "editor");
        once("x-auth-permissions", "admin");
        once("host", HOST);
        once("x-forwarded-for", "127.0.0.1");
        once("x-forwarded-proto", "https");
        once("x-forwarded-host", HOST);
        assert_eq!(received.field("x-auth-session").len(), 1);
        assert_eq!(received.field("x-request-id").len(), 1);
        assert_eq!(received.body, b"body", "{listed}: the framing is ours");
    }
}

#[test]
fn what_cannot_be_a_name_in_connection_harms_nobody() {
    let upstream = application();
    let gate = Gate::before(&upstream);
    let client = gate.client();
    for listed in [&b"\xff"[..], b"a b", b"\"quoted\", (comment)", b";", b"x\x80-auth-user"] {
        let start = format!("GET /public/a HTTP/1.1\r\nHost: {HOST}\r\nConnection: ");
        let request = [start.as_bytes(), listed, b"\r\n\r\n"].concat();
        let answer = client.raw(&request).unwrap();
        assert!(matches!(answer.status, 200 | 400), "{listed:?}: {answer:#?}");
        assert_eq!(client.twin().get("/public/b").status, 200, "the gateway goes on");
    }
}

#[test]
fn the_application_never_sees_our_cookies_nor_a_credential_that_we_took() {
    let upstream = application();
    let gate = Gate::before(&upstream);
    gate.add_user("ada", &["editor"], &["admin"]);
    let client = gate.signed_in("ada");
    let access = client.jar.get(ACCESS).unwrap().to_owned();
    let refresh = client.jar.get(REFRESH).unwrap().to_owned();
    for (path, _) in KINDS {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\
             Cookie: a=1; {ACCESS}={access}; b=2; {REFRESH}={refresh}\r\n\
             cookie: {ACCESS}={access};c=3\r\n\r\n"
        );
        assert_eq!(client.raw(request).unwrap().status, 200, "{path}");
        let received = upstream.requests().pop().unwrap();
        assert_eq!(received.field("cookie"), ["a=1; b=2; c=3"], "{path}");
        assert!(!bytes(&received).contains(&access) && !bytes(&received).contains(&refresh));
    }
    let mut client = client.twin();
    let answer = client.ask("GET", "/a").without_cookies().bearer(&access).send();
    assert_eq!(answer.status, 200);
    assert!(!bytes(&upstream.requests().pop().unwrap()).contains(&access));
    // What is not ours passes.
    let basic = "Basic YWRhOnNlY3JldA==";
    client.ask("GET", "/a").field("Authorization", basic).send();
    assert_eq!(upstream.requests().pop().unwrap().field("authorization"), [basic]);
    assert_eq!(upstream.requests().pop().unwrap().field("x-auth-user"), ["ada"]);
}

#[test]
fn a_cookie_under_another_prefix_or_case_is_the_applications_own() {
    let upstream = application();
    let gate = Gate::before(&upstream);
    gate.add_user("ada", &[], &[]);
    let signed_in = gate.signed_in("ada");
    let token = signed_in.jar.get(ACCESS).unwrap();
    let mut client = gate.client();
    for name in ["sallyport_access", "__Secure-sallyport_access", "__host-sallyport_access"] {
        let cookie = format!("{name}={token}");
        let answer = client.ask("GET", "/a").field("Cookie", &cookie).send();
        assert_eq!(answer.verdict(), (401, "missing_token".to_owned()), "{name}");
    }
}

#[test]
fn a_missing_value_is_an_absent_field_and_never_the_clients() {
    let upstream = application();
    let gate = Gate::before(&upstream);
    gate.add_user("bob", &[], &[]);
    let mut client = gate.signed_in("bob");
    let answer = client
        .ask("GET", "/a")
        .field("X-Auth-Roles", "editor")
        .field("X-Auth-Permissions", "admin")
        .field("X-Auth-Email", "root@example.org")
        .field("X-Auth-Name", "root")
        .send();
    assert_eq!(answer.status, 200);
    let received = upstream.requests().pop().unwrap();
    for name in ["roles", "permissions", "email", "name"] {
        assert_eq!(received.field(&format!("x-auth-{name}")), Vec::<String>::new(), "{name}");
    }
    assert_eq!(received.field("x-auth-user"), ["bob"]);
}

#[test]
fn what_is_not_plain_ascii_is_percent_encoded() {
    let upstream = application();
    let gate = Gate::before(&upstream);
    gate.add_user("zoë 100%", &[], &[]);
    let mut client = gate.signed_in("zoë 100%");
    assert_eq!(client.get("/a").status, 200);
    let received = upstream.requests().pop().unwrap();
    assert_eq!(received.field("x-auth-user"), ["zo%C3%AB 100%25"]);
}

#[test]
fn an_upstream_may_call_the_identity_otherwise_and_both_names_are_guarded() {
    let upstream = application();
    let url = upstream.url();
    let gate = Gate::start(&format!(
        "[[upstream]]\nname = \"app\"\nservers = [\"{url}\"]\nallowed_names = [\"legacy_name\"]\n\
         [upstream.identity]\nuser = \"Remote-User\"\nname = \"Remote-Name\"\nid = false\n\
         [[route]]\npath = \"/**\"\naccess = \"optional\"\n"
    ));
    gate.add_user("ada", &[], &[]);
    for signed_in in [false, true] {
        let mut client = if signed_in { gate.signed_in("ada") } else { gate.client() };
        let mut ask = client.ask("GET", "/a").field("legacy_name", "passes");
        for name in ["Remote-User", "remote_user", "REMOTE.USER", "Remote-Name", "X-Auth-User"] {
            ask = ask.field(name, MARK);
        }
        assert_eq!(ask.send().status, 200);
        let received = upstream.requests().pop().unwrap();
        assert!(!bytes(&received).contains(MARK), "{}", bytes(&received));
        let told = |name: &str| received.field(name).pop();
        let told = (told("remote-user"), told("remote-name"), told("x-auth-id"));
        let known = signed_in.then(|| "ada".to_owned());
        let name = signed_in.then(|| "ada the person".to_owned());
        assert_eq!(told, (known, name, None));
        assert_eq!(received.field("legacy_name"), ["passes"]);
    }
}

#[test]
fn only_a_trusted_proxy_is_believed_about_where_a_request_came_from() {
    let upstream = application();
    let url = upstream.url();
    let config = |trusted: &str| {
        format!(
            "[listen]\nhttps = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\ndrain_timeout = \"0s\"\n\
             public_url = \"https://localhost:8443\"\ntrusted_proxies = [{trusted}]\n\
             [[upstream]]\nname = \"app\"\nservers = [\"{url}\"]\n\
             [[route]]\npath = \"/**\"\naccess = \"public\"\n"
        )
    };
    for (trusted, list) in
        [("", "127.0.0.1"), ("\"127.0.0.0/8\"", "6.6.6.6, 203.0.113.9, 127.0.0.1")]
    {
        let gate = Gate::start(&config(trusted));
        let answer = gate
            .client()
            .ask("GET", "/a")
            .field("X-Forwarded-For", "6.6.6.6, 203.0.113.9")
            .field("X_Forwarded_For", MARK)
            .send();
        assert_eq!(answer.status, 200);
        let received = upstream.requests().pop().unwrap();
        assert_eq!(received.field("x-forwarded-for"), [list]);
        assert!(!bytes(&received).contains(MARK));
    }
}

#[test]
fn the_assertion_is_verified_by_the_public_keys_and_is_for_its_upstream_alone() {
    let upstream = application();
    let url = upstream.url();
    let gate = Gate::start(&format!(
        "[[upstream]]\nname = \"app\"\nservers = [\"{url}\"]\n\
         [upstream.assertion]\naudience = \"the-app\"\n\
         [[upstream]]\nname = \"edd\"\nservers = [\"{url}\"]\n\
         [upstream.assertion]\naudience = \"edd\"\nalgorithm = \"EdDSA\"\nheader = \"X-Proof\"\n\
         [[upstream]]\nname = \"plain\"\nservers = [\"{url}\"]\n\
         [[route]]\npath = \"/**\"\nupstream = \"app\"\naccess = \"optional\"\n\
         [[route]]\npath = \"/edd/**\"\nupstream = \"edd\"\n\
         [[route]]\npath = \"/plain/**\"\nupstream = \"plain\"\n"
    ));
    let user = gate.add_user("ada", &["editor"], &[]);
    let mut client = gate.signed_in("ada");
    let keys: JwkSet = serde_json::from_slice(&client.get("/.well-known/jwks.json").body).unwrap();
    let verify = |token: &str, audience: &str, algorithm: Algorithm| {
        let kid = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
        let key = DecodingKey::from_jwk(keys.find(&kid).unwrap()).unwrap();
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&[audience]);
        validation.set_issuer(&["https://localhost:8443"]);
        jsonwebtoken::decode::<Value>(token, &key, &validation).map(|token| token.claims)
    };
    for (path, field, audience, algorithm) in [
        ("/a", "x-auth-assertion", "the-app", Algorithm::ES256),
        ("/edd/a", "x-proof", "edd", Algorithm::EdDSA),
    ] {
        let answer = client.ask("GET", path).field(field, MARK).send();
        assert_eq!(answer.status, 200);
        let [token] = upstream.requests().pop().unwrap().field(field).try_into().unwrap();
        let claims = verify(&token, audience, algorithm).unwrap();
        assert_eq!(claims["sub"], user.to_string());
        assert_eq!(claims["preferred_username"], "ada");
        assert_eq!(claims["roles"], serde_json::json!(["editor"]));
        assert!(verify(&token, "another", algorithm).is_err(), "it is for this audience alone");
        let altered = token.replace('.', ".e");
        assert!(verify(&altered, audience, algorithm).is_err(), "altered");
        // It is worth nothing at the gateway itself.
        let mut stranger = gate.client();
        let answer = stranger.ask("GET", "/edd/a").bearer(&token).send();
        assert_eq!(answer.verdict(), (401, "malformed".to_owned()));
    }
    client.get("/plain/a");
    assert!(!bytes(&upstream.requests().pop().unwrap()).contains("eyJ"), "nothing signed");
    let mut nobody = gate.client();
    nobody.ask("GET", "/a").field("X-Auth-Assertion", MARK).send();
    let received = upstream.requests().pop().unwrap();
    assert_eq!(received.field("x-auth-assertion"), Vec::<String>::new());
}
