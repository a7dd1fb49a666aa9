#!/usr/bin/env bash
# pgkeep with `method = "zstd"`: otherwise as pgkeep.sh, with stores and a catalog of its own.
#   pgkeep_zstd.sh prepare | backup | size | restore DATABASE      (run.sh sets the environment)
set -euo pipefail
export PGKEEP_CONFIG=$BENCH_FOLDER/zstd.toml BENCH_STORE=$BENCH_FOLDER/backups_zstd
exec "$(dirname "${BASH_SOURCE[0]}")/pgkeep.sh" "$@"
