#!/usr/bin/env bash
# Prints what ./dev can do.
set -euo pipefail

cat <<'HELP'
./dev lint                shell scripts, compose file, formatting, clippy, documentation, licences
./dev test [ARGS…]        starts the servers the suite needs, runs it, stops what it started;
                          ARGS go to the test runner, and then the doctests are left out
./dev fuzz [--seconds N] [TARGET…]
                          feeds each decoder of outside bytes for N seconds (30), guided by coverage
./dev bench               lists the benchmarks
./dev bench NAME [PART…]  runs one, or those parts of it; it writes target/bench/NAME.json
./dev crash [ARGS…]       breaks processes, links, servers and clocks, and checks every effect:
                          --rounds N --seed S --store sqlite|postgres --transport memory|rabbitmq
                          (./dev crash --help)
./dev mutants sql [--short] [NAME…]
                          plants each fault of the list in the SQL functions, and shows which test notices
./dev mutants rust [FILE…]
                          the same for Rust, with cargo-mutants; for hours
./dev rehearse [ARGS…]    deploys and rolls back builds side by side, and checks every effect:
                          --rounds N (or MAMEY_REHEARSAL_ROUNDS) --seed S --messages N
                          --pairs postgres-rabbitmq,postgres-memory,sqlite-rabbitmq,sqlite-memory
                          (./dev rehearse --help)
./dev servers …           real PostgreSQL, RabbitMQ, Redis and MongoDB for the tests
                          (./dev servers help)
HELP
