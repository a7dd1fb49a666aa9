#!/usr/bin/env bash
# Figures of pgkeep beside other ways to back up PostgreSQL, for anyone to repeat.
#   tests/bench/run.sh [--only PART]... [SCALE]
# SCALE is the size of the shop that is backed up: about 10 MB of plain dump a unit, 30 unless given. PART is one of
#   tools     a backup in three places, read back, by five ways in turn: step_by_step.sh, one_pipe.sh, restic.sh, pgkeep.sh,
            pgkeep_zstd.sh;
#             each way's last backup is restored and compared with the source; also the size beside gzip -9, and `pgkeep verify`
#   restore   `pgkeep restore` beside pg_restore
#   start     the backup of a database with one row, beside pg_dump
#   list      `pgkeep list` over a catalog of 100,000 backups
#   scale     `pgkeep backup full` of made-up dumps of 100 MB to 50 GB into S3 servers that discard them: throughput, CPU, memory; one of
#             85 GB that was planned as a small one, in more than 10,000 parts; and the CPU of each store more
#   network   the same, of 2 GB, where each answer comes 0.1 s late, where 1 of 100 requests is lost, and both
# and all of them are run where none is named. The table goes to stdout, progress to stderr. It needs root or `sudo` once, to install
# what is missing, and about 300 MB of disk a unit of scale; it leaves nothing running and nothing behind.
# `scale` and `network` need neither disk nor SCALE: no byte of a made-up dump is kept. They take half an hour or more.
# What else the machine does while it runs is in the figures: leave it idle. From the environment:
#   PGKEEP              the binary to measure; the release build of this tree where it is not set
#   ROUNDS              how often each figure is taken: 5 at least, which is what it is where not set
#   QUICK=1             lets ROUNDS be less (1 where not set), to try the benchmark out; what comes of it are no figures
#   BENCH_SCALE_GB      the largest dump of `scale`: 50 where not set; 1000 is a terabyte, and takes hours
#   BENCH_OVERFLOW      1: more than 10,000 parts; 0: not. Where not set, it is done where BENCH_SCALE_GB is 50 or more
#   BENCH_NETWORK_GB    the dump of `network`: 2 where not set
#   PGKEEP_BENCH_JSON   a file to write every single measurement into
# Exit codes: 0 done; 1 something failed, did not restore what was backed up, refused more than 10,000 parts, or took more than 200 MiB
# of memory in `scale`; 2 wrong usage.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib.sh"
. "$here/../servers.sh"

usage() { say "error: $1"; say "hint: tests/bench/run.sh --help"; exit 2; }
is_count() { [[ $1 =~ ^[1-9][0-9]{0,2}$ ]]; }

parts=() scale=
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) sed -n '2,/^set /{/^# \{0,1\}/s///p}' "${BASH_SOURCE[0]}"; exit ;;
    --only)
        case ${2:-} in
        tools | restore | start | list | scale | network) parts+=("$2"); shift ;;
        *) usage "\`--only ${2:-}\` is none of tools, restore, start, list, scale, network" ;;
        esac
        ;;
    -*) usage "there is no option \`$1\`" ;;
    *) [ -z "$scale" ] || usage "two scales, \`$scale\` and \`$1\`"; scale=$1 ;;
    esac
    shift
done
[ ${#parts[@]} -gt 0 ] || parts=(tools restore start list scale network)
: "${scale:=30}" "${QUICK:=0}"
is_count "$scale" || usage "SCALE is \`$scale\`, not a whole number from 1 to 999"
case $QUICK in 0) least=5 ;; 1) least=1 ;; *) usage "QUICK is \`$QUICK\`, neither 0 nor 1" ;; esac
: "${ROUNDS:=$least}"
is_count "$ROUNDS" || usage "ROUNDS is \`$ROUNDS\`, not a whole number from $least to 999"
[ "$ROUNDS" -ge "$least" ] || usage "ROUNDS is \`$ROUNDS\`: fewer than 5 make no figures (QUICK=1 tries the benchmark out)"
: "${BENCH_SCALE_GB:=50}" "${BENCH_NETWORK_GB:=2}"
[[ $BENCH_SCALE_GB =~ ^[1-9][0-9]{0,3}$ ]] || usage "BENCH_SCALE_GB is \`$BENCH_SCALE_GB\`, not a whole number from 1 to 9999"
[[ $BENCH_NETWORK_GB =~ ^[0-9]{1,3}(\.[0-9])?$ && ! $BENCH_NETWORK_GB =~ ^[0.]+$ ]] ||
    usage "BENCH_NETWORK_GB is \`$BENCH_NETWORK_GB\`, not a number such as 2 or 0.5"
: "${BENCH_OVERFLOW:=$((BENCH_SCALE_GB >= 50))}"
case $BENCH_OVERFLOW in 0 | 1) ;; *) usage "BENCH_OVERFLOW is \`$BENCH_OVERFLOW\`, neither 0 nor 1" ;; esac
if [ -n "${PGKEEP:-}" ]; then
    [ -x "$PGKEEP" ] || usage "PGKEEP is \`$PGKEEP\`, which is no program"
    PGKEEP=$(realpath "$PGKEEP")
fi
if [ -n "${PGKEEP_BENCH_JSON:-}" ]; then
    PGKEEP_BENCH_JSON=$(realpath -m "$PGKEEP_BENCH_JSON")
    [ -w "$(dirname "$PGKEEP_BENCH_JSON")" ] || usage "PGKEEP_BENCH_JSON is \`$PGKEEP_BENCH_JSON\`, where nothing can be written"
    export PGKEEP_BENCH_JSON
fi

# Whether a part is run that needs a shop, S3 servers that keep what they are given, and tools to compare with.
with_shop=0
for part in "${parts[@]}"; do case $part in scale | network) ;; *) with_shop=1 ;; esac; done

need_postgres
need_venv
[ $with_shop = 0 ] || need_tools
need_pgkeep
begin "the benchmark"

say "starting PostgreSQL"
start_postgres autovacuum=off max_wal_size=8GB checkpoint_timeout=1h

# Like pgkeep, all others reach PostgreSQL by its port, and use the same version of pg_dump.
export PATH=$pg_bin:$PATH PGHOST=127.0.0.1 PGPORT=$pg_port PGUSER=postgres PGDATABASE=shop
export PGKEEP PGKEEP_CONFIG=$folder/pgkeep.toml R2_SECRET=r2-secret B2_SECRET=b2-secret
# rclone 1.60 does not start where this is set.
unset AWS_CA_BUNDLE

# A catalog in a database of its own, and no config backup, so that all ways dump the same: config CATALOG
config() {
    write_config "$r2_port" "$b2_port"
    printf '\n[catalog]\nurl = "postgresql://postgres@127.0.0.1:%s/%s"\n\n[retry]\nattempts = 0\n\n[config]\nwith_full = false\n' "$pg_port" "$1"
}

# Two S3 servers, databases and configurations for backups of a shop.
start_shop() {
    local name endpoint secret database
    say "starting two S3 servers"
    start_s3 r2; r2_port=$port
    start_s3 b2; b2_port=$port
    export BENCH_R2=http://127.0.0.1:$r2_port BENCH_B2=http://127.0.0.1:$b2_port
    export RCLONE_CONFIG=$folder/rclone.conf RCLONE_S3_NO_CHECK_BUCKET=true
    for name in R2 B2; do
        endpoint=BENCH_$name secret=${name}_SECRET
        export "RCLONE_CONFIG_${name}_TYPE=s3" "RCLONE_CONFIG_${name}_PROVIDER=Other" "RCLONE_CONFIG_${name}_ENDPOINT=${!endpoint}" \
            "RCLONE_CONFIG_${name}_ACCESS_KEY_ID=${name,,}-key" "RCLONE_CONFIG_${name}_SECRET_ACCESS_KEY=${!secret}" \
            "RCLONE_CONFIG_${name}_FORCE_PATH_STYLE=true"
    done
    : >"$RCLONE_CONFIG"
    config catalog >"$folder/pgkeep.toml"
    config catalog_full >"$folder/full.toml"
    config catalog_empty >"$folder/empty.toml"
    { config catalog_zstd | sed 's#/backups"#/backups_zstd"#'; printf '\n[compression]\nmethod = "zstd"\n'; } >"$folder/zstd.toml"
    for database in shop catalog catalog_zstd catalog_full catalog_empty; do psql -d postgres -c "CREATE DATABASE $database"; done
}

umask 077
"$PGKEEP" --config /dev/null key new --output "$folder/pgkeep.key" >/dev/null
[ $with_shop = 0 ] || start_shop

BENCH_POSTGRES=$(as_postgres head -n 1 "$folder/pg/data/postmaster.pid") BENCH_S3="${servers[*]}"
export BENCH_POSTGRES BENCH_S3 BENCH_FOLDER=$folder BENCH_STORE=$folder/backups BENCH_SCALE=$scale BENCH_ROUNDS=$ROUNDS BENCH_QUICK=$QUICK
export BENCH_PG_BIN=$pg_bin BENCH_SCALE_GB BENCH_OVERFLOW BENCH_NETWORK_GB
# In the background, so that a signal to this script is heeded at once.
"$python" -B "$here/measure.py" "${parts[@]}" &
worker=$!
wait "$worker"
