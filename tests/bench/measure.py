"""Takes the figures of the benchmark: measure.py PART...  (run.sh starts the servers and sets the environment, and says what the parts are).

Each part returns plain measurements, in the order they were taken; report.py makes medians and tables of them.
"""

import difflib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import network
import report
import scale
from meter import Failed, Meter, say
from wire import Wire

HERE = Path(__file__).resolve().parent
FOLDER = Path(os.environ["BENCH_FOLDER"])
PGKEEP = os.environ["PGKEEP"]
SCALE = int(os.environ["BENCH_SCALE"])
ROUNDS = int(os.environ["BENCH_ROUNDS"])
IS_QUICK = os.environ["BENCH_QUICK"] == "1"
# What takes minutes a round is taken less often.
LONG_ROUNDS = min(ROUNDS, 3)
WAYS = ["step_by_step", "one_pipe", "restic", "pgkeep", "pgkeep_zstd"]
BACKUPS_ON_RECORD = 100_000

METER = Meter(
    {"postgres": [int(os.environ["BENCH_POSTGRES"])], "s3": [int(pid) for pid in os.environ["BENCH_S3"].split()]},
    FOLDER / "commands.log",
)

# A count and a hash of all rows of each table, in no order but that of the rows' own hashes; and what the sequences stand at.
CONTENTS = r"""
SELECT format('SELECT %L, count(*), md5(string_agg(hash, '''' ORDER BY hash)) FROM (SELECT md5(t::text) AS hash FROM %I.%I t) hashes',
    tablename, schemaname, tablename) FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename \gexec
SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public' ORDER BY 1;
"""


def psql(database, sql):
    """What psql prints, for SQL and for psql's own commands."""
    argv = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database]
    ran = subprocess.run(argv, input=sql, text=True, capture_output=True, check=False)
    if ran.returncode != 0:
        raise Failed(f"psql -d {database} ended with {ran.returncode}: {ran.stderr}")
    return ran.stdout


def fresh_database(name):
    """An empty database, and a server with nothing left to write from before."""
    psql("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE);\nCREATE DATABASE {name};\nCHECKPOINT;")


def check_contents(what, database, expected):
    """Fails where a restored database differs from what was backed up."""
    found = psql(database, CONTENTS)
    if found != expected:
        lines = difflib.unified_diff(expected.splitlines(), found.splitlines(), "source", "restored", lineterm="", n=0)
        raise Failed("\n".join([f"{what}: what was restored is not what was backed up", *lines]))


def rows(runs):
    """Measurements of one command as columns, for the report and for JSON."""
    return {
        "wall_s": [run.wall_s for run in runs],
        "client_cpu_s": [run.cpu_s for run in runs],
        "postgres_cpu_s": [run.servers.get("postgres") for run in runs],
        "s3_cpu_s": [run.servers.get("s3") for run in runs],
        "peak_bytes": [run.peak_bytes for run in runs],
    }


def in_turn(commands, prepare=None):
    """Each command once a round, in an order that turns from round to round.

    `prepare(name)` goes before each, is not timed, and may return what to add to the command's environment.
    """
    runs = {name: [] for name in commands}
    names = list(commands)
    for number in range(ROUNDS):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            environment = prepare(name) if prepare else None
            os.sync()
            run = METER.run(commands[name], environment)
            runs[name].append(run)
            say(f"round {number + 1} of {ROUNDS}: {name} {run.wall_s:.2f} s")
    return {name: rows(of_one) for name, of_one in runs.items()}


class Ways:
    """The ways to make a backup, each a script of its own with a folder of its own."""

    def __init__(self):
        self.round = {}

    def environment(self, way):
        """What a script is told beyond the environment of all."""
        work = FOLDER / way
        work.mkdir(exist_ok=True)
        return {"BENCH_WORK": str(work), "BENCH_ROUND": str(self.round[way])}

    def call(self, way, *words):
        """A step that is not timed; returns what it prints."""
        argv = [str(HERE / f"{way}.sh"), *words]
        ran = subprocess.run(argv, env={**os.environ, **self.environment(way)}, text=True, capture_output=True, check=False)
        if ran.returncode != 0:
            raise Failed(f"`{way}.sh {' '.join(words)}` ended with {ran.returncode}\n{ran.stderr}")
        return ran.stdout.strip()

    def prepare(self, way):
        """Clears away the last round's copies, and returns the environment of the next backup, which goes to a new place."""
        self.round[way] = self.round.get(way, 0) + 1
        self.call(way, "prepare")
        return self.environment(way)


def fill_shop():
    """The source; and what has to be in it when it comes back."""
    say(f"filling a shop of scale {SCALE}")
    subprocess.run(["psql", "-X", "-q", "-d", "shop", "-v", f"scale={SCALE}", "-f", str(HERE / "shop.sql")], check=True)
    psql("shop", "VACUUM ANALYZE;\nCHECKPOINT;")
    return psql("shop", CONTENTS)


def plain_dump():
    """A plain archive, uncompressed; all of the source has been read once when it is there."""
    plain = FOLDER / "plain.dump"
    if not plain.exists():
        METER.run(["pg_dump", "-Fc", "-Z0", "-f", str(plain)])
    return plain


def measure_tools(contents):
    """Backups in three places by each way in turn, proof that each restores, sizes, and `pgkeep verify`."""
    plain = plain_dump()
    packed = FOLDER / "plain.dump.gz"
    say("gzip -9 of the dump, for its size")
    gzip = METER.run(["gzip", "-9", "-c", str(plain)], stdout=packed)
    figures = {
        "dump_bytes": plain.stat().st_size,
        "gzip_9_bytes": packed.stat().st_size,
        "gzip_9": rows([gzip]),
        "pg_dump": rows([METER.run(["pg_dump", "-Fc", "-Z0"])]),
    }
    packed.unlink()
    ways = Ways()
    figures["ways"] = in_turn({way: [str(HERE / f"{way}.sh"), "backup"] for way in WAYS}, ways.prepare)
    for way in WAYS:
        say(f"restoring what {way} made")
        fresh_database("restored")
        ways.call(way, "restore", "restored")
        check_contents(way, "restored", contents)
        figures["ways"][way] |= {"size_bytes": int(ways.call(way, "size")), "is_restored": True}
    psql("postgres", "DROP DATABASE restored;")
    figures["restic_way"] = ways.call("restic", "how")
    figures["verify"] = in_turn({"pgkeep verify latest": [PGKEEP, "verify", "latest", "--quiet"]})["pgkeep verify latest"]
    return figures


def measure_restore(contents):
    """`pgkeep restore` beside pg_restore of a plain archive, each into a fresh database."""
    plain = plain_dump()
    if not any(Path(os.environ["BENCH_STORE"]).rglob("*.pgk")):
        METER.run([PGKEEP, "backup", "full", "--quiet"])
    url = f"postgresql://{os.environ['PGUSER']}@{os.environ['PGHOST']}:{os.environ['PGPORT']}"
    commands = {
        "pgkeep restore": [PGKEEP, "restore", "latest", "--quiet", "--database", "shop", "--into", f"{url}/by_pgkeep"],
        "pg_restore": ["pg_restore", "-d", "by_pg_restore", str(plain)],
    }
    databases = {"pgkeep restore": "by_pgkeep", "pg_restore": "by_pg_restore"}
    figures = in_turn(commands, lambda name: fresh_database(databases[name]))
    for name, database in databases.items():
        check_contents(name, database, contents)
        psql("postgres", f"DROP DATABASE {database};")
    return figures


def measure_start():
    """A database with one row: what a backup costs before it has anything to do."""
    fresh_database("tiny")
    psql("tiny", "CREATE TABLE one AS SELECT 1 AS id;")
    commands = {
        "pgkeep backup full": [PGKEEP, "backup", "full", "--quiet", "--database", "tiny"],
        "pg_dump -Fc": ["pg_dump", "-Fc", "-f", str(FOLDER / "tiny.dump"), "tiny"],
    }
    return in_turn(commands)


def measure_list():
    """`pgkeep list` over a full catalog, beside an empty one and beside psql: what is beyond the empty one is the rows' own cost."""
    full, empty = str(FOLDER / "full.toml"), str(FOLDER / "empty.toml")
    for config in (full, empty):
        METER.run([PGKEEP, "--config", config, "list"])
    say(f"a catalog of {BACKUPS_ON_RECORD} backups")
    fill = ["psql", "-X", "-q", "-d", "catalog_full", "-v", f"backups={BACKUPS_ON_RECORD}", "-f", str(HERE / "catalog.sql")]
    METER.run(fill)
    psql("catalog_full", "VACUUM ANALYZE;\nCHECKPOINT;")
    on_full = [PGKEEP, "--config", full, "list"]
    commands = {
        "psql -c 'SELECT 1'": ["psql", "-X", "-d", "catalog_full", "-c", "SELECT 1"],
        "pgkeep list (empty catalog)": [PGKEEP, "--config", empty, "list"],
        "pgkeep list": on_full,
        "pgkeep list --database tenant7": [*on_full, "--database", "tenant7"],
        "pgkeep list --status failed": [*on_full, "--status", "failed"],
        "pgkeep list --since 7d": [*on_full, "--since", "7d"],
        "pgkeep list --json --limit 1000": [*on_full, "--json", "--limit", "1000"],
    }
    listed = subprocess.run([*on_full, "--json", "--limit", "1000"], stdout=subprocess.PIPE, check=True).stdout
    if len(json.loads(listed)) != 1000:
        raise Failed("`pgkeep list --json --limit 1000` did not list 1000 backups")
    say("listing")
    repeats = 5 if IS_QUICK else 20
    figures = {name: [] for name in commands}
    names = list(commands)
    for number in range(repeats):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            figures[name].append(METER.run(commands[name], with_memory=False).wall_s)
    return figures


def measure(parts):
    """All that was asked for, as one document. What is in its `troubles` makes the benchmark fail once the tables are printed."""
    troubles = []
    figures = {"scale": SCALE, "rounds": ROUNDS, "is_quick": IS_QUICK, "machine": report.machine(PGKEEP)}
    if {"tools", "restore"} & set(parts):
        contents = fill_shop()
    if "tools" in parts:
        figures["tools"] = measure_tools(contents)
    if "restore" in parts:
        figures["restore"] = measure_restore(contents)
    if "start" in parts:
        figures["start"] = measure_start()
    if "list" in parts:
        figures["list"] = measure_list()
    if {"scale", "network"} & set(parts):
        wire = Wire(METER, psql, FOLDER, PGKEEP)
    if "scale" in parts:
        figures["large"], troubles = scale.measure(wire, ROUNDS)
    if "network" in parts:
        figures["network"] = network.measure(wire, LONG_ROUNDS)
    figures["troubles"] = troubles
    return figures


def main():
    """Measures, prints, and writes the JSON where that is wanted."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        figures = measure(sys.argv[1:])
    except (Failed, subprocess.CalledProcessError) as error:
        say(f"error: {error}")
        sys.exit(1)
    print(report.text(figures), end="")
    if "PGKEEP_BENCH_JSON" in os.environ:
        done = FOLDER / "figures.json"
        done.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        shutil.move(done, os.environ["PGKEEP_BENCH_JSON"])
    for trouble in figures["troubles"]:
        say(f"error: {trouble}")
    if figures["troubles"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
