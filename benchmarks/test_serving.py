"""The claims of the serving case: ViT-L/32 over HTTP on loopback, with images that the server has not seen.

`optimised` predicts what the baseline does, up to its promise, and at least 99 % of what float32 does. For one image it
is at least 25 times as fast, for 8 at least 8 times. It reaches at least 60 % of the machine's own matrix product, or
40 % if that uses AMX. 32 clients with one image each are served nearly as fast as one client with 64. Other projects'
servers with the same model are hardly faster, if at all, and other runtimes in int8 are slower. Of requests at random
times, at 85 % of the rate of full batches, 99 % are answered within the time of a full batch, in more than half of all
windows of four seconds. Of four times too many requests most are refused at once, and those that are accepted are
answered in time. It needs at most 40 % of the peak memory of `preloaded`. Cache hits have a table of their own.
"""

import contextlib
import itertools
import os
import time
from functools import cache, lru_cache, partial

import pytest
import torch

from benchmarks.load import revisions
from benchmarks.load.clients import Clients, Requests, check_answers, classes_of, p99, unseen_pictures
from benchmarks.load.open_loop import OpenLoop
from benchmarks.load.overload import overload
from benchmarks.load.poisson import windows
from benchmarks.load.rates import capacity_of
from benchmarks.load.servers import ServerPool, SuspendedServers, running
from benchmarks.peers import openvino_vit, torchao_vit
from benchmarks.peers.packed_product import FLOPS as PRODUCT_FLOPS
from benchmarks.peers.packed_product import packed_product
from benchmarks.peers.servers import PEERS
from benchmarks.peers.ways import fastest
from impl.serving import VARIANTS, ServingConfig
from impl.serving.client import as_npy, as_pickle, draw_times
from impl.serving.http.inputs import Decoder
from impl.serving.http.pickled import PICKLE
from impl.serving.model.pictures import draw_pictures, drawn
from impl.serving.model.precision import AGREEMENT, prepare
from impl.serving.model.snapshot import BITS
from impl.serving.model.weights import rebuild, source_of
from impl.shared.cache import CACHE_VARIABLE
from impl.shared.processor import LEVEL_VARIABLE, features
from impl.variant import best_of

BASELINE = next(iter(VARIANTS))
BEST = best_of(VARIANTS)

# Images of a request, and how often it is timed; the baseline at most three times, because it takes seconds. With one
# image there is nothing to batch or to share between the cores, and `preloaded` gains least with 64.
SIZES = {1: 10, 64: 1}
BASELINE_ROUNDS = 3

# Ratios, each a duel of two running servers over HTTP: candidate and floor, per reference and images of a request.
#
#   AMD EPYC (Zen 5), 2 cores, Python 3.11, 2026-11-23   observed        before the int8 kernel
#   baseline / optimised, 1 image                        64 (55 to 69)   37 to 46
#   baseline / optimised, 8 images                       float32 on Zen 3: 2.16
#   baseline / preloaded, 1 image                        7.0
#   preloaded / optimised, 4 images                      8.9 (of 8)      7.1 to 8.2
#
#   Intel Xeon (with AMX), 2 cores, Python 3.11, int8       2026-11-27         2026-11-26, without tiles
#   baseline / optimised, 1 image                        54 (53 to 55)   24, 39 and 49
#   the same in rounds, 2026-11-28, a noisy host         89 (75 to 104)
#   baseline / optimised, 8 images                       20 (19 to 20)   10, 10 and 11
#   baseline / preloaded, 1 image                        8.1             6.9 and 7.5
#   preloaded / optimised, 4 images                      7.0             4.3, 4.0 and 4.6
#
#   AMD EPYC (Zen 4), 2 cores, Python 3.11, 2026-11-27   observed
#   baseline / optimised, 1 image                        49 (44 to 54)
#   baseline / optimised, 8 images                       10.5 (10.3 to 11)
#   preloaded / optimised, 4 images                      5.1 (5.1 to 5.2)
#
# Between the dates of the second table the floors of int8 were 12, 6 and 3 instead of 25, 8 and 5. The last machine is
# near the third: 139 pairs prove it, and 21 do not. 64 images are timed in the table and not asserted: observed were
# 11.2 times the baseline, and a proof, 20 pairs of 14 s, takes too long.
FLOORS = {
    ("baseline", 1): dict(preloaded=2, memoised=2, optimised=dict(int8=25, int7=5, bfloat16=15, float32=5)),
    ("baseline", 8): dict(optimised=dict(int8=8, int7=1.5, bfloat16=4, float32=1.5)),
    ("preloaded", 4): dict(optimised=dict(int8=5, int7=1, bfloat16=2, float32=1)),
}
CLAIMS = [(reference, name, images) for (reference, images), floors in FLOORS.items() for name in floors]
QUICK_CLAIMS = [claim for claim in CLAIMS if claim[2] == 1]  # a pair of 8 images takes 4 s
FULL_CLAIMS = [pytest.param(*claim, marks=pytest.mark.full) for claim in CLAIMS if claim not in QUICK_CLAIMS]
# Requests before a duel. The baseline's first take 4.4 to 4.7 s instead of 1.6, until each of the server's two threads
# has the memory for its model.
WARM_UP = dict(baseline=4)

# Peak memory divided by the reference's: loading the model, and 64 images.
CEILINGS = dict(preloaded=dict(optimised=dict(int8=0.4, int7=0.4, bfloat16=0.6, float32=1.2)))
PEAKS = [(reference, name) for reference, ceilings in CEILINGS.items() for name in ceilings]
# Throughput divided by that of a matrix product in the same precision, in FLOP/s counted by the layers' definition. The
# aim is 0.75 for int8; 0.84 to 0.88 were observed (machine and date as in the first line above). With AMX everything
# but the products weighs more: 0.50 (0.49 to 0.51) of that limit on the last machine above.
SHARES = dict(int8=0.6, int7=0.6, bfloat16=0.6, float32=0.5)
SHARES_AMX = SHARES | dict(int8=0.4)
SHARED = 16  # images; 64 are as fast and take four times as long
# 32 clients with one image each against one client with 64: 0.94 to 0.97 observed, and 0.86 to 0.88 with AMX tiles,
# where the model takes half of the time and everything else as much as before.
CLIENTS, CROWD_FLOOR = 32, 0.8
# Against the peers' 32 clients: mosec 0.98, 1.03 and LitServe 1.02, 1.04 observed. The aim is 1.1, but 0.65 of the
# 0.66 s are the forward pass, which is the same.
PEER_FLOORS = dict(mosec=0.8, litserve=0.8, openvino_nncf=1)

# Against int8 in other runtimes, each in its fastest way, in this process: images of a call. OpenVINO 1.28, 1.27, 1.20
# and 1.21 observed (Intel Xeon with AMX, 2 cores, OpenVINO 2026.4.1, NNCF 3.4, 2026-11-27); the aims are 1.3, 1.15, 1.1
# and 1.05.
RUNTIMES = {"openvino_nncf": openvino_vit.ways, "torchao": torchao_vit.ways}
RUNTIME_IMAGES, RUNTIME_FLOOR = (1, 8, 16, 64), 1
NOT_HELD = {"openvino_nncf"}
# Against this case's own float32, from pixels to logits: images of a call. int7 with
# ML_PERFORMANCE_SUITE_LEVEL=avx2: 2.01 (1.89 to 2.14, 57 pairs, which do not prove 2), and 1.7 (1.54 to 1.81) times as
# fast as torchao's int8 at that level (Intel Xeon, two shared cores, a noisy host, 2026-11-28).
FLOAT_IMAGES, FLOAT_FLOORS = (8,), dict(int8=2, int7=2)
# The least share of float32's top-1. Less is asked of a precision when it is chosen, because that takes seconds. Some
# 1,500 pictures prove it if all agree. 1,025 took 300 s beside other work (Intel Xeon with AMX, 2 cores, 2026-11-27).
PROVEN_AGREEMENT, AGREEMENT_BUDGET, OF_A_SEED = 0.99, 900, 32

# Requests at random times, at a share of the rate of full batches. In more than half of the windows, of 4 s, a share of
# 0.99 is answered within the time of a full batch. `python -m benchmarks.load.rates` proves it of all requests.
RATE, WINDOW, IN_TIME, WINDOWS, TAIL_BUDGET = 0.85, 4, 0.99, 7, 300

OVERLOAD, FACTOR = 10, 4  # seconds, at so many times the capacity
# p99 of refusals in seconds: 0.010 and 0.016 were observed on the machines above, and 0.072 beside other work, which is
# too late. Growth of memory in bytes.
REFUSED_WITHIN, GROWTH = 0.05, 128 * 2**20
HIT_IMAGES, HIT_CACHE_MB = 8, 16

# ViT-L/32 for one image of 224 x 224, by definition: 49 patches, 24 layers of 50 tokens.
TOKENS, HIDDEN, LAYERS = 50, 1024, 24
FLOPS = 2 * (49 * 3072 * HIDDEN + LAYERS * (TOKENS * 12 * HIDDEN**2 + 2 * TOKENS**2 * HIDDEN) + 10 * HIDDEN)

# Against another revision, over HTTP: clients of one request each, and images of a request. The least number of pairs
# with 16 clients took 33 s and did not rule out 10 % (Intel Xeon, two shared cores, beside other work, 2026-11-26).
FULL_SIZE = {"1 image": (1, 1), "8 images": (1, 8), "4 clients": (4, 1)}
# To applications of a small model: answered from the cache, and by the other protocol.
REQUESTS = {
    "hit": (revisions.SmallRequests.hit, revisions.assert_same_answers),
    "kserve": (revisions.SmallRequests.infer, revisions.assert_same_outputs),
}


def by_precision(limits, precision):
    """Return a limit that holds for every precision, or the one for this precision."""
    return limits[precision] if isinstance(limits, dict) else limits


def encoder_of(variant):
    return as_pickle if PICKLE in VARIANTS[variant].accepts else as_npy


@pytest.fixture(scope="module")
def pool():
    with contextlib.closing(ServerPool()) as servers:
        yield servers


@pytest.fixture(scope="module")
def serve(pool):
    """Start a variant with options, or return it running: (URL, process)."""
    return lambda variant, *options: pool.start("-m", "impl.serving", variant, "--port", "0", *options)


@pytest.fixture(scope="module")
def precision():
    """The precision that this machine serves in; snapshots are made if they are missing."""
    return prepare(ServingConfig()).precision


@pytest.fixture
def clients():
    """Connect clients to a URL; they disconnect at the end of the test."""
    with contextlib.ExitStack() as stack:

        def connect(url, count=1):
            return stack.enter_context(contextlib.closing(Clients(url, count)))

        yield connect


@pytest.fixture(scope="module")
def plotted(request):
    """Series of seconds by name; those that were measured are plotted when the module ends."""
    series = {}
    yield series
    if series:
        draw_times(request.config.rootpath / ".results" / "serving.svg", series)


@cache
def expected_of(count):
    """Return pictures and the baseline's classes for them, computed without HTTP and with one model for all calls."""
    pictures, kinds = unseen_pictures(count)
    pixels = Decoder(224, 64, 10**6).array(pictures, "pictures")
    with torch.inference_mode():
        classes = baseline_model()(pixels / 255).argmax(dim=1).tolist()
    assert classes == kinds.tolist(), "the seeded weights do not tell the pictures apart"
    return pictures, classes


@cache
def baseline_model():
    return rebuild("vit_l_32", source_of(ServingConfig()))


def assert_promised(variant, answer, expected):
    """Check an answer against the variant's promise, or against what its precision is held to, if that is stricter."""
    promise = VARIANTS[variant].promise
    assert promise.kind in {"same predictions", "agreement"}, f"no check for {promise}"
    least = max(promise.least, AGREEMENT.get(answer.body.get("precision"), 1.0))
    classes = classes_of(answer)
    differ = sum(map(int.__ne__, expected, classes))
    assert differ <= (1 - least) * len(expected), (
        f"{differ} of {len(expected)} predictions differ from the baseline's: {classes} and not {expected}"
    )


@pytest.mark.full
@pytest.mark.parametrize("count", [1, 3, 17])
@pytest.mark.parametrize("variant", list(VARIANTS)[1:])
def test_matches(variant, count, serve, clients):
    pictures, expected = expected_of(count)
    (answer,) = clients(serve(variant)[0]).post([encoder_of(variant)(pictures)])
    assert_promised(variant, answer, expected)


@pytest.mark.full
@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_time(variant, count, benchmark, serve, clients, plotted, series):  # noqa: PLR0917 - fixtures
    benchmark.group = f"serving {count} unseen images"
    one = clients(serve(variant)[0])
    warm_up(Requests(one, encoder_of(variant)), variant)
    rounds = min(SIZES[count], BASELINE_ROUNDS) if variant == BASELINE else SIZES[count]
    requests = Requests(one, encoder_of(variant), images=count)
    requests.check(benchmark.pedantic(requests, setup=requests.prepare, rounds=rounds))
    if count == 1 and not benchmark.disabled:
        plotted[variant] = benchmark.stats.stats.data
        series("request times, 1 image", plotted[variant], "s")


def warm_up(requests, variant):
    for _ in range(WARM_UP.get(variant, 1)):
        requests.check(requests())


@pytest.fixture(scope="module")
def rounds_of(rounds, pool):
    """Start a reference's server and those of all that are compared with it, and return their rounds."""
    with contextlib.ExitStack() as stack:

        @lru_cache(maxsize=1)  # servers that were stopped meanwhile have other addresses when they start again
        def of_servers(reference, count, addresses):
            stack.close()
            connected = {name: stack.enter_context(contextlib.closing(Clients(url))) for name, url in addresses}
            sides = {name: Requests(one, encoder_of(name), images=count) for name, one in connected.items()}
            for name, side in sides.items():
                warm_up(side, name)
            others = {name: side for name, side in sides.items() if name != reference}
            return rounds(sides[reference], others, prepare=lambda: [side.prepare() for side in sides.values()])

        def of(reference, count):
            names = (reference, *FLOORS[reference, count])
            servers = pool.start_all(*(("-m", "impl.serving", name, "--port", "0") for name in names))
            return of_servers(reference, count, tuple(zip(names, (url for url, _ in servers), strict=True)))

        yield of


@pytest.mark.parametrize(("reference", "variant", "count"), [*QUICK_CLAIMS, *FULL_CLAIMS])
def test_speedup(reference, variant, count, duel, rounds_of, precision):  # noqa: PLR0917 - fixtures
    floor = by_precision(FLOORS[reference, count][variant], precision)
    duel(rounds_of(reference, count), variant, floor=floor, check=check_both)


def check_both(*sides):
    """Check the answers of both sides of a pair."""
    for answered in sides:
        check_answers(answered)


def check_of(reference, candidate):
    """The check of a duel of two `Requests`, which prepares the next pair."""

    def check(reference_answers, candidate_answers):
        reference.check(reference_answers)
        candidate.check(candidate_answers)

    return check


@pytest.mark.parametrize("variant", [name for name, variant in VARIANTS.items() if variant.caches])
def test_time_of_a_hit(variant, benchmark, serve, clients):
    """The same 8 images again: this measures the answer cache and nothing else."""
    benchmark.group = f"serving {HIT_IMAGES} images again (cache hits)"
    unbounded = PICKLE in VARIANTS[variant].accepts  # as the original's cache
    url, _ = serve(variant, *([] if unbounded else ["--cache-mb", str(HIT_CACHE_MB)]))
    one, body = clients(url), encoder_of(variant)(unseen_pictures(HIT_IMAGES)[0])
    one.post([body])
    (answer,) = benchmark.pedantic(one.post, ([body],), rounds=5)
    assert answer.status == 200
    assert answer.body.get("cached", True) is True


@pytest.mark.full
def test_share_of_the_matrix_product(duel, precision):
    """The distance from the limit: matrix products of as many FLOPs as the images take."""
    multiply = packed_product(precision)
    images = drawn(SHARED, 1, 224)
    repeat = round(SHARED * FLOPS / PRODUCT_FLOPS)
    run = prepare(ServingConfig(precision=precision)).run

    def multiply_repeatedly():
        for _ in range(repeat):
            multiply()

    shares = SHARES_AMX if "amx-int8" in features() else SHARES
    floor = shares[precision] * repeat * PRODUCT_FLOPS / (SHARED * FLOPS)
    duel(multiply_repeatedly, partial(run, images), floor=floor)


@pytest.mark.full
@pytest.mark.parametrize("images", FLOAT_IMAGES)
def test_against_float32(images, duel, precision):
    """The best precision of this processor, or of the level that it is held to, against float32; both by this case."""
    if precision not in FLOAT_FLOORS:
        pytest.skip(f"this processor serves in {precision}")
    pixels = drawn(images, 5, 224)
    plain, ours = (prepare(ServingConfig(precision=name)).run for name in ("float32", precision))
    work = (lambda: plain(pixels).numpy()), (lambda: ours(pixels).numpy())
    duel(*work, floor=FLOAT_FLOORS[precision], check=assert_agreement)


@pytest.mark.full
def test_32_clients_against_one_with_64(duel, serve, clients):
    url, _ = serve(BEST)
    one = Requests(clients(url), as_npy, images=64)
    crowd = Requests(clients(url, CLIENTS), as_npy, requests=2 * CLIENTS)
    duel(one, crowd, floor=CROWD_FLOOR, check=check_of(one, crowd))


@pytest.mark.full
@pytest.mark.parametrize("peer", PEERS)
def test_against_peers(peer, duel, serve, clients, note):
    """The same weights, 32 clients with one image each; the other server is suspended meanwhile.

    mosec and LitServe run our best variant's model; `openvino_nncf` is OpenVINO's, in mosec.
    """
    if not PEERS[peer].installed:
        pytest.skip(f"not installed: one of {', '.join(PEERS[peer].needs)}")
    PEERS[peer].prepare()
    our_url, our_process = serve(BEST)
    with running("-m", PEERS[peer].module, *PEERS[peer].arguments) as (url, process):
        theirs = Requests(clients(url, CLIENTS), PEERS[peer].encode, requests=CLIENTS)
        ours = Requests(clients(our_url, CLIENTS), as_npy, requests=CLIENTS)
        for side in (theirs, ours):
            warm_up(side, peer)
            side.seconds.clear()
        with contextlib.closing(SuspendedServers(process, our_process)) as servers:
            theirs.turn, ours.turn = partial(servers.turn_of, process), partial(servers.turn_of, our_process)
            duel(theirs, ours, floor=PEER_FLOORS[peer], check=check_of(theirs, ours))
    note("p99", 1e3 * p99(ours.seconds), "ms")
    note(f"p99 with {peer}", 1e3 * p99(theirs.seconds), "ms")


@pytest.mark.full
@pytest.mark.parametrize("images", RUNTIME_IMAGES)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_against_int8_runtimes(runtime, images, duel, precision):
    """The same weights in int8, from pixels to logits: neither decoding nor HTTP. What they prepare is not timed."""
    if precision not in BITS:
        pytest.skip(f"this processor serves in {precision}")
    if runtime in NOT_HELD and LEVEL_VARIABLE in os.environ:
        pytest.skip(f"{runtime} cannot be held to a level: with oneDNN at AVX2 it finds no softmax for this processor")
    pixels = drawn(images, 4, 224)
    _, predict = fastest(RUNTIMES[runtime](pixels))
    run = prepare(ServingConfig(precision=precision)).run
    duel(predict, lambda: run(pixels).numpy(), floor=RUNTIME_FLOOR, check=assert_agreement)


def assert_agreement(theirs, ours):
    """Two quantisations of one network may differ in what is nearly a tie."""
    differ = int((theirs.argmax(axis=1) != ours.argmax(axis=1)).sum())
    assert differ <= 2 * (1 - AGREEMENT["int8"]) * len(ours), f"{differ} of {len(ours)} predictions differ"


@pytest.mark.full
@pytest.mark.measures
def test_agreement_with_float32(share, precision):
    """Near ties count: what differs is a miss."""
    run = prepare(ServingConfig(precision=precision)).run

    def outcomes():
        for seed in itertools.count(10**6):
            pixels = drawn(OF_A_SEED, seed, 224)
            with torch.inference_mode():
                expected = baseline_model()(pixels / 255).argmax(dim=1)
            yield from (run(pixels).argmax(dim=1) == expected).tolist()

    share(outcomes(), least=PROVEN_AGREEMENT, budget=AGREEMENT_BUDGET)


@pytest.mark.full
@pytest.mark.measures
def test_poisson_load(serve, share, note, series):
    url, _ = serve(BEST)
    capacity = capacity_of(url)
    bound = ServingConfig.max_batch / capacity
    note("capacity", capacity, "images per second")
    note("bound", bound, "s")
    with contextlib.closing(OpenLoop(url)) as load:
        parts = windows(load, RATE * capacity, seed=1, seconds=WINDOW, count=WINDOWS)
        seconds = []

        def outcomes():
            for part in parts:
                seconds.extend(part.seconds)
                yield part.in_time(bound) >= IN_TIME

        try:
            share(outcomes(), least=0.5, budget=TAIL_BUDGET)
        finally:
            series("request times at random arrivals", seconds, "s")


@pytest.mark.full
@pytest.mark.measures
def test_overload(serve, clients, note, request):
    """Four times as many requests as it can answer, for ten seconds; `make soak` takes sixty."""
    url, process = serve(BEST)
    crowd = Requests(clients(url, CLIENTS), as_npy, requests=2 * CLIENTS)
    warm_up(crowd, BEST)
    start = time.perf_counter()
    answers = crowd()
    capacity = 2 * CLIENTS / (time.perf_counter() - start)
    crowd.check(answers)
    if request.config.getoption("benchmark_disable"):
        return  # what follows asserts times
    outcome = overload(url, process, FACTOR * capacity, OVERLOAD)
    note("capacity", capacity, "images per second")
    note("p99 of the accepted", p99(outcome.accepted), "s")
    note("p99 of the refused", 1e3 * p99(outcome.refused), "ms")
    note("growth of memory", (outcome.memory[2] - outcome.memory[0]) / 2**20, "MiB")
    assert_withstood(outcome, capacity)


def assert_withstood(outcome, capacity):
    """Check an overload at FACTOR times the capacity, in images per second."""
    bound = (ServingConfig.max_queue + ServingConfig.max_batch) / capacity
    assert not outcome.others, f"other statuses than 200 and 429: {outcome.others[:10]}"
    assert outcome.wrong <= 0.03 * len(outcome.accepted), str(outcome)
    assert p99(outcome.accepted) <= 2 * bound, f"p99 of the accepted exceeds twice {bound:.2f} s: {outcome}"
    least = 0.5 * FACTOR * OVERLOAD * capacity - bound * capacity
    assert len(outcome.refused) >= least, f"too few were refused, at least {least:.0f} are required: {outcome}"
    assert p99(outcome.refused) <= REFUSED_WITHIN, f"some were refused late: {outcome}"
    assert outcome.memory[2] - outcome.memory[0] < GROWTH, f"memory has grown: {outcome}"


def load_and_predict(variant):
    """What a server does in its life: it loads the model, and answers a request with 64 images."""
    app = variant(ServingConfig())
    service = app.extensions.get("serving")
    if service:
        service.loaded()
    body, kind = (as_pickle if PICKLE in variant.accepts else as_npy)(draw_pictures(64, 0)[0])
    answer = app.test_client().post("/predict", data=body, content_type=kind)
    assert answer.status_code == 200


import_torchvision = partial(__import__, "torchvision")


@pytest.mark.parametrize(("reference", "variant"), PEAKS)
def test_memory(reference, variant, peak_memory, ceiling, precision):
    peaks = [peak_memory(load_and_predict, VARIANTS[name], prepare=import_torchvision) for name in (reference, variant)]
    ceiling(*peaks, by_precision(CEILINGS[reference][variant], precision))


START = """
import numpy
from impl.serving import VARIANTS, ServingConfig
from impl.serving.client import as_npy
app = VARIANTS["{variant}"](ServingConfig())
app.extensions["serving"].loaded()
body, kind = as_npy(numpy.zeros((1, 224, 224, 3), numpy.uint8))
print(app.test_client().post("/predict", data=body, content_type=kind).json["predictions"][0]["index"])
app.extensions["serving"].close()
"""


@pytest.mark.parametrize("variant", [BEST])
@pytest.mark.usefixtures("precision")
def test_revision_start(variant, against_start):
    against_start("impl.serving", variant, START.format(variant=variant))


@pytest.mark.parametrize("variant", [BEST])
@pytest.mark.usefixtures("precision")
def test_revision_memory(variant, against_memory):
    against_memory("impl.serving", variant, lambda build: (load_and_predict, build), prepare=import_torchvision)


@pytest.fixture
def small_requests(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    with contextlib.closing(revisions.SmallRequests()) as requests:
        yield requests


@pytest.mark.parametrize("variant", VARIANTS)
def test_revision(variant, against, small_requests):
    against("impl.serving", variant, small_requests.predict, check=revisions.assert_same_answers)


@pytest.mark.parametrize("kind", REQUESTS)
def test_revision_request(kind, against, small_requests):
    work, check = REQUESTS[kind]
    against("impl.serving", BEST, partial(work, small_requests), check=check)


@pytest.mark.parametrize("kind", revisions.BODIES)
def test_revision_decoder(kind, against):
    """The images of a request, without the rest of it."""
    work = revisions.decoding(*revisions.BODIES[kind]())
    against("impl.serving.http.inputs", "Decoder", work, check=revisions.assert_same_images)


@pytest.mark.gate(clock="wall")  # this process waits, and the servers' cores wait for each other by polling
@pytest.mark.parametrize("size", FULL_SIZE)
def test_revision_full_size(size, against, pool, clients, monkeypatch):
    """ViT-L/32 in a process of its own, over HTTP. Without an answer cache, the same images can be posted again."""
    count, images = FULL_SIZE[size]
    bodies = [as_npy(unseen_pictures(images)[0]) for _ in range(count)]

    def work(variant):
        module, folder = revisions.server_of(variant)
        monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        url, _ = pool.start("-m", module, BEST, "--port", "0")
        return partial(clients(url, count).post, bodies)

    against("impl.serving", BEST, work, check=revisions.assert_same_classes)
