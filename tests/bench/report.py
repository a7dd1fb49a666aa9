"""Medians and tables of what measure.py took. Measures nothing but the machine's own name."""

import os
import platform
import re
import shutil
import subprocess
import time
from statistics import median

MIB = 1024 * 1024
GIB = 1024 * MIB
NOTES = {
    "step_by_step": "pg_dump -Fc, gzip -9, age, sha256sum, cp, two rclone copyto, three copies read back: one step after the other",
    "one_pipe": "pg_dump -Fc -Z0 | pigz -9 | age | tee into a file, sha256sum and two rclone rcat; three copies read back at the same time",
    "restic": "{restic_way} into an empty local repository, restic copy into two empty ones, check --read-data of all three; zstd, not gzip",
    "pgkeep": "pgkeep backup full into three stores, all read back; the local copy is synced to disk, as that of restic is and those of the scripts are not",
    "pgkeep_zstd": "the same with `method = \"zstd\"`",
}


def spread(values, digits=2, unit=1):
    """The median, and the least and the most: `1.50 [1.32-1.71]`."""
    middle, least, most = (f"{value / unit:.{digits}f}" for value in (median(values), min(values), max(values)))
    return f"{middle} [{least}-{most}]"


def ratio(ours, theirs):
    """The median of the rounds' ratios."""
    pairs = [one / other for one, other in zip(ours, theirs) if other > 0]
    return f"{median(pairs):.2f}" if pairs else "-"


def table(head, lines):
    """Columns, aligned: the first to the left, all others to the right."""
    widths = [max(len(line[column]) for line in [head, *lines]) for column in range(len(head))]
    aligned = []
    for line in [head, *lines]:
        cells = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
        aligned.append("  ".join([line[0].ljust(widths[0]), *cells]).rstrip())
    return aligned


def tools(figures):
    """A backup in three places, by each way."""
    ways, gzip = figures["ways"], figures["gzip_9_bytes"]
    ours = ways["pgkeep"]
    head = ["a backup in three places", "wall s", "pgkeep/it", "client CPU s", "pgkeep/it", "PostgreSQL CPU s", "S3 CPU s",
            "peak MiB", "size MiB", "size/gzip -9"]
    lines = []
    for name, way in ways.items():
        lines.append([
            name,
            spread(way["wall_s"]), ratio(ours["wall_s"], way["wall_s"]),
            spread(way["client_cpu_s"]), ratio(ours["client_cpu_s"], way["client_cpu_s"]),
            spread(way["postgres_cpu_s"]), spread(way["s3_cpu_s"]),
            spread(way["peak_bytes"], 1, MIB), f"{way['size_bytes'] / MIB:.2f}", f"{way['size_bytes'] / gzip:.4f}",
        ])
    notes = [f"  {name}: {NOTES[name].format(**figures)}" for name in ways]
    dump, saved = figures["dump_bytes"], 100 * (1 - gzip / figures["dump_bytes"])
    dump_s, gzip_s, verify = figures["pg_dump"]["wall_s"][0], figures["gzip_9"]["wall_s"][0], figures["verify"]
    return [
        *table(head, lines),
        *notes,
        "each way's last backup was restored: every table has the source's rows",
        f"dump: {dump / MIB:.1f} MiB (pg_dump -Fc -Z0, in {dump_s:.2f} s); gzip -9 of it: {gzip / MIB:.2f} MiB, {saved:.1f} % saved, in {gzip_s:.2f} s",
        "",
        f"pgkeep verify latest: {spread(verify['wall_s'])} s, CPU {spread(verify['client_cpu_s'])} s, peak {spread(verify['peak_bytes'], 1, MIB)} MiB",
    ]


def beside(title, figures):
    """One command of pgkeep beside the one it is measured by."""
    ours = next(iter(figures.values()))
    head = [title, "wall s", "pgkeep/it", "client CPU s", "pgkeep/it", "PostgreSQL CPU s", "peak MiB"]
    lines = []
    for name, one in figures.items():
        lines.append([
            name,
            spread(one["wall_s"], 3), ratio(ours["wall_s"], one["wall_s"]),
            spread(one["client_cpu_s"], 3), ratio(ours["client_cpu_s"], one["client_cpu_s"]),
            spread(one["postgres_cpu_s"]), spread(one["peak_bytes"], 1, MIB),
        ])
    return table(head, lines)


def listing(figures):
    """Milliseconds of each command, and the median of those beyond an empty catalog, turn by turn."""
    empty = figures["pgkeep list (empty catalog)"]
    lines = []
    for name, values in figures.items():
        beyond = median(value - other for value, other in zip(values, empty))
        lines.append([name, spread(values, 1, 0.001), f"{beyond * 1000:.1f}"])
    return table(["a catalog of 100,000 backups, 24 databases", "ms", "beyond an empty catalog"], lines)


def speed(one):
    """MB of dump a second."""
    return one["source_bytes"] / 1e6 / one["wall_s"]


def met(is_met):
    """Whether a target was."""
    return "met" if is_met else "missed"


def large(figures):
    """Dumps that no disk here could hold."""
    head = ["a made-up dump into two stores", "planned as GB", "wall s", "MB/s", "CPU s/GiB", "peak MiB", "parts", "part MiB"]
    lines = []
    for one in figures["flat"]:
        slow = f", stores of {one['store_rate'] / 1e6:g} MB/s" if one["store_rate"] else ""
        lines.append([
            f"{one['source_bytes'] / 1e9:g} GB{slow}", f"{one['planned_bytes'] / 1e9:g}", f"{one['wall_s']:.1f}", f"{speed(one):.0f}",
            f"{one['cpu_s'] * GIB / one['source_bytes']:.2f}", f"{one['peak_bytes'] / MIB:.1f}", str(one["parts"]),
            f"{one['part_size_bytes'] / MIB:.0f}",
        ])
    costs = figures["uploads"]["ms_per_mib"]
    peak = max(one["peak_bytes"] for one in figures["flat"]) / MIB
    return [
        *table(head, lines),
        "  each once; pgkeep alone, without what makes up the dump; where stores are slow, all queues are full",
        "  planned as: the size of the artifact on record of the night before, which the size of parts is planned by",
        f"largest peak: {peak:.1f} MiB; below 200: {met(peak <= 200)}",
        f"CPU of a store more: {spread(costs)} ms a MiB, of {figures['uploads']['source_bytes'] / 1e9:g} GB, by one store and three in turn;"
        f" below 3: {met(median(costs) < 3)}",
        "  over plain HTTP: what TLS costs is not in it",
        *overflow(figures.get("overflow")),
    ]


def overflow(one):
    """What became of the dump that took more parts than an upload may have."""
    if one is None:
        return ["more than 10,000 parts: not measured (BENCH_OVERFLOW=1 does)"]
    what = f"more than 10,000 parts: {one['source_bytes'] / 1e9:g} GB, planned as a small database"
    if "refusal" in one:
        asked = [f"  the store was asked: {counted(report['requests'])}" for report in one["reports"] if report]
        return [f"{what}: REFUSED, there is no copy", *asked]
    report = one["reports"][0]
    return [
        f"{what}: stored in {one['wall_s']:.1f} s ({speed(one):.0f} MB/s), peak {one['peak_bytes'] / MIB:.1f} MiB",
        f"  the object has the {one['size_bytes']} bytes on record, in {one['parts']} parts of {one['part_size_bytes'] / MIB:.2f} MiB;"
        f" {one['segments']} segments were completed, and none is left, nor an upload",
        f"  the store was asked: {counted(report['requests'])}; {report['copied_bytes'] / 1e9:.1f} GB copied there",
    ]


def counted(requests):
    """Requests by their kind."""
    return ", ".join(f"{kind} {count}" for kind, count in sorted(requests.items()))


def network(figures):
    """Throughput by the manners of a store, beside a plain one."""
    names = {
        "plain": "plain", "latency": f"{figures['latency_s']:g} s late", "loss": f"{figures['loss']:.0%} lost",
        "both": f"{figures['latency_s']:g} s late, {figures['loss']:.0%} lost",
    }
    lines, worst = [], []
    for pace, title in (("fast", "as fast as it goes"), ("paced", f"{figures['rate'] / 1e6:g} MB/s")):
        plain = [speed(one) for one in figures[pace]["plain"]]
        for name, ran in figures[pace].items():
            speeds = [speed(one) for one in ran]
            worst.append(median(value / other for value, other in zip(speeds, plain)))
            lost = sum(sum(report["lost"].values()) for one in ran for report in one["reports"])
            at_once = [report["part_seconds"] / one["wall_s"] for one in ran for report in one["reports"]]
            lines.append([f"{title}: {names[name]}", spread(speeds, 1), f"{worst[-1]:.2f}", spread([one["cpu_s"] for one in ran]),
                          str(lost), spread(at_once)])
    head = [f"a made-up dump of {figures['source_bytes'] / 1e9:g} GB into one store", "MB/s", "it/plain", "CPU s", "requests lost", "parts at once"]
    rounds = len(figures["fast"]["plain"])
    return [
        *table(head, lines),
        f"  {rounds} rounds, in turn; it/plain: the median of the rounds' ratios; none below 0.5: {met(min(worst) >= 0.5)}",
    ]


def first_line(argv):
    """What a program says of its version."""
    said = subprocess.run(argv, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False).stdout
    return said.splitlines()[0].strip() if said else "unknown"


def machine(pgkeep):
    """Where and with what the figures were taken."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = re.search(r"model name\s*:\s*(.*)", file.read())
    versions = {
        "postgresql": first_line(["pg_dump", "--version"]),
        "pgkeep": first_line([pgkeep, "--version"]),
    }
    for name, option in (("pigz", "--version"), ("age", "--version"), ("rclone", "version"), ("restic", "version")):
        if shutil.which(name):
            versions[name] = ("age " if name == "age" else "") + first_line([name, option])
    return {
        "cpu": model.group(1) if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": f"{platform.system()} {platform.release()}",
        "versions": versions,
        "load_before": os.getloadavg()[0],
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def text(figures):
    """The whole page."""
    where = figures["machine"]
    lines = [f"scale {figures['scale']}, {figures['rounds']} rounds, in turn; median [least-most]; pgkeep/it: the median of the rounds' ratios"]
    if figures["is_quick"]:
        lines.append("quick: not figures")
    if "tools" in figures:
        lines += ["", *tools(figures["tools"])]
    if "restore" in figures:
        lines += ["", *beside("into a fresh database", figures["restore"])]
    if "start" in figures:
        lines += ["", *beside("one table of one row", figures["start"])]
    if "list" in figures:
        lines += ["", *listing(figures["list"])]
    if "large" in figures:
        lines += ["", *large(figures["large"])]
    if "network" in figures:
        lines += ["", *network(figures["network"])]
    hardware = f"{where['cpu']}, {where['cores']} cores, {where['memory_bytes'] / MIB / 1024:.1f} GiB, {where['kernel']}, load {where['load_before']:.1f} before"
    lines += ["", "; ".join([hardware, *where["versions"].values(), where["date"]])]
    return "\n".join(lines) + "\n"
