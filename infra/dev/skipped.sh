#!/usr/bin/env bash
# Prints which tests were skipped and why: skipped.sh FILE, with a line NAME: REASON for each.
set -euo pipefail

file="$1"
if [ ! -s "$file" ]; then exit 0; fi

count="$(wc -l <"$file")"
if [ "$count" -eq 1 ]; then
    echo "== 1 test was skipped" >&2
else
    echo "== $count tests were skipped" >&2
fi

# Many tests share one reason, such as a missing server: it is printed once, above their names.
sed 's|^\([^ ]*\): \(.*\)$|\2\t\1|' "$file" | LC_ALL=C sort | awk -F '\t' '
    $1 != reason { reason = $1; print "   " reason }
    { print "      " $2 }
' >&2
