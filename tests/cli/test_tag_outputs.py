"""`twl tag`: several outputs at once, what is tagged, policies and shards, through the command."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.cli.test_tag import TWL_TAG, posix, rows_of, twl_tag
from tests.cli.test_tag_resume import many_photos, model, photos
from twlcli.annotations.detect import read_labels
from twlcli.errors import TwlError

__all__ = ["model", "photos"]  # fixtures


def names_in(out: Path) -> list[str]:
    return [row["image"] for row in rows_of(out.read_text(errors="surrogateescape"))]


def test_tag_writes_several_outputs_at_once(model, photos, tmp_path):
    (photos / "broken.png").write_text("text")
    csv, jsonl, errors = tmp_path / "t.csv", tmp_path / "t.jsonl", tmp_path / "e.csv"
    outs = ["--out", csv, "--out", jsonl, "--out", "-", "--errors", errors]
    result = twl_tag(photos, "--model", model, *outs, "--txt", "--xmp")
    assert result.exit_code == 3
    assert result.stdout == csv.read_text()
    lines = [json.loads(line) for line in jsonl.read_text().splitlines()]
    assert [line["image"] for line in lines] == names_in(csv) == ["a.png", "b.png", "sub/c.png"]
    assert names_in(errors) == ["broken.png"]
    assert (photos / "a.txt").read_text() == "red\n"
    assert (photos / "sub" / "c.txt").read_text() == "red, green\n"
    assert "green" in (photos / "sub" / "c.png.xmp").read_text()
    assert not (photos / "broken.txt").exists()
    again = twl_tag(photos, "--model", model, *outs, "--txt", "--xmp")
    assert "4 images, 4 of them in an earlier run: 3 tagged, 1 failed" in again.stderr


def test_tag_writes_a_gallery(model, photos, tmp_path):
    page = tmp_path / "page.html"
    result = twl_tag(photos, "--model", model, "--gallery", page)
    assert (result.exit_code, result.stdout) == (0, "")
    before = page.read_bytes()
    assert b"a.png" in before and b"green" in before
    again = twl_tag(photos, "--model", model, "--gallery", page)
    assert "3 of them in an earlier run" in again.stderr and page.read_bytes() == before


def test_tag_with_sidecars_alone_prints_no_rows(model, photos):
    result = twl_tag(photos, "--model", model, "--txt", "--sidecar-names", "full")
    assert (result.exit_code, result.stdout) == (0, "")
    assert (photos / "a.png.txt").read_text() == "red\n"
    (photos / "a.png.txt").unlink()
    (photos / "b.png.txt").write_text("green, and more by hand")
    again = twl_tag(photos, "--model", model, "--txt", "--sidecar-names", "full")
    assert "3 of them in an earlier run" in again.stderr
    assert (photos / "a.png.txt").read_text() == "red\n"
    assert (photos / "b.png.txt").read_text() == "green, and more by hand"


def test_sidecars_of_twl_follow_a_changed_image_those_of_others_stay(model, photos, tmp_path):
    (photos / "b.txt").write_text("by hand")
    call = [photos, "--model", model, "--txt", "--out", tmp_path / "t.csv"]
    result = twl_tag(*call)
    assert result.exit_code == 3
    reason = "its .txt exists already with other content; force replaces it"
    assert f"failed: b.png: {reason}" in result.stderr
    assert "3 tagged, 0 failed, 1 not written to every output" in result.stderr
    assert names_in(tmp_path / "t.csv") == ["a.png", "b.png", "sub/c.png"]
    (photos / "a.png").write_bytes((photos / "sub" / "c.png").read_bytes())
    result = twl_tag(*call)
    assert "3 images, 2 of them in an earlier run: " in result.stderr
    assert "1 not written to every output" in result.stderr
    assert (photos / "a.txt").read_text() == "red, green\n"
    assert (photos / "b.txt").read_text() == "by hand"
    assert twl_tag(*call, "--force").exit_code == 0
    assert (photos / "b.txt").read_text() == "green\n"


def test_tag_takes_lists_globs_tars_and_patterns(model, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with tarfile.open("shard.tar", "w") as tar:
        tar.add(photos / "a.png", "0.png")
        tar.add(photos / "b.png", "1.png")
    Path("list").write_text("photos/b.png\nphotos/gone.png\n")
    cases: list[tuple[list[str], list[str]]] = [
        (["photos/**/c.*"], ["photos/sub/c.png"]),
        (["shard.tar"], ["shard.tar/0.png", "shard.tar/1.png"]),
        (["--from", "list"], ["photos/b.png"]),
        (["photos", "--exclude", "sub"], ["a.png", "b.png"]),
        (["photos", "--include", "b.*", "--include", "c.*"], ["b.png", "sub/c.png"]),
    ]
    for arguments, names in cases:
        result = twl_tag(*arguments, "--model", model, "--journal", "journal")
        assert [row["image"] for row in rows_of(result.stdout)] == names, result.stderr
        again = twl_tag(*arguments, "--model", model, "--journal", "journal", "--hash")
        assert again.stdout == result.stdout
    assert "nothing to tag" in twl_tag("--model", model).stderr


def test_tag_of_one_image_loads_what_it_needs(model, photos):
    code = (
        "import sys\n"
        "from twlcli.cli.app import app\n"
        "try: app(['tag', *sys.argv[1:]])\n"
        "finally: print(*sys.modules, file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", code, photos / "a.png", "--model", model]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.stdout.startswith("image,labels,probabilities\n")
    loaded = set(done.stderr.splitlines()[-1].split())
    assert "onnxruntime" in loaded
    assert not loaded & {"sqlite3", "torch", "pyarrow", "pathspec", "tomllib"}
    assert not loaded & {f"twlcli.tagging.{name}" for name in ("journal", "xmp", "gallery")}


@posix
def test_tag_takes_names_from_the_standard_input(model, photos):
    odd = os.fsencode(photos) + b"/\xff\n=1.png"
    with open(odd, "wb") as file:  # noqa: PTH123  Path would need the name as text
        file.write((photos / "a.png").read_bytes())
    command = [*TWL_TAG, "--model", str(model), "--from", "-", "--null"]
    done = subprocess.run(command, input=odd + b"\0", capture_output=True)
    assert done.returncode == 0, done.stderr
    assert [row["image"] for row in rows_of(done.stdout.decode(errors="surrogateescape"))] == [
        os.fsdecode(odd)
    ]


def test_another_policy_needs_no_new_prediction(model, photos, tmp_path):
    policy, out = tmp_path / "policy.toml", tmp_path / "t.csv"
    call = [photos, "--model", model, "--out", out, "--txt"]
    twl_tag(*call)
    policy.write_text('prefix = "auto:"\n[aliases]\nred = "crimson"\n')
    result = twl_tag(*call, "--policy", policy)
    assert result.exit_code == 0 and "3 of them in an earlier run" in result.stderr, result.stderr
    assert [row["labels"] for row in rows_of(out.read_text())] == [
        "auto:crimson",
        "auto:green",
        "auto:crimson|auto:green",
    ]
    assert (photos / "a.txt").read_text() == "auto:crimson\n"


@posix
def test_shards_join_to_the_whole(model, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    many_photos(folder, 60)
    whole, whole_errors = tmp_path / "whole.csv", tmp_path / "whole-errors.csv"
    twl_tag(folder, "--model", model, "--out", whole, "--errors", whole_errors)
    parts, errors = (
        [tmp_path / f"{i}.csv" for i in (1, 2)],
        [tmp_path / f"e{i}.csv" for i in (1, 2)],
    )
    for index in (1, 2, 2):  # the last goes on from its journal
        call = [folder, "--model", model, "--shard", f"{index}/2", "--errors", errors[index - 1]]
        result = twl_tag(*call, "--out", parts[index - 1])
        assert result.exit_code in (0, 3), result.stderr
    assert "of them in an earlier run" in result.stderr
    refused = twl_tag(*call, "--out", parts[1], "--threshold", "0.1")
    assert refused.exit_code == 2  # and leaves what merge needs
    for name, files, want in [("m", parts, whole), ("me", errors, whole_errors)]:
        joined = tmp_path / f"{name}.csv"
        command = [sys.executable, "-m", "twlcli", "merge", joined, *files]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert joined.read_bytes() == want.read_bytes()
    assert "a shard needs a table in a file" in twl_tag(folder, "--shard", "1/2").stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "-", "--out", "-"], "--out -"),
        (["--out", "t.csv", "--out", "./t.csv"], "two outputs name the same file"),
        (["--out", "t.csv", "--out", "photos/../t.csv"], "two outputs name the same file"),
        (["--out", os.devnull, "--format", "csv", "--force"], "is a device"),
        (["--out", "/dev/stdout"], "--out /dev/stdout: --out - is standard output"),
        (["--out", "t.csv", "--gallery", "t.csv"], "two outputs name the same file"),
        (["--xmp", "--sidecar-names", "short"], "expected full or stem"),
        (["--format", "parquet"], "'parquet' needs a file"),
        (["--shard", "3/2", "--out", "t.csv"], "shard '3/2'"),
        (["--policy", "gone.toml"], "gone.toml"),
    ],
)
def test_output_options_are_checked_in_one_line(
    model, photos, tmp_path, monkeypatch, options, message
):
    monkeypatch.chdir(tmp_path)
    result = twl_tag(photos, "--model", model, *options)
    assert result.exit_code == 2 and message in result.stderr
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("twl: error: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "photos"]


def test_a_full_disk_ends_the_run_and_the_same_call_goes_on(model, photos, tmp_path, monkeypatch):
    from twlcli.tagging.outputs.txt import TxtWriter

    reason = "a.txt: cannot be written (No space left on device)"

    def full(self, file, tags, *, ours=False, memo=""):
        raise TwlError(reason)

    call = [photos, "--model", model, "--txt", "--out", tmp_path / "t.csv", "--batch-size", 1]
    with monkeypatch.context() as patch:
        patch.setattr(TxtWriter, "write", full)
        result = twl_tag(*call)
    assert result.exit_code == 2
    assert "twl: stopped early: 0 images: 0 tagged" in result.stderr
    assert result.stderr.endswith(
        "twl: error: a.txt: cannot be written (No space left on device)\n"
    )
    assert not (tmp_path / "t.csv").exists()
    assert twl_tag(*call).exit_code == 0


def test_excel_is_told_that_tables_are_utf_8(model, photos, tmp_path):
    out, errors = tmp_path / "tags.csv", tmp_path / "errors.csv"
    plain = tmp_path / "plain.csv"
    (photos / "bad.jpg").write_bytes(b"no image")
    for words in (["--out", out, "--errors", errors, "--bom"], ["--out", plain]):
        result = twl_tag(photos, "--model", model, "--no-journal", *words)
        assert result.exit_code == 3, result.output
    assert out.read_bytes() == b"\xef\xbb\xbf" + plain.read_bytes()
    assert errors.read_bytes().startswith(b"\xef\xbb\xbfimage,error\n")
    assert read_labels(out).images == read_labels(plain).images
