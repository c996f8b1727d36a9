"""Private folders go with those who made them, or with the next one."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from twlcli.stores.scratch import private_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="locks as POSIX has them")

KILLED = """
import os
from twlcli.stores.scratch import private_folder
print(private_folder().name, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_what_a_killed_process_left_is_removed_and_nothing_else(temporary):
    mine = private_folder()
    (temporary / "twl-spool-begun").mkdir()  # another run has not locked it yet
    (temporary / "twl-spool-link").symlink_to(mine.name)
    left = subprocess.run(
        [sys.executable, "-c", KILLED],
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
    ).stdout.strip()
    assert Path(left).is_dir()
    other = private_folder()
    assert not Path(left).exists()
    assert Path(mine.name).is_dir() and Path(other.name).is_dir()
    assert (temporary / "twl-spool-begun").is_dir()
    mine.cleanup()
    other.cleanup()
    assert sorted(each.name for each in temporary.iterdir()) == [
        "twl-spool-begun",
        "twl-spool-link",
    ]
