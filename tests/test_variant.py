"""`Variant`: its promises, the reason if it cannot run on this machine, and the choice of the best variant."""

import pickle
from dataclasses import FrozenInstanceError, replace
from functools import partial
from pathlib import Path

import pytest

from impl import augmentation, counter, evaluation
from impl.variant import SAME_BYTES, Promise, UnsupportedError, Variant, agreement, best_of

NO_GPU = "there is no GPU that CUDA can use"


def no_gpu():
    return NO_GPU


DOUBLE = Variant(partial(pow, exp=2), SAME_BYTES)
ON_GPU = replace(DOUBLE, device="cuda", unsupported=no_gpu)


def test_a_variant_is_called_like_its_function():
    assert DOUBLE(3) == 9
    assert Variant(pow, SAME_BYTES)(2, exp=3) == 8


def test_an_unsupported_variant_raises_its_reason():
    for use in (partial(ON_GPU, 3), ON_GPU.require):
        with pytest.raises(UnsupportedError, match=NO_GPU):
            use()
    DOUBLE.require()


def test_a_variant_is_frozen_and_can_be_pickled():
    with pytest.raises(FrozenInstanceError):
        DOUBLE.best = True
    copied = pickle.loads(pickle.dumps(ON_GPU))  # noqa: S301 - pickled on the same line
    assert copied.unsupported() == NO_GPU


def test_the_best_variant_is_the_last_one_marked_and_supported():
    best = replace(DOUBLE, best=True)
    variants = {"plain": DOUBLE, "fast": best, "faster": best, "on_gpu": replace(ON_GPU, best=True)}
    assert best_of(variants) == "faster"
    variants.pop("faster")
    assert best_of(variants) == "fast"
    variants.pop("fast")
    with pytest.raises(LookupError, match="none of plain, on_gpu is marked as the best and can run here"):
        best_of(variants)


@pytest.mark.parametrize("least", [0, -0.1, 1.001, float("nan")])
def test_an_invalid_share(least):
    with pytest.raises(ValueError, match=r"agreement: the least share is in \(0, 1\]"):
        agreement(least)


def test_promises_as_text():
    assert str(SAME_BYTES) == "same bytes"
    assert str(agreement(0.999)) == "agreement of at least 99.9%"
    assert Promise("same bytes") == SAME_BYTES != agreement(0.5)


@pytest.mark.parametrize("case", [augmentation, evaluation, counter], ids=lambda case: case.__name__)
def test_every_case_has_a_baseline_and_one_best_variant(case):
    assert next(iter(case.VARIANTS)) == "baseline"
    assert sum(variant.best for variant in case.VARIANTS.values()) == 1
    for variant in case.VARIANTS.values():
        reason = variant.unsupported()
        assert reason is None or reason.strip()


def test_an_unsupported_variant_skips_its_test_with_the_reason(pytester, request, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))
    conftest = Path(request.config.rootpath, "conftest.py").read_text(encoding="utf-8")
    pytester.makeconftest(conftest.replace('"benchmarks.gate.plugin", "pytester"', ""))
    pytester.makepyfile(
        """
        import pytest
        from impl.variant import SAME_BYTES, UnsupportedError, Variant

        variant = Variant(abs, SAME_BYTES, unsupported=lambda: "there is no GPU that CUDA can use")

        def test_used(): variant(3)
        def test_expected():
            with pytest.raises(UnsupportedError): variant(3)
        def test_other_error(): raise RuntimeError("other")
        """
    )
    result = pytester.runpytest_subprocess("-rs", "-p", "no:cacheprovider")
    result.assert_outcomes(skipped=1, passed=1, failed=1)
    result.stdout.fnmatch_lines(["*RuntimeError: other*", "SKIPPED*there is no GPU that CUDA can use"])
