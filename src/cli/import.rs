//! `user import`: accounts from a password file of a web server, or from a table. All of it is read
//! and judged before anything is written, and it is written in one act.

mod table;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;

use super::users::{Rights, checked, fit_a_token, sorted};
use super::{Desk, Failure, output};
use crate::config::NameCase;
use crate::id::UserId;
use crate::secret::PasswordHash;
use crate::session::{login_key, take_over};
use crate::store::audit::AuditKind;
use crate::store::rows::User;

/// Bytes of a file.
const BYTES_MAX: u64 = 64 << 20;
/// Accounts of a file: what one act of the store can take without keeping others waiting for long.
const ACCOUNTS_MAX: usize = 50_000;
/// Bytes of a display name or an email address.
const TEXT_BYTES_MAX: usize = 256;
/// Problems that are told one by one.
const PROBLEMS_SHOWN: usize = 1000;

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Source {
    /// A file of `name:hash` lines, as `htpasswd -B` and nginx use it. Empty lines and lines that
    /// begin with `#` count for nothing.
    #[arg(long, value_name = "FILE")]
    htpasswd: Option<PathBuf>,
    /// A table with commas whose first line names its columns: `name` and `password_hash`, and if
    /// you like `display_name`, `email`, `roles`, `permissions` (several with blanks between) and
    /// `disabled` (`true` or `false`). An empty hash makes an account without a password.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    line: usize,
    text: String,
}

/// Why nothing was imported.
#[derive(Debug)]
pub(super) struct Problems(Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nothing was imported:")?;
        for Problem { line, text } in self.0.iter().take(PROBLEMS_SHOWN) {
            write!(f, "\n  line {line}: {text}")?;
        }
        match self.0.len().saturating_sub(PROBLEMS_SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

/// One account as a file names it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Row {
    line: usize,
    name: String,
    hash: String,
    display_name: Option<String>,
    email: Option<String>,
    roles: Vec<String>,
    permissions: Vec<String>,
    disabled: bool,
}

impl Desk {
    pub(super) fn import(&self, source: &Source) -> Result<(), Failure> {
        let (rows, mut problems) = match (&source.htpasswd, &source.csv) {
            (Some(path), _) => htpasswd(&read(path)?),
            (None, Some(path)) => table::rows(&read(path)?),
            (None, None) => return Ok(()),
        };
        let case = self.config.login.case;
        let mut judged = judge(rows, case, &mut problems);
        if judged.len() > ACCOUNTS_MAX {
            let text = format!("more than {ACCOUNTS_MAX} accounts; split the file");
            problems.push(Problem { line: judged.len(), text });
        }
        let taken = self.taken_names()?;
        for (line, user) in &judged {
            if taken.contains(&user.login_key) {
                let text = format!("there is a user {:?} already", user.login);
                problems.push(Problem { line: *line, text });
            }
        }
        if !problems.is_empty() {
            problems.sort_by_key(|problem| problem.line);
            return Err(Failure::Import(Problems(problems)));
        }
        for (_, user) in &mut judged {
            user.id = UserId::generate(self.now)?;
            user.created_at = self.now;
        }
        let users: Vec<User> = judged.into_iter().map(|(_, user)| user).collect();
        self.room.block_on(self.store.add_users(&users))?;
        output::say(format_args!("imported: {}", users.len()));
        let event = self.event(AuditKind::UsersImported);
        self.note(event.about(&format!("{} accounts", users.len())))
    }

    fn taken_names(&self) -> Result<HashSet<String>, Failure> {
        const PAGE: u32 = 1000;
        let mut taken = HashSet::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.room.block_on(self.store.users(after.as_deref(), PAGE))?;
            let Some(last) = page.last() else { return Ok(taken) };
            after = Some(last.login_key.clone());
            taken.extend(page.into_iter().map(|user| user.login_key));
        }
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let failed = |source| Failure::Io { what: "the file could not be read", source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > BYTES_MAX) {
        return Err(Failure::Usage("the file has more than 64 MiB; split it".to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        Failure::Import(Problems(vec![Problem { line, text: "is not UTF-8".to_owned() }]))
    })
}

/// The accounts of a password file.
fn htpasswd(text: &str) -> (Vec<Row>, Vec<Problem>) {
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.split('\n').enumerate() {
        let number = index + 1;
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, rest)) = line.split_once(':') else {
            problems.push(Problem { line: number, text: "has no colon".to_owned() });
            continue;
        };
        // What stands behind a further colon means nothing to web servers, either.
        let hash = rest.split(':').next().unwrap_or_default();
        if hash.is_empty() {
            problems.push(Problem { line: number, text: "has no hash".to_owned() });
            continue;
        }
        let (name, hash) = (name.to_owned(), hash.to_owned());
        rows.push(Row { line: number, name, hash, ..Row::default() });
    }
    (rows, problems)
}

/// Each row as an account, but for its id and date; and what is wrong with the others. Hashes are
/// not repeated in what is told: a plain password may stand in the place of one.
fn judge(rows: Vec<Row>, case: NameCase, problems: &mut Vec<Problem>) -> Vec<(usize, User)> {
    let mut users = Vec::with_capacity(rows.len());
    let mut lines: HashMap<String, usize> = HashMap::new();
    for row in rows {
        let line = row.line;
        let mut tell = |text: String| problems.push(Problem { line, text });
        let key = login_key(&row.name, case);
        let hash = match row.hash.as_str() {
            "" => Ok(None),
            hash => take_over(hash).map(Some),
        };
        for (what, text) in [("display_name", &row.display_name), ("email", &row.email)] {
            let unfit =
                |text: &String| text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control);
            if text.as_ref().is_some_and(unfit) {
                tell(format!("{what}: more than {TEXT_BYTES_MAX} bytes, or a control character"));
            }
        }
        let rights = Rights { roles: row.roles, permissions: row.permissions };
        let rights = checked(rights)
            .and_then(|rights| fit_a_token(&rights.roles, &rights.permissions).map(|()| rights));
        if let Err(error) = &rights {
            tell(error.to_string());
        }
        if let Err(error) = &hash {
            tell(error.to_string());
        }
        match &key {
            Err(error) => tell(format!("{:?}: {error}", row.name)),
            Ok(key) => match lines.get(key) {
                Some(first) => tell(format!("the name {:?} is on line {first} too", row.name)),
                None => {
                    lines.insert(key.clone(), line);
                }
            },
        }
        let (Ok(login_key), Ok(password), Ok(rights)) = (key, hash, rights) else { continue };
        let user = draft(row.name, login_key, password, rights);
        let (name, email, disabled) = (row.display_name, row.email, row.disabled);
        users.push((line, User { name, email, disabled, ..user }));
    }
    users
}

fn draft(login: String, login_key: String, password: Option<PasswordHash>, rights: Rights) -> User {
    User {
        id: UserId::from_bytes([0; 16]),
        login,
        login_key,
        name: None,
        email: None,
        roles: sorted(rights.roles),
        permissions: sorted(rights.permissions),
        password,
        disabled: false,
        created_at: crate::clock::Timestamp::EPOCH,
    }
}

#[cfg(test)]
mod tests;
