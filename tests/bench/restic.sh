#!/usr/bin/env bash
# restic: a repository in a folder, copied into one in each of both buckets, both at the same time; then every byte of all three
# is read back and checked. The repositories are new and empty each time, since a second backup of the same rows would store nothing.
#   restic.sh prepare | backup | size | restore DATABASE | how      (run.sh sets the environment)
set -euo pipefail
cd "$BENCH_WORK"
export RESTIC_PASSWORD_FILE=$BENCH_WORK/password RESTIC_FROM_PASSWORD_FILE=$BENCH_WORK/password RESTIC_CACHE_DIR=$BENCH_WORK/cache
local=$BENCH_WORK/repository
r2=s3:$BENCH_R2/backups/restic/$BENCH_ROUND
b2=s3:$BENCH_B2/backups/restic/$BENCH_ROUND

restic() { command restic --quiet "$@"; }
in_r2() { AWS_ACCESS_KEY_ID=r2-key AWS_SECRET_ACCESS_KEY=$R2_SECRET restic -r "$r2" "$@"; }
in_b2() { AWS_ACCESS_KEY_ID=b2-key AWS_SECRET_ACCESS_KEY=$B2_SECRET restic -r "$b2" "$@"; }

# restic 0.17 and newer start the command themselves, and make no snapshot when it fails.
runs_commands() { command restic backup --help | grep -q -e --stdin-from-command; }

case $1 in
prepare) # not timed: three empty repositories with the same cutting points
    rm -rf "$local" cache
    [ -e password ] || head -c 24 /dev/urandom | base64 >password
    restic -r "$local" init
    in_r2 init --copy-chunker-params --from-repo "$local"
    in_b2 init --copy-chunker-params --from-repo "$local"
    ;;
backup)
    if runs_commands; then
        restic -r "$local" backup --stdin-filename full.dump --stdin-from-command -- pg_dump -Fc -Z0
    else
        pg_dump -Fc -Z0 | restic -r "$local" backup --stdin --stdin-filename full.dump
    fi
    in_r2 copy --from-repo "$local" & one=$!
    in_b2 copy --from-repo "$local" & two=$!
    wait "$one"
    wait "$two"

    in_r2 check --read-data & one=$!
    in_b2 check --read-data & two=$!
    restic -r "$local" check --read-data
    wait "$one"
    wait "$two"
    ;;
size) find "$local" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum }' ;;
restore) restic -r "$local" dump latest full.dump | pg_restore --exit-on-error -d "$2" ;;
how) if runs_commands; then echo 'backup --stdin-from-command'; else echo 'pg_dump | restic backup --stdin'; fi ;;
esac
