"""The level to which all libraries can be held."""

import os
import subprocess
import sys

import pytest

from impl.shared import processor
from impl.shared.processor import LEVEL_VARIABLE, features, hold_to_level

HOST = {
    "avx2": True,
    "fma": True,
    "avx512f": True,
    "avx512vnni": True,
    "amx-int8": True,
    "avxvnni": True,
    "sse4a": False,
}
USED = """
import os, sys
{imports}
from impl.evaluation import VARIANTS
import numba, torch
from numba.core.registry import cpu_target
chosen = cpu_target.target_context.codegen().magic_tuple()
assert chosen[1] == "haswell", chosen[1]
assert "+avx512f" not in chosen[2] and "+avx2" in chosen[2]
assert torch.backends.cpu.get_cpu_capability() == "AVX2"
assert VARIANTS["low_precision"].unsupported() is None
from impl.serving.model.precision import available
assert available() == ["int7", "float32"], available()
"""


@pytest.fixture
def host(monkeypatch):
    monkeypatch.setattr(processor, "_of_host", lambda: HOST)
    for name in ("NUMBA_CPU_FEATURES", "NUMBA_CPU_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("host")
def test_without_a_level_nothing_is_changed():
    environment = {}
    hold_to_level(environment)
    assert environment == {}
    assert features() == {name for name, is_there in HOST.items() if is_there}


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(("level", "left"), [("avx2", {"avx2", "fma"}), ("AVX512", {"avx2", "fma", "avx512f"})])
def test_what_a_level_leaves(level, left, monkeypatch):
    environment = {LEVEL_VARIABLE: level}
    monkeypatch.setattr(processor.sys, "modules", {})
    hold_to_level(environment)
    monkeypatch.setenv("NUMBA_CPU_FEATURES", environment["NUMBA_CPU_FEATURES"])
    assert features() == left
    assert environment["ONEDNN_MAX_CPU_ISA"].upper().startswith(level.upper())


@pytest.mark.usefixtures("host")
def test_a_level_that_cannot_be_held(monkeypatch):
    with pytest.raises(ValueError, match="is one of avx2, avx512, not 'avx3'"):
        hold_to_level({LEVEL_VARIABLE: "avx3"})
    monkeypatch.setattr(processor, "_of_host", lambda: {"avx2": True})
    with pytest.raises(ValueError, match="this processor has no avx512f: unset it"):
        hold_to_level({LEVEL_VARIABLE: "avx512"})


@pytest.mark.parametrize("imports", ["", "import torch, numba"], ids=["first", "after torch"])
def test_all_libraries_are_held_to_it(imports):
    if "avx512f" not in features():
        pytest.skip("this processor has no higher level than avx2")
    script = USED.format(imports=imports)
    subprocess.run([sys.executable, "-c", script], env={**os.environ, LEVEL_VARIABLE: "avx2"}, check=True)


def test_torch_that_computes_already_is_an_error():
    if "avx512f" not in features():
        pytest.skip("this processor has no higher level than avx2")
    script = "import torch; torch.ones(9).exp().sum(); torch.backends.cpu.get_cpu_capability(); import impl"
    found = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, LEVEL_VARIABLE: "avx2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode
    assert "comes too late: torch computes with avx512 already" in found.stderr
