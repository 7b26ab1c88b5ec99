"""What every case offers: implementations of one task, each of which says what it can do.

`VARIANTS` in each case is an ordered dict of names to `Variant` objects, the baseline first. A variant is called like
the function it wraps. Everything that others need to know about it is an attribute, so that no code outside a variant's
own module asks for it by name.

This module imports neither torch nor Numba: processes that run a variant of plain Python need neither.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar

__all__ = [
    "SAME_BYTES",
    "SAME_DISTRIBUTION",
    "SAME_PREDICTIONS",
    "Promise",
    "UnsupportedError",
    "Variant",
    "agreement",
    "always_supported",
    "best_of",
]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class UnsupportedError(RuntimeError):
    """This machine cannot run a variant; the message says what is missing."""


@dataclass(frozen=True)
class Promise:
    """How the results of a variant compare with the baseline's.

    Attributes:
        kind: What is the same, as a key for the check that holds a variant to it.
        least: The least share of results that are the same, in (0, 1].

    Raises:
        ValueError: `least` is not in (0, 1].
    """

    kind: str
    least: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.least <= 1:
            raise ValueError(f"{self.kind}: the least share is in (0, 1], not {self.least}")

    def __str__(self) -> str:
        return self.kind if self.least == 1 else f"{self.kind} of at least {self.least:.1%}"


SAME_BYTES = Promise("same bytes")
SAME_DISTRIBUTION = Promise("same distribution")
SAME_PREDICTIONS = Promise("same predictions")


def agreement(least: float) -> Promise:
    """Return the promise that at least this share of the predictions is the baseline's."""
    return Promise("agreement", least)


def always_supported() -> None:
    """Return no reason: every machine can run the variant."""


@dataclass(frozen=True)
class Variant(Generic[Arguments, Result]):
    """One implementation of a case, callable as `variant(...)`.

    Attributes:
        build: The implementation. What it takes and returns is the case's contract.
        promise: How its results compare with the baseline's.
        device: Where it runs: "cpu", "cuda".
        unsupported: Returns why this machine cannot run the variant, or None. Cheap, and imports nothing heavy before
            it has to.
        best: Whether this is the case's best version, the one that peers and hardware limits are compared with.
        loader: Builds (dataset, loader) over the variant's rows without storing them, where it can.
        accepts: The media types of requests that it answers.
        caches: Whether it can answer repeated requests from a cache of answers, which is then measured apart.
    """

    build: Callable[Arguments, Result]
    promise: Promise
    device: str = "cpu"
    unsupported: Callable[[], str | None] = always_supported
    best: bool = False
    loader: Callable[..., Any] | None = None
    accepts: tuple[str, ...] = ()
    caches: bool = False

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """Call the implementation.

        Raises:
            UnsupportedError: This machine cannot run it.
        """
        self.require()
        return self.build(*args, **kwargs)

    def require(self) -> None:
        """Check that this machine can run the variant: for those who use another attribute than the call.

        Raises:
            UnsupportedError: It cannot; the message is the reason.
        """
        if reason := self.unsupported():
            raise UnsupportedError(reason)


def best_of(variants: Mapping[str, Variant[..., Any]]) -> str:
    """Return the name of the best version that this machine can run: of several, the last.

    Raises:
        LookupError: No variant is marked as the best, or this machine can run none of those.
    """
    best = [name for name, variant in variants.items() if variant.best and variant.unsupported() is None]
    if best:
        return best[-1]
    raise LookupError(f"none of {', '.join(variants)} is marked as the best and can run here")
