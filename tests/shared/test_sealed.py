"""A seal notices every kind of damage to the files that it names, and to itself."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from impl.shared import sealed
from impl.shared.sealed import DamagedError, read_seal, write_seal

FACTS = {"kind": "test", "shape": [1, 2]}


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A seal of three files: one of several pieces, a short one, and an empty one."""
    monkeypatch.setattr(sealed, "PIECE", 1000)
    (tmp_path / "long").write_bytes(np.random.default_rng(1).bytes(3_500))
    (tmp_path / "short").write_bytes(b"short")
    (tmp_path / "empty").write_bytes(b"")
    write_seal(tmp_path / "seal.json", FACTS, ["long", "short", "empty"])
    return tmp_path


def test_what_was_sealed_is_returned(kept):
    seal = read_seal(kept / "seal.json", {"kind": "test"})
    assert seal.facts == FACTS
    contents = seal.contents()
    assert {name: bytes(content[:]) for name, content in contents.items()} == {
        name: (kept / name).read_bytes() for name in ("long", "short", "empty")
    }


def test_no_seal(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_seal(tmp_path / "seal.json", FACTS)


def test_a_file_that_is_gone_or_no_file(kept):
    (kept / "short").unlink()
    with pytest.raises(DamagedError, match="short cannot be read"):
        read_seal(kept / "seal.json", FACTS).contents()
    (kept / "short").mkdir()
    with pytest.raises(DamagedError, match="short cannot be read"):
        read_seal(kept / "seal.json", FACTS).contents()
    with pytest.raises(DamagedError, match="cannot be read"):
        read_seal(kept / "short", FACTS)


def test_pieces_in_another_order(kept):
    content = (kept / "long").read_bytes()
    (kept / "long").write_bytes(content[1000:2000] + content[:1000] + content[2000:])
    with pytest.raises(DamagedError, match="long has the length and digest"):
        read_seal(kept / "seal.json", FACTS).contents()


def test_other_facts(kept):
    for wrong in ({"kind": "other"}, {"kind": None}, {"missing": 1}):
        with pytest.raises(DamagedError, match="not "):
            read_seal(kept / "seal.json", wrong)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(st.data())
def test_any_damage_is_noticed(kept, data):
    """Each file and the seal, with some bytes changed, cut off, removed, or inserted."""
    name = data.draw(st.sampled_from(["long", "short", "seal.json"]))
    before = (kept / name).read_bytes()
    place = data.draw(st.integers(0, len(before) - 1))
    removed, inserted = data.draw(st.integers(0, 9)), data.draw(st.binary(max_size=9))
    after = data.draw(
        st.sampled_from(
            [
                before[:place],
                before[:place] + inserted + before[place + removed :],
                before[:place] + bytes([before[place] ^ 1 << data.draw(st.integers(0, 7))]) + before[place + 1 :],
            ]
        )
    )
    try:
        (kept / name).write_bytes(after)
        if after == before:
            return
        if name == "seal.json" and same_json(before, after):
            return  # white space
        with pytest.raises(DamagedError):
            read_seal(kept / "seal.json", FACTS).contents()
    finally:
        (kept / name).write_bytes(before)


def same_json(before, after):
    try:
        return json.loads(before) == json.loads(after)
    except (ValueError, RecursionError):
        return False


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"[" * 10**6,
        b"\xff",
        b"NaN",
        b'{"digest": "", "facts": [], "files": {}}',
        b"{}" * 10**6,
    ],
)
def test_a_seal_that_is_none(content, tmp_path):
    (tmp_path / "seal.json").write_bytes(content)
    with pytest.raises(DamagedError, match=r"seal\.json"):
        read_seal(tmp_path / "seal.json", {})
