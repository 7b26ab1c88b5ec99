"""The claims of the serving case: ViT-L/32 over HTTP on loopback, with images that the server has not seen.

`optimised` answers as the baseline does, 25 times as fast and more for one image and 7 times for 64; it uses 60 % and
more of what the machine's own matrix product reaches; 32 clients with an image each are served nearly as fast as one
with 64; other people's servers with the same model are hardly faster if at all; of four times too many requests most
are refused at once, and those that are accepted are answered in time; and it needs half of `preloaded`'s memory. What
servers remember is in rows of its own.
"""

import base64
import contextlib
import io
import itertools
import json
import pickle
import time
from functools import cache, partial
from statistics import median

import pytest
import torch
import torchvision
from torchvision.models._api import register_model

from benchmarks.gate.plugin.fixtures import claim
from benchmarks.gate.plugin.session import GATE
from benchmarks.load.serving import Clients, Halted, overload, p99, running
from impl.serving import VARIANTS, ServingConfig
from impl.serving.client import as_npy, as_pickle, draw_times
from impl.serving.http.inputs import Decoder
from impl.serving.http.pickled import FIELD, HEADER
from impl.serving.model.pictures import draw_pictures
from impl.serving.model.precision import AGREEMENT, drawn, prepare
from impl.serving.model.weights import rebuild, source_of
from impl.shared.cache import CACHE_VARIABLE

# Images of a request, and how often each is timed; the baseline's three times at most, for it takes seconds. With one
# image nothing can be batched or shared out.
SIZES = {1: 10, 64: 1}

# Ratios in one run, over HTTP. A proof takes some 17 pairs, and the baseline 6 s for a single image: so the duels are
# of one image against the baseline, and of 4 against `preloaded`. The other ratios are of the table's medians;
# where single requests leave one below its floor, more are made of both sides. With bfloat16 or float32 the floors are
# lower.
#
#   machine                      Python   date         1, baseline     4, preloaded   64, baseline   1, preloaded
#   AMD EPYC (Zen 5), 2 cores    3.11     2026-11-23   64 (55 to 69)   8.9 (of 8)     11.2           7.0
#   before the kernel of our own                       37 to 46        7.1 to 8.2     9.5 to 11.0
#
# 35 for one image was too near: in one run of four a pair of 34 left it unproven.
# The baseline's first requests take 4.4 to 4.7 s, until the allocator has memory to use again; then 1.6 s.
MORE = 3  # requests of each side, where one leaves a ratio below its floor
WARM = 4  # requests; the server has two threads, and each has to find memory for its model
FLOORS = {"int8": (25, 5), "bfloat16": (15, 2), "float32": (5, 1)}
FLOORS_IN_THE_TABLE = {
    1: {"preloaded": 2, "memoised": 2},
    64: {"preloaded": 1.05, "memoised": 1.05, "optimised": {"int8": 7, "bfloat16": 4, "float32": 1.5}},
}

# Peak memory against `preloaded`'s, in fresh processes: loading the model, and 64 images through it.
CEILING = {"int8": 0.4, "bfloat16": 0.6, "float32": 1.2}
# FLOPs a second, counted by the definition of the layers, against a matrix product of the same precision. The aim is
# 0.75 for int8; 0.87 (0.84 to 0.88) seen in a whole run.
SHARES = {"int8": 0.6, "bfloat16": 0.6, "float32": 0.5}
PRODUCT = 1600, 1024, 4096
SHARED = 16  # images; 64 are as fast, and take four times as long
# 32 clients with an image each against one with 64 (0.97, 0.95, 0.94 seen), and against other servers' 32 clients
# (mosec 0.98, 1.03 and LitServe 1.04, 1.02 seen; 1.1 is the aim: of 0.66 s the forward pass takes 0.65, and theirs is
# ours).
TOGETHER = 0.8
PEER_FLOORS = {"mosec": 0.8, "litserve": 0.8}
CLIENTS = 32

# Seconds of overload, the p99 of what is refused in it, in seconds, and by how many bytes memory may grow.
OVERLOAD, REFUSED_WITHIN, GROWTH = 10, 0.05, 128 * 2**20

# Of ViT-L/32, an image of 224 x 224: 49 patches, 24 layers of 50 tokens, counted by the definition.
TOKENS, HIDDEN, LAYERS = 50, 1024, 24
FLOPS = 2 * (49 * 3072 * HIDDEN + LAYERS * (TOKENS * 12 * HIDDEN**2 + 2 * TOKENS**2 * HIDDEN) + 10 * HIDDEN)

# Against another revision it is a model of which a request takes some milliseconds, in an application in this process.
SMALL = "serving_benchmark_small_vit"
if SMALL not in torchvision.models.list_models():

    @register_model(name=SMALL)
    def small_vit(weights=None, num_classes=10):  # noqa: ARG001 - torchvision's builders take it
        return torchvision.models.VisionTransformer(32, 8, 4, 4, 512, 2048, num_classes=num_classes)


seeds = itertools.count(1)
times = {}


def unseen(count):
    """Pictures that were never sent before, and what they show."""
    return draw_pictures(count, next(seeds))


@pytest.fixture(scope="module")
def serve():
    """Start a variant, or find it running; return its address and its process. The last two that were asked for run.

    All of them at once, with what the baseline's threads keep of the models that they built, took 22 GiB.
    """
    alive = {}

    def start(*command):
        server = alive.pop(command, None)
        if server is None:
            if len(alive) == 2:
                alive.pop(next(iter(alive)))[0].close()
            stack = contextlib.ExitStack()
            server = stack, stack.enter_context(running("-m", "impl.serving", *command))
        alive[command] = server
        return server[1]

    try:
        yield lambda variant, *more: start(variant, "--port", "0", *more)
    finally:
        for stack, _ in alive.values():
            stack.close()


@pytest.fixture(scope="module")
def precision():
    """What this machine serves in; everything is made that is made once."""
    return prepare(ServingConfig()).precision


def form(variant):
    return as_npy if variant == "optimised" else as_pickle


def indices(answer):
    """Return the classes of an answer: in a header where the original's answer has none."""
    assert answer.status == 200, f"status {answer.status}: {answer.body}"
    assert answer.body["success"] is True
    if HEADER in answer.headers:
        return [int(word) for word in answer.headers[HEADER].split()]
    assert answer.body["cached"] is False, "the server had seen these images"
    return [found["index"] for found in answer.body["predictions"]]


def post(clients, variant, pictures):
    (answer,) = clients.post([form(variant)(pictures)])
    return answer


class Side:
    """One side of a duel: each call posts the next of the pictures, which are encoded before."""

    def __init__(self, clients, encode, pictures, kinds, size):
        self.clients, self.kinds, self.size = clients, kinds, size
        self.bodies = [encode(pictures[place : place + size]) for place in range(0, len(pictures), size)]
        self.calls = 0

    def __call__(self):
        call, self.calls = self.calls % len(self.bodies), self.calls + 1
        (answer,) = self.clients.post([self.bodies[call]])
        return call, answer

    def right(self, result):
        """The share of the images that were recognised."""
        call, answer = result
        wanted = self.kinds[call * self.size : (call + 1) * self.size].tolist()
        found = indices(answer)
        assert len(found) == len(wanted), f"{len(found)} predictions for {len(wanted)} images"
        return sum(map(int.__eq__, found, wanted)) / len(wanted)


@pytest.fixture
def clients():
    """Make clients that hang up at the end of the test."""
    with contextlib.ExitStack() as stack:

        def make(url, count=1):
            found = Clients(url, count)
            stack.callback(found.close)
            return found

        yield make


@pytest.mark.parametrize("count", [1, 3, 17])
# `memoised` first: what is asked for next is `preloaded` and `optimised`, and two servers run.
@pytest.mark.parametrize("variant", sorted(list(VARIANTS)[1:], key="memoised".__ne__))
def test_matches(variant, count, serve, clients, precision):
    """The baseline's classes; in int8 and bfloat16 all but the agreement that precision is held to."""
    pictures, expected = compared(count)
    url, _ = serve(variant)
    found = indices(post(clients(url), variant, pictures))
    differ = sum(map(int.__ne__, expected, found))
    allowed = (1 - AGREEMENT.get(precision, 1)) * count if variant == "optimised" else 0
    assert differ <= allowed, f"{differ} of {count} predictions differ from the baseline's: {found} and not {expected}"


@cache
def compared(count):
    """Pictures, and the baseline's classes of them."""
    pictures, kinds = unseen(count)
    expected = expected_classes(pictures)
    assert expected == kinds.tolist(), "the seeded weights do not tell the pictures apart"
    return pictures, expected


@cache
def reference():
    """The baseline's own computation, without HTTP and without building the model anew."""
    return rebuild("vit_l_32", source_of(ServingConfig()))


def expected_classes(pictures):
    pixels = Decoder(224, 64, 10**6).array(pictures, "pictures")
    with torch.inference_mode():
        return reference()(pixels / 255).argmax(dim=1).tolist()


@pytest.mark.parametrize(("slower", "count"), [("preloaded", 4), ("baseline", 1)])
def test_speedup(slower, count, duel, serve, clients, precision):  # noqa: PLR0917 - fixtures
    pictures, kinds = unseen(count * 40)
    sides = [
        Side(clients(serve(variant)[0]), form(variant), pictures, kinds, count) for variant in (slower, "optimised")
    ]
    for _ in range(WARM if slower == "baseline" else 0):  # its first requests take three times as long as the rest
        sides[0]()

    def check(expected, found):
        assert sides[0].right(expected) >= 0.97
        assert sides[1].right(found) >= 0.97

    duel(*sides, floor=FLOORS[precision][slower == "preloaded"], check=check, budget=5)


@pytest.mark.parametrize("count", SIZES)
# Those two run already, and the baseline is warm.
@pytest.mark.parametrize("variant", sorted(VARIANTS, key=lambda variant: variant not in {"baseline", "optimised"}))
def test_time(variant, count, benchmark, serve, clients):
    benchmark.group = f"serving {count} unseen images"
    url, _ = serve(variant)
    post(clients(url), variant, unseen(1)[0])  # warmed up
    rounds = min(SIZES[count], 3) if variant == "baseline" else SIZES[count]
    pictures, kinds = unseen(count * rounds)
    side = Side(clients(url), form(variant), pictures, kinds, count)
    result = benchmark.pedantic(side, rounds=rounds)
    assert side.right(result) >= 0.97
    if not benchmark.disabled:
        times[variant, count] = benchmark.stats.stats.data


def test_plot(request):
    """The times of every variant's requests with an image each, as the client draws them."""
    if ("baseline", 1) not in times:
        pytest.skip("nothing was timed")
    path = request.config.rootpath / ".results" / "serving.svg"
    draw_times(path, {variant: times[variant, 1] for variant in VARIANTS})
    request.config.stash[GATE].report.notes.append(f"serving, times of requests with an unseen image each: {path.name}")
    assert path.stat().st_size > 1000


@pytest.mark.parametrize("count", SIZES)
def test_ratios(count, precision, request, serve, clients):
    """Of the medians in the table, and of more requests where these leave a ratio below its floor."""
    if ("baseline", count) not in times:
        pytest.skip("nothing was timed")
    floors = {
        variant: floor[precision] if isinstance(floor, dict) else floor
        for variant, floor in FLOORS_IN_THE_TABLE[count].items()
    }
    seconds = {variant: list(times[variant, count]) for variant in ("baseline", *floors)}
    ratios = {}
    for variant, least in floors.items():
        for _ in range(MORE):
            if ratio(seconds, variant) < least:
                for name in ("baseline", variant):
                    seconds[name].append(again(name, count, serve, clients))
        ratios[variant] = ratio(seconds, variant)
    request.config.stash[GATE].report.notes.append(
        f"serving, {count} unseen images against the baseline: "
        + ", ".join(f"{variant} {ratio:.2f} times" for variant, ratio in ratios.items())
    )
    for variant, least in floors.items():
        assert ratios[variant] >= least, f"{variant} is {ratios[variant]:.2f} times faster; the floor is {least}"


def ratio(seconds, variant):
    """Of the medians."""
    return median(seconds["baseline"]) / median(seconds[variant])


def again(variant, count, serve, clients):
    """The seconds of one more request, to a server that is warm."""
    one = clients(serve(variant)[0])
    for _ in range(WARM if variant == "baseline" else 1):
        post(one, variant, unseen(1)[0])
    pictures, kinds = unseen(count)
    side = Side(one, form(variant), pictures, kinds, count)
    result = side()
    assert side.right(result) >= 0.97
    return result[1].seconds


@pytest.mark.parametrize("variant", ["memoised", "optimised"])
def test_time_of_a_hit(variant, benchmark, serve, clients):
    """The very same 8 images again: what is measured is a memory."""
    benchmark.group = "serving 8 images again (remembered answers)"
    url, _ = serve(variant, *(["--cache-mb", "16"] if variant == "optimised" else []))
    one, body = clients(url), form(variant)(unseen(8)[0])
    one.post([body])
    (answer,) = benchmark.pedantic(one.post, ([body],), rounds=5)
    assert answer.status == 200
    assert answer.body.get("cached", True) is True


def test_share_of_the_matrix_product(duel, precision):
    """How far from the limit: matrix products of as many FLOPs as the images take."""
    multiply, flops = product(precision)
    images = drawn(SHARED, next(seeds), 224)
    repeat = round(SHARED * FLOPS / flops)
    run = prepare(ServingConfig(precision=precision)).run

    def multiplied():
        for _ in range(repeat):
            multiply()

    duel(multiplied, partial(run, images), floor=SHARES[precision] * repeat * flops / (SHARED * FLOPS), budget=5)


def product(precision):
    """The matrix product of the largest layer, and its FLOPs."""
    rows, inner, columns = PRODUCT
    if precision == "int8":
        left = torch.randint(0, 256, (rows, inner), dtype=torch.uint8)
        right = torch.randint(-127, 128, (columns, inner), dtype=torch.int8)
        weights = torch.ops.onednn.qlinear_prepack(right, [rows, inner])
        scales = torch.ones(columns), torch.zeros(columns, dtype=torch.int32)
        call = (left, 1.0, 0, weights, *scales, None, 1.0, 0, torch.bfloat16, "none", [], "")
        return partial(torch.ops.onednn.qlinear_pointwise, *call), 2 * rows * inner * columns
    dtype = getattr(torch, precision)
    left, right = torch.randn(rows, inner).to(dtype), torch.randn(columns, inner).to(dtype)
    weights = torch.ops.mkldnn._reorder_linear_weight(right, rows)  # noqa: SLF001 - torch's own compiler uses it
    call = (left, weights, None, "none", [], "")
    return partial(torch.ops.mkldnn._linear_pointwise, *call), 2 * rows * inner * columns  # noqa: SLF001 - likewise


class Crowd:
    """32 clients with an image each; `turn` makes a context in which their server runs."""

    def __init__(self, clients, encode, rounds=1):
        self.clients, self.encode, self.rounds = clients, encode, rounds
        self.turn = contextlib.nullcontext
        self.seconds = []
        self.prepare()

    def prepare(self):
        pictures, self.kinds = unseen(CLIENTS * self.rounds)
        self.bodies = [self.encode(pictures[place : place + 1]) for place in range(len(pictures))]

    def __call__(self):
        with self.turn():
            answers = self.clients.post(self.bodies)
        self.seconds += [answer.seconds for answer in answers]
        return answers

    def right(self, answers):
        found = [answer.body["predictions"][0]["index"] for answer in answers]
        share = sum(map(int.__eq__, found, self.kinds.tolist())) / len(found)
        assert share >= 0.97, f"{share:.0%} of the answers are right"
        self.prepare()


def test_32_clients_against_one_with_64(duel, serve, clients):
    url, _ = serve("optimised")
    pictures, kinds = unseen(64 * 40)
    one = Side(clients(url), as_npy, pictures, kinds, 64)
    crowd = Crowd(clients(url, CLIENTS), as_npy, 2)

    def check(expected, found):
        assert one.right(expected) >= 0.97
        crowd.right(found)

    duel(one, crowd, floor=TOGETHER, check=check, budget=5)


def as_inference(pictures):
    return (*as_npy(pictures), "/inference")


def as_base64(pictures):
    return json.dumps({"image": base64.b64encode(as_npy(pictures)[0]).decode()}).encode(), "application/json"


@pytest.mark.parametrize(("peer", "encode"), [("mosec", as_inference), ("litserve", as_base64)])
def test_against_peers(peer, encode, duel, serve, clients, precision, request):  # noqa: PLR0917 - fixtures
    """The same model in the same precision, 32 clients with an image each; the other server is stopped meanwhile."""
    pytest.importorskip(peer)
    our_url, our_process = serve("optimised")
    with running("-m", "benchmarks.peers.serving", peer) as (url, process):
        theirs, ours = Crowd(clients(url, CLIENTS), encode), Crowd(clients(our_url, CLIENTS), as_npy)
        for crowd in (theirs, ours):
            crowd.right(crowd())  # they connect, and have everything in memory
            crowd.seconds.clear()
        with contextlib.closing(Halted(process, our_process)) as halted:
            theirs.turn, ours.turn = partial(halted.but_for, process), partial(halted.but_for, our_process)

            def check(expected, found):
                theirs.right(expected)
                ours.right(found)

            duel(theirs, ours, floor=PEER_FLOORS[peer], check=check, budget=5)
    slow = [1e3 * p99(crowd.seconds) for crowd in (theirs, ours)]
    request.config.stash[GATE].report.notes.append(
        f"serving, {CLIENTS} clients in {precision}: p99 {slow[1]:.0f} ms, and {slow[0]:.0f} ms with {peer}"
    )


def test_overload(serve, clients, request, benchmark):
    """Four times as many requests as it can answer, for ten seconds; `make soak` takes sixty."""
    claim(benchmark)  # what it asserts are times and not answers alone: --benchmark-skip is to skip it
    url, process = serve("optimised")
    crowd = Crowd(clients(url, CLIENTS), as_npy, 2)
    crowd()
    start = time.perf_counter()
    crowd.right(crowd())
    capacity = 2 * CLIENTS / (time.perf_counter() - start)
    if request.config.getoption("benchmark_disable"):
        pytest.skip("nothing is measured")
    found = overload(url, process, 4 * capacity, OVERLOAD)
    request.config.stash[GATE].report.notes.append(f"serving at 4 times {capacity:.0f} images a second: {found}")
    assert_held(found, capacity)


def assert_held(found, capacity):
    """What is to hold in an overload at 4 times a capacity, in images a second; memory from before the overload."""
    bound = (ServingConfig.max_queue + ServingConfig.max_batch) / capacity
    assert not found.others, f"other statuses than 200 and 429: {found.others[:10]}"
    assert found.wrong <= 0.03 * len(found.accepted), str(found)
    assert p99(found.accepted) <= 2 * bound, f"p99 of the accepted is over twice {bound:.2f} s: {found}"
    least = 0.5 * 4 * OVERLOAD * capacity - bound * capacity
    assert len(found.refused) >= least, f"too few were refused, {least:.0f} are wanted: {found}"
    assert p99(found.refused) <= REFUSED_WITHIN, f"some were refused late: {found}"
    assert found.memory[2] - found.memory[0] < GROWTH, f"memory has grown: {found}"


def load_and_run(variant):
    """What a server does in its life: load the model, 64 images."""
    app = VARIANTS[variant](ServingConfig())
    service = app.extensions.get("serving")
    if service:
        service.loaded()
    body, kind = form(variant)(draw_pictures(64, 0)[0])
    answer = app.test_client().post("/predict", data=body, content_type=kind)
    assert answer.status_code == 200


def test_memory(peak_memory, ceiling, precision):
    used = [
        peak_memory(load_and_run, variant, prepare=partial(__import__, "torchvision"))
        for variant in ("preloaded", "optimised")
    ]
    ceiling(*used, CEILING[precision])


@pytest.fixture
def small_requests(tmp_path, monkeypatch):
    """Make work for a duel: each call posts the same 8 images to an application of its own, with a small model."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    pictures, _ = unseen(8)
    pickled = pickle.dumps(torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255)
    body, kind = as_npy(pictures)
    calls = itertools.count()
    with contextlib.ExitStack() as stack:

        def build(variant):
            app = variant(ServingConfig(model=SMALL))
            service, client = app.extensions.get("serving"), app.test_client()
            if service:
                stack.callback(service.close)
                service.loaded()
                return partial(client.post, "/predict", data=body, content_type=kind)

            def work():
                # Bytes after a pickle's end are not read: the same images, and a request that nobody has seen.
                file = io.BytesIO(pickled + str(next(calls)).encode())
                return client.post("/predict", data={FIELD: (file, "train_image.pkl")})

            return work

        yield build


def same_classes(expected, found):
    """Both answer, and alike."""
    assert expected.status_code == found.status_code == 200
    for name in ("predictions", "cached"):
        assert expected.json.get(name) == found.json.get(name)
    assert expected.headers.get(HEADER) == found.headers.get(HEADER)


@pytest.mark.parametrize("variant", VARIANTS)
def test_revision(variant, against, small_requests):
    against("impl.serving", variant, small_requests, check=same_classes)
