"""What a command costs: time, CPU of its processes and of the servers it talks to, and memory. Linux, by /proc. Knows no tool."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

TICKS = os.sysconf("SC_CLK_TCK")
PERIOD = 0.02


class Failed(Exception):
    """A command that did not end with 0, or did not do what it said."""


@dataclass
class Run:
    """One run of one command. CPU of `servers` is by name; `peak_bytes` is of all its processes at the same moment.

    Where a command was measured `alone`, CPU and memory are those of its own process, without its children.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int
    servers: dict


def children(pid):
    """The children of all threads of a process; none where it has gone."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                found += [int(word) for word in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def tree(roots):
    """These processes and all that descend from them."""
    found = list(roots)
    for pid in found:
        found += children(pid)
    return found


def cpu_of_trees(roots):
    """CPU seconds so far of these processes, of all that descend from them, and of those of them that have ended.

    What an ended child used is its parent's `cutime` and `cstime`: the sum over the tree never goes back.
    """
    ticks = 0
    for pid in tree(roots):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                # The name, in parentheses, may hold anything; `state` is the first field after it.
                fields = file.read().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


def settled_cpu(roots):
    """The same, where a process may be ending just now: what is missed in one look is there in the next."""
    first = cpu_of_trees(roots)
    time.sleep(0.05)
    return max(first, cpu_of_trees(roots))


def own_cpu(pid):
    """CPU seconds of a process that has ended and was not yet waited for, without those of its children."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / TICKS


def memory(pid):
    """The proportional share of memory that a process has mapped, in bytes: pages that several share count once in their sum.

    What the kernel keeps of files that were read and written (the page cache) is not in it.
    """
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


class Sampler(threading.Thread):
    """Looks at the memory of a process, and of its descendants unless `alone`, time and again, until it is told to stop."""

    def __init__(self, pid, alone=False):
        super().__init__(daemon=True)
        self.pid, self.alone, self.peak, self.done = pid, alone, 0, threading.Event()

    def run(self):
        while not self.done.wait(PERIOD):
            pids = [self.pid] if self.alone else tree([self.pid])
            self.peak = max(self.peak, sum(memory(pid) for pid in pids))

    def stop(self):
        self.done.set()
        self.join()
        return self.peak


def end(process):
    """Ends a command and all it started: it may clean up first."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Meter:
    """Runs commands. `servers` are process ids by name; what commands say goes to the end of the file `log`."""

    def __init__(self, servers, log):
        self.servers, self.log = servers, log

    def run(self, argv, env=None, stdout=None, with_memory=True, alone=False):
        """Runs a command to its end; raises `Failed` where that is not 0. `stdout` is a path; without one it is dropped.

        `alone` leaves the command's children out of its CPU and memory.
        """
        before = {name: settled_cpu(pids) for name, pids in self.servers.items()} if with_memory else {}
        with open(self.log, "ab") as log, open(stdout or os.devnull, "wb") as out:
            begun = time.monotonic()
            process = subprocess.Popen(argv, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, stdout=out, stderr=log,
                                       start_new_session=True)
            sampler = Sampler(process.pid, alone) if with_memory else None
            try:
                if sampler:
                    sampler.start()
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
                wall = time.monotonic() - begun
                own = own_cpu(process.pid)
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            finally:
                if process.returncode is None:
                    end(process)
                peak = sampler.stop() if sampler else 0
        if process.returncode != 0:
            raise Failed(f"`{' '.join(argv)}` ended with {process.returncode}{self.tail()}")
        servers = {name: settled_cpu(self.servers[name]) - seconds for name, seconds in before.items()}
        return Run(wall, own if alone else usage.ru_utime + usage.ru_stime, peak, servers)

    def tail(self):
        """The last lines that commands said, to be shown under an error."""
        with open(self.log, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()[-8:]
        return "".join(f"\n  {line}" for line in lines)


def say(text):
    """Progress."""
    print(text, file=sys.stderr, flush=True)
