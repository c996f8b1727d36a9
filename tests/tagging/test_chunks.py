import hashlib
import json
import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tagging.models import SPEC, spec_with_labels
from tests.tagging.test_journal import LABELS, NOW, opened
from twlcli.images.decoding import Decoding
from twlcli.images.identity import Identity, identify
from twlcli.images.image_file import ByteRange, Failure, ImageFile
from twlcli.labels import Vocabulary
from twlcli.model.decisions import given_labels, thresholds_of
from twlcli.model.spec import ModelSpec, Thresholds
from twlcli.tagging import chunks as module
from twlcli.tagging.chunks import ALWAYS_KEPT, Choice, Item, JournalLookup, chunked
from twlcli.tagging.fingerprint import Decision, identities, model_digest
from twlcli.tagging.tags import Scores, Tags

EVERYTHING = Choice(spec_with_labels(*LABELS), None, None)


class Recalls:
    """Stands for a journal: knows the files of some names, with any identity."""

    def __init__(self, names: set[str]) -> None:
        self.names = names

    def find(self, files: list[tuple[str, Identity]]) -> list[Scores | None]:
        return [Scores(name, (), ()) if name in self.names else None for name, _ in files]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    found = []
    for index in range(40):
        path = folder / f"{index}.jpg"
        path.write_bytes(bytes(index))
        found.append(ImageFile(path, path.name))
    return found


@settings(deadline=None, max_examples=50)
@given(
    stored=st.sets(st.integers(0, 39)),
    batch_size=st.integers(1, 9),
    workers=st.integers(1, 3),
    most=st.integers(1, 20),
)
def test_groups_hold_every_file_in_order_and_are_bounded(files, stored, batch_size, workers, most):
    journal: Any = Recalls({f"{index}.jpg" for index in stored})
    lookup = JournalLookup(journal, EVERYTHING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "STORED_AT_ONCE", most)
        found = list(chunked(iter(files), lookup, batch_size=batch_size, workers=workers))
    assert [item.file for group in found for item in group] == files
    assert all(
        (item.stored is not None) == (int(item.file.path.stem) in stored)
        for group in found
        for item in group
    )
    for group in found:
        known = sum(item.stored is not None for item in group)
        assert known <= max(1, most // (2 * workers))
        assert len(group) - known <= batch_size
    missing = 40 - len(stored)
    if not stored:
        assert len(found) == -(-missing // batch_size)


def test_groups_without_a_journal_touch_no_file(tmp_path):
    gone = ImageFile(tmp_path / "gone.jpg", "gone.jpg")
    assert list(chunked([gone], None, batch_size=8, workers=1)) == [(Item(gone),)]


def test_memory_tries_failures_again_if_asked(tmp_path):
    file = ImageFile(tmp_path / "1.jpg", "1.jpg")
    failure = Failure("1.jpg", "the file is empty")
    with opened(tmp_path / "journal") as journal:
        journal.commit([(NOW, failure), (NOW, Scores("2.jpg", LABELS.names[:1], (1.0,)))])
        assert JournalLookup(journal, EVERYTHING).recall([file, file], [NOW, None]) == [
            failure,
            None,
        ]
        again = JournalLookup(journal, EVERYTHING, retry_failed=True)
        other = ImageFile(file.path, "2.jpg")
        assert again.recall([file, other], [NOW, NOW])[0] is None
        assert again.recall([file, other], [NOW, NOW])[1] is not None


def test_identity_of_files_and_parts(tmp_path):
    path = tmp_path / "1.jpg"
    path.write_bytes(b"content")
    os.utime(path, ns=(5, 1_234_567_890_123_456_700))
    plain = ImageFile(path, "1.jpg")
    assert identify(plain) == Identity(7, 1_234_567_890_123_456_700)
    hashed = identify(plain, content=True)
    assert hashed is not None and hashed.sha256 is not None
    assert hashed.sha256.hex() == model_digest([path])
    part = ImageFile(path, "1.tar/a.jpg", byte_range=ByteRange(offset=3, size=4, mtime_ns=9))
    assert identify(part) == Identity(4, 9, offset=3)
    tent = tmp_path / "tent"
    tent.write_bytes(b"tent")
    of_part = identify(part, content=True)
    assert of_part is not None and of_part.sha256 is not None
    assert of_part.sha256.hex() == model_digest([tent])


def test_identity_of_what_cannot_be_read_is_none(tmp_path):
    assert identify(ImageFile(tmp_path / "gone", "gone")) is None
    assert identify(ImageFile(tmp_path / "gone", "gone"), content=True) is None
    assert identify(ImageFile(tmp_path, "folder/", failure="folder cannot be read")) is None
    short = ImageFile(tmp_path / "gone.tar", "gone.tar/1", byte_range=ByteRange(0, 1, 1))
    assert identify(short, content=True) is None


def test_identities_keep_the_order_with_many_threads(files):
    expected = [identify(file, content=True) for file in files * 3]
    assert identities(files * 3, content=True) == expected


def test_key_changes_with_all_that_decides_a_row():
    low, high = (np.array(values, dtype=np.float32) for values in ([0.5, 0.5], [0.5, 0.6]))
    decisions = [
        Decision(model, None, thresholds, top_k, decoding)
        for model in ("a", "b")
        for thresholds in (low, high, None)
        for top_k in (None, 1, 2)
        for decoding in (
            Decoding(),
            Decoding(True),
            Decoding(max_pixels=9),
            Decoding(False, 9, True),
        )
    ]
    assert len({each.key for each in decisions}) == 2 * 3 * 3 * 4
    assert len({each.scores_key for each in decisions}) == 2 * 4  # whatever the threshold is
    assert not {each.scores_key for each in decisions} & {each.key for each in decisions}
    with_rules = replace(decisions[0], rules="digest")
    assert with_rules.key == decisions[0].key  # rules work on rows, which stay what they are
    assert with_rules.conditions != decisions[0].conditions


def test_key_stays_what_it_is():
    thresholds = np.array([0.5, 0.25], dtype=np.float32)
    text = json.dumps([2, "digest", thresholds.tobytes().hex(), 3, False, 178_956_970, False])
    expected = hashlib.sha256(text.encode()).digest()
    assert Decision("digest", "best-f1", thresholds, 3).key == expected
    text = json.dumps([2, "digest", False, 178_956_970, False])
    expected = hashlib.sha256(text.encode()).digest()
    assert Decision("digest", "best-f1", thresholds, 3).scores_key == expected


# --- scores in place of a model ------------------------------------------------------------------

MANY = 300


def spec_of(best_f1: list[float], precision: list[float]) -> ModelSpec:
    names = tuple(f"label {column}" for column in range(len(best_f1)))
    thresholds = Thresholds(tuple(best_f1), {"0.9": tuple(precision)})
    return replace(SPEC, vocabulary=Vocabulary(names), thresholds=thresholds)


def fresh(spec: ModelSpec, row: np.ndarray, thresholds: Any, top_k: int | None) -> Tags:
    """What a run gives that asks the model."""
    columns = given_labels(row, thresholds, top_k)
    labels = tuple(spec.vocabulary.names[column] for column in columns)
    return Tags("1.jpg", labels, tuple(row[columns].tolist()))


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_stored_scores_give_what_the_model_would_or_nothing(data):
    """Many labels have equal probabilities, most near 0, as those of large vocabularies."""
    count = data.draw(st.sampled_from([1, 5, 64, 65, MANY]))
    random = np.random.default_rng(data.draw(st.integers(0, 9)))
    low = data.draw(st.sampled_from([1e-6, 1e-4, 0.2]))
    spec = spec_of(
        np.maximum(random.random(count), low).tolist(),
        np.maximum(random.random(count), 0.5).tolist(),
    )
    row = np.round(random.random(count) ** data.draw(st.sampled_from([1, 8, 40])), 5)
    row = row.astype(np.float32)
    wishes = st.sampled_from(["best-f1", "precision=0.9", "0", "1e-5", "0.001", "0.4", None])

    def drawn() -> tuple[Any, int | None]:
        wish, top_k = data.draw(wishes), data.draw(st.sampled_from([None, 1, 3, 70, MANY]))
        if wish is None:
            return None, top_k or 2
        return thresholds_of(spec, wish), top_k

    before = drawn()
    stored = Choice(spec, *before).scores("1.jpg", row)
    assert Choice(spec, *before).tags(stored) == fresh(spec, row, *before)  # the same call again
    after = drawn()
    found = Choice(spec, *after).tags(stored)
    assert found in (None, fresh(spec, row, *after))
    if count <= ALWAYS_KEPT:
        assert found is not None
    usual = Choice(spec, thresholds_of(spec, "best-f1"), after[1]).tags(stored)
    assert usual == fresh(spec, row, thresholds_of(spec, "best-f1"), after[1])
    half = Choice(spec, thresholds_of(spec, "0.5"), None).tags(stored)
    assert half == fresh(spec, row, thresholds_of(spec, "0.5"), None)


def test_of_a_large_vocabulary_little_is_kept():
    spec = spec_of([0.5] * 10_000, [0.5] * 10_000)
    row = np.full(10_000, 1e-4, dtype=np.float32)
    row[:100] = 0.3
    stored = Choice(spec, thresholds_of(spec, None), None).scores("1.jpg", row)
    assert len(stored.labels) == 100 and stored.rest == row[-1]
