import pickle
import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from twlcli.annotations.names import Names

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=8)


@given(st.lists(ANY_TEXT, max_size=20))
def test_names_are_what_they_were_made_of(texts):
    names = Names.of(texts)
    assert list(names) == texts
    assert [names[row] for row in range(len(texts))] == texts
    assert names == tuple(texts)
    assert tuple(texts) == names
    assert list(names[::-2]) == texts[::-2]
    assert list(names.with_more(["more"])) == [*texts, "more"]
    assert pickle.loads(pickle.dumps(names)) == names


@given(st.lists(ANY_TEXT, max_size=20))
def test_they_are_sorted_as_texts_are_and_equal_ones_stay_in_order(texts):
    expected = sorted(range(len(texts)), key=texts.__getitem__)
    assert Names.of(texts).order().tolist() == expected


def test_some_share_the_block_of_all():
    names = Names.of(f"{number}.jpg" for number in range(40_000))
    rows = random.Random(0).sample(range(40_000), 3)
    some = names.select(np.array(rows))
    assert list(some) == [f"{row}.jpg" for row in rows]
    assert some._text is names._text


def test_names_differ_from_others():
    assert Names.of(["a", "b"]) != ("a",)
    assert Names.of(["a", "b"]) != ("a", "c")
    assert Names.of(["a"]) != "a"


def test_what_is_in_no_name_is_known():
    names = Names.of(["photos/a.jpg", "é.jpg"])
    assert names.may_hold("s/a") and names.may_hold("é")
    assert not names.may_hold("\\")
