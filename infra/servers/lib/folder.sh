# shellcheck shell=bash
# Decides where the servers live, and lets one command at a time change them.

# /var/tmp rather than target/: PostgreSQL runs as its own user when we are root, who cannot
# enter a checkout under /root, and `cargo clean` must not pull the data from under a server.
# Not /tmp: that is often in memory, where an fsync costs nothing and benchmarks would be wrong.
servers_dir="$(realpath -m "${MAMEY_SERVERS_DIR:-/var/tmp/mamey-servers-$(id -u)}")"

say() { echo "$*" >&2; }

die() {
    say "error: $*"
    exit 1
}

create_folder() {
    mkdir -p "$servers_dir"
    # The name can be guessed: another user may have made it first, to watch what we write.
    [ -O "$servers_dir" ] || die "$servers_dir belongs to another user; set MAMEY_SERVERS_DIR to a folder of yours"
    chmod 755 "$servers_dir"
    mkdir -p "$servers_dir/installed" "$servers_dir/nodes" "$servers_dir/prepared"
}

# The lock is held by a file descriptor, so it ends with its holders, even after kill -9. Helpers such
# as initdb inherit it and servers do not: when the lock is free, no helper runs.
take_lock() {
    exec {lock_fd}<"$servers_dir"
    if flock --nonblock "$lock_fd"; then return; fi
    say "waiting for another ./dev servers to finish"
    flock --timeout 300 "$lock_fd" || die "another ./dev servers has held $servers_dir for 5 minutes; end it and run again"
}

release_lock_here() {
    if [ -n "${lock_fd:-}" ]; then exec {lock_fd}<&-; fi
}

# wait_until SECONDS COMMAND…: true as soon as the command is.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        if ((SECONDS >= deadline)); then return 1; fi
        sleep 0.1
    done
}
