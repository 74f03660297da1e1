//! The access table: every endpoint and every kind of route, by every state of credential, in a
//! cookie and as Bearer. A new endpoint does not compile here until it has a row.

use std::cell::{Cell, RefCell};

use http::Method;
use sallyport::endpoints::Endpoint;
use serde_json::json;

use crate::harness::{ACCESS, Answer, Client, Gate, ORIGIN, PASSWORD, REFRESH, Upstream, response};
use crate::machines::{SECRET, add_app};

/// What a request presents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    None,
    /// Nothing that could be a token.
    Malformed,
    /// A token with another signature.
    Forged,
    /// An authentic token for another use.
    WrongKind,
    Expired,
    /// Of a session that was logged out.
    Revoked,
    /// Of an account that holds nothing.
    WrongPermission,
    /// Of an account that holds all that is asked.
    Valid,
}

const STATES: [State; 8] = [
    State::None,
    State::Malformed,
    State::Forged,
    State::WrongKind,
    State::Expired,
    State::Revoked,
    State::WrongPermission,
    State::Valid,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Cookie,
    Bearer,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Public,
    Optional,
    Required,
    Permissions,
    Roles,
    Own(Endpoint),
}

const ROUTE_KINDS: [Place; 5] =
    [Place::Public, Place::Optional, Place::Required, Place::Permissions, Place::Roles];

type Verdict = (u16, &'static str);

const OK: Verdict = (200, "");

/// The table.
fn expected(place: Place, state: State, carrier: Carrier) -> Verdict {
    match place {
        // Whoever calls is of no interest, and guests may come.
        Place::Public | Place::Optional => OK,
        Place::Required => signed_in(state, OK),
        Place::Permissions | Place::Roles => signed_in(state, (403, "forbidden")),
        Place::Own(endpoint) => match endpoint {
            // Who is in is led on; who holds something useless is shown the form.
            Endpoint::LoginPage => match state {
                State::Valid | State::WrongPermission => (303, ""),
                _ => OK,
            },
            // What a browser still holds never keeps anybody from coming in or getting out.
            Endpoint::Login | Endpoint::LogoutPage | Endpoint::Logout => OK,
            // Looks at the refresh cookie and at nothing else.
            Endpoint::Refresh => match (carrier, state) {
                (Carrier::Bearer, _) | (_, State::None) => (401, "missing_token"),
                (_, State::Malformed | State::WrongKind) => (401, "malformed"),
                (_, State::Forged) => (401, "invalid_signature"),
                (_, State::Expired) => (401, "session_expired"),
                (_, State::Revoked) => (401, "session_revoked"),
                (_, State::WrongPermission | State::Valid) => OK,
            },
            Endpoint::Me
            | Endpoint::PasswordPage
            | Endpoint::AccountPage
            | Endpoint::Sessions
            | Endpoint::EndOthers => signed_in(state, OK),
            // Who they are is looked at first; then nothing is wrong but the password and the id.
            Endpoint::Password => match signed_in(state, OK) {
                OK => (403, "wrong_password"),
                refused => refused,
            },
            Endpoint::EndSession => match signed_in(state, OK) {
                OK => (404, "not_found"),
                refused => refused,
            },
            // Open to strangers, whatever they hold.
            Endpoint::SignupPage => OK,
            Endpoint::Signup => (201, ""),
            // Opened by what stands in the link, and by no credential.
            Endpoint::SetupPage
            | Endpoint::Setup
            | Endpoint::InvitePage
            | Endpoint::Invite
            | Endpoint::ResetPage
            | Endpoint::Reset => (410, "link_spent"),
            // Open to apps by what they send, whoever the browser is.
            Endpoint::Mint | Endpoint::RevokeMinted => OK,
            Endpoint::Keys | Endpoint::Asset => OK,
        },
    }
}

/// What a place that wants somebody answers; `lacking` to somebody who holds nothing.
fn signed_in(state: State, lacking: Verdict) -> Verdict {
    match state {
        State::None => (401, "missing_token"),
        State::Malformed | State::WrongKind => (401, "malformed"),
        State::Forged => (401, "invalid_signature"),
        State::Expired => (401, "expired"),
        State::Revoked => (401, "token_revoked"),
        State::WrongPermission => lacking,
        State::Valid => OK,
    }
}

/// Method and path of a place.
fn address(place: Place) -> (Method, &'static str) {
    match place {
        Place::Public => (Method::GET, "/public/page"),
        Place::Optional => (Method::GET, "/optional/page"),
        Place::Required => (Method::GET, "/page"),
        Place::Permissions => (Method::GET, "/admin/page"),
        Place::Roles => (Method::GET, "/editor/page"),
        Place::Own(endpoint) => {
            let path = match endpoint {
                Endpoint::LoginPage | Endpoint::Login => "/auth/login",
                Endpoint::Refresh => "/auth/refresh",
                Endpoint::LogoutPage | Endpoint::Logout => "/auth/logout",
                Endpoint::Me => "/auth/me",
                Endpoint::SignupPage | Endpoint::Signup => "/auth/signup",
                Endpoint::SetupPage | Endpoint::Setup => "/auth/setup",
                Endpoint::InvitePage | Endpoint::Invite => "/auth/invite",
                Endpoint::ResetPage | Endpoint::Reset => "/auth/reset",
                Endpoint::PasswordPage | Endpoint::Password => "/auth/password",
                Endpoint::AccountPage => "/auth/account",
                Endpoint::Sessions => "/auth/sessions",
                Endpoint::EndSession => "/auth/sessions/end",
                Endpoint::EndOthers => "/auth/sessions/end-others",
                Endpoint::Mint => "/auth/token",
                Endpoint::RevokeMinted => "/auth/token/revoke",
                Endpoint::Keys => "/.well-known/jwks.json",
                Endpoint::Asset => "/auth/assets/style.css",
            };
            (endpoint.method(), path)
        }
    }
}

/// A pair of tokens, as a browser holds them.
#[derive(Clone, Default)]
struct Tokens {
    access: String,
    refresh: String,
}

impl Tokens {
    fn of(client: &Client) -> Self {
        let token = |name| client.jar.get(name).unwrap().to_owned();
        Self { access: token(ACCESS), refresh: token(REFRESH) }
    }
}

struct Table {
    gate: Gate,
    upstream: Upstream,
    /// Asks for everything; sends no cookies but those that a row says, and keeps none.
    client: RefCell<Client>,
    ada: Tokens,
    bob: Tokens,
    expired: Tokens,
    revoked: Tokens,
    /// Accounts made so far, for each needs a name of its own.
    made: Cell<usize>,
}

impl Table {
    fn set() -> Self {
        let upstream = Upstream::answering(|_| response("200 OK", &[], "the application"));
        // What is looked at is who may, not how often.
        let lines = "[login]\nsignup = true\n[attempts]\n\
                     per_account_and_network = { count = 1000, per = \"15m\" }\n\
                     per_network = { count = 1000, per = \"15m\" }\n\
                     per_account = { count = 1000, per = \"15m\" }\n";
        let gate = Gate::with(&upstream, lines);
        gate.add_user("ada", &["editor"], &["admin"]);
        gate.add_user("bob", &[], &[]);
        add_app(&gate, "quest", &[]);
        let expired = Tokens::of(&gate.signed_in("ada"));
        // Longer than a session may be idle.
        gate.pass(std::time::Duration::from_secs(8 * 86_400));
        let mut client = gate.signed_in("ada");
        let revoked = Tokens::of(&client);
        assert_eq!(client.post("/auth/logout").status, 200);
        let [ada, bob] = ["ada", "bob"].map(|name| Tokens::of(&gate.signed_in(name)));
        let (client, made) = (RefCell::new(gate.client()), Cell::new(0));
        Self { gate, upstream, client, ada, bob, expired, revoked, made }
    }

    /// Fresh tokens where the endpoint spends them.
    fn tokens(&self, place: Place, state: State) -> Option<Tokens> {
        let both = |access: &str, refresh: &str| {
            Some(Tokens { access: access.to_owned(), refresh: refresh.to_owned() })
        };
        let spends = matches!(
            place,
            Place::Own(Endpoint::Login | Endpoint::Refresh | Endpoint::Logout | Endpoint::Signup)
        );
        let of = |name| match (spends, name) {
            (true, name) => Tokens::of(&self.gate.signed_in(name)),
            (false, "ada") => self.ada.clone(),
            (false, _) => self.bob.clone(),
        };
        match state {
            State::None => None,
            State::Malformed => both("no.token", "no.token"),
            State::Forged => {
                let Tokens { access, refresh } = of("ada");
                both(&forged(&access), &forged(&refresh))
            }
            State::WrongKind => {
                let Tokens { access, refresh } = of("ada");
                both(&refresh, &access)
            }
            State::Expired => Some(self.expired.clone()),
            State::Revoked => Some(self.revoked.clone()),
            State::WrongPermission => Some(of("bob")),
            State::Valid => Some(of("ada")),
        }
    }

    fn ask(&self, place: Place, state: State, carrier: Carrier) -> Answer {
        let mut client = self.client.borrow_mut();
        let tokens = self.tokens(place, state);
        let (method, path) = address(place);
        // The refresh token is what `refresh` wants; all else is opened by an access token alone.
        let (name, token) = match (place, &tokens) {
            (Place::Own(Endpoint::Refresh), Some(tokens)) => (REFRESH, Some(&tokens.refresh)),
            (_, tokens) => (ACCESS, tokens.as_ref().map(|tokens| &tokens.access)),
        };
        let mut ask = client.ask(method.as_str(), path).without_cookies();
        match (carrier, token) {
            (_, None) => {}
            (Carrier::Cookie, Some(token)) => ask = ask.field("Cookie", format!("{name}={token}")),
            (Carrier::Bearer, Some(token)) => ask = ask.bearer(token),
        }
        if method == Method::POST {
            ask = ask.field("Origin", ORIGIN);
        }
        let Place::Own(endpoint) = place else { return ask.send() };
        ask = match endpoint {
            Endpoint::Login => ask.json(&json!({ "username": "ada", "password": PASSWORD })),
            Endpoint::Signup | Endpoint::Setup | Endpoint::Invite => {
                self.made.set(self.made.get() + 1);
                let newcomer = format!("guest {}", self.made.get());
                ask.json(&json!({ "username": newcomer, "password": "a rather long new secret" }))
            }
            Endpoint::Reset => ask.json(&json!({ "new_password": "a rather long new secret" })),
            Endpoint::Password => ask.json(&json!({
                "current_password": "not this one, surely",
                "new_password": "a rather long new secret",
            })),
            Endpoint::EndSession => ask.json(&json!({ "session": "0".repeat(32) })),
            Endpoint::Mint | Endpoint::RevokeMinted => ask.json(&json!({
                "app_id": "quest", "app_secret": SECRET, "user_id": "usr", "token": "x.y.z"
            })),
            _ => ask,
        };
        ask.send()
    }
}

/// The same token with another signature.
fn forged(token: &str) -> String {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{message}.{other}{}", &signature[1..])
}

fn rows() -> impl Iterator<Item = (Place, State, Carrier)> {
    let places = ROUTE_KINDS.into_iter().chain(Endpoint::ALL.map(Place::Own));
    places.flat_map(|place| {
        STATES.into_iter().flat_map(move |state| {
            [Carrier::Cookie, Carrier::Bearer].map(|carrier| (place, state, carrier))
        })
    })
}

#[test]
fn every_place_answers_every_credential_as_the_table_says() {
    let table = Table::set();
    let mut wrong = Vec::new();
    for (place, state, carrier) in rows() {
        let (status, code) = expected(place, state, carrier);
        let answer = table.ask(place, state, carrier);
        if answer.verdict() != (status, code.to_owned()) {
            let got = answer.verdict();
            wrong.push(format!("{place:?} {state:?} {carrier:?}: {got:?}, not {status} {code}"));
        }
    }
    assert!(wrong.is_empty(), "{} rows are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn only_what_the_table_lets_through_reaches_the_application_and_under_the_right_name() {
    let table = Table::set();
    for (place, state, carrier) in rows() {
        let before = table.upstream.requests().len();
        let answer = table.ask(place, state, carrier);
        let what = format!("{place:?} {state:?} {carrier:?}");
        let reached = table.upstream.requests().split_off(before);
        if matches!(place, Place::Own(_)) || answer.status != 200 {
            assert!(reached.is_empty(), "{what}: {reached:?}");
            continue;
        }
        let [request] = reached.as_slice() else { panic!("{what}: {reached:?}") };
        let name = match (place, state) {
            (Place::Public, _) => None,
            (_, State::Valid) => Some("ada"),
            (_, State::WrongPermission) => Some("bob"),
            _ => None,
        };
        let told = request.field("x-auth-user");
        assert_eq!(told, name.into_iter().collect::<Vec<_>>(), "{what}");
        assert!(!request.fields().iter().any(|(name, _)| name == "cookie"), "{what}");
    }
}

#[test]
fn every_401_says_how_to_come_in_and_is_kept_by_nobody() {
    let table = Table::set();
    for (place, state, carrier) in rows() {
        let answer = table.ask(place, state, carrier);
        if answer.status != 401 {
            continue;
        }
        let what = format!("{place:?} {state:?} {carrier:?}: {answer:#?}");
        assert!(answer.one("www-authenticate").starts_with("Bearer"), "{what}");
        assert!(answer.one("cache-control").contains("no-store"), "{what}");
        assert_eq!(answer.one("content-type"), "application/json", "{what}");
        assert_eq!(answer.one("x-sallyport"), answer.code(), "{what}");
        assert!(!answer.one("x-request-id").is_empty(), "{what}");
        if !matches!(place, Place::Own(_)) {
            assert_eq!(answer.json()["login_url"], "/auth/login", "{what}");
        }
    }
}

#[test]
fn every_endpoint_has_an_address_that_leads_to_it_and_refuses_other_methods() {
    let table = Table::set();
    for endpoint in Endpoint::ALL {
        let (_, path) = address(Place::Own(endpoint));
        for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
            let mut client = table.gate.client();
            let answer = client.ask(method, path).field("Origin", ORIGIN).send();
            assert_eq!(answer.verdict(), (405, "method_not_allowed".to_owned()), "{method} {path}");
            let allowed = answer.one("allow").to_owned();
            assert!(allowed.contains(endpoint.method().as_str()), "{path}: {allowed}");
        }
        if endpoint.method() == Method::GET {
            let mut client = table.gate.client();
            let answer = client.ask("HEAD", path).send();
            assert!(answer.body.is_empty() && answer.status < 500, "{path}: {answer:#?}");
        }
    }
    for path in ["/auth", "/auth/", "/auth/nothing", "/auth/login/", "/auth/assets/", "/auth/me/x"]
    {
        let answer = table.gate.client().get(path);
        assert_eq!(answer.verdict(), (404, "not_found".to_owned()), "{path}");
    }
    assert!(table.upstream.requests().is_empty(), "what is below the base is never forwarded");
}
