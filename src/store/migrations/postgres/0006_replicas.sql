-- What replicas share beside sessions: how often strangers have guessed, and who may work here.

-- One row for each key of each limit: when it would be as good as new (GCRA's theoretical arrival
-- time, in microseconds of Unix time). UNLOGGED: an attempt then costs no flush to the disk and no
-- wait for a standby, and all that a crash of the server costs is that the limits start anew.
CREATE UNLOGGED TABLE attempts (
    key     BYTEA  NOT NULL PRIMARY KEY CHECK (octet_length(key) = 16),
    arrival BIGINT NOT NULL
) WITH (fillfactor = 80);

-- The least version of the schema that a program must know to work on this database. A migration
-- that an older program could not live with sets it; then a rolling upgrade needs a stop.
CREATE TABLE compatibility (
    needs BIGINT NOT NULL
);

INSERT INTO compatibility (needs) VALUES (6);
