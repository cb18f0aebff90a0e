# shellcheck shell=bash
# Installs the Debian packages that are missing, without letting them start services.

policy_file=/usr/sbin/policy-rc.d
policy_mark="# Written by ./dev servers while it installs packages."

# install_packages PACKAGE…
install_packages() {
    local command="apt-get install --no-install-recommends $*"
    command -v apt-get >/dev/null || die "missing here: $* (names of Debian packages); install what your system calls them, set the MAMEY_TEST_*_URL of servers you have, or use infra/compose.yaml"
    [ "$(id -u)" -eq 0 ] || die "missing here, and only root can install them: $*
  as root:  $command
  or set the MAMEY_TEST_*_URL of servers you have, or use infra/compose.yaml"
    say "installing $*"
    forbid_services
    if ! run_apt "$@" >"$servers_dir/installed/apt.log" 2>&1; then
        allow_services
        tail -n 15 "$servers_dir/installed/apt.log" >&2
        die "could not install $*; see $servers_dir/installed/apt.log, or run yourself: $command"
    fi
    allow_services
    keep_from_boot
}

run_apt() {
    export DEBIAN_FRONTEND=noninteractive
    # A killed run leaves packages unpacked but not configured, and for a while a dpkg that holds the
    # lock.
    wait_until 30 dpkg --configure -a || true
    # Without a network, older lists and packages may suffice.
    apt-get --quiet update || true
    apt-get --quiet --yes -o DPkg::Lock::Timeout=120 install --no-install-recommends "$@"
}

# Debian starts a service as soon as it is installed, on its default port. A policy that is not ours
# stays as it is; one of ours that a crash left is reused.
forbid_services() {
    if [ -e "$policy_file" ] && ! grep -qsF "$policy_mark" "$policy_file"; then return; fi
    printf '#!/bin/sh\n%s\nexit 101\n' "$policy_mark" >"$policy_file"
    chmod 755 "$policy_file"
}

allow_services() {
    if grep -qsF "$policy_mark" "$policy_file"; then rm -f "$policy_file"; fi
}

# Newly installed services must not start at the next boot either. Older ones stay as they were.
keep_from_boot() {
    local log="$servers_dir/installed/apt.log" pair
    command -v systemctl >/dev/null || return 0
    for pair in postgresql:postgresql rabbitmq-server:rabbitmq-server redis-server:redis-server \
        pgbouncer:pgbouncer \
        erlang-base:epmd.service erlang-base:epmd.socket; do
        if grep -qE "^Selecting previously unselected package ${pair%:*}[.:]" "$log"; then
            systemctl disable "${pair#*:}" >>"$log" 2>&1 || true
        fi
    done
}

# The first of these programs that exists, wherever it is found: PATH first.
find_program() {
    local name
    for name in "$@"; do
        if command -v "$name"; then return; fi
    done
    return 1
}
