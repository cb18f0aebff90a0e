-- `mamey` stands for the context's schema. Our own names start with an underscore; no collection's
-- name does.

-- What tells this context's data from that of another database, in one row. A copy or a restored backup
-- has it too.
CREATE TABLE mamey._identity (
    id uuid NOT NULL
);

INSERT INTO mamey._identity (id) VALUES (gen_random_uuid());

-- The time in microseconds: the database's clock, or the time that a test passes.
CREATE FUNCTION mamey._now(clock bigint) RETURNS bigint LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(clock, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
$$;

-- Numbers that only grow.
CREATE TABLE mamey._counters (
    name  text COLLATE "C" PRIMARY KEY,
    value bigint NOT NULL
);

INSERT INTO mamey._counters (name, value) VALUES ('published', 0);

-- Which tables of documents there are.
CREATE TABLE mamey._collections (
    name    text COLLATE "C" PRIMARY KEY,
    id_type text NOT NULL
);

-- Which sets of indexed fields builds have declared, in the order of their arrival. Each document
-- records the layout of its last writer.
CREATE TABLE mamey._declarations (
    collection text COLLATE "C" NOT NULL,
    layout     bigint NOT NULL,
    fields     text[] NOT NULL,
    number     bigint NOT NULL,
    PRIMARY KEY (collection, layout)
);

-- Which columns hold indexed fields, and how far their indexes are:
--   filling   earlier documents may lack the value
--   building  every document has the value, the index is missing
--   ready     every document has the value, the index is complete
--   retired   no longer declared: the index is dropped, the column is filled for builds that still run
--   stale     the column is no longer filled
CREATE TABLE mamey._indexes (
    collection  text COLLATE "C" NOT NULL,
    field       text COLLATE "C" NOT NULL,
    type        text NOT NULL,
    is_unique   boolean NOT NULL,
    state       text NOT NULL,
    column_name text NOT NULL,
    -- The number of the declaration that gave the index its present form.
    declared_by bigint NOT NULL,
    -- The last document that was filled.
    filled_to   text,
    retired_at  timestamptz,
    PRIMARY KEY (collection, field)
);

-- Committed messages that wait for the relay. After a failover or a restore that lost the end of the
-- log, sequences are drawn again, so a record is named by its message's id too.
CREATE TABLE mamey._outbox (
    sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id       uuid NOT NULL,
    slot     smallint NOT NULL,
    key      text COLLATE "C",
    sent_at  bigint NOT NULL,
    metadata text NOT NULL,
    payload  bytea NOT NULL
);

-- Where the outbox stands: which history of the database this is (a digest of its cluster and of the
-- timeline of its log), and the last sequence that was drawn. Zero for what a server or its rights do
-- not tell: the reader then recognizes records by their messages alone.
CREATE FUNCTION mamey._outbox_place(OUT timeline bigint, OUT drawn bigint) LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    cluster text := '';
BEGIN
    BEGIN
        cluster := (SELECT system_identifier FROM pg_control_system());
    EXCEPTION WHEN OTHERS THEN
    END;
    BEGIN
        timeline := hashtextextended(
            cluster || ' ' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8), 0);
    EXCEPTION WHEN OTHERS THEN
        timeline := hashtextextended(cluster, 0);
    END;
    BEGIN
        drawn := coalesce(pg_sequence_last_value(
            pg_get_serial_sequence('mamey._outbox', 'sequence')::regclass), 0);
    EXCEPTION WHEN OTHERS THEN
        drawn := 0;
    END;
END
$$;

-- Messages that were received, by their identities: sender and id in one UUID, which is of version 7 and
-- the same millisecond if the id is. `id` is the identity in every table of received messages.
-- Partitioned by it: one table for each day of UUIDv7, and two for all others. `0003_inbox.sql` creates the days and drops them.
CREATE TABLE mamey._inbox (
    id          uuid PRIMARY KEY,
    received_at bigint NOT NULL
) PARTITION BY RANGE (id);

-- Days without a table of their own: in the far future, or dropped long ago.
CREATE TABLE mamey._inbox_default PARTITION OF mamey._inbox DEFAULT;
CREATE INDEX _inbox_default_by_age ON mamey._inbox_default (received_at);

-- Identities from the year 2100 on, which are all that hold no time. Adding a day compares it with every
-- row of the default table, so that one should have few.
CREATE TABLE mamey._inbox_beyond PARTITION OF mamey._inbox
    FOR VALUES FROM ('03bb2cc3-d800-0000-0000-000000000000') TO (MAXVALUE);
CREATE INDEX _inbox_beyond_by_age ON mamey._inbox_beyond (received_at);

-- Replies remembered under idempotency keys.
CREATE TABLE mamey._replies (
    command     text COLLATE "C" NOT NULL,
    key         text COLLATE "C" NOT NULL,
    fingerprint bytea NOT NULL,
    body        bytea NOT NULL,
    saved_at    bigint NOT NULL,
    PRIMARY KEY (command, key)
);

CREATE INDEX _replies_by_age ON mamey._replies (saved_at);

-- Orders the messages of a lane: a message draws one number and keeps it.
CREATE SEQUENCE mamey._position;

-- Messages that wait to be handled again.
CREATE TABLE mamey._parked (
    id       uuid PRIMARY KEY,
    position bigint NOT NULL,
    lane     text COLLATE "C",
    slot     smallint NOT NULL,
    due      bigint NOT NULL,
    since    bigint NOT NULL,
    attempts bigint NOT NULL,
    failure  text NOT NULL,
    metadata text NOT NULL,
    payload  bytea NOT NULL
);

CREATE INDEX _parked_by_lane ON mamey._parked (lane, position);
CREATE INDEX _parked_by_due ON mamey._parked (due);

-- Messages that were given up, in that order.
CREATE TABLE mamey._dead_letters (
    given_up     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           uuid NOT NULL UNIQUE,
    position     bigint NOT NULL,
    lane         text COLLATE "C",
    slot         smallint NOT NULL,
    reason       text NOT NULL,
    attempts     bigint NOT NULL,
    first_failed bigint NOT NULL,
    last_failed  bigint NOT NULL,
    failure      text NOT NULL,
    metadata     text NOT NULL,
    payload      bytea NOT NULL
);

-- Instances that are alive, by the role in which they hold leases.
CREATE TABLE mamey._members (
    role       text COLLATE "C" NOT NULL,
    holder     uuid NOT NULL,
    partitions integer NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (role, holder)
);

-- Who holds which partition. Rows are never deleted, because an epoch must not be used twice.
CREATE TABLE mamey._leases (
    role       text COLLATE "C" NOT NULL,
    number     integer NOT NULL,
    partitions integer NOT NULL,
    holder     uuid,
    epoch      bigint NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (role, number)
);
