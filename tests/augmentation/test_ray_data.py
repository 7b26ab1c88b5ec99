"""Parquet by Ray Data: the rows of `optimised`, each once, whatever is killed in between."""

import contextlib
import json
import re
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
import pytest

from impl.augmentation.ray_data import DEFAULT_TEXT, SETTINGS, Run, RunError, _claim, add_rows, pieces_of
from impl.augmentation.rows import Rows

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "impl.augmentation.ray_data"]
ROWS = 20_003
FEWER, FILE = 4_003, 50  # where something is killed: many small files, which take seconds
LIMIT = 240  # seconds


needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: the extra `ray`")
if find_spec("ray"):
    import pyarrow as pa
    from filelock import FileLock
    from pyarrow import dataset, parquet


def start(out, rows=ROWS, per_file=1_000, workers=1, **options):
    arguments = {"rows": rows, "out": out, "rows-per-file": per_file, "workers": workers, **options}
    command = [*COMMAND, *(part for name, value in arguments.items() for part in (f"--{name}", str(value)))]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def finish(process):
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, output
    return output


def files(out):
    return sorted(out.glob("*.parquet"))


def wait_for_files(process, out, count):
    end = time.monotonic() + LIMIT
    while len(files(out)) < count:
        assert process.poll() is None, f"ended with {len(files(out))} files: {process.stdout.read()}"
        assert time.monotonic() < end, "no files"
        time.sleep(0.005)


def assert_each_row_once(out, rows=ROWS, text=DEFAULT_TEXT, width=64, seed=7):
    table = dataset.dataset(out).to_table().sort_by("id")
    assert table["id"].to_numpy().tolist() == list(range(rows))
    tokens, labels = Rows(text, 10, width, seed).compute(0, rows)
    assert b"".join(table["tokens"].to_pylist()) == tokens.tobytes()
    assert np.array_equal(table["label"].to_numpy(), labels)


@needs_ray
@pytest.mark.serial
@pytest.mark.parametrize(
    ("workers", "per_file", "options"),
    [(1, 1_000, {}), (2, 7_001, {"text": "two words", "max-letter-count": 13, "seed": 2**63})],
)
def test_rows_of_one_worker_and_of_two(workers, per_file, options, tmp_path):
    finish(start(tmp_path / "rows", workers=workers, per_file=per_file, **options))
    changes = {"text": options.get("text", DEFAULT_TEXT), "width": options.get("max-letter-count", 64)}
    assert_each_row_once(tmp_path / "rows", **changes, seed=options.get("seed", 7))
    assert max(parquet.read_metadata(path).num_rows for path in files(tmp_path / "rows")) <= per_file


@needs_ray
@pytest.mark.serial
def test_a_worker_is_killed(tmp_path):
    out = tmp_path / "rows"
    process = start(out, FEWER, FILE, workers=2)
    wait_for_files(process, out, 10)
    killed = []
    while not killed:
        for child in psutil.Process(process.pid).children(recursive=True):
            if "add_rows" in "".join(child.cmdline()):
                child.kill()
                killed.append(child)
                break
    finish(process)
    assert_each_row_once(out, FEWER)


@needs_ray
@pytest.mark.serial
def test_a_run_is_killed_and_continued(tmp_path):
    """Twice, then it ends; and once more, when nothing is left to do but to notice that a file was removed."""
    out = tmp_path / "rows"
    for times in range(1, 3):
        process = start(out, FEWER, FILE)
        wait_for_files(process, out, len(files(out)) + 10 * times)
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        process.kill()
        process.communicate()
        for child in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                if "Agent" in child.name():
                    child.kill()  # Ray's reporters outlive it by a minute or so, and write no rows
        _, alive = psutil.wait_procs(family, 30)
        assert not alive, "whatever writes ends with the run"
    before = {path: path.stat().st_mtime_ns for path in files(out)}
    finish(start(out, FEWER, FILE))
    assert_each_row_once(out, FEWER)
    kept = {path for path in files(out) if before.get(path) == path.stat().st_mtime_ns}
    assert len(kept) >= len(before) - 4, "a run writes nothing again but what it was writing when it was killed"
    removed, *others = files(out)
    removed.unlink()
    complete = {path: path.stat().st_mtime_ns for path in others}
    process = start(out, FEWER, FILE)
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    assert re.search(
        r"rows has 3,9\d\d of 4,003 rows, although all were written: if files were removed, remove ", output
    )
    assert {path: path.stat().st_mtime_ns for path in files(out)} == complete


@needs_ray
@pytest.mark.serial
def test_two_runs_at_a_time(tmp_path):
    out = tmp_path / "rows"
    out.mkdir()
    with FileLock(out / "_run.lock"):
        process = start(out)
        output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    assert f"another process is writing to {out}: wait until it ends" in output


RUN = Run(DEFAULT_TEXT, 100, 7, 10, 64)


def test_another_runs_folder(tmp_path):
    _claim(RUN, tmp_path)
    _claim(RUN, tmp_path)
    with pytest.raises(RunError, match="another run's rows: rows 100 there and 200 here, seed 7 there and 8 here"):
        _claim(Run(DEFAULT_TEXT, 200, 8, 10, 64), tmp_path)
    (tmp_path / SETTINGS).write_text("{")
    with pytest.raises(RunError, match=r"_run\.json cannot be read"):
        _claim(RUN, tmp_path)
    (tmp_path / SETTINGS).unlink()
    (tmp_path / "part.parquet").touch()
    with pytest.raises(RunError, match=r"has Parquet files and no _run\.json"):
        _claim(RUN, tmp_path)


def test_what_a_run_is_kept_by(tmp_path):
    _claim(RUN, tmp_path)
    assert json.loads((tmp_path / SETTINGS).read_text()) == vars(RUN)


@needs_ray
@pytest.mark.parametrize(
    ("ids", "pieces"),
    [
        ([], []),
        ([0], [(0, 1)]),
        ([0, 1, 2], [(0, 3)]),
        ([5, 6, 9, 10, 11, 3], [(5, 2), (9, 3), (3, 1)]),
    ],
)
def test_consecutive_ids_are_computed_together(ids, pieces):
    assert pieces_of(np.array(ids, np.int64)) == pieces
    table = add_rows(pa.table({"id": pa.array(ids, pa.int64())}), RUN)
    tokens, labels = Rows(DEFAULT_TEXT, 10, 64, 7).compute(0, 12)
    assert table["tokens"].to_pylist() == [row.tobytes() for row in tokens[ids]]
    assert table["label"].to_pylist() == labels[ids].tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "-1"], "dataset_size must be an int of at least 0, not -1"),
        (["--rows", "1", "--seed", "-1"], "seed must be in 0 .. 2**64 - 1, not -1"),
        (["--rows", "1", "--max-letter-count", "1"], "max_letter_count must be an int of at least 2, not 1"),
        (["--rows", "1", "--workers", "0"], "--workers must be at least 1, not 0"),
        (["--rows", "1", "--text", "a" * 70_000], "text has 70,000 characters"),
    ],
)
def test_bad_arguments(arguments, message, tmp_path):
    done = subprocess.run(
        [*COMMAND, "--out", tmp_path / "rows", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "rows").exists()


def test_without_ray(tmp_path):
    """The message names the extra, and nothing is written."""
    script = (
        "import sys; sys.modules['ray'] = None\n"
        "from impl.augmentation.ray_data import main\n"
        f"main(['--rows', '10', '--out', {str(tmp_path / 'rows')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'ml-performance-suite[ray]'" in done.stderr
    assert not (tmp_path / "rows").exists()
