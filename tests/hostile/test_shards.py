"""Records of shards that somebody has changed."""

import json
import time
from pathlib import Path

import pytest

from tests.tagging.test_merge import write
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
    assert not part.with_name("out.csv").exists()
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
