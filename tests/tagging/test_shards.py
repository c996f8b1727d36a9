import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twlcli.errors import TwlError
from twlcli.images.image_file import ImageFile
from twlcli.tagging.fingerprint import Decision
from twlcli.tagging.shards import (
    Shard,
    ShardRecord,
    Summary,
    name_bytes,
    read_images,
    read_summary,
    record_path,
)

NAMES = st.text() | st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape"))


def found(*names: str) -> list[ImageFile]:
    return [ImageFile(Path("/photos", name), name) for name in names]


def test_parse_reads_what_str_writes():
    assert Shard.parse("2/8") == Shard(2, 8)
    assert str(Shard(8, 8)) == "8/8"


@pytest.mark.parametrize(
    "text",
    ["", "2", "0/8", "9/8", "1/0", "-1/8", "1/8/2", "a/b", "1 / 8", "²/8", "1/8\n", "1/9999999999"],
)
def test_parse_refuses_what_is_no_shard(text):
    with pytest.raises(TwlError, match="expected i/n"):
        Shard.parse(text)


@given(NAMES, st.integers(1, 50))
def test_every_image_belongs_to_one_shard(name, count):
    assert sum(Shard(index, count).takes(name) for index in range(1, count + 1)) == 1


def test_the_hash_is_the_same_on_every_machine():
    """These are what machines that tag today's shards will have to agree on for ever."""
    names = ["a.jpg", "beach/b.jpg", "caf\udce9.jpg", "caf\xe9.jpg", "日本.jpg", ""]
    owners = [next(i for i in range(1, 9) if Shard(i, 8).takes(name)) for name in names]
    assert owners == [2, 2, 8, 6, 6, 5]
    code = (
        "from twlcli.tagging.shards import Shard\n"
        f"print([next(i for i in range(1, 9) if Shard(i, 8).takes(n)) for n in {names!a}])"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True
    )
    assert json.loads(done.stdout) == owners


def test_shards_are_balanced():
    counts = [
        sum(Shard(index, 8).takes(f"DSC_{number:05}.JPG") for number in range(4000))
        for index in range(1, 9)
    ]
    assert sum(counts) == 4000
    assert max(abs(count - 500) for count in counts) < 5 * 500**0.5  # five standard deviations


def test_name_bytes_are_those_of_the_file_system():
    assert name_bytes("caf\udce9 é") == b"caf\xe9 \xc3\xa9"
    assert name_bytes("\ud800") == b"\xed\xa0\x80"


def test_a_record_lists_the_images_of_a_shard(tmp_path):
    files = found("a.jpg", "b.jpg", "line\nbreak.jpg", "caf\udce9.jpg", "é.jpg", "c.jpg")
    outputs = [tmp_path / "tags.csv", tmp_path / "errors.csv"]
    taken: dict[int, str] = {}
    for index in (1, 2):
        with ShardRecord(Shard(index, 2), outputs) as record:
            mine = list(record.take(iter(files)))
            assert mine == [file for file in files if Shard(index, 2).takes(file.name)]
            record.finish(
                {outputs[0]: len(mine) - 1, outputs[1]: 1}, {"model": "abc", "top_k": None}
            )
        summary = read_summary(outputs[0])
        assert (summary.shard, summary.images, summary.taken) == (f"{index}/2", 6, len(mine))
        assert summary.rows == len(mine) - 1
        assert summary.run == {"model": "abc", "top_k": None}
        assert read_summary(outputs[1]) == Summary(**{**summary.__dict__, "rows": 1})
        taken.update(read_images(outputs[0], summary))
        assert list(read_images(outputs[1], summary)) == list(read_images(outputs[0], summary))
    assert [taken[place] for place in range(6)] == [file.name for file in files]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "errors.csv.shard",
        "tags.csv.shard",
    ]


def digest(tmp_path, *names: str) -> str:
    with ShardRecord(Shard(1, 1), [tmp_path / "t.csv"]) as record:
        list(record.take(found(*names)))
        record.finish({tmp_path / "t.csv": 0}, {})
    return read_summary(tmp_path / "t.csv").names


def test_the_digest_of_the_names_tells_scans_apart(tmp_path):
    names = {
        digest(tmp_path, *names)
        for names in (("a", "b"), ("b", "a"), ("ab",), ("a",), ("a", "b\n"))
    }
    assert len(names) == 5
    assert digest(tmp_path, "a", "b") in names


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_no_second_error_of_a_run_that_fails(tmp_path):
    outputs = [tmp_path / "tags.csv"]
    with pytest.raises(TwlError, match="first"), ShardRecord(Shard(1, 1), outputs) as record:
        record._lines.close()
        record._lines = Path("/dev/full").open("wb")  # noqa: SIM115
        next(record.take(found("a.jpg")))
        raise TwlError("first")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_fails_leaves_no_record(tmp_path):
    outputs = [tmp_path / "tags.csv"]
    with ShardRecord(Shard(1, 1), outputs) as record:
        list(record.take(found("a.jpg")))
        record.finish({outputs[0]: 1}, {})
    with pytest.raises(KeyboardInterrupt), ShardRecord(Shard(1, 1), outputs) as record:
        next(record.take(found("a.jpg")))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_cannot_be_written_is_an_error(tmp_path):
    record = ShardRecord(Shard(1, 1), [tmp_path / "gone" / "tags.csv"])
    with (
        pytest.raises(TwlError, match=r"tags\.csv\.shard: cannot be written \(No such"),
        record,
    ):
        pytest.fail("entered")


def whole(tmp_path) -> tuple[Path, list[bytes]]:
    output = tmp_path / "tags.csv"
    with ShardRecord(Shard(1, 1), [output]) as record:
        list(record.take(found("a", "b", "c")))
        record.finish({output: 3}, {})
    return output, record_path(output).read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"images": "3"},
        {"taken": -1},
        {"rows": True},
        {"rows": 0.5},
        {"run": []},
        {"shard": ["1/1"]},
    ],
)
def test_a_record_with_values_of_other_kinds_is_none(tmp_path, wrong):
    output, lines = whole(tmp_path)
    first = json.dumps({**json.loads(lines[0]), **wrong}).encode() + b"\n"
    record_path(output).write_bytes(b"".join([first, *lines[1:]]))
    with pytest.raises(TwlError, match=r"tags\.csv\.shard: not a shard's record: expected"):
        read_summary(output)


@pytest.mark.parametrize("first", [b"", b"text\n", b"[]\n", b"{}\n", b'{"shard": 3}\n', b"\xff\n"])
def test_what_is_no_record_is_named(tmp_path, first):
    output, lines = whole(tmp_path)
    record_path(output).write_bytes(b"".join([first, *lines[1:]]))
    with pytest.raises(TwlError, match=r"tags\.csv\.shard: not a shard's record"):
        read_summary(output)


def test_a_record_that_is_not_there_is_named(tmp_path):
    with pytest.raises(TwlError, match=r"a\.csv: .* a\.csv\.shard "):
        read_summary(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([b'[0, "a"]\n', b'[1, "b"]\n'], "2 images, expected 3"),
        ([b'[0, "a"]\n', b'[1, "b'], ":3: damaged"),
        ([b'[0, "a"]\n', b'[0, "b"]\n'], ":3: damaged: expected a place and a name"),
        ([b'["a", 0]\n'], ":2: damaged: expected a place and a name"),
        ([b"7\n"], ":2: damaged"),
    ],
)
def test_a_record_that_is_damaged_is_named(tmp_path, lines, message):
    output, (first, *_) = whole(tmp_path)
    record_path(output).write_bytes(b"".join([first, *lines]))
    with pytest.raises(TwlError, match=message):
        list(read_images(output, read_summary(output)))


def test_thresholds_of_a_file_are_the_same_on_every_machine_by_their_numbers():
    def conditions(name: str, *values: float):
        return Decision("model", name, np.array(values, np.float32)).conditions

    assert conditions("a.toml", 0.5, 0.25) == conditions("/other/b.toml", 0.5, 0.25)
    assert conditions("a.toml", 0.5, 0.25) != conditions("a.toml", 0.5, 0.75)
    assert conditions("0.5", 0.5, 0.5)["threshold"] == "0.5"
