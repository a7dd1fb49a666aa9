"""The part `network`: what is left of the throughput where answers come late, or do not come. Measured on a wire."""

import os

from wire import GB, in_turn

RATE = 50_000_000
LATENCY, LOSS = 0.1, 0.01
MANNERS = {
    "plain": {},
    "latency": {"latency": LATENCY},
    "loss": {"loss": LOSS},
    "both": {"latency": LATENCY, "loss": LOSS},
}


def measure(wire, rounds):
    """Each manner in turn, with a source as fast as pgkeep takes it and with one of 50 MB/s."""
    source_bytes = int(float(os.environ["BENCH_NETWORK_GB"]) * GB)
    figures = {"source_bytes": source_bytes, "latency_s": LATENCY, "loss": LOSS, "rate": RATE}
    for pace, rate in (("fast", 0), ("paced", RATE)):
        # Each round loses other requests.
        figures[pace] = in_turn(list(MANNERS), rounds, lambda name, number, rate=rate: wire.backup(
            source_bytes, source_rate=rate, seed=number + 1, **MANNERS[name]))
    return figures
