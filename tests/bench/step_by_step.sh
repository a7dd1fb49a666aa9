#!/usr/bin/env bash
# Step by step: each step writes a file and waits for the one before it; at the end all three copies are read back.
#   step_by_step.sh prepare | backup | size | restore DATABASE      (run.sh sets the environment)
set -euo pipefail
cd "$BENCH_WORK"
dump=full.dump packed=full.dump.gz sealed=full.dump.gz.age kept=kept/full.dump.gz.age
object=backups/step_by_step/$BENCH_ROUND.dump.gz.age

case $1 in
prepare) # not timed: a key, and no copy from before
    rm -rf kept
    mkdir kept
    [ -e key ] || { age-keygen -o key && age-keygen -y key >recipient; } 2>/dev/null
    ;;
backup)
    pg_dump -Fc -f "$dump"
    gzip -9 -c "$dump" >"$packed"
    age -R recipient -o "$sealed" "$packed"
    sha256sum <"$sealed" >sum
    cp "$sealed" "$kept"
    rclone copyto "$sealed" "r2:$object"
    rclone copyto "$sealed" "b2:$object"
    sha256sum <"$kept" | cmp - sum
    rclone cat "r2:$object" | sha256sum | cmp - sum
    rclone cat "b2:$object" | sha256sum | cmp - sum
    rm "$dump" "$packed" "$sealed"
    ;;
size) stat -c %s "$kept" ;;
restore) age -d -i key "$kept" | gzip -dc | pg_restore --exit-on-error -d "$2" ;;
esac
