"""A server where little can be written, near its limit of memory, and when a signal ends it."""

import contextlib
import mmap
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from impl.serving import places
from impl.serving.client import Connection
from impl.serving.runtime import memory
from impl.serving.runtime.memory import MemoryGuard, limit_of_the_container
from impl.shared.cache import CACHE_VARIABLE, cache_folder
from tests.waiting import wait_until

from .conftest import npy, pictures

ROOT = Path(__file__).parents[2]
SLOW_START = Path(__file__).with_name("slow_start.py")
NOWHERE = "/proc/nowhere"  # cannot be made, not even by root


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A cache with one file, and no variables that these tests set."""
    (tmp_path / "cache" / "serving").mkdir(parents=True)
    (tmp_path / "cache" / "serving" / "weights").write_bytes(b"kept")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv(places.NUMBA_VARIABLE, "set")
    monkeypatch.delenv(places.NUMBA_VARIABLE)
    return tmp_path / "cache"


@pytest.fixture
def unwritable(monkeypatch):
    """Let some folders not be written: those that a list has."""
    folders, original = [], places.tempfile.TemporaryFile

    def refused(**options):
        if Path(options["dir"]) in folders:
            raise PermissionError(13, "Permission denied")
        return original(**options)

    monkeypatch.setattr(places.tempfile, "TemporaryFile", refused)
    return folders


def test_places_that_can_be_written_are_used(kept):
    places.use_writable_places()
    assert cache_folder() == kept
    assert places.NUMBA_VARIABLE not in os.environ


def test_a_cache_that_cannot_be_written_is_read(kept, unwritable, caplog):
    unwritable.append(kept)
    places.use_writable_places()
    found = cache_folder() / "serving" / "weights"
    assert found != kept / "serving" / "weights"
    assert found.read_bytes() == b"kept"
    found.unlink()
    found.write_bytes(b"anew")
    assert (kept / "serving" / "weights").read_bytes() == b"kept"
    assert f"{kept} cannot be written (Permission denied); set {CACHE_VARIABLE} to a folder that can" in caplog.text


def test_a_tree_that_cannot_be_written(kept, unwritable):
    unwritable.append(Path(places.__file__).parent / "model" / "__pycache__")
    places.use_writable_places()
    assert Path(os.environ[places.NUMBA_VARIABLE]).parent == kept


def no_home():
    raise RuntimeError("could not determine the home directory")


@pytest.mark.parametrize("folder", [no_home, lambda: Path("~/.cache")])
def test_no_home_directory(folder, kept, monkeypatch, caplog):
    """A user without a name and without HOME, with newer and older versions of platformdirs."""
    monkeypatch.setattr(places, "cache_folder", folder)
    places.use_writable_places()
    assert not Path("~").exists()
    assert "there is no home directory" in caplog.text
    assert Path(os.environ[CACHE_VARIABLE]).is_dir()


def test_no_temporary_folder_either(kept, unwritable, monkeypatch):
    unwritable.append(kept)
    monkeypatch.setattr(places.tempfile, "tempdir", NOWHERE)
    with pytest.raises(OSError, match=f"and there is no temporary folder: set {CACHE_VARIABLE} to a folder"):
        places.use_writable_places()


@pytest.fixture
def start(small_cache):
    """Start `python -m impl.serving optimised` or a script in its place; all are killed at the end."""
    processes = []

    def run(*command, **environment):
        names = {"PATH", "LD_LIBRARY_PATH", "LANG", "PYTHONPATH"}
        own = {name: value for name, value in os.environ.items() if name in names}
        process = subprocess.Popen(
            [sys.executable, *command, "--port", "0"],
            env={**own, CACHE_VARIABLE: str(small_cache), "PYTHONPATH": str(ROOT), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def test_a_server_without_a_home_and_with_nothing_that_can_be_kept(start, tmp_path):
    """It has a temporary folder only, answers, and leaves nothing there."""
    process = start(
        *("-m", "impl.serving", "optimised", "--model", "squeezenet1_1", "--precision", "float32"),
        **{CACHE_VARIABLE: NOWHERE, "TMPDIR": str(tmp_path), "HOME": NOWHERE},
    )
    url = re.search(r"http://[\d.]+:\d+", process.stdout.readline())[0]
    connection = Connection(url, 60)
    assert connection.post(npy(pictures()), "application/x-npy").status == 200
    connection.close()
    assert list(tmp_path.glob("serving-*"))
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert f"{NOWHERE} cannot be written" in errors
    assert not list(tmp_path.glob("serving-*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_server_that_loads_ends_at_once(start, number, tmp_path):
    """The model would take a minute more."""
    process = start(
        *(str(SLOW_START), str(tmp_path / "release"), "optimised", "--precision", "float32", "--log-json"),
        **{CACHE_VARIABLE: NOWHERE, "TMPDIR": str(tmp_path)},
    )
    wait_until(lambda: _answers(psutil.Process(process.pid)), 120)
    process.send_signal(number)
    begun = time.monotonic()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert time.monotonic() - begun < 20
    assert "what was still loaded or decoded is given up" in errors
    assert not list(tmp_path.glob("serving-*"))


def _answers(process):
    """Return whether a process listens and answers."""
    for each in process.net_connections():
        if each.status == psutil.CONN_LISTEN:
            with contextlib.closing(Connection(f"http://127.0.0.1:{each.laddr.port}", 60)) as connection:
                return connection.get("/health").status == 200
    return False


def test_a_limit_of_memory(build):
    app = build(memory_mb=1_000_000)
    client, service = app.test_client(), app.extensions["serving"]
    assert client.post("/predict", data=npy(pictures())).status_code == 200
    service.memory.limit = service.memory.used  # of which nine tenths may be used
    answer = client.post("/predict", data=npy(pictures()))
    assert (answer.status_code, answer.json["error"]) == (503, "the server has no memory for more requests at present")
    assert answer.headers["Retry-After"] == "1"
    assert client.get("/ready").status_code == client.get("/v2/health/ready").status_code == 503
    assert client.get("/health").status_code == client.get("/metrics").status_code == 200
    service.memory.limit = 2 * service.memory.used
    assert client.post("/predict", data=npy(pictures())).status_code == 200
    assert client.get("/ready").status_code == 200


def test_a_model_that_takes_more_than_the_limit_ends_the_start(build):
    with pytest.raises(MemoryError, match=r"takes \d+ MiB, and the limit is 50: at least \d+ are needed"):
        build(memory_mb=50)


@pytest.mark.parametrize(
    ("text", "limit"), [("1000000\n", 1_000_000), ("max\n", None), ("9223372036854771712\n", None), ("", None)]
)
def test_the_limit_of_a_container(text, limit, tmp_path):
    path = tmp_path / "memory.max"
    path.write_text(text, encoding="ascii")
    assert limit_of_the_container((str(tmp_path / "none"), str(path))) == limit
    assert limit_of_the_container((str(tmp_path / "none"),)) is None


def test_memory_is_read_anew(monkeypatch):
    monkeypatch.setattr(memory, "FRESH", 0.0)
    guard = MemoryGuard(None)
    before = guard.used
    with contextlib.closing(mmap.mmap(-1, 50_000_000)) as block:  # never from memory that was freed
        block.write(b"x" * len(block))
        assert guard.used > before + 40_000_000
    assert not guard.low
