# shellcheck shell=bash
# Runs PostgreSQL twice: a primary, and a replica that streams from it.

postgres_nodes() { echo postgres postgres-replica; }

postgres_variables() { echo MAMEY_TEST_POSTGRES_URL MAMEY_TEST_POSTGRES_REPLICA_URL; }

postgres_packages() { postgres_programs >/dev/null || echo postgresql; }

# The folder that holds initdb, postgres, pg_basebackup and psql of one version. Debian keeps it
# off PATH; a link to postgres on PATH leads to it.
postgres_programs() {
    local program
    program="$(find_program postgres /usr/lib/postgresql/{19,18,17,16,15}/bin/postgres)" || return 1
    dirname "$(readlink -f "$program")"
}

# PostgreSQL refuses to run as root, so root hands it to the user that the package made.
postgres_user=()
if [ "$(id -u)" -eq 0 ]; then
    postgres_user=(setpriv --reuid=postgres --regid=postgres --init-groups --reset-env --)
fi

postgres_claim_ports() {
    claim_port postgres sql
    claim_port postgres-replica sql
}

postgres_prepare() {
    local node data
    for node in $(postgres_nodes); do
        data="$(node_dir "$node")/data"
        mkdir -m 700 "$data"
        if [ "$(id -u)" -eq 0 ]; then
            chown postgres: "$data" || die "postgres: it refuses root and there is no user 'postgres'; as root: useradd --system postgres"
        fi
    done
    "${postgres_user[@]}" test -w "$data" 2>/dev/null || die "postgres: its user cannot enter $servers_dir; set MAMEY_SERVERS_DIR to a folder whose parents everybody may enter"
    postgres_create_primary
    ensure_node postgres postgres 30
    postgres_query postgres postgres "CREATE DATABASE mamey" >/dev/null
    postgres_create_replica
}

postgres_create_primary() {
    local dir data
    dir="$(node_dir postgres)"
    data="$dir/data"
    echo "$password" >"$dir/password"
    # No sync: if the machine crashes now, the next run starts over anyway.
    "${postgres_user[@]}" "$(postgres_programs)/initdb" -D "$data" --username mamey \
        --pwfile "$dir/password" --auth scram-sha-256 --locale C.UTF-8 --encoding UTF8 \
        --no-sync >>"$dir/log"
    # The replica gets these settings with its copy. fsync stays on: a commit must cost here what it
    # costs in production. Shared memory is in the data folder, and replication slots keep a bounded
    # amount of log, so that a kill or a dead replica leaves nothing that grows.
    cat >>"$data/postgresql.conf" <<SETTINGS
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
wal_level = logical
max_wal_senders = 20
max_replication_slots = 20
max_slot_wal_keep_size = 1GB
dynamic_shared_memory_type = mmap
SETTINGS
}

postgres_create_replica() {
    "${postgres_user[@]}" "$(postgres_programs)/pg_basebackup" \
        -d "host=127.0.0.1 port=$(port_of postgres sql) user=mamey password=$password" \
        -D "$(node_dir postgres-replica)/data" --write-recovery-conf --wal-method stream \
        --create-slot --slot replica1 --checkpoint fast --no-sync >>"$(node_dir postgres-replica)/log" 2>&1
}

postgres_start() {
    ensure_node postgres postgres 30
    ensure_node postgres postgres-replica 30
}

postgres_start_node() {
    postgres_forget_killed "$1"
    start_process "$1" "${postgres_user[@]}" "$(postgres_programs)/postgres" \
        -D "$(node_dir "$1")/data" -c port="$(port_of "$1" sql)"
}

# A killed postgres leaves its lock file. While its pid is a zombie or belongs to another process, a new
# postgres takes it for alive, so the file gets a pid that cannot exist. Its entry about shared memory
# stays: it shows the new one that no process of the old one is left.
postgres_forget_killed() {
    local file
    file="$(node_dir "$1")/data/postmaster.pid"
    [ -e "$file" ] || return 0
    wait_until 5 postgres_is_detached "$file" || true
    sed -i '1s/.*/999999999/' "$file"
}

# The id of the shared memory segment that a lock file names.
postgres_segment() { sed -n '7s/.* //p' "$1"; }

postgres_is_detached() {
    awk -v id="$(postgres_segment "$1")" '$2 == id && $7 > 0 { attached = 1 } END { exit attached }' /proc/sysvipc/shm
}

# postgres_query NODE DATABASE SQL
postgres_query() {
    PGPASSWORD="$password" PGCONNECT_TIMEOUT=2 timeout 10 "$(postgres_programs)/psql" --no-psqlrc -qtA \
        -h 127.0.0.1 -p "$(port_of "$1" sql)" -U mamey -d "$2" -c "$3"
}

postgres_is_ready() { postgres_query "$1" postgres "SELECT 1" >/dev/null 2>&1; }

postgres_urls() {
    echo "MAMEY_TEST_POSTGRES_URL=postgres://mamey:$password@127.0.0.1:$(port_of postgres sql)/mamey"
    echo "MAMEY_TEST_POSTGRES_REPLICA_URL=postgres://mamey:$password@127.0.0.1:$(port_of postgres-replica sql)/mamey"
}

# SIGINT is PostgreSQL's fast stop: it ends sessions and does not wait for them.
postgres_stop_signal() { echo INT; }

# What a killed postgres leaves outside its data folder.
postgres_clean() {
    local file
    for file in "$servers_dir"/nodes/postgres*/data/postmaster.pid; do
        if [ -e "$file" ]; then ipcrm --shmem-id "$(postgres_segment "$file")" 2>/dev/null || true; fi
    done
}
