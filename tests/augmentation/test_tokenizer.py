import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from impl.augmentation import Tokenizer
from impl.augmentation.tokenizer import CHUNK
from impl.augmentation.vocabulary import BEG, CHARACTERS, END, PAD, UNK, VOCABULARY, clean

ANY_TEXT = st.text(st.characters(), max_size=40)  # including NUL and lone surrogates
KNOWN_TEXT = st.text(st.sampled_from(CHARACTERS), max_size=40)


def test_vocab_maps_tokens_to_their_indices():
    assert list(Tokenizer(8).vocab.items()) == [(token, index) for index, token in enumerate(VOCABULARY)]


def test_encode():
    vocab = Tokenizer(8).vocab
    assert Tokenizer(8).encode("aß?") == [BEG, vocab["a"], vocab["ß"], UNK, END, PAD, PAD, PAD]
    assert Tokenizer(5).encode("abc") == [BEG, vocab["a"], vocab["b"], vocab["c"], END]
    assert Tokenizer(4).encode("abc") == [BEG, vocab["a"], vocab["b"], vocab["c"]]
    assert Tokenizer(2).encode("") == [BEG, END]
    assert Tokenizer(2).encode("abc") == [BEG, vocab["a"]]


@given(st.lists(ANY_TEXT, max_size=5), st.integers(2, 50))
def test_encode_batch_equals_encode_of_each_text(texts, letters):
    tokenizer = Tokenizer(letters)
    batch = tokenizer.encode_batch(texts)
    assert batch.dtype == np.uint8
    assert batch.shape == (len(texts), letters)
    assert batch.tolist() == [tokenizer.encode(text) for text in texts]


def test_encode_batch_over_several_chunks():
    tokenizer = Tokenizer(CHUNK // 2)  # two rows per chunk
    texts = ["", "abc", "x" * CHUNK, "\0", "ẞ"]
    assert tokenizer.encode_batch(texts).tolist() == [tokenizer.encode(text) for text in texts]


@given(KNOWN_TEXT)
def test_round_trip(text):
    tokenizer = Tokenizer(42)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    padding = "<PAD>" * (40 - len(text))
    assert tokenizer.decode(ids, skip_special_tokens=False) == f"<BEG>{text}<END>{padding}"


@given(ANY_TEXT)
def test_cleaned_text_has_no_unknown_characters(text):
    cleaned = clean(text)
    assert UNK not in Tokenizer(64).encode(cleaned)
    assert "," not in cleaned
    assert cleaned == cleaned.lower()


def test_decode_accepts_arrays_and_floats():
    tokenizer = Tokenizer(8)
    assert tokenizer.decode(tokenizer.encode_batch(["abc"])[0].astype(np.float32)) == "abc"


@pytest.mark.parametrize("index", [-1, len(VOCABULARY)])
def test_decode_refuses_unknown_ids(index):
    with pytest.raises(ValueError, match=f"id {index} is not in the vocabulary"):
        Tokenizer(8).decode([index])


def test_save_and_load(tmp_path):
    Tokenizer(12).save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    assert loaded.max_letter_count == 12
    assert loaded.vocab == Tokenizer(12).vocab


DAMAGED = {
    "truncated": b'{"max_letter_count": 12, "vocab',
    "not text": b"\xff\xfe",
    "list": b"[]",
    "key missing": b'{"max_letter_count": 12}',
    "other vocabulary": b'{"max_letter_count": 12, "vocabulary": ["a"]}',
    "too narrow": json.dumps({"max_letter_count": 1, "vocabulary": VOCABULARY}).encode(),
    "not a number": json.dumps({"max_letter_count": "12", "vocabulary": VOCABULARY}).encode(),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_load_refuses_a_damaged_file(tmp_path, content):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        Tokenizer.load(tmp_path / "tokenizer.json")


def test_load_error_names_the_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json"):
        Tokenizer.load(tmp_path / "nowhere.json")


@pytest.mark.parametrize(("letters", "error"), [(1, ValueError), (True, TypeError), (8.0, TypeError)])
def test_bad_width(letters, error):
    with pytest.raises(error, match="max_letter_count"):
        Tokenizer(letters)
