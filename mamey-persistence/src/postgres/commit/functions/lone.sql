-- Commits one unit of work of the usual shape: it handles at most one message, changes at most one
-- document and sends at most one message. It does what the function for a batch does, with the same
-- locks in the same order, but without loops over arrays, which here would cost as much as the work
-- itself. It checks a document's version only by changing the document.
--
-- Returns the same as the function for a batch.
CREATE FUNCTION mamey.{name}(
    clock bigint, lock_wait text,
    receipt uuid, receipt_lane text, lane_lock bigint,
    document_table int, document_id text, document_version bigint,
    step_kind int, step_data text, step_index text,
    key_lock bigint,
    sent_id uuid, sent_slot smallint, sent_key text, sent_time bigint, sent_metadata text, sent_payload bytea
) RETURNS bigint[] LANGUAGE plpgsql SET enable_seqscan = off
SET search_path = pg_catalog, pg_temp AS $commit$
DECLARE
    reason  bigint := 0;
    indexed jsonb;
BEGIN
    -- What is seen after a lock was waited for must include what was committed meanwhile.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION USING ERRCODE = 'MA011', MESSAGE = 'the transaction is not READ COMMITTED';
    END IF;
    -- An expression costs less than a statement.
    IF lock_wait IS NOT NULL AND set_config('lock_timeout', lock_wait, true) IS NULL THEN
    END IF;
    IF receipt IS NOT NULL THEN
        -- As `_now`, which would cost a call.
        INSERT INTO mamey._inbox (id, received_at) VALUES (receipt,
            coalesce(clock, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint))
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            RETURN '{0, 1, 1, 0}';
        END IF;
        -- The lock function returns nothing of use.
        IF pg_advisory_xact_lock(lane_lock) IS NULL THEN
        END IF;
        -- The parked-lane check.
        IF receipt_lane IS NOT NULL
            AND EXISTS (SELECT 1 FROM mamey._parked WHERE lane = receipt_lane) THEN
            reason := 2;
        END IF;
    END IF;
    IF reason = 0 AND document_table IS NOT NULL THEN
        indexed := step_index::jsonb;
{steps}
        IF NOT FOUND THEN
            reason := CASE WHEN document_version IS NULL THEN 5 ELSE 4 END;
        END IF;
    END IF;
    IF reason <> 0 THEN
        DELETE FROM mamey._inbox WHERE id = receipt;
        RETURN ARRAY[0, 1, reason, 1];
    END IF;
    IF sent_time IS NOT NULL THEN
        IF pg_advisory_xact_lock(key_lock) IS NULL THEN
        END IF;
        INSERT INTO mamey._outbox (id, slot, key, sent_at, metadata, payload)
        VALUES (sent_id, sent_slot, sent_key, sent_time, sent_metadata, sent_payload);
    END IF;
    RETURN ARRAY[pg_current_xact_id()::text::bigint];
END
$commit$
