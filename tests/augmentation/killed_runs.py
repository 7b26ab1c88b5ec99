"""Runs of several ranks and workers, killed and resumed: `python -m tests.augmentation.killed_runs`.

A run is a process group: ranks that are forked from this process, and their workers, forked from them. A rank writes a
record for each batch: its rows, and the loader's state behind it. The victim kills the whole group with SIGKILL at a
batch of its own, while the others are anywhere. Each rank continues from the state of its last record, until all have
read their share. This process writes all records as JSON.
"""

import itertools
import json
import os
import random
import signal
import sys
import time
import traceback
import zlib
from dataclasses import asdict, dataclass, field

from impl.augmentation import Config, parts, stream
from impl.augmentation.stream import StreamedDataset, StreamLoader

TEXT = "the quick brown fox jumps over the lazy dog, 1234567890 times"
CONFIG = Config(dataset_size=203, batch_size=8)
SEED = 5
BATCHES = 60
"""What all ranks read together: two epochs of 26 batches and a part of the third, and a multiple of 1 to 4 ranks."""
KILLS = 50
CHUNK = 40
"""Rows that are computed at once, so that runs are killed at the end of a chunk, too."""
PAUSE = 0.001
"""Seconds of a step, so that ranks are killed in the middle of their share."""


def make_loader(**split):
    return StreamLoader(StreamedDataset(TEXT, CONFIG, SEED), CONFIG.batch_size, **split)


def marks_of(batch):
    """Return a number for each row, made of its ids and its label."""
    return [
        zlib.crc32(tokens.tobytes() + label.tobytes())
        for tokens, label in zip(*(part.numpy() for part in batch), strict=True)
    ]


@dataclass
class Kill:
    """Rank `rank` ends the run when it gets its batch number `batch`, before or after it writes the record."""

    rank: int
    batch: int
    recorded: bool


@dataclass
class Run:
    """One that is continued until all is read."""

    ranks: int
    workers: int
    read: list[list[list[int]]] = field(init=False)
    """The rows of each batch of each rank, as `marks_of` returns them."""
    states: list[dict | None] = field(init=False)
    kills: int = 0

    def __post_init__(self):
        self.read, self.states = [[] for _ in range(self.ranks)], [None] * self.ranks

    @property
    def left(self):
        """How many batches each rank still has to read."""
        return [BATCHES // self.ranks - len(batches) for batches in self.read]

    def go_on(self, kill=None):
        """Start all ranks from their states, and take in what they write until they are killed or finished."""
        before = [len(batches) for batches in self.read]
        reading, writing = os.pipe()
        leader = os.fork()
        if leader == 0:
            try:
                self.lead(writing, kill)
            finally:
                os._exit(1)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            for line in pipe:
                record = json.loads(line)
                if "error" in record:
                    raise RuntimeError(record["error"])
                self.read[record["rank"]].append(record["rows"])
                self.states[record["rank"]] = record["state"]
        _, status = os.waitpid(leader, 0)
        assert os.WIFSIGNALED(status), status
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        if kill is None:
            assert not any(self.left), self.left
        else:
            assert len(self.read[kill.rank]) - before[kill.rank] == kill.batch - (not kill.recorded)
            self.kills += 1

    def lead(self, pipe, kill):
        """Start the ranks in a process group of their own, wait for them, and end the group."""
        os.setsid()
        ranks = []
        for rank in range(self.ranks):
            ranks.append(os.fork())
            if ranks[-1] == 0:
                try:
                    self.train(rank, pipe, kill if kill and kill.rank == rank else None)
                except BaseException:  # noqa: BLE001 - this process ends here, whatever it was
                    os.write(pipe, json.dumps({"error": traceback.format_exc()[-3_000:]}).encode() + b"\n")
                    os._exit(1)
                os._exit(0)
        for process in ranks:
            os.waitpid(process, 0)
        os.killpg(0, signal.SIGKILL)

    def train(self, rank, pipe, kill):
        """Be one rank. A line this short is written to a pipe as a whole or not at all."""
        loader = make_loader(rank=rank, world_size=self.ranks, workers=self.workers, multiprocessing_context="fork")
        if self.states[rank]:
            loader.load_state_dict(self.states[rank])
        for number, batch in enumerate(itertools.islice(loader, self.left[rank]), 1):
            time.sleep(PAUSE)
            record = {"rank": rank, "rows": marks_of(batch), "state": loader.state_dict()}
            dies = kill is not None and kill.batch == number
            if not dies or kill.recorded:
                os.write(pipe, json.dumps(record).encode() + b"\n")
            if dies:
                os.killpg(0, signal.SIGKILL)


def main():
    parts.CHUNK = stream.CHUNK = CHUNK
    chance = random.Random(20261127)
    make_loader().dataset.batch(0, 1)  # compiled, or loaded from the cache, before anything is forked
    runs = [Run(ranks, workers) for ranks in (1, 2, 3, 4) for workers in (0, 1, 2)]
    for index, run in enumerate(runs):
        for later in reversed(range(KILLS // len(runs) + (index < KILLS % len(runs)))):
            rank = max(range(run.ranks), key=lambda rank: (run.left[rank], chance.random()))
            left = run.left[rank]
            # Some are left for the later kills. Chance has most of what this kill may take.
            batch = chance.randint(1, max(1, min(left - later, 2 * left // (later + 1))))
            run.go_on(Kill(rank, batch, chance.random() < 0.5))
        run.go_on()
    json.dump([asdict(run) for run in runs], sys.stdout)


if __name__ == "__main__":
    main()
