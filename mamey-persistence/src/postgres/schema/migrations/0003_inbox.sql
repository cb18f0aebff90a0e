-- Creates and drops the days of the inbox. The functions run with the rights of the schema's owner, so
-- that they work for a service which may only read and write rows.

-- The smallest UUIDv7 of a day.
CREATE FUNCTION mamey._first_id(day date) RETURNS uuid LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
    SELECT (lpad(to_hex((day - date '1970-01-01')::bigint * 86400000), 12, '0') || repeat('0', 20))::uuid
$$;

-- The tables of days by their day, the oldest first.
CREATE FUNCTION mamey._inbox_days() RETURNS TABLE (name text, day date) LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
    SELECT relname::text, to_date(right(relname::text, 8), 'YYYYMMDD')
    FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = 'mamey._inbox'::regclass AND relname ~ '^_inbox_[0-9]{8}$'
    ORDER BY relname
$$;

-- Creates the tables of yesterday, today and the next days. They are attached, not created in place,
-- so that only writers to the default table wait. A day whose ids are already in the default table,
-- because its table was not created in time, gets none.
CREATE FUNCTION mamey._inbox_ahead(clock bigint, days_ahead int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
    today date := date '1970-01-01' + (greatest(mamey._now(clock), 0) / 86400000000)::int;
    ahead int;
    due   date;
    name  text;
BEGIN
    IF (SELECT count(*) FROM mamey._inbox_days() AS made
        WHERE made.day BETWEEN today - 1 AND today + days_ahead) = days_ahead + 2 THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('mamey inbox mamey.', 0));
    FOR ahead IN -1 .. days_ahead LOOP
        due := today + ahead;
        name := '_inbox_' || to_char(due, 'YYYYMMDD');
        CONTINUE WHEN due < '1970-01-01' OR due >= '2100-01-01'
            OR EXISTS (SELECT 1 FROM mamey._inbox_days() AS made WHERE made.day = due)
            OR EXISTS (SELECT 1 FROM mamey._inbox_default
                WHERE id >= mamey._first_id(due) AND id < mamey._first_id(due + 1));
        EXECUTE format('CREATE TABLE mamey.%I (id uuid PRIMARY KEY, received_at bigint NOT NULL)',
            name);
        EXECUTE format('REVOKE ALL ON mamey.%I FROM PUBLIC', name);
        -- A small index, which quickly shows that a whole day is old.
        EXECUTE format('CREATE INDEX %I ON mamey.%I USING brin (received_at)'
            ' WITH (autosummarize = on)', name || '_by_age', name);
        EXECUTE format('ALTER TABLE mamey._inbox ATTACH PARTITION mamey.%I'
            ' FOR VALUES FROM (%L) TO (%L)', name, mamey._first_id(due), mamey._first_id(due + 1));
    END LOOP;
END
$$;

-- Which messages of a day are parked or dead letters, up to `most`. One statement, because a message
-- may move from one of the two tables to the other.
CREATE FUNCTION mamey._inbox_waiting(day date, most int) RETURNS uuid[] LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
    SELECT array_agg(id) FROM (
        SELECT id FROM mamey._parked
        WHERE id >= mamey._first_id(day) AND id < mamey._first_id(day + 1)
        UNION ALL
        SELECT id FROM mamey._dead_letters
        WHERE id >= mamey._first_id(day) AND id < mamey._first_id(day + 1)
        LIMIT most) AS waits
$$;

-- Drops the oldest day that ended before `before` and received nothing since. Returns how many
-- messages were forgotten; null when there is no such day. Messages that are parked or dead letters
-- move to the default table first. A day with more than `kept_max` of them stays, because all writers
-- wait while they move.
CREATE FUNCTION mamey._inbox_forget_day(before bigint, kept_max int) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
    ended   date := date '1970-01-01' + (greatest(before, 0) / 86400000000)::int;
    old     record;
    rows    bigint;
    is_late boolean;
    waiting uuid[];
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('mamey inbox mamey.', 0)) THEN
        RETURN NULL;
    END IF;
    FOR old IN SELECT * FROM mamey._inbox_days() WHERE day < ended LOOP
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM mamey.%I WHERE received_at >= $1)', old.name)
            INTO is_late USING before;
        CONTINUE WHEN is_late OR cardinality(mamey._inbox_waiting(old.day, kept_max + 1)) > kept_max;
        -- Counted before the lock. What arrives afterwards is late, which the second check finds.
        EXECUTE format('SELECT count(*) FROM mamey.%I', old.name) INTO rows;
        LOCK TABLE mamey._inbox IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM mamey.%I WHERE received_at >= $1)', old.name)
            INTO is_late USING before;
        waiting := (SELECT mamey._inbox_waiting(old.day, kept_max + 1));
        -- The lock lasts until the call ends, so a day that cannot be dropped now ends the call.
        IF is_late OR cardinality(waiting) > kept_max THEN
            RETURN NULL;
        END IF;
        EXECUTE format('ALTER TABLE mamey._inbox DETACH PARTITION mamey.%I', old.name);
        EXECUTE format('INSERT INTO mamey._inbox SELECT * FROM mamey.%I WHERE id = ANY($1)', old.name)
            USING waiting;
        EXECUTE format('DROP TABLE mamey.%I', old.name);
        RETURN rows - coalesce(cardinality(waiting), 0);
    END LOOP;
    RETURN NULL;
END
$$;
