import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twlcli.annotations.detect import read_labels
from twlcli.runs.seen import SAMPLE, SEEN_KEY, Seen, hashes_of, sample_of, seen_among, with_sample


def hashes(count: int, first: int = 0) -> np.ndarray:
    """Numbers that are spread as hashes are."""
    numbers = np.arange(first, first + count, dtype=np.uint64)
    return numbers * np.uint64(0x9E3779B97F4A7C15)


def provenance(training: int, fitted: int) -> dict[str, Any]:
    sets = {"training": hashes(training), "fitted": hashes(fitted, 1_000_000)}
    return {SEEN_KEY: {name: sample_of(images) for name, images in sets.items()}}


@given(st.integers(1, SAMPLE), st.integers(1, SAMPLE), st.data())
def test_small_sets_are_counted_exactly(training, fitted, data):
    first = data.draw(st.integers(0, training))
    among = np.concatenate((hashes(training - first, first), hashes(fitted, 1_000_000)))
    found = seen_among(provenance(training, fitted), among)
    assert found == Seen(training - first, fitted)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_large_sets_are_estimated(share):
    count = 20_000
    found = seen_among(provenance(count, 1), hashes(round(share * count)))
    assert found.training == pytest.approx(share * count, abs=0.1 * count)
    assert found.fitted == 0


def test_a_model_that_does_not_say_has_seen_who_knows_what():
    assert seen_among({}, hashes(3)) == Seen(None, None)


@pytest.mark.parametrize(
    "sample",
    [
        None,
        7,
        {},
        {"images": 3},
        {"images": "x", "sample": ""},
        {"images": 3, "sample": "?"},
        {"images": 3, "sample": base64.b64encode(b"123").decode()},
        {"images": -3, "sample": base64.b64encode(b"12345678").decode()},
        {"images": float("inf"), "sample": base64.b64encode(b"12345678").decode()},
    ],
)
def test_a_damaged_sample_says_nothing(sample):
    given_back = {SEEN_KEY: {"training": sample, "fitted": sample_of(hashes(2))}}
    assert seen_among(given_back, hashes(3)) == Seen(None, 2)
    assert seen_among({SEEN_KEY: sample}, hashes(3)) == Seen()


def test_an_image_is_known_by_name_and_size_wherever_it_lies(tmp_path: Path):
    for folder in ("a", "b"):
        (tmp_path / folder / "images").mkdir(parents=True)
        (tmp_path / folder / "images" / "1.jpg").write_bytes(b"123")
        (tmp_path / folder / "images" / "2.jpg").write_bytes(b"1" if folder == "a" else b"12")
    table = "image,labels\n{0}1.jpg,x\n{0}2.jpg,y\n{0}gone.jpg,x\n"
    (tmp_path / "a" / "labels.csv").write_text(table.format("images/"))
    (tmp_path / "b" / "images" / "labels.csv").write_text(table.format(""))
    first = hashes_of(read_labels(tmp_path / "a" / "labels.csv"))
    second = hashes_of(read_labels(tmp_path / "b" / "images" / "labels.csv"))
    assert (first == second).tolist() == [True, False, True]
    assert len(set(first.tolist())) == 3


@given(st.integers(0, SAMPLE), st.integers(1, SAMPLE), st.integers(0, 2 * SAMPLE))
def test_two_samples_are_that_of_both_sets(own, others, first):
    """What a model was trained on, with what the model that it starts from was trained on."""
    one, other = hashes(own), hashes(others, first)
    whole = np.union1d(one, other)
    both = with_sample(sample_of(one), sample_of(other))
    assert both["sample"] == sample_of(whole)["sample"]
    if len(whole) <= SAMPLE:
        assert both["images"] == len(whole)
    assert with_sample(sample_of(one), {"images": "many"}) == sample_of(one)


def test_two_large_samples_are_estimated():
    both = with_sample(sample_of(hashes(20_000)), sample_of(hashes(20_000, 10_000)))
    assert both["images"] == pytest.approx(30_000, rel=0.1)
