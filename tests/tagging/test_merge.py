import csv
import json
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tagging.outputs.written import opened, opened_table
from twlcli.errors import TwlError
from twlcli.images.image_file import Failure, ImageFile
from twlcli.labels import Vocabulary
from twlcli.tagging.merge import Merged, merge
from twlcli.tagging.outputs.csv import FailureTable
from twlcli.tagging.shards import RunValue, Shard, ShardRecord, record_path
from twlcli.tagging.tags import Tags

VOCABULARY = Vocabulary(("dog", "cat", "a|b"))
RUN: dict[str, RunValue] = {"model": "abc", "top_k": 5}
NAMES = [
    *(
        "b.jpg",
        "a.jpg",
        "x/=1+1.jpg",
        "=1+1.jpg",
        "line\nbreak.jpg",
        "car\rriage.jpg",
        'quo"te.jpg',
    ),
    *("caf\udce9.jpg", "日本.jpg", "comma,semi;.jpg", "s.tar/a.jpg", "./x.jpg", "bad.jpg", "z.jpg"),
]


def tags_of(name: str) -> Tags:
    return Tags(name, ("cat", "a|b"), (min(round(len(name) / 100, 4), 1.0), 0.1))


def is_bad(name: str) -> bool:
    return "bad" in name


def write(path: Path, names: list[str], shard: Shard | None = None, **run: str) -> Path:
    """A table as `twl tag` writes it, and its record if it is a shard's."""
    files = [ImageFile(Path("/", "photos"), name) for name in names]

    def rows(taken: Iterator[ImageFile]) -> int:
        count = 0
        with opened_table(path, path.suffix[1:], VOCABULARY) as write:
            for file in taken:
                if not is_bad(file.name):
                    write(tags_of(file.name))
                    count += 1
        return count

    if shard is None:
        rows(iter(files))
    else:
        with ShardRecord(shard, [path]) as record:
            record.finish({path: rows(record.take(files))}, {**RUN, **run})
    return path


def shards(folder: Path, names: list[str], count: int, suffix: str = "csv") -> list[Path]:
    return [
        write(folder / f"part-{index}.{suffix}", names, Shard(index, count))
        for index in range(1, count + 1)
    ]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("count", [1, 2, 3, 30])
def test_merged_is_what_one_run_writes(tmp_path, suffix, count):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    whole = write(tmp_path / f"whole.{suffix}", NAMES)
    parts = shards(tmp_path, NAMES, count, suffix)
    random.Random(count).shuffle(parts)
    out = tmp_path / f"out.{suffix}"
    assert merge(out, parts) == Merged(count, len(NAMES), len(NAMES) - 1, 1)
    assert out.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob("*.partial"))


@given(st.lists(st.text("ab/=\n\r\"',;. \udce9", min_size=1), unique=True), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_any_names_are_merged(tmp_path_factory, names, count):
    folder = tmp_path_factory.mktemp("merge")
    for suffix in ("csv", "jsonl"):
        whole = write(folder / f"whole.{suffix}", names)
        merge(folder / f"out.{suffix}", shards(folder, names, count, suffix))
        assert (folder / f"out.{suffix}").read_bytes() == whole.read_bytes()


def test_tables_of_failures_are_merged(tmp_path):
    parts = []
    names = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]

    def fail(path: Path, taken) -> int:
        count = 0
        with opened(FailureTable(path)) as write_failure:
            for file in taken:
                for reason in ("no room for a.txt", "no room\nfor a.xmp")[: ord(file.name[0]) % 3]:
                    write_failure(Failure(file.name, reason))
                    count += 1
        return count

    files = [ImageFile(Path("/", name), name) for name in names]
    for index in (1, 2):
        parts.append(tmp_path / f"errors-{index}.csv")
        with ShardRecord(Shard(index, 2), parts[-1:]) as record:
            record.finish({parts[-1]: fail(parts[-1], record.take(files))}, RUN)
    fail(tmp_path / "whole.csv", files)
    assert merge(tmp_path / "out.csv", parts) == Merged(2, 4, 4, 1)
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    tags = write(tmp_path / "part-2.csv", names, Shard(2, 2))
    with pytest.raises(
        TwlError, match=r"part-2\.csv: its columns are not those of .*errors-1\.csv"
    ):
        merge(tmp_path / "mixed.csv", [parts[0], tags])


def test_a_cell_may_be_long(tmp_path):
    names = ["x" * 300_000 + ".jpg", "b.jpg"]
    merge(tmp_path / "out.csv", shards(tmp_path, names, 2))
    assert (tmp_path / "out.csv").read_bytes() == write(tmp_path / "w.csv", names).read_bytes()


def test_a_missing_or_double_shard_is_named(tmp_path):
    one, two, three, four = shards(tmp_path, NAMES, 4)
    out = tmp_path / "out.csv"
    with pytest.raises(TwlError, match=r"part-1\.csv: is one of 4 shards; missing: 2/4, 4/4"):
        merge(out, [one, three])
    other = write(tmp_path / "again.csv", NAMES, Shard(2, 4))
    with pytest.raises(TwlError, match=r"again\.csv: is shard 2/4, and so is .*part-2\.csv"):
        merge(out, [one, two, three, four, other])
    with pytest.raises(TwlError, match=r"part-1\.csv: is shard 1/4, and so is .*part-1\.csv"):
        merge(out, [one, one])
    fifth = write(tmp_path / "fifth.csv", NAMES, Shard(4, 5))
    with pytest.raises(TwlError, match=r"fifth\.csv: is one of 5 shards, but 4 in .*part-1\.csv"):
        merge(out, [one, fifth])
    assert not out.exists()


def test_shards_of_different_runs_are_refused(tmp_path):
    one = write(tmp_path / "1.csv", NAMES, Shard(1, 2))
    out = tmp_path / "out.csv"
    with pytest.raises(TwlError, match=r"2\.csv: model is xyz, but abc in .*1\.csv"):
        merge(out, [one, write(tmp_path / "2.csv", NAMES, Shard(2, 2), model="xyz")])
    with pytest.raises(TwlError, match=r"2\.csv: policy is p, but not set in"):
        merge(out, [one, write(tmp_path / "2.csv", NAMES, Shard(2, 2), policy="p")])
    with pytest.raises(TwlError, match=r"2\.csv: the scan found 13 images, but 14 in"):
        merge(out, [one, write(tmp_path / "2.csv", NAMES[:-1], Shard(2, 2))])
    with pytest.raises(TwlError, match=r"2\.csv: the scan found other images, or in another order"):
        merge(out, [one, write(tmp_path / "2.csv", [*NAMES[:-1], "y.jpg"], Shard(2, 2))])
    two = write(tmp_path / "2.jsonl", NAMES, Shard(2, 2))
    with pytest.raises(TwlError, match=r"2\.jsonl: is jsonl, expected csv as .*out\.csv"):
        merge(out, [one, two])


@pytest.fixture(params=["csv", "jsonl"])
def parts(request, tmp_path):
    names = [f"{index}.jpg" for index in range(20)]
    return shards(tmp_path, names, 2, request.param)


def change(path: Path, edit) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    edit(lines)
    path.write_bytes(b"".join(lines))


def refused(parts: list[Path], message: str) -> None:
    out = parts[0].with_name("out" + parts[0].suffix)
    with pytest.raises(TwlError, match=message):
        merge(out, parts)
    assert not out.exists()


def test_missing_rows_are_noticed(parts):
    change(parts[1], lambda lines: lines.pop(3))
    refused(parts, r"part-2\.\w+: has \d+ rows, expected \d+; rows are missing")


def test_a_part_that_is_cut_off_is_noticed(parts):
    change(parts[1], lambda lines: lines.__delitem__(slice(-2, None)))
    refused(parts, r"part-2\.\w+: has \d+ rows, expected \d+; rows are missing")


def test_double_rows_are_noticed(parts):
    change(parts[1], lambda lines: lines.insert(3, lines[3]))
    refused(parts, r"part-2\.\w+: row \d+, '\d+\.jpg', does not belong to shard 2/2")


def test_rows_out_of_order_are_noticed(parts):
    change(parts[1], lambda lines: lines.append(lines.pop(2)))
    refused(parts, r"part-2\.\w+: row \d+, '\d+\.jpg', does not belong to shard 2/2")


def test_rows_of_another_shard_are_noticed(parts):
    first = parts[0].read_bytes().splitlines(keepends=True)
    change(parts[1], lambda lines: lines.insert(2, first[2]))
    row = 2 if parts[0].suffix == ".csv" else 3
    refused(parts, rf"part-2\.\w+: row {row}, '\d+\.jpg', does not belong to shard 2/2")


def test_a_damaged_row_is_named(parts):
    change(parts[1], lambda lines: lines.__setitem__(3, b'"x"y\n'))
    refused(parts, r"part-2\.\w+:4: not a row of")


def place_of(line: bytes) -> int:
    place, _ = json.loads(line)
    return int(place)


def move(lines: list[bytes], index: int, by: int) -> None:
    place, name = json.loads(lines[index])
    lines[index] = json.dumps([place + by, name]).encode() + b"\n"


def test_a_place_in_no_part_is_noticed(parts):
    last = record_path(parts[0]).read_bytes().splitlines()[-1]
    change(record_path(parts[0]), lambda lines: move(lines, -1, 30))
    refused(parts, rf"out\.\w+: image number {place_of(last) + 1} is in no part")


def test_a_place_in_two_parts_is_noticed(parts):
    firsts = [place_of(record_path(part).read_bytes().splitlines()[1]) for part in parts]
    later = firsts.index(max(firsts))  # the place before its first belongs to the other
    change(record_path(parts[later]), lambda lines: move(lines, 1, -1))
    refused(
        parts, rf"out\.\w+: image number {firsts[later]} is in .*part-[12].* and in .*part-[12]"
    )


def test_the_part_that_differs_is_named_wherever_it_stands(tmp_path):
    for odd in range(3):
        parts = [
            write(
                tmp_path / f"{odd}-{index}.csv",
                NAMES,
                Shard(index + 1, 3),
                threshold="0.5" if index == odd else "best-f1",
            )
            for index in range(3)
        ]
        first = parts[0 if odd else 1].name
        message = rf"{odd}-{odd}\.csv: threshold is 0.5, but best-f1 in .*{first} and 1 more$"
        with pytest.raises(TwlError, match=message):
            merge(tmp_path / "out.csv", parts)


def test_outputs_are_not_overwritten(tmp_path):
    parts = shards(tmp_path, NAMES, 2)
    out = tmp_path / "out.csv"
    out.write_text("mine")
    with pytest.raises(TwlError, match=r"out\.csv: exists already; use `force` to replace it"):
        merge(out, parts)
    with pytest.raises(TwlError, match=r"part-2\.csv: is a part and the output"):
        merge(parts[1], parts, force=True)
    assert out.read_text() == "mine"
    merge(out, parts, force=True)
    with out.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        assert len(list(csv.DictReader(file))) == len(NAMES) - 1


def test_a_part_without_a_record_is_named(tmp_path):
    parts = shards(tmp_path, NAMES, 2)
    record_path(parts[1]).unlink()
    with pytest.raises(TwlError, match=r"part-2\.csv: .*part-2\.csv\.shard"):
        merge(tmp_path / "out.csv", parts)


def test_memory_does_not_grow_with_the_rows(tmp_path):
    def peak(count: int) -> int:
        folder = tmp_path / str(count)
        folder.mkdir()
        parts = shards(folder, [f"{index}.jpg" for index in range(count)], 3)
        tracemalloc.start()
        merge(folder / "out.csv", parts)
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    peak(10)
    assert peak(10_000) < 1.2 * peak(1000)


def test_a_part_that_is_cut_in_its_last_row_is_noticed(parts):
    content = parts[1].read_bytes()
    parts[1].write_bytes(content[:-5])
    refused(parts, r"part-2\.\w+: is cut off in its last row")
