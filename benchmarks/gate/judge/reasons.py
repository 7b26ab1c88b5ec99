"""Why a test fails, as data; the report has the words."""

from enum import Enum


class Reason(Enum):
    """Why a test fails."""

    FLOOR_BROKEN = "floor broken"
    FLOOR_UNPROVEN = "floor unproven"
    SLOWER_THAN_SAVED = "slower than saved"
    CEILING_BROKEN = "ceiling broken"
    MORE_MEMORY_THAN_SAVED = "more memory than saved"
    MORE_MEMORY = "more memory"
    SLOWER = "slower"
    BLIND = "blind"
    INCONCLUSIVE = "inconclusive"
    WORK_SHRANK = "its work shrank"
    WORK_UNKNOWN = "its work was not compared"
