#!/usr/bin/env bash
# Runs for longer what the suite runs shortly: 200 random kills in place of 40, 460 nights of retention in place of 160:
# tests/soak.sh [SEED]
# Installs what is missing, as tests/run.sh does.
set -euo pipefail
# In each of the test's eight sites.
export PGKEEP_TEST_KILLS=25 PGKEEP_TEST_NIGHTS=460
if [ $# -gt 0 ]; then export PGKEEP_TEST_SEED=$1; fi
exec bash "$(dirname "${BASH_SOURCE[0]}")/run.sh" --test suite -- --nocapture kills::random:: prune::years::
