-- One-time links: setup, invite, reset. A link that was used is gone.
CREATE TABLE links (
    hash        BYTEA  NOT NULL PRIMARY KEY CHECK (octet_length(hash) = 32),
    kind        TEXT   NOT NULL CHECK (kind IN ('setup', 'invite', 'reset')),
    user_id     BYTEA  REFERENCES users (id) ON DELETE CASCADE,
    roles       TEXT   NOT NULL,
    permissions TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    CHECK ((user_id IS NOT NULL) = (kind = 'reset'))
);

CREATE INDEX links_of_user ON links (user_id) WHERE user_id IS NOT NULL;
