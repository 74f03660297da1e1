//! curl, as people and scripts use it.

use std::fs;
use std::process::{Command, Stdio};

use super::{Answer, PATIENCE};

/// Runs curl with these arguments; fails with its own words if no answer came. Proxies and the
/// user's own settings have no say.
pub(crate) fn curl(arguments: &[&str]) -> Answer {
    let folder = tempfile::tempdir().unwrap();
    let (head, body) = (folder.path().join("head"), folder.path().join("body"));
    let output = Command::new("curl")
        .args(["--disable", "--noproxy", "*", "--silent", "--show-error"])
        .args(["--max-time", &PATIENCE.as_secs().to_string()])
        .args(["--write-out", "%{http_code} %{http_version}"])
        .arg("--dump-header")
        .arg(&head)
        .arg("--output")
        .arg(&body)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("curl is there: tests/run installs it");
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "curl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let (status, version) = told.split_once(' ').unwrap();
    let head = String::from_utf8_lossy(&fs::read(head).unwrap()).into_owned();
    // Informational answers and redirects that were followed come before the last.
    let last = head.split("\r\n\r\n").filter(|block| block.starts_with("HTTP/")).last();
    let lines = last.unwrap_or_default().split("\r\n").skip(1).filter_map(|l| l.split_once(':'));
    Answer {
        status: status.parse().unwrap(),
        version: version.to_owned(),
        fields: lines.map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned())).collect(),
        // curl makes no file for an answer without a body.
        body: fs::read(body).unwrap_or_default(),
        ..Answer::default()
    }
}
