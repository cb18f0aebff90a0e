-- `mamey` stands for the context's schema.

-- The functions that commit, a pair for each set of collections that a build declares. Builds that
-- run side by side have their own.
CREATE TABLE mamey._commits (
    name    text COLLATE "C" PRIMARY KEY,
    -- When a build last opened the context, or its retention job ran.
    used_at timestamptz NOT NULL
);

-- Records the outcome of a message that was parked before, or that was delivered and is not handled
-- but parked or a dead letter. The caller has locked its lane, and the row of a parked message.
CREATE FUNCTION mamey._record_outcome(receipt jsonb, payload bytea, at bigint)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    message  uuid := (receipt->>'id')::uuid;
    becomes  text := receipt->>'becomes';
    -- By the database's clock, within the range of the column.
    next_due bigint := least(at::numeric + (receipt->>'delay')::bigint, 9223372036854775807);
BEGIN
    IF receipt->>'origin' = 'delivery' THEN
        IF becomes = 'parked' THEN
            INSERT INTO mamey._parked
                (id, position, lane, slot, due, since, attempts, failure, metadata, payload)
            VALUES (message, nextval('mamey._position'), receipt->>'lane',
                (receipt->>'slot')::smallint, next_due, at,
                (receipt->>'attempts')::bigint, receipt->>'failure', receipt->>'metadata', payload);
        ELSE
            INSERT INTO mamey._dead_letters
                (id, position, lane, slot, reason, attempts, first_failed, last_failed, failure,
                 metadata, payload)
            VALUES (message, nextval('mamey._position'), receipt->>'lane',
                (receipt->>'slot')::smallint, receipt->>'reason', (receipt->>'attempts')::bigint,
                at, at, receipt->>'failure', receipt->>'metadata', payload);
        END IF;
    ELSIF becomes = 'parked' THEN
        UPDATE mamey._parked SET due = next_due,
            attempts = (receipt->>'attempts')::bigint, failure = receipt->>'failure'
        WHERE id = message;
    ELSE
        IF becomes = 'dead' THEN
            INSERT INTO mamey._dead_letters
                (id, position, lane, slot, reason, attempts, first_failed, last_failed, failure,
                 metadata, payload)
            SELECT id, position, lane, slot, receipt->>'reason', (receipt->>'attempts')::bigint,
                since, at, receipt->>'failure', metadata, mamey._parked.payload
            FROM mamey._parked WHERE id = message;
        END IF;
        DELETE FROM mamey._parked WHERE id = message;
    END IF;
END
$$;
