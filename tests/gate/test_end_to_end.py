"""`--against` in a clone of this repository: changes that users make, and the verdicts on them."""

import subprocess
import uuid

import pytest
from pytest_benchmark.utils import get_machine_id

from .clones import ROOT, Clone

pytestmark = pytest.mark.serial

# Two variants of each case, of the steadier ones: all of them take three minutes, and ten when many are slower. Of the
# counter's, `locked` and `baseline` were still inconclusive after 60 s on a noisy machine.
MEASURED = {
    "augmentation": ("numpy_vectorised", "exact"),
    "counter": ("sequential", "optimised"),
    "evaluation": ("optimised", "batched"),
    "serving": ("optimised", "memoised"),
}
SLOWED = {
    "augmentation": "numpy_vectorised",
    "counter": "sequential",
    "evaluation": "optimised",
    "serving": "optimised",
}
QUICKENED = "augmentation", "exact"
MINUTES = 6  # that the eight duels share, where some stay open

SLOWER = """
from dataclasses import replace as _replace


def _slower(work):
    import time

    def slowed(*arguments, **more):
        start = time.perf_counter()
        result = work(*arguments, **more)
        end = time.perf_counter()
        while time.perf_counter() < end + {share} * (end - start):
            pass
        return result

    return slowed


def _slowed_build(build):
    def slowed(*arguments, **more):
        built = build(*arguments, **more)
        if hasattr(built, "wsgi_app"):
            built.wsgi_app = _slower(built.wsgi_app)
            return built
        return _slower(built)

    return slowed


_slow = _slowed_build if __name__.endswith(("evaluation", "serving")) else _slower
VARIANTS["{variant}"] = _replace(VARIANTS["{variant}"], build=_slow(VARIANTS["{variant}"].build))
"""


REPLACED = """
from dataclasses import replace

VARIANTS["locked"] = replace(VARIANTS["locked"], build={build})
"""


@pytest.fixture(scope="module")
def cloned(tmp_path_factory):
    if not (ROOT / ".git").exists():
        pytest.skip("not a git repository: there is nothing to clone")
    folder = tmp_path_factory.mktemp("clone") / "suite"
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, folder], check=True)
    return Clone(folder)


@pytest.fixture
def clone(cloned, monkeypatch):
    """The clone, as it was; compiled kernels stay, so that only the first run compiles them."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    head = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    cloned.git("reset", "-q", "--hard", head.stdout.strip())
    cloned.git("clean", "-fdq", "benchmarks/baselines")
    return cloned


def slow(clone, case, variant, share):
    clone.append(f"impl/{case}/__init__.py", SLOWER.format(variant=variant, share=share))


def row(case, variant):
    """A benchmark as the report calls it."""
    return f"{case} test_revision[{variant}]"


UNCHANGED = {row(case, variant): "same" for case, variants in MEASURED.items() for variant in variants}


def judge(clone, revision, expected):
    """Compare, and check the verdicts; return pytest's status, its output, and the rows that came out as expected.

    No row may have a wrong verdict, and one of the eight may be `inconclusive`: how much is detected on a noisy machine
    is what `make calibrate` measures. Where more are open, a second run continues the evidence of the first, which the
    bets allow; a wrong verdict in either run counts.
    """
    evidence = clone.folder.parent / f"evidence-{uuid.uuid4()}.json"
    options = ["--against", revision, f"--gate-minutes={MINUTES}", f"--evidence={evidence}", "-k", selecting(expected)]
    for _ in range(2):
        status, output, verdicts = clone.pytest("benchmarks", *options)
        assert verdicts.keys() == expected.keys(), output
        still_open = {name for name, verdict in verdicts.items() if verdict == "inconclusive"}
        assert {**verdicts, **{name: expected[name] for name in still_open}} == expected, output
        if len(still_open) <= 1:
            break
    assert len(still_open) <= 1, output
    return status, output, expected.keys() - still_open


def selecting(names):
    """Return what selects these rows with -k."""
    words = (name.replace(" ", " and ") for name in names)
    return " or ".join(f"({both})" for both in words)


def test_a_commit_without_effect(clone):
    clone.append("README.md", "\nOne more line.\n")
    clone.append("impl/counter/sequential.py", "\n# a comment\n")
    clone.commit()
    status, output, _ = judge(clone, "HEAD~1", UNCHANGED)
    assert status == 0, output


def test_slower_variants_are_named_and_faster_ones_too_and_the_others_are_the_same(clone):
    slow(clone, *QUICKENED, 0.1)
    clone.commit()
    clone.git("checkout", "HEAD~1", "--", "impl")
    for case, variant in SLOWED.items():
        slow(clone, case, variant, 0.05)
    slower = {row(case, variant): "slower" for case, variant in SLOWED.items()}
    status, output, found = judge(clone, "HEAD", UNCHANGED | slower | {row(*QUICKENED): "faster"})
    assert status == 1, output
    assert len(slower.keys() & found) >= len(slower) - 1
    for name in slower.keys() & found:
        assert f"{name} is slower than at HEAD" in output
    assert "confirmed in 3 of " in output


SUITE = "benchmarks/test_counter.py"
CASE = "impl/counter/__init__.py"


def truncate_saved_run(clone):
    """Cut off the last saved run, where runs of this machine and Python are looked for."""
    runs = clone.folder / "benchmarks/baselines"
    last, here = max(runs.glob("*/*.json")), runs / get_machine_id()
    here.mkdir(exist_ok=True)
    (here / last.name).write_bytes(last.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("change", "options", "status", "reason"),
    [
        pytest.param(
            lambda clone: clone.change(SUITE, "def test_revision(", "def test_revised("),
            ["--against", "HEAD"],
            1,
            "test_revision[locked] is at HEAD",
            id="renamed",
        ),
        pytest.param(
            lambda clone: clone.append(CASE, '\ndel VARIANTS["locked"]\n'),
            ["--against", "HEAD"],
            1,
            "test_revision[locked] is at HEAD",
            id="removed",
        ),
        pytest.param(
            lambda clone: clone.append(CASE, REPLACED.format(build="lambda *_: 1 // 0")),
            ["--against", "HEAD"],
            1,
            "ZeroDivisionError",
            id="raises",
        ),
        pytest.param(
            lambda clone: clone.append(
                CASE, REPLACED.format(build="lambda path, threads, limit: sequential.run(path, threads, limit - 1)")
            ),
            ["--against", "HEAD"],
            1,
            "test_revision[locked] returns something else than at HEAD",
            id="another-result",
        ),
        pytest.param(
            truncate_saved_run,
            ["--benchmark-compare"],
            4,
            "is damaged or no pytest-benchmark file",
            id="truncated",
        ),
    ],
)
def test_red_with_its_reason(clone, change, options, status, reason):
    change(clone)
    found, output, _ = clone.pytest(SUITE, "-k", "locked", *options)
    assert found == status, output
    assert reason in output
