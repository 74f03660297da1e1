//! The program itself: started, told to stop, killed, and steered from the command line.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::Output;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use sallyport::clock::Stopwatch;
use serde_json::{Value, json};

use crate::harness::{
    ACCESS, Client, ORIGIN, PASSWORD, PATIENCE, Process, REFRESH, ROUTES, Upstream, add_user,
    kills, response, sallyport,
};

const LISTEN: &str = "[listen]\nhttps = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\ncores = 2\n\
    public_url = \"https://localhost:8443\"\n";

/// A config that has `lines`, the routes of every kind, and `upstream` behind them.
fn configure(folder: &Path, upstream: &str, lines: &str) {
    let text =
        format!("{lines}\n[[upstream]]\nname = \"app\"\nservers = [\"{upstream}\"]\n{ROUTES}");
    Process::configure(folder, &text);
}

fn error_text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn succeeds(folder: &Path, arguments: &[&str], input: &str) -> String {
    let output = sallyport(folder, arguments, input);
    assert!(output.status.success(), "{arguments:?}: {}", error_text(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn check_tells_all_that_is_wrong_at_once_and_exits_with_78() {
    let folder = tempfile::tempdir().unwrap();
    // What the file is made of is told first; then, of one that is well made, what it means.
    for (upstream, lines, words) in [
        (
            "http://127.0.0.1:1",
            "[session]\nacess_ttl = \"5m\"\nrotate = \"yes\"\n[limits]\nbody_bytes = -1\n",
            ["acess_ttl", "did you mean \"access_ttl\"", "rotate", "body_bytes"],
        ),
        (
            "htp://127.0.0.1:1",
            "[session]\nrefresh_ttl = \"soon\"\n[[route]]\npath = \"/x\"\nupstream = \"y\"\n\
             [[route]]\npath = \"/public/**\"\n",
            ["refresh_ttl", "servers", "upstream", "the same requests"],
        ),
    ] {
        configure(folder.path(), upstream, lines);
        for command in ["check", "run"] {
            let output = sallyport(folder.path(), &[command], "");
            assert_eq!(output.status.code(), Some(78), "{command}");
            let text = error_text(&output);
            for word in words.iter().chain(&["gateway.toml:"]) {
                assert!(text.contains(word), "{command} does not say {word}:\n{text}");
            }
        }
    }
    configure(folder.path(), "http://127.0.0.1:1", "");
    assert!(succeeds(folder.path(), &["check"], "").contains("5 routes"));
    assert!(!folder.path().join("data").exists(), "a check makes nothing");
    std::fs::remove_file(folder.path().join("gateway.toml")).unwrap();
    let output = sallyport(folder.path(), &["check"], "");
    assert_eq!(output.status.code(), Some(78));
    assert!(error_text(&output).contains("gateway.toml"));
}

#[test]
fn a_taken_port_fails_at_start_and_harms_the_one_that_has_it_not() {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), "demo", LISTEN);
    add_user(folder.path(), "ada");
    let first = Process::start(folder.path());
    let second = tempfile::tempdir().unwrap();
    let taken = LISTEN.replace("127.0.0.1:0\"\nadmin", &format!("{}\"\nadmin", first.address()));
    configure(second.path(), "demo", &taken);
    let output = sallyport(second.path(), &["run"], "");
    let text = error_text(&output);
    assert_eq!(output.status.code(), Some(69), "{text}");
    let address = first.address().to_string();
    for word in ["listen.https", &address, "another copy"] {
        assert!(text.contains(word), "{word}:\n{text}");
    }
    assert!(!second.path().join("data").exists(), "it fails before it touches anything");
    assert_eq!(first.client().log_in("ada", PASSWORD, false).status, 200);
}

#[test]
fn the_signal_to_stop_lets_a_running_request_finish_and_takes_no_more() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::answering(move |_| {
        let _ended = wait.lock().unwrap().recv();
        response("200 OK", &[], "at last")
    });
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), &upstream.url(), LISTEN);
    let mut process = Process::start(folder.path());
    let clients = [process.client(), process.client().over_h2()];
    thread::scope(|scope| {
        let asked: Vec<_> = clients
            .into_iter()
            .map(|mut client| scope.spawn(move || client.get("/public/slow")))
            .collect();
        upstream.wait_for(2);
        process.terminate();
        process.err.wait_for("stopping");
        let waited = Stopwatch::start();
        while TcpStream::connect(process.address()).is_ok() {
            assert!(waited.elapsed() < PATIENCE, "it still accepts");
        }
        drop(go);
        for asked in asked {
            let answer = asked.join().unwrap();
            assert_eq!((answer.status, answer.text().as_str()), (200, "at last"));
        }
    });
    assert_eq!(process.wait().code(), Some(0), "{}", process.err.text());
}

#[test]
fn before_it_stops_accepting_it_says_for_a_while_that_it_is_not_ready() {
    let upstream = Upstream::play(|connection| {
        connection.request()?;
        connection.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\
              \x81\x05hello",
        )?;
        connection.rest().map(drop)
    });
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), &upstream.url(), &format!("{LISTEN}drain_delay = \"6s\"\n"));
    let mut process = Process::start(folder.path());
    let mut wire = process.client().wire();
    wire.send(
        "GET /public/socket HTTP/1.1\r\nHost: localhost:8443\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .unwrap();
    assert_eq!(wire.answer("GET").unwrap().unwrap().status, 101);
    assert_eq!(wire.bytes(7).unwrap(), b"\x81\x05hello");
    assert_eq!(process.admin("/readyz").status, 200);
    process.terminate();
    process.err.wait_for("stopping soon");
    assert_eq!(process.admin("/readyz").status, 503);
    assert_eq!(process.client().get("/auth/login").status, 200, "still accepting");
    // The stream is told that we go away (1001), and is not waited for.
    assert_eq!(wire.bytes(4).unwrap(), [0x88, 2, 0x03, 0xe9]);
    assert_eq!(process.wait().code(), Some(0), "{}", process.err.text());
}

#[test]
fn a_request_that_does_not_end_is_cut_off_when_the_drain_timeout_has_passed() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::play(move |connection| {
        connection.request()?;
        let _ended = wait.lock().unwrap().recv();
        Ok(())
    });
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), &upstream.url(), &format!("{LISTEN}drain_timeout = \"200ms\"\n"));
    let mut process = Process::start(folder.path());
    let mut client = process.client();
    thread::scope(|scope| {
        let asked = scope.spawn(move || client.ask("GET", "/public/slow").try_send());
        upstream.wait_for(1);
        process.terminate();
        assert_eq!(process.wait().code(), Some(0), "{}", process.err.text());
        assert!(asked.join().unwrap().is_err());
        drop(go);
    });
}

#[test]
fn what_the_command_line_changes_a_running_gateway_obeys_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), "demo", LISTEN);
    let cli = |arguments: &[&str]| succeeds(folder.path(), arguments, "");
    add_user(folder.path(), "ada");
    let process = Process::start(folder.path());
    let signed_in = || {
        let mut client = process.client();
        assert_eq!(client.log_in("ada", PASSWORD, true).status, 200);
        assert_eq!(client.get("/a").status, 200);
        client
    };
    let refused_soon = |client: &mut Client, what: &str| {
        let waited = Stopwatch::start();
        loop {
            let answer = client.get("/a");
            if answer.status == 401 {
                return;
            }
            assert_eq!(answer.status, 200);
            assert!(waited.elapsed() < Duration::from_secs(1), "{what} is not heard");
        }
    };
    let mut client = signed_in();
    cli(&["user", "disable", "ada"]);
    refused_soon(&mut client, "user disable");
    assert_eq!(process.client().log_in("ada", PASSWORD, true).status, 401);
    cli(&["user", "enable", "ada"]);

    let mut client = signed_in();
    let sessions: Value =
        serde_json::from_str(&cli(&["session", "list", "--user", "ada", "--json"])).unwrap();
    let id = sessions[0]["id"].as_str().unwrap().to_owned();
    cli(&["session", "end", &id]);
    refused_soon(&mut client, "session end");

    let mut client = signed_in();
    cli(&["session", "end", "--user", "ada"]);
    refused_soon(&mut client, "session end --user");

    let mut client = signed_in();
    succeeds(
        folder.path(),
        &["user", "password", "ada", "--password-stdin"],
        "another long password\n",
    );
    refused_soon(&mut client, "user password");
    assert_eq!(process.client().log_in("ada", PASSWORD, true).status, 401);
    let answer = process.client().log_in("ada", "another long password", true);
    assert_eq!(answer.status, 200);

    // What is granted comes with the next refresh.
    let mut client = process.client();
    client.log_in("ada", "another long password", true);
    assert_eq!(client.get("/admin/a").status, 403);
    cli(&["user", "grant", "ada", "--permission", "admin", "--role", "editor"]);
    assert_eq!(client.post("/auth/refresh").status, 200);
    assert_eq!(client.get("/admin/a").status, 200);

    cli(&["user", "remove", "ada"]);
    refused_soon(&mut client, "user remove");
}

#[test]
fn commands_speak_tables_to_people_and_json_to_programs() {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), "demo", LISTEN);
    let add = ["user", "add", "ada", "--password-stdin", "--role", "editor", "--permission", "p"];
    succeeds(folder.path(), &add, PASSWORD);
    let output = sallyport(folder.path(), &add, PASSWORD);
    assert!(!output.status.success(), "a name is taken once");
    let table = succeeds(folder.path(), &["user", "list"], "");
    assert!(table.contains("NAME") && table.contains("ada") && table.contains("editor"));
    let list: Value =
        serde_json::from_str(&succeeds(folder.path(), &["user", "list", "--json"], "")).unwrap();
    assert_eq!((&list[0]["name"], &list[0]["roles"]), (&"ada".into(), &json!(["editor"])));
    let shown = succeeds(folder.path(), &["user", "show", "ada", "--json"], "");
    assert!(!shown.contains("argon2") && !shown.contains(PASSWORD), "{shown}");
    for (arguments, input, code) in [
        (&["user", "show", "nobody"][..], "", 1),
        (&["user", "add", "eve", "--password-stdin"], "short", 65),
        (&["user", "add", "a\u{0}b", "--password-stdin"][..2], "", 2),
        (&["user", "add", "eve", "--password", PASSWORD], "", 2),
        (&["user", "grant", "ada", "--role", "a,b"], "", 64),
        (&["session", "end", "no-id"], "", 64),
        (&["frobnicate"], "", 2),
    ] {
        let output = sallyport(folder.path(), arguments, input);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", error_text(&output));
    }
}

#[test]
fn rights_that_would_not_fit_into_a_token_are_refused_whether_given_at_once_or_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), "demo", LISTEN);
    let names: Vec<String> =
        (0..20).map(|number| format!("{number:02}{}", "p".repeat(62))).collect();
    let given = |count: usize| names.iter().take(count).flat_map(|name| ["--permission", name]);
    let add = |count: usize| {
        let arguments = ["user", "add", "ada", "--password-stdin"].into_iter().chain(given(count));
        sallyport(folder.path(), &arguments.collect::<Vec<_>>(), PASSWORD)
    };
    // 67 bytes each, of 1280.
    let output = add(20);
    assert_eq!(output.status.code(), Some(64), "{}", error_text(&output));
    assert!(error_text(&output).contains("1280 is the most"), "{}", error_text(&output));
    assert_eq!(succeeds(folder.path(), &["user", "list", "--json"], "").trim(), "[]");
    assert!(add(19).status.success());
    // What is held already counts, and what is given twice counts once.
    let grant =
        |right: &str| sallyport(folder.path(), &["user", "grant", "ada", "--role", right], "");
    assert_eq!(grant("editor").status.code(), Some(64));
    let again = sallyport(folder.path(), &["user", "grant", "ada", "--permission", &names[0]], "");
    assert!(again.status.success(), "{}", error_text(&again));
    // Who holds all that may be held can log in, and the application is told.
    let process = Process::start(folder.path());
    let mut client = process.client();
    assert_eq!(client.log_in("ada", PASSWORD, true).status, 200);
    assert_eq!(client.get("/a").status, 200);
    assert!(client.get("/a").text().contains(&names[18]), "the demonstration shows them");
}

#[test]
fn a_restart_forgets_neither_sessions_nor_their_ends_and_keeps_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), "demo", LISTEN);
    add_user(folder.path(), "ada");
    let mut process = Process::start(folder.path());
    let (mut alive, mut ended) = (process.client(), process.client());
    for client in [&mut alive, &mut ended] {
        assert_eq!(client.log_in("ada", PASSWORD, true).status, 200);
    }
    let mut copy = moved(&ended, &process);
    assert_eq!(ended.post("/auth/logout").status, 200);
    process.terminate();
    assert_eq!(process.wait().code(), Some(0), "{}", process.err.text());
    let process = Process::start(folder.path());
    copy = moved(&copy, &process);
    assert_eq!(moved(&alive, &process).get("/a").status, 200, "the same keys");
    assert_eq!(copy.get("/a").verdict(), (401, "token_revoked".to_owned()));
    copy.jar.remove(ACCESS);
    assert_eq!(copy.get("/a").verdict(), (401, "session_revoked".to_owned()));
}

/// The same browser at another run of the gateway, which has another port.
fn moved(client: &Client, process: &Process) -> Client {
    let mut there = process.client();
    there.jar = client.jar.clone();
    there
}

// Kill -9.

/// What was acknowledged of one session before the kill.
struct Acknowledged {
    client: Client,
    /// `None`: an act was under way whose answer never came.
    ended: Option<bool>,
}

/// Logs in, rotates and logs out until the gateway is gone; returns what it was promised.
fn act(mut client: Client, acts: &Sender<()>) -> Vec<Acknowledged> {
    let mut all = Vec::new();
    loop {
        client.jar.clear();
        let body = json!({ "username": "ada", "password": PASSWORD, "remember": true });
        let Ok(answer) = client.ask("POST", "/auth/login").json(&body).try_send() else {
            return all;
        };
        assert_eq!(answer.status, 200, "{answer:#?}");
        let _told = acts.send(());
        let mut session = Acknowledged { client: client.twin(), ended: Some(false) };
        for path in ["/auth/refresh", "/auth/refresh", "/auth/logout"] {
            let before = client.twin();
            let Ok(answer) = client.ask("POST", path).field("Origin", ORIGIN).try_send() else {
                // A logout may have been done; a rotation that may have been done harms nothing.
                session.ended = if path == "/auth/logout" { None } else { Some(false) };
                all.push(session);
                return all;
            };
            assert_eq!(answer.status, 200, "{answer:#?}");
            let _told = acts.send(());
            let ended = path == "/auth/logout";
            // Of an ended session the copy is what is tried later.
            session.client = if ended { before } else { client.twin() };
            session.ended = Some(ended);
        }
        all.push(session);
    }
}

#[test]
fn a_kill_at_any_moment_loses_no_acknowledged_login_rotation_or_logout() {
    let rounds = u64::try_from(kills(50)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    configure(
        folder.path(),
        "demo",
        &format!("{LISTEN}[session]\naccess_ttl = \"2m\"\nrefresh_ttl = \"1h\"\n"),
    );
    add_user(folder.path(), "ada");
    let random = RandomState::new();
    let mut promised: Vec<Acknowledged> = Vec::new();
    let (mut logins, mut logouts) = (0, 0);
    for round in 0..=rounds {
        let process = Process::start(folder.path());
        for Acknowledged { client, ended } in promised.drain(..) {
            let mut client = moved(&client, &process);
            assert!(client.jar.get(ACCESS).is_some() && client.jar.get(REFRESH).is_some());
            match ended {
                Some(false) => {
                    logins += 1;
                    assert_eq!(client.get("/a").status, 200, "round {round}");
                    let answer = client.post("/auth/refresh");
                    assert_eq!(answer.status, 200, "round {round}: {answer:#?}");
                }
                Some(true) => {
                    logouts += 1;
                    let verdict = client.get("/a").verdict();
                    assert_eq!(verdict, (401, "token_revoked".to_owned()), "round {round}");
                    client.jar.remove(ACCESS);
                    let verdict = client.get("/a").verdict();
                    assert_eq!(verdict, (401, "session_revoked".to_owned()), "round {round}");
                }
                None => {}
            }
        }
        if round == rounds {
            break;
        }
        let (acts, done) = mpsc::channel();
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let (client, acts) = (process.client(), acts.clone());
                thread::spawn(move || act(client, &acts))
            })
            .collect();
        // Somewhere in the midst of the acts that follow the last one that is waited for.
        for _ in 0..1 + random.hash_one(round) % 24 {
            done.recv_timeout(PATIENCE).unwrap();
        }
        process.kill();
        promised = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
    }
    assert!(logins > 20 && logouts > 20, "{logins} and {logouts} are too few to prove anything");
}

/// The link that stands alone on a line of this text.
fn link_in(text: &str, kind: &str) -> String {
    let start = format!("https://localhost:8443/auth/{kind}?token=");
    let mut links = text.lines().map(str::trim).filter(|line| line.starts_with(&start));
    let link = links.next().unwrap_or_else(|| panic!("no link to {kind}:\n{text}"));
    assert_eq!(links.next(), None, "{text}");
    link.trim_start_matches(&start).to_owned()
}

fn use_link(client: &mut Client, kind: &str, token: &str, name: &str) -> u16 {
    let secret = "chosen by the person themselves";
    let body = json!({
        "token": token, "username": name, "password": secret, "new_password": secret
    });
    let path = format!("/auth/{kind}");
    client.ask("POST", &path).field("Origin", ORIGIN).json(&body).send().status
}

#[test]
fn the_setup_link_of_any_start_makes_the_first_account_and_only_that() {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), "demo", LISTEN);
    let start = || {
        let process = Process::start(folder.path());
        process.err.wait_for("user add NAME");
        let token = link_in(&process.err.text(), "setup");
        (process, token)
    };
    let (first, earlier) = start();
    first.kill();
    let (process, later) = start();
    assert_ne!(earlier, later);
    let mut client = process.client();
    let page = client.open(&format!("/auth/setup?token={earlier}"));
    assert_eq!(page.status, 200, "the link of before the restart is good still");
    assert_eq!(use_link(&mut client, "setup", &earlier, "ada"), 201);
    assert_eq!(client.get("/admin/a").status, 200);
    for token in [&earlier, &later] {
        assert_eq!(use_link(&mut process.client(), "setup", token, "eve"), 410);
    }
    let listed = succeeds(folder.path(), &["user", "list", "--json"], "");
    assert_eq!(serde_json::from_str::<Value>(&listed).unwrap().as_array().unwrap().len(), 1);
    process.kill();
    let again = Process::start(folder.path());
    assert!(!again.err.text().contains("token="), "{}", again.err.text());
}

#[test]
fn links_made_by_the_command_line_work_once_at_a_running_gateway() {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), "demo", LISTEN);
    add_user(folder.path(), "ada");
    let process = Process::start(folder.path());
    let invite = ["user", "invite", "--role", "editor", "--permission", "admin", "--ttl", "2h"];
    let output = sallyport(folder.path(), &invite, "");
    assert!(error_text(&output).contains("works once, until"), "{}", error_text(&output));
    let token = link_in(&String::from_utf8(output.stdout).unwrap(), "invite");
    let mut client = process.client();
    assert_eq!(use_link(&mut client, "invite", &token, "bob"), 201);
    assert_eq!(client.get("/admin/a").status, 200);
    assert_eq!(use_link(&mut process.client(), "invite", &token, "eve"), 410);

    let token = link_in(&succeeds(folder.path(), &["user", "reset", "Ada"], ""), "reset");
    assert_eq!(use_link(&mut process.client(), "reset", &token, ""), 200);
    assert_eq!(use_link(&mut process.client(), "reset", &token, ""), 410);
    assert_eq!(process.client().log_in("ada", PASSWORD, false).status, 401);
    let chosen = "chosen by the person themselves";
    assert_eq!(process.client().log_in("ada", chosen, false).status, 200);

    for (arguments, code) in [
        (&["user", "reset", "nobody"][..], 1),
        (&["user", "reset", "ada", "--ttl", "1s"], 2),
        (&["user", "invite", "--ttl", "forever"], 2),
        (&["user", "invite", "--role", "a,b"], 64),
    ] {
        let output = sallyport(folder.path(), arguments, "");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", error_text(&output));
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn the_command_line_obeys_the_rules_for_secrets() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ours.txt"), "Sallyport Is Our Gate\n").unwrap();
    let add = ["user", "add", "ada", "--password-stdin"];
    let listed = "[password]\nmemory = \"8KiB\"\niterations = 1\nblocklist = \"ours.txt\"\n";
    let pins = "[login.secret]\nkind = \"pin\"\nmin_length = 4\n";
    for (lines, secret, word) in [
        ("", "too short", "15 characters"),
        ("", "qwertyuiop1234567890", "first"),
        (listed, "sallyport is our gate", "first"),
        (pins, "80a4", "digits"),
        (pins, "1234", "first"),
    ] {
        configure(folder.path(), "demo", lines);
        let output = sallyport(folder.path(), &add, secret);
        assert_eq!(output.status.code(), Some(65), "{secret}: {}", error_text(&output));
        assert!(error_text(&output).contains(word), "{secret}: {}", error_text(&output));
    }
    succeeds(folder.path(), &add, "8049");
    configure(folder.path(), "demo", "[password]\nblocklist = \"gone.txt\"\n");
    let another = ["user", "add", "bob", "--password-stdin"];
    for command in [&["check"][..], &["run"], &another] {
        let output = sallyport(folder.path(), command, "whatever it may be");
        let text = error_text(&output);
        assert!(text.contains("gone.txt") && text.contains("password.blocklist"), "{text}");
        assert_ne!(output.status.code(), Some(0), "{command:?}");
    }
}
