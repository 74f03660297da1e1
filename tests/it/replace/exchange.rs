//! Requests and the answers that were promised for them, as texts. A block of a fixture is
//!
//! ```text
//! # what it shows
//! > POST /v1/auth/token
//! > content-type: application/json
//! > {"appId": "quest", "userId": "{user}"}
//! < 200
//! < content-type: application/json
//! < {"token": "<token>", "expiresAt": "<*>"}
//! ```
//!
//! `{name}` is a variable. In an answer `<name>` is whatever stands there, and a variable from then
//! on; `<*>` is whatever stands there. All other fields of a JSON body must be as they stand, and no
//! others there.

use serde_json::Value;

use super::Shipped;
use super::shipped::Variables;
use crate::harness::Answer;

/// Sends the requests of a fixture with curl, in their order, and compares the answers.
pub(super) fn replay(site: &Shipped, origin: &str, fixture: &str, variables: &mut Variables) {
    let blocks: Vec<&str> = fixture.split("\n\n").filter(|block| block.contains("\n>")).collect();
    assert!(!blocks.is_empty(), "a fixture without requests");
    for block in blocks {
        let title = block.lines().find(|line| line.starts_with('#')).unwrap();
        let lines = |mark: &str| -> Vec<String> {
            let marked = block.lines().filter_map(|line| line.strip_prefix(mark));
            marked.map(|line| filled(line.trim(), variables)).collect()
        };
        let (request, expected) = (lines(">"), lines("<"));
        let answer = send(site, origin, &request);
        compare(title, &expected, &answer, variables);
    }
}

fn send(site: &Shipped, origin: &str, request: &[String]) -> Answer {
    let (first, rest) = request.split_first().unwrap();
    let (method, path) = first.split_once(' ').unwrap();
    let url = format!("{origin}{path}");
    let mut arguments = vec!["-X", method, url.as_str()];
    for line in rest {
        let body = line.starts_with('{') || line.starts_with('[');
        arguments.extend([if body { "--data-raw" } else { "-H" }, line.as_str()]);
    }
    if method == "HEAD" {
        arguments = vec!["--head", url.as_str()];
    }
    site.curl(&arguments)
}

fn compare(title: &str, expected: &[String], answer: &Answer, variables: &mut Variables) {
    let (status, rest) = expected.split_first().unwrap();
    assert_eq!(answer.status.to_string(), *status, "{title}: {answer:#?}");
    for line in rest {
        let field = line
            .split_once(": ")
            .filter(|(name, _)| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
        match field {
            Some((name, "<absent>")) => {
                assert_eq!(answer.field(name), [""; 0], "{title}: {answer:#?}");
            }
            Some((name, value)) => assert_eq!(answer.one(name), value, "{title}: {answer:#?}"),
            None if line.starts_with('{') => {
                let expected: Value = serde_json::from_str(line).unwrap();
                let told = answer.json();
                same(title, &expected, &told, variables);
            }
            None => assert_eq!(answer.text(), *line, "{title}: {answer:#?}"),
        }
    }
}

fn same(title: &str, expected: &Value, told: &Value, variables: &mut Variables) {
    match (expected, told) {
        (Value::String(text), _) if text.starts_with('<') && text.ends_with('>') => {
            let name = text.trim_matches(['<', '>']);
            if name != "*" {
                let value = told.as_str().map_or_else(|| told.to_string(), str::to_owned);
                variables.insert(name.to_owned(), value);
            }
        }
        (Value::Object(expected), Value::Object(told)) => {
            let names = |object: &serde_json::Map<String, Value>| -> Vec<String> {
                object.keys().cloned().collect()
            };
            assert_eq!(names(expected), names(told), "{title}");
            for (name, expected) in expected {
                same(title, expected, &told[name], variables);
            }
        }
        _ => assert_eq!(expected, told, "{title}"),
    }
}

fn filled(line: &str, variables: &Variables) -> String {
    let mut line = line.to_owned();
    for (name, value) in variables {
        line = line.replace(&format!("{{{name}}}"), value);
    }
    line
}
