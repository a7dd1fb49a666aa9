"""Stands in for pg_dump: writes BENCH_SOURCE_BYTES bytes to stdout that no compressor makes smaller, as fast as they are taken.

BENCH_SOURCE_RATE, bytes a second, slows it down. It starts as an archive of pg_dump does, and is none: it can't be restored.
"""

import os
import random
import struct
import time

BLOCK = 1024 * 1024
BLOCKS = 64
MAGIC = b"PGDMP"


def write(block):
    """All of a block."""
    while block:
        block = block[os.write(1, block):]


def main():
    """The same 64 blocks of noise again and again, each time with their number in front: no block is like another."""
    left = int(os.environ["BENCH_SOURCE_BYTES"])
    rate = float(os.environ.get("BENCH_SOURCE_RATE", "0"))
    noise = bytearray(random.Random(left).randbytes(min(BLOCKS, left // BLOCK + 1) * BLOCK))
    view = memoryview(noise)
    number, written, begun = 0, 0, time.monotonic()
    while left > 0:
        at = number * BLOCK % len(noise)
        noise[at:at + 13] = MAGIC + struct.pack("<Q", number)
        count = min(left, BLOCK)
        write(view[at:at + count])
        left, number, written = left - count, number + 1, written + count
        if rate > 0:
            time.sleep(max(0.0, begun + written / rate - time.monotonic()))


if __name__ == "__main__":
    main()
