"""Regressions that look real, each in a clone: which of them `--against HEAD` names. `make corpus` takes a while.

Each entry is one edit of one file, as a pull request would have it, and the rows that are compared. An entry that the
gate cannot see yet says why, and is reported as missed. The exit status is 0 if every other entry was named and none of
the unchanged ones was.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tabulate import tabulate

from .clones import ROOT, Clone

AUGMENTATION = "augmentation and optimised and revision"
COUNTER = "counter and optimised and revision"
EVALUATION = "evaluation and optimised and revision"
SERVING = "serving and revision and (optimised or kserve or image)"
MINUTES = 3
NAMED = "slower", "more"  # by time, by memory


@dataclass(frozen=True)
class Edit:
    """One entry.

    Attributes:
        name: what happened.
        file: that is changed.
        old, new: the text before and after.
        select: the rows, for -k.
        harmless: whether nothing is slower.
        unseen: why the gate cannot see it; empty if it must.
    """

    name: str
    file: str
    old: str
    new: str
    select: str
    harmless: bool = False
    unseen: str = ""


EDITS = [
    Edit(
        "an extra copy of the result",
        "impl/augmentation/optimised.py",
        "Dataset(*rows.compute(0, config.dataset_size, usable_cores()))",
        "Dataset(*(part.copy() for part in rows.compute(0, config.dataset_size, usable_cores())))",
        AUGMENTATION,
    ),
    Edit(
        "one thread fewer",
        "impl/augmentation/optimised.py",
        "config.dataset_size, usable_cores()))",
        "config.dataset_size, max(1, usable_cores() - 1)))",
        AUGMENTATION,
    ),
    Edit(
        "1 % of the rows by Python",
        "impl/augmentation/rows.py",
        "        return rows.view(np.uint8)[:, : self.width], labels\n",
        "        for row in rows[::100]:\n            row[:] = np.array(row.tolist(), np.uint64)\n"
        "        return rows.view(np.uint8)[:, : self.width], labels\n",
        AUGMENTATION,
    ),
    Edit(
        "slower only at the largest size",
        "impl/augmentation/rows.py",
        "        return rows.view(np.uint8)[:, : self.width], labels\n",
        "        if count >= 1_000_000:\n            rows = rows.copy()\n"
        "        return rows.view(np.uint8)[:, : self.width], labels\n",
        AUGMENTATION,
    ),
    Edit(
        "the loader makes each batch twice",
        "impl/augmentation/parts.py",
        "            return *dataset.batch(*pieces[0]), batch_size\n",
        "            dataset.batch(*pieces[0])\n            return *dataset.batch(*pieces[0]), batch_size\n",
        "augmentation and epoch and revision",
    ),
    Edit(
        "a lock around the whole",
        "impl/evaluation/sharing.py",
        "    with ThreadPoolExecutor(threads) as pool:\n        for _ in pool.map(work, parts):\n",
        "    import threading\n\n    lock = threading.Lock()\n\n"
        "    def alone(part: slice) -> None:\n        with lock:\n            work(part)\n\n"
        "    with ThreadPoolExecutor(threads) as pool:\n        for _ in pool.map(alone, parts):\n",
        EVALUATION,
    ),
    Edit(
        "a shared module without fused instructions",
        "impl/shared/vectors.py",
        'return self.call(f"llvm.fmuladd.v{self.lanes}f32", self.floats, left, right, total)',
        "return self.builder.fadd(self.builder.fmul(left, right), total)",
        EVALUATION,
    ),
    Edit(
        "a model prepared at each call",
        "impl/evaluation/optimised.py",
        "        pixels = images.view(len(images), -1).numpy()\n",
        "        plan = tuple(float_plan(fold(model)))\n        pixels = images.view(len(images), -1).numpy()\n",
        EVALUATION,
    ),
    Edit(
        "a slower first call",
        "impl/evaluation/optimised.py",
        "    def evaluate(images: Images, labels: Labels) -> Evaluation:\n",
        "    import time\n\n    waits = [0.5]\n\n    def evaluate(images: Images, labels: Labels) -> Evaluation:\n"
        "        time.sleep(waits.pop() if waits else 0)\n",
        EVALUATION,
        unseen="no row is about the first call",
    ),
    Edit(
        "float64 in one layer",
        "impl/evaluation/batched.py",
        "            predictions = torch.cat([model(batch.to(device)).argmax(dim=1).cpu() for batch, _ in loader])\n",
        "            double = [parameter.double() for parameter in model[0].parameters()]\n"
        "            first = torch.nn.functional.conv2d\n"
        "            outputs = [model[1:](first(batch.double(), *double).float()) for batch, _ in loader]\n"
        "            predictions = torch.cat([output.argmax(dim=1) for output in outputs])\n",
        "evaluation and batched and revision",
    ),
    Edit(
        "garbage in cycles",
        "impl/evaluation/batched.py",
        "        with evaluating(model), torch.no_grad():\n",
        "        for _ in range(20_000):\n            cycle: list[object] = []\n            cycle.append(cycle)\n"
        "        with evaluating(model), torch.no_grad():\n",
        "evaluation and batched and revision",
    ),
    Edit(
        "one call in ten twice as slow",
        "impl/counter/optimised.py",
        "    path = prepare(log_path, threads, limit, start_delay)\n",
        "    CALLS.append(len(CALLS))\n    end = time.perf_counter() + 150e-9 * limit * (len(CALLS) % 10 == 9)\n"
        "    while time.perf_counter() < end:\n        pass\n"
        "    path = prepare(log_path, threads, limit, start_delay)\n",
        COUNTER,
    ),
    Edit(
        "renamed internals",
        "impl/counter/optimised.py",
        "def read_clock(times: int) -> NDArray[np.float64]:\n",
        "CLOCK_READINGS = np.float64\n\n\ndef read_clock(times: int) -> NDArray[np.float64]:\n",
        COUNTER,
        harmless=True,
    ),
    Edit(
        "a leak of 1 MiB per call",
        "impl/counter/optimised.py",
        "    path = prepare(log_path, threads, limit, start_delay)\n",
        "    CALLS.append(bytearray(1 << 20))\n    path = prepare(log_path, threads, limit, start_delay)\n",
        COUNTER,
    ),
    Edit(
        "a sleep of 1 ms in the HTTP handler",
        "impl/serving/http/app.py",
        "        deadline = deadline_of(service)\n",
        "        time.sleep(0.001)\n        deadline = deadline_of(service)\n",
        SERVING,
    ),
]
CALLS = "\nCALLS: list[object] = []\n"


def measure(edit, folder):
    """Apply an edit in a new clone, compare it with HEAD, and return what the gate said."""
    clone = Clone(folder)
    clone.git("checkout", "-q", ".")
    clone.change(edit.file, edit.old, edit.new)
    if "CALLS" in edit.new:
        clone.append(edit.file, CALLS)
    start = time.monotonic()
    status, output, rows = clone.gate("benchmarks", "--against", "HEAD", f"--gate-minutes={MINUTES}", "-k", edit.select)
    seconds = time.monotonic() - start
    slower = [row for row in rows if row["verdict"] in NAMED]
    return {
        **asdict(edit),
        "status": status,
        "seconds": seconds,
        "named": bool(slower),
        "right": status == 0 if edit.harmless else bool(slower and status == 1),
        "rows": [{key: row.get(key) for key in ("name", "verdict", "clock", "note")} for row in rows],
        "output": "" if rows else output[-2000:],
    }


def table(found):
    """Return the outcomes as a table in Markdown."""
    lines = []
    for one in found:
        named = [f"{row['name']} ({row['clock']})" for row in one["rows"] if row["verdict"] in NAMED]
        others = [f"{row['name']} {row['verdict']}" for row in one["rows"] if row["verdict"] not in NAMED]
        verdict = "as it should be" if one["right"] else f"not named: {one['unseen']}" if one["unseen"] else "WRONG"
        lines.append([one["name"], "; ".join(named) or "; ".join(others) or "no row", f"{one['seconds']:.0f}", verdict])
    return tabulate(lines, ["change", "named by", "seconds", ""], tablefmt="github")


def main():
    """Measure the entries and print the table; return the exit status."""
    parser = argparse.ArgumentParser(prog="make corpus ARGS=", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", metavar="WORDS", help="entries whose names contain these words")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found")
    options = parser.parse_args()
    chosen = [edit for edit in EDITS if options.only in edit.name]
    if not chosen:
        parser.error(f"no entry has {options.only!r} in its name: {', '.join(edit.name for edit in EDITS)}")
    found = []
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "suite"
        Clone(ROOT).git("clone", "-q", "--no-hardlinks", str(ROOT), str(folder))
        for edit in chosen:
            found.append(measure(edit, folder))
            print(table(found[-1:]).splitlines()[-1], flush=True)
            if options.json:
                options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(f"\n{table(found)}")
    return 0 if all(one["right"] or one["unseen"] for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
