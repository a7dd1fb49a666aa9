#!/usr/bin/env bash
# One pipe: what a careful administrator would write with good tools. One pass, all cores, nothing written twice; then all three
# copies are read back, at the same time.
#   one_pipe.sh prepare | backup | size | restore DATABASE      (run.sh sets the environment)
set -euo pipefail
cd "$BENCH_WORK"
kept=kept/full.dump.gz.age
object=backups/one_pipe/$BENCH_ROUND.dump.gz.age

# Waits for each of the children; the first that failed ends the script.
all_of() {
    local child
    for child in "$@"; do wait "$child"; done
}

case $1 in
prepare) # not timed: a key, and no copy from before
    rm -rf kept pipes
    mkdir kept pipes
    mkfifo pipes/sum pipes/r2 pipes/b2
    [ -e key ] || { age-keygen -o key && age-keygen -y key >recipient; } 2>/dev/null
    ;;
backup)
    sha256sum <pipes/sum >sum & children=($!)
    rclone rcat "r2:$object" <pipes/r2 & children+=($!)
    rclone rcat "b2:$object" <pipes/b2 & children+=($!)
    pg_dump -Fc -Z0 | pigz -9 | age -R recipient | tee pipes/sum pipes/r2 pipes/b2 >"$kept"
    all_of "${children[@]}"

    sha256sum <"$kept" | cmp - sum & children=($!)
    rclone cat "r2:$object" | sha256sum | cmp - sum & children+=($!)
    rclone cat "b2:$object" | sha256sum | cmp - sum & children+=($!)
    all_of "${children[@]}"
    ;;
size) stat -c %s "$kept" ;;
restore) age -d -i key "$kept" | pigz -dc | pg_restore --exit-on-error -d "$2" ;;
esac
