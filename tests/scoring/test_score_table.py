"""Files of scores: what is written comes back; what a stranger made of one is told in a line."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tagging.models import SPEC, spec_with_labels
from twlcli.confined import ConfinedError, confined
from twlcli.errors import MissingExtraError, ModelError, TwlError
from twlcli.model.spec import SPEC_KEY, ModelSpec
from twlcli.scoring import score_table
from twlcli.scoring.score_table import SCORES_KEY, open_scores, score_groups

pyarrow: Any = pytest.importorskip("pyarrow")
parquet: Any = pytest.importorskip("pyarrow.parquet")
quick = settings(deadline=None, max_examples=25)


def written(path: Path, names: list[str], logits: np.ndarray, spec: ModelSpec = SPEC) -> Path:
    with path.open("wb") as file, score_groups(file, spec, "digest") as groups:
        for name, row in zip(names, logits, strict=True):
            groups.add(name, row)
    return path


def read(path: Path) -> tuple[ModelSpec, list[str], np.ndarray]:
    with open_scores(path) as stored:
        names: list[str] = []
        rows = [np.empty((0, len(stored.spec.vocabulary)), np.float32)]
        for some, logits in stored.batches:
            names += some
            rows.append(logits)
        assert stored.images == len(names)
        assert stored.model == "digest"
        return stored.spec, names, np.concatenate(rows)


def drawn(count: int, labels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 5, (count, labels)).astype(np.float32)


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
names_of_files = st.binary(min_size=1).map(os.fsdecode)


@quick
@given(st.lists(st.tuples(names_of_files, st.tuples(finite, finite, finite)), max_size=9))
def test_what_is_written_comes_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("scores") / "scores.parquet"
    logits = np.array([row for _, row in rows], np.float32).reshape(-1, 3)
    spec, names, found = read(written(path, [name for name, _ in rows], logits))
    assert spec == SPEC
    assert names == [name for name, _ in rows]
    np.testing.assert_array_equal(found, logits)


@pytest.mark.parametrize(("rows", "entries", "groups"), [(4, 1000, 3), (1000, 6, 5), (1000, 1, 10)])
def test_rows_are_written_and_read_in_groups(tmp_path, monkeypatch, rows, entries, groups):
    monkeypatch.setattr(score_table, "GROUP_ROWS", rows)
    monkeypatch.setattr(score_table, "GROUP_ENTRIES", entries)
    logits = drawn(10)
    path = written(tmp_path / "scores.parquet", [f"{row}.jpg" for row in range(10)], logits)
    assert parquet.ParquetFile(path).num_row_groups == groups
    np.testing.assert_array_equal(read(path)[2], logits)


def test_the_documented_columns_and_metadata(tmp_path):
    path = written(tmp_path / "scores.parquet", ["a.jpg"], drawn(1))
    with parquet.ParquetFile(path) as file:
        assert file.schema_arrow.names == ["image", "image_bytes", "logits"]
        assert file.schema_arrow.field("logits").type.list_size == 3
        metadata = file.metadata.metadata
    about = json.loads(metadata[SCORES_KEY.encode()])
    assert about["version"] == 1
    assert about.keys() == {"version", "twl", "model", "spec"}
    assert json.loads(metadata[SPEC_KEY.encode()])["labels"] == ["red", "green", "blue"]


def changed(path: Path, *, table: Any = None, **metadata: str | None) -> Path:
    """The file with another table, or other metadata."""
    with parquet.ParquetFile(path) as file:
        kept = {key.decode(): value for key, value in file.metadata.metadata.items()}
        whole = file.read() if table is None else table
    kept.pop("ARROW:schema")
    whole = whole.replace_schema_metadata(None)
    for key, value in metadata.items():
        name = f"twl.{key}"
        kept.pop(name)
        if value is not None:
            kept[name] = value.encode()
    with parquet.ParquetWriter(path, whole.schema) as writer:
        writer.add_key_value_metadata(kept)
        writer.write_table(whole)
    return path


def table_of(logits: Any, names: Any = None) -> Any:
    count = len(logits)
    return pyarrow.table(
        {
            "image": pyarrow.array(names or [f"{row}.jpg" for row in range(count)], "string"),
            "image_bytes": pyarrow.array([None] * count, "binary"),
            "logits": logits,
        }
    )


def lists(rows: list[Any], size: int = 3, kind: Any = None) -> Any:
    return pyarrow.array(rows, pyarrow.list_(kind or pyarrow.float32(), size))


NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (table_of(lists([[1, 2, 3], [1, NAN, 3]])), "row 2: a logit of '1.jpg' is not finite"),
        (table_of(lists([[1, 2, INFINITE]])), "row 1: a logit of '0.jpg' is not finite"),
        (table_of(lists([[1, 2, None]])), "row 1: a logit of '0.jpg' is not finite"),
        (table_of(lists([[1, 2, 3], None])), "cannot be read as scores"),
        (table_of(lists([[1, 2]], 2)), "2 logits an image, expected 3"),
        (table_of(lists([[1, 2, 3]], 3, pyarrow.float64())), "expected lists of float32"),
        (table_of(pyarrow.array([[1.0, 2.0]])), "expected lists of float32"),
        (table_of(lists([[1, 2, 3]]), [None]), "cannot be read as scores"),
        (pyarrow.table({"image": ["a"]}), "expected the columns image, image_bytes, logits"),
    ],
)
def test_other_tables_are_told_in_one_line(tmp_path, table, message):
    path = written(tmp_path / "scores.parquet", ["a.jpg"], drawn(1))
    with pytest.raises(TwlError) as caught:
        read(changed(path, table=table))
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"scores": None}, "is not a file of scores that tagging has written"),
        ({"spec": None}, "is not a file of scores that tagging has written"),
        ({"scores": "[1]"}, "cannot be read as scores"),
        ({"scores": "{"}, "cannot be read as scores"),
        ({"scores": '{"version": 9, "tilt": 1}'}, "newer twl (scores version 9; this one reads 1)"),
        ({"scores": '{"version": 1, "tilt": 1}'}, "unknown keys in 'twl.scores': tilt"),
        ({"scores": '{"version": 1, "spec": ""}'}, "labels and calibration in it were changed"),
        ({"spec": SPEC.to_json().replace("red", "pink")}, "labels and calibration in it were"),
    ],
)
def test_other_metadata_are_told_in_one_line(tmp_path, metadata, message):
    path = written(tmp_path / "scores.parquet", ["a.jpg"], drawn(1))
    with pytest.raises(TwlError) as caught:
        read(changed(path, **metadata))
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_parquet_or_not_there(tmp_path):
    path = tmp_path / "scores.parquet"
    with pytest.raises(TwlError, match="no such file"):
        read(path)
    for content in (b"", b"PAR1", b"image,labels\n", os.urandom(2000)):
        path.write_bytes(content)
        with pytest.raises(TwlError, match="cannot be read as scores"):
            read(path)
    with pytest.raises(TwlError, match="cannot be read as scores"):
        read(tmp_path)


def test_row_groups_that_were_read_are_let_go(tmp_path):
    logits = drawn(40_000, 8)
    spec = replace(
        spec_with_labels(*"abcdefgh"), calibration=replace_calibration(8), thresholds=None
    )
    path = written(tmp_path / "scores.parquet", ["a.jpg"] * len(logits), logits, spec)
    before = pyarrow.total_allocated_bytes()
    held = [pyarrow.total_allocated_bytes() - before for _ in score_table._contents(path, path)]
    assert len(held) > 9
    assert max(held) < logits.nbytes


def test_endless_names_and_rows_that_take_no_room(tmp_path):
    path = tmp_path / "scores.parquet"
    with pytest.raises(TwlError, match="name has more than 32,768 characters"):
        read(written(path, ["x" * 40_000], drawn(1)))
    written(path, ["a.jpg"], drawn(1))
    # So many rows in a kilobyte or two, as one value repeated: bounded, row group by row group.
    count = 3_000_000
    zeros = pyarrow.FixedSizeListArray.from_arrays(
        pyarrow.array(np.zeros(3 * count, np.float32)), 3
    )
    table = pyarrow.table(
        {
            "image": pyarrow.array([""] * count, "string"),
            "image_bytes": pyarrow.nulls(count, "binary"),
            "logits": zeros,
        }
    )
    assert changed(path, table=table).stat().st_size < 1_000_000
    with open_scores(path) as stored:
        assert stored.images == count
        names, logits = next(stored.batches)
        assert len(names) == len(logits) == 4096


@pytest.mark.parametrize("whole", [0, 1])
def test_a_file_that_takes_too_much_is_told(tmp_path, monkeypatch, whole):
    path = written(tmp_path / "scores.parquet", ["a.jpg"], drawn(1))

    def exhausted(*arguments: Any) -> Iterator[Any]:
        yield from islice(confined(*arguments), whole)
        raise ConfinedError("takes more than 4,096 MB of memory to read")

    monkeypatch.setattr(score_table, "confined", exhausted)
    with pytest.raises(TwlError, match=r"4,096 MB of memory to read; is it a file of scores\?"):
        read(path)


def test_a_damaged_file_is_told_or_reads_as_finite_numbers(tmp_path):
    path = written(tmp_path / "scores.parquet", [f"{row}.jpg" for row in range(40)], drawn(40))
    whole = path.read_bytes()
    generator = np.random.default_rng(1)
    for _ in range(60):
        content = bytearray(whole)
        content[generator.integers(len(content))] ^= 1 << generator.integers(8)
        path.write_bytes(content)
        try:
            _, names, logits = read(path)
        except TwlError as error:
            assert "\n" not in str(error)
        else:
            assert logits.shape == (len(names), 3)
            assert np.isfinite(logits).all()


def test_a_spec_without_calibration_is_refused(tmp_path):
    spec = replace(SPEC, calibration=None)
    path = written(tmp_path / "scores.parquet", ["a.jpg"], drawn(1), spec)
    with pytest.raises(ModelError, match="carries no calibration"):
        read(path)


def test_many_labels(tmp_path):
    spec = spec_with_labels(*map(str, range(5000)))
    spec = replace(spec, calibration=replace_calibration(5000), thresholds=None)
    logits = drawn(30, 5000)
    path = written(tmp_path / "scores.parquet", ["é.jpg"] * 30, logits, spec)
    np.testing.assert_array_equal(read(path)[2], logits)


def replace_calibration(labels: int) -> Any:
    assert SPEC.calibration is not None
    return replace(SPEC.calibration, slope=(1.0,) * labels, offset=(0.0,) * labels)


def test_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"twlcli\[parquet\]"):
        read(tmp_path / "scores.parquet")
