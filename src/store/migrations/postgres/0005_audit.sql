-- Who did what, and when. A row outlives what it tells of, so that it names accounts and sessions
-- without referring to them. Rows that strangers can cause at will are marked, so that a flood of
-- them can be cut back without touching the others.
CREATE TABLE audit (
    sequence   BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         BIGINT  NOT NULL,
    kind       TEXT    NOT NULL,
    cause      TEXT,
    actor      TEXT    NOT NULL,
    actor_name TEXT,
    user_id    BYTEA   CHECK (octet_length(user_id) = 16),
    login      TEXT,
    session_id BYTEA   CHECK (octet_length(session_id) = 16),
    client     TEXT,
    subject    TEXT,
    count      BIGINT  NOT NULL CHECK (count > 0),
    cheap      BOOLEAN NOT NULL
);

CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_of_user ON audit (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX audit_cheap ON audit (sequence) WHERE cheap;
