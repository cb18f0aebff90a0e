# shellcheck shell=bash
# Installs a program that a script here needs, where there is apt and the right to use it.

# ensure_program PROGRAM WHAT PACKAGE… : false when it is missing and cannot be installed.
ensure_program() {
    if command -v "$1" >/dev/null; then return; fi
    install_packages "${@:2}"
}

# install_packages WHAT PACKAGE… : false when they cannot be installed.
install_packages() {
    local what="$1"
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then return 1; fi
    echo "== installing $what" >&2
    # Without a network, older package lists may suffice.
    apt-get -qq update || true
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
        "${@:2}" >/dev/null
}
