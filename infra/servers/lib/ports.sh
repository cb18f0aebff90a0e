# shellcheck shell=bash
# Gives each node its loopback ports, and keeps them while the node's data lives.

# The first port each node tries. They lie below the range from which the system takes the
# near ends of connections, and 20 apart, which is how far a node looks for a free one.
first_port() {
    case "$1" in
        postgres/sql) echo 21100 ;;
        postgres-replica/sql) echo 21120 ;;
        pgbouncer/sql) echo 21140 ;;
        redis/redis) echo 21200 ;;
        mongodb/mongodb) echo 21300 ;;
        mongodb-[123]/mongodb) echo "213$((${1:8:1} * 2))0" ;;
        rabbitmq/amqp) echo 21400 ;;
        rabbitmq/management) echo 21420 ;;
        rabbitmq/distribution) echo 21440 ;;
        rabbitmq-epmd/epmd) echo 21460 ;;
        rabbitmq-[123]/amqp) echo "215$((${1:9:1} * 2))0" ;;
        rabbitmq-[123]/management) echo "216$((${1:9:1} * 2))0" ;;
        rabbitmq-[123]/distribution) echo "217$((${1:9:1} * 2))0" ;;
        rabbitmq-cluster-epmd/epmd) echo 21500 ;;
        *) die "no port is set aside for $1; add it to first_port" ;;
    esac
}

port_of() { cat "$(node_dir "$1")/port-$2"; }

# True when a process listens there, even one too busy to accept.
is_taken() {
    local status=0
    # shellcheck disable=SC2016
    timeout 1 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1"' probe "$1" 2>/dev/null || status=$?
    [ "$status" -eq 0 ] || [ "$status" -eq 124 ]
}

is_promised() { grep -qsx "$1" "$servers_dir"/nodes/*/port-*; }

# claim_port NODE KIND: nodes get their ports one after another, before any starts, so that no two
# choose the same one.
claim_port() {
    local file port first
    file="$(node_dir "$1")/port-$2"
    if [ -s "$file" ]; then return; fi
    first="$(first_port "$1/$2")"
    for ((port = first; port < first + 20; port++)); do
        if is_promised "$port" || is_taken "$port"; then continue; fi
        if [ "$port" -ne "$first" ]; then say "$1: port $first is taken, so $2 listens on $port"; fi
        echo "$port" >"$file"
        return
    done
    die "$1: ports $first to $((port - 1)) are all taken; free one and run again"
}

# The ports of a dead node on which another process listens now.
lost_ports() {
    local file
    for file in "$(node_dir "$1")"/port-*; do
        if [ -e "$file" ] && is_taken "$(cat "$file")"; then cat "$file"; fi
    done
}

# ask PORT: sends standard input to the port, prints what comes back. It needs no client program,
# and the time limit matters: a paused server accepts a connection and then says nothing.
# shellcheck disable=SC2016
ask() { timeout 2 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1" && cat >&3 && exec cat <&3' ask "$1" 2>/dev/null; }
