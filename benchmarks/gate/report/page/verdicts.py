"""The verdicts on the page: the words, how they are shown, and the verdict on the whole run."""

import signal
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from .view import Facts

Tone = Literal["good", "bad", "open", "plain"]

TONES: dict[str, Tone] = {
    "holds": "good",
    "same": "good",
    "faster": "good",
    "kept": "good",
    "broken": "bad",
    "slower": "bad",
    "more": "bad",
    "shrank": "bad",
    "unproven": "open",
    "inconclusive": "open",
    "not compared": "open",
}


@dataclass(frozen=True)
class Verdict:
    """One word, or a few, and how it is shown."""

    text: str
    tone: Tone


def acknowledged(row: Facts) -> bool:
    """Return whether a reviewed entry admits a verdict that would fail."""
    return bool(row["acknowledged"]) and row["acknowledged"]["state"] == "admitted"


def verdict_of_revision(row: Facts) -> Verdict:
    """Return the verdict against another revision, with what an acknowledgement makes of it."""
    if acknowledged(row):
        return Verdict(f"{row['verdict']}, acknowledged", "open")
    return Verdict(row["verdict"], tone(row["verdict"]))


def verdicts_of_duel(duel: Facts) -> list[Verdict]:
    """Return the verdicts of a duel: about its floor, and against the saved run."""
    found = []
    if duel["floor_verdict"]:
        found.append(Verdict(f"floor {duel['floor_verdict']}", tone(duel["floor_verdict"])))
    if duel["saved_verdict"]:
        found.append(
            Verdict(
                f"{duel['saved_verdict']} as saved run".replace("slower as", "slower than").replace(
                    "faster as", "faster than"
                ),
                tone(duel["saved_verdict"]),
            )
        )
    return found or [Verdict("measured", "plain")]


def verdicts_of_memory(row: Facts) -> list[Verdict]:
    """Return the verdicts of a comparison of peak memory."""
    found = []
    if row["ceiling"] is not None and row["ratio"] is not None:
        word = "broken" if row["ratio"] > row["ceiling"] else "holds"
        found.append(Verdict(f"ceiling {word}", tone(word)))
    for key, where in (("saved_verdict", "saved run"), ("revision_verdict", "revision")):
        if row[key]:
            admitted = key == "revision_verdict" and acknowledged(row)
            text = f"{row[key]} {'than' if row[key] == 'more' else 'as'} {where}{', acknowledged' if admitted else ''}"
            found.append(Verdict(text, "open" if admitted else tone(row[key])))
    return found or [Verdict("measured", "plain")]


def tone(word: str) -> Tone:
    """Return how a verdict is shown."""
    return TONES.get(word, "plain")


@dataclass(frozen=True)
class Headline:
    """The verdict of the whole run in one line: a word or two, and the counts behind them."""

    verdict: Verdict
    counts: Sequence[str]


def headline(document: Facts) -> Headline:
    """Return the verdict of the whole run."""
    status, failed = document["outcome"]["status"], len(document["outcome"]["failed"])
    rows = (document["revision"] or {}).get("benchmarks", ())
    duels, memory = document["duels"], document["memory"]
    open_ones = sum(verdict_of_revision(row).tone == "open" for row in rows)
    open_ones += sum(row["saved_verdict"] == "inconclusive" for row in duels)
    open_ones += sum(acknowledged(row) for row in memory)
    work = (document["revision"] or {}).get("work", ())
    open_ones += sum(row["verdict"] == "not compared" and not row["admitted"] for row in work)
    if status == 0 and not failed:
        verdict = Verdict(f"Passed, {open_ones} to look at", "open") if open_ones else Verdict("Passed", "good")
    elif failed:
        verdict = Verdict(f"Failed: {failed} test{'s' if failed > 1 else ''}", "bad")
    else:
        words = {2: "Interrupted", 5: "No test ran", 128 + signal.SIGTERM: "Terminated"}
        verdict = Verdict(words.get(status, f"Ended with pytest's status {status}"), "bad")
    ceilings = [
        "broken" if row["ratio"] > row["ceiling"] else "hold"
        for row in memory
        if row["ceiling"] is not None and row["ratio"] is not None
    ]
    name = document["revision"]["name"] if document["revision"] else ""
    counts = [
        _counted(f"against {name}", [verdict_of_revision(row).text for row in rows]),
        _counted("floors", [row["floor_verdict"] for row in duels]),
        _counted("saved run", [row["saved_verdict"] for row in duels]),
        _counted("memory ceilings", ceilings),
        _counted("memory against the revision", [row["revision_verdict"] for row in memory]),
    ]
    return Headline(verdict, [text for text in counts if text])


def _counted(what: str, verdicts: Iterable[str | None]) -> str:
    counts = Counter(filter(None, verdicts))
    words = ", ".join(f"{count} {'hold' if word == 'holds' and count > 1 else word}" for word, count in counts.items())
    return f"{what}: {words}" if words else ""
