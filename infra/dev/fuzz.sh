#!/usr/bin/env bash
# Fuzzes each decoder of bytes from outside, guided by coverage.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source infra/dev/packages.sh

# How many seconds each target runs without --seconds.
seconds=30
# An input that takes longer is a hang.
input_seconds_max=1
input_bytes_max=4096
memory_mb_max=2048

targets=()

usage() {
    echo "error: $1; ./dev fuzz [--seconds N] [TARGET…], with N from 1 for each target" >&2
    exit 2
}

read_arguments() {
    while [ $# -gt 0 ]; do
        case "$1" in
            --seconds)
                if ! [[ "${2:-}" =~ ^[1-9][0-9]*$ ]]; then usage "--seconds is '${2:-}'"; fi
                seconds="$2"
                shift 2
                ;;
            *)
                if [ ! -d "fuzz/corpus/$1" ]; then usage "there is no target '$1'"; fi
                targets+=("$1")
                shift
                ;;
        esac
    done
    if [ ${#targets[@]} -gt 0 ]; then return; fi
    local folder
    for folder in fuzz/corpus/*/; do targets+=("$(basename "$folder")"); done
}

# Sets `program`. The flags are those of cargo-fuzz that need no nightly toolchain: LLVM counts edges
# and comparisons, and libFuzzer reads the counts.
build() {
    if ! ensure_program c++ "a C++ compiler, which libFuzzer is built with" g++ libc6-dev; then
        echo "error: there is no C++ compiler (c++), which libFuzzer is built with;" \
            "as root: apt-get install g++" >&2
        exit 1
    fi
    local host flags
    host="$(rustc -vV | sed -n 's/^host: //p')"
    flags="-Cpasses=sancov-module --cfg fuzzing -Ccodegen-units=1"
    flags+=" -Cllvm-args=-sanitizer-coverage-level=4"
    flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
    flags+=" -Cllvm-args=-sanitizer-coverage-pc-table"
    flags+=" -Cllvm-args=-sanitizer-coverage-trace-compares"
    # With --target, build scripts and macros are built without the flags.
    RUSTFLAGS="$flags" CARGO_TARGET_DIR="$work/target" \
        cargo build --manifest-path fuzz/Cargo.toml --release --target "$host"
    program="$work/target/$host/release/mamey-fuzz"
}

# fuzz TARGET: inputs that libFuzzer finds stay in $work/corpus, and the next run starts with them.
fuzz() {
    local target="$1" log="$work/$1.log"
    mkdir -p "$work/corpus/$target" "$work/found"
    if MAMEY_FUZZ_TARGET="$target" "$program" \
        -max_total_time="$seconds" -timeout="$input_seconds_max" -max_len="$input_bytes_max" \
        -rss_limit_mb="$memory_mb_max" -artifact_prefix="$work/found/$target-" -dict=fuzz/words.dict \
        "$work/corpus/$target" "fuzz/corpus/$target" >"$log" 2>&1; then
        echo "== $target: $(sed -n 's/^#\([0-9]*\)\tDONE *\(cov: [0-9]*\).*/\1 inputs, \2/p' "$log")" >&2
        return
    fi
    echo "== $target: FAILED" >&2
    grep -E "panicked at|ERROR: libFuzzer|Test unit written to" -A 1 "$log" >&2 || tail -n 30 "$log" >&2
    return 1
}

read_arguments "$@"
work="$(realpath -m "${CARGO_TARGET_DIR:-target}/fuzz")"
program=""
build
failed=0
for target in "${targets[@]}"; do
    fuzz "$target" || failed=$((failed + 1))
done
if [ "$failed" -gt 0 ]; then
    echo "error: $failed of ${#targets[@]} targets failed; what they failed on is in $work/found:" \
        "fix it, and add the file to fuzz/corpus" >&2
    exit 1
fi
