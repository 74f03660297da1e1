//! The operator's hands: what the command line does, and what it leaves behind.

use std::path::Path;

use serde_json::Value;

use crate::harness::{PASSWORD, Process, add_user, sallyport};

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
    says(folder, &["user", "grant", "ada", "--role", "editor"], "");
    says(folder, &["user", "disable", "ada"], "");
    says(folder, &["user", "remove", "ada"], "");
    process.terminate();
    assert!(process.wait().success());

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
