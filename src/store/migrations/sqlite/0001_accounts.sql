-- Accounts, sessions, revocations and keys.
--
-- Ids are 16 raw bytes: half the size of their hexadecimal text, in the one table that grows with
-- the number of people (`SELECT lower(hex(id)) FROM sessions` shows them as the log does). Moments
-- are Unix milliseconds. Lists of names are JSON text: they are read and written whole.

CREATE TABLE users (
    id          BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    login       TEXT    NOT NULL,
    login_key   TEXT    NOT NULL UNIQUE,
    name        TEXT,
    email       TEXT,
    roles       TEXT    NOT NULL,
    permissions TEXT    NOT NULL,
    password    TEXT,
    disabled    INTEGER NOT NULL CHECK (disabled IN (0, 1)),
    created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Who an account is to others: an app that mints tokens, an identity provider, a passkey.
CREATE TABLE identities (
    provider TEXT NOT NULL,
    subject  TEXT NOT NULL,
    user_id  BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (provider, subject)
) STRICT, WITHOUT ROWID;

CREATE INDEX identities_of_user ON identities (user_id);

-- The only index beside the key is one that a rotation does not touch: a rotation writes one page.
CREATE TABLE sessions (
    id                 BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id            BLOB    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    generation         INTEGER NOT NULL CHECK (generation >= 0),
    seen_generation    INTEGER NOT NULL CHECK (seen_generation >= 0),
    refresh_key        TEXT    NOT NULL,
    refresh_token      BLOB    NOT NULL CHECK (length(refresh_token) = 16),
    refresh_issued_at  INTEGER NOT NULL,
    refresh_expires_at INTEGER NOT NULL,
    rotated_at         INTEGER NOT NULL,
    auth_time          INTEGER NOT NULL,
    amr                TEXT    NOT NULL,
    expires_at         INTEGER NOT NULL,
    idle_expires_at    INTEGER NOT NULL,
    persistent         INTEGER NOT NULL CHECK (persistent IN (0, 1)),
    address            TEXT,
    device             TEXT    NOT NULL,
    created_at         INTEGER NOT NULL,
    ended_at           INTEGER,
    end_reason         TEXT,
    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_of_user ON sessions (user_id);

-- AUTOINCREMENT: a sequence that was swept is never given again, or a reader would step over it.
CREATE TABLE revocations (
    sequence   INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT    NOT NULL CHECK (kind IN ('session', 'token', 'user')),
    subject    BLOB    NOT NULL CHECK (length(subject) = 16),
    as_of      INTEGER CHECK ((as_of IS NOT NULL) = (kind = 'user')),
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX revocations_by_expiry ON revocations (expires_at);

-- In the order in which they were added, whatever the clocks said.
CREATE TABLE keys (
    position    INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT    NOT NULL UNIQUE,
    secret      BLOB    NOT NULL,
    active_from INTEGER NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;
