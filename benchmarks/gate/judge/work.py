"""Whether a benchmark does less than it did at another revision, by its results and by its time.

Both observations are of that revision's package, so the benchmark is all that differs.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..compare.work.observe import Observation
from ..compare.work.shape import CUT, Part, aligned
from .reasons import Reason

WorkVerdict: TypeAlias = Literal["kept", "shrank", "not compared"]

# The two times are those of two processes, at different moments. Half the time was no proof of less work: of unchanged
# code that torch compiled, the least of all calls was 21.6 ms in two processes of the revision, and 10.2 ms here (Intel
# Xeon, 2026-11-26). A quarter is beyond that.
LEAST_TIME = 0.25

# The length of text varies with the numbers that are written in it. So may the number of entries of a log that threads
# write without a lock, and whatever else differs between calls of the same work.
LEAST_VARYING = 0.9

ITEM = re.compile(r"\[\d*\]$")  # of a list: its length says whether there are fewer


@dataclass(frozen=True)
class Fall:
    """A part of the result that is smaller.

    Attributes:
        place: of the part, such as ".tokens"; empty for the result itself.
        there: its sizes at the other revision, the least of all calls.
        here: its sizes, the greatest of all calls.
    """

    place: str
    there: tuple[int, ...]
    here: tuple[int, ...]


@dataclass(frozen=True)
class WorkRow:
    """What one benchmark does, at another revision and here.

    Attributes:
        name: in the report.
        test: its id.
        revision: the other one, as the user named it, with its commit.
        there: what that revision's own benchmark does; None if it is unknown.
        here: what this one does, with that revision's package; None if it is unknown.
        reason: why one of them is unknown.
        removed: whether --removed names the test.
    """

    name: str
    test: str
    revision: str
    there: Observation | None = None
    here: Observation | None = None
    reason: str = ""
    removed: bool = False

    @property
    def falls(self) -> tuple[Fall, ...]:
        """Return the parts of the result that are smaller."""
        return tuple(fall for place, there, here in self._parts() if (fall := _fall(place, there, here)))

    @property
    def others(self) -> tuple[tuple[str, str, str], ...]:
        """Return the parts that are of another kind or missing: the place, and the kinds there and here."""
        if self.there is None or self.here is None:
            return ()
        kinds = [(place, there.kind, here.kind) for place, there, here in self._parts() if there.kind != here.kind]
        if CUT in self.there.shape or CUT in self.here.shape:
            return tuple(kinds)
        gone = [place for place in self.there.shape if place not in self.here.shape and not ITEM.search(place)]
        return (*kinds, *((place, self.there.shape[place].kind, "nothing") for place in gone))

    @property
    def quicker(self) -> bool:
        """Return whether the time fell to less than LEAST_TIME."""
        return self.there is not None and self.here is not None and self.here.seconds < LEAST_TIME * self.there.seconds

    @property
    def verdict(self) -> WorkVerdict:
        """Return "shrank" if the result is smaller or the time is; a result of another kind cannot be compared."""
        if self.falls or self.quicker:
            return "shrank"
        return "not compared" if self.reason or self.others else "kept"

    @property
    def admitted(self) -> bool:
        """Return whether there is something to admit, and --removed admits it."""
        return self.removed and self.verdict != "kept"

    def reasons(self, *, strict: bool) -> tuple[Reason, ...]:
        """Return why the test fails; empty if it passes. With `strict` what was not compared fails as well."""
        if self.removed or self.verdict == "kept":
            return ()
        if self.verdict == "shrank":
            return (Reason.WORK_SHRANK,)
        return (Reason.WORK_UNKNOWN,) if strict else ()

    def _parts(self) -> Iterator[tuple[str, Part, Part]]:
        if self.there is not None and self.here is not None:
            for place, there in self.there.shape.items():
                if (here := self.here.shape.get(place)) is not None:
                    yield place, there, here


def _fall(place: str, there: Part, here: Part) -> Fall | None:
    """Return how a part of the result fell; None if it did not, or is of another kind."""
    if there.kind != here.kind:
        return None
    before, now = aligned(there, here)
    share = 1.0 if before.fixed and now.fixed else LEAST_VARYING
    fell = any(size < share * least for least, size in zip(before.least, now.greatest, strict=True))
    return Fall(place, there.least, here.greatest) if fell else None
