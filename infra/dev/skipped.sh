#!/usr/bin/env bash
# Says which tests of a run were skipped and why: skipped.sh FILE, which has a line for each.
set -euo pipefail

file="$1"
if [ ! -s "$file" ]; then exit 0; fi

count="$(wc -l <"$file")"
if [ "$count" -eq 1 ]; then
    echo "== 1 test was skipped:" >&2
else
    echo "== $count tests were skipped:" >&2
fi
sort "$file" | sed 's/^/   /' >&2
