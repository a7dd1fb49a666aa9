# What demo.sh and bench/run.sh share: a throwaway PostgreSQL and S3 servers in a folder of their own, which ends with
# the script. To be sourced from bash, after lib.sh and its need_postgres and need_venv.
# shellcheck disable=SC2154 # pg_bin, weed, python and project are of lib.sh

# Makes the folder that everything goes into, and sees to it that nothing of this run outlives it: begin WHAT
begin() {
    what_runs=$1
    folder=$(mktemp -d)
    chmod 755 "$folder"
    servers=()
    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

clean_up() {
    local code=$?
    trap - EXIT HUP INT TERM
    if [ -n "${worker:-}" ]; then { kill "$worker" && wait "$worker"; } 2>/dev/null || true; fi
    if [ ${#servers[@]} -gt 0 ]; then kill "${servers[@]}" 2>/dev/null || true; fi
    if [ -d "$folder/pg/data" ]; then as_postgres "$pg_bin/pg_ctl" -D "$folder/pg/data" -m immediate stop >/dev/null 2>&1 || true; fi
    wait 2>/dev/null || true
    if [ $code != 0 ]; then
        say "$what_runs failed (exit code $code)"
        for log in "$folder"/*/log; do [ -s "$log" ] && { say "--- the end of ${log#"$folder"/}"; tail -n 5 "$log" >&2; }; done
    fi
    rm -rf "$folder"
    exit $code
}

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

# Sets pg_port: start_postgres [SETTING=VALUE...]
start_postgres() {
    mkdir -p "$folder/pg"
    [ "$(id -u)" != 0 ] || chown postgres: "$folder/pg"
    (cd / && as_postgres "$pg_bin/initdb" -D "$folder/pg/data" -U postgres -A trust --no-sync -E UTF8 --locale=C.UTF-8) >"$folder/initdb.out" 2>&1 ||
        { tail -n 5 "$folder/initdb.out" >&2; die "initdb failed"; }
    local try setting settings="-c listen_addresses=127.0.0.1 -c fsync=off"
    for setting in "$@"; do settings+=" -c $setting"; done
    for try in 1 2 3 4 5; do
        pg_port=$(free_ports 1)
        if (cd / && as_postgres "$pg_bin/pg_ctl" -D "$folder/pg/data" -l "$folder/pg/log" -w start \
            -o "-p $pg_port -k $folder/pg $settings") >/dev/null 2>&1; then return; fi
        say "port $pg_port was taken (try $try)"
    done
    die "PostgreSQL did not start"
}

# Starts a server with a bucket `backups`, the key `NAME-key` and the secret `NAME-secret`, and waits for it; sets port: start_s3 NAME
start_s3() {
    local name=$1 free ports
    free=$(free_ports 10)
    read -r -a ports <<<"$free"
    mkdir -p "$folder/$name/data"
    AWS_ACCESS_KEY_ID=$name-key AWS_SECRET_ACCESS_KEY=$name-secret "$weed" -logdir="$folder/$name" mini -dir="$folder/$name/data" \
        -ip=127.0.0.1 -ip.bind=127.0.0.1 -bucket=backups -admin.ui=false -webdav=false \
        -s3.port.iceberg=0 -s3.port.lance=0 \
        -s3.port="${ports[0]}" -master.port="${ports[1]}" -volume.port="${ports[2]}" -filer.port="${ports[3]}" -admin.port="${ports[4]}" \
        -s3.port.grpc="${ports[5]}" -master.port.grpc="${ports[6]}" -volume.port.grpc="${ports[7]}" -filer.port.grpc="${ports[8]}" \
        -admin.port.grpc="${ports[9]}" >"$folder/$name/log" 2>&1 &
    servers+=($!)
    wait_for "the S3 server $name" has_bucket "${ports[3]}"
    # shellcheck disable=SC2034 # for the caller
    port=${ports[0]}
}

# Whether the server's filer knows the bucket: has_bucket FILER_PORT
has_bucket() {
    "$python" -c 'import sys, urllib.request
urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/buckets/backups/", timeout=5)' "$1"
}

psql() { PGUSER=postgres "$pg_bin/psql" -h "$folder/pg" -p "$pg_port" -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }

# The configuration of a backup of the database `shop` into a folder and both servers, but for the catalog: write_config R2_PORT B2_PORT
write_config() {
    cat <<TOML
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
endpoint          = "http://127.0.0.1:$1"
region            = "auto"
bucket            = "backups"
prefix            = "pg"
access_key_id     = "r2-key"
secret_access_key = { env = "R2_SECRET" }
path_style        = true

[[store]]
name              = "b2"
kind              = "s3"
endpoint          = "http://127.0.0.1:$2"
region            = "us-west-004"
bucket            = "backups"
prefix            = "pg"
access_key_id     = "b2-key"
secret_access_key = { env = "B2_SECRET" }
path_style        = true
TOML
}

# Builds the release binary unless $PGKEEP names one; sets PGKEEP.
need_pgkeep() {
    [ -z "${PGKEEP:-}" ] || return 0
    need_rust
    say "building pgkeep"
    (cd "$project" && cargo build --release --locked --quiet)
    PGKEEP=$(cd "$project" && cargo metadata --format-version 1 --no-deps --offline | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/pgkeep
}
