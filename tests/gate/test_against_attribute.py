"""The second argument of `against`: a variant, or a plain attribute of the package."""

import json
import subprocess

import pytest

INI = """
[pytest]
addopts = -p pytest_benchmark.plugin -p benchmarks.gate.plugin --benchmark-storage=file://saved
filterwarnings = error
pythonpath = .
testpaths = suite
"""

CASE = """
import time

def variant():
    time.sleep(0.003)
    return __name__, "variant"

def load_data():
    time.sleep(0.003)
    return __name__, "attribute"

VARIANTS = {"variant": variant}
"""

SUITE = """
def revisions(expected, found):
    assert expected[0].startswith("toylib_at_") and found[0].startswith("toylib."), (expected, found)
    assert expected[1] == found[1], f"{found[1]} and not {expected[1]}"

def test_revision(against):
    against("toylib.case", NAME, lambda work: work, check=revisions)
"""


@pytest.fixture
def compare(pytester, monkeypatch, request, quick_self_checks):
    """Return a function that compares one name of a package, here and at a commit: `(result, verdict)`."""
    monkeypatch.setattr("pytest_benchmark.plugin.get_cpu_info", dict)  # it takes a second
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    pytester.makeini(INI)
    pytester.mkpydir("toylib")
    for folder in ("toylib/case", "suite"):
        (pytester.path / folder).mkdir()

    def git(*arguments):
        author = "-c", "user.name=a", "-c", "user.email=a@example.org"
        subprocess.run(["git", *author, *arguments], cwd=pytester.path, check=True)

    def run(name, here=CASE, there=CASE, module="toylib/case/__init__.py", package="toylib.case"):
        suite = SUITE.replace("NAME", repr(name)).replace("toylib.case", package)
        (pytester.path / "suite/test_toy.py").write_text(suite)
        (pytester.path / module).write_text(there)
        git("init", "-q")
        git("add", "-A")
        git("commit", "-qm", "first")
        (pytester.path / module).write_text(here)
        options = "--against=HEAD", "--budget=10", "--blind=1000", "--gate-json=gate.json"  # whatever the noise
        result = pytester.runpytest_inprocess(*options)
        rows = json.loads((pytester.path / "gate.json").read_text())["revision"]["benchmarks"]
        return result, [row["verdict"] for row in rows]

    return run


def test_an_attribute_of_each_side(compare):
    result, (verdict,) = compare("load_data")
    assert verdict in {"same", "inconclusive"}, result.stdout.str()
    result.assert_outcomes(passed=4)


def test_an_attribute_that_returns_something_else(compare):
    result, verdicts = compare("load_data", here=CASE.replace('"attribute"', '"other"'))
    assert verdicts == []
    result.stdout.fnmatch_lines(["E *test_revision returns something else than at HEAD (*): other and not attribute*"])


def test_an_attribute_of_a_module_without_variants(compare):
    case = CASE.replace("VARIANTS", "OTHERS")
    result, (verdict,) = compare("load_data", case, case, module="toylib/plain.py", package="toylib.plain")
    assert verdict in {"same", "inconclusive"}, result.stdout.str()


def test_a_variant_comes_before_an_attribute_of_its_name(compare):
    case = CASE.replace('{"variant": variant}', '{"load_data": variant}')
    result, verdicts = compare("load_data", here=case)
    assert verdicts == []
    result.stdout.fnmatch_lines(["E *returns something else than at HEAD (*): variant and not attribute*"])


def test_what_the_revision_lacks_is_new(compare):
    result, verdicts = compare("load_data", there=CASE.replace("load_data", "load"))
    assert verdicts == ["new"]
    result.assert_outcomes(passed=4)


def test_what_is_missing_here_fails_and_is_named(compare):
    result, verdicts = compare("load_data", here=CASE.replace("load_data", "load"))
    assert verdicts == []
    result.stdout.fnmatch_lines(
        ["E *toylib.case has neither a variant nor an attribute 'load_data': removed or renamed?*"]
    )


@pytest.mark.parametrize(("here", "there"), [(False, True), (True, False)])
def test_the_module_of_a_variant_is_no_attribute(compare, pytester, here, there):
    (pytester.path / "toylib/case/faster.py").write_text(CASE)
    case = "from . import faster\n" + CASE
    with_variant = case.replace('{"variant": variant}', '{"faster": faster.variant}')
    result, verdicts = compare("faster", *(with_variant if side else case for side in (here, there)))
    assert verdicts == (["new"] if here else [])
    if not here:
        result.stdout.fnmatch_lines(["E *toylib.case has neither a variant nor an attribute 'faster'*"])
