-- Claims and records of the `idempotent-runtime` crate in PostgreSQL 12 or newer.
--
-- `PostgresStore::migrate` runs this text. Whoever manages schemas in another way runs it there;
-- it may be run again at any time. For a table of another name, replace `idempotency_records`
-- throughout. The role of the application needs SELECT, INSERT, UPDATE and DELETE on both tables.

-- Several processes may do this at once. The lock ends with the transaction.
SELECT pg_advisory_xact_lock(7598811290427213925);

-- A row without a response is a claim, a row with one is a record.
--
-- The fill factor leaves room beside a claim for the record that replaces it, so that completion
-- touches no index.
CREATE TABLE IF NOT EXISTS "idempotency_records" (
    id          bytea       NOT NULL PRIMARY KEY,
    fingerprint bytea       NOT NULL,
    owner       uuid        NOT NULL,
    -- How long the claim is believed.
    lease_ends  timestamptz NOT NULL,
    -- When the id is free for anybody: a claim that may run again, when its lease ends; one that
    -- may not, a ttl later; a record, when its ttl ends.
    free_at     timestamptz NOT NULL,
    -- When it is worth looking at `free_at`. Never changed between claim and record, so that the
    -- index on it does not have to be either.
    sweep_at    timestamptz NOT NULL,
    response    bytea,
    -- For operators: when the claim was granted, and how often the id was claimed, each time in
    -- the place of a lost claim. A record's ttl is `sweep_at - claimed_at`.
    claimed_at  timestamptz,
    attempts    integer
) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.05);

-- A table of an earlier version. Only where it is one, because the table is locked for it.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = '"idempotency_records"'::regclass
        AND attname = 'attempts' AND NOT attisdropped)
    THEN
        ALTER TABLE "idempotency_records"
            ADD COLUMN claimed_at timestamptz, ADD COLUMN attempts integer;
    END IF;
END $$;

CREATE INDEX IF NOT EXISTS idempotency_records_sweep ON "idempotency_records" (sweep_at);

-- The ids of claims whose end somebody waits for and wants to be notified of. Not a column of the
-- claim: a transaction of a stricter level than READ COMMITTED could not complete a claim that is
-- marked after it has begun.
--
-- Lost in a crash, they are put here again by the next look of whoever waits.
CREATE UNLOGGED TABLE IF NOT EXISTS "idempotency_records_awaited" (id bytea NOT NULL PRIMARY KEY);

-- Each verb is one function, so that it is one statement to send, however it ends, and the server
-- keeps its plans whether or not the connection can keep prepared statements.
--
-- Claim and completion give one value, because that costs less than a row: a verdict in four bytes,
-- and where something was found what is left of its lease or ttl, as an interval in sixteen; its
-- fingerprint; and its response, if it has one. Verdicts are: 0 somebody else is changing the row,
-- ask again, maybe with what was there last; 1 done as asked; 2 found running; 3 found done;
-- 4 found lost; 5 done before by this owner; 6 found damaged, with a time that no clock shows, and
-- who knows when that row is free, or a fingerprint that is none.
--
-- A statement of another transaction is waited for only where two write the same new id; nobody
-- waits there for long.

CREATE OR REPLACE FUNCTION "idempotency_records_claim"(
    wanted_id bytea,
    wanted_fingerprint bytea,
    wanted_owner uuid,
    lease interval,
    lost_for interval,
    ttl interval,
    takes_over boolean
) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
    moment      timestamptz;
    present     record;
    verdict     integer;
    time_left   interval := '0';
    ignored     text;
BEGIN
    FOR attempt IN 1..3 LOOP
        -- In every round, because one may have waited for a lock.
        moment := clock_timestamp();
        SELECT r.fingerprint, r.owner, r.lease_ends, r.free_at, r.response
            INTO present FROM "idempotency_records" r WHERE r.id = wanted_id;
        IF NOT FOUND THEN
            -- For the rest of this transaction, which is this call. Not said of the whole
            -- function, so that a replay does not pay for it; assigned, because that is an
            -- expression and PERFORM would be a query.
            ignored := set_config('lock_timeout', '1s', true);
            INSERT INTO "idempotency_records"
                (id, fingerprint, owner, lease_ends, free_at, sweep_at, claimed_at, attempts)
                VALUES (wanted_id, wanted_fingerprint, wanted_owner, moment + lease,
                    moment + lease + lost_for, moment + ttl, moment, 1)
                ON CONFLICT (id) DO NOTHING;
            IF FOUND THEN
                RETURN int4send(1);
            END IF;
            -- Another claim was faster. The next round sees it.
            CONTINUE;
        END IF;
        IF present.free_at NOT BETWEEN 'epoch' AND '9999-12-31'
            OR present.lease_ends NOT BETWEEN 'epoch' AND '9999-12-31'
        THEN
            RETURN int4send(6);
        END IF;
        IF present.response IS NULL AND present.lease_ends > moment
            AND present.owner = wanted_owner
        THEN
            -- The same claim, asked for again.
            RETURN int4send(1);
        END IF;
        IF present.free_at > moment AND NOT (
            present.response IS NULL AND present.lease_ends <= moment
            AND (takes_over OR present.owner = wanted_owner)
        ) THEN
            IF octet_length(present.fingerprint) <> 32 THEN
                RETURN int4send(6);
            ELSIF present.response IS NOT NULL THEN
                verdict := 3;
                time_left := present.free_at - moment;
            ELSIF present.lease_ends > moment THEN
                verdict := 2;
                time_left := present.lease_ends - moment;
            ELSE
                verdict := 4;
            END IF;
            RETURN int4send(verdict) || interval_send(time_left) || present.fingerprint
                || coalesce(present.response, '');
        END IF;
        -- The id can be taken over. A row that somebody has locked is being taken over, swept or
        -- completed: nobody waits for that here.
        PERFORM FROM "idempotency_records" r
            WHERE r.id = wanted_id AND (r.free_at <= moment OR (
                r.response IS NULL AND r.lease_ends <= moment
                AND (takes_over OR r.owner = wanted_owner)
            ))
            FOR UPDATE SKIP LOCKED;
        IF FOUND THEN
            UPDATE "idempotency_records" r
                SET fingerprint = wanted_fingerprint, owner = wanted_owner,
                    lease_ends = moment + lease, free_at = moment + lease + lost_for,
                    sweep_at = moment + ttl, response = NULL, claimed_at = moment,
                    attempts = CASE WHEN r.response IS NULL THEN r.attempts + 1 ELSE 1 END
                WHERE r.id = wanted_id;
            DELETE FROM "idempotency_records_awaited" a WHERE a.id = wanted_id;
            IF FOUND THEN
                PERFORM pg_notify('idempotency_records', encode(wanted_id, 'hex'));
            END IF;
            RETURN int4send(1);
        END IF;
    END LOOP;
    RETURN int4send(0) || interval_send(time_left) || coalesce(present.fingerprint, '');
END $$;

-- Completes a claim that is its owner's and that nobody has locked, which is how most end. Such a
-- row need not be waited for, so the time limit of those that wait, which is dear, is left to
-- `_complete_any`.
CREATE OR REPLACE FUNCTION "idempotency_records_complete"(
    wanted_id bytea,
    wanted_fingerprint bytea,
    wanted_owner uuid,
    ttl interval,
    new_response bytea
) RETURNS bytea LANGUAGE plpgsql AS $$
BEGIN
    UPDATE "idempotency_records" r SET response = new_response, free_at = clock_timestamp() + ttl
        WHERE r.id = wanted_id AND r.owner = wanted_owner AND r.response IS NULL AND r.xmax = 0;
    IF NOT FOUND THEN
        RETURN "idempotency_records_complete_any"(
            wanted_id, wanted_fingerprint, wanted_owner, ttl, new_response);
    END IF;
    DELETE FROM "idempotency_records_awaited" a WHERE a.id = wanted_id;
    IF FOUND THEN
        PERFORM pg_notify('idempotency_records', encode(wanted_id, 'hex'));
    END IF;
    RETURN int4send(1);
END $$;

-- Completes whatever is to be completed, and says what is in the way.
CREATE OR REPLACE FUNCTION "idempotency_records_complete_any"(
    wanted_id bytea,
    wanted_fingerprint bytea,
    wanted_owner uuid,
    ttl interval,
    new_response bytea
) RETURNS bytea LANGUAGE plpgsql SET lock_timeout = '1s' AS $$
DECLARE
    moment      timestamptz := clock_timestamp();
    new_free    timestamptz := moment + ttl;
    present     record;
    verdict     integer;
    time_left   interval := '0';
BEGIN
    FOR attempt IN 1..3 LOOP
        UPDATE "idempotency_records" r SET response = new_response, free_at = new_free
            WHERE r.id = wanted_id AND r.owner = wanted_owner AND r.response IS NULL;
        IF NOT FOUND THEN
            SELECT r.fingerprint, r.owner, r.lease_ends, r.free_at, r.response
                INTO present FROM "idempotency_records" r WHERE r.id = wanted_id;
            IF NOT FOUND THEN
                -- The lease had ended and nobody came.
                INSERT INTO "idempotency_records"
                    (id, fingerprint, owner, lease_ends, free_at, sweep_at, response)
                    VALUES (wanted_id, wanted_fingerprint, wanted_owner, moment, new_free,
                        new_free, new_response)
                    ON CONFLICT (id) DO NOTHING;
            ELSIF present.free_at NOT BETWEEN 'epoch' AND '9999-12-31'
                OR present.lease_ends NOT BETWEEN 'epoch' AND '9999-12-31'
            THEN
                RETURN int4send(6);
            ELSIF present.owner = wanted_owner AND present.response IS NULL THEN
                CONTINUE;
            ELSIF present.owner = wanted_owner OR present.free_at > moment THEN
                IF octet_length(present.fingerprint) <> 32 THEN
                    RETURN int4send(6);
                ELSIF present.response IS NOT NULL THEN
                    -- The owner's own was recorded before, and the answer was lost.
                    verdict := CASE WHEN present.owner = wanted_owner THEN 5 ELSE 3 END;
                    time_left := present.free_at - moment;
                ELSIF present.lease_ends > moment THEN
                    verdict := 2;
                    time_left := present.lease_ends - moment;
                ELSE
                    verdict := 4;
                END IF;
                RETURN int4send(verdict) || interval_send(time_left) || present.fingerprint
                    || coalesce(present.response, '');
            ELSE
                -- What another owner left behind has expired.
                UPDATE "idempotency_records" r
                    SET fingerprint = wanted_fingerprint, owner = wanted_owner,
                        free_at = new_free, sweep_at = new_free, response = new_response,
                        claimed_at = NULL, attempts = NULL
                    WHERE r.id = wanted_id AND r.owner = present.owner AND r.free_at <= moment;
            END IF;
        END IF;
        IF FOUND THEN
            DELETE FROM "idempotency_records_awaited" a WHERE a.id = wanted_id;
            IF FOUND THEN
                PERFORM pg_notify('idempotency_records', encode(wanted_id, 'hex'));
            END IF;
            RETURN int4send(1);
        END IF;
    END LOOP;
    RETURN int4send(0);
END $$;

-- Answers whether the claim was the owner's; nothing when somebody else is changing the row, and
-- one must ask again.
CREATE OR REPLACE FUNCTION "idempotency_records_release"(
    wanted_id bytea,
    wanted_owner uuid
) RETURNS boolean LANGUAGE plpgsql SET lock_timeout = '1s' AS $$
DECLARE
    present record;
BEGIN
    FOR attempt IN 1..3 LOOP
        DELETE FROM "idempotency_records" r
            WHERE r.id = wanted_id AND r.owner = wanted_owner AND r.response IS NULL;
        IF FOUND THEN
            DELETE FROM "idempotency_records_awaited" a WHERE a.id = wanted_id;
            IF FOUND THEN
                PERFORM pg_notify('idempotency_records', encode(wanted_id, 'hex'));
            END IF;
            RETURN true;
        END IF;
        SELECT r.owner = wanted_owner AND r.response IS NULL AS is_own, r.free_at
            INTO present FROM "idempotency_records" r WHERE r.id = wanted_id;
        IF FOUND AND present.is_own THEN
            -- Committed in between. The next round removes it.
            CONTINUE;
        ELSIF FOUND THEN
            RETURN present.free_at <= clock_timestamp();
        END IF;
        -- Released before, and the answer was lost; or nobody sees the claim yet, because it is
        -- still being committed. A row of the same id has to wait for that.
        INSERT INTO "idempotency_records"
            (id, fingerprint, owner, lease_ends, free_at, sweep_at)
            VALUES (wanted_id, '', wanted_owner, 'epoch', 'epoch', 'epoch')
            ON CONFLICT (id) DO NOTHING;
        IF FOUND THEN
            DELETE FROM "idempotency_records" r
                WHERE r.id = wanted_id AND r.owner = wanted_owner AND r.response IS NULL;
            RETURN true;
        END IF;
        -- What it waited for is there now. The next round sees it.
    END LOOP;
    RETURN NULL;
END $$;

-- Answers whether the claim is the owner's and is renewed. A row that a transaction has locked,
-- which may be the handler's own, is not waited for: if the claim was the owner's when it was last
-- committed the answer is nothing, and it is worth asking again.
CREATE OR REPLACE FUNCTION "idempotency_records_renew"(
    wanted_id bytea,
    wanted_owner uuid,
    lease interval,
    lost_for interval
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    new_end timestamptz := clock_timestamp() + lease;
BEGIN
    PERFORM FROM "idempotency_records" r
        WHERE r.id = wanted_id AND r.owner = wanted_owner AND r.response IS NULL
        FOR UPDATE SKIP LOCKED;
    IF FOUND THEN
        UPDATE "idempotency_records" r
            SET lease_ends = new_end, free_at = new_end + lost_for
            WHERE r.id = wanted_id;
        RETURN true;
    END IF;
    PERFORM FROM "idempotency_records" r
        WHERE r.id = wanted_id AND r.owner = wanted_owner AND r.response IS NULL;
    RETURN CASE WHEN NOT FOUND THEN false END;
END $$;

-- What is left of the lease of the claim that is running, in microseconds; nothing if none is. Asks
-- for a notification of its end, and tells whether there will be one.
CREATE OR REPLACE FUNCTION "idempotency_records_watch"(
    wanted_id bytea,
    OUT time_left bigint,
    OUT will_notify boolean
) LANGUAGE plpgsql AS $$
BEGIN
    SELECT (extract(epoch FROM r.lease_ends - clock_timestamp()) * 1000000)::bigint,
            EXISTS (SELECT FROM "idempotency_records_awaited" a WHERE a.id = wanted_id)
        INTO time_left, will_notify FROM "idempotency_records" r
        WHERE r.id = wanted_id AND r.response IS NULL
            -- What is damaged is told by the next claim.
            AND r.lease_ends BETWEEN 'epoch' AND '9999-12-31';
    IF NOT FOUND OR will_notify OR time_left <= 0 THEN
        RETURN;
    END IF;
    -- Whoever has the row locked may be ending the claim, and have looked for the mark already.
    -- Whoever locks it next sees the mark.
    PERFORM FROM "idempotency_records" r
        WHERE r.id = wanted_id AND r.response IS NULL
        FOR UPDATE SKIP LOCKED;
    will_notify := FOUND;
    IF will_notify THEN
        INSERT INTO "idempotency_records_awaited" VALUES (wanted_id) ON CONFLICT DO NOTHING;
    END IF;
END $$;

-- Makes an id absent: 0 nothing was there, 1 it is gone, 2 a claim runs, or somebody else is changing
-- the row, 3 there is a record, 6 it cannot be read. A row that a transaction has locked may be a
-- handler's that is writing its record, and is not waited for: it would be forgotten the moment it is
-- committed.
CREATE OR REPLACE FUNCTION "idempotency_records_forget"(
    wanted_id bytea,
    even_done boolean,
    even_running boolean
) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    moment  timestamptz := clock_timestamp();
    present record;
BEGIN
    SELECT r.free_at BETWEEN 'epoch' AND moment AS is_over,
            r.response IS NULL AND r.lease_ends > moment AS is_running,
            r.response IS NOT NULL AS is_done,
            r.free_at BETWEEN 'epoch' AND '9999-12-31'
                AND r.lease_ends BETWEEN 'epoch' AND '9999-12-31'
                AND octet_length(r.fingerprint) = 32 AS is_sound
        INTO present FROM "idempotency_records" r WHERE r.id = wanted_id
        FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        PERFORM FROM "idempotency_records" r WHERE r.id = wanted_id;
        RETURN CASE WHEN FOUND THEN 2 ELSE 0 END;
    ELSIF NOT present.is_over AND NOT even_running THEN
        IF NOT present.is_sound THEN
            RETURN 6;
        ELSIF present.is_running THEN
            RETURN 2;
        ELSIF present.is_done AND NOT even_done THEN
            RETURN 3;
        END IF;
    END IF;
    DELETE FROM "idempotency_records" r WHERE r.id = wanted_id;
    DELETE FROM "idempotency_records_awaited" a WHERE a.id = wanted_id;
    IF FOUND THEN
        PERFORM pg_notify('idempotency_records', encode(wanted_id, 'hex'));
    END IF;
    RETURN CASE WHEN present.is_over THEN 0 ELSE 1 END;
END $$;
