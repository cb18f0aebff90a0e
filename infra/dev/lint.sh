#!/usr/bin/env bash
# Checks everything that can be checked without running tests.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source infra/dev/packages.sh

step() { echo "== $*" >&2; }
skip() { echo "== skipped: $*" >&2; }

lint_rust() {
    step "cargo fmt"
    cargo fmt --all --check
    step "cargo clippy"
    cargo clippy --workspace --all-targets --all-features -- -D warnings
    step "cargo doc"
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features
}

lint_scripts() {
    if ! ensure_program shellcheck "shellcheck, which reads the scripts" shellcheck; then
        skip "shellcheck is not installed (apt-get install shellcheck)"
        return
    fi
    step "shellcheck"
    # servers.sh includes all that it sources: names that are set in one file and used in another are
    # known only when the files are read together.
    shellcheck --external-sources --check-sourced \
        dev .ci/run infra/dev/*.sh infra/servers/servers.sh infra/compose/*.sh
}

lint_dependencies() {
    if ! cargo deny --version >/dev/null 2>&1; then
        skip "cargo-deny is not installed (cargo install cargo-deny)"
        return
    fi
    step "cargo deny"
    # The check reads the crates of every platform; a build has fetched only those of this one.
    cargo fetch --locked
    # Offline: advisories need a download, and the result of a lint must not change overnight.
    cargo deny --workspace --offline check bans licenses sources
}

lint_compose() {
    if ! docker compose version >/dev/null 2>&1; then
        skip "docker compose is not installed, so infra/compose.yaml is not checked"
        return
    fi
    step "docker compose config"
    docker compose --file infra/compose.yaml --profile observe config --quiet
}

lint_scripts
lint_compose
lint_rust
lint_dependencies
