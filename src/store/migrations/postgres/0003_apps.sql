-- Apps, and the tokens that they have minted. The users of an app stand among the accounts, under
-- names that no account of our own can have, and `identities` says whose they are.

CREATE TABLE apps (
    id          TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    name        TEXT,
    -- JSON: each with its id, salt, hash and moment. Read and written whole.
    secrets     TEXT    NOT NULL,
    roles       TEXT    NOT NULL,
    permissions TEXT    NOT NULL,
    disabled    BOOLEAN NOT NULL,
    created_at  BIGINT  NOT NULL
);

-- No foreign keys: what belongs to a removed app goes with the sweep.
CREATE TABLE minted_tokens (
    id         BYTEA  NOT NULL PRIMARY KEY CHECK (octet_length(id) = 16),
    app        TEXT   COLLATE "C" NOT NULL,
    user_id    BYTEA  NOT NULL CHECK (octet_length(user_id) = 16),
    expires_at BIGINT NOT NULL
);

CREATE INDEX minted_tokens_by_expiry ON minted_tokens (expires_at);

-- Apps that were removed and still have users, who are swept a few at a time.
CREATE TABLE removed_apps (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY
);
