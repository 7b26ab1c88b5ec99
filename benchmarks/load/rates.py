"""How many requests per second each server withstands: `python -m benchmarks.load.rates`.

Requests with one picture each arrive at random times, and each may take as long as a full batch takes from when it was
due. Our best variant and the peers are measured one after the other at the same rates, which are shares of our rate of
full batches back to back: that is the curve. Then two claims are proven, each with an error of 0.1 %: at PROVEN of that
rate at most 1 % of our requests are late, and a peer's are more than 1 % late already at a rate that is MARGIN times
lower. mlcommons-loadgen, where it is installed, drives our server at the same rate as a second witness.

The scenario is like MLPerf's "Server". What comes out is no MLPerf result.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.gate.measure import machine
from benchmarks.gate.measure.share import prove_share
from benchmarks.peers.http_peer import HttpPeer
from benchmarks.peers.servers import PEERS
from impl.serving import VARIANTS, ServingConfig
from impl.serving.client import as_npy
from impl.variant import best_of

from .clients import Clients, Encode, Requests
from .loadgen import run_loadgen
from .open_loop import OpenLoop
from .poisson import windows
from .servers import running

__all__ = ["Point", "Server", "capacity_of", "curve", "draw", "proven"]

SHARES = (0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)  # of our capacity
HOPELESS = 0.5  # the share of late requests after which a server is asked for no higher rate
PROVEN, MARGIN, LEAST, ALPHA = 0.85, 1.1, 0.99, 1e-3
PERCENTILES = (50.0, 99.0, 99.9)
BATCHES = 12  # full batches that measure the capacity; the median counts


@dataclass(frozen=True)
class Server:
    """How a server is started, as `python COMMAND`, and how a picture is sent to it."""

    command: tuple[str, ...]
    encode: Encode

    @classmethod
    def of_peer(cls, peer: HttpPeer) -> "Server":
        """Return a peer's."""
        return cls(("-m", peer.module, *peer.arguments), peer.encode)


@dataclass(frozen=True)
class Point:
    """What came of one rate.

    Attributes:
        rate: Requests per second.
        requests, refused: How many were due, and how many of them were not answered with 200.
        late: The share that was not answered within the bound.
        percentiles: Seconds from when a request was due, by per cent; None where so many were refused.
    """

    rate: float
    requests: int
    refused: int
    late: float
    percentiles: dict[float, float | None]


def capacity_of(url: str) -> float:
    """Return the images per second of full batches of our server, one after the other."""
    with closing(Clients(url)) as one:
        batches = Requests(one, as_npy, images=ServingConfig.max_batch)
        for _ in range(BATCHES + 2):
            batches.check(batches())
    return ServingConfig.max_batch / statistics.median(batches.seconds[2:])


def point(load: OpenLoop, rate: float, bound: float, seconds: int) -> Point:
    """Measure one rate for `seconds`."""
    parts = list(islice(windows(load, rate, seed=1, count=seconds), seconds))
    times = np.sort([waited for part in parts for waited in part.seconds])
    percentiles = {share: float(np.percentile(times, share, method="higher")) for share in PERCENTILES}
    return Point(
        rate,
        len(times),
        int(np.isinf(times).sum()),
        float(np.mean(times > bound)),
        {share: value if np.isfinite(value) else None for share, value in percentiles.items()},
    )


def curve(load: OpenLoop, rates: Sequence[float], bound: float, seconds: int) -> Iterator[Point]:
    """Measure ascending rates until most requests are late."""
    for rate in rates:
        measured = point(load, rate, bound, seconds)
        yield measured
        if measured.late > HOPELESS:
            return


def proven(load: OpenLoop, rate: float, bound: float, minutes: float) -> dict[str, Any]:
    """Bet on whether at most 1 % of the requests are late, in windows of a second; return what was found."""
    outcomes = (window.in_time(bound) for window in windows(load, rate, seed=1000))
    with tqdm(outcomes, f"bet at {rate:.1f}/s", unit="window", disable=None) as shown:
        share = prove_share(shown, least=LEAST, alpha=ALPHA, budget=60 * minutes)
    words = {"above": "at most 1 % late", "below": "more than 1 % late", "open": "open"}
    late = 1 - share.value
    return {"rate": rate, "bound": bound, "verdict": words[share.verdict], "late": late, "windows": share.trials}


def draw(path: Path, curves: dict[str, list[Point]], bound: float) -> None:
    """Plot seconds against the rate, as SVG or PNG: one panel per percentile, one line per server."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - takes half a second, which only a plot needs

    figure = Figure(figsize=(4.5 * len(PERCENTILES), 4), layout="constrained")
    panels = figure.subplots(1, len(PERCENTILES), sharey=True)
    for axes, share in zip(panels, PERCENTILES, strict=True):
        for name, points in curves.items():
            shown = [(each.rate, each.percentiles[share]) for each in points if each.percentiles[share] is not None]
            axes.plot(*zip(*shown, strict=True), marker="o", label=name)
        axes.axhline(bound, color="black", linestyle="--", label=f"bound {bound:.2f} s")
        axes.set(title=f"p{share:g}", xlabel="requests per second", yscale="log")
    panels[0].set(ylabel="seconds from when a request was due")
    panels[0].legend(loc="upper left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


@contextmanager
def loaded(server: Server) -> Iterator[tuple[str, OpenLoop]]:
    """Start a server and clients for it; yield its address and them, once it has answered some requests."""
    with running(*server.command) as (url, _), closing(OpenLoop(url, server.encode)) as load:
        load.post([place / 20 for place in range(40)])
        yield url, load


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; write FOLDER/rates.json and FOLDER/rates.svg; return 0 if every claim was proven."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load.rates", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=20, help="per rate and server, for the curve")
    parser.add_argument("--minutes", type=float, default=25, help="at most for the proof of our rate")
    parser.add_argument("--peer-minutes", type=float, default=5, help="at most for each proof that a peer is late")
    parser.add_argument("--out", type=Path, default=Path(".results"), metavar="FOLDER")
    parser.add_argument("--servers", nargs="*", default=list(PEERS), choices=list(PEERS), help="peers to measure")
    options = parser.parse_args(arguments)
    best = best_of(VARIANTS)
    record: dict[str, Any] = {"machine": machine.describe(), "curves": {}, "proofs": {}, "loadgen": None}
    curves: dict[str, list[Point]] = {}

    with loaded(Server(("-m", "impl.serving", best, "--port", "0"), as_npy)) as (url, load):
        capacity = capacity_of(url)
        bound = ServingConfig.max_batch / capacity
        rates = [share * capacity for share in SHARES]
        record |= {"capacity": capacity, "bound": bound}
        print(f"full batches: {capacity:.1f} images per second; the bound is {bound:.3f} s", flush=True)
        curves[best] = show(best, curve(load, rates, bound, options.seconds))
        record["proofs"][best] = proven(load, PROVEN * capacity, bound, options.minutes)
        if find_spec("mlperf_loadgen"):
            run = run_loadgen(load, PROVEN * capacity, bound, 3 * options.seconds, options.out / "loadgen")
            record["loadgen"] = asdict(run)
    save(options.out, record, curves)
    for name in options.servers:
        peer = PEERS[name]
        if not peer.installed:
            print(f"{name}: not installed", flush=True)
            continue
        peer.prepare()
        with loaded(Server.of_peer(peer)) as (_, load):
            curves[name] = show(name, curve(load, rates, bound, options.seconds))
            record["proofs"][name] = proven(load, PROVEN / MARGIN * capacity, bound, options.peer_minutes)
        save(options.out, record, curves)

    wanted = {name: "at most 1 % late" if name == best else "more than 1 % late" for name in record["proofs"]}
    for name, proof in record["proofs"].items():
        holds = "proven" if proof["verdict"] == wanted[name] else "NOT PROVEN"
        print(f"{name}, {proof['rate']:.1f} requests per second, {wanted[name]}: {holds} ({proof})")
    print(f"LoadGen: {record['loadgen'] or 'not installed'}")
    return int(any(proof["verdict"] != wanted[name] for name, proof in record["proofs"].items()))


def save(folder: Path, record: dict[str, Any], curves: dict[str, list[Point]]) -> None:
    """Write what was measured so far: a proof takes minutes, and what follows it may fail."""
    record["curves"] = {name: [asdict(each) for each in points] for name, points in curves.items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rates.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    draw(folder / "rates.svg", curves, record["bound"])


def show(name: str, points: Iterator[Point]) -> list[Point]:
    """Print each point as soon as it is measured; return all."""
    measured = []
    for each in points:
        times = ", ".join(
            f"p{share:g} {'refused' if value is None else f'{value:.3f} s'}"
            for share, value in each.percentiles.items()
        )
        print(f"{name}, {each.rate:.1f} requests per second: {times}; {each.late:.2%} late", flush=True)
        measured.append(each)
    return measured


if __name__ == "__main__":
    sys.exit(main())
