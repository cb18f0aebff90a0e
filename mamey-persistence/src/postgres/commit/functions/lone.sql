-- Commits one unit of work of the usual shape: at most one message that it handles, one document
-- that it changes and one message that it sends. It does what the function for many does, with the
-- same locks in the same order, and for so little the loops over arrays would cost as much as the
-- work itself. It also looks at a document only by changing it.
--
-- Answers like the function for many.
CREATE FUNCTION mamey.{name}(
    clock bigint,
    receipt uuid, receipt_lane text, lane_lock bigint,
    document_table int, document_id text, document_version bigint,
    step_kind int, step_data text, step_index text,
    key_lock bigint,
    sent_slot smallint, sent_key text, sent_time bigint, sent_metadata text, sent_payload bytea
) RETURNS bigint[] LANGUAGE plpgsql SET enable_seqscan = off AS $commit$
DECLARE
    reason  bigint := 0;
    indexed jsonb;
BEGIN
    IF receipt IS NOT NULL THEN
        INSERT INTO mamey._inbox (id, received_at) VALUES (receipt, mamey._now(clock))
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            RETURN '{0, 1, 1, 0}';
        END IF;
        -- An expression costs less than a statement; the lock's answer means nothing.
        IF pg_advisory_xact_lock(lane_lock) IS NULL THEN
        END IF;
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
        INSERT INTO mamey._outbox (slot, key, sent_at, metadata, payload)
        VALUES (sent_slot, sent_key, sent_time, sent_metadata, sent_payload);
    END IF;
    RETURN ARRAY[pg_current_xact_id()::text::bigint];
END
$commit$
