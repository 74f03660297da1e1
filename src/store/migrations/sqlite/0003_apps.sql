-- Apps, and the tokens that they have minted. The users of an app stand among the accounts, under
-- names that no account of our own can have, and `identities` says whose they are.

CREATE TABLE apps (
    id          TEXT    NOT NULL PRIMARY KEY,
    name        TEXT,
    -- JSON: each with its id, salt, hash and moment. Read and written whole.
    secrets     TEXT    NOT NULL,
    roles       TEXT    NOT NULL,
    permissions TEXT    NOT NULL,
    disabled    INTEGER NOT NULL CHECK (disabled IN (0, 1)),
    created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- No foreign keys: what belongs to a removed app goes with the sweep.
CREATE TABLE minted_tokens (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    app        TEXT    NOT NULL,
    user_id    BLOB    NOT NULL CHECK (length(user_id) = 16),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX minted_tokens_by_expiry ON minted_tokens (expires_at);

-- Apps that were removed and still have users, who are swept a few at a time.
CREATE TABLE removed_apps (
    id TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;
