# shellcheck shell=bash
# Starts, observes and ends node processes by recorded pid, never by name.

node_dir() { echo "$servers_dir/nodes/$1"; }

# The fields of /proc/PID/stat that follow the program's name: state, parent, …
stat_fields() {
    local stat
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    # The name is in parentheses and may hold spaces, so the fields begin after the last parenthesis.
    echo "${stat##*) }"
}

# When a process was started, in clock ticks since boot. It shows whether the system has given the pid
# to another process.
birth_of() {
    local fields
    read -ra fields <<<"$(stat_fields "$1")"
    echo "${fields[19]:-}"
}

# running, paused, dead (was started and has ended) or absent (was never started).
node_state() {
    local pid birth fields
    if ! { read -r pid birth <"$(node_dir "$1")/pid"; } 2>/dev/null; then
        echo absent
        return
    fi
    read -ra fields <<<"$(stat_fields "$pid")"
    # A zombie takes signals but does not answer.
    if [ "${fields[19]:-}" != "$birth" ] || [[ "${fields[0]}" == [ZX] ]]; then
        echo dead
    elif [ "${fields[0]}" = T ]; then
        echo paused
    else
        echo running
    fi
}

node_pid() {
    local pid birth
    read -r pid birth <"$(node_dir "$1")/pid"
    echo "$pid"
}

is_alive() { [[ "$(node_state "$1")" == @(running|paused) ]]; }

# start_process NODE COMMAND…: the child records its own pid before it becomes the server, so that a
# crash of this script never leaves an unknown process.
start_process() {
    local dir node="$1" pid
    dir="$(node_dir "$node")"
    shift
    rm -f "$dir/pid"
    (
        release_lock_here
        pid="$BASHPID"
        echo "$pid $(birth_of "$pid")" >"$dir/pid"
        # A crashing server writes its core here, and no folder of the caller stays in use.
        cd "$dir"
        exec setsid "$@"
    ) >>"$dir/log" 2>&1 </dev/null &
    # Without this wait a caller could look before the pid is written and start a second one.
    wait_until 5 test -s "$dir/pid" || die "$node: could not be started in $dir"
}

# A pid and all its descendants, parents first. PostgreSQL's backends lead process groups of
# their own, so signalling the group would miss them.
process_tree() {
    local -A children=()
    local stat pid fields queue=("$1")
    for stat in /proc/[0-9]*; do
        pid="${stat#/proc/}"
        read -ra fields <<<"$(stat_fields "$pid")"
        if [ -n "${fields[1]:-}" ]; then children[${fields[1]}]+=" $pid"; fi
    done
    while [ ${#queue[@]} -gt 0 ]; do
        pid="${queue[0]}"
        echo "$pid"
        read -ra fields <<<"${children[$pid]:-}"
        queue=("${queue[@]:1}" "${fields[@]}")
    done
}

# signal_node NODE SIGNAL: the whole tree, as when a machine stops or loses power.
signal_node() {
    local pid
    for pid in $(process_tree "$(node_pid "$1")"); do
        kill -s "$2" "$pid" 2>/dev/null || true
    done
}

is_gone() { ! is_alive "$1"; }

# stop_node NODE SIGNAL: sends the signal, then SIGKILL. Helpers that outlive their parent are ended, too.
stop_node() {
    local node="$1" pid
    local -A births=()
    if is_alive "$node"; then
        for pid in $(process_tree "$(node_pid "$node")"); do births[$pid]="$(birth_of "$pid")"; done
        signal_node "$node" CONT
        kill -s "$2" "$(node_pid "$node")" 2>/dev/null || true
        wait_until 15 is_gone "$node" || signal_node "$node" KILL
        wait_until 5 is_gone "$node" || die "$node: pid $(node_pid "$node") survives SIGKILL; look at it with ps, then run ./dev servers down"
        for pid in "${!births[@]}"; do
            if [ "$(birth_of "$pid")" = "${births[$pid]}" ]; then kill -s KILL "$pid" 2>/dev/null || true; fi
        done
    fi
    rm -f "$(node_dir "$node")/pid"
}

# wait_ready NODE SECONDS COMMAND…: waits until the command succeeds while the process runs.
wait_ready() {
    local node="$1" seconds="$2" deadline=$((SECONDS + $2))
    shift 2
    until "$@"; do
        if ! is_alive "$node"; then
            fail_with_log "$node" "it ended while starting"
        elif ((SECONDS >= deadline)); then
            fail_with_log "$node" "it did not answer within $seconds s"
        fi
        sleep 0.1
    done
}

fail_with_log() {
    local log
    log="$(node_dir "$1")/log"
    say "--- the last lines of $log"
    tail -n 15 "$log" >&2 || true
    die "$1: $2; fix what the log names and run again, or start over with ./dev servers down"
}
