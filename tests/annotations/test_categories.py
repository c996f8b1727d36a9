import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twlcli.annotations.categories import Categories

TEXTS = st.lists(st.sampled_from(["", "train", "val", "fold 3", "é"]), max_size=20)


@given(TEXTS)
def test_they_are_the_texts_that_they_were_made_of(texts):
    categories = Categories.of(texts)
    assert list(categories) == texts
    assert [categories[row] for row in range(len(texts))] == texts
    assert categories == tuple(texts)
    assert tuple(texts) == categories
    assert list(categories[::-2]) == texts[::-2]
    assert Categories.of(categories) is categories
    assert pickle.loads(pickle.dumps(categories)) == categories


@given(TEXTS, st.data())
def test_of_some_only_the_texts_that_occur_are_different_ones(texts, data):
    rows = data.draw(st.lists(st.integers(0, len(texts) - 1), unique=True)) if texts else []
    some = Categories.of(texts).select(np.array(rows, dtype=np.int64))
    expected = [texts[row] for row in rows]
    assert list(some) == expected
    assert some.different() == tuple(dict.fromkeys(expected))
    assert some.are_in({"val", "é"}).tolist() == [text in {"val", "é"} for text in expected]


@pytest.mark.parametrize("text", ["val", "new"])
def test_some_are_replaced(text):
    texts = Categories.of(["train", "val", "train"])
    replaced = texts.replaced(np.array([2]), text)
    assert replaced == ("train", "val", text)
    assert replaced.different() == tuple(dict.fromkeys(("train", "val", text)))
    assert texts == ("train", "val", "train")


def test_the_same_text_many_times():
    assert Categories.repeated("train", 3) == ("train",) * 3
    assert Categories.repeated("train", 0).different() == ()


def test_they_differ_from_others():
    assert Categories.of(["a", "b"]) != ("a",)
    assert Categories.of(["a", "b"]) != ("a", "c")
    assert Categories.of(["a"]) != "a"
