#!/usr/bin/env bash
# Shows the whole way of a backup on this machine: a throwaway PostgreSQL with a shop in it, two real S3 servers,
# and `pgkeep` backing up, listing, verifying, restoring and planning what goes. Installs what is missing, leaves nothing behind.
#   tests/demo.sh            builds the release binary first
#   PGKEEP=/path/to/pgkeep tests/demo.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/servers.sh"

need_postgres
need_venv
need_pgkeep
begin "the demo"

# Prints a command as a user would type it, and its output under it.
show() {
    printf '\n$ %s\n' "${*/#$PGKEEP/pgkeep}"
    "$@" 2>&1
}

# A count and a hash of each table's rows, and what the sequences stand at.
contents() {
    psql -d "$1" -c "SELECT format('SELECT %L, count(*), md5(string_agg(t::text, '','' ORDER BY t::text)) FROM %I.%I t;', tablename, schemaname, tablename)
        FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename" | psql -d "$1"
    psql -d "$1" -c "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public' ORDER BY 1"
}

say "starting PostgreSQL and two S3 servers"
# shellcheck disable=SC2119 # no settings beyond the usual
start_postgres
start_s3 r2; r2_port=$port
start_s3 b2; b2_port=$port
psql -d postgres -c 'CREATE DATABASE shop' -c 'CREATE DATABASE shop_restored'
psql -d shop -f "$project/tests/sql/shop.sql" >/dev/null
write_config "$r2_port" "$b2_port" >"$folder/pgkeep.toml"
chmod 600 "$folder/pgkeep.toml"
export PGKEEP_CONFIG=$folder/pgkeep.toml R2_SECRET=r2-secret B2_SECRET=b2-secret

echo "A shop of $(psql -d shop -c 'SELECT count(*) FROM orders') orders, $(psql -d shop -c "SELECT pg_size_pretty(pg_database_size('shop'))")."
show "$PGKEEP" key new --output "$folder/pgkeep.key"
show "$PGKEEP" backup full
show "$PGKEEP" list
show "$PGKEEP" verify latest
show "$PGKEEP" restore latest --into "postgresql://postgres@127.0.0.1:$pg_port/shop_restored"

printf '\nThe tables, as they were and as they came back:\n'
contents shop >"$folder/before"
contents shop_restored >"$folder/after"
cat "$folder/after"
if ! diff -u "$folder/before" "$folder/after"; then die "what came back is not what was there"; fi
printf '\nThe same, row for row. What is in no dump was kept beside it:\n'
show "$PGKEEP" restore latest --type config --list
show "$PGKEEP" restore latest --globals --into "postgresql://postgres@127.0.0.1:$pg_port/postgres" --dry-run
psql -d postgres -c "CREATE ROLE newcomer LOGIN"
show "$PGKEEP" diff latest
show "$PGKEEP" prune --dry-run
