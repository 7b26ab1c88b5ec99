"""How often a history without a change has a mark, and how soon a change has one: what METHODOLOGY says of both.

`python -m tests.gate.history_rates` measures it in a minute or two; the tests take few trials of it.
"""

import argparse
import itertools
import math

import numpy as np

from benchmarks.gate.judge.changes import find_changes


def normal(rng, length):
    return rng.normal(size=length)


def heavy(rng, length):
    """Student's t with three degrees of freedom: one run in seventeen is off by more than three times its scale."""
    return rng.standard_t(3, size=length)


def outliers(rng, length):
    """One run in twenty beside a noisy neighbour: six times the usual noise off, to one side."""
    return rng.normal(size=length) - 6 * (rng.random(length) < 0.05)


def correlated(rng, length):
    """Days have something in common: a correlation of 0.5 from run to run."""
    noise = rng.normal(size=length)
    for i in range(1, length):
        noise[i] = 0.5 * noise[i - 1] + math.sqrt(0.75) * noise[i]
    return noise


def drift(rng, length):
    """A slow drift, of four times the usual noise from the first run to the last."""
    return rng.normal(size=length) + np.linspace(0, 4, length)


NOISES = (normal, heavy, outliers, correlated, drift)
LENGTHS = (4, 5, 10, 30, 100, 200)
PLACES = ((4, 1), (4, 2), (4, 4), (20, 1), (20, 2), (20, 4))


def false_alarms(noise, length, trials, seed, size=0.05):
    """Return how many of so many histories without a change have a mark."""
    rng = np.random.default_rng([seed, length])
    marked = 0
    for _ in range(trials):
        ratios = 30 * np.exp(size * noise(rng, length))
        marked += bool(find_changes(list(ratios), [0.0] * length).changes)
    return marked


def found(before, after, factor, size, trials, seed, noise=normal):
    """Return how many of so many changes are marked, and how many of these at the right run and nowhere else."""
    rng = np.random.default_rng([seed, before, after])
    marked = right = 0
    for _ in range(trials):
        ratios = 30 * np.exp(size * noise(rng, before + after))
        ratios[before:] /= factor
        changes = find_changes(list(ratios), [0.0] * len(ratios)).changes
        marked += bool(changes)
        right += [change.index for change in changes] == [before]
    return marked, right


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"histories without a change that have a mark, of {options.trials}, by their number of runs")
    print(f"{'':12}", *(f"{length:>8}" for length in LENGTHS))
    for noise in NOISES:
        marked = (false_alarms(noise, length, options.trials, options.seed) for length in LENGTHS)
        print(f"{noise.__name__:12}", *(f"{count:8}" for count in marked), flush=True)
    trials = options.trials // 10
    print(f"\na ratio divided by a factor, of {trials}: marked/at the right run alone, by runs before and after")
    print(f"{'':20}", *(f"{f'{before}+{after}':>12}" for before, after in PLACES))
    for factor, size in itertools.product((1.1, 1.5, 3), (0.02, 0.05, 0.1)):
        cells = ("/".join(map(str, found(*place, factor, size, trials, options.seed))) for place in PLACES)
        print(f"{factor:4g}, noise {size:4.0%}   ", *(f"{cell:>12}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
