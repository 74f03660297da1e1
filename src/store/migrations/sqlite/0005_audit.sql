-- Who did what, and when. A row outlives what it tells of, so that it names accounts and sessions
-- without referring to them. Rows that strangers can cause at will are marked, so that a flood of
-- them can be cut back without touching the others.
CREATE TABLE audit (
    sequence   INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    cause      TEXT,
    actor      TEXT    NOT NULL,
    actor_name TEXT,
    user_id    BLOB    CHECK (length(user_id) = 16),
    login      TEXT,
    session_id BLOB    CHECK (length(session_id) = 16),
    client     TEXT,
    subject    TEXT,
    count      INTEGER NOT NULL CHECK (count > 0),
    cheap      INTEGER NOT NULL CHECK (cheap IN (0, 1))
) STRICT;

CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_of_user ON audit (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX audit_cheap ON audit (sequence) WHERE cheap;
