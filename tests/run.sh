#!/usr/bin/env bash
# Installs what the tests need where it is missing, and runs them all: tests/run.sh [ARGUMENTS OF cargo test]
# As root or not, any number of times. As root, PostgreSQL runs as the user `postgres`.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_rust
need_postgres
need_venv
need_promtool
need_pgbouncer
export PGKEEP_TEST_PG_BIN=$pg_bin PGKEEP_TEST_WEED=$weed PGKEEP_TEST_PYTHON=$python PGKEEP_TEST_PROMTOOL=$promtool
export PGKEEP_TEST_PGBOUNCER=$pgbouncer
command -v script >/dev/null || apt_install "script (for a terminal)" bsdutils
command -v pigz >/dev/null || apt_install pigz pigz
command -v zstd >/dev/null || apt_install zstd zstd
command -v ip >/dev/null || apt_install "ip (for networks of their own)" iproute2
ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || apt_install "libfaketime (for clocks that are off)" libfaketime
command -v openssl >/dev/null || apt_install "openssl (for certificates)" openssl

# The tests wait for servers more than they compute.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) * 3))}

cd "$project"
exec cargo test --locked --all-targets "$@"
