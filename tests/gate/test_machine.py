"""Like machines and unlike ones."""

import pytest

from benchmarks.gate.measure import machine

X86 = "processor\t: 0\nmodel name\t: Some Processor 9000\nflags\t\t: fpu avx2 avx512f amx_int8\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp sve\nCPU part\t: 0xd40\n"


def test_this_machine_is_like_itself_and_described_in_a_line():
    here = machine.describe()
    assert machine.differences(here, machine.describe()) == []
    assert here["cores"] >= 1
    assert here["processor"]
    assert here["processor"] in machine.summary(here)
    assert "\n" not in machine.summary(here)


def test_each_thing_that_matters_makes_a_difference():
    here = machine.describe()
    for key, other in {
        "processor": "Z80",
        "cores": 96,
        "instruction_sets": ["sve"],
        "gpus": ["NVIDIA sve, driver 1"],
        "python": "2.7",
        "torch": "0.1",
    }.items():
        (difference,) = machine.differences(here, {**here, key: other})
        assert difference.startswith(key.replace("_", " "))
        assert ("sve" if isinstance(other, list) else str(other)) in difference


def test_what_does_not_matter_makes_none():
    here = machine.describe()
    assert machine.differences(here, {**here, "numpy": "1.0", "python_full": "CPython 3.11.0"}) == []


def test_instruction_sets_that_are_ruled_out_for_numba_are_left_out(monkeypatch):
    flags = frozenset({"avx2", "avx512f", "avx512_vnni", "amx_int8"})
    monkeypatch.setattr(machine, "processor", lambda: ("P", flags))
    monkeypatch.delenv("NUMBA_CPU_FEATURES", raising=False)
    assert machine.describe()["instruction_sets"] == ["avx2", "avx512f", "avx512_vnni", "amx_int8"]
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+avx2,+avx512f,-avx512vnni,-amx-int8")
    assert machine.describe()["instruction_sets"] == ["avx2", "avx512f"]


def test_a_run_from_before_gpus_were_described_has_none(monkeypatch):
    monkeypatch.setattr(machine, "gpus", list)
    old = {key: value for key, value in machine.describe().items() if key != "gpus"}
    assert machine.differences(machine.describe(), old) == []
    monkeypatch.setattr(machine, "gpus", lambda: ["NVIDIA H100, driver 580.1"])
    assert machine.differences(machine.describe(), old) == ["gpus none there, NVIDIA H100, driver 580.1 here"]
    assert "NVIDIA H100, driver 580.1, CPython" in machine.summary(machine.describe())


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("echo 'NVIDIA H100, 580.65.06'; echo 'NVIDIA L4, 580.65.06'", ["H100", "L4"]),
        ("echo 'NVIDIA-SMI has failed because it could not communicate with the driver.'; exit 9", []),
    ],
    ids=["two", "no driver"],
)
def test_gpus_are_listed_with_their_driver(script, found, tmp_path, monkeypatch):
    tool = tmp_path / machine.GPUS[0]
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.gpus() == [f"NVIDIA {name}, driver 580.65.06" for name in found]
    tool.unlink()
    assert machine.gpus() == []


def test_a_run_without_a_description_is_unlike():
    assert machine.differences(machine.describe(), None)
    assert machine.differences(machine.describe(), {})


def test_processors_are_read_from_proc(tmp_path):
    for text, model, flag in ((X86, "Some Processor 9000", "amx_int8"), (ARM, "0xd40", "sve")):
        (tmp_path / "cpuinfo").write_text(text)
        found, flags = machine.processor(tmp_path / "cpuinfo")
        assert model in found
        assert flag in flags


def test_without_proc_there_is_still_a_name(tmp_path):
    model, flags = machine.processor(tmp_path / "missing")
    assert model
    assert not flags


def test_a_library_that_is_not_installed_has_no_version():
    assert machine.version("no-such-library-is-installed-here") is None
    assert machine.version("numpy")
