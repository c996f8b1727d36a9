import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from twlcli.errors import TwlError
from twlcli.io import (
    check_free,
    locked_folder,
    open_partial,
    parse_json,
    parse_toml,
    partial_path,
    write_whole,
)


def test_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    write_whole(path, lambda file: file.write(b"old"))

    def fail(file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(
        TwlError, match=r"^\S+/file: cannot be written \(No space left on device\)$"
    ):
        write_whole(path, fail)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    write_whole(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("size", [70_000, 80_000])  # fails in the middle, and at the end
def test_a_full_disk_is_told_though_torch_hides_it(tmp_path, size):
    torch = pytest.importorskip("torch")
    resource = pytest.importorskip("resource")
    path = tmp_path / "state.pt"
    path.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(TwlError, match=r"state\.pt: cannot be written \(File too large\)"):
            write_whole(path, lambda file: torch.save([torch.zeros(size)], file))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.pt"]


def test_partial_file_keeps_what_it_has_until_it_is_complete(tmp_path):
    path = tmp_path / "rows.csv"
    with pytest.raises(KeyboardInterrupt), open_partial(path) as file:
        file.write(b"one row")
        raise KeyboardInterrupt
    assert not path.exists()
    assert partial_path(path).read_bytes() == b"one row"
    with open_partial(path) as file:
        file.write(b"all rows")
    assert path.read_bytes() == b"all rows"
    assert not partial_path(path).exists()


def test_partial_file_that_cannot_be_written_names_the_output(tmp_path):
    opened = open_partial(tmp_path / "gone" / "rows.csv")
    with pytest.raises(TwlError, match=r"rows.csv: cannot be written \("):
        opened.__enter__()


def test_check_free(tmp_path):
    there = tmp_path / "there.csv"
    there.touch()
    check_free(there, force=True)
    check_free(tmp_path / "new.csv", force=False)
    with pytest.raises(TwlError, match="exists already; use `force` to replace it"):
        check_free(there, force=False)
    with pytest.raises(TwlError, match="is a folder"):
        check_free(tmp_path, force=True)
    with pytest.raises(TwlError, match="null: is a device, expected the name of a file"):
        check_free(Path(os.devnull), force=True)
    with pytest.raises(TwlError, match="there is no folder"):
        check_free(tmp_path / "gone" / "a.csv", force=True)


def test_values_are_read():
    assert parse_json('{"a": [1, null]}') == {"a": [1, None]}
    assert parse_json(b"[1]") == [1]
    assert parse_toml("a.b = 1") == {"a": {"b": 1}}


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, '{"a":' * 100_000, "1" * 5000, b"\xff", "x = " + "[" * 5000]
)
def test_what_is_wrong_is_a_value_error(text):
    with pytest.raises(ValueError):
        parse_json(text)
    if isinstance(text, str):
        with pytest.raises(ValueError):
            parse_toml(text or "=")


def test_one_process_writes_an_output_at_a_time(tmp_path):
    path = tmp_path / "rows.csv"
    with open_partial(path) as file:
        file.write(b"mine")
        with pytest.raises(TwlError, match=r"rows\.csv: another twl is writing it"):
            open_partial(path).__enter__()
    assert path.read_bytes() == b"mine"
    with open_partial(path) as file:
        file.write(b"later")
    assert path.read_bytes() == b"later"


def test_what_a_killed_process_left_is_not_in_the_next_file(tmp_path):
    path = tmp_path / "rows.csv"
    partial_path(path).write_bytes(b"x" * 1000)
    with open_partial(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


def test_a_folder_is_one_process_s(tmp_path):
    with locked_folder(tmp_path), pytest.raises(TwlError, match="another twl is writing it"):
        locked_folder(tmp_path).__enter__()
    with locked_folder(tmp_path):
        """It is free again."""


def test_threads_write_one_file_without_mixing(tmp_path):
    path = tmp_path / "file"
    contents = [bytes([number]) * 100_000 for number in range(8)]

    def write(content: bytes) -> None:
        write_whole(path, lambda file: file.write(content))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, contents))
    assert path.read_bytes() in contents
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def lets_go(folder: Path, *, seconds: float) -> bool:
    """Whether a folder can be locked before long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with suppress(TwlError), locked_folder(folder):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_lock_ends_with_the_process_that_took_it(tmp_path):
    """Also where processes that it started live on, such as those that load images."""
    code = (
        "import os, signal, sys, time\n"
        "from pathlib import Path\n"
        "from twlcli.io import locked_folder\n"
        "with locked_folder(Path(sys.argv[1])):\n"
        "    child = os.fork()\n"
        "    if not child: time.sleep(60); os._exit(0)\n"
        "    print(child, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", code, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
    try:
        assert lets_go(tmp_path, seconds=5)  # the child has to be scheduled first
        os.kill(child, 0)  # it is there
    finally:
        os.kill(child, signal.SIGKILL)
