//! The operator's hands: what the command line does, and what it leaves behind.

use std::fs;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sallyport::clock::Stopwatch;
use serde_json::Value;

use crate::harness::{ACCESS, PASSWORD, PATIENCE, Process, add_user, sallyport};

fn configure(folder: &Path) {
    let app = "[[upstream]]\nname = \"app\"\nservers = [\"demo\"]\n[[route]]\npath = \"/**\"\n";
    Process::configure(folder, app);
}

/// What a command that must succeed prints.
fn says(folder: &Path, arguments: &[&str], input: &str) -> String {
    let output = sallyport(folder, arguments, input);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn audit(folder: &Path, arguments: &[&str]) -> Vec<Value> {
    let text = says(folder, &[&["audit", "list", "--json"], arguments].concat(), "");
    serde_json::from_str(&text).unwrap()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["kind"].as_str().unwrap()).collect()
}

#[test]
fn the_audit_log_holds_what_gateway_and_command_line_did() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    configure(folder);
    add_user(folder, "Ada");
    let mut process = Process::start(folder);
    let mut client = process.client();
    assert_eq!(client.log_in("ada", PASSWORD, true).status, 200);
    assert_eq!(client.log_in("ada", "not the password", true).status, 401);
    // The gateway writes within a second, and the command line at once: in their order, then.
    let waited = Stopwatch::start();
    while audit(folder, &["--kind", "login_failed"]).is_empty() {
        assert!(waited.elapsed() < PATIENCE, "the failed login is never told of");
    }
    // What a gateway has told is in the store within a second, and before it ends.
    process.terminate();
    assert!(process.wait().success());
    says(folder, &["user", "grant", "ada", "--role", "editor"], "");
    says(folder, &["user", "disable", "ada"], "");
    says(folder, &["user", "remove", "ada"], "");

    let events = audit(folder, &[]);
    let told = kinds(&events);
    for kind in ["key_added", "user_added", "login", "login_failed", "user_changed", "user_removed"]
    {
        assert!(told.contains(&kind), "{kind}: {events:#?}");
    }
    let granted = events.iter().find(|event| event["subject"] == "+role:editor").unwrap();
    assert_eq!((&granted["actor"], &granted["user"]), (&"operator".into(), &"Ada".into()));
    assert!(granted["actor_name"].as_str().is_some_and(|name| !name.is_empty()));
    // The account is gone; its record is not.
    let of_ada = audit(folder, &["--user", "Ada"]);
    assert!(kinds(&of_ada).contains(&"login"), "{of_ada:#?}");
    assert!(audit(folder, &["--user", "nobody"]).is_empty());
    let failed = audit(folder, &["--kind", "login_failed", "--since", "1h"]);
    assert_eq!(kinds(&failed), ["login_failed"]);
    assert_eq!(failed[0]["cause"], "wrong_secret");
    let newest = audit(folder, &["--limit", "1"]);
    assert_eq!(kinds(&newest), ["user_removed"]);
    let table = says(folder, &["audit", "list"], "");
    assert!(table.starts_with("TIME "), "{table}");
    for secret in [PASSWORD, "not the password"] {
        assert!(!table.contains(secret) && !format!("{events:?}").contains(secret));
    }
    let wrong = sallyport(folder, &["audit", "list", "--since", "yesterday"], "");
    assert_eq!(wrong.status.code(), Some(64));
}

const BCRYPT: &str = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

/// What a command that must fail says, and its exit code.
fn fails(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = sallyport(folder, arguments, "");
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn accounts_from_elsewhere_log_in_with_their_old_passwords_and_get_hashes_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    configure(folder);
    let file = folder.join("users");
    let name = file.to_str().unwrap();
    fs::write(&file, format!("ada:{BCRYPT}\nbob:{BCRYPT}\n")).unwrap();
    says(folder, &["user", "import", "--htpasswd", name], "");
    let table = folder.join("users.csv");
    fs::write(&table, format!("name,password_hash,roles\ncy,{BCRYPT},editor\n")).unwrap();
    says(folder, &["user", "import", "--csv", table.to_str().unwrap()], "");
    let shown: Value =
        serde_json::from_str(&says(folder, &["user", "show", "cy", "--json"], "")).unwrap();
    assert_eq!(shown["roles"], serde_json::json!(["editor"]));

    let gate = Process::start(folder);
    for name in ["ada", "cy"] {
        assert_eq!(gate.client().log_in(name, "U*V", true).status, 401);
        assert_eq!(gate.client().log_in(name, "U*U", true).status, 200);
    }
    assert_eq!(gate.client().log_in("nobody", "U*U", true).status, 401);
    // The new hash is made behind the answer: a second login waits in the same queue.
    let hashes = || {
        let bytes = fs::read(folder.join("data/sallyport.db")).unwrap();
        let log = fs::read(folder.join("data/sallyport.db-wal")).unwrap_or_default();
        let text = String::from_utf8_lossy(&[bytes, log].concat()).into_owned();
        text.matches("$argon2id$").count()
    };
    let waited = Stopwatch::start();
    while hashes() < 2 {
        assert!(waited.elapsed() < PATIENCE, "the hashes are not made anew");
        std::thread::yield_now();
    }
    assert_eq!(gate.client().log_in("ada", "U*U", true).status, 200);
    let events = audit(folder, &["--kind", "users_imported"]);
    let told: Vec<_> = events.iter().map(|event| event["subject"].as_str().unwrap()).collect();
    assert_eq!(told, ["2 accounts", "1 accounts"]);
}

#[test]
fn an_import_with_a_bad_line_imports_nothing_and_tells_all_bad_lines() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    configure(folder);
    add_user(folder, "eve");
    let file = folder.join("users");
    let name = file.to_str().unwrap();
    fs::write(&file, format!("ada:{BCRYPT}\nbob:plain-secret\neve:{BCRYPT}\nAda:{BCRYPT}\n"))
        .unwrap();
    let (code, told) = fails(folder, &["user", "import", "--htpasswd", name]);
    assert_eq!(code, 65, "{told}");
    for words in ["line 2:", "line 3: there is a user", "line 4:", "line 1 too"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(!told.contains("plain-secret") && !told.contains("line 1:"), "{told}");
    let list: Value = serde_json::from_str(&says(folder, &["user", "list", "--json"], "")).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
    fs::write(&file, b"ada:x\n\xff\n").unwrap();
    assert_eq!(fails(folder, &["user", "import", "--htpasswd", name]).0, 65);
    assert_eq!(fails(folder, &["user", "import", "--htpasswd", "missing"]).0, 74);
    assert_eq!(fails(folder, &["user", "import"]).0, 2);
}

#[test]
fn init_writes_a_config_that_works_and_replaces_none() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let flags = ["init", "--upstream", "http://127.0.0.1:3000"];
    says(folder, &flags, "");
    let text = fs::read_to_string(folder.join("gateway.toml")).unwrap();
    assert!(text.lines().count() <= 12, "{text}");
    says(folder, &["check"], "");
    let (code, told) = fails(folder, &flags);
    assert!(code == 64 && told.contains("--force"), "{told}");
    let other = [&flags[..], &["--force", "--public-url", "http://localhost:9154"]].concat();
    says(folder, &other, "");
    assert!(fs::read_to_string(folder.join("gateway.toml")).unwrap().contains("dev_http"));
    let (code, told) = fails(folder, &["init", "--force"]);
    assert!(code == 64 && told.contains("--upstream"), "{told}");
    let (code, told) = fails(folder, &["init", "--force", "--upstream", "ftp://x"]);
    assert_eq!(code, 78, "{told}");
    assert!(fs::read_to_string(folder.join("gateway.toml")).unwrap().contains("dev_http"));
}

#[test]
fn a_key_made_by_hand_signs_within_seconds_and_logs_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    configure(folder);
    add_user(folder, "ada");
    let gate = Process::start(folder);
    let mut before = gate.client();
    assert_eq!(before.log_in("ada", PASSWORD, true).status, 200);
    let keys = || -> Vec<Value> {
        serde_json::from_str(&says(folder, &["keys", "list", "--json"], "")).unwrap()
    };
    let old = keys();
    assert_eq!((old.len(), &old[0]["status"]), (1, &"signing".into()));
    let said = says(folder, &["keys", "rotate"], "");
    let ring = keys();
    assert_eq!(ring.len(), 2);
    let from = ring[1]["active_from"].as_str().unwrap();
    assert!(said.contains(&format!("signs from {from} on")), "{said}");
    let new = ring[1]["id"].as_str().unwrap();
    // The header of a token names the key that signed it.
    let signed_by_new = || {
        let mut client = gate.client();
        assert_eq!(client.log_in("ada", PASSWORD, true).status, 200);
        let token = client.jar.get(ACCESS).unwrap();
        let header = token.split('.').next().unwrap();
        let header = URL_SAFE_NO_PAD.decode(header).unwrap();
        String::from_utf8(header).unwrap().contains(new)
    };
    let waited = Stopwatch::start();
    while !signed_by_new() {
        assert!(waited.elapsed() < Duration::from_secs(8), "the new key is not used");
    }
    assert_eq!(before.get("/").status, 200, "the old key goes on verifying");
    assert_eq!(before.post("/auth/refresh").status, 200);
    let statuses: Vec<_> = keys().iter().map(|key| key["status"].clone()).collect();
    assert_eq!(statuses, ["verifying", "signing"]);
    let made = audit(folder, &["--kind", "key_added"]);
    assert_eq!(
        (made[1]["actor"].as_str(), made[1]["subject"].as_str()),
        (Some("operator"), Some(new))
    );
    fs::write(folder.join("secret"), "x".repeat(48)).unwrap();
    let text = fs::read_to_string(folder.join("gateway.toml")).unwrap();
    fs::write(
        folder.join("gateway.toml"),
        format!("{text}[token]\nkeys = {{ file = \"secret\" }}\n"),
    )
    .unwrap();
    assert_eq!(fails(folder, &["keys", "rotate"]).0, 64);
}

#[test]
fn shells_and_manuals_know_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for shell in ["bash", "zsh", "fish"] {
        let script = says(folder, &["completions", shell], "");
        assert!(script.contains("audit") && script.contains("rotate"), "{shell}");
    }
    says(folder, &["man", folder.to_str().unwrap()], "");
    let page = fs::read_to_string(folder.join("sallyport-user-import.1")).unwrap();
    assert!(page.contains("htpasswd"), "{page}");
    assert!(folder.join("sallyport.1").exists());
    assert_eq!(fails(folder, &["man", "missing/folder"]).0, 74);
}

#[test]
fn open_links_are_listed_without_their_secrets_and_can_be_withdrawn() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    configure(folder);
    add_user(folder, "ada");
    let process = Process::start(folder);
    let listed = || -> Vec<Value> {
        serde_json::from_str(&says(folder, &["links", "list", "--json"], "")).unwrap()
    };
    assert_eq!(listed(), [Value::Null; 0]);
    let invite = says(folder, &["user", "invite", "--role", "editor"], "");
    let reset = says(folder, &["user", "reset", "ada"], "");
    let (invite, reset) = (invite.trim(), reset.trim());
    let open = listed();
    let told: Vec<_> = open.iter().map(|link| (&link["for"], &link["user"])).collect();
    let (invited, of_ada) = (("invite".into(), Value::Null), ("reset".into(), "ada".into()));
    assert!(told.contains(&(&invited.0, &invited.1)), "{open:#?}");
    assert!(told.contains(&(&of_ada.0, &of_ada.1)) && told.len() == 2, "{open:#?}");
    let table = says(folder, &["links", "list"], "");
    assert!(table.starts_with("ID ") && table.contains("editor"), "{table}");
    for link in [invite, reset] {
        let (_, secret) = link.split_once("token=").unwrap();
        assert!(!table.contains(secret) && !format!("{open:?}").contains(secret));
    }

    let status = |link: &str| {
        let (_, path) = link.split_once("/auth/").unwrap();
        process.client().ask("GET", &format!("/auth/{path}")).send().status
    };
    assert_eq!((status(invite), status(reset)), (200, 200));
    let id = open.iter().find(|link| link["for"] == "invite").unwrap()["id"].as_str().unwrap();
    assert_eq!(says(folder, &["links", "withdraw", id], "").trim(), "withdrawn: 1");
    assert_eq!((status(invite), status(reset)), (410, 200), "at once, and no other");
    let again = sallyport(folder, &["links", "withdraw", id], "");
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(says(folder, &["links", "withdraw", "--all"], "").trim(), "withdrawn: 1");
    assert_eq!(status(reset), 410);
    assert_eq!(says(folder, &["links", "withdraw", "--all"], "").trim(), "withdrawn: 0");
    assert_eq!(sallyport(folder, &["links", "withdraw"], "").status.code(), Some(2));
    let events = audit(folder, &["--kind", "link_withdrawn"]);
    let subjects: Vec<_> = events.iter().map(|event| &event["subject"]).collect();
    assert_eq!(subjects, ["invite", "reset"]);
    assert_eq!((&events[1]["user"], &events[1]["actor"]), (&"ada".into(), &"operator".into()));
}
