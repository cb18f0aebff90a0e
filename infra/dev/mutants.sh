#!/usr/bin/env bash
# Plants faults one at a time, and shows which of them the tests notice.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# The faults of SQL functions. A test's database plants the one that MAMEY_SQL_MUTATION names.
sql_list=mamey-persistence/src/postgres/mutations.toml
sql_tests=(--workspace --all-features --test postgres_commit --test postgres_conformance --test postgres_schema)
# The suite over one connection says as much as the suite over each.
sql_filter='binary(postgres_commit) + binary(postgres_schema) + test(/^directly::/)'

# Where the faults of Rust are planted unless files are given: what must be right for nothing to be lost,
# done twice or out of order.
rust_files=(
    'mamey-core/src/message/**' 'mamey-core/src/criteria/cursor.rs' 'mamey-core/src/store/unit.rs'
    'mamey-cqrs/src/pipeline/**'
    'mamey-messaging/src/relay/**' 'mamey-messaging/src/consumer/**' 'mamey-messaging/src/leases/**'
    'mamey-messaging/src/rabbitmq/publisher.rs' 'mamey-messaging/src/rabbitmq/subscriber/**'
    'mamey-persistence/src/*/commit/**' 'mamey-persistence/src/*/commit.rs'
    'mamey-persistence/src/*/outbox.rs' 'mamey-persistence/src/*/inbox.rs'
    'mamey-persistence/src/*/parking.rs' 'mamey-persistence/src/*/lease.rs'
)

usage() {
    echo "error: $1; ./dev mutants sql [--short] [NAME…], or ./dev mutants rust [FILE…]" >&2
    exit 2
}

# Prints the name of each fault and the test that notices it, or why none can.
list_sql() {
    awk -F ' = ' '
        function text(value) { gsub(/^"|"$/, "", value); return value }
        $1 == "name" { if (name) print name "\t" note; name = text($2); note = "" }
        $1 == "noticed_by" { note = text($2) }
        $1 == "survives" { note = "!" text($2) }
        END { print name "\t" note }
    ' "$sql_list"
}

# noticed FILTER: whether a test fails. Nothing that fails to build or to start counts.
noticed() {
    local code=0
    cargo nextest run "${sql_tests[@]}" -E "$1" >"$log" 2>&1 || code=$?
    case "$code" in
        0) return 1 ;;
        100) return 0 ;;
        *)
            tail -n 40 "$log" >&2
            echo "error: the tests did not run (exit status $code)" >&2
            exit 1
            ;;
    esac
}

run_sql() {
    local short=false name note filter noticed=0 survived=0 missed=0
    if [ "${1:-}" = --short ]; then
        short=true
        shift
    fi
    log="$(realpath -m "${CARGO_TARGET_DIR:-target}")/mutants-sql.log"
    mkdir -p "$(dirname "$log")"
    while IFS=$'\t' read -r name note; do
        if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
        if [[ "$note" == !* ]]; then
            echo "   $name: survives, because ${note#!}" >&2
            survived=$((survived + 1))
            continue
        fi
        filter="$sql_filter"
        if [ "$short" = true ] && [ -n "$note" ]; then filter="test(=$note)"; fi
        if MAMEY_SQL_MUTATION="$name" noticed "$filter"; then
            noticed=$((noticed + 1))
            echo "   $name: $(sed -n 's/^ *FAIL .*mamey-persistence::/noticed by /p' "$log" | head -1)" >&2
        else
            missed=$((missed + 1))
            echo "   $name: NOT NOTICED" >&2
        fi
    done < <(list_sql)
    echo "== SQL mutations: $noticed noticed, $survived survive for a reason, $missed not noticed" >&2
    [ "$missed" -eq 0 ]
}

run_rust() {
    if ! cargo mutants --version >/dev/null 2>&1; then
        echo "== installing cargo-mutants" >&2
        cargo install --locked --version "^27" cargo-mutants
    fi
    if [ $# -eq 0 ]; then set -- "${rust_files[@]}"; fi
    local file files=()
    for file in "$@"; do files+=(--file "$file"); done
    cargo mutants --all-features --test-tool nextest --output "${CARGO_TARGET_DIR:-target}" \
        --timeout-multiplier 3 --minimum-test-timeout 120 "${files[@]}"
}

start_servers() {
    if [ "${MAMEY_REQUIRE_SERVERS:-}" = 1 ]; then return; fi
    ./dev servers up postgres pgbouncer rabbitmq
    local urls
    urls="$(./dev servers env postgres pgbouncer rabbitmq)"
    eval "$urls"
    export MAMEY_REQUIRE_SERVERS=1
}

log=""
if ! command -v cargo-nextest >/dev/null; then
    echo "error: ./dev mutants needs cargo-nextest: cargo install --locked cargo-nextest" >&2
    exit 1
fi
case "${1:-}" in
    sql)
        start_servers
        run_sql "${@:2}"
        ;;
    rust)
        start_servers
        run_rust "${@:2}"
        ;;
    *) usage "it has sql and rust" ;;
esac
