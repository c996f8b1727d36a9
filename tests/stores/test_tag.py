"""Tagging what lies in a store, with everything that may go wrong on the way."""

import io
import tarfile
import tempfile
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.images.encoded import encode, picture
from tests.stores.conftest import PNG
from twlcli import load_model, tag_files
from twlcli.cli.app import app
from twlcli.errors import TwlError
from twlcli.outputs import Csv, FailureTable, Gallery, Output, TxtSidecars, Uploaded
from twlcli.stores import faults, spool

TAGS = "s3://pics/tags.csv"
PHOTOS = 10


@pytest.fixture
def photos(bucket):
    for number in range(PHOTOS):
        bucket.put(f"photos/{number:02}.png", encode(picture(60 + number), "PNG"))
    return "s3://pics/photos"


def tag(places, model, **options):
    out = io.BytesIO()
    tally = tag_files(places, model=model, outputs=[Csv(None, out)], journal=None, **options)
    return tally, out.getvalue()


def failures(places, model, tmp_path, **options):
    table = tmp_path / "failures.csv"
    tally = tag_files(
        places,
        model=model,
        outputs=[FailureTable(table)],
        journal=tmp_path / "journal",
        force=True,
        **options,
    )
    lines = table.read_text().splitlines()[1:]
    return tally, dict(line.split(",", 1) for line in lines)


def test_rows_are_those_of_the_same_images_on_the_disk(photos, bucket, model, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for key in bucket.stored():
        (folder / Path(key).name).write_bytes(bucket.get(key))
    assert tag([photos], model)[1] == tag([folder], model)[1]


def test_nothing_is_left_behind(photos, model, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "spool"))
    (tmp_path / "spool").mkdir()
    assert tag([photos], model)[0].tagged == PHOTOS
    assert not list((tmp_path / "spool").iterdir())


def test_a_spool_of_little_room_holds_one_batch(photos, model, monkeypatch):
    monkeypatch.setattr(spool.Spool.__init__, "__kwdefaults__", {"limit": 1})
    assert tag([photos], model, batch_size=2)[0].tagged == PHOTOS


@pytest.mark.parametrize("fault", ["503", "reset", "cut", "other"])
def test_what_passes_is_tried_again(photos, proxy, model, fault):
    expected = tag([photos], model)
    proxy.requests.clear()
    proxy.rule = lambda method, path, count: (
        fault if method == "GET" and path.endswith("png") and count <= 2 else "pass"
    )
    if fault == "other":  # a content that comes twice the same is taken: let it come once
        proxy.rule = lambda method, path, count: (
            fault if method == "GET" and path.endswith("png") and count == 1 else "pass"
        )
    tally, rows = tag([photos], model)
    assert rows == expected[1]
    assert tally.failed == 0
    assert proxy.gets("05.png") == (2 if fault == "other" else 3)


def test_what_never_comes_fails_and_is_tried_by_the_next_run(photos, proxy, model, tmp_path):
    proxy.rule = lambda method, path, count: (
        "503" if method == "GET" and path.endswith("05.png") else "pass"
    )
    tally, reasons = failures([photos], model, tmp_path)
    assert (tally.tagged, tally.failed) == (PHOTOS - 1, 1)
    assert reasons == {"05.png": "cannot be fetched (503 SlowDown after 5 tries)"}
    proxy.rule = lambda method, path, count: "pass"
    proxy.requests.clear()
    tally, reasons = failures([photos], model, tmp_path)
    assert (tally.tagged, tally.stored, reasons) == (PHOTOS, PHOTOS - 1, {})
    assert proxy.gets(".png") == 1


def test_what_vanished_is_no_such_file(photos, bucket, proxy, model, tmp_path):
    bucket.client.delete_object(Bucket="pics", Key="photos/07.png")
    (tmp_path / "list").write_text(f"{photos}/06.png\n{photos}/07.png\n")
    tally, reasons = failures([], model, tmp_path, lists=[tmp_path / "list"])
    assert (tally.tagged, reasons) == (1, {f"{photos}/07.png": "no such file"})


def test_an_object_that_changed_is_tagged_anew(photos, bucket, proxy, model, tmp_path):
    failures([photos], model, tmp_path)
    bucket.put("photos/03.png", encode(picture(99), "PNG"))
    tally, _ = failures([photos], model, tmp_path)
    assert tally.stored == PHOTOS - 1


def test_large_objects_are_not_fetched(photos, proxy, model, tmp_path, monkeypatch):
    monkeypatch.setattr("twlcli.tagging.run.MAX_BYTES", 10)
    tally, reasons = failures([photos], model, tmp_path)
    assert tally.failed == PHOTOS
    assert reasons["00.png"].startswith('"too large:')
    assert proxy.gets(".png") == 0


def test_a_store_that_is_gone_ends_the_run(photos, proxy, model, tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "GONE_AFTER", 0.01)
    monkeypatch.setattr(spool, "GONE_FAILURES", 3)
    done = threading.Event()

    def rule(method, path, count):
        if path.endswith("00.png"):
            done.set()
        return "503" if path > "/pics/photos/00.png" else "pass"

    proxy.rule = rule
    with pytest.raises(TwlError, match="nothing could be fetched for"):
        failures([photos], model, tmp_path)
    proxy.rule = lambda method, path, count: "pass"
    assert failures([photos], model, tmp_path)[0].tagged == PHOTOS


def test_no_answer_at_the_start_is_one_line(proxy, model, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(TwlError, match=r"^s3://pics/photos: cannot be reached \(.+ 5 tries\)$"):
        tag(["s3://pics/photos"], model)


def test_members_of_a_tar_are_tagged(bucket, model, tmp_path):
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for number in range(12):
            member = tarfile.TarInfo(f"{number}.png")
            member.size = len(PNG)
            tar.addfile(member, io.BytesIO(PNG))
    bucket.put("shard.tar", (tmp_path / "shard.tar").read_bytes())
    tally, rows = tag(["s3://pics/shard.tar"], model)
    assert tally.tagged == 12
    assert b"s3://pics/shard.tar/3.png," in rows


def test_tables_are_uploaded_whole(photos, bucket, model, tmp_path):
    expected = tag([photos], model)[1]
    outputs: list[Output | Path | str] = [TAGS, Uploaded.to("s3://pics/failed.csv", FailureTable)]
    tag_files([photos], model=model, outputs=outputs)
    assert bucket.get("tags.csv") == expected
    assert bucket.get("failed.csv").strip() == b"image,error"
    state = list((tmp_path / "state/twl/outputs").glob("*/*"))
    assert [path.name for path in state if not path.name.startswith("tags.csv.journal")] == []


def test_the_own_table_is_replaced_and_others_are_not(photos, bucket, model):
    tag_files([photos], model=model, outputs=[TAGS])
    assert tag_files([photos], model=model, outputs=[TAGS]).stored == PHOTOS
    with pytest.raises(TwlError, match=r"s3://pics/tags.csv: exists already; use `force`"):
        tag_files([photos], model=model, outputs=[TAGS], top_k=1)
    bucket.put("tags.csv", b"somebody's")
    with pytest.raises(TwlError, match="exists already"):
        tag_files([photos], model=model, outputs=[TAGS])
    tag_files([photos], model=model, outputs=[TAGS], force=True)
    assert bucket.get("tags.csv") != b"somebody's"


def test_an_upload_that_fails_loses_nothing(photos, bucket, proxy, model):
    proxy.rule = lambda method, path, count: "503" if method == "PUT" else "pass"
    with pytest.raises(TwlError, match="cannot be uploaded") as raised:
        tag_files([photos], model=model, outputs=[TAGS])
    kept = Path(str(raised.value).rpartition("the complete file is ")[2])
    content = kept.read_bytes()
    assert content.count(b"\n") == PHOTOS + 1
    proxy.rule = lambda method, path, count: "pass"
    assert tag_files([photos], model=model, outputs=[TAGS]).stored == PHOTOS
    assert bucket.get("tags.csv") == content
    assert not kept.exists()


def test_other_stores_take_tables_too(photos, model):
    import fsspec

    files = fsspec.filesystem("memory")
    try:
        tag_files([photos], model=model, outputs=["memory://box/tags.csv"])
        assert files.cat_file("/box/tags.csv").count(b"\n") == PHOTOS + 1
        assert files.ls("/box", detail=False) == ["/box/tags.csv"]
    finally:
        files.rm("/box", recursive=True)


@pytest.mark.parametrize("output", [TxtSidecars(), Gallery(Path("g.html"))], ids=["txt", "gallery"])
def test_files_beside_images_are_refused(photos, model, output):
    with pytest.raises(TwlError, match="is in a store; sidecars, galleries and reviews need"):
        tag_files([photos], model=model, outputs=[output], journal=None)


def test_a_model_is_fetched_once_for_each_version(bucket, proxy, model, tmp_path):
    bucket.put("model.onnx", model.read_bytes())
    for _ in range(2):
        assert load_model("s3://pics/model.onnx").labels == load_model(model).labels
    assert proxy.gets("model.onnx") == 1
    (kept,) = (tmp_path / "cache/twl/stores").glob("*/*/model.onnx")
    bucket.put("model.onnx", model.read_bytes() + b"\0")
    with pytest.raises(TwlError):
        load_model("s3://pics/model.onnx").labels  # noqa: B018
    assert not kept.exists()


def test_waits_grow(monkeypatch):
    monkeypatch.setattr(faults, "FIRST_WAIT", 0.5)
    waits = []

    class Stop(threading.Event):
        def wait(self, timeout=None):
            waits.append(timeout)
            return False

    def work():
        raise ConnectionError("gone")

    with pytest.raises(faults.StoreError, match=r"cannot be reached \(gone after 5 tries\)"):
        faults.tried(work, stop=Stop())
    assert all(
        least <= wait <= 2 * least for least, wait in zip((0.25, 0.5, 1, 2), waits, strict=True)
    )


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("s3://pics/tags", "s3://pics/tags: the suffix"),
        ("https://example.org/tags.csv", "nothing can be written over HTTP"),
    ],
)
def test_an_output_that_cannot_be_is_named_as_given(bucket, out, said):
    bucket.put("a.png")
    with pytest.raises(TwlError) as error:
        tag_files(["s3://pics/"], outputs=[out])
    assert said in str(error.value)


def test_an_object_may_have_a_longer_name_than_a_file(bucket, model):
    bucket.put("a.png")
    name = f"{'é' * 300}.csv"
    tag_files(["s3://pics/"], model=model, outputs=[f"s3://pics/{name}"])
    assert bucket.get(name).startswith(b"image,")


def test_addresses_of_files_are_taken(model, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_bytes(PNG)
    out = tmp_path / "t.csv"
    tag_files([(tmp_path / "photos").as_uri()], model=model, outputs=[out.as_uri()])
    assert out.read_text().splitlines()[1].startswith("a.png,")


@pytest.mark.parametrize(
    "arguments",
    [["s3://key:geheim@pics/photos"], ["a.png", "--model", "s3://key:geheim@pics/m.onnx"]],
)
def test_credentials_in_an_address_are_never_printed(bucket, arguments):
    result = CliRunner().invoke(app, ["tag", *arguments])
    assert result.exit_code == 2
    said = f"{result.output}{result.exception}"
    assert "s3://key@pics/" in said and "has credentials in it" in said
    assert "geheim" not in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["merge", "s3://pics/all.csv", "a.csv"],
        ["retag", "s3://pics/scores.parquet", "--out", "a.csv"],
        ["export", "run", "--out=s3://pics/m.onnx"],
        ["tag", "a.png", "--journal", "s3://pics/journal"],
    ],
)
def test_an_address_where_a_file_of_the_disk_is_meant_is_said_to_be_one(arguments):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    command = arguments[0]
    assert f"is in a store; twl {command} takes it from the disk only" in result.output
    assert "s3://pics/" in result.output
