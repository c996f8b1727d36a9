"""Runs that are killed or interrupted in the middle, as processes."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from tests.images.encoded import encode, picture
from twlcli import tag_files

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them"),
]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_the_same_command_continues(bucket, proxy, model, tmp_path, number, code):
    for place in range(60):
        bucket.put(f"photos/{place:02}.png", encode(picture(60 + place), "PNG"))
    tag_files(["s3://pics/photos"], model=model, outputs=["s3://pics/expected.csv"])
    middle = threading.Event()

    def rule(method, path, count):
        if path.endswith("/45.png"):
            middle.set()
            return 3.0
        return "pass"

    proxy.rule = rule
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "twlcli", "tag", "s3://pics/photos", "--batch-size", "4"]
    command += ["--model", str(model), "--out", "s3://pics/tags.csv"]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert middle.wait(30)
    threading.Event().wait(1)
    running.send_signal(number)
    _, said = running.communicate(timeout=20)
    assert running.returncode == code, said
    assert "tags.csv" not in bucket.stored()
    if number != signal.SIGKILL:
        assert not list((tmp_path / "tmp").glob("twl-*"))
        assert "the same command continues from here" in said
    proxy.rule = lambda method, path, count: "pass"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "in an earlier run" in done.stderr
    assert bucket.get("tags.csv") == bucket.get("expected.csv")
    assert not list((tmp_path / "tmp").glob("twl-*"))
