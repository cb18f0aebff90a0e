# shellcheck shell=bash
# Takes a server from any state, even after a crash, to up or to nothing.

# A server is one or several nodes (processes). Its family names the file with its functions.
family_of() { echo "${1%-cluster}"; }

nodes_of() { "$(family_of "$1")_nodes" "$1"; }

variables_of() { "$(family_of "$1")_variables" "$1"; }

first_variable() {
    local first
    read -r first _ <<<"$(variables_of "$1")"
    echo "$first"
}

is_users() { [ -n "${!1:-}" ] && [[ "${!1}" != *"$password"* ]]; }

user_has_own() { is_users "$(first_variable "$1")"; }

# The mark is set when a server was ready for the first time and its data is complete.
is_prepared() { [ -e "$servers_dir/prepared/$1" ]; }

was_begun() {
    local node
    for node in $(nodes_of "$1"); do
        if [ -d "$(node_dir "$node")" ]; then return 0; fi
    done
    return 1
}

is_up() {
    local node
    is_prepared "$1" || return 1
    for node in $(nodes_of "$1"); do
        [ "$(node_state "$node")" = running ] || return 1
    done
}

# find_node NAME-OR-PORT: prints the server and the node.
find_node() {
    local server node
    for server in "${all_servers[@]}"; do
        for node in $(nodes_of "$server"); do
            if [ "$1" = "$node" ] || grep -qsx "$1" "$(node_dir "$node")"/port-*; then
                echo "$server $node"
                return
            fi
        done
    done
}

# ensure_node FAMILY NODE SECONDS: the node answers afterwards, whatever state it was in.
ensure_node() {
    case "$(node_state "$2")" in
        running) ;;
        paused)
            say "$2: was paused, resumes"
            signal_node "$2" CONT
            ;;
        *) "$1_start_node" "$2" ;;
    esac
    wait_ready "$2" "$3" "$1_is_ready" "$2"
}

start_servers() {
    local server packages=()
    for server in "$@"; do
        mapfile -t -O ${#packages[@]} packages < <("$(family_of "$server")_packages")
    done
    if [ ${#packages[@]} -gt 0 ]; then install_packages "${packages[@]}"; fi
    for server in "$@"; do claim "$server"; done
    for server in "$@"; do start_in_background "$server"; done
    wait_for_jobs "did not start; what runs already stays up"
}

# Incomplete data is deleted: making it again takes seconds, repairing it takes a person.
claim() {
    local node lost
    if is_prepared "$1"; then
        for node in $(nodes_of "$1"); do
            if is_alive "$node"; then continue; fi
            lost="$(lost_ports "$node")"
            if [ -n "$lost" ]; then
                say "$node: port $lost is taken now, so $1 starts again with empty data"
                discard "$1"
                break
            fi
        done
    else
        discard "$1"
    fi
    for node in $(nodes_of "$1"); do mkdir -p "$(node_dir "$node")"; done
    "$(family_of "$1")_claim_ports" "$1"
}

discard() {
    local node family nodes i
    family="$(family_of "$1")"
    # The mark is deleted first: after a crash from here on, the server is made anew.
    rm -f "$servers_dir/prepared/$1"
    read -ra nodes <<<"$(nodes_of "$1")"
    for ((i = ${#nodes[@]} - 1; i >= 0; i--)); do stop_node "${nodes[i]}" "$("${family}_stop_signal")"; done
    if declare -F "${family}_clean" >/dev/null; then "${family}_clean"; fi
    for node in "${nodes[@]}"; do rm -rf "$(node_dir "$node")"; done
}

start() {
    local began="${EPOCHREALTIME/[.,]/}" family was_up=false
    family="$(family_of "$1")"
    if is_up "$1"; then was_up=true; fi
    if ! is_prepared "$1"; then
        "${family}_prepare" "$1"
        "${family}_start" "$1"
        touch "$servers_dir/prepared/$1"
    else
        "${family}_start" "$1"
    fi
    local tenths=$(((${EPOCHREALTIME/[.,]/} - began) / 100000))
    if [ "$was_up" = true ]; then
        say "$1: is up already"
    else
        say "$1: ready after $((tenths / 10)).$((tenths % 10)) s"
    fi
}

# Jobs ignore Ctrl-C, so the trap sends them a signal.
jobs_running=()
job_names=()
trap 'kill "${jobs_running[@]}" 2>/dev/null; say "stopped in the middle; run again, or ./dev servers down"; exit 130' INT TERM

start_in_background() {
    start "$1" &
    jobs_running+=($!)
    job_names+=("$1")
}

stop() {
    discard "$1"
    say "$1: stopped"
}

stop_in_background() {
    stop "$1" &
    jobs_running+=($!)
    job_names+=("$1")
}

# wait_for_jobs WHAT-FAILED
wait_for_jobs() {
    local i failed=()
    for i in "${!jobs_running[@]}"; do
        wait "${jobs_running[i]}" || failed+=("${job_names[i]}")
    done
    jobs_running=()
    [ ${#failed[@]} -eq 0 ] || die "${failed[*]} $1"
}
