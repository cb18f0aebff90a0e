#!/usr/bin/env bash
# Runs the crash suite. If it needs servers, it gets its own, which it may kill.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source infra/dev/packages.sh

needed=()

# Sets `needed` to the servers that the arguments ask for, and `own_urls` if they name URLs.
read_arguments() {
    local previous="" argument
    for argument in "$@"; do
        case "$previous $argument" in
            "--store postgres" | *" --store=postgres") needed+=(postgres) ;;
            "--transport rabbitmq" | *" --transport=rabbitmq") needed+=(rabbitmq) ;;
            *" --store-url"* | *" --transport-url"*) own_urls=true ;;
        esac
        previous="$argument"
    done
}

# Servers for this run only, in a folder of their own: the suite kills them.
start_servers() {
    MAMEY_SERVERS_DIR="$(mktemp -d -t mamey-crash-servers-XXXXXX)"
    export MAMEY_SERVERS_DIR
    trap './dev servers down; rm -rf "$MAMEY_SERVERS_DIR"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    ./dev servers up "${needed[@]}"
    local urls
    urls="$(./dev servers env "${needed[@]}")"
    eval "$urls"
}

own_urls=false
read_arguments "$@"
if ! ensure_program cc "a C compiler, which the bundled SQLite is built with" gcc libc6-dev; then
    echo "error: there is no C compiler (cc); as root: apt-get install gcc libc6-dev" >&2
    exit 1
fi
cargo build --package mamey-crash
suite="${CARGO_TARGET_DIR:-target}/debug/mamey-crash"
if [ ${#needed[@]} -eq 0 ] || [ "$own_urls" = true ]; then
    exec "$suite" "$@"
fi
start_servers
"$suite" --restart-servers "$@"
