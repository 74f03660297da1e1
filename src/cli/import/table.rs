//! A table with commas (RFC 4180): the first line names the columns, a field in quotes may hold
//! commas, line ends and doubled quotes.

use super::{Problem, Row};

/// The columns that there may be.
const COLUMNS: [&str; 7] =
    ["name", "password_hash", "display_name", "email", "roles", "permissions", "disabled"];
/// Those that there must be.
const NEEDED: [&str; 2] = ["name", "password_hash"];

/// The accounts of a table.
pub(super) fn rows(text: &str) -> (Vec<Row>, Vec<Problem>) {
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    let mut records = records(text);
    let head = match records.next() {
        Some((_, Ok(head))) => head,
        Some((line, Err(text))) => return (rows, vec![Problem { line, text: text.to_owned() }]),
        None => Vec::new(),
    };
    problems.extend(wrong_columns(&head).into_iter().map(|text| Problem { line: 1, text }));
    if !problems.is_empty() {
        return (rows, problems);
    }
    for (line, record) in records {
        let mut tell = |text: String| problems.push(Problem { line, text });
        match record {
            Err(text) => tell(text.to_owned()),
            Ok(record) if record == [""] => {}
            Ok(record) if record.len() != head.len() => {
                tell(format!("has {} fields, and the first line {}", record.len(), head.len()));
            }
            Ok(record) => match row(line, &head, record) {
                Ok(row) => rows.push(row),
                Err(text) => tell(text),
            },
        }
    }
    (rows, problems)
}

fn wrong_columns(head: &[String]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (index, name) in head.iter().enumerate() {
        if !COLUMNS.contains(&name.as_str()) {
            let known = COLUMNS.join(", ");
            wrong.push(format!("there is no column {name:?}; there are {known}"));
        } else if head.iter().take(index).any(|one| one == name) {
            wrong.push(format!("the column {name} comes twice"));
        }
    }
    for name in NEEDED {
        if !head.iter().any(|one| one == name) {
            wrong.push(format!("the first line names no column {name}"));
        }
    }
    wrong
}

fn row(line: usize, head: &[String], record: Vec<String>) -> Result<Row, String> {
    let mut row = Row { line, ..Row::default() };
    let words = |text: &str| text.split_ascii_whitespace().map(str::to_owned).collect();
    let some = |text: String| if text.is_empty() { None } else { Some(text) };
    for (column, text) in head.iter().zip(record) {
        match column.as_str() {
            "name" => row.name = text,
            "password_hash" => row.hash = text,
            "display_name" => row.display_name = some(text),
            "email" => row.email = some(text),
            "roles" => row.roles = words(&text),
            "permissions" => row.permissions = words(&text),
            _ => {
                row.disabled = match text.as_str() {
                    "true" => true,
                    "false" | "" => false,
                    other => return Err(format!("disabled: {other:?} is not true or false")),
                }
            }
        }
    }
    Ok(row)
}

/// The records with the numbers of the lines that they begin on. The last is one that cannot be
/// read, if there is one: where the next begins nobody can tell then.
fn records(text: &str) -> impl Iterator<Item = (usize, Result<Vec<String>, &'static str>)> {
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let begin = line;
        match record(rest) {
            Ok((fields, after)) => {
                let read = rest.get(..rest.len() - after.len()).unwrap_or_default();
                line += read.matches('\n').count();
                rest = after;
                Some((begin, Ok(fields)))
            }
            Err(why) => {
                rest = "";
                Some((begin, Err(why)))
            }
        }
    })
}

/// The first record, and what comes behind it.
fn record(text: &str) -> Result<(Vec<String>, &str), &'static str> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = field(rest)?;
        fields.push(field);
        if let Some(after) = after.strip_prefix(',') {
            rest = after;
            continue;
        }
        let after = after.strip_prefix("\r\n").or_else(|| after.strip_prefix('\n'));
        return Ok((fields, after.unwrap_or_default()));
    }
}

/// The first field, and what comes behind it: a comma, a line's end, or nothing.
fn field(text: &str) -> Result<(String, &str), &'static str> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find([',', '\n']).unwrap_or(text.len());
        let (field, after) = text.split_at_checked(end).unwrap_or((text, ""));
        let (field, after) = match field.strip_suffix('\r') {
            // The carriage return belongs to the line's end.
            Some(field) if !after.starts_with(',') => (field, after),
            _ => (field, after),
        };
        return match field.contains('"') {
            true => Err("has a quote in the midst of a field: quote it whole, and double quotes"),
            false => Ok((field.to_owned(), after)),
        };
    };
    let mut field = String::new();
    loop {
        let (part, after) = rest.split_once('"').ok_or("has a quote that does not end")?;
        field.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None if after.is_empty() || after.starts_with([',', '\n']) => {
                return Ok((field, after));
            }
            None if after.starts_with("\r\n") => return Ok((field, after)),
            None => return Err("goes on behind the quotes of a field"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(text: &str) -> Vec<(usize, Result<Vec<String>, &'static str>)> {
        records(text).collect()
    }

    fn quoted(field: &str) -> String {
        format!("\"{}\"", field.replace('"', "\"\""))
    }

    #[test]
    fn quotes_hold_commas_line_ends_and_quotes() {
        let read = all("a,\"b,\"\"c\"\"\n,d\",\r\n\"\",e\n");
        let words = |list: &[&str]| list.iter().map(|&one| one.to_owned()).collect::<Vec<_>>();
        assert_eq!(read, [(1, Ok(words(&["a", "b,\"c\"\n,d", ""]))), (3, Ok(words(&["", "e"])))]);
        for (text, line) in [("a\nb,\"c\nd", 2), ("a\"b", 1), ("\"a\"b", 1), ("x\ny\n\"", 3)] {
            let read = all(text);
            assert!(matches!(read.last(), Some((at, Err(_))) if *at == line), "{text:?}: {read:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_read_back(
            table in prop::collection::vec(prop::collection::vec(any::<String>(), 1..5), 1..6),
        ) {
            let lines = table.iter().map(|row| {
                row.iter().map(|field| quoted(field)).collect::<Vec<_>>().join(",") + "\r\n"
            });
            let text: String = lines.collect();
            let read: Vec<_> = records(&text).map(|(_, record)| record.unwrap()).collect();
            prop_assert_eq!(read, table);
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let (rows, problems) = rows(&text);
            prop_assert!(rows.is_empty() || problems.len() <= text.len());
        }
    }
}
