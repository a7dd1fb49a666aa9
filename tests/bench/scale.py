"""The part `scale`: whether memory stays flat, what a wrong estimate of the size ends in, and what a store more costs. Measured on a wire."""

import os

from meter import Failed, say
from wire import ARTIFACT, GB, MIB, in_turn

MOST_PEAK_BYTES = 200 * MIB
MOST_PARTS = 10_000
# More than 10,000 parts of the size that is planned for a small database.
OVERFLOW_BYTES = 85 * GB
TERABYTE = 1000 * GB
SLOW = 40_000_000
UPLOAD_BYTES = 2 * GB
MANY_STORES = 3
TARGET_MS = 3.0


def sizes(most_gb):
    """The dumps of the table, the largest of `most_gb`."""
    return [size for size in (GB // 10, GB, 10 * GB, 50 * GB) if size < most_gb * GB] + [most_gb * GB]


def flat(wire, most_gb):
    """Dumps of all sizes, each planned as after a night of the same size; then two into slow stores, where all queues are full.

    The last of them goes in parts as large as those of a terabyte.
    """
    nights = [(size, size, 0) for size in sizes(most_gb)]
    nights += [(min(3, most_gb) * GB, planned, SLOW) for planned in (min(3, most_gb) * GB, TERABYTE)]
    rows = []
    for size, planned, rate in nights:
        one = wire.backup(size, stores=2, method="gzip", last_night_bytes=planned, rate=rate)
        rows.append({**one, "planned_bytes": planned, "store_rate": rate})
        say(f"{size / GB:g} GB planned as {planned / GB:g} GB: {one['wall_s']:.1f} s, peak {one['peak_bytes'] / MIB:.0f} MiB")
    return rows


def overflow(wire):
    """A dump that takes more than 10,000 parts of the size that was planned; what a refusal says is in the figures."""
    try:
        one = wire.backup(OVERFLOW_BYTES)
    except Failed as error:
        return {"source_bytes": OVERFLOW_BYTES, "refusal": str(error), "reports": getattr(error, "reports", [])}
    report = one["reports"][0]
    return {**one, "segments": sum(".segment-" in made["key"] for made in report["completed"])}


def overflow_troubles(figures):
    """What is not as it must be after an overflow."""
    if "refusal" in figures:
        return [f"a dump of more than {MOST_PARTS} parts was refused: {figures['refusal']}"]
    if figures["reports"][0]["requests"]["part"] <= MOST_PARTS:
        return [f"the dump was to take more than {MOST_PARTS} parts, and took {figures['parts']}: nothing is proven"]
    if figures["parts"] > MOST_PARTS:
        return [f"the object has {figures['parts']} parts"]
    return misjoined(figures["reports"][0])


def misjoined(report):
    """Whether an object that was copied together is not all of its segments, each whole, in their order."""
    spans = next(found["spans"] for found in report["objects"] if found["key"].endswith(ARTIFACT))
    keys = [span["key"] for span in spans]
    segments = [f"{keys[0]}.segment-{number}" for number in range(2, len(keys) + 1)] if keys else []
    is_whole = all(span["first"] == 0 and span["last"] + 1 == span["of_size"] for span in spans)
    return [] if is_whole and keys[1:] == segments else [f"the object is not joined of whole segments in their order: {spans}"]


def uploads(wire, rounds):
    """The same dump into one store and into several, by turns."""
    taken = in_turn([1, MANY_STORES], rounds, lambda stores, _: wire.backup(UPLOAD_BYTES, stores=stores))
    one, many = taken[1], taken[MANY_STORES]
    mebibytes = one[0]["size_bytes"] / MIB
    costs = [(more["cpu_s"] - less["cpu_s"]) * 1000 / (MANY_STORES - 1) / mebibytes for less, more in zip(one, many)]
    return {"source_bytes": UPLOAD_BYTES, "one": one, "many": many, "ms_per_mib": costs}


def measure(wire, rounds):
    """All figures of the part, and what makes the benchmark fail."""
    most_gb = int(os.environ["BENCH_SCALE_GB"])
    figures = {"flat": flat(wire, most_gb), "uploads": uploads(wire, rounds)}
    largest = max(row["peak_bytes"] for row in figures["flat"])
    troubles = []
    if largest > MOST_PEAK_BYTES:
        troubles.append(f"pgkeep took {largest / MIB:.1f} MiB of memory, more than {MOST_PEAK_BYTES // MIB}")
    if os.environ["BENCH_OVERFLOW"] == "1":
        say(f"a dump of {OVERFLOW_BYTES / GB:g} GB, planned as a small one")
        figures["overflow"] = overflow(wire)
        troubles += overflow_troubles(figures["overflow"])
    return figures, troubles
