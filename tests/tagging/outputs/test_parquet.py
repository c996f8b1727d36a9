import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tagging.outputs.written import opened
from twlcli.errors import MissingExtraError
from twlcli.tagging.outputs import parquet as parquet_module
from twlcli.tagging.outputs.parquet import Parquet
from twlcli.tagging.tags import Tags


def write(path: Path, *rows: Tags) -> None:
    with opened(Parquet(path)) as give:
        for row in rows:
            give(row)


def read(path: Path) -> Any:
    return pytest.importorskip("pyarrow.parquet").read_table(path)


def test_the_documented_columns(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    path = tmp_path / "tags.parquet"
    write(path, Tags("a.jpg", ("dog", "日本"), (0.123456, 0.1)), Tags("b\n.jpg", (), ()))
    table = read(path)
    assert [(field.name, field.type) for field in table.schema] == [
        ("image", pyarrow.string()),
        ("image_bytes", pyarrow.binary()),
        ("labels", pyarrow.list_(pyarrow.field("element", pyarrow.string()))),
        ("probabilities", pyarrow.list_(pyarrow.field("element", pyarrow.float32()))),
    ]
    assert table["image"].to_pylist() == ["a.jpg", "b\n.jpg"]
    assert table["image_bytes"].to_pylist() == [None, None]
    assert table["labels"].to_pylist() == [["dog", "日本"], []]
    assert table["probabilities"].to_pylist()[0] == pytest.approx([0.123456, 0.1])
    assert [each.name for each in tmp_path.iterdir()] == ["tags.parquet"]


def test_names_that_are_not_utf8_keep_their_bytes(tmp_path):
    path = tmp_path / "tags.parquet"
    pytest.importorskip("pyarrow")
    write(path, Tags(os.fsdecode(b"caf\xe9.jpg"), ("dog",), (0.5,)), Tags("é.jpg", (), ()))
    table = read(path)
    assert table["image"].to_pylist() == [None, "é.jpg"]
    assert table["image_bytes"].to_pylist() == [b"caf\xe9.jpg", None]


def test_an_empty_table(tmp_path):
    pytest.importorskip("pyarrow")
    write(tmp_path / "tags.parquet")
    assert read(tmp_path / "tags.parquet").num_rows == 0


@pytest.mark.parametrize(("rows", "labels", "groups"), [(10, 1000, 3), (1000, 10, 5)])
def test_rows_are_written_in_groups(tmp_path, monkeypatch, rows, labels, groups):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(parquet_module, "GROUP_ROWS", rows)
    monkeypatch.setattr(parquet_module, "GROUP_LABELS", labels)
    path = tmp_path / "tags.parquet"
    names = [f"{number}.jpg" for number in range(20)]
    write(path, *(Tags(name, ("dog", "cat"), (0.5, 0.4)) for name in names), Tags("end", (), ()))
    assert parquet.ParquetFile(path).num_row_groups == groups
    assert read(path)["image"].to_pylist() == [*names, "end"]


def test_a_stopped_run_leaves_a_partial_file(tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "tags.parquet"
    path.write_text("old")
    with (
        pytest.raises(KeyboardInterrupt),
        opened(Parquet(path)) as give,
    ):
        give(Tags("a", (), ()))
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "tags.parquet",
        f"{path.name}.partial",
    ]


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    with pytest.raises(MissingExtraError, match=r"pip install 'twlcli\[parquet\]'"):
        write(tmp_path / "tags.parquet")
    assert list(tmp_path.iterdir()) == []
