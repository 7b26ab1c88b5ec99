"""Options out of range, not finite or contradictory: one line that says which, at once, and never a traceback."""

import re
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from impl.serving import VARIANTS, ServingConfig
from impl.serving.__main__ import main, parse
from impl.serving.config import LIMITS
from impl.serving.http import server
from impl.serving.http.pickled import PICKLE, application
from impl.variant import SAME_PREDICTIONS, Variant
from tests.serving.conftest import TINY

ODD = ["", " ", "-1", "-0.0", "0", "0.5", "1e400", "inf", "-inf", "nan", "NaN", "1e-400", "0x10", "1,5", "five", "None",
       "true", "65536", "99999999999999999999", "9" * 5000, "1" + "0" * 400, "x" * 5000, "../../x", "/", ".",
       "/dev/null", "/dev/zero", "a b", "a\nb", "a\tb", "é", "💥", "\u0663", "--", "%s", "{}", "'", '"', "*", "\udcff",
       "a\0b", "-", "--port"]  # fmt: skip
VALUED = [
    "host",
    "port",
    "model",
    "checkpoint",
    "weights",
    "labels",
    "precision",
    *[n.replace("_", "-") for n in LIMITS],
]


def refused(capsys, *arguments):
    """Parse options, and return the one line that says what is wrong with them; None if they are accepted."""
    try:
        parse(list(arguments))
    except SystemExit as error:
        assert error.code == 2  # noqa: PT017 - not every value is refused
        printed = capsys.readouterr()
        assert printed.out == ""
        (line,) = printed.err.splitlines()
        assert line.startswith("python -m impl.serving: ")
        assert len(line) < 600
        assert line.isprintable()
        return line
    assert capsys.readouterr() == ("", "")
    return None


@pytest.mark.parametrize("value", ODD, ids=lambda value: ascii(value[:20]))
@pytest.mark.parametrize("option", VALUED)
def test_odd_values(option, value, capsys):
    for arguments in ([f"--{option}={value}"], [f"--{option}", value]):
        line = refused(capsys, "optimised", *arguments)
        assert line is None or f"--{option}" in line or "the following arguments" in line or "unrecognized" in line


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(
    options=st.lists(
        st.tuples(
            st.sampled_from(VALUED),
            st.text(max_size=8) | st.integers().map(str) | st.floats().map(str) | st.sampled_from(ODD),
        ),
        max_size=4,
    ),
    more=st.lists(st.text(max_size=6), max_size=2),
)
def test_generated_options(capsys, options, more):
    refused(capsys, *[f"--{name}={value}" for name, value in options], *more)
    refused(capsys, "optimised", *[f"--{name}={value}" for name, value in options])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "-1"], "--port must be at least 0 and at most 65535, not -1"),
        (["--port", "65536"], "--port must be"),
        (["--port", "http"], "argument --port: invalid int value: 'http'"),
        (["--host", ""], "--host must be an address or a name, not ''"),
        (["--host", " 127.0.0.1"], "--host must be"),
        (["--host", "a\0b"], "--host must be"),
        (["--host", "é"], "--host must be"),
        (["--max-batch=--"], "--max-batch has no value"),
        (["--cache-mb", "inf"], "--cache-mb must be at least 0 and at most 1,000,000, not inf"),
        (["--cache-mb", "nan"], "--cache-mb must be"),
        (["--cache-mb", "-1"], "--cache-mb must be"),
        (["--max-body-mb", "1e300"], "--max-body-mb must be"),
        (["--max-batch", "1000000"], "--max-batch must be at least 1 and at most 1,024"),
        (["--max-queue", "0"], "--max-queue must be"),
        (["--max-queue", "63"], "--max-queue (63 images) must be at least --max-batch (64)"),
        (["--max-queue", "1000000000"], "--max-queue must be"),
        (["--max-wait-ms", "inf"], "--max-wait-ms must be"),
        (["--max-wait-ms", "50", "--timeout-ms", "20"], "--max-wait-ms (50.0) must be at most --timeout-ms (20.0)"),
        (["--timeout-ms", "inf"], "--timeout-ms must be"),
        (["--timeout-ms", "0"], "--timeout-ms must be"),
        (["--max-pixels", "999999999"], "--max-pixels must be at least 1 and at most 178,956,970"),
        (["--weights", ""], "--weights must be a name in torchvision"),
        (["--model", ""], "--model must be a name"),
        (["--model", "../x"], "--model must be a name"),
        (["--model", "a\0b"], "--model must be a name"),
        (["--checkpoint", ""], "--checkpoint: there is no file '.'"),
        (["--checkpoint", "/dev/null"], "--checkpoint: there is no file '/dev/null'"),
        (["--labels", "/"], "--labels: there is no file '/'"),
        (["--labels", "x" * 5000], "--labels: "),
        (["--checkpoint", __file__, "--weights", "A"], "--checkpoint and --weights are mutually exclusive"),
        (["--port", "1", "--port=2"], "--port is given more than once"),
        (["--i"], "unrecognized arguments: --i"),
        (["--max-b", "3"], "unrecognized arguments: --max-b 3"),
        (["--precision", "int4"], "argument --precision: invalid choice: 'int4'"),
        (["more"], "unrecognized arguments: more"),
    ],
    ids=str,
)
def test_which_option_is_wrong(arguments, message, capsys):
    assert message in refused(capsys, "optimised", *[argument[:5000] for argument in arguments])


def test_no_permission_to_look(capsys, monkeypatch):
    def denied(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.is_file", denied)
    assert "--labels: " in refused(capsys, "optimised", "--labels", "/secret/labels.txt")


def test_options_that_a_variant_does_not_use(capsys):
    """The originals would ignore them."""
    for variant in VARIANTS:
        reads_pickles = PICKLE in VARIANTS[variant].accepts
        for option in ("--cache-mb=5", "--max-batch=8", "--precision=int8", "--timeout-ms=9", "--max-pixels=9"):
            line = refused(capsys, variant, option)
            expected = f"{variant} does not use {option.partition('=')[0]}: leave it out"
            assert (line is not None and expected in line) is reads_pickles
        assert refused(capsys, variant, "--precision", "float32", "--max-body-mb", "100") is None


def test_the_limits_themselves_are_accepted():
    for name, (least, most, _) in LIMITS.items():
        for value in (least, most):
            fitting = {"max_batch": 1} if name == "max_queue" else {"max_queue": 4096}
            fitting |= {"max_wait_ms": 0} if name == "timeout_ms" else {}
            assert getattr(ServingConfig(**{**fitting, name: value}), name) == value


@pytest.mark.parametrize("value", ["64", None, 64.0, True, [1], b"1"])
def test_settings_that_are_no_whole_numbers(value):
    with pytest.raises(TypeError, match="max_batch must be a whole number, not"):
        ServingConfig(max_batch=value)


@pytest.fixture
def start(monkeypatch, capsys):
    """Start a server without a model, and return the line that says why it did not, or what it printed."""
    built = []

    def build(config):
        built.append(config)
        return application(lambda _: pytest.fail("nothing is posted"))

    monkeypatch.setitem(VARIANTS, "quick", Variant(build, SAME_PREDICTIONS, accepts=(PICKLE,)))

    def stopped(running):
        running.stop()
        running.run()

    monkeypatch.setattr(server, "until_stopped", stopped)

    def run(*arguments):
        built.clear()
        try:
            main(["quick", "--model", TINY, "--i-trust-every-client", *arguments])
        except SystemExit as error:
            text = capsys.readouterr().err + ("" if isinstance(error.code, int) else str(error.code))
            assert not built, "the model was loaded before the address was tried"
        else:
            text = capsys.readouterr().out
        (line,) = text.splitlines()
        return line

    return run


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", ":", "::1%nope", "x" * 300, "a b", "a\0b", "é" * 70])
def test_addresses_that_cannot_be_used(host, start):
    line = start(f"--host={host}", "--port=0")
    assert re.match("cannot start: |python -m impl.serving: --host", line)


def test_a_port_that_is_taken_is_said_before_the_model_is_loaded(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        line = start("--port", str(taken.getsockname()[1]))
    assert re.match("cannot start: .*in use", line)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_the_address_that_is_printed(start):
    assert re.search(r" at http://127\.0\.0\.1:\d+/predict", start("--port=0"))
    assert re.search(r" at http://\[::1\]:\d+/predict", start("--port=0", "--host=::1"))


@pytest.mark.parametrize(
    "error", [RuntimeError("two\nlines"), MemoryError(), KeyError("a"), ZeroDivisionError("\x1b[2J")]
)
def test_any_failure_to_start_is_one_line(error, monkeypatch, capsys):
    def fail(_):
        raise error

    monkeypatch.setitem(VARIANTS, "quick", Variant(fail, SAME_PREDICTIONS))
    with pytest.raises(SystemExit, match="cannot start: ") as caught:
        main(["quick", "--port", "0"])
    assert str(caught.value).isprintable()
    assert capsys.readouterr().err == ""
