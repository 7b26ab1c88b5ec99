"""However a run is split and interrupted, it reads the rows of one that was not, each once."""

import itertools
import json
import os
import pickle
import random
import subprocess
import sys
from functools import partial
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from impl.augmentation import VARIANTS, Config, parts, stream
from impl.augmentation.parts import Place
from impl.augmentation.rows import Rows
from impl.augmentation.stream import StreamBatches, StreamedDataset, StreamLoader
from impl.shared.cores import usable_cores
from tests.augmentation.killed_runs import BATCHES, CONFIG, KILLS, SEED, TEXT, make_loader, marks_of

ROOT = Path(__file__).parents[2]


class Numbered(StreamedDataset):
    """A row is its own number, twice."""

    def batch(self, first, count):
        return self.gather([(first, count)])

    def gather(self, pieces):
        numbers = torch.cat([torch.arange(first, first + count) for first, count in pieces]).float().unsqueeze(1)
        return numbers, numbers


def numbered(rows=203):
    return Numbered("text", Config(dataset_size=rows))


def numbers_of(batch):
    tokens, labels = batch
    assert torch.equal(tokens, labels)
    return tokens[:, 0].int().tolist()


def batches_of(rows, batch_size, count, start=0):
    """The numbers of the rows in batches `start` to `start` + `count` - 1, counted over all epochs."""
    epoch = [list(range(first, min(first + batch_size, rows))) for first in range(0, rows, batch_size)]
    return list(itertools.islice(itertools.cycle(epoch), start, start + count))


def take(loader, count):
    return [numbers_of(batch) for batch in itertools.islice(loader, count)]


def assert_same_batches(expected, read):
    """Compare the batches of a run that was not split, in order, with those of each rank."""
    for number, batch in enumerate(expected):
        turn, rank = divmod(number, len(read))
        assert turn < len(read[rank]), f"batch {number}: rank {rank} has read only {len(read[rank])}"
        assert read[rank][turn] == batch, f"batch {number}: rank {rank} has {read[rank][turn]}, not {batch}"
    total = sum(map(len, read))
    assert total == len(expected), f"{total} batches were read, not {len(expected)}"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_fifty_kills():
    """With SIGKILL, of 1 to 4 ranks with 0 to 2 workers each."""
    command = [sys.executable, "-m", "tests.augmentation.killed_runs"]
    # One thread: a child that is forked beside other threads may find their locks held for ever.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(command, cwd=ROOT, env=os.environ | threads, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3_000:]
    runs = json.loads(done.stdout)
    assert {(run["ranks"], run["workers"]) for run in runs} == set(itertools.product((1, 2, 3, 4), (0, 1, 2)))
    assert sum(run["kills"] for run in runs) == KILLS
    assert all(run["kills"] >= 4 for run in runs)

    dataset = VARIANTS["optimised"](TEXT, CONFIG, SEED)
    marks = marks_of((torch.from_numpy(dataset.tokens).float(), torch.from_numpy(dataset.labels).float().unsqueeze(1)))
    expected = [[marks[row] for row in batch] for batch in batches_of(len(dataset), CONFIG.batch_size, BATCHES)]
    uninterrupted = [marks_of(batch) for batch in itertools.islice(make_loader(), BATCHES)]
    assert uninterrupted == expected
    for run in runs:
        assert_same_batches(expected, run["read"])
        assert all(state["batch"] == BATCHES for state in run["states"])


@pytest.mark.parametrize("rows_at_once", [1, 64, stream.CHUNK])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 7])
@pytest.mark.parametrize(("rows", "batch_size"), [(203, 8), (16, 8), (5, 8), (1, 1)])
def test_ranks_share_every_epoch(rows, batch_size, ranks, rows_at_once, monkeypatch):
    monkeypatch.setattr(stream, "CHUNK", rows_at_once)
    dataset = numbered(rows)
    loaders = [StreamLoader(dataset, batch_size, rank=rank, world_size=ranks) for rank in range(ranks)]
    epochs = ranks  # so many end where all ranks end
    batches = epochs * loaders[0].batches_per_epoch
    read = [take(loader, batches // ranks) for loader in loaders]
    assert_same_batches(batches_of(rows, batch_size, batches), read)
    assert sorted(itertools.chain(*itertools.chain(*read))) == sorted([*range(rows)] * epochs)
    assert [loader.state_dict() for loader in loaders] == [loaders[0].state_dict()] * ranks
    assert loaders[0].state_dict()["batch"] == batches


def test_ranks_read_the_rows_of_one_that_is_alone():
    """And not only their numbers."""
    expected = itertools.islice(make_loader(), 60)
    ranks = [iter(make_loader(rank=rank, world_size=3)) for rank in range(3)]
    for number, batch in enumerate(expected):
        for part, own in zip(batch, next(ranks[number % 3]), strict=True):
            assert torch.equal(part, own)
            assert part.dtype == own.dtype


@pytest.mark.parametrize("text", [TEXT, "word", ""])
def test_rows_of_pieces_are_those_of_the_whole(text):
    rows = Rows(text, 10, 20, seed=3)
    pieces = [(0, 1), (1, 8), (9, 64), (73, 65), (300, 0), (138, 200), (2**40, 3)]
    for part, *whole in zip(rows.compute_pieces(pieces), *(rows.compute(*piece) for piece in pieces), strict=True):
        assert np.array_equal(part, np.concatenate(whole))


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_abandoned_ranks_continue(ranks, monkeypatch):
    """Each from its own state, wherever the others are."""
    monkeypatch.setattr(stream, "CHUNK", 40)
    chance = random.Random(ranks)
    dataset, steps = numbered(), 60
    read = [[] for _ in range(ranks)]
    for rank in range(ranks):
        state = None
        while len(read[rank]) < steps:
            loader = StreamLoader(dataset, 8, rank=rank, world_size=ranks)
            if state:
                loader.load_state_dict(json.loads(state))
            read[rank] += take(loader, min(chance.randint(0, 12), steps - len(read[rank])))
            state = json.dumps(loader.state_dict())
    assert_same_batches(batches_of(203, 8, ranks * steps), read)


def test_another_number_of_ranks_continues_at_any_step(monkeypatch):
    monkeypatch.setattr(stream, "CHUNK", 40)
    dataset, read = numbered(), []
    state = StreamLoader(dataset, 8).state_dict()
    for ranks, steps in [(1, 3), (3, 5), (4, 9), (2, 30), (5, 1), (1, 20)]:
        loaders = [StreamLoader(dataset, 8, rank=rank, world_size=ranks) for rank in range(ranks)]
        for loader in loaders:
            loader.load_state_dict(state)
        read += itertools.chain(*zip(*(take(loader, steps) for loader in loaders), strict=True))
        (state, *others) = (loader.state_dict() for loader in loaders)
        assert others == [state] * (ranks - 1)
    assert_same_batches(batches_of(203, 8, len(read)), [read])


def test_the_state_follows_the_newest_iterator():
    loader = StreamLoader(numbered(), 8, 2)
    assert loader.state_dict()["batch"] == 2
    older = iter(loader)
    next(older)
    assert loader.state_dict()["batch"] == 3
    newer = iter(loader)
    assert loader.state_dict()["batch"] == 2
    next(older)
    assert loader.state_dict()["batch"] == 2
    next(newer)
    assert loader.state_dict()["batch"] == 3
    loader.load_state_dict(loader.state_dict() | {"batch": 9})
    assert loader.start_batch == loader.state_dict()["batch"] == 9
    assert numbers_of(next(newer)) == [*range(24, 32)]
    assert take(loader, 1) == take(loader, 1) == batches_of(203, 8, 1, start=9)


@pytest.mark.parametrize("rows_at_once", [8, 9, 40, 10_000])
def test_the_state_is_exact_at_each_batch(rows_at_once, monkeypatch):
    monkeypatch.setattr(stream, "CHUNK", rows_at_once)
    for ranks in (1, 3):
        loader = StreamLoader(numbered(), 8, ranks, rank=ranks - 1, world_size=ranks)
        for number, _ in enumerate(itertools.islice(loader, 60), 1):
            assert loader.state_dict()["batch"] == ranks * (1 + number)


def test_a_state_can_be_kept_in_any_way():
    loader = StreamLoader(numbered(), np.int64(8), rank=np.int32(1), world_size=2)
    take(loader, 3)
    state = loader.state_dict()
    assert json.loads(json.dumps(state)) == pickle.loads(pickle.dumps(state)) == state  # noqa: S301 - our own
    file = BytesIO()
    torch.save(state, file)
    file.seek(0)
    assert torch.load(file, weights_only=True) == state
    assert state == {
        "text": state["text"],
        "seed": 7,
        "dataset_size": 203,
        "max_modifications": 10,
        "max_letter_count": 64,
        "batch_size": 8,
        "batch": 6,
    }
    state["batch"] = 0
    assert loader.state_dict()["batch"] == 6  # a copy


def test_ten_billion_rows_resume_at_once():
    dataset = StreamedDataset(TEXT, Config(dataset_size=10_000_000_000))
    loader = StreamLoader(dataset, 32, rank=1, world_size=2)
    loader.load_state_dict(loader.state_dict() | {"batch": 300_000_000})
    tokens, _ = next(iter(loader))
    assert torch.equal(tokens, dataset.batch(9_600_000_032, 32)[0])


def test_the_text_counts_as_it_is_after_cleaning():
    state = StreamLoader(StreamedDataset(" Some, text\n", CONFIG), 8).state_dict()
    StreamLoader(StreamedDataset("some text", CONFIG), 8).load_state_dict(state)


def other_loader(text="text", seed=7, batch_size=8, **settings):
    return StreamLoader(StreamedDataset(text, Config(**{"dataset_size": 203} | settings), seed), batch_size)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": "texts"}, r"loader: text '[0-9a-f]{16}' there and '[0-9a-f]{16}' here$"),
        ({"seed": 2**40}, r"loader: seed 7 there and 1099511627776 here$"),
        ({"dataset_size": 204}, r"loader: dataset_size 203 there and 204 here$"),
        ({"max_modifications": 9}, r"loader: max_modifications 10 there and 9 here$"),
        ({"max_letter_count": 63}, r"loader: max_letter_count 64 there and 63 here$"),
        ({"batch_size": 16}, r"loader: batch_size 8 there and 16 here$"),
        ({"seed": 8, "batch_size": 16}, r"loader: seed 7 there and 8 here; batch_size 8 there and 16 here$"),
    ],
    ids=str,
)
def test_a_state_of_other_rows_is_refused(change, message):
    state = other_loader().state_dict() | {"batch": 5}
    other_loader().load_state_dict(state)
    loader = other_loader(**change)
    with pytest.raises(ValueError, match=message):
        loader.load_state_dict(state)
    assert loader.state_dict()["batch"] == loader.start_batch == 0


STATE = other_loader().state_dict()


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (None, TypeError, "a state must be a mapping, as state_dict.* returns it, not NoneType"),
        (7, TypeError, "not int"),
        ([*STATE.items()], TypeError, "not list"),
        ({}, ValueError, "text, seed, dataset_size, .*, batch missing"),
        ({k: v for k, v in STATE.items() if k != "seed"}, ValueError, "loader: seed missing. Entries: text"),
        (STATE | {"epoch": 3, 5: 6}, ValueError, "loader: epoch, 5 unknown. Entries"),
        ({"_snapshot": {}}, ValueError, "batch missing; _snapshot unknown"),
        (STATE | {"batch": -1}, ValueError, "batch must be at least 0, not -1"),
        (STATE | {"batch": 1.0}, TypeError, r"batch must be an int of at least 0, not 1.0 \(float\)"),
        (STATE | {"batch": True}, TypeError, r"not True \(bool\)"),
        (STATE | {"batch": "3"}, TypeError, r"not '3' \(str\)"),
        (STATE | {"batch": None}, TypeError, r"not None \(NoneType\)"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_state_is_refused(state, error, message):
    with pytest.raises(error, match=message):
        other_loader().load_state_dict(state)


@pytest.mark.parametrize("loader", [StreamLoader, StreamBatches])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"rank": -1}, ValueError, "rank must be at least 0, not -1"),
        ({"rank": 1}, ValueError, "rank must be below world_size, which is 1, not 1"),
        ({"rank": 4, "world_size": 4}, ValueError, "rank must be below world_size, which is 4, not 4"),
        ({"world_size": 0}, ValueError, "world_size must be at least 1, not 0"),
        ({"rank": 1.0, "world_size": 2}, TypeError, r"rank must be an int of at least 0, not 1.0 \(float\)"),
        ({"rank": "0"}, TypeError, r"rank must be an int of at least 0, not '0' \(str\)"),
        ({"rank": None}, TypeError, r"rank must be an int of at least 0, not None \(NoneType\)"),
        ({"rank": True, "world_size": 2}, TypeError, r"rank must be an int of at least 0, not True \(bool\)"),
        ({"world_size": 2.0}, TypeError, "world_size must be an int of at least 1, not 2.0"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, not 0"),
        ({"batch_size": 8.0}, TypeError, "batch_size must be an int"),
        ({"start_batch": -1}, ValueError, "start_batch must be at least 0, not -1"),
        ({"start_batch": 0.5}, TypeError, "start_batch must be an int"),
    ],
    ids=str,
)
def test_a_bad_argument_is_refused_at_once(loader, arguments, error, message):
    with pytest.raises(error, match=message):
        loader(numbered(), **{"batch_size": 8} | arguments)


def test_bad_workers_are_refused_at_once():
    for workers, error in ((-1, ValueError), (1.0, TypeError), (True, TypeError)):
        with pytest.raises(error, match="workers must be"):
            StreamLoader(numbered(), 8, workers=workers)
    with pytest.raises(ValueError, match=r"multiprocessing_context must be one of .*spawn.*, not 'thread'"):
        StreamLoader(numbered(), 8, workers=1, multiprocessing_context="thread")
    with pytest.raises(ValueError, match="needs at least one row"):
        StreamBatches(numbered(0), 8)


def test_an_error_while_computing_reaches_the_reader(monkeypatch):
    def fail(*_):
        raise RuntimeError("kernel")

    dataset = StreamedDataset(TEXT, CONFIG)
    monkeypatch.setattr(dataset.rows, "compute_pieces", fail)
    with pytest.raises(RuntimeError, match="kernel"):
        next(iter(StreamLoader(dataset, 8, world_size=2)))


# In torch's DataLoader


def test_in_a_dataloader_without_workers():
    loader = DataLoader(StreamBatches(numbered(), 8, 3, rank=1, world_size=2), batch_size=None)
    assert take(loader, 30) == batches_of(203, 8, 60, start=3)[1::2]


def test_in_a_dataloader_with_workers():
    workers = min(2, usable_cores())
    batches = StreamBatches(make_loader().dataset, 8, 3, rank=1, world_size=2)
    loader = DataLoader(batches, batch_size=None, num_workers=workers, multiprocessing_context="spawn")
    alone = StreamLoader(batches.dataset, 8, 3, rank=1, world_size=2)
    for batch, expected in zip(itertools.islice(loader, 30), alone, strict=False):
        assert all(map(torch.equal, batch, expected))


def test_own_workers_and_a_state_that_does_not_count_what_they_prefetch():
    loader = make_loader(rank=1, world_size=2, workers=2)
    alone = [marks_of(batch) for batch in itertools.islice(make_loader(rank=1, world_size=2), 30)]
    generator = torch.get_rng_state()
    read = []
    for number, batch in enumerate(itertools.islice(loader, 9), 1):
        assert isinstance(batch, tuple)
        assert loader.state_dict()["batch"] == 2 * number
        read.append(marks_of(batch))
    assert torch.equal(torch.get_rng_state(), generator)
    resumed = make_loader(rank=1, world_size=2)
    resumed.load_state_dict(loader.state_dict())
    read += [marks_of(batch) for batch in itertools.islice(resumed, 21)]
    assert read == alone


def test_a_worker_does_not_get_rows_that_were_stored():
    dataset = StreamedDataset(TEXT, CONFIG, SEED)
    tokens = dataset.tokens
    copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301 - our own
    assert "_stored" not in vars(copy)
    assert "_stored" in vars(dataset)
    assert np.array_equal(copy.tokens, tokens)


# With torchdata


class Workers:
    """Iterators as the workers of a StatefulDataLoader hold them: read in turn, saved and loaded one by one."""

    def __init__(self, batches, workers, monkeypatch):
        self.iterators, self.read = [], 0
        for index in range(workers):
            info = SimpleNamespace(id=index, num_workers=workers)
            monkeypatch.setattr(parts, "get_worker_info", lambda info=info: info)
            self.iterators.append(iter(batches))

    def take(self, count):
        numbers = range(self.read, self.read + count)
        self.read += count
        return [numbers_of(next(self.iterators[number % len(self.iterators)])) for number in numbers]


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_workers_have_states_of_their_own(ranks, workers, monkeypatch):
    read = []
    for rank in range(ranks):
        batches = StreamBatches(numbered(), 8, rank=rank, world_size=ranks)
        before = Workers(batches, workers, monkeypatch)
        read.append(before.take(17))
        after = Workers(batches, workers, monkeypatch)
        after.read = before.read
        for old, new in zip(before.iterators, after.iterators, strict=True):
            new.load_state_dict(json.loads(json.dumps(old.state_dict())))
            assert new.state_dict() == old.state_dict()
        read[-1] += after.take(43)
    assert_same_batches(batches_of(203, 8, ranks * 60), read)


def test_another_number_of_workers_or_ranks_cannot_continue_from_a_worker_s_state(monkeypatch):
    state = Workers(StreamBatches(numbered(), 8), 2, monkeypatch).iterators[0].state_dict()
    (iterator,) = Workers(StreamBatches(numbered(), 8), 1, monkeypatch).iterators
    with pytest.raises(ValueError, match="another loader: parts 2 there and 1 here"):
        iterator.load_state_dict(state)
    with pytest.raises(ValueError, match="parts unknown"):
        StreamLoader(numbered(), 8).load_state_dict(state)


@pytest.mark.parametrize("workers", [0, 2])
def test_torchdata(workers):
    stateful = pytest.importorskip("torchdata.stateful_dataloader", reason="torchdata is not installed")

    def make():
        batches = StreamBatches(make_loader().dataset, 8, rank=1, world_size=2)
        context = "spawn" if workers else None
        return stateful.StatefulDataLoader(
            batches, batch_size=None, num_workers=min(workers, usable_cores()), multiprocessing_context=context
        )

    loader = make()
    read = [marks_of(batch) for batch in itertools.islice(loader, 9)]
    state = loader.state_dict()
    resumed = make()
    resumed.load_state_dict(state)
    read += [marks_of(batch) for batch in itertools.islice(resumed, 21)]
    assert read == [marks_of(batch) for batch in itertools.islice(make_loader(rank=1, world_size=2), 30)]


# Wrong on purpose: what these tests would not find, they would not show


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda read: read[1].insert(2, read[1][1]), r"batch 5: rank 1 has \[24, .*\], not \[40, "),
        (lambda read: read[0].pop(3), r"batch 6: rank 0 has \[64, .*\], not \[48, "),
        (lambda read: read.reverse(), r"batch 0: rank 0 has \[8, .*\], not \[0, "),
        (lambda read: read[1][4].__setitem__(1, read[1][4][0]), r"batch 9: rank 1 has \[72, 72, 74, "),
        (lambda read: read[0].pop(), r"batch 18: rank 0 has read only 9"),
        (lambda read: read[0].append([1]), r"21 batches were read, not 20"),
    ],
    ids=["a batch twice", "a batch lost", "ranks confused", "a row twice", "the end lost", "one too many"],
)
def test_the_check_finds_what_is_wrong(spoil, message):
    read = [batches_of(203, 8, 20)[rank::2] for rank in (0, 1)]
    assert_same_batches(batches_of(203, 8, 20), read)
    spoil(read)
    with pytest.raises(AssertionError, match=message):
        assert_same_batches(batches_of(203, 8, 20), read)


class RepeatsARow(Numbered):
    """Wrong: in rank 1's second batch a row is there twice."""

    def gather(self, pieces):
        numbers, labels = super().gather(pieces)
        return numbers.where(numbers != 26, 25), labels.where(labels != 26, 25)


def counts_what_is_computed(place):
    return place._chunk[0]


def one_too_few(place):
    return RIGHT.fget(place) - place.parts


RIGHT = Place.batch


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("dataset", RepeatsARow), r"batch 3: rank 1 has \[24, 25, 25, 27, "),
        (("batch", counts_what_is_computed), r"batch 14: rank 0 has \[160, "),
        (("batch", one_too_few), r"batch 14: rank 0 has \[96, .*\], not \[112, "),
        (("rank", 0), r"batch 1: rank 1 has \[0, 1, .*\], not \[8, "),
    ],
    ids=["a row twice", "prefetched batches counted", "a batch repeated", "ranks that read the same"],
)
def test_a_wrong_loader_is_found(wrong, message, monkeypatch):
    monkeypatch.setattr(stream, "CHUNK", 40)
    what, value = wrong
    dataset = (value if what == "dataset" else Numbered)("text", Config(dataset_size=203))
    read = [[], []]
    for rank in (0, 1):
        make = partial(StreamLoader, dataset, 8, rank=value if what == "rank" else rank, world_size=2)
        first, second = make(), make()
        read[rank] += take(first, 7)
        with monkeypatch.context() as patch:
            if what == "batch":
                patch.setattr(Place, "batch", property(value))
            state = first.state_dict()
        second.load_state_dict(state)
        read[rank] += take(second, 7)
    with pytest.raises(AssertionError, match=message):
        assert_same_batches(batches_of(203, 8, 28), read)
