#!/usr/bin/env bash
# Lets the replica's container stream from the primary; the image runs this once, on an empty volume.
set -euo pipefail

echo "host replication mamey all scram-sha-256" >>"$PGDATA/pg_hba.conf"
