"""Do two samples of misspelled rows have the same distribution? One chi-square test per row statistic.

Every statistic assigns each row to at most one category, so the counts are independent because the rows are. Counts of
all changed positions over all rows, for example, would not follow the chi-square distribution.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.stats import chi2_contingency

from impl.augmentation.tokenizer import Tokenizer
from impl.augmentation.vocabulary import UNK, clean

# The minimum expected count of a category in the smaller sample; rarer categories are pooled. Well above the usual 5,
# because the tests use p-values near 1e-6, and the approximation is worst far out in the tail.
MIN_EXPECTED = 20


@dataclass(frozen=True)
class Sample:
    """Rows of one text: tokens uint8 [N, L], labels uint8 [N]."""

    tokens: np.ndarray
    labels: np.ndarray


class Rows:
    """A sample, together with the encoded row of the unchanged text."""

    def __init__(self, text: str, sample: Sample) -> None:
        self.tokens, self.labels = sample.tokens, sample.labels
        self.original = np.array(Tokenizer(self.tokens.shape[1]).encode(clean(text).strip()), dtype=np.uint8)

    @cached_property
    def lengths(self):
        return (self.tokens > UNK).sum(axis=1)

    @cached_property
    def differs(self):
        return self.tokens != self.original

    @cached_property
    def changes(self):
        return self.differs.sum(axis=1)

    @cached_property
    def same_length(self):
        return self.lengths == (self.original > UNK).sum()

    @cached_property
    def reordered(self):
        """Rows with exactly the original's characters: shuffled but not edited, apart from rare coincidences."""
        bins = np.arange(256)
        counts = np.bincount(self.original, minlength=256)
        kept = np.ones(len(self.tokens), dtype=bool)
        for token in bins[counts > 0]:
            kept &= (self.tokens == token).sum(axis=1) == counts[token]
        return kept

    def hashes(self, rows):
        weights = np.random.default_rng(0).integers(1, 2**63, size=self.tokens.shape[1], dtype=np.uint64)
        return (self.tokens[rows].astype(np.uint64) * weights).sum(axis=1)  # modulo 2^64


def first_difference(rows):
    return rows.differs.argmax(axis=1)


def last_difference(rows):
    return rows.differs[:, ::-1].argmax(axis=1)


def first_foreign(rows):
    """The first character that does not occur in the original, so an edit introduced it; PAD if there is none."""
    foreign = (rows.tokens > UNK) & ~np.isin(rows.tokens, rows.original)
    return token_at(rows, foreign.argmax(axis=1)) * foreign.any(axis=1)


def token_at(rows, columns):
    return rows.tokens[np.arange(len(columns)), columns]


def pair(one, other):
    return one.astype(np.int64) * 256 + other


STATISTICS = {
    "length": lambda rows: rows.lengths,
    "unchanged": lambda rows: rows.changes == 0,
    "number of changes": lambda rows: rows.changes[rows.same_length],
    "first changed position": first_difference,
    "last changed position": last_difference,
    "only changed position": lambda rows: first_difference(rows)[rows.changes == 1],
    "letter introduced": lambda rows: token_at(rows, first_difference(rows))[rows.changes > 0],
    "foreign character": first_foreign,
    "word order": lambda rows: rows.hashes(rows.reordered),
    "first word": lambda rows: pair(
        rows.tokens[rows.reordered, 1], rows.tokens[rows.reordered, 2 % len(rows.original)]
    ),
    "last word": lambda rows: pair(*(token_at(rows, np.maximum(rows.lengths - k, 0))[rows.reordered] for k in (0, 1))),
    "whole row": lambda rows: rows.hashes(slice(None)),
    "label": lambda rows: rows.labels,
    "label and change": lambda rows: pair(rows.labels, rows.changes == 0),
    "label and length": lambda rows: pair(rows.labels, rows.lengths),
    "labels of neighbours": lambda rows: pair(rows.labels[: len(rows.labels) // 2 * 2 : 2], rows.labels[1::2]),
    "lengths of neighbours": lambda rows: pair(rows.lengths[: len(rows.lengths) // 2 * 2 : 2], rows.lengths[1::2]),
}


def differences(text: str, reference: Sample, candidate: Sample) -> dict[str, float]:
    """Return the p-value of each statistic under the hypothesis that both samples have the same distribution."""
    one, other = Rows(text, reference), Rows(text, candidate)
    return {name: two_sample_p(statistic(one), statistic(other)) for name, statistic in STATISTICS.items()}


def two_sample_p(one: np.ndarray, other: np.ndarray) -> float:
    """Chi-square test of homogeneity over the categories in two samples, with rare categories pooled."""
    _, category = np.unique(np.concatenate([one, other]), return_inverse=True)
    table = np.stack(
        [np.bincount(part, minlength=category.max(initial=0) + 1) for part in np.split(category, [len(one)])]
    )
    smaller = min(len(one), len(other)) / max(1, len(category))
    rare = table.sum(axis=0) * smaller < MIN_EXPECTED
    table = np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])
    if table[:, -1].sum() * smaller < MIN_EXPECTED:  # even together they are rare: leave them out
        table = table[:, :-1]
    if table.shape[1] < 2:
        return 1.0
    return float(chi2_contingency(table, correction=False).pvalue)
