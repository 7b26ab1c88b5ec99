"""The claims of the evaluation case.

`optimised` predicts what the baseline predicts for every image, and `low_precision` for 99.9 % of them, with the same
accuracy. Both are faster by the ratios below, with the preparation of the model included, and need no more memory.
`optimised` is no slower than ONNX Runtime and OpenVINO in float32, and reaches most of the throughput of the machine's
own matrix product. `batched` and `compiled` claim no speed: they are here because they are the usual first attempts.
"""

import os
import subprocess
import sys
import time
from functools import cache, partial

import pytest
import torch

from benchmarks.peers import matrix_product, onnxruntime_cnn, openvino_cnn
from benchmarks.peers.ways import fastest
from benchmarks.quick import quick_or_full
from impl.evaluation import VARIANTS, load_data, load_model
from impl.evaluation import model as network
from impl.evaluation.data import describe_data
from impl.evaluation.digits import draw_digits
from impl.shared.processor import features
from impl.variant import SAME_PREDICTIONS, agreement, best_of

BASELINE = next(iter(VARIANTS))
BEST = best_of(VARIANTS)

# Images, and how often each is timed. No optimisation should win at one image: preparing the model costs more than it
# saves. 10,000 is the size of the task.
TASK = 10_000
SIZES = {1: 20, TASK: 3}
BASELINE_ROUNDS = 1  # a call takes seconds

# Ratios to the baseline, each a duel at 4,000 images with the preparation included. At 10,000, where it matters less,
# they are a few per cent higher. The quick run has 2,000, and the same floors.
#
#   machine                            Python   date         optimised      low_precision
#   AMD EPYC (Zen 5), 2 cores          3.11     2026-11-23   26.3 to 36.9   46.7 to 59.0
#   the same, beside another load               2026-11-23   27.5           46.7
#   Intel Xeon (with AMX), 2 cores     3.11     2026-11-26   25.5 to 37.9   30.4 to 66.9
#   AMD EPYC (Zen 4), 2 cores          3.11     2026-11-27   24.7           65.4
#   Intel Xeon (with AMX), at 2,000    3.11     2026-11-28   34.8, 36.0     54.4, 55.5
#   the same, held to AVX2             3.11     2026-11-28   19.2           25.7
#
# The floor of `low_precision` was 35 before the third of these machines. On the last but one, 24 pairs in 30 s prove
# 19.8 for `optimised` and no more.
FLOORS = dict(optimised=20, low_precision=20)
# Without AVX-512 a vector takes two or four instructions.
FLOORS_NARROW = dict(optimised=6, low_precision=20)
IMAGES = 4_000
QUICK_IMAGES = 2_000

# Peak memory divided by the baseline's, in fresh processes, of preparing and evaluating 10,000 images that are in
# memory already. The others are recorded and not judged.
#
#   machine                            Python   date         optimised      low_precision
#   AMD EPYC (Zen 5), 2 cores          3.11     2026-11-23   0.21           0.21
CEILINGS = dict(optimised=0.5, low_precision=0.5)

# The best variant is not slower than other runtimes, each at its best batch size, for all 10,000 images.
PEERS = {"onnxruntime": onnxruntime_cnn.ways, "openvino": openvino_cnn.ways}
PEER_FLOOR = 1

# Integers against the best variant in float32, for all 10,000 images. The aim is 1.5. With
# ML_PERFORMANCE_SUITE_LEVEL=avx2, in 16 bits, it is missed: 1.43 (1.36 to 1.48), and 1.34 (1.32 to 1.39) at 4,000
# images. In int8, at 4,000 images: 1.86 (1.75 to 1.97). Intel Xeon with AMX, two shared cores, 2026-11-28.
INTEGER_FLOORS = dict(low_precision=1.2)

# The throughput in FLOPs, counted by the definition of the layers (`model.FLOPS`), as a share of that of a matrix
# product of the same precision. Winograd's algorithm executes half as many, so float32 can exceed 1.
#
#   machine                            Python   date         optimised      low_precision
#   AMD EPYC (Zen 5), 2 cores          3.11     2026-11-23   1.92           1.09
#   Intel Xeon (with AMX), 2 cores     3.11     2026-11-26   1.27, 1.48     0.39, 0.62
#
# With AMX the product multiplies int8 in tiles, which the kernel does not use.
SHARES = dict(optimised=0.6, low_precision=0.4)
SHARES_AMX = SHARES | dict(low_precision=0.2)
PRECISIONS = dict(low_precision="int8")
PRECISION_BY_DEFAULT = "float32"

# Images against another revision: some 5 to 15 ms each.
REVISION_IMAGES = dict(baseline=100, batched=200, optimised=1_000, low_precision=1_000)
REVISION_IMAGES_BY_DEFAULT = 250

# Seconds until the first prediction of a process: compiled, and loaded from the compilers' caches. Recorded and not
# judged; these were observed on the machine above with the saved run 0004.
COLD_STARTS = dict(optimised=(4.9, 3.3), low_precision=(4.6, 3.3), compiled=(22, 12))
# Their preparation is timed by test_cold_start only, because it takes seconds even when the compiler's cache is warm.
PREPARED_ONCE = dict(compiled=12)

POINTS = 0.05  # by which the accuracy of a variant that promises agreement may differ from the baseline's
PEER_AGREEMENT = 0.999
OTHER_SEED = 2026


@cache
def model():
    return load_model()


@cache
def held_out():
    images, labels = load_data()[1]
    assert len(images) == 10_000, f"the test set has {len(images):,} images; every number here is about 10,000"
    return images, labels


@cache
def other_digits():
    """10,000 digits that are in no test set: drawn with another seed."""
    images, labels = draw_digits(10_000, OTHER_SEED)
    return torch.from_numpy(images), torch.from_numpy(labels)


@cache
def evaluator(variant):
    return VARIANTS[variant](model())


def run(variant, count):
    """Prepare and evaluate."""
    images, labels = (part[:count] for part in held_out())
    return (evaluator(variant) if variant in PREPARED_ONCE else VARIANTS[variant](model()))(images, labels)


@cache
def expected(data, count):
    return evaluator(BASELINE)(*(part[:count] for part in data()))


def assert_same_predictions(expected, result):
    """Every prediction, the counts and the accuracy equal the baseline's."""
    assert result.predictions.dtype == torch.int64, f"predictions are {result.predictions.dtype}"
    assert result.predictions.shape == expected.predictions.shape, f"predictions are {list(result.predictions.shape)}"
    wrong = torch.nonzero(result.predictions != expected.predictions)[:, 0].tolist()
    assert not wrong, (
        f"{len(wrong)} of {expected.total} predictions differ from the baseline's; the first, of image {wrong[0]}, is "
        f"{result.predictions[wrong[0]]} and not {expected.predictions[wrong[0]]}"
    )
    assert (result.correct, result.total) == (expected.correct, expected.total)
    assert result.accuracy == expected.accuracy


def assert_agreement(expected, result, least):
    """At least this share of the predictions equals the baseline's, and accuracy differs by at most 0.05 points."""
    differ = int((result.predictions != expected.predictions).sum())
    assert differ <= (1 - least) * expected.total + 1e-9, (
        f"{differ} of {expected.total} predictions differ from the baseline's; {least:.1%} have to agree"
    )
    difference = 100 * abs(result.accuracy - expected.accuracy)
    # In a small set one image is more than 0.05 points: there every prediction has to agree anyway.
    assert difference <= POINTS + 1e-9, f"accuracy is {difference:.3f} points from the baseline's; {POINTS} are allowed"
    assert (result.total, result.correct) == (expected.total, round(result.accuracy * expected.total))


CHECKS = {
    SAME_PREDICTIONS.kind: lambda _promise: assert_same_predictions,
    agreement(1).kind: lambda promise: partial(assert_agreement, least=promise.least),
}


def check_of(variant):
    """The check that holds a variant to its promise: `check(baseline's result, its own)`."""
    promise = VARIANTS[variant].promise
    return CHECKS[promise.kind](promise)


@pytest.mark.parametrize("count", [1, 7, 251, 1_003])
@pytest.mark.parametrize("variant", list(VARIANTS)[1:])
def test_matches(variant, count):
    images, labels = (part[:count] for part in held_out())
    check_of(variant)(expected(held_out, count), evaluator(variant)(images, labels))


@pytest.mark.full
@pytest.mark.parametrize("data", [held_out, other_digits], ids=["test set", "another seed"])
@pytest.mark.parametrize("variant", list(VARIANTS)[1:])
def test_every_image(variant, data):
    check_of(variant)(expected(data, 10_000), evaluator(variant)(*data()))


def test_trained():
    accuracy = expected(held_out, 10_000).accuracy
    assert accuracy >= 0.97, f"the trained model is right for {accuracy:.2%} of the images; at least 97 % are expected"


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_time(variant, count, benchmark, torch_profile, note):
    benchmark.group = f"evaluation {count:,} images"
    few = [part[:200] for part in held_out()]
    evaluator(variant)(*few)  # compiled, or loaded from the cache: see test_cold_start
    torch_profile(partial(evaluator(variant), *few))
    rounds = min(SIZES[count], BASELINE_ROUNDS) if variant == BASELINE else SIZES[count]
    cpu_start = time.process_time()
    result = benchmark.pedantic(run, (variant, count), rounds=rounds)
    cpu = (time.process_time() - cpu_start) / rounds
    check_of(variant)(expected(held_out, count), result)
    if benchmark.disabled or count < max(SIZES):
        return
    wall = benchmark.stats.stats.median
    benchmark.extra_info["data"] = describe_data()
    note("images per second", count / wall)
    note("CPU time", 1e3 * cpu, "ms")
    if variant not in PREPARED_ONCE:
        start = time.perf_counter()
        VARIANTS[variant](model())
        note("preparation", 1e3 * (time.perf_counter() - start), "ms")
    note("accuracy", 100 * result.accuracy, "%")
    same = result.predictions == expected(held_out, count).predictions
    note("agreement with the baseline", 100 * float(same.double().mean()), "%")
    precision = PRECISIONS.get(variant, PRECISION_BY_DEFAULT)
    share = network.FLOPS * count / wall / matrix_product.flops_per_second(precision)
    note(f"share of the {precision} matrix product", 100 * share, "%")


@pytest.fixture(scope="module")
def rounds_of(rounds):
    """Return the rounds of the baseline and the variants that have a floor, by the number of images."""

    @cache
    def of(images):
        return rounds(partial(run, BASELINE, images), {name: partial(run, name, images) for name in FLOORS})

    return of


@pytest.mark.full
@pytest.mark.parametrize("variant", FLOORS)
def test_speedup(variant, duel, rounds_of):
    race(duel, rounds_of(IMAGES), variant)


@pytest.mark.parametrize("variant", FLOORS)
def test_speedup_quick(variant, duel, rounds_of):
    race(duel, rounds_of(QUICK_IMAGES), variant)


def race(duel, rounds, variant):
    floors = FLOORS if "avx512f" in features() else FLOORS_NARROW
    VARIANTS[variant].require()
    duel(rounds, variant, floor=floors[variant], check=check_of(variant))


@pytest.mark.parametrize("variant", SHARES)
def test_share_of_the_matrix_product(variant, duel):
    """The distance from the limit: a matrix product of as many FLOPs as the images take."""
    VARIANTS[variant].require()
    multiply = matrix_product.fastest_way(PRECISIONS.get(variant, PRECISION_BY_DEFAULT))
    count = min(round(matrix_product.FLOPS / network.FLOPS), len(held_out()[0]))
    shares = SHARES_AMX if "amx-int8" in features() else SHARES
    floor = shares[variant] * matrix_product.FLOPS / (network.FLOPS * count)
    duel(multiply, partial(run, variant, count), floor=floor)


@pytest.mark.full
@pytest.mark.parametrize("variant", INTEGER_FLOORS)
def test_against_float32(variant, duel):
    """Integers against the best float32 of this case, at the size of the task; both are prepared anew in each call."""
    VARIANTS[variant].require()
    both = [partial(run, name, TASK) for name in (BEST, variant)]
    duel(*both, floor=INTEGER_FLOORS[variant], check=check_of(variant))


@pytest.mark.full
@pytest.mark.parametrize("peer", PEERS)
def test_against_peers(peer, duel):
    """They are prepared already; the best variant prepares and evaluates."""
    images = held_out()[0].numpy()
    _, predict = fastest(PEERS[peer](model(), images))
    duel(predict, partial(run, BEST, len(images)), floor=PEER_FLOOR, check=assert_peer)


def assert_peer(predictions, result):
    """A peer rounds differently, which may change a prediction that is nearly a tie."""
    differ = int((result.predictions.numpy() != predictions).sum())
    allowed = (1 - PEER_AGREEMENT) * result.total + 1e-9
    assert differ <= allowed, f"{differ} of {result.total} predictions differ from the peer's"


def compile_variant(variant):
    """Compile, or load the compiled code, with an untrained model."""
    images = torch.zeros(8, 28, 28, dtype=torch.uint8)
    VARIANTS[variant](network.build().eval())(images, torch.zeros(8, dtype=torch.int64))


def prepare_and_evaluate(variant, trained, images, labels):
    return VARIANTS[variant](trained)(images, labels)


@pytest.mark.parametrize("variant", quick_or_full(VARIANTS, CEILINGS))
def test_memory(variant, peak_memory, ceiling):
    VARIANTS[variant].require()
    arrays = [part.numpy() for part in held_out()]  # tensors would be passed in shared memory
    peaks = [
        peak_memory(prepare_and_evaluate, name, model(), *arrays, prepare=partial(compile_variant, name))
        for name in (BASELINE, variant)
    ]
    ceiling(*peaks, CEILINGS.get(variant))


def evaluate_many_times(prepare, trained, images, labels):
    """Enough calls for 1 MiB that each of them keeps to count."""
    evaluate = prepare(trained)
    for _ in range(20):
        evaluate(images, labels)


START = """
from impl.evaluation import VARIANTS, load_data, load_model
images, labels = load_data()[1]
print(VARIANTS["{variant}"](load_model())(images[:100], labels[:100]).correct)
"""


@pytest.mark.parametrize("variant", [BEST])
def test_revision_start(variant, against_start):
    against_start("impl.evaluation", variant, START.format(variant=variant))


@pytest.mark.parametrize("variant", [BEST])
def test_revision_memory(variant, against_memory):
    arrays = [part.numpy() for part in held_out()]
    against_memory("impl.evaluation", variant, lambda prepare: (evaluate_many_times, prepare, model(), *arrays))


# CPU time says nothing of a GPU.
CLOCKS = {"cpu": [], "cuda": [pytest.mark.gate(clock="wall")]}


@pytest.mark.parametrize("variant", [pytest.param(name, marks=CLOCKS[VARIANTS[name].device]) for name in VARIANTS])
def test_revision(variant, against):
    """Evaluation alone: preparation takes milliseconds, and test_time records it."""
    data = [part[: REVISION_IMAGES.get(variant, REVISION_IMAGES_BY_DEFAULT)] for part in held_out()]
    against("impl.evaluation", variant, lambda build: partial(build(model()), *data), check=assert_same_predictions)


@pytest.mark.parametrize("variant", FLOORS)
def test_revision_full_size(variant, against):
    """As users run it: prepare the model, and evaluate the whole test set."""

    def work(build):
        return lambda: build(model())(*held_out())

    against("impl.evaluation", variant, work, check=assert_same_predictions)


def test_revision_load_data(against):
    against("impl.evaluation", "load_data", lambda load: load, check=assert_same_data)


def assert_same_data(expected, data):
    """Images and labels of both sets are equal."""
    for wanted, got in zip((*expected[0], *expected[1]), (*data[0], *data[1]), strict=True):
        assert got.dtype == wanted.dtype
        assert torch.equal(wanted, got), f"{list(got.shape)} differs from {list(wanted.shape)}"


def test_revision_load_model(against):
    """Of a model that is trained already: training takes seconds, once."""
    against("impl.evaluation", "load_model", lambda load: load, check=assert_same_model)


def assert_same_model(expected, result):
    """Layers, mode and every weight are equal."""
    assert (str(result), result.training) == (str(expected), expected.training)
    weights = result.state_dict()
    differ = [name for name, wanted in expected.state_dict().items() if not torch.equal(wanted, weights[name])]
    assert not differ, f"other weights in {', '.join(differ)}"


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    return tmp_path_factory.mktemp("caches")


@pytest.mark.full
@pytest.mark.parametrize("cached", [False, True], ids=["cold", "cached"])
@pytest.mark.parametrize("variant", COLD_STARTS)
def test_cold_start(variant, cached, benchmark, caches):
    """The cost outside the ratios: the first images of a process, compiled or loaded from the compilers' caches."""
    VARIANTS[variant].require()
    benchmark.group = "evaluation first images of a process"
    script = f"from benchmarks.test_evaluation import compile_variant; compile_variant({variant!r})"
    folder = caches / variant
    folders = {name: str(folder) for name in ("NUMBA_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")}
    start = partial(
        subprocess.run, [sys.executable, "-W", "ignore", "-c", script], check=True, env={**os.environ, **folders}
    )
    if cached and not folder.exists():  # the cold start fills it, unless that test was deselected
        start()
    benchmark.pedantic(start, rounds=1)
    assert any(folder.iterdir()), "nothing was compiled into the cache"
