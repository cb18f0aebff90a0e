#!/usr/bin/env bash
# Makes this container a streaming replica of the `postgres` one, then becomes the server.
set -euo pipefail

make_copy() {
    # What a crashed copy left would make this one refuse, and its slot as well.
    find "$PGDATA" -mindepth 1 -delete
    psql -h postgres -U mamey -d mamey -qc \
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'replica1'"
    pg_basebackup -d "host=postgres user=mamey password=$PGPASSWORD" -D "$PGDATA" \
        --write-recovery-conf --wal-method stream --create-slot --slot replica1 --checkpoint fast
    touch "$PGDATA/copy-is-whole"
}

if [ ! -e "$PGDATA/copy-is-whole" ]; then make_copy; fi
chown -R postgres: "$PGDATA"
chmod 700 "$PGDATA"
exec gosu postgres "$@"
