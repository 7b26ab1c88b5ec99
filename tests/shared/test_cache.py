"""Where the cache folder is, and how many cores count as usable."""

import os
import sys
from pathlib import Path

import pytest

from impl.shared.cache import CACHE_VARIABLE, cache_folder
from impl.shared.cores import usable_cores


def test_the_environment_variable_takes_precedence(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    assert cache_folder() == tmp_path


@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
def test_the_default_is_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "ml-performance-suite"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == Path(tmp_path, ".cache", "ml-performance-suite")


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this platform has no affinity masks")
def test_usable_cores_respects_the_affinity_mask(monkeypatch):
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {1, 4, 5})
    assert usable_cores() == 3


def test_process_cpu_count_takes_precedence(monkeypatch):
    monkeypatch.setattr(os, "process_cpu_count", lambda: 7, raising=False)
    assert usable_cores() == 7
