"""What a measurement depends on: processor, cores, instruction sets, GPUs, Python and the libraries that do the work.

The processor is read from /proc/cpuinfo and not by py-cpuinfo, which pytest-benchmark uses when it saves a run: that
one starts a process and takes 0.86 s (AMD EPYC (Zen 3), 2026-11-25), and every start of pytest would pay it, fresh
processes that confirm a verdict included, for the same model and flags.
"""

import os
import platform
import re
import shutil
import subprocess
import tomllib
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

# The sets for which NumPy, torch or Numba choose other code. Other flags depend on the kernel's version.
INSTRUCTION_SETS = (
    "avx2",
    "avx512f",
    "avx512_bf16",
    "avx512_vnni",
    "amx_bf16",
    "amx_int8",
    "asimd",  # neon, as Linux calls it on 64-bit ARM
    "asimddp",
    "bf16",
    "i8mm",
    "sve",
)
LIBRARIES = ("numba", "numpy", "torch")
# The machines of two runs are alike if these are equal.
ALIKE = ("processor", "cores", "instruction_sets", "gpus", "python", "torch")
GPUS = "nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"


def describe() -> dict[str, Any]:
    """Return the description, in JSON types, without importing the libraries."""
    model, flags = processor()
    # What NUMBA_CPU_FEATURES rules out, in LLVM's names: avx512vnni, amx-int8.
    left_out = {name[1:] for name in os.environ.get("NUMBA_CPU_FEATURES", "").split(",") if name.startswith("-")}
    return {
        "processor": model,
        "cores": cores(),
        "instruction_sets": [
            name for name in INSTRUCTION_SETS if name in flags and left_out.isdisjoint(_llvm_names(name))
        ],
        "gpus": gpus(),
        "system": platform.system(),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "python_full": f"{platform.python_implementation()} {platform.python_version()}",
        **{name: version(name) for name in LIBRARIES},
    }


def _llvm_names(flag: str) -> tuple[str, str]:
    return flag.replace("_", ""), flag.replace("_", "-")


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, frozenset[str]]:
    """Return the processor's model and its flags; without /proc the model that `platform` knows, and no flags."""
    try:
        text = cpuinfo.read_text()
    except OSError:
        return platform.processor() or platform.machine(), frozenset()
    pairs = (line.partition(":") for line in text.splitlines())
    values = {key.strip(): value.strip() for key, _, value in pairs}
    model = values.get("model name") or f"{platform.machine()} {values.get('CPU part', '')}".strip()
    return model, frozenset(values.get("flags", values.get("Features", "")).split())


def cores() -> int:
    """Return the number of cores that this process may use, in a container often fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus() -> list[str]:
    """Return NVIDIA's GPUs with their driver, as its tool lists them: CUDA itself could not be used after a fork."""
    if shutil.which(GPUS[0]) is None:
        return []
    try:
        listed = subprocess.run(GPUS, check=True, capture_output=True, text=True, timeout=20)  # noqa: S603 - fixed words
    except (OSError, subprocess.SubprocessError):  # as good as none
        return []
    return [", driver".join(line.rsplit(",", 1)) for line in listed.stdout.splitlines()]


def version(library: str) -> str | None:
    """Return the installed version of a library, or None."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def versions(root: Path) -> dict[str, str]:
    """Return the installed versions of Python and of what the project in `root` declares, extras included.

    Without a pyproject.toml that says so, those of what the measurement itself needs.
    """
    names: list[str] = []
    with suppress(OSError, ValueError, AttributeError, TypeError):  # another tool complains about a damaged file
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
        extras = project.get("optional-dependencies", {}).values()
        lines = [line for lines in (project.get("dependencies", []), *extras) for line in lines]
        names = [found[0].lower() for line in lines if (found := re.match(r"[\w.-]*\w", line))]
    known = {name: version(name) for name in sorted({*names, "numpy", "pytest", "pytest-benchmark", "scipy"})}
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return {"python": python, **{name: found for name, found in known.items() if found}}


def differences(here: dict[str, Any], there: dict[str, Any] | None) -> list[str]:
    """Return the differences that make times incomparable, one phrase each; empty if the machines are alike."""
    if not there:
        return ["that run has no description of its machine"]
    words = likeness(here), likeness(there)
    return [
        f"{key.replace('_', ' ')} {words[1][key]} there, {words[0][key]} here"
        for key in ALIKE
        if words[0][key] != words[1][key]
    ]


def likeness(description: dict[str, Any]) -> dict[str, str]:
    """Return the entries that two machines must have in common, in words. Runs from before 2026-11-28 name no GPU."""
    return {key: in_short(description.get(key, [] if key == "gpus" else None)) for key in ALIKE}


def summary(description: dict[str, Any]) -> str:
    """Return the description in one line."""
    libraries = ", ".join(f"{name} {description[name]}" for name in LIBRARIES if description.get(name))
    return (
        f"{description['processor']}, {description['cores']} cores, {in_short(description['instruction_sets'])}, "
        f"{''.join(f'{gpu}, ' for gpu in description.get('gpus', []))}"
        f"{description['python_full']}, {libraries}"
    )


def in_short(value: Any) -> str:
    """Return one entry of a description as a word or a few."""
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return "unknown" if value is None else str(value)
