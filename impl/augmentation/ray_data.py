"""The rows of `optimised` as Parquet files, by Ray Data: `python -m impl.augmentation.ray_data --rows N --out DIR`.

Row i is a pure function of (seed, i), and nothing else decides it: not the block that it is in, the worker that makes
it, or whether a task was tried again. What is written is kept by row ids in Ray Data's own checkpoint, beside the files
in DIR-checkpoint. So a run that was interrupted is continued by the same command: files that were not finished are
removed, and the rows that are missing are made. A run that is complete writes nothing more.

The files have the columns `id` (int64), `tokens` (L bytes, an id in each) and `label` (uint8). As lists of uint8 the
tokens took six times as long to write and eighteen times as long to read. Workers, blocks, retries, the writer and the
progress bars are Ray's.

What Ray costs (Intel Xeon with AMX, two shared cores, 2026-11-28): 40 million rows, 1.1 GB of files, take 18 s with one
worker and 18 s with two, and 1.4 to 1.6 s in `optimised`, without Ray and without files: 0.46 and 0.04 s per million
rows. Two workers share the two cores with Ray's own processes. pyarrow alone writes 115,000 rows in 36 ms, which
`optimised` computes in 5.

On a cluster (RAY_ADDRESS) every node needs this package, and DIR has to be on storage that all of them share. To
continue, Ray holds the ids of all rows that are written, 8 bytes each, in its object store.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..shared.on_ray import ray_data, start_ray
from ..variant import UnsupportedError
from .config import Config, check_text
from .rows import Rows

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["DEFAULT_TEXT", "Run", "RunError", "main", "write"]

DEFAULT_TEXT = "01:ccInterview-02:ccInterview-03:ccInterview-04:ccInterview"
FILE_BYTES = 2**25
"""Of a file before compression: some 460,000 rows of 64 ids. A worker holds one at a time. Of a quarter the size, 40
million rows took 28 s and not 18."""
FILTERS = 1
"""Processes of Ray that leave out what is written, when a run is continued. Each takes the place of a worker."""
SETTINGS = "_run.json"  # readers of Parquet folders leave out what begins with an underscore


class RunError(Exception):
    """A run that cannot begin or go on; the message says why."""


@dataclass(frozen=True)
class Run:
    """What decides the rows, and so has to be the same when a run is continued.

    Attributes:
        text: what is misspelled.
        rows: how many there are.
        seed: 0 .. 2**64 - 1.
        max_modifications, max_letter_count: see `Config`.
    """

    text: str
    rows: int
    seed: int
    max_modifications: int
    max_letter_count: int

    def __post_init__(self) -> None:
        check_text(self.text)
        Config(self.rows, self.max_modifications, self.max_letter_count)
        _rows(self)


@cache
def _rows(run: Run) -> Rows:
    """Return what computes the rows; a worker process has it once for all its tasks."""
    return Rows(run.text, run.max_modifications, run.max_letter_count, run.seed)


def pieces_of(ids: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return consecutive ids as (first, how many)."""
    starts = np.flatnonzero(np.diff(ids, prepend=-2) != 1)
    return list(zip(ids[starts].tolist(), np.diff(starts, append=len(ids)).tolist(), strict=True))


def add_rows(ids: "pa.Table", run: Run) -> "pa.Table":
    """Return the rows with these ids: a table with the columns `id`, `tokens` and `label`."""
    import pyarrow as pa  # noqa: PLC0415 - comes with Ray

    tokens, labels = _rows(run).compute_pieces(pieces_of(ids["id"].to_numpy()))
    bytes_of_ids = pa.py_buffer(np.ascontiguousarray(tokens))
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(run.max_letter_count), len(tokens), [None, bytes_of_ids])
    return ids.append_column("tokens", column).append_column("label", pa.array(labels))


def checkpoint_of(out: Path) -> Path:
    """Return the folder of Ray's checkpoint for rows in `out`."""
    return out.with_name(f"{out.name}-checkpoint")


def write(run: Run, out: Path, *, rows_per_file: int | None = None) -> None:
    """Write the rows that are missing in `out`, in files of so many rows at most.

    Raises:
        UnsupportedError: Ray is not installed.
        RunError: `out` has another run's rows, another process writes there, or files of this run are gone.
    """
    data = ray_data()
    from filelock import FileLock, Timeout  # noqa: PLC0415 - comes with Ray
    from ray.data.checkpoint import CheckpointConfig  # noqa: PLC0415 - an optional extra

    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / "_run.lock", timeout=0):
            _claim(run, out)
            context = data.DataContext.get_current()
            context.checkpoint_config = CheckpointConfig(
                "id", str(checkpoint_of(out)), delete_checkpoint_on_success=False
            )
            rows_per_file = rows_per_file or max(1, FILE_BYTES // (run.max_letter_count + 9))
            data.range(run.rows, override_num_blocks=-(-run.rows // rows_per_file) or 1).map_batches(
                add_rows, batch_size=None, batch_format="pyarrow", fn_kwargs={"run": run}
            ).write_parquet(str(out), use_dictionary=False)
            _expect_all(run, out)
    except Timeout:
        raise RunError(f"another process is writing to {out}: wait until it ends") from None


def _expect_all(run: Run, out: Path) -> None:
    """Count the rows of all files, because Ray's checkpoint does not notice that a file was removed.

    Raises:
        RunError: They are not as many as the run has.
    """
    from pyarrow import parquet  # noqa: PLC0415 - comes with Ray

    found = sum(parquet.read_metadata(file).num_rows for file in out.glob("*.parquet"))
    if found != run.rows:
        raise RunError(
            f"{out} has {found:,} of {run.rows:,} rows, although all were written: if files were removed, remove {out} "
            f"and {checkpoint_of(out)}, and begin again"
        )


def _claim(run: Run, out: Path) -> None:
    """Make `out` the folder of this run.

    Raises:
        RunError: It is another one's.
    """
    settings, wanted = out / SETTINGS, vars(run)
    if not settings.exists():
        if any(out.glob("*.parquet")):
            raise RunError(f"{out} has Parquet files and no {SETTINGS}: they are not from a run like this")
        written = settings.with_suffix(".new")
        written.write_text(json.dumps(wanted, indent=2), encoding="utf-8")
        written.replace(settings)
        return
    try:
        found = dict(json.loads(settings.read_text(encoding="utf-8")))
    except ValueError as error:
        raise RunError(f"{settings} cannot be read ({error})") from error
    if different := [name for name in wanted if found.get(name) != wanted[name]]:
        changes = ", ".join(f"{name} {found.get(name)!r} there and {wanted[name]!r} here" for name in different)
        raise RunError(f"{out} has another run's rows: {changes}. Name another folder")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, and write."""
    parser = argparse.ArgumentParser(prog="python -m impl.augmentation.ray_data", description=__doc__)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--text", default=DEFAULT_TEXT)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--max-modifications", type=int, default=Config.max_modifications)
    parser.add_argument("--max-letter-count", type=int, default=Config.max_letter_count)
    parser.add_argument("--rows-per-file", type=int, help="default: 32 MiB before compression")
    parser.add_argument("--workers", type=int, help="of a Ray on this machine (default: RAY_ADDRESS, or all cores)")
    options = parser.parse_args(arguments)
    for name in ("rows_per_file", "workers"):
        if (value := getattr(options, name)) is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1, not {value}")
    try:
        run = Run(options.text, options.rows, options.seed, options.max_modifications, options.max_letter_count)
    except (TypeError, ValueError) as error:
        parser.error(str(error))
    try:
        out = options.out.absolute()
        start_ray(options.workers, others=FILTERS if checkpoint_of(out).exists() else 0)
        write(run, out, rows_per_file=options.rows_per_file)
    except (RunError, UnsupportedError, OSError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    # By its own name: the workers could not import what is defined in `__main__`.
    from impl.augmentation.ray_data import main as main_by_name

    main_by_name()
