#!/usr/bin/env bash
# Shows the whole way of a backup on this machine: a throwaway PostgreSQL with a shop in it, two real S3 servers,
# and `pgkeep` backing up, listing, verifying and restoring. Installs what is missing, leaves nothing behind.
#   tests/demo.sh            builds the release binary first
#   PGKEEP=/path/to/pgkeep tests/demo.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_postgres
need_venv
if [ -z "${PGKEEP:-}" ]; then
    need_rust
    say "building pgkeep"
    (cd "$project" && cargo build --release --locked --quiet)
    PGKEEP=$(cd "$project" && cargo metadata --format-version 1 --no-deps --offline | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/pgkeep
fi

folder=$(mktemp -d)
chmod 755 "$folder"
servers=()
clean_up() {
    local code=$?
    trap - EXIT INT TERM
    if [ ${#servers[@]} -gt 0 ]; then kill "${servers[@]}" 2>/dev/null || true; fi
    if [ -d "$folder/pg/data" ]; then as_postgres "$pg_bin/pg_ctl" -D "$folder/pg/data" -m immediate stop >/dev/null 2>&1 || true; fi
    wait 2>/dev/null || true
    if [ $code != 0 ]; then
        say "the demo failed (exit code $code)"
        for log in "$folder"/*/log; do [ -s "$log" ] && { say "--- the end of ${log#"$folder"/}"; tail -n 5 "$log" >&2; }; done
    fi
    rm -rf "$folder"
    exit $code
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# PostgreSQL refuses to run as root.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; else "$@"; fi
}

# Ports that were free a moment ago, all different: free_ports COUNT
free_ports() {
    "$python" -c 'import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*[server.getsockname()[1] for server in held])' "$1"
}

# wait_for WHAT COMMAND...: until the command succeeds, for a minute at most.
wait_for() {
    local what=$1 end=$((SECONDS + 60)); shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || die "waited in vain for $what"
        sleep 0.1
    done
}

start_postgres() {
    mkdir -p "$folder/pg"
    [ "$(id -u)" != 0 ] || chown postgres: "$folder/pg"
    (cd / && as_postgres "$pg_bin/initdb" -D "$folder/pg/data" -U postgres -A trust --no-sync -E UTF8 --locale=C.UTF-8) >"$folder/initdb.out" 2>&1 ||
        { tail -n 5 "$folder/initdb.out" >&2; die "initdb failed"; }
    local try
    for try in 1 2 3 4 5; do
        read -r pg_port <<<"$(free_ports 1)"
        if (cd / && as_postgres "$pg_bin/pg_ctl" -D "$folder/pg/data" -l "$folder/pg/log" -w start \
            -o "-p $pg_port -k $folder/pg -c listen_addresses=127.0.0.1 -c fsync=off") >/dev/null 2>&1; then return; fi
        say "port $pg_port was taken (try $try)"
    done
    die "PostgreSQL did not start"
}

# start_s3 NAME S3 MASTER VOLUME FILER ADMIN and their five gRPC ports
start_s3() {
    local name=$1; shift
    mkdir -p "$folder/$name/data"
    AWS_ACCESS_KEY_ID=$name-key AWS_SECRET_ACCESS_KEY=$name-secret "$weed" -logdir="$folder/$name" mini -dir="$folder/$name/data" \
        -ip=127.0.0.1 -ip.bind=127.0.0.1 -bucket=backups -admin.ui=false -webdav=false \
        -s3.port.iceberg=0 -s3.port.lance=0 \
        -s3.port="$1" -master.port="$2" -volume.port="$3" -filer.port="$4" -admin.port="$5" \
        -s3.port.grpc="$6" -master.port.grpc="$7" -volume.port.grpc="$8" -filer.port.grpc="$9" -admin.port.grpc="${10}" \
        >"$folder/$name/log" 2>&1 &
    servers+=($!)
}

# Whether the server's filer knows the bucket: has_bucket FILER_PORT
has_bucket() {
    "$python" -c 'import sys, urllib.request
urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/buckets/backups/", timeout=5)' "$1"
}

psql() { PGUSER=postgres "$pg_bin/psql" -h "$folder/pg" -p "$pg_port" -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }

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
start_postgres
read -r -a r2_ports <<<"$(free_ports 10)"
start_s3 r2 "${r2_ports[@]}"
read -r -a b2_ports <<<"$(free_ports 10)"
start_s3 b2 "${b2_ports[@]}"
wait_for "the S3 server r2" has_bucket "${r2_ports[3]}"
wait_for "the S3 server b2" has_bucket "${b2_ports[3]}"
psql -d postgres -c 'CREATE DATABASE shop' -c 'CREATE DATABASE shop_restored'
psql -d shop -f "$project/tests/sql/shop.sql" >/dev/null

cat >"$folder/pgkeep.toml" <<TOML
state_dir = "$folder/state"

[source]
name = "demo"
url  = "postgresql://postgres@127.0.0.1:$pg_port/shop"

[encryption]
key_file = "$folder/pgkeep.key"

[[store]]
name = "local"
kind = "local"
path = "$folder/backups"

[[store]]
name              = "r2"
kind              = "s3"
endpoint          = "http://127.0.0.1:${r2_ports[0]}"
region            = "auto"
bucket            = "backups"
prefix            = "pg"
access_key_id     = "r2-key"
secret_access_key = { env = "R2_SECRET" }
path_style        = true

[[store]]
name              = "b2"
kind              = "s3"
endpoint          = "http://127.0.0.1:${b2_ports[0]}"
region            = "us-west-004"
bucket            = "backups"
prefix            = "pg"
access_key_id     = "b2-key"
secret_access_key = { env = "B2_SECRET" }
path_style        = true
TOML
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
printf '\nThe same, row for row.\n'
