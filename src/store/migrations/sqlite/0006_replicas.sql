-- How often strangers have guessed, and who may work here: the same tables as on Postgres.

-- One row for each key of each limit: when it would be as good as new (GCRA's theoretical arrival
-- time, in microseconds of Unix time).
CREATE TABLE attempts (
    key     BLOB    NOT NULL PRIMARY KEY CHECK (length(key) = 16),
    arrival INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The least version of the schema that a program must know to work on this database. A migration
-- that an older program could not live with sets it.
CREATE TABLE compatibility (
    needs INTEGER NOT NULL
) STRICT;

INSERT INTO compatibility (needs) VALUES (6);

-- Each key names the one before it (the first: none), as on Postgres.
ALTER TABLE keys ADD COLUMN predecessor TEXT NOT NULL DEFAULT '';

UPDATE keys SET predecessor = coalesce(
    (SELECT earlier.id FROM keys AS earlier WHERE earlier.position < keys.position
     ORDER BY earlier.position DESC LIMIT 1), '');

CREATE UNIQUE INDEX keys_by_predecessor ON keys (predecessor);
