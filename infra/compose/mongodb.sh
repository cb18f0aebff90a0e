#!/usr/bin/env bash
# Writes the key file that a replica set with authentication wants, then hands over to the image.
set -euo pipefail

# Not as a mounted file: the server refuses one that others may read or that it does not own.
echo mamey-loopback | base64 >/data/configdb/key
chmod 400 /data/configdb/key
chown mongodb: /data/configdb/key
exec docker-entrypoint.sh "$@"
