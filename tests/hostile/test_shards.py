"""Records of shards that somebody has changed."""

import json
import os
import time
from pathlib import Path

import pytest

from tests.tagging.test_merge import write
from twlcli import confined
from twlcli.errors import TwlError
from twlcli.tagging.merge import merge
from twlcli.tagging.shards import Shard, record_path

NAMES = ["a.jpg", "b.jpg", "c.jpg"]


@pytest.fixture
def part(tmp_path):
    return write(tmp_path / "p.csv", NAMES, Shard(1, 1))


def changed(part: Path, **fields: object) -> None:
    summary, *lines = record_path(part).read_text().splitlines()
    text = json.dumps({**json.loads(summary), **fields})
    record_path(part).write_text("\n".join([text, *lines]) + "\n")


def refused(part: Path) -> str:
    begin = time.monotonic()
    with pytest.raises(TwlError) as caught:
        merge(part.with_name("out.csv"), [part])
    assert time.monotonic() - begin < 2
    assert not list(part.parent.glob("*out.csv*"))
    assert len(str(caught.value)) < 2000 and "\n" not in str(caught.value)
    return str(caught.value)


def test_a_billion_missing_shards_are_counted_not_listed(part):
    changed(part, shard="1/999999999")
    text = refused(part)
    assert "is one of 999,999,999 shards; missing: 2/999999999, 3/999999999, " in text
    assert text.endswith(" and 999,999,978 more")


@pytest.mark.parametrize(
    "fields",
    [
        {"shard": "1/9999999999"},
        {"shard": "0/1"},
        {"shard": ["1/1"]},
        {"shard": "2/1"},
        {"images": 10**18},
        {"images": -1},
        {"taken": 10**18},
        {"rows": 10**18},
        {"rows": "3"},
        {"run": []},
        {"run": None},
        {"more": 1},
    ],
)
def test_impossible_records_are_refused(part, fields):
    changed(part, **fields)
    refused(part)


@pytest.mark.parametrize(
    "line", ["[" * 100_000, "[1e999, 1]", "[0]", "{}", '[-1, "a.jpg"]', "[0, null]", "9" * 10_000]
)
def test_damaged_lines_are_refused(part, line):
    with record_path(part).open("a") as file:
        file.write(line + "\n")
    refused(part)


# --- parts ----------------------------------------------------------------------------------------


def with_holes(path: Path) -> None:
    try:
        os.truncate(path, 40 << 30)
    except OSError:
        pytest.skip("no files with holes here")


def test_a_record_with_holes_is_damaged(part):
    with_holes(record_path(part))
    assert "p.csv.shard:5: damaged: " in refused(part)


def test_a_record_of_more_images_than_it_says_is_not_read_to_its_end(part):
    lines = "".join(f'[{number}, "{number}.jpg"]\n' for number in range(3, 100_000))
    with record_path(part).open("a") as file:
        file.write(lines)
    assert "p.csv.shard:5: damaged: expected 3 images" in refused(part)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_part_with_holes_is_cut_off(tmp_path, suffix):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    part = write(tmp_path / f"p.{suffix}", NAMES, Shard(1, 1))
    with_holes(part)
    with pytest.raises(TwlError, match=r"is cut off in its last row|not a Parquet table of tags"):
        merge(tmp_path / f"out.{suffix}", [part])


@pytest.mark.parametrize("name", ["p.csv", "p.csv.shard", "p.jsonl", "p.parquet"])
def test_pipes_are_refused(tmp_path, name):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes here")
    part = tmp_path / name.removesuffix(".shard")
    if part.name != name:
        write(part, NAMES, Shard(1, 1))
        (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    begin = time.monotonic()
    with pytest.raises(TwlError, match=r"cannot be read \(not a regular file"):
        merge(tmp_path / f"out{part.suffix}", [part])
    assert time.monotonic() - begin < 2


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-0.5", "7.0", "1e999", "x"])
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_probabilities_that_no_model_gives_are_refused(tmp_path, suffix, value):
    part = write(tmp_path / f"p.{suffix}", NAMES, Shard(1, 1))
    text = part.read_text()
    assert "0.05" in text
    part.write_text(text.replace("0.05", value, 1))
    with pytest.raises(TwlError, match=r":[12]: not a row of (tags|CSV)"):
        merge(tmp_path / f"out.{suffix}", [part])
    assert not (tmp_path / f"out.{suffix}").exists()


@pytest.mark.parametrize("values", [[float("nan")], [2.0], [-1.0], [0.5, 0.5], [None]])
def test_probabilities_in_parquet_are_looked_at_too(tmp_path, values):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    part = write(tmp_path / "p.parquet", NAMES, Shard(1, 1))
    rows = parquet.read_table(part).to_pylist()
    rows[1] = {**rows[1], "labels": ["cat"], "probabilities": values}
    parquet.write_table(pyarrow.Table.from_pylist(rows), part)
    with pytest.raises(TwlError, match=r"p\.parquet: not a Parquet table of tags"):
        merge(tmp_path / "out.parquet", [part])


@pytest.mark.parametrize(
    ("limit", "told"), [(2048, "2,048"), pytest.param(4096, "4,096", marks=pytest.mark.slow)]
)
def test_a_part_of_parquet_fills_no_memory(limit, told, tmp_path, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    part = write(tmp_path / "p.parquet", NAMES, Shard(1, 1))
    count = 1_000_000
    words = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array(memoryview(bytes(4 * count)).cast("i")), pyarrow.array(["x" * 8000])
    )
    cell = pyarrow.ListArray.from_arrays(pyarrow.array([0, count], pyarrow.int32()), words)
    columns = {"image": ["a.jpg"], "image_bytes": [None], "labels": cell, "probabilities": [[0.1]]}
    parquet.write_table(pyarrow.table(columns), part, compression="zstd")
    assert part.stat().st_size < 100_000
    monkeypatch.setattr(confined.Limits.__init__, "__defaults__", (limit, 600))
    with pytest.raises(TwlError, match=f"a part of it takes more than {told} MB of memory to read"):
        merge(tmp_path / "out.parquet", [part])


def test_other_tables_are_not_joined(part):
    part.write_text(part.read_text().replace("image,labels", "image,tags"))
    assert "p.csv: is not a table of tags, nor of failures" in refused(part)
