//! `[login.secret]`: what short secrets ask of the limits.

use std::path::PathBuf;

use super::{APP, DEV};
use crate::config::{Blocking, SecretKind};

fn warnings(lines: &str) -> Vec<String> {
    let config = super::parse(&format!("{DEV}{lines}{APP}"));
    let of_secrets = |key: &str| key.starts_with("attempts.") || key.starts_with("login.secret.");
    let warnings = config.warnings.iter().filter(|warning| of_secrets(&warning.key));
    warnings.map(ToString::to_string).collect()
}

#[test]
fn a_pin_is_warned_of_when_the_limits_let_all_of_them_be_tried_within_a_year() {
    let pin = "[login.secret]\nkind = \"pin\"\nmin_length = 4\n";
    let told = warnings(pin);
    let [only] = told.as_slice() else { panic!("{told:?}") };
    assert!(only.contains("attempts.per_account"), "{only}");
    assert!(only.contains("all secrets of 4 digits") && only.contains("within 2 days"), "{only}");
    let tight = "[attempts]\nper_account = { count = 10, per = \"1d\" }\n";
    assert!(warnings(&format!("{pin}{tight}")).is_empty());
    // Short passwords are no better than digits, and are told of as such.
    assert_eq!(warnings("[login.secret]\nmin_length = 6\n").len(), 2);
    assert!(warnings("[login.secret]\nkind = \"pin\"\nmin_length = 8\n").is_empty());
}

#[test]
fn kind_minimum_and_block_list_of_secrets_are_what_the_file_says() {
    let password = |lines: &str| super::parse(&format!("{DEV}{lines}{APP}")).password;
    let of = |lines: &str| {
        let password = password(lines);
        (password.kind, password.min_length, password.blocklist)
    };
    assert_eq!(of(""), (SecretKind::Password, 15, Blocking::BuiltIn));
    assert_eq!(of("[login.secret]\nkind = \"pin\"\n"), (SecretKind::Pin, 6, Blocking::BuiltIn));
    assert_eq!(
        of("[login.secret]\nmin_length = 8\nblocklist = false\n"),
        (SecretKind::Password, 8, Blocking::Off)
    );
    let file = of("[password]\nblocklist = \"lists/common.txt\"\n").2;
    let Blocking::And(path) = file else { panic!("{file:?}") };
    assert!(path.ends_with(PathBuf::from("lists/common.txt")), "{path:?}");
}
