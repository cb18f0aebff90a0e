-- What tells this file from another, in one row. A copy of the file has it too.
CREATE TABLE mamey_identity (
    id BLOB NOT NULL
) STRICT;

INSERT INTO mamey_identity (id) VALUES (randomblob(16));

-- Numbers that only grow, each within one context.
CREATE TABLE mamey_counters (
    context TEXT NOT NULL,
    name    TEXT NOT NULL,
    value   INTEGER NOT NULL,
    PRIMARY KEY (context, name)
) STRICT, WITHOUT ROWID;

-- Which tables of documents there are.
CREATE TABLE mamey_collections (
    context TEXT NOT NULL,
    name    TEXT NOT NULL,
    id_type TEXT NOT NULL,
    PRIMARY KEY (context, name)
) STRICT, WITHOUT ROWID;

-- Which of their columns hold indexed fields. One that is not live was indexed once, and its
-- values are stale.
CREATE TABLE mamey_indexes (
    context    TEXT NOT NULL,
    collection TEXT NOT NULL,
    field      TEXT NOT NULL,
    type       TEXT NOT NULL,
    is_unique  INTEGER NOT NULL,
    is_live    INTEGER NOT NULL,
    PRIMARY KEY (context, collection, field)
) STRICT, WITHOUT ROWID;

-- Committed messages that wait for the relay. AUTOINCREMENT: a sequence never comes again, unless
-- an earlier copy of the file takes its place, so a record is named by its message's id too.
CREATE TABLE mamey_outbox (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    context  TEXT NOT NULL,
    id       BLOB NOT NULL,
    slot     INTEGER NOT NULL,
    key      TEXT,
    sent_at  INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    payload  BLOB NOT NULL
) STRICT;

CREATE INDEX mamey_outbox_by_context ON mamey_outbox (context);

-- Messages that were received. `id` is the identity, sender and id in 16 bytes, here and in every table
-- of received messages.
CREATE TABLE mamey_inbox (
    context     TEXT NOT NULL,
    id          BLOB NOT NULL,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (context, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX mamey_inbox_by_age ON mamey_inbox (context, received_at);

-- Replies remembered under idempotency keys.
CREATE TABLE mamey_replies (
    context     TEXT NOT NULL,
    command     TEXT NOT NULL,
    key         TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    body        BLOB NOT NULL,
    saved_at    INTEGER NOT NULL,
    PRIMARY KEY (context, command, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX mamey_replies_by_age ON mamey_replies (context, saved_at);

-- Messages that wait to be handled again. The position orders a lane, and a message keeps it.
CREATE TABLE mamey_parked (
    context  TEXT NOT NULL,
    id       BLOB NOT NULL,
    position INTEGER NOT NULL,
    lane     TEXT,
    slot     INTEGER NOT NULL,
    due      INTEGER NOT NULL,
    since    INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    failure  TEXT NOT NULL,
    metadata TEXT NOT NULL,
    payload  BLOB NOT NULL,
    PRIMARY KEY (context, id)
) STRICT;

CREATE INDEX mamey_parked_by_lane ON mamey_parked (context, lane, position);
CREATE INDEX mamey_parked_by_due ON mamey_parked (context, due);

-- Messages that were given up, in that order.
CREATE TABLE mamey_dead_letters (
    given_up     INTEGER PRIMARY KEY AUTOINCREMENT,
    context      TEXT NOT NULL,
    id           BLOB NOT NULL,
    position     INTEGER NOT NULL,
    lane         TEXT,
    slot         INTEGER NOT NULL,
    reason       TEXT NOT NULL,
    attempts     INTEGER NOT NULL,
    first_failed INTEGER NOT NULL,
    last_failed  INTEGER NOT NULL,
    failure      TEXT NOT NULL,
    metadata     TEXT NOT NULL,
    payload      BLOB NOT NULL,
    UNIQUE (context, id)
) STRICT;

-- Living instances, by what they hold leases for.
CREATE TABLE mamey_members (
    context    TEXT NOT NULL,
    role       TEXT NOT NULL,
    holder     BLOB NOT NULL,
    partitions INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (context, role, holder)
) STRICT, WITHOUT ROWID;

-- Who holds which partition. A row stays for ever, because its epoch must never come again.
CREATE TABLE mamey_leases (
    context    TEXT NOT NULL,
    role       TEXT NOT NULL,
    number     INTEGER NOT NULL,
    partitions INTEGER NOT NULL,
    holder     BLOB,
    epoch      INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (context, role, number)
) STRICT, WITHOUT ROWID;
