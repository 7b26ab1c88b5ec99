"""How long a server takes to be ready, by what it finds: `python -m benchmarks.load.starts`.

The best variant is started from a copy of its code: with nothing, so that it makes its weights (empty); with these
alone (cold); with everything that such a start keeps (warm); with all that, where nothing can be written (read-only);
and with each file that a warm start reads cut off, with one bit flipped, and with another file's content (damaged).
Ready means that it has printed its address. Then it has to answer as it did before, and a damaged file has to be there
again as it was.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tabulate import tabulate
from tqdm import tqdm

from benchmarks.gate.measure import machine
from impl.serving import VARIANTS
from impl.serving.client import Connection, as_npy
from impl.serving.model.pictures import draw_pictures
from impl.shared.cache import CACHE_VARIABLE
from impl.variant import best_of

from .servers import running

__all__ = ["DAMAGES", "Start", "Starts", "main"]

ROOT = Path(__file__).parents[2]
WARM_STARTS = 5
# Root may write where no mode allows it, unless it gives that up.
AS_OTHERS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")


@dataclass(frozen=True)
class Start:
    """One start.

    Attributes:
        state: What it found.
        file: Which file was damaged, or "".
        seconds: From the start of the process until it had printed its address.
        precision: What the model computed in.
        answer: Classes and probabilities for some pictures.
        log: What it printed to standard error.
        fault: What was wrong, or "".
    """

    state: str
    file: str
    seconds: float
    precision: str
    answer: list[tuple[int, float]]
    log: str
    fault: str = ""


def cut_off(content: bytes, _other: bytes) -> bytes:
    """Return the first half."""
    return content[: len(content) // 2]


def bit_flipped(content: bytes, _other: bytes) -> bytes:
    """Return the content with one bit flipped in the middle."""
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def anothers(_content: bytes, other: bytes) -> bytes:
    """Return the content of another file."""
    return other


DAMAGES: dict[str, Callable[[bytes, bytes], bytes]] = {
    "cut off": cut_off,
    "one bit flipped": bit_flipped,
    "another's content": anothers,
}


class Starts:
    """Starts servers from a copy of the code, with a cache folder of their own.

    Attributes:
        cache: The folder.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        """Copy the code into `folder`; `arguments` are those of `python -m impl.serving`."""
        self._folder, self._arguments = folder, arguments
        self.cache = folder / "cache"
        shutil.copytree(ROOT / "impl", folder / "tree" / "impl", ignore=shutil.ignore_patterns("__pycache__"))
        self._pictures = draw_pictures(4, 1)[0]

    def start(self, state: str, file: str = "", *, as_others: bool = False) -> Start:
        """Start a server, have it answer, and stop it."""
        environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
        with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
            options: dict[str, Any] = {
                "cwd": self._folder / "tree",
                "env": {**environment, CACHE_VARIABLE: str(self.cache), "PYTHONPATH": ""},
                "stderr": log,
                "prefix": AS_OTHERS if as_others and os.geteuid() == 0 else (),
            }
            begun = time.perf_counter()
            with running("-m", "impl.serving", *self._arguments, "--port", "0", **options) as (url, _):
                seconds = time.perf_counter() - begun
                with closing(Connection(url)) as connection:
                    answer = connection.post(*as_npy(self._pictures))
            log.seek(0)
            said = log.read()
        if answer.status != 200:
            raise RuntimeError(f"{state} {file}: status {answer.status}, {answer.body}")
        found = [(each["index"], each["probability"]) for each in answer.body["predictions"]]
        return Start(state, file, seconds, answer.body["precision"], found, said)

    def kept(self, precision: str) -> list[Path]:
        """Return the files that a start in a precision reads."""
        (folder,) = self.cache.glob(f"serving/*/{precision}")
        return sorted([*folder.iterdir(), *folder.parent.glob(f"{precision}-agreement.json")])

    def damaged(self, damage: str, path: Path, other: Path) -> Start:
        """Start with one file damaged; the file has to be made again as it was, and the log has to say so."""
        content = path.read_bytes()
        path.write_bytes(DAMAGES[damage](content, other.read_bytes()))
        start = self.start(f"damaged: {damage}", path.name)
        fault = "" if "damaged" in start.log else "the log does not say that a file is damaged"
        if path.read_bytes() != content:
            fault = "the file was not made again as it was"
            path.write_bytes(content)
        return replace(start, fault=fault)

    def forget(self) -> None:
        """Remove everything but the weights: what was made from them, and what was compiled."""
        for folder in (*self.cache.glob("serving/*/"), *self._folder.glob("tree/**/__pycache__/")):
            shutil.rmtree(folder)

    @contextmanager
    def unwritable(self) -> Iterator[None]:
        """Make the copy and the cache read-only within the block."""
        paths = [self._folder, *self._folder.rglob("*")]
        modes = [path.stat().st_mode for path in paths]
        for path, mode in zip(paths, modes, strict=True):
            path.chmod(mode & ~0o222)
        try:
            yield
        finally:
            for path, mode in zip(paths, modes, strict=True):
                path.chmod(mode)


def measure(starts: Starts, files: int | None = None) -> Iterator[Start]:
    """Yield every start; of the damaged files, only the first `files`. Each has to answer as the first one."""
    yield starts.start("empty")
    starts.forget()
    yield starts.start("cold")
    for _ in range(WARM_STARTS):
        warm = starts.start("warm")
        yield warm
    with starts.unwritable():
        yield starts.start("read-only", as_others=True)
    kept = starts.kept(warm.precision)
    cases = [(damage, place) for damage in DAMAGES for place in range(len(kept[:files]))]
    for damage, place in tqdm(cases, "damaged", unit="start", disable=None):
        yield starts.damaged(damage, kept[place], kept[place - 1])


def checked(starts: Iterator[Start]) -> Iterator[Start]:
    """Yield the starts, with a fault where one answers otherwise than the first."""
    first = None
    for start in starts:
        first = first or start
        differs = "" if start.answer == first.answer else "it answers otherwise than the first"
        yield replace(start, fault="; ".join(filter(None, (start.fault, differs))))


def seconds_to_import(module: str) -> float:
    """Return the seconds that a new process takes to import a module: the median of five."""
    code = f"import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
    command = sys.executable, "-c", code
    return statistics.median(float(subprocess.check_output(command, text=True)) for _ in range(5))  # noqa: S603 - our own


def table(starts: Sequence[Start], importing: float) -> str:
    """Return one row per state: the median and the slowest of its starts, and of the median what follows torch."""
    rows = []
    for state in dict.fromkeys(start.state for start in starts):
        of_it = [start for start in starts if start.state == state]
        median = statistics.median(start.seconds for start in of_it)
        slowest = max(of_it, key=lambda start: start.seconds)
        faults = sum(bool(start.fault) for start in of_it)
        rows.append((state, len(of_it), median, median - importing, f"{slowest.seconds:.2f} {slowest.file}", faults))
    headers = ("found", "starts", "ready (s)", "after torch (s)", "slowest (s)", "faults")
    return tabulate(rows, headers, tablefmt="github", floatfmt=".2f")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; print a table and write FOLDER/starts.json; return 0 if no start had a fault."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load.starts", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="vit_l_32")
    parser.add_argument("--files", type=int, help="damage only so many files (default: all that a warm start reads)")
    parser.add_argument("--out", type=Path, default=Path(".results"), metavar="FOLDER")
    options = parser.parse_args(arguments)
    importing = seconds_to_import("torch")
    with tempfile.TemporaryDirectory(prefix="starts-") as folder:
        starts = Starts(Path(folder), best_of(VARIANTS), "--model", options.model)
        found = list(checked(measure(starts, options.files)))
    print(f"importing torch takes {importing:.2f} s\n\n{table(found, importing)}")
    for start in found:
        if start.fault:
            print(f"{start.state}, {start.file}: {start.fault}")
    record = {"machine": machine.describe(), "torch": importing, "starts": [asdict(start) for start in found]}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "starts.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return int(any(start.fault for start in found))


if __name__ == "__main__":
    sys.exit(main())
