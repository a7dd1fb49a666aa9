#!/usr/bin/env bash
# pgkeep: three stores, each copy read back, by the configuration that run.sh wrote.
#   pgkeep.sh prepare | backup | size | restore DATABASE      (run.sh sets the environment)
set -euo pipefail
cd "$BENCH_WORK"

case $1 in
prepare) rm -rf "$BENCH_STORE" ;; # not timed: no copy from before
backup) exec "$PGKEEP" backup full --quiet ;;
size) find "$BENCH_STORE" -name '*.pgk' -printf '%s\n' ;;
restore) "$PGKEEP" restore latest --into "postgresql://$PGUSER@$PGHOST:$PGPORT/$2" ;;
esac
