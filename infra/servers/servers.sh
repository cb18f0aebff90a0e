#!/usr/bin/env bash
# Installs, starts and stops the real servers that the tests talk to.
set -euo pipefail

infra_dir="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

# Fixed, and not secret: the servers listen on loopback only. A URL with this word is one of ours, so a
# shell that has evaluated `env` does not look like one with the user's own servers.
password="mamey-loopback"

single_servers=(postgres pgbouncer rabbitmq redis mongodb)
cluster_servers=(rabbitmq-cluster mongodb-cluster)
all_servers=("${single_servers[@]}" "${cluster_servers[@]}")

# shellcheck source-path=SCRIPTDIR/..
{
    source "$infra_dir/servers/lib/folder.sh"
    source "$infra_dir/servers/lib/process.sh"
    source "$infra_dir/servers/lib/ports.sh"
    source "$infra_dir/servers/lib/packages.sh"
    source "$infra_dir/servers/lib/lifecycle.sh"
    source "$infra_dir/servers/postgres.sh"
    source "$infra_dir/servers/pgbouncer.sh"
    source "$infra_dir/servers/rabbitmq.sh"
    source "$infra_dir/servers/redis.sh"
    source "$infra_dir/servers/mongodb.sh"
}

usage() {
    cat <<USAGE
./dev servers up [NAME…]       installs what is missing, starts, waits until each answers
./dev servers env [NAME…]      prints the URLs: eval "\$(./dev servers env)"
./dev servers status [NAME…]   prints each node's state, pid and ports; with names, fails unless all are up
./dev servers down [NAME…]     stops and deletes their data; without names, everything
./dev servers cluster up|down  three RabbitMQ nodes and three MongoDB members, for failover tests
./dev servers kill NODE        SIGKILL to the node and its helpers, as when power fails
./dev servers pause NODE       SIGSTOP: it keeps its connections and answers nothing
./dev servers rabbitmqctl NODE ARGS…  RabbitMQ's own tool, on one of its nodes
./dev servers resume NODE      continues a paused node, starts a killed one on its own data

NAME is one of ${all_servers[*]} (up: ${single_servers[*]}).
NODE is a name or a port that status prints. All of it lives in $servers_dir,
or in MAMEY_SERVERS_DIR. A server whose MAMEY_TEST_…_URL you have set is yours and left alone.
USAGE
}

# choose DEFAULT… -- NAME…: the names if there are any, else the default; into `chosen`.
choose() {
    local default=() name
    while [ "$1" != -- ]; do
        default+=("$1")
        shift
    done
    shift
    chosen=("${@:-}")
    if [ $# -eq 0 ]; then chosen=("${default[@]}"); fi
    for name in "${chosen[@]}"; do
        [[ " ${all_servers[*]} " == *" $name "* ]] || die "there is no server '$name'; there are ${all_servers[*]}"
    done
}

up() {
    local server wanted=()
    choose "${single_servers[@]}" -- "$@"
    for server in "${chosen[@]}"; do
        if user_has_own "$server"; then
            say "$server: not started, $(first_variable "$server") names yours"
        else
            wanted+=("$server")
        fi
    done
    if [ ${#wanted[@]} -eq 0 ]; then return; fi
    create_folder
    take_lock
    start_servers "${wanted[@]}"
}

down() {
    local server
    choose "${all_servers[@]}" -- "$@"
    if [ ! -d "$servers_dir" ]; then return; fi
    take_lock
    # In reverse order and in parallel: none needs another in order to stop.
    for server in "${chosen[@]}"; do
        if was_begun "$server"; then stop_in_background "$server"; fi
    done
    wait_for_jobs "could not be stopped; run ./dev servers down again"
}

cluster() {
    local word="${1:-}" names=() name
    shift || true
    for name in "$@"; do names+=("${name%-cluster}-cluster"); done
    if [ ${#names[@]} -eq 0 ]; then names=("${cluster_servers[@]}"); fi
    case "$word" in
        up) up "${names[@]}" ;;
        down) down "${names[@]}" ;;
        *) die "./dev servers cluster has no '$word'; it has up and down" ;;
    esac
}

# The user's variables take precedence over what runs here, one by one.
env_of() {
    local server variable line
    if user_has_own "$1"; then
        for variable in $(variables_of "$1"); do
            if [ -n "${!variable:-}" ]; then echo "$variable=${!variable}"; fi
        done
    elif is_up "$1"; then
        "$(family_of "$1")_urls" "$1" | while IFS= read -r line; do
            variable="${line%%=*}"
            if is_users "$variable"; then line="$variable=${!variable}"; fi
            echo "$line"
        done
    fi
}

print_env() {
    local server line value lines=()
    choose "${all_servers[@]}" -- "$@"
    for server in "${chosen[@]}"; do
        mapfile -t -O ${#lines[@]} lines < <(env_of "$server")
    done
    [ ${#lines[@]} -gt 0 ] || die "none of ${chosen[*]} is up; run ./dev servers up"
    for line in "${lines[@]}"; do
        value="${line#*=}"
        echo "export ${line%%=*}='${value//\'/\'\\\'\'}'"
    done
}

status() {
    local server all_up=true
    choose "${all_servers[@]}" -- "$@"
    for server in "${chosen[@]}"; do
        if user_has_own "$server"; then
            printf '%-22s yours    %s\n' "$server" "$(first_variable "$server")"
        elif was_begun "$server"; then
            status_of "$server"
            is_up "$server" || all_up=false
        else
            printf '%-22s down\n' "$server"
            all_up=false
        fi
    done
    [ $# -eq 0 ] || [ "$all_up" = true ]
}

status_of() {
    local node file line
    for node in $(nodes_of "$1"); do
        line="$(printf '%-22s %-8s' "$node" "$(node_state "$node")")"
        if is_alive "$node"; then line+=" pid $(node_pid "$node")"; fi
        for file in "$(node_dir "$node")"/port-*; do
            if [ -e "$file" ]; then line+="  ${file##*/port-} $(cat "$file")"; fi
        done
        echo "$line"
    done
}

# act_on_node WORD NODE: NODE may be a port, since a driver that names the leader names its port.
act_on_node() {
    local word="$1" server node
    [ -n "${2:-}" ] || die "./dev servers $word needs a node; ./dev servers status prints them"
    read -r server node <<<"$(find_node "$2")"
    [ -n "$node" ] || die "there is no node '$2'; ./dev servers status prints those there are"
    case "$word/$(node_state "$node")" in
        kill/running | kill/paused) signal_node "$node" KILL && wait_until 5 is_gone "$node" ;;
        pause/running) signal_node "$node" STOP ;;
        resume/paused) signal_node "$node" CONT ;;
        resume/dead)
            take_lock
            ensure_node "$(family_of "$server")" "$node" 120
            ;;
        resume/running | pause/paused | kill/dead) ;;
        *) die "$node is $(node_state "$node"); start it with ./dev servers up" ;;
    esac
}

main() {
    local word="${1:-help}"
    shift || true
    if [ "$(uname -s)" != Linux ]; then die "./dev servers needs Linux; use infra/compose.yaml here"; fi
    case "$word" in
        up | down | cluster | status) "$word" "$@" ;;
        env) print_env "$@" ;;
        kill | pause | resume) act_on_node "$word" "$@" ;;
        rabbitmqctl) rabbitmq_ctl "$@" ;;
        help | -h | --help) usage ;;
        *) die "./dev servers has no '$word'; ./dev servers help lists what it has" ;;
    esac
}

main "$@"
