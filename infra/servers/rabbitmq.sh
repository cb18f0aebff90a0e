# shellcheck shell=bash
# Runs RabbitMQ with its management plugin: one node, or a cluster of three, each set with an epmd of its own.

rabbitmq_brokers() {
    case "$1" in
        rabbitmq) echo rabbitmq ;;
        rabbitmq-cluster) echo rabbitmq-1 rabbitmq-2 rabbitmq-3 ;;
    esac
}

# epmd is the process in which Erlang nodes look each other up. A broker would start one in the
# background that outlives it, so it is a node here, started first and stopped last.
rabbitmq_nodes() { echo "$1-epmd $(rabbitmq_brokers "$1")"; }

rabbitmq_variables() {
    case "$1" in
        rabbitmq) echo MAMEY_TEST_RABBITMQ_URL MAMEY_TEST_RABBITMQ_MANAGEMENT_URL ;;
        rabbitmq-cluster) echo MAMEY_TEST_RABBITMQ_CLUSTER_URLS MAMEY_TEST_RABBITMQ_CLUSTER_MANAGEMENT_URLS ;;
    esac
}

rabbitmq_packages() { { rabbitmq_program && rabbitmq_epmd_program; } >/dev/null || echo rabbitmq-server; }

# Debian's rabbitmq-server in sbin is a wrapper that switches user; the program behind it
# works for whoever calls it.
rabbitmq_program() {
    local behind=/usr/lib/rabbitmq/bin/rabbitmq-server program
    program="$(find_program rabbitmq-server "$behind")" || return 1
    if [[ "$program" == */sbin/rabbitmq-server && -x "$behind" ]]; then program="$behind"; fi
    echo "$program"
}

rabbitmq_epmd_program() { find_program epmd /usr/bin/epmd; }

# Debian's rabbitmqctl in sbin is a wrapper that switches user, like its rabbitmq-server.
rabbitmq_ctl_program() {
    local behind=/usr/lib/rabbitmq/bin/rabbitmqctl
    if [ -x "$behind" ]; then echo "$behind"; else find_program rabbitmqctl; fi
}

# rabbitmq_ctl NODE ARGS…
rabbitmq_ctl() {
    local dir
    dir="$(node_dir "${1:-}")"
    if [ -z "${1:-}" ] || [ ! -e "$dir/rabbitmq.conf" ]; then
        die "./dev servers rabbitmqctl needs a RabbitMQ node; ./dev servers status prints them"
    fi
    HOME="$dir" ERL_EPMD_PORT="$(port_of "$(cat "$dir/server")-epmd" epmd)" \
        RABBITMQ_CONF_ENV_FILE="$dir/rabbitmq-env.conf" \
        "$(rabbitmq_ctl_program)" --node "$1@localhost" "${@:2}"
}

rabbitmq_claim_ports() {
    local node kind
    claim_port "$1-epmd" epmd
    for node in $(rabbitmq_brokers "$1"); do
        for kind in amqp management distribution; do claim_port "$node" "$kind"; done
    done
}

rabbitmq_prepare() {
    local node dir
    for node in $(rabbitmq_brokers "$1"); do
        dir="$(node_dir "$node")"
        # Nodes authenticate each other by the cookie. Erlang reads it from HOME and refuses one that
        # others may read.
        (umask 077 && echo "$password" >"$dir/.erlang.cookie")
        chmod 400 "$dir/.erlang.cookie"
        echo "$1" >"$dir/server"
        echo "[rabbitmq_management]." >"$dir/enabled_plugins"
        rabbitmq_settings "$1" "$node" >"$dir/rabbitmq.conf"
    done
    rabbitmq_start "$1"
}

rabbitmq_settings() {
    cat <<SETTINGS
listeners.tcp.1 = 127.0.0.1:$(port_of "$2" amqp)
management.tcp.ip = 127.0.0.1
management.tcp.port = $(port_of "$2" management)
default_user = mamey
default_pass = $password
log.console = true
log.console.use_colors = off
log.file = false
# Publishing stops when the disk runs low; the default limit is more than a small machine has.
disk_free_limit.absolute = 100MB
# A node that was paused for long rejoins by itself.
cluster_partition_handling = pause_minority
SETTINGS
    if [ "$1" = rabbitmq-cluster ]; then rabbitmq_cluster_settings "$2"; fi
}

# The first node founds the cluster and looks for no peer; the others look for the first one until it
# is there. If all looked for all, the first would wait for peers that do not exist yet.
rabbitmq_cluster_settings() {
    [ "$1" != rabbitmq-1 ] || return 0
    cat <<SETTINGS
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.classic_config.nodes.1 = rabbitmq-1@localhost
cluster_formation.classic_config.nodes.2 = $1@localhost
cluster_formation.discovery_retry_limit = 300
cluster_formation.discovery_retry_interval = 200
SETTINGS
}

rabbitmq_start() {
    local node
    ensure_node rabbitmq "$1-epmd" 10
    # All at once: after a stop, each waits for the others before it answers.
    for node in $(rabbitmq_brokers "$1"); do is_alive "$node" || rabbitmq_start_node "$node"; done
    for node in $(rabbitmq_brokers "$1"); do ensure_node rabbitmq "$node" 120; done
    wait_until 60 rabbitmq_is_whole "$1" || fail_with_log "$node" "the nodes did not form one cluster"
}

rabbitmq_start_node() {
    local dir
    dir="$(node_dir "$1")"
    case "$1" in
        *-epmd)
            start_process "$1" "$(rabbitmq_epmd_program)" -address 127.0.0.1 -port "$(port_of "$1" epmd)"
            ;;
        *)
            # RUNNING_UNDER_SYSTEMD makes the start script become the server, whose pid we record.
            start_process "$1" env \
                HOME="$dir" \
                ERL_EPMD_ADDRESS=127.0.0.1 \
                ERL_EPMD_PORT="$(port_of "$(cat "$dir/server")-epmd" epmd)" \
                RABBITMQ_NODENAME="$1@localhost" \
                RABBITMQ_DIST_PORT="$(port_of "$1" distribution)" \
                RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}" \
                RABBITMQ_MNESIA_BASE="$dir/data" \
                RABBITMQ_LOG_BASE="$dir" \
                RABBITMQ_PID_FILE="$dir/rabbitmq.pid" \
                RABBITMQ_CONFIG_FILE="$dir/rabbitmq.conf" \
                RABBITMQ_CONF_ENV_FILE="$dir/rabbitmq-env.conf" \
                RABBITMQ_ENABLED_PLUGINS_FILE="$dir/enabled_plugins" \
                RUNNING_UNDER_SYSTEMD=true \
                "$(rabbitmq_program)"
            ;;
    esac
}

# rabbitmq_api NODE PATH
rabbitmq_api() {
    printf 'GET /api/%s HTTP/1.0\r\nAuthorization: Basic %s\r\n\r\n' "$2" "$(printf '%s' "mamey:$password" | base64)" |
        ask "$(port_of "$1" management)"
}

rabbitmq_is_ready() {
    case "$1" in
        *-epmd) is_taken "$(port_of "$1" epmd)" ;;
        *) rabbitmq_api "$1" "health/checks/port-listener/$(port_of "$1" amqp)" | grep '"status":"ok"' >/dev/null ;;
    esac
}

# Every broker sees every broker of its set.
rabbitmq_is_whole() {
    local node brokers seen
    read -ra brokers <<<"$(rabbitmq_brokers "$1")"
    for node in "${brokers[@]}"; do
        seen="$(rabbitmq_api "$node" nodes?columns=name,running | grep -o '"running":true' | wc -l)"
        [ "$seen" -eq ${#brokers[@]} ] || return 1
    done
}

rabbitmq_urls() {
    local node variables amqp=() management=()
    for node in $(rabbitmq_brokers "$1"); do
        amqp+=("amqp://mamey:$password@127.0.0.1:$(port_of "$node" amqp)/%2f")
        management+=("http://mamey:$password@127.0.0.1:$(port_of "$node" management)")
    done
    read -ra variables <<<"$(rabbitmq_variables "$1")"
    local IFS=,
    echo "${variables[0]}=${amqp[*]}"
    echo "${variables[1]}=${management[*]}"
}

# What `down` stops it also deletes, so there is nothing to save.
rabbitmq_stop_signal() { echo KILL; }
