-- Commits units of work in one call, each with its own outcome. Units and places in arrays are
-- counted from 1. No two units of a call have the same document, message, lane, reply or unique
-- value, so no unit changes anything for another.
--
-- The lock order: everything that can wait is locked first, in one order that all calls keep: inbox
-- marks, lanes, parked messages, replies, documents by collection and id, keys. Only unique values
-- and ids that are added at the same moment can deadlock; the server then ends one call, and it runs
-- again. Sequences are drawn last, so their order is the order of the commits.
--
-- Each statement is fixed and runs for one row: it is planned once a session and can only be planned
-- by key. That is faster for one unit than statements over sets, and as fast for many.
--
-- `lock_wait` is how long to wait for each lock that another transaction holds, in milliseconds; as
-- long as the session does when it is NULL.
--
-- Returns the number of the transaction, then three numbers for each refusal: the unit, the reason,
-- the place of the document. Reasons: 1 received before, 2 the lane is parked, 3 replied before,
-- 4 the document is at another version, 5 its id is taken.
CREATE FUNCTION mamey.{name}(
    clock bigint, lock_wait text,
    receipt_units int[], receipt_ids uuid[], receipt_lanes text[], lane_locks bigint[],
    outcomes jsonb, outcome_payloads bytea[],
    reply_units int[], reply_commands text[], reply_keys text[], reply_fingerprints bytea[],
    reply_bodies bytea[],
    document_units int[], document_tables int[], document_ids text[], document_versions bigint[],
    document_guards boolean[],
    key_locks bigint[],
    step_documents int[], step_kinds int[], step_data text[], step_indexes text[],
    sent_units int[], sent_ids uuid[], sent_slots smallint[], sent_keys text[], sent_times bigint[],
    sent_metadata text[], sent_payloads bytea[]
) RETURNS bigint[] LANGUAGE plpgsql SET enable_seqscan = off
SET search_path = pg_catalog, pg_temp AS $commit$
DECLARE
    -- As `_now`, which would cost a call.
    at       bigint := coalesce(clock, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
    refused  int[] := '{}';
    refusals bigint[] := '{}';
    item     jsonb;
    place    int;
    stored   bigint;
    indexed  jsonb;
BEGIN
    -- What is seen after a lock was waited for must include what was committed meanwhile.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION USING ERRCODE = 'MA011', MESSAGE = 'the transaction is not READ COMMITTED';
    END IF;
    -- An expression costs less than a statement.
    IF lock_wait IS NOT NULL AND set_config('lock_timeout', lock_wait, true) IS NULL THEN
    END IF;
    FOR i IN 1..cardinality(receipt_ids) LOOP
        INSERT INTO mamey._inbox (id, received_at) VALUES (receipt_ids[i], at)
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            refused := refused || receipt_units[i];
            refusals := refusals || ARRAY[receipt_units[i], 1, 0]::bigint[];
            receipt_ids[i] := NULL;
        END IF;
    END LOOP;
    FOR i IN 1..cardinality(lane_locks) LOOP
        -- The lock function returns nothing of use.
        CONTINUE WHEN pg_advisory_xact_lock(lane_locks[i]) IS NULL;
    END LOOP;
    -- The parked-lane check.
    FOR i IN 1..cardinality(receipt_lanes) LOOP
        IF receipt_lanes[i] IS NOT NULL
            AND EXISTS (SELECT 1 FROM mamey._parked WHERE lane = receipt_lanes[i]) THEN
            refused := refused || receipt_units[i];
            refusals := refusals || ARRAY[receipt_units[i], 2, 0]::bigint[];
        END IF;
    END LOOP;
    IF outcomes IS NOT NULL THEN
        FOR item IN SELECT value FROM jsonb_array_elements(outcomes) LOOP
            CONTINUE WHEN item->>'origin' <> 'parked';
            PERFORM 1 FROM mamey._parked WHERE id = (item->>'id')::uuid FOR UPDATE;
            IF NOT FOUND THEN
                refused := refused || (item->>'unit')::int;
                refusals := refusals || ARRAY[(item->>'unit')::int, 1, 0]::bigint[];
            END IF;
        END LOOP;
    END IF;
    FOR i IN 1..cardinality(reply_units) LOOP
        IF reply_units[i] = ANY(refused) THEN
            reply_keys[i] := NULL;
            CONTINUE;
        END IF;
        INSERT INTO mamey._replies (command, key, fingerprint, body, saved_at)
        VALUES (reply_commands[i], reply_keys[i], reply_fingerprints[i], reply_bodies[i], at)
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            refused := refused || reply_units[i];
            refusals := refusals || ARRAY[reply_units[i], 3, 0]::bigint[];
            reply_keys[i] := NULL;
        END IF;
    END LOOP;
    FOR i IN 1..cardinality(document_units) LOOP
{locks}
        IF stored IS DISTINCT FROM document_versions[i] THEN
            refused := refused || document_units[i];
            refusals := refusals || ARRAY[document_units[i],
                CASE WHEN document_versions[i] IS NULL THEN 5 ELSE 4 END, i]::bigint[];
        END IF;
    END LOOP;
    FOR i IN 1..cardinality(key_locks) LOOP
        CONTINUE WHEN pg_advisory_xact_lock(key_locks[i]) IS NULL;
    END LOOP;

    -- From here on, each unit is either refused as a whole or done as a whole.
    FOR i IN 1..cardinality(step_documents) LOOP
        place := step_documents[i];
        CONTINUE WHEN document_units[place] = ANY(refused);
        indexed := step_indexes[i]::jsonb;
{steps}
        -- Another call has added this id since it was looked up; the next run finds it.
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = 'added meanwhile';
        END IF;
    END LOOP;
    IF outcomes IS NOT NULL THEN
        FOR item IN SELECT value FROM jsonb_array_elements(outcomes) LOOP
            CONTINUE WHEN (item->>'unit')::int = ANY(refused);
            PERFORM mamey._record_outcome(item, outcome_payloads[(item->>'payload')::int], at);
        END LOOP;
    END IF;
    IF refused <> '{}' THEN
        FOR i IN 1..cardinality(receipt_ids) LOOP
            CONTINUE WHEN receipt_units[i] <> ALL(refused);
            DELETE FROM mamey._inbox WHERE id = receipt_ids[i];
        END LOOP;
        FOR i IN 1..cardinality(reply_units) LOOP
            CONTINUE WHEN reply_units[i] <> ALL(refused);
            DELETE FROM mamey._replies WHERE command = reply_commands[i] AND key = reply_keys[i];
        END LOOP;
    END IF;
    FOR i IN 1..cardinality(sent_units) LOOP
        CONTINUE WHEN sent_units[i] = ANY(refused);
        INSERT INTO mamey._outbox (id, slot, key, sent_at, metadata, payload) VALUES (sent_ids[i],
            sent_slots[i], sent_keys[i], sent_times[i], sent_metadata[i], sent_payloads[i]);
    END LOOP;
    RETURN pg_current_xact_id()::text::bigint || refusals;
END
$commit$
