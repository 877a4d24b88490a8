-- Claims and records of `SqliteStore`. `SqliteStore::migrate` runs this; it may be run again.
-- Times are milliseconds since 1970 by SQLite's own clock.
CREATE TABLE IF NOT EXISTS "idempotency_records" (
    id          BLOB    NOT NULL PRIMARY KEY, -- 32 bytes
    owner       BLOB    NOT NULL,             -- 16 bytes
    fingerprint BLOB    NOT NULL,             -- 32 bytes
    state       INTEGER NOT NULL,             -- 1 running, rerun if lost; 2 running, refuse if lost; 3 done
    lease_until INTEGER,                      -- running: how long the claim is believed; done: since when
    expires_at  INTEGER NOT NULL,             -- from then on the row is as good as absent
    response    BLOB,                         -- done: what is sent again
    claimed_at  INTEGER,                      -- when the claim was granted
    attempts    INTEGER                       -- how often the id was claimed, each time after a lost claim
) STRICT;
CREATE INDEX IF NOT EXISTS "idempotency_records_expires_at" ON "idempotency_records" (expires_at);
