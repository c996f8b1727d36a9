"""Kills, full disks and scarce shared memory, each many times: `pytest -m slow` runs them.

`docs/reliability.md` says what they show.
"""

import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.slow

SMALL = [
    *("--backbone", "shufflenet_v2_x0_5", "--weights", "none", "--size", "32"),
    *("--batch-size", "4", "--device", "cpu", "--epochs", "4"),
    *("--set", "train.precision=float32", "--set", "train.threads=1"),
    *("--set", "train.ema=0.9", "--set", "train.save_minutes=1e-9"),
]

# Trains in a process that is forked once torch is loaded, as loading it takes most of the time.
LIVES = """
import os, random, signal, sys, time
import torch
from twlcli.training.run import resume, train
from twlcli.runs.states import has_state
from pathlib import Path

recipe, folder, kills = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
draw = random.Random(0)

def life():
    pid = os.fork()
    if pid:
        return pid
    try:
        if (folder / "recipe.toml").exists():
            resume(folder, device="cpu")
        else:
            from twlcli.recipe import read_recipe
            train(read_recipe(recipe), out=folder, device="cpu")
        os._exit(0)
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\\n")
        os._exit(1)

killed = 0
while killed < kills:
    pid = life()
    time.sleep(draw.uniform(0.02, 0.6))
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSIGNALED(status):
        print("ended before it was killed", status)
        break
    killed += 1
pid = life()
_, status = os.waitpid(pid, 0)
print("killed", killed)
sys.exit(os.waitstatus_to_exitcode(status))
"""


# Trains on frozen features in forked processes that share a cache; each but the last is killed.
FROZEN_LIVES = """
import os, random, signal, sys, time
import torch
from pathlib import Path
from twlcli.features import extract
from twlcli.features.kept import summaries
from twlcli.recipe import read_recipe
from twlcli.training.run import train

recipe, folder, kills = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
draw = random.Random(0)
extract._KEPT_EVERY = 0.001

def life(number):
    pid = os.fork()
    if pid:
        return pid
    try:
        run = folder / str(number)
        train(read_recipe(recipe), out=run, device="cpu", features=folder / "cache")
        os._exit(0)
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\\n")
        os._exit(1)

def kept():
    return sum(each.rows for each in summaries(folder / "cache"))

grew, killed, before = 0, 0, 0
while killed < kills:
    pid = life(killed)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and kept() == before:
        time.sleep(0.005)
    time.sleep(draw.uniform(0, 0.01))
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSIGNALED(status):
        print("ended before it was killed", status)
        break
    killed += 1
    grew += kept() > before
    before = kept()
pid = life("last")
_, status = os.waitpid(pid, 0)
print("killed", killed, "of them in extraction", grew)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def twl(*arguments: object, before: str = "", **options) -> "subprocess.CompletedProcess[str]":
    """A command of twl's, after some lines of shell."""
    words = " ".join(f"'{argument}'" for argument in arguments)
    command = ["bash", "-c", f"{before}\nexec {sys.executable} -m twlcli {words}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


def namespace() -> list[str]:
    """The words before a command that may mount file systems of its own."""
    for words in (["unshare", "-m"], ["unshare", "-Urm"]):
        tried = [*words, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        if shutil.which("unshare") and subprocess.run(tried, capture_output=True).returncode == 0:
            return words
    pytest.skip("needs the right to mount a file system in a namespace")


def weights(run: Path) -> dict[str, Any]:
    from twlcli.model.checkpoint import read_checkpoint

    return read_checkpoint(run)[1]


def assert_same_weights(one: Path, other: Path) -> None:
    torch = pytest.importorskip("torch")
    expected, actual = weights(one), weights(other)
    assert all(torch.equal(actual[key], expected[key]) for key in expected)


def assert_whole(run: Path) -> None:
    """Every file of a run that is there can be read, and no temporary one is left."""
    from twlcli.runs.run_folder import Run
    from twlcli.runs.states import has_state, read_state

    device = pytest.importorskip("torch").device("cpu")
    if not run.exists():
        return
    opened = Run.open(run)
    opened.history()
    if has_state(run):
        assert read_state(run, device).note == ""
    if (run / "model.safetensors").exists():
        weights(run)
    assert [path.name for path in run.iterdir() if path.name.startswith(".")] == []


def recipe_of(photographs: Path, folder: Path) -> Path:
    """A recipe file of a training that was run to its end in `folder`."""
    done = twl("train", photographs, "--out", folder, *SMALL, "--workers", 0)
    assert done.returncode == 0, done.stderr
    return folder / "recipe.toml"


def test_fifty_kills_lose_nothing_that_was_saved(photographs, tmp_path):
    recipe = recipe_of(photographs, tmp_path / "whole")
    command = [sys.executable, "-c", LIVES, str(recipe), str(tmp_path / "killed"), "50"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "killed 50\n"
    assert_whole(tmp_path / "killed")
    assert_same_weights(tmp_path / "whole", tmp_path / "killed")
    whole, killed = (
        [
            {key: value for key, value in json.loads(line).items() if key != "images_per_second"}
            for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        ]
        for name in ("whole", "killed")
    )
    assert killed == whole


def test_twenty_kills_in_extraction_lose_no_feature(photographs, tmp_path):
    recipe = tmp_path / "recipe.toml"
    options = ["--backbone", "shufflenet_v2_x0_5", "--weights", "none", "--size", "32"]
    for name in ("whole", "lives"):
        (tmp_path / name).mkdir()
    whole, lives = tmp_path / "whole", tmp_path / "lives"
    frozen = ["--frozen", "--views", 64, "--features", whole / "cache", "--out", whole / "run"]
    done = twl("train", photographs, *options, *frozen, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    shutil.copy(whole / "run" / "recipe.toml", recipe)
    command = [sys.executable, "-c", FROZEN_LIVES, str(recipe), str(lives), "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    counts = re.fullmatch(r"killed 20 of them in extraction (\d+)\n", done.stdout)
    assert counts is not None and int(counts[1]) >= 10, done.stdout
    assert features_of(whole / "cache") == features_of(lives / "cache")
    assert_same_weights(whole / "run", lives / "last")


def features_of(cache: Path) -> dict[tuple[bytes, int], bytes]:
    """The bytes of the features of each view in the only folder of a cache."""
    (folder,) = cache.iterdir()
    about = json.loads((folder / "about.json").read_text())
    rows = (folder / "features.f32").read_bytes()
    size = 4 * about["width"]
    with closing(sqlite3.connect(folder / "index.sqlite")) as index:
        places = index.execute("SELECT path, view, place FROM images").fetchall()
    return {(path, view): rows[at * size : (at + 1) * size] for path, view, at in places}


def test_a_signal_at_the_start_ends_all_processes(photographs, tmp_path):
    """At any moment from when the data are read, while processes that load images start."""
    draw = random.Random(0)
    begun = tmp_path / "begun"
    assert twl("train", photographs, "--out", begun, *SMALL).returncode == 0
    command = [sys.executable, "-m", "twlcli", "train", "--resume"]
    for turn in range(20):
        run = tmp_path / str(turn)
        shutil.copytree(begun, run)
        process = subprocess.Popen(
            [*command, str(run), "--epochs", "500", "--workers", "3"],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stderr is not None
        while "training images" not in process.stderr.readline():
            assert process.poll() is None
        time.sleep(draw.uniform(0, 0.4))
        process.send_signal(draw.choice([signal.SIGINT, signal.SIGTERM]))
        if turn % 3 == 0:
            time.sleep(draw.uniform(0, 0.3))
            process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        assert process.returncode in (75, 130), said
        assert "Traceback" not in said
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kilobytes", [1, 8, 400, 1400, 1800, 3000])
def test_a_limit_on_files_ends_a_training_in_one_line(photographs, tmp_path, kilobytes, workers):
    run = tmp_path / "run"
    limit = f"ulimit -f {kilobytes}"
    arguments = ["train", photographs, "--out", run, *SMALL, "--workers", workers]
    done = twl(*arguments, before=limit)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("twl: error: ") and "cannot be written (File too large)" in last
    assert_whole(run)


@pytest.mark.parametrize("megabytes", [1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_a_full_disk_ends_a_training_in_one_line(photographs, tmp_path, megabytes):
    disk = tmp_path / "disk"
    disk.mkdir()
    saved = tmp_path / "saved"
    script = (
        f"mount -t tmpfs -o size={megabytes}m tmpfs {disk}\n"
        f"{sys.executable} -m twlcli train {photographs} --out {disk}/run "
        f"{' '.join(SMALL)} --workers 1\n"
        f"code=$?; cp -r {disk} {saved}; exit $code"
    )
    done = subprocess.run(
        [*namespace(), "bash", "-c", script], capture_output=True, text=True, timeout=300
    )
    assert "Traceback" not in done.stderr
    if done.returncode:
        last = done.stderr.splitlines()[-1]
        assert done.returncode == 2
        assert last.startswith("twl: error: ") and "(No space left on device)" in last
    assert_whole(saved / "run")


@pytest.mark.parametrize(("megabytes", "size", "batch"), [(4, 224, 16), (64, 224, 20), (1, 64, 20)])
def test_scarce_shared_memory_is_slower_and_nothing_else(
    photographs, tmp_path, megabytes, size, batch
):
    runs: list[Path] = []
    for limit in ("", f"mount -t tmpfs -o size={megabytes}m tmpfs /dev/shm"):
        run = tmp_path / f"run{len(runs)}"
        script = (
            f"{limit}\n{sys.executable} -m twlcli train {photographs} --out {run} "
            f"{' '.join(SMALL)} --workers 2 --size {size} --batch-size {batch} --epochs 1"
        )
        done = subprocess.run(
            [*namespace(), "bash", "-c", script], capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        runs.append(run)
    assert_same_weights(*runs)


@pytest.fixture(scope="module")
def drawings(tmp_path_factory) -> Path:
    """300 drawn images."""
    folder: Path = tmp_path_factory.mktemp("drawings") / "shapes"
    done = twl("data", "sample", folder, "--images", 300)
    assert done.returncode == 0, done.stderr
    return folder / "images"


@pytest.mark.parametrize("shared", ["out", "gallery", "errors"])
def test_two_runs_at_once_do_not_mix_in_one_file(drawings, tmp_path, shared):
    """Twenty times: whoever comes second is told, and the file is whole."""
    ends = []
    for turn in range(20):
        folder = tmp_path / str(turn)
        folder.mkdir()
        runs = []
        for number, top in enumerate(("--top-k=1", "--top-k=4")):
            own = {each: folder / f"{number}-{each}.html" for each in ("out", "gallery", "errors")}
            own[shared] = folder / "shared.html"
            command = [sys.executable, "-m", "twlcli", "tag", str(drawings), "--no-journal", top]
            command += ["--format", "csv", f"--out={own['out']}", f"--gallery={own['gallery']}"]
            command += [f"--errors={own['errors']}"]
            runs.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
            time.sleep(0.02 * turn)
        said = [run.communicate(timeout=120)[1] for run in runs]
        codes = [run.returncode for run in runs]
        ends.append(tuple(codes))
        assert sorted(codes) in ([0, 0], [0, 2]), said
        for code, text in zip(codes, said, strict=True):
            if code == 2:
                assert text.splitlines()[-1].startswith("twl: error: ")
                assert "shared.html" in text.splitlines()[-1]
        content = (folder / "shared.html").read_text("utf-8")
        if shared == "out":
            rows = content.splitlines()[1:]
            assert len(rows) == 300 and len({row.split(",")[0] for row in rows}) == 300
        if shared == "gallery":
            assert content.rstrip().endswith("</html>")
            assert len(set(re.findall(r"\d{5}\.jpg", content))) == 300
    assert (0, 2) in ends or (2, 0) in ends
