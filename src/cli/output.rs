//! What is printed: tables, JSON, complaints.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is where the program speaks")]

use std::error::Error;
use std::fmt::Display;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::clock::Timestamp;

/// One line for people.
pub(super) fn say(line: impl Display) {
    println!("{line}");
}

/// One line for people, on standard error, beside what programs read.
pub(super) fn note(line: impl Display) {
    eprintln!("{line}");
}

/// A question, to be answered on the same line.
pub(super) fn ask(question: impl Display) {
    eprint!("{question}");
}

/// A whole value for programs.
pub(super) fn json(value: &Value) {
    println!("{value:#}");
}

/// The error and its causes. A cause that its error has quoted already is not said twice.
pub(super) fn complain(error: &dyn Error) {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    eprintln!("sallyport: {text}");
}

/// Columns as wide as their widest cell. Cells are cleaned of control characters: names come from
/// strangers, and a terminal obeys them.
pub(super) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) {
    let clean = |cell: &str| -> String {
        cell.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
    };
    let rows: Vec<[String; N]> =
        rows.iter().map(|row| row.each_ref().map(|cell| clean(cell))).collect();
    let head = head.map(str::to_owned);
    let mut widths = head.each_ref().map(|cell| cell.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in std::iter::once(&head).chain(&rows) {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// A moment as RFC 3339 in UTC, to the second.
pub(super) fn moment(at: Timestamp) -> String {
    let text = OffsetDateTime::from_unix_timestamp(at.secs()).ok().map(|at| at.format(&Rfc3339));
    text.and_then(Result::ok).unwrap_or_else(|| at.secs().to_string())
}
