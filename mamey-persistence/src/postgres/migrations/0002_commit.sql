-- Commits one unit of work in one call. Texts and bytes stand in arrays; the unit names their
-- places, counted from 1. It raises, so that nothing of the unit is kept:
--   MA001  a document is not at its expected version; the detail says which lock
--   MA002  an id is taken; the detail says which lock
--   MA003  the message or the idempotency key took effect before
--   MA004  another message of the lane is parked
-- Everything that waits is taken in one order: the inbox mark, the lane, the reply, the documents by
-- collection and id, the keys by hash. Only unique values may wait on each other crosswise.

-- Records what becomes of the message that is being handled.
CREATE FUNCTION mamey._settle(receipt jsonb, texts text[], blobs bytea[], at bigint)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    message  uuid := (receipt->>'id')::uuid;
    its_lane text := receipt->>'lane';
    becomes  text := receipt->>'becomes';
    parks    boolean := receipt->>'becomes' = 'parked';
BEGIN
    IF receipt->>'origin' = 'delivery' THEN
        INSERT INTO mamey._inbox (id, received_at) VALUES (message, at) ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'MA003', MESSAGE = 'received before';
        END IF;
    END IF;
    IF its_lane IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('mamey lane ' || its_lane, 0));
    END IF;
    IF receipt->>'origin' = 'delivery' THEN
        IF NOT parks AND EXISTS (SELECT 1 FROM mamey._parked WHERE lane = its_lane) THEN
            RAISE EXCEPTION USING ERRCODE = 'MA004', MESSAGE = 'the lane is parked';
        END IF;
        IF parks THEN
            INSERT INTO mamey._parked
                (id, position, lane, slot, due, since, attempts, failure, metadata, payload)
            VALUES (message, nextval('mamey._position'), its_lane, (receipt->>'slot')::smallint,
                (receipt->>'due')::bigint, at, (receipt->>'attempts')::bigint, receipt->>'failure',
                texts[(receipt->>'metadata')::int], blobs[(receipt->>'payload')::int]);
        ELSIF becomes = 'dead' THEN
            INSERT INTO mamey._dead_letters
                (id, position, lane, slot, reason, attempts, first_failed, last_failed, failure,
                 metadata, payload)
            VALUES (message, nextval('mamey._position'), its_lane, (receipt->>'slot')::smallint,
                receipt->>'reason', (receipt->>'attempts')::bigint, at, at, receipt->>'failure',
                texts[(receipt->>'metadata')::int], blobs[(receipt->>'payload')::int]);
        END IF;
        RETURN;
    END IF;
    IF parks THEN
        UPDATE mamey._parked SET due = (receipt->>'due')::bigint,
            attempts = (receipt->>'attempts')::bigint, failure = receipt->>'failure'
        WHERE id = message;
    ELSE
        IF becomes = 'dead' THEN
            INSERT INTO mamey._dead_letters
                (id, position, lane, slot, reason, attempts, first_failed, last_failed, failure,
                 metadata, payload)
            SELECT id, position, lane, slot, receipt->>'reason', (receipt->>'attempts')::bigint,
                since, at, receipt->>'failure', metadata, payload
            FROM mamey._parked WHERE id = message FOR UPDATE;
        END IF;
        DELETE FROM mamey._parked WHERE id = message;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'MA003', MESSAGE = 'no longer parked';
    END IF;
END
$$;

CREATE FUNCTION mamey._commit(unit jsonb, texts text[], blobs bytea[], clock bigint)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    at        bigint := mamey._now(clock);
    item      jsonb;
    stored    bigint;
    taken     text;
    changed   bigint;
BEGIN
    IF unit ? 'receipt' THEN
        PERFORM mamey._settle(unit->'receipt', texts, blobs, at);
    END IF;
    IF unit ? 'reply' THEN
        INSERT INTO mamey._replies (command, key, body, saved_at)
        VALUES (unit->'reply'->>'command', unit->'reply'->>'key',
            blobs[(unit->'reply'->>'body')::int], at)
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'MA003', MESSAGE = 'replied before';
        END IF;
    END IF;
    FOR item IN SELECT value FROM jsonb_array_elements(unit->'locks') LOOP
        EXECUTE texts[(item->>'sql')::int] INTO stored USING item->>'id';
        IF (item->>'version') IS NULL THEN
            IF stored IS NOT NULL THEN
                taken := coalesce(taken, item->>'at');
            END IF;
        ELSIF stored IS DISTINCT FROM (item->>'version')::bigint THEN
            RAISE EXCEPTION USING ERRCODE = 'MA001', MESSAGE = 'changed', DETAIL = item->>'at';
        END IF;
    END LOOP;
    IF taken IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'MA002', MESSAGE = 'taken', DETAIL = taken;
    END IF;
    -- Before any sequence is drawn, so that the messages of one key get theirs in commit order.
    PERFORM pg_advisory_xact_lock(hash) FROM (
        SELECT DISTINCT hashtextextended('mamey key ' || (message->>'key'), 0) AS hash
        FROM jsonb_array_elements(unit->'outbox') AS message
        WHERE message->>'key' IS NOT NULL ORDER BY hash) AS keys;
    FOR item IN SELECT value FROM jsonb_array_elements(unit->'writes') LOOP
        EXECUTE texts[(item->>'sql')::int]
        USING item->>'id', texts[(item->>'data')::int], item->'index';
        GET DIAGNOSTICS changed = ROW_COUNT;
        IF changed = 0 THEN
            RAISE EXCEPTION USING ERRCODE = 'MA002', MESSAGE = 'taken', DETAIL = item->>'at';
        END IF;
    END LOOP;
    INSERT INTO mamey._outbox (slot, key, sent_at, metadata, payload)
    SELECT (message->>'slot')::smallint, message->>'key', (message->>'time')::bigint,
        texts[(message->>'metadata')::int], blobs[(message->>'payload')::int]
    FROM jsonb_array_elements(unit->'outbox') WITH ORDINALITY AS sent (message, place)
    ORDER BY place;
    RETURN pg_current_xact_id()::text::bigint;
END
$$;
