#!/usr/bin/env bash
# Runs the test suite on the real servers it needs, and stops those that it started.
set -euo pipefail

# Which servers the suite talks to, by their names in `./dev servers`.
needed=(postgres pgbouncer rabbitmq redis mongodb)

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source infra/dev/packages.sh

# The conformance suites report here how many cases they ran, and which they did not run.
MAMEY_CONFORMANCE_REPORT_FILE="$(realpath -m "${CARGO_TARGET_DIR:-target}/conformance-report")"
export MAMEY_CONFORMANCE_REPORT_FILE

started=()

# Each test that skips itself adds a line.
MAMEY_SKIPPED_TESTS_FILE="$(realpath -m "${CARGO_TARGET_DIR:-target}/skipped-tests")"
export MAMEY_SKIPPED_TESTS_FILE

finish() {
    infra/dev/skipped.sh "$MAMEY_SKIPPED_TESTS_FILE" || true
    if [ -s "$MAMEY_CONFORMANCE_REPORT_FILE" ]; then
        echo "== conformance" >&2
        LC_ALL=C sort "$MAMEY_CONFORMANCE_REPORT_FILE" | sed 's/^/   /' >&2
    fi
    if [ ${#started[@]} -gt 0 ]; then
        ./dev servers down "${started[@]}"
    fi
}

ensure_c_compiler() {
    local what="a C compiler, which the bundled SQLite is built with"
    if ensure_program cc "$what" gcc libc6-dev pkg-config; then return; fi
    echo "error: there is no C compiler (cc), which the bundled SQLite is built with;" \
        "as root: apt-get install gcc libc6-dev pkg-config" >&2
    exit 1
}

# The interoperability tests use Python clients, in a virtual environment that brings Node.js too.
ensure_python() {
    if python3 -c 'import ensurepip' 2>/dev/null; then return; fi
    install_packages "Python, for the interoperability tests" python3 python3-venv ||
        echo "== Python's venv is not installed (apt-get install python3-venv)" >&2
}

start_servers() {
    if [ ${#needed[@]} -eq 0 ]; then return; fi
    if [ "${MAMEY_TEST_SERVERS:-}" = none ]; then
        echo "== skipped: the tests that need ${needed[*]} (MAMEY_TEST_SERVERS is none)" >&2
        return
    fi
    local name
    for name in "${needed[@]}"; do
        # A server that is already up stays up after this run.
        if ! ./dev servers status "$name" >/dev/null; then started+=("$name"); fi
    done
    ./dev servers up "${needed[@]}"
    local urls
    urls="$(./dev servers env "${needed[@]}")"
    eval "$urls"
    # A test without a URL must fail now; without this it would be skipped.
    export MAMEY_REQUIRE_SERVERS=1
}

run_suite() {
    if command -v cargo-nextest >/dev/null; then
        cargo nextest run --workspace --all-features --no-fail-fast "$@"
    else
        cargo test --workspace --all-features --no-fail-fast --lib --bins --tests --examples "$@"
    fi
}

run_doctests() {
    if [ $# -gt 0 ]; then
        echo "== skipped: doctests (arguments were given for the suite)" >&2
        return
    fi
    cargo test --workspace --all-features --doc
}

mkdir -p "$(dirname "$MAMEY_CONFORMANCE_REPORT_FILE")"
rm -f "$MAMEY_SKIPPED_TESTS_FILE" "$MAMEY_CONFORMANCE_REPORT_FILE"
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

ensure_c_compiler
ensure_python
start_servers
run_suite "$@"
run_doctests "$@"
