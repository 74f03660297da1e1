//! The rows as the columns of a table hold them, the same for every backend, and the way between
//! the two. What does not fit is `Unreadable`, never guessed at.

use crate::clock::Timestamp;
use crate::id::{KeyId, Revoked, SessionId, TokenId, UserId};
use crate::secret::PasswordHash;

use super::StoreError;
use super::links::{Link, LinkHash, LinkKind};
use super::rows::{EndReason, Ended, KeyRow, RefreshRecord, Revocation, Session, User};
use super::seal::Seal;

/// The columns of [`UserColumns`], for a `SELECT` that may join `sessions`.
macro_rules! user_columns {
    () => {
        "users.id AS user_id, users.login, users.login_key, users.name, users.email, users.roles, \
         users.permissions, users.password, users.disabled, users.created_at AS user_created_at"
    };
}
/// The columns of [`SessionColumns`] but `user_id`, for a `SELECT` that may join `users`.
macro_rules! session_columns {
    () => {
        "sessions.id AS session_id, sessions.generation, sessions.seen_generation, \
         sessions.refresh_key, sessions.refresh_token, sessions.refresh_issued_at, \
         sessions.refresh_expires_at, sessions.rotated_at, sessions.auth_time, sessions.amr, \
         sessions.expires_at, sessions.idle_expires_at, sessions.persistent, sessions.address, \
         sessions.device, sessions.created_at, sessions.ended_at, sessions.end_reason"
    };
}
/// Sessions that are live at $1 and fit the further condition, newest first, at most $2.
macro_rules! live_sessions {
    ($and:literal) => {
        concat!(
            "SELECT ",
            $crate::store::columns::session_columns!(),
            ", sessions.user_id, users.login \
             FROM sessions JOIN users ON users.id = sessions.user_id \
             WHERE sessions.ended_at IS NULL AND sessions.expires_at > $1 \
             AND sessions.idle_expires_at > $1",
            $and,
            " ORDER BY sessions.created_at DESC, sessions.id DESC LIMIT $2"
        )
    };
}
pub(super) use {live_sessions, session_columns, user_columns};

#[derive(sqlx::FromRow)]
pub(super) struct UserColumns {
    user_id: Vec<u8>,
    login: String,
    login_key: String,
    name: Option<String>,
    email: Option<String>,
    roles: String,
    permissions: String,
    password: Option<String>,
    disabled: bool,
    user_created_at: i64,
}

impl TryFrom<UserColumns> for User {
    type Error = StoreError;

    fn try_from(row: UserColumns) -> Result<Self, StoreError> {
        Ok(Self {
            id: UserId::from_bytes(bytes(&row.user_id, "a user's id")?),
            login: row.login,
            login_key: row.login_key,
            name: row.name,
            email: row.email,
            roles: list(&row.roles, "a user's roles")?,
            permissions: list(&row.permissions, "a user's permissions")?,
            password: row.password.map(PasswordHash::new),
            disabled: row.disabled,
            created_at: Timestamp::from_millis(row.user_created_at),
        })
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct SessionColumns {
    session_id: Vec<u8>,
    user_id: Vec<u8>,
    generation: i64,
    seen_generation: i64,
    refresh_key: String,
    refresh_token: Vec<u8>,
    refresh_issued_at: i64,
    refresh_expires_at: i64,
    rotated_at: i64,
    auth_time: i64,
    amr: String,
    expires_at: i64,
    idle_expires_at: i64,
    persistent: bool,
    address: Option<String>,
    device: String,
    created_at: i64,
    ended_at: Option<i64>,
    end_reason: Option<String>,
}

impl TryFrom<SessionColumns> for Session {
    type Error = StoreError;

    fn try_from(row: SessionColumns) -> Result<Self, StoreError> {
        let ended = match (row.ended_at, row.end_reason) {
            (None, None) => None,
            (Some(at), Some(reason)) => Some(Ended {
                at: Timestamp::from_millis(at),
                reason: EndReason::from_name(&reason)
                    .ok_or_else(|| unreadable("an end's reason"))?,
            }),
            _ => return Err(unreadable("half an end of a session")),
        };
        let address = row.address.map(|text| text.parse()).transpose();
        Ok(Self {
            id: SessionId::from_bytes(bytes(&row.session_id, "a session's id")?),
            user: UserId::from_bytes(bytes(&row.user_id, "a user's id")?),
            generation: uncount(row.generation)?,
            seen_generation: uncount(row.seen_generation)?,
            current: RefreshRecord {
                key: KeyId::new(&row.refresh_key),
                token: TokenId::from_bytes(bytes(&row.refresh_token, "a token's id")?),
                issued_at: Timestamp::from_millis(row.refresh_issued_at),
                expires_at: Timestamp::from_millis(row.refresh_expires_at),
            },
            rotated_at: Timestamp::from_millis(row.rotated_at),
            auth_time: Timestamp::from_millis(row.auth_time),
            amr: list(&row.amr, "the methods of a login")?,
            expires_at: Timestamp::from_millis(row.expires_at),
            idle_expires_at: Timestamp::from_millis(row.idle_expires_at),
            persistent: row.persistent,
            address: address.map_err(|_| unreadable("a session's address"))?,
            device: row.device,
            created_at: Timestamp::from_millis(row.created_at),
            ended,
        })
    }
}

/// A session with its whole user.
#[derive(sqlx::FromRow)]
pub(super) struct SessionWithUser {
    #[sqlx(flatten)]
    session: SessionColumns,
    #[sqlx(flatten)]
    user: UserColumns,
}

impl TryFrom<SessionWithUser> for (Session, User) {
    type Error = StoreError;

    fn try_from(row: SessionWithUser) -> Result<Self, StoreError> {
        Ok((row.session.try_into()?, row.user.try_into()?))
    }
}

/// A session with its user's login name.
#[derive(sqlx::FromRow)]
pub(super) struct SessionWithLogin {
    #[sqlx(flatten)]
    session: SessionColumns,
    login: String,
}

impl TryFrom<SessionWithLogin> for (Session, String) {
    type Error = StoreError;

    fn try_from(row: SessionWithLogin) -> Result<Self, StoreError> {
        Ok((row.session.try_into()?, row.login))
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct RevocationColumns {
    sequence: i64,
    kind: String,
    subject: Vec<u8>,
    as_of: Option<i64>,
    expires_at: i64,
}

impl TryFrom<RevocationColumns> for Revocation {
    type Error = StoreError;

    fn try_from(row: RevocationColumns) -> Result<Self, StoreError> {
        let subject = bytes(&row.subject, "the subject of a revocation")?;
        let subject = match (row.kind.as_str(), row.as_of) {
            ("session", None) => Revoked::Session(SessionId::from_bytes(subject)),
            ("token", None) => Revoked::Token(TokenId::from_bytes(subject)),
            ("user", Some(as_of)) => {
                Revoked::User(UserId::from_bytes(subject), Timestamp::from_millis(as_of))
            }
            _ => return Err(unreadable("a revocation of an unknown kind")),
        };
        let expires_at = Timestamp::from_millis(row.expires_at);
        Ok(Self { sequence: row.sequence, subject, expires_at })
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct LinkColumns {
    hash: Vec<u8>,
    kind: String,
    user_id: Option<Vec<u8>>,
    roles: String,
    permissions: String,
    created_at: i64,
    expires_at: i64,
}

/// A link with the login name of its account.
#[derive(sqlx::FromRow)]
pub(super) struct LinkWithLogin {
    #[sqlx(flatten)]
    link: LinkColumns,
    login: Option<String>,
}

impl TryFrom<LinkWithLogin> for (Link, Option<String>) {
    type Error = StoreError;

    fn try_from(row: LinkWithLogin) -> Result<Self, StoreError> {
        Ok((row.link.try_into()?, row.login))
    }
}

impl TryFrom<LinkColumns> for Link {
    type Error = StoreError;

    fn try_from(row: LinkColumns) -> Result<Self, StoreError> {
        let hash = row.hash.try_into().map_err(|_| unreadable("the hash of a link"))?;
        let user = row.user_id.map(|id| bytes(&id, "a user's id").map(UserId::from_bytes));
        Ok(Self {
            hash: LinkHash::from_bytes(hash),
            kind: LinkKind::from_name(&row.kind).ok_or_else(|| unreadable("a link's kind"))?,
            user: user.transpose()?,
            roles: list(&row.roles, "a link's roles")?,
            permissions: list(&row.permissions, "a link's permissions")?,
            created_at: Timestamp::from_millis(row.created_at),
            expires_at: Timestamp::from_millis(row.expires_at),
        })
    }
}

/// The columns `kind`, `subject` and `as_of`.
pub(super) const fn revoked(subject: &Revoked) -> (&'static str, &[u8; 16], Option<i64>) {
    match subject {
        Revoked::Session(id) => ("session", id.as_bytes(), None),
        Revoked::Token(id) => ("token", id.as_bytes(), None),
        Revoked::User(id, as_of) => ("user", id.as_bytes(), Some(as_of.millis())),
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct KeyColumns {
    id: String,
    secret: Vec<u8>,
    active_from: i64,
    created_at: i64,
}

impl KeyColumns {
    /// The key itself, out of its seal.
    pub(super) fn opened(self, seal: &Seal) -> Result<KeyRow, StoreError> {
        let id = KeyId::new(&self.id);
        Ok(KeyRow {
            secret: seal.open(&id, self.secret)?,
            id,
            active_from: Timestamp::from_millis(self.active_from),
            created_at: Timestamp::from_millis(self.created_at),
        })
    }
}

/// A key that has to be sealed in another way than it is.
pub(super) struct Resealed {
    pub(super) id: String,
    pub(super) before: Vec<u8>,
    pub(super) after: Vec<u8>,
}

/// Those of `rows` that are not sealed as `seal` seals now.
pub(super) fn resealed(rows: &[KeyColumns], seal: &Seal) -> Result<Vec<Resealed>, StoreError> {
    let mut all = Vec::new();
    for row in rows.iter().filter(|row| !seal.fits(&row.secret)) {
        let id = KeyId::new(&row.id);
        let plain = seal.open(&id, row.secret.clone())?;
        let (before, after) = (row.secret.clone(), seal.close(&id, &plain)?);
        all.push(Resealed { id: row.id.clone(), before, after });
    }
    Ok(all)
}

/// Each row as what it stands for.
pub(super) fn all<Columns, Row>(rows: Vec<Columns>) -> Result<Vec<Row>, StoreError>
where
    Row: TryFrom<Columns, Error = StoreError>,
{
    rows.into_iter().map(Row::try_from).collect()
}

/// A list of names as its column holds it.
pub(super) fn text(list: &[String]) -> String {
    serde_json::Value::from(list).to_string()
}

pub(super) fn list(text: &str, what: &str) -> Result<Vec<String>, StoreError> {
    serde_json::from_str(text).map_err(|_| unreadable(what))
}

/// A generation as its column holds it. It counts rotations: 2^63 of them do not happen.
pub(super) fn count(generation: u64) -> i64 {
    i64::try_from(generation).unwrap_or(i64::MAX)
}

fn uncount(generation: i64) -> Result<u64, StoreError> {
    u64::try_from(generation).map_err(|_| unreadable("a session's generation"))
}

pub(super) fn bytes(raw: &[u8], what: &str) -> Result<[u8; 16], StoreError> {
    raw.try_into().map_err(|_| unreadable(what))
}

pub(super) fn unreadable(what: &str) -> StoreError {
    StoreError::Unreadable(format!("{what} is not in a form that is known here"))
}
