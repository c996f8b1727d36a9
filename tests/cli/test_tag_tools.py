"""`twl tag` and `twl retag` for labelling tools: formats of JSON, and what is refused."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.images.encoded import encode, picture
from tests.tagging.models import write_model
from twlcli.cli.app import app

RUN = ("photos", "--model", "model.onnx")


def twl(*arguments: object):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in ("b.jpg", "a.jpg"):
        Path("photos", name).write_bytes(encode(picture(), "JPEG"))
    write_model(Path("model.onnx"))
    return Path(tmp_path)


def images_of(path: str) -> list[str]:
    return [task["data"]["image"] for task in json.loads(Path(path).read_text())]


def test_predictions_with_their_interface_beside_a_table():
    outs = ("--out", "tags.csv", "--out", "p.json", "--format", "label-studio")
    prefix = ("--image-prefix", "https://example.org")
    assert twl("tag", *RUN, *outs, *prefix).exit_code == 0
    assert images_of("p.json") == ["https://example.org/a.jpg", "https://example.org/b.jpg"]
    assert Path("tags.csv").read_text().startswith("image,labels,probabilities\na.jpg,")
    assert '<Choice value="red"/>' in Path("p.xml").read_text()
    again = twl("tag", *RUN, *outs)  # another prefix needs no other prediction
    assert "2 of them in an earlier run" in again.stderr
    assert images_of("p.json")[0] == "/data/local-files/?d=a.jpg"
    Path("q.xml").write_text("mine")
    refused = twl("tag", *RUN, "--out", "q.json", "--format", "label-studio")
    assert (refused.exit_code, Path("q.xml").read_text()) == (2, "mine")
    assert "q.xml: exists already; use --force" in refused.stderr


@pytest.mark.parametrize("name", ["label-studio", "fiftyone"])
def test_retag_writes_what_tag_writes(name):
    pytest.importorskip("pyarrow")
    twl("tag", *RUN, "--scores", "scores.parquet")
    for options in ([], ["--threshold", "0.99"], ["--top-k", "1"]):
        run = (*options, "--format", name, "--force")
        assert twl("tag", *RUN, *run, "--out", "tag.json").exit_code == 0
        assert twl("retag", "scores.parquet", *run, "--out", "retag.json").exit_code == 0
        assert Path("tag.json").read_bytes() == Path("retag.json").read_bytes()
        streamed = twl("retag", "scores.parquet", *run)
        assert streamed.stdout == Path("tag.json").read_text()


def test_what_is_wrong_is_one_line():
    for arguments, message in [
        (["--out", "x.json"], "x.json: a .json file requires --format label-studio or --format "),
        (["--out", "x.csv", "--format", "fiftyone"], "--format fiftyone requires --out with a "),
        (["--out", "x.txt", "--out", "y.json", "--format", "fiftyone"], "x.txt: the suffix '.txt'"),
        (["--out", "x.json", "--format", "fiftyone", "--image-prefix", "a"], "requires --format l"),
        (["--image-prefix", "a"], "--image-prefix requires --format label-studio"),
        (["--out", "x.json", "--out", "x.xml", "--format", "label-studio"], "x.xml: the suffix"),
        (["--shard", "1/2", "--out", "x.json", "--format", "fiftyone"], "a shard needs a table"),
    ]:
        result = twl("tag", *RUN, *arguments)
        assert result.exit_code == 2
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
    merged = twl("merge", "x.json", "a.json", "b.json")
    assert merged.exit_code == 2
    assert merged.stderr == (
        "twl: error: x.json: Label Studio and FiftyOne take the files of all shards one after the "
        "other; expected tables to join\n"
    )


def test_each_shard_has_a_file_beside_its_table():
    for part in (1, 2):
        outs = ("--out", f"{part}.csv", "--out", f"{part}.json", "--format", "label-studio")
        assert twl("tag", *RUN, "--shard", f"{part}/2", *outs).exit_code == 0
    both = [*images_of("1.json"), *images_of("2.json")]
    assert sorted(both) == ["/data/local-files/?d=a.jpg", "/data/local-files/?d=b.jpg"]
    assert twl("merge", "all.csv", "1.csv", "2.csv").exit_code == 0
