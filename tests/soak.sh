#!/usr/bin/env bash
# Runs the random kills for longer than the suite does, 200 of them in place of 40: tests/soak.sh [SEED]
# Installs what is missing, as tests/run.sh does.
set -euo pipefail
# In each of the test's eight sites.
export PGKEEP_TEST_KILLS=25
if [ $# -gt 0 ]; then export PGKEEP_TEST_SEED=$1; fi
exec bash "$(dirname "${BASH_SOURCE[0]}")/run.sh" --test suite -- --exact --nocapture kills::random::at_random_moments
