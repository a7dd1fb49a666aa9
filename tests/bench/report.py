"""Medians and tables of what measure.py took. Measures nothing but the machine's own name."""

import os
import platform
import re
import subprocess
import time
from statistics import median

MIB = 1024 * 1024
NOTES = {
    "step_by_step": "pg_dump -Fc, gzip -9, age, sha256sum, cp, two rclone copyto, three copies read back: one step after the other",
    "one_pipe": "pg_dump -Fc -Z0 | pigz -9 | age | tee into a file, sha256sum and two rclone rcat; three copies read back at the same time",
    "restic": "{restic_way} into an empty local repository, restic copy into two empty ones, check --read-data of all three; zstd, not gzip",
    "pgkeep": "pgkeep backup full into three stores, all read back; the local copy is synced to disk, as that of restic is and those of the scripts are not",
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
        "pigz": first_line(["pigz", "--version"]),
        "age": "age " + first_line(["age", "--version"]),
        "rclone": first_line(["rclone", "version"]),
        "restic": first_line(["restic", "version"]),
        "pgkeep": first_line([pgkeep, "--version"]),
    }
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
    hardware = f"{where['cpu']}, {where['cores']} cores, {where['memory_bytes'] / MIB / 1024:.1f} GiB, {where['kernel']}, load {where['load_before']:.1f} before"
    lines += ["", "; ".join([hardware, *where["versions"].values(), where["date"]])]
    return "\n".join(lines) + "\n"
