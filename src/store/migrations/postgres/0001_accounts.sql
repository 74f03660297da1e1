-- Accounts, sessions, revocations and keys: the same tables and columns as on SQLite.
--
-- Ids are 16 raw bytes: half the size of their hexadecimal text, in the one table that grows with
-- the number of people (`SELECT encode(id, 'hex') FROM sessions` shows them as the log does).
-- Moments are Unix milliseconds: they come from the gateways' clocks, never from the server's.
-- Lists of names are JSON text: they are read and written whole.

CREATE TABLE users (
    id          BYTEA   NOT NULL PRIMARY KEY CHECK (octet_length(id) = 16),
    login       TEXT    NOT NULL,
    -- Compared and sorted by bytes: names are folded before they come here.
    login_key   TEXT    COLLATE "C" NOT NULL UNIQUE,
    name        TEXT,
    email       TEXT,
    roles       TEXT    NOT NULL,
    permissions TEXT    NOT NULL,
    password    TEXT,
    disabled    BOOLEAN NOT NULL,
    created_at  BIGINT  NOT NULL
);

-- Who an account is to others: an app that mints tokens, an identity provider, a passkey.
CREATE TABLE identities (
    provider TEXT  COLLATE "C" NOT NULL,
    subject  TEXT  COLLATE "C" NOT NULL,
    user_id  BYTEA NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (provider, subject)
);

CREATE INDEX identities_of_user ON identities (user_id);

-- No index holds a column that a rotation changes, and pages keep some room: the new version of a
-- row then stays on its page, and a rotation writes no index at all.
CREATE TABLE sessions (
    id                 BYTEA   NOT NULL PRIMARY KEY CHECK (octet_length(id) = 16),
    user_id            BYTEA   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    generation         BIGINT  NOT NULL CHECK (generation >= 0),
    seen_generation    BIGINT  NOT NULL CHECK (seen_generation >= 0),
    refresh_key        TEXT    NOT NULL,
    refresh_token      BYTEA   NOT NULL CHECK (octet_length(refresh_token) = 16),
    refresh_issued_at  BIGINT  NOT NULL,
    refresh_expires_at BIGINT  NOT NULL,
    rotated_at         BIGINT  NOT NULL,
    auth_time          BIGINT  NOT NULL,
    amr                TEXT    NOT NULL,
    expires_at         BIGINT  NOT NULL,
    idle_expires_at    BIGINT  NOT NULL,
    persistent         BOOLEAN NOT NULL,
    address            TEXT,
    device             TEXT    NOT NULL,
    created_at         BIGINT  NOT NULL,
    ended_at           BIGINT,
    end_reason         TEXT,
    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
) WITH (fillfactor = 80);

CREATE INDEX sessions_of_user ON sessions (user_id);

CREATE TABLE revocations (
    sequence   BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       TEXT   NOT NULL CHECK (kind IN ('session', 'token', 'user')),
    subject    BYTEA  NOT NULL CHECK (octet_length(subject) = 16),
    as_of      BIGINT CHECK ((as_of IS NOT NULL) = (kind = 'user')),
    expires_at BIGINT NOT NULL
);

CREATE INDEX revocations_by_expiry ON revocations (expires_at);

-- In the order in which they were added, whatever the clocks said. Each names the key before it
-- (the first: none), and no two the same: of two replicas that add a key at once, one does.
CREATE TABLE keys (
    position    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          TEXT   NOT NULL UNIQUE,
    predecessor TEXT   NOT NULL UNIQUE,
    secret      BYTEA  NOT NULL,
    active_from BIGINT NOT NULL,
    created_at  BIGINT NOT NULL
);
