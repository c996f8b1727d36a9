import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.images.encoded import encode, picture
from tests.tagging.models import write_model
from tests.tagging.ugly import fill_with_ugly_files
from twlcli.cli.app import app
from twlcli.errors import ModelError
from twlcli.model import bundled as shipped

TWL_TAG = [sys.executable, "-m", "twlcli", "tag"]
posix = pytest.mark.skipif(os.name != "posix", reason="file names and signals of POSIX")


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model.onnx")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name in ("b.jpg", "a.jpg", "sub/c.jpg"):
        (folder / name).write_bytes(encode(picture(), "JPEG"))
    return folder


def twl_tag(*arguments: object):
    return CliRunner().invoke(app, ["tag", *map(str, arguments)])


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_tag_writes_csv_to_the_standard_output(model, photos):
    result = twl_tag(photos, "--model", model)
    assert result.exit_code == 0
    rows = rows_of(result.stdout)
    assert [row["image"] for row in rows] == ["a.jpg", "b.jpg", "sub/c.jpg"]
    assert all(
        len(row["labels"].split("|")) == len(row["probabilities"].split("|")) for row in rows
    )
    assert "3 images: 3 tagged, 0 failed" in result.stderr
    assert f"model {model} on cpu" in result.stderr


def test_tag_writes_jsonl_by_the_suffix(model, photos, tmp_path):
    out = tmp_path / "tags.jsonl"
    result = twl_tag(photos, "--model", model, "--out", out, "--threshold", "0")
    assert (result.exit_code, result.stdout) == (0, "")
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["image"] for line in lines] == ["a.jpg", "b.jpg", "sub/c.jpg"]
    assert all(sorted(line["labels"]) == ["blue", "green", "red"] for line in lines)
    probabilities = list(lines[0]["labels"].values())
    assert probabilities == sorted(probabilities, reverse=True)


def test_tag_top_k_and_threshold(model, photos):
    cases: list[tuple[list[object], set[int]]] = [
        (["--top-k", 2], {2}),
        (["--top-k", 9], {3}),
        (["--threshold", "1.0"], {0}),
        (["--top-k", 2, "--threshold", "1.0"], {0}),
        (["--top-k", 2, "--threshold", "0"], {2}),
    ]
    for options, counts in cases:
        rows = rows_of(twl_tag(photos, "--model", model, *options).stdout)
        assert {len(row["labels"].split("|")) if row["labels"] else 0 for row in rows} == counts


def test_tag_refuses_to_overwrite_without_force(model, photos, tmp_path):
    out = tmp_path / "tags.csv"
    out.write_text("precious")
    result = twl_tag(photos, "--model", model, "--out", out)
    assert result.exit_code == 2
    assert result.stderr == f"twl: error: {out}: exists already; use --force to replace it\n"
    assert out.read_text() == "precious"
    assert twl_tag(photos, "--model", model, "--out", out, "--force").exit_code == 0
    assert len(rows_of(out.read_text())) == 3
    assert twl_tag(photos, "--model", model, "--errors", out).exit_code == 2
    same = ["--out", out, "--errors", out, "--force"]
    assert "name the same file" in twl_tag(photos, "--model", model, *same).stderr


def test_tag_names_what_is_wrong_in_one_line(model, photos, tmp_path):
    (tmp_path / "nothing").mkdir()
    for arguments, message in [
        ([tmp_path / "gone"], "gone: no such file or folder"),
        ([tmp_path / "nothing"], "nothing: no images in this folder"),
        ([photos, tmp_path / "nothing"], "nothing: no images in this folder"),
        ([photos, "--provider", "cdua"], "did you mean 'cuda'?"),
        ([photos, "--out", tmp_path / "tags.xml"], ".xml"),
        ([photos, "--unordered", "--shard", "1/2"], "--unordered and --shard"),
        ([photos, "--out", tmp_path / "no" / "tags.csv"], "there is no folder"),
    ]:
        result = twl_tag(*arguments, "--model", model)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr.startswith("twl: error: ") and result.stderr.count("\n") == 1
        assert message in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "nothing", "photos"]


def test_tag_of_unreadable_files_goes_on_and_ends_with_3(model, photos, tmp_path):
    (photos / "b.jpg").write_text("text")
    errors = tmp_path / "errors.csv"
    result = twl_tag(photos, "--model", model, "--errors", errors)
    assert result.exit_code == 3
    assert [row["image"] for row in rows_of(result.stdout)] == ["a.jpg", "sub/c.jpg"]
    assert "twl: failed: b.jpg: not an image" in result.stderr
    assert "3 images: 2 tagged, 1 failed" in result.stderr
    (row,) = rows_of(errors.read_text())
    assert row["image"] == "b.jpg" and row["error"].startswith("not an image")


def test_tag_lists_the_first_failures_only(model, photos):
    for index in range(30):
        (photos / f"bad-{index:02}.jpg").write_text("text")
    result = twl_tag(photos, "--model", model)
    assert result.stderr.count("twl: failed: bad-") == 20
    assert "twl: failed: 10 more (--errors FILE lists all)" in result.stderr


def test_a_bundled_model_goes_by_its_name(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = twl_tag(photos, "--model", "shapes-small", "--top-k", 12)
    assert result.exit_code == 0, result.output
    assert "circle" in result.stdout
    (tmp_path / "shapes-small").mkdir()  # what is there comes first
    refused = twl_tag(photos, "--model", "shapes-small")
    assert refused.exit_code == 2 and "is a folder" in refused.stderr


@posix
@pytest.mark.parametrize("workers", [1, 3])
def test_tag_of_ugly_files_accounts_for_each_one_once(model, tmp_path, workers):
    folder = tmp_path / "ugly"
    folder.mkdir()
    reasons = fill_with_ugly_files(folder)
    errors, out = tmp_path / "errors.csv", tmp_path / "tags.csv"
    options = ["--workers", workers, "--batch-size", 4, "--threshold", "0"]
    result = twl_tag(folder, "--model", model, "--errors", errors, "--out", out, *options)
    assert result.exit_code == 3
    text = {path: path.read_text(errors="surrogateescape") for path in (errors, out)}
    tagged = [row["image"] for row in rows_of(text[out])]
    failed = {row["image"]: row["error"] for row in rows_of(text[errors])}
    assert sorted([*tagged, *failed]) == sorted(reasons)
    assert set(failed) == {name for name, reason in reasons.items() if reason}
    for name, error in failed.items():
        assert (reasons[name] or "") in error, name
    files_first = sorted(reasons, key=lambda name: ("/" in name, name))
    assert tagged == [name for name in files_first if reasons[name] is None]
    assert list(failed) == [name for name in files_first if reasons[name]]
    assert "\x1b" not in result.stderr and r"tab\tand\x1b[31mcolor.jpg" in result.stderr
    assert all(line.startswith("twl: ") for line in result.stderr.splitlines())
    if folder.joinpath("locked").exists():
        folder.joinpath("locked").chmod(0o700)


@posix
def test_tag_of_ugly_files_keeps_memory_bounded(model, tmp_path):
    folder = tmp_path / "ugly"
    folder.mkdir()
    fill_with_ugly_files(folder)
    for index in range(400):
        (folder / f"{index}.jpg").symlink_to(folder / "cmyk.jpg")
    code = (
        "import resource, sys\n"
        "from twlcli.cli.app import app\n"
        "try: app(['tag', *sys.argv[1:]])\n"
        "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)\n"
    )

    def peak_megabytes(*paths: Path) -> float:
        arguments = [*map(str, paths), "--model", str(model), "--out", str(tmp_path / "tags.csv")]
        command = [sys.executable, "-c", code, *arguments, "--force", "--batch-size", "4"]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        assert done.returncode in (0, 3), done.stderr
        per_unit = 1024 if sys.platform != "darwin" else 1024**2  # kB there, bytes here
        return int(done.stderr.splitlines()[-1]) / per_unit

    one = peak_megabytes(folder / "cmyk.jpg")
    assert peak_megabytes(folder) < one + 60  # the strip of 20,000 rows, threads, and no list


@posix
def test_tag_interrupted_leaves_a_partial_file(model, photos, tmp_path):
    for index in range(4000):
        (photos / f"{index:04}.jpg").symlink_to(photos / "a.jpg")
    out = tmp_path / "tags.csv"
    command = [*TWL_TAG, photos, "--model", model, "--out", out, "--no-journal"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        partial = out.with_name("tags.csv.partial")
        until = time.monotonic() + 60  # of a machine with other work
        while time.monotonic() < until and not (partial.exists() and partial.stat().st_size > 999):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert not out.exists()
    rows = rows_of(partial.read_text())
    assert 0 < len(rows) < 4000
    told = re.search(r"stopped early: .*: ([\d,]+) tagged", error)
    assert told is not None
    assert 0 <= len(rows) - int(told[1].replace(",", "")) <= 8  # it may stop within a chunk
    assert error.endswith(f"the rows so far are in {partial}\n")
    assert "Traceback" not in error


def _read_terminal(leader: int) -> str:
    data = b""
    with suppress(OSError):  # Linux says so when the other side has closed
        while part := os.read(leader, 4096):
            data += part
    os.close(leader)
    return data.decode()


@posix
def test_tag_draws_a_bar_on_a_terminal(model, photos, tmp_path):
    pty = pytest.importorskip("pty")
    leader, follower = pty.openpty()
    command = [*TWL_TAG, photos, "--model", model, "--out", tmp_path / "t.csv"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stderr=follower, stdout=subprocess.PIPE, env=environment) as run:
        os.close(follower)
        shown = _read_terminal(leader)
        assert run.stdout is not None and run.stdout.read() == b""
    assert run.returncode == 0
    assert "3/3" in shown and "images/s" in shown
    assert "3 images: 3 tagged, 0 failed" in shown


def test_tag_says_what_the_default_model_is(model, photos, monkeypatch):
    monkeypatch.setattr(shipped, "default_model", lambda: model)
    result = twl_tag(photos)
    assert result.exit_code == 0
    assert result.stderr.startswith("twl: the bundled model knows twenty everyday labels")
    assert len(rows_of(result.stdout)) == 3


def test_default_model_is_found_in_the_package_or_the_checkout(tmp_path, monkeypatch):
    package = tmp_path / "twlcli"
    package.mkdir()
    monkeypatch.setattr("twlcli.__file__", str(package / "__init__.py"))
    with pytest.raises(ModelError, match="comes without its default model 'photos-small'"):
        shipped.default_model()
    in_checkout = tmp_path / "models" / "photos-small" / "model.onnx"
    in_wheel = package / "models" / "photos-small" / "model.onnx"
    for path in (in_checkout, in_wheel):
        path.parent.mkdir(parents=True)
        path.touch()
        assert shipped.default_model() == path


@posix
@pytest.mark.parametrize(
    ("arguments", "closed", "message"),
    [
        (["--out", "t.csv"], ">&-", None),
        ([], ">&-", "standard output is closed; write to a file with --out FILE"),
        (["--from", "-"], "<&-", "--from - reads standard input, which is closed"),
    ],
)
def test_tag_with_a_closed_stream(model, photos, arguments, closed, message):
    command = [*TWL_TAG, "photos", "--model", "model.onnx", *arguments]
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", *command]
    done = subprocess.run(
        command,
        cwd=photos.parent,
        env={**os.environ, "PYTHONPATH": str(Path(shipped.__file__).parents[2])},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == (2 if message else 0)
    assert message is None or done.stderr == f"twl: error: {message}\n"


@posix
@pytest.mark.slow
def test_memory_hardly_grows_with_the_files_of_a_folder(model, tmp_path):
    def peak(count: int) -> int:
        folder = tmp_path / str(count)
        folder.mkdir()
        for index in range(count):
            if index % 20_000 == 0:  # a file has no more than so many names
                source = tmp_path / f"{count} {index}.png"
                source.write_bytes(encode(picture(), "PNG"))
            os.link(source, folder / f"IMG_{index:07}.png")
        command = [*TWL_TAG, folder, "--model", model, "--out", tmp_path / f"{count}.csv"]
        process = subprocess.Popen([*map(str, command)], stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_maxrss

    assert peak(100_000) < 1.1 * peak(1000)


def test_tag_says_what_was_odd(model, photos, tmp_path):
    (photos / "cut.jpg").write_bytes(encode(picture(), "JPEG")[:-2])
    (photos / "odd.png").write_bytes(encode(picture(), "PNG", icc_profile=b"broken"))
    (photos / "doc.psd").write_bytes(b"8BPS")
    (photos / "@eaDir").mkdir()
    (photos / "@eaDir" / "a.jpg").write_bytes(encode(picture(), "JPEG"))
    options = ["--model", model, "--accept-damaged", "--max-pixels", 5000]
    result = twl_tag(photos, *options)
    assert result.exit_code == 0
    assert result.stderr.splitlines()[:-1] == [
        "twl: 1 image was damaged and read as far as possible",
        "twl: 1 image was read without the embedded colour profile, which is damaged or does not "
        "fit",
        "twl: 1 system folder was left out (@eaDir)",
        "twl: 1 file is a Photoshop document (PSD), which twl does not read",
    ]
    assert len(rows_of(result.stdout)) == 5
    strict = twl_tag(photos, "--model", model)
    assert strict.exit_code == 3
    assert "cut.jpg: JPEG without its end marker; its pixels are all there" in strict.stderr


def test_tag_names_the_extra_that_is_missing_once(model, photos, tmp_path, monkeypatch):
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "pillow_heif.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(tmp_path / "without")
    for number in range(25):
        (photos / f"{number}.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(90))
    result = twl_tag(photos, "--model", model)
    assert result.exit_code == 3
    need = "HEIC photograph needs the 'heic' extra: pip install 'twlcli[heic]'"
    assert f"twl: failed: 25 files in all: {need}" in result.stderr.splitlines()
