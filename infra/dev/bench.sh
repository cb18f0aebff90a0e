#!/usr/bin/env bash
# Runs one benchmark of benches/, or lists their names.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

list_names() {
    local file
    for file in benches/*.rs; do
        if [ -e "$file" ]; then basename "$file" .rs; fi
    done
}

if [ $# -eq 0 ]; then
    list_names
    exit
fi

name="$1"
if [ ! -e "benches/$name.rs" ]; then
    echo "error: there is no benchmark '$name'; ./dev bench lists them" >&2
    exit 2
fi
# All features but the failpoints, which a user's build does not have.
exec cargo bench --package mamey --features postgres,rabbitmq,testing --bench "$name" -- "${@:2}"
