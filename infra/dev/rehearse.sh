#!/usr/bin/env bash
# Runs the rehearsal of deployments on the servers that its pairs need, and stops those that it started.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source infra/dev/packages.sh

started=()

finish() {
    if [ ${#started[@]} -gt 0 ]; then
        ./dev servers down "${started[@]}"
    fi
}

# Starts what the pairs in the arguments need; without any, all pairs are played.
start_servers() {
    local needed=() name
    case "$*" in
        *--help* | *-h*) return ;;
        *--pairs*) ;;
        *) needed=(postgres rabbitmq) ;;
    esac
    case "$*" in *postgres*) needed+=(postgres) ;; esac
    case "$*" in *rabbitmq*) needed+=(rabbitmq) ;; esac
    if [ ${#needed[@]} -eq 0 ]; then return; fi
    for name in "${needed[@]}"; do
        # A server that is already up stays up after this run.
        if ! ./dev servers status "$name" >/dev/null; then started+=("$name"); fi
    done
    ./dev servers up "${needed[@]}"
    local urls
    urls="$(./dev servers env "${needed[@]}")"
    eval "$urls"
}

if ! ensure_program cc "a C compiler, which the bundled SQLite is built with" gcc libc6-dev; then
    echo "error: there is no C compiler (cc); as root: apt-get install gcc libc6-dev" >&2
    exit 1
fi
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
start_servers "$@"
rounds=()
if [ -n "${MAMEY_REHEARSAL_ROUNDS:-}" ]; then rounds=(--rounds "$MAMEY_REHEARSAL_ROUNDS"); fi
cargo run --package mamey-rehearsal -- "${rounds[@]}" "$@"
