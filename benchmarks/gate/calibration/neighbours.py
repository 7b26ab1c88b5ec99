"""Noisy neighbours: processes that load a machine as its other tenants do.

This file is started as a script, so it uses only the standard library.

Three kinds take turns: one that always computes, one that moves memory, and one that works in bursts with pauses.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice

MEMORY = 64 * 2**20  # bytes that are copied over and over: more than a core's share of any cache
GRACE = 10.0  # seconds that a process has to end
SETTLE = 0.5  # seconds that new processes need to start


class NeighbourError(RuntimeError):
    """A noisy neighbour ended early, so the later measurements had less noise than is claimed."""


@contextmanager
def noisy_neighbours(count: int, seconds: float, seed: int) -> Iterator[Callable[[], None]]:
    """Run `count` noisy neighbours for the block; they end with it, with this process, and after `seconds`.

    Yields a function that raises NeighbourError unless all are running; it is called at the block's end as well.
    They have a session of their own, so that Ctrl-C reaches only this process, which then ends them.

    Raises:
        NeighbourError: One ended early.
    """
    processes: list[subprocess.Popen[bytes]] = []

    def check() -> None:
        ended = [process.args for process in processes if process.poll() is not None]
        if ended:
            raise NeighbourError(f"{len(ended)} of {count} noisy neighbours ended early")

    try:
        for number, kind in enumerate(islice(cycle(KINDS), count)):
            # -I: a script's folder comes first on the path, and this one has modules with common names.
            command = [sys.executable, "-I", __file__, kind, str(seconds), str(seed + number)]
            processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True))  # noqa: S603 - this interpreter, this file
        time.sleep(SETTLE if count else 0)
        yield check
        check()
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def compute(seconds: float) -> None:
    """Keep one core busy with bytecode."""
    until, value = time.monotonic() + seconds, 1
    while time.monotonic() < until:
        for _ in range(1000):
            value = value * 31 % 1_000_003


def move(seconds: float) -> None:
    """Read and write more memory than the caches hold."""
    until, source = time.monotonic() + seconds, bytes(MEMORY)
    while time.monotonic() < until:
        bytearray(source)


def burst(seconds: float) -> None:
    """Compute or move for up to half a second, and pause for as long on average."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        random.choice((compute, move))(random.uniform(0.005, 0.5))
        time.sleep(random.uniform(0.005, 0.5))


KINDS = {"compute": compute, "move": move, "burst": burst}


def main(kind: str, seconds: float, seed: int) -> None:
    """Make noise for `seconds`, or until the parent process is gone."""
    random.seed(seed)
    parent, until = os.getppid(), time.monotonic() + seconds
    while time.monotonic() < until and os.getppid() == parent:
        KINDS[kind](1.0)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
