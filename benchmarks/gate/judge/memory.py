"""The verdicts about peak memory: ceilings, saved runs, and other revisions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..compare.saved import Peaks
from .acknowledged import Acknowledged
from .reasons import Reason

MIB = 1024 * 1024

# Peak memory hardly varies, but the peak of a reference of a few MiB does, and so does the ratio to it: 7.5 and 11.7
# MiB within one hour (AMD EPYC (Zen 5), 2026-11-23). A candidate takes more memory than saved if it exceeds the saved
# ratio and the saved bytes by a quarter, and the bytes by more than allocators and the interpreter keep in stock.
MEMORY_FACTOR = 1.25
MEMORY_NOISE = 4 * MIB


@dataclass(frozen=True)
class MemoryRow:
    """One comparison of peak memory.

    Attributes:
        name: in the report.
        test: its id.
        reference: bytes.
        candidate: bytes.
        limit: the greatest ratio allowed; with None the peaks are recorded and not judged.
        saved: the peaks of a saved run; None without one.
        run: the name of that run.
        revision: the one whose memory the reference is, on this machine and in this run; "" for another variant's.
        acknowledged: what an entry says of it if it is more than there; None without an entry.
        params: of the test, in JSON types.
    """

    name: str
    test: str
    reference: int
    candidate: int
    limit: float | None
    saved: Peaks | None = None
    run: str = ""
    revision: str = ""
    acknowledged: Acknowledged | None = None
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Return candidate / reference, where a reference without measurable memory counts as one byte."""
        return self.candidate / max(1, self.reference)

    @property
    def ceiling_verdict(self) -> Literal["holds", "broken"] | None:
        """Return whether the ceiling holds; None without one."""
        if self.limit is None:
            return None
        return "broken" if self.ratio > self.limit else "holds"

    @property
    def saved_verdict(self) -> Literal["same", "more"] | None:
        """Return whether the candidate takes more memory than in the saved run; None if that is not judged."""
        if self.saved is None or self.limit is None:
            return None
        more = (
            self.ratio > MEMORY_FACTOR * self.saved.candidate / self.saved.reference
            and self.candidate > MEMORY_FACTOR * self.saved.candidate
            and self.candidate > MEMORY_NOISE + self.saved.candidate
        )
        return "more" if more else "same"

    @property
    def revision_verdict(self) -> Literal["same", "more"] | None:
        """Return whether the candidate takes more memory than at the other revision; None without one."""
        if not self.revision:
            return None
        return "more" if self.candidate > max(MEMORY_FACTOR * self.reference, MEMORY_NOISE + self.reference) else "same"

    @property
    def admitted(self) -> bool:
        """Return whether an entry admits that it is more than at the other revision."""
        return self.acknowledged is not None and self.acknowledged.admitted

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Return why the test fails; empty if it passes."""
        reasons = {
            Reason.CEILING_BROKEN: self.ceiling_verdict == "broken",
            Reason.MORE_MEMORY_THAN_SAVED: self.saved_verdict == "more",
            Reason.MORE_MEMORY: self.revision_verdict == "more" and not self.admitted,
        }
        return tuple(reason for reason, applies in reasons.items() if applies)
