#!/usr/bin/env bash
# What it costs to list a store that somebody filled with names, in memory and time, of every command that lists.
#   tests/bench/listing.sh [KEYS [PGKEEP [OTHER_PGKEEP]]]
# KEYS is how many names are listed: 1000000 where not given. PGKEEP is the binary that is measured, the release build of this tree
# where not given; OTHER_PGKEEP is measured beside it. The table goes to stdout. BENCH_LISTING_ONLY takes a part of a row's
# `kind: command`. Nothing is left behind.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib.sh"
. "$here/../servers.sh"
keys=${1:-1000000}
[[ $keys =~ ^[1-9][0-9]{0,7}$ ]] || { say "error: KEYS is \`$keys\`, not a whole number from 1 to 99999999"; exit 2; }
need_postgres
need_venv
begin "the benchmark of listings"
start_postgres
"$pg_bin/createdb" -h 127.0.0.1 -p "$pg_port" -U postgres shop
mkdir "$folder/work"
binaries=("${@:2}")
[ ${#binaries[@]} -gt 0 ] || binaries=("$project/target/release/pgkeep")
"$python" "$here/listing.py" "$folder/work" "postgresql://postgres@127.0.0.1:$pg_port/shop" "$keys" "${binaries[@]}"
