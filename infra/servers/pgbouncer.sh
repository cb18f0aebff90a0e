# shellcheck shell=bash
# Runs PgBouncer before PostgreSQL, the one that runs here or yours, pooling by transaction.

pgbouncer_nodes() { echo pgbouncer; }

pgbouncer_variables() { echo MAMEY_TEST_PGBOUNCER_URL; }

pgbouncer_packages() {
    pgbouncer_program >/dev/null || echo pgbouncer
    # For psql, which says whether it answers.
    postgres_packages
}

pgbouncer_program() { find_program pgbouncer /usr/sbin/pgbouncer; }

pgbouncer_claim_ports() { claim_port pgbouncer sql; }

# HOST PORT USER PASSWORD of the server behind it.
pgbouncer_upstream() {
    if ! user_has_own postgres; then
        if was_begun postgres; then echo "127.0.0.1 $(port_of postgres sql) mamey $password"; fi
    elif [[ "$MAMEY_TEST_POSTGRES_URL" =~ ^postgres(ql)?://([^:@/]+):([^@/]+)@([^:/]+)(:([0-9]+))?(/|$) ]]; then
        echo "${BASH_REMATCH[4]} ${BASH_REMATCH[6]:-5432} ${BASH_REMATCH[2]} ${BASH_REMATCH[3]}"
    else
        die "pgbouncer: MAMEY_TEST_POSTGRES_URL is not of the form postgres://user:password@host:port/database"
    fi
}

pgbouncer_prepare() {
    [ -n "$(pgbouncer_upstream)" ] || die "pgbouncer: there is no PostgreSQL to stand before; run ./dev servers up postgres pgbouncer"
}

pgbouncer_start() { ensure_node pgbouncer pgbouncer 20; }

# It refuses to run as root, as PostgreSQL does.
pgbouncer_start_node() {
    pgbouncer_settings
    start_process pgbouncer "${postgres_user[@]}" "$(pgbouncer_program)" "$(node_dir pgbouncer)/settings"
}

pgbouncer_settings() {
    local dir host port user secret
    dir="$(node_dir pgbouncer)"
    read -r host port user secret <<<"$(pgbouncer_upstream)"
    echo "\"$user\" \"$secret\"" >"$dir/users"
    # Fewer connections than a store opens, so that sessions are really shared; and given up soon,
    # because each test has a database of its own.
    cat >"$dir/settings" <<SETTINGS
[databases]
* = host=$host port=$port
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $(port_of pgbouncer sql)
unix_socket_dir =
auth_type = scram-sha-256
auth_file = $dir/users
admin_users = $user
pool_mode = transaction
default_pool_size = 4
max_client_conn = 500
server_idle_timeout = 5
SETTINGS
}

pgbouncer_is_ready() {
    local host port user secret
    read -r host port user secret <<<"$(pgbouncer_upstream)"
    PGPASSWORD="$secret" PGCONNECT_TIMEOUT=2 timeout 10 "$(postgres_programs)/psql" --no-psqlrc -qtA \
        -h 127.0.0.1 -p "$(port_of pgbouncer sql)" -U "$user" -d pgbouncer -c "SHOW VERSION" >/dev/null 2>&1
}

pgbouncer_urls() {
    local host port user secret
    read -r host port user secret <<<"$(pgbouncer_upstream)"
    echo "MAMEY_TEST_PGBOUNCER_URL=postgres://$user:$secret@127.0.0.1:$(port_of pgbouncer sql)/mamey"
}

pgbouncer_stop_signal() { echo KILL; }
