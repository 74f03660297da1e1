use super::*;

const BCRYPT: &str = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

fn judged(rows: Vec<Row>, mut problems: Vec<Problem>) -> (Vec<(usize, User)>, Vec<String>) {
    let users = judge(rows, NameCase::Fold, &mut problems);
    let told = problems.iter().map(|one| format!("{}: {}", one.line, one.text)).collect();
    (users, told)
}

#[test]
fn a_password_file_is_read_with_its_line_numbers() {
    let text = format!("\u{feff}ada:{BCRYPT}\r\n\n# a comment\nbob:{BCRYPT}:comment\n");
    let (rows, problems) = htpasswd(&text);
    let (users, told) = judged(rows, problems);
    assert!(told.is_empty(), "{told:?}");
    let names: Vec<_> = users.iter().map(|(line, user)| (*line, user.login.as_str())).collect();
    assert_eq!(names, [(1, "ada"), (4, "bob")]);
    assert!(users.iter().all(|(_, user)| user.password.as_ref().unwrap().expose() == BCRYPT));
}

#[test]
fn all_that_is_wrong_is_told_at_once_and_no_hash_is_repeated() {
    let text = format!(
        "ada:{BCRYPT}\nno colon\nbob:hunter2\nADA:{BCRYPT}\n :{BCRYPT}\ncy:\ndi:$apr1$a$b\n\
         el:{}\n",
        BCRYPT.replace("$05$", "$31$")
    );
    let (rows, problems) = htpasswd(&text);
    let (_, told) = judged(rows, problems);
    let lines: Vec<_> = told.iter().filter_map(|one| one.split(':').next()).collect();
    let mut sorted = lines.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["2", "3", "4", "5", "6", "7", "8"], "{told:#?}");
    assert!(told.iter().any(|one| one.contains("on line 1 too")), "{told:#?}");
    assert!(!told.concat().contains("hunter2"), "it may be a password");
}

#[test]
fn a_table_brings_rights_and_status_along() {
    let text = format!(
        "name,password_hash,roles,permissions,display_name,email,disabled\n\
         ada,{BCRYPT},editor owner,publish,\"Lovelace, Ada\",ada@example.test,\n\
         bob,,,,,,true\n"
    );
    let (rows, problems) = table::rows(&text);
    let (users, told) = judged(rows, problems);
    assert!(told.is_empty(), "{told:?}");
    let ada = &users[0].1;
    assert_eq!(ada.roles, ["editor", "owner"]);
    assert_eq!(ada.permissions, ["publish"]);
    assert_eq!(ada.name.as_deref(), Some("Lovelace, Ada"));
    assert_eq!(ada.email.as_deref(), Some("ada@example.test"));
    let bob = &users[1].1;
    assert!(bob.disabled && bob.password.is_none() && bob.name.is_none());
}

#[test]
fn a_table_that_cannot_be_meant_is_refused_with_its_lines() {
    for (text, line, words) in [
        ("", 1, "no column name"),
        ("name\nada\n", 1, "no column password_hash"),
        ("name,password_hash,password\n", 1, "no column \"password\""),
        ("name,name,password_hash\n", 1, "comes twice"),
        ("name,password_hash\nada\n", 2, "has 1 fields"),
        ("name,password_hash\nada,\"\n\nbob,\n", 2, "does not end"),
        ("name,password_hash,disabled\nada,,yes\n", 2, "not true or false"),
        ("name,password_hash,roles\n\"a\nb\",,\nada,,\"a,b\"\n", 4, "cannot be a role"),
        ("name,password_hash,email\nada,,\"a\u{7}\"\n", 2, "control character"),
    ] {
        let (rows, problems) = table::rows(text);
        let mut problems = problems;
        judge(rows, NameCase::Fold, &mut problems);
        let told = problems.iter().any(|one| one.line == line && one.text.contains(words));
        assert!(told, "{text:?}: {problems:?}");
    }
}
