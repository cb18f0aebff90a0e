# shellcheck shell=bash
# Runs one Redis with a password and an append-only file.

redis_nodes() { echo redis; }

redis_variables() { echo MAMEY_TEST_REDIS_URL; }

redis_packages() { redis_program >/dev/null || echo redis-server; }

redis_program() { find_program redis-server valkey-server /usr/bin/redis-server; }

redis_claim_ports() { claim_port redis redis; }

redis_prepare() { mkdir -p "$(node_dir redis)/data"; }

redis_start() { ensure_node redis redis 20; }

redis_start_node() {
    start_process redis "$(redis_program)" --bind 127.0.0.1 --port "$(port_of redis redis)" \
        --requirepass "$password" --appendonly yes --dir "$(node_dir redis)/data"
}

redis_is_ready() {
    printf 'AUTH %s\r\nPING\r\nQUIT\r\n' "$password" | ask "$(port_of redis redis)" | grep PONG >/dev/null
}

redis_urls() {
    echo "MAMEY_TEST_REDIS_URL=redis://:$password@127.0.0.1:$(port_of redis redis)/0"
}

# What `down` stops it also deletes, so there is nothing to save.
redis_stop_signal() { echo KILL; }
