"""pgkeep between a source that makes up its dump and stores that discard it: what scale.py and network.py measure with.

The database is real and small, and answers all questions; its `pg_dump` is source.py, its stores are discard.py.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from meter import Failed, say

HERE = Path(__file__).resolve().parent
MIB = 1024 * 1024
GB = 1_000_000_000
DATABASE, CATALOG = "small", "catalog_wire"
ARTIFACT, MANIFEST = ".pgk", ".pgk.json"

PG_DUMP = """#!/bin/sh
case " $* " in *" --version "* | *" -V "*) exec '{real}/pg_dump' "$@" ;; esac
exec '{python}' -I -B '{source}'
"""

CONFIG = """state_dir = "{folder}/state"

[source]
name   = "bench"
url    = "{url}/{database}"
pg_bin = "{folder}/bin"

[catalog]
url = "{url}/{catalog}"

[compression]
method = "{method}"

[encryption]
key_file = "{key_file}"

[verify]
after_backup = "stat"

[retry]
attempts = 0
"""

STORE = """
[[store]]
name              = "store{number}"
kind              = "s3"
endpoint          = "http://127.0.0.1:{port}"
region            = "auto"
bucket            = "backups"
access_key_id     = "key"
secret_access_key = "secret"
path_style        = true
"""

# As if last night's artifact had been of that size: what pgkeep plans the size of its parts by.
LAST_NIGHT = """
INSERT INTO pgkeep.backup (id, backup_type, source, database, filename, size_bytes, checksum, status, metadata, created_at, finished_at)
VALUES ('full-{database}-20200101T000000Z-0000', 'full', 'bench', '{database}', 'full-{database}-20200101T000000Z-0000.dump.gz.pgk', {size},
    repeat('0', 64), 'completed', '{{}}', now() - interval '1 day', now() - interval '1 day');
"""


class Discard:
    """A running discard.py, to be used by `with`; `report` is there when it has ended."""

    def __init__(self, folder, number, **manners):
        self.file = folder / f"report{number}.json"
        self.argv = [sys.executable, "-E", "-s", "-B", str(HERE / "discard.py"), "--follow", "--report", str(self.file)]
        for name, value in manners.items():
            self.argv += [f"--{name}", str(value)]
        self.process = self.port = self.report = None

    def __enter__(self):
        self.process = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line.strip().isdigit():
            self.__exit__()
            raise Failed("discard.py did not start")
        self.port = int(line)
        return self

    def __exit__(self, *_):
        # Closes its stdin, which it ends with, and waits.
        self.process.communicate()
        if self.file.exists():
            self.report = json.loads(self.file.read_text(encoding="utf-8"))
            self.file.unlink()


class Wire:
    """Makes backups of made-up dumps. `psql(database, sql)` runs SQL."""

    def __init__(self, meter, psql, folder, pgkeep):
        self.meter, self.psql, self.pgkeep = meter, psql, pgkeep
        self.key_file = folder / "pgkeep.key"
        self.folder = folder / "wire"
        real = Path(os.environ["BENCH_PG_BIN"])
        programs = self.folder / "bin"
        programs.mkdir(parents=True)
        (programs / "pg_restore").symlink_to(real / "pg_restore")
        script = programs / "pg_dump"
        script.write_text(PG_DUMP.format(real=real, python=sys.executable, source=HERE / "source.py"), encoding="utf-8")
        script.chmod(0o700)
        for database in (DATABASE, CATALOG):
            psql("postgres", f"CREATE DATABASE {database};")
        psql(DATABASE, "CREATE TABLE one AS SELECT 1 AS id;")
        self.meter.run([pgkeep, "--config", self.config("none", []), "list"], with_memory=False)

    def config(self, method, ports):
        """Writes the configuration of a backup into these stores."""
        url = f"postgresql://{os.environ['PGUSER']}@{os.environ['PGHOST']}:{os.environ['PGPORT']}"
        text = CONFIG.format(folder=self.folder, url=url, database=DATABASE, catalog=CATALOG, method=method, key_file=self.key_file)
        # Without a store a local one would be made up.
        stores = [STORE.format(number=number, port=port) for number, port in enumerate(ports or [9], 1)]
        file = self.folder / "pgkeep.toml"
        file.write_text(text + "".join(stores), encoding="utf-8")
        return str(file)

    def forget(self, last_night_bytes):
        """A catalog without a backup, or with one of that size."""
        self.psql(CATALOG, "TRUNCATE pgkeep.backup CASCADE;")
        if last_night_bytes:
            self.psql(CATALOG, LAST_NIGHT.format(database=DATABASE, size=last_night_bytes))

    def backup(self, source_bytes, stores=1, method="none", source_rate=0, last_night_bytes=0, **manners):
        """One backup of a dump of that size, and what came of it. `manners` are options of the stores' discard.py.

        Raises `Failed`, with what the stores report as `reports`, where the backup fails or a store has anything but what is on record.
        """
        self.forget(last_night_bytes)
        source = {"BENCH_SOURCE_BYTES": str(source_bytes), "BENCH_SOURCE_RATE": str(source_rate)}
        out = self.folder / "out.json"
        servers = [Discard(self.folder, number, **manners) for number in range(stores)]
        try:
            run = self.ran(servers, method, source, out)
            document = json.loads(out.read_text(encoding="utf-8"))
            for server in servers:
                check(document["size_bytes"], server.report)
        except Failed as error:
            error.reports = [server.report for server in servers]
            raise
        first = servers[0].report
        artifact = next(found for found in first["objects"] if found["key"].endswith(ARTIFACT))
        return {
            "source_bytes": source_bytes, "stores": stores, "method": method, "wall_s": run.wall_s, "cpu_s": run.cpu_s,
            "peak_bytes": run.peak_bytes, "size_bytes": document["size_bytes"],
            "parts": artifact["parts"], "part_size_bytes": artifact["part_size"], "reports": [server.report for server in servers],
        }

    def ran(self, servers, method, source, out):
        """Runs pgkeep while all servers run."""
        started = []
        try:
            for server in servers:
                started.append(server.__enter__())
            config = self.config(method, [server.port for server in servers])
            return self.meter.run([self.pgkeep, "--config", config, "backup", "full", "--json"], source, out, alone=True)
        finally:
            for server in started:
                server.__exit__()


def check(size_bytes, report):
    """Fails where a store does not hold the artifact of that size, its manifest, and nothing else."""
    objects = report["objects"]
    artifacts = [found for found in objects if found["key"].endswith(ARTIFACT)]
    manifests = [found for found in objects if found["key"].endswith(MANIFEST)]
    # A server whose answer to a start was lost holds an upload that nobody was told of.
    unheard = report["lost"].get("initiate after", 0)
    if [found["size"] for found in artifacts] != [size_bytes]:
        raise Failed(f"an artifact of {size_bytes} bytes is on record, the store has {artifacts}")
    if len(manifests) != 1 or len(objects) != 2:
        raise Failed(f"a store holds more or less than an artifact and its manifest: {[found['key'] for found in objects]}")
    if len(report["open_uploads"]) > unheard:
        raise Failed(f"uploads are left open: {report['open_uploads']}")


def in_turn(names, rounds, take):
    """What `take(name, round)` gives, once a round for each name, in an order that turns from round to round."""
    taken = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            one = take(name, number)
            taken[name].append(one)
            say(f"round {number + 1} of {rounds}: {name} {one['wall_s']:.2f} s")
    return taken
