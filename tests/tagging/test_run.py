"""`tag_files` from Python; what the command makes of it is tested in tests/cli."""

import csv
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import twlcli
from tests.images import icc
from tests.images.encoded import encode, picture
from tests.tagging.models import write_model
from twlcli.errors import TwlError
from twlcli.images.image_file import Failure
from twlcli.outputs import Gallery
from twlcli.tagging.outputs.fan_out import Tally
from twlcli.tagging.run import TagStart


class Watching:
    def __init__(self) -> None:
        self.starts: list[TagStart] = []
        self.tallies: list[Tally] = []
        self.failures: list[Failure] = []

    def began(self, start: TagStart) -> None:
        self.starts.append(start)

    def advanced(self, tally: Tally) -> None:
        self.tallies.append(tally)

    def failed(self, failure: Failure) -> None:
        self.failures.append(failure)


@pytest.fixture
def model(tmp_path) -> Path:
    return write_model(tmp_path / "model.onnx")


@pytest.fixture
def photos(tmp_path) -> Path:
    folder: Path = tmp_path / "photos"
    folder.mkdir()
    for number in range(5):
        color = (50 * number, 255 - 50 * number, 90)
        (folder / f"{number}.png").write_bytes(encode(Image.new("RGB", (30, 20), color), "PNG"))
    (folder / "bad.jpg").write_bytes(b"hello")
    return folder


def images_in(table: Path) -> list[str]:
    with table.open(newline="") as file:
        return [row["image"] for row in csv.DictReader(file)]


def test_every_output_is_written_and_everything_is_told(model, photos, tmp_path, capfd):
    out = tmp_path / "out"
    out.mkdir()
    watching = Watching()
    tally = twlcli.tag_files(
        [photos],
        model=model,
        outputs=[
            out / "tags.csv",
            str(out / "tags.jsonl"),
            twlcli.outputs.XmpSidecars(),
            twlcli.outputs.TxtSidecars(),
            twlcli.outputs.Gallery(out / "page.html", "Holiday"),
            twlcli.outputs.FailureTable(out / "errors.csv"),
        ],
        threshold=0.0,
        watcher=watching,
    )
    assert capfd.readouterr() == ("", "")  # the library never prints
    assert (tally.tagged, tally.failed) == (5, 1)
    assert watching.tallies[-1] == tally
    assert [each.image for each in watching.failures] == ["bad.jpg"]
    (start,) = watching.starts
    assert (start.model, start.provider) == (model, "cpu")
    assert start.journal == out / "tags.csv.journal"
    assert start.count is not None and len(list(start.count())) == 6
    assert images_in(out / "tags.csv") == [f"{number}.png" for number in range(5)]
    lines = (out / "tags.jsonl").read_text().splitlines()
    assert [json.loads(line)["image"] for line in lines] == images_in(out / "tags.csv")
    assert images_in(out / "errors.csv") == ["bad.jpg"]
    assert "Holiday" in (out / "page.html").read_text()
    assert len(list(photos.glob("*.xmp"))) == len(list(photos.glob("*.txt"))) == 5


def test_a_second_call_takes_its_rows_from_the_journal(model, photos, tmp_path):
    call = {"model": model, "outputs": [tmp_path / "tags.csv"]}
    first = twlcli.tag_files([photos], **call)
    second = twlcli.tag_files([photos], **call)
    assert (first.stored, second.stored) == (0, 6)
    third = twlcli.tag_files([photos], **call, retry_failed=True)
    assert third.stored == 5


def test_journal_can_be_elsewhere_or_nowhere(model, photos, tmp_path):
    twlcli.tag_files([photos], model=model, outputs=[tmp_path / "a.csv"], journal=None)
    assert not (tmp_path / "a.csv.journal").exists()
    elsewhere = tmp_path / "journal"
    twlcli.tag_files([photos], model=model, outputs=[tmp_path / "b.csv"], journal=elsewhere)
    assert elsewhere.exists()
    twlcli.tag_files([photos], model=model, outputs=[twlcli.outputs.TxtSidecars()])
    assert (photos / ".twl-journal").exists()


def test_without_outputs_the_watcher_is_told_all_the_same(model, photos):
    watching = Watching()
    tally = twlcli.tag_files([photos], model=model, watcher=watching)
    assert (tally.tagged, tally.failed) == (5, 1)
    assert len(watching.failures) == 1


def test_an_output_of_ones_own(model, photos):
    class Rows:
        """Gathers rows; what the protocol asks for is all that it needs."""

        file = None

        def __init__(self) -> None:
            self.rows: list[Any] = []

        def open(self, run):
            from contextlib import nullcontext

            assert run.vocabulary.names
            return nullcontext(self)

        def write(self, file, row) -> None:
            assert file.name == row.image
            self.rows.append(row)

    rows = Rows()
    twlcli.tag_files([photos], model=model, outputs=[rows], journal=None)
    assert [row.image for row in rows.rows] == [*(f"{n}.png" for n in range(5)), "bad.jpg"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outputs": ["tags.xml"]}, r"tags\.xml: the suffix '\.xml'"),
        ({"journal": None, "retry_failed": True}, "needs a journal; name one with `journal`"),
        ({"shard": "1/2", "ordered": False, "outputs": ["a.csv"]}, "shards are joined"),
        ({"shard": "1/2"}, "a shard needs a table"),
        ({"threshold": 2}, "threshold '2': expected a number"),
        ({"provider": "cdua"}, "provider 'cdua' is not known.*did you mean 'cuda'"),
    ],
)
def test_what_is_wrong_is_said_in_terms_of_arguments(
    model, photos, tmp_path, monkeypatch, options, message
):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(TwlError, match=message) as caught:
        twlcli.tag_files([photos], model=model, **options)
    assert "--" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_to_tag_is_an_error(model):
    with pytest.raises(TwlError, match="nothing to tag; give images or folders"):
        twlcli.tag_files(model=model)


def test_the_library_sets_nothing_global(model, photos):
    before = csv.field_size_limit(), list(logging.getLogger("PIL").handlers)
    twlcli.tag_files([photos], model=model)
    assert (csv.field_size_limit(), list(logging.getLogger("PIL").handlers)) == before


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 0},
        {"batch_size": -1},
        {"workers": -1},
        {"memory_limit": 1},
        {"time_limit": -1.0},
        {"top_k": 2.5},
    ],
)
def test_numbers_that_mean_nothing_are_refused_before_anything_is_written(
    model, photos, tmp_path, options
):
    with pytest.raises(TwlError, match=f"{next(iter(options))} is "):
        twlcli.tag_files([photos], model=model, outputs=[tmp_path / "tags.csv"], **options)
    assert not list(tmp_path.glob("tags*"))


def test_one_path_and_one_pattern_need_no_list(model, photos, tmp_path):
    twlcli.tag_files(str(photos), model=model, outputs=tmp_path / "all.csv", include="*.png")
    twlcli.tag_files([photos], model=model, outputs=[tmp_path / "too.csv"], include=["*.png"])
    assert (tmp_path / "all.csv").read_text() == (tmp_path / "too.csv").read_text()


def test_odd_images_are_counted(model, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    profile = icc.of_primaries(icc.ADOBE, icc.gamma(2.2))
    for name, embedded in (("a.png", profile), ("b.png", b"broken"), ("c.png", profile[:300])):
        (folder / name).write_bytes(encode(picture(), "PNG", icc_profile=embedded))
    (folder / "d.jpg").write_bytes(encode(picture(), "JPEG")[:-2])
    (folder / "@eaDir").mkdir()
    (folder / "@eaDir" / "a.png").write_bytes(encode(picture(), "PNG"))
    watching = Watching()
    options: dict[str, Any] = {"model": model, "watcher": watching}
    tally = twlcli.tag_files(folder, outputs=[tmp_path / "t.csv"], **options)
    assert (tally.tagged, tally.failed) == (3, 1)
    assert (tally.profiles_ignored, tally.damaged) == (2, 0)
    assert watching.starts[0].left_out.folders == {"@eaDir": 1}
    assert watching.failures[0].reason.startswith("JPEG without its end marker")
    accepted = twlcli.tag_files(
        folder, outputs=[tmp_path / "u.csv"], accept_damaged=True, max_pixels=2400, **options
    )
    assert (accepted.tagged, accepted.failed) == (4, 0)
    assert (accepted.profiles_ignored, accepted.damaged) == (2, 1)
    small = twlcli.tag_files(folder, outputs=[tmp_path / "v.csv"], max_pixels=2399, **options)
    assert (small.tagged, small.failed) == (0, 4)


def test_settings_that_change_pixels_are_not_mixed(model, photos, tmp_path):
    """Rows of another setting are neither taken over nor lost."""
    (photos / "cut.jpg").write_bytes(encode(picture(), "JPEG")[:-2])
    options: dict[str, Any] = {"model": model, "journal": tmp_path / "journal"}
    settings: list[dict[str, Any]] = [{}, {"accept_damaged": True}, {"max_pixels": 500}]
    for number, setting in enumerate(settings * 2):
        table = tmp_path / f"{number}.csv"
        tally = twlcli.tag_files(photos, outputs=[table], **setting, **options)
        assert tally.stored == (0 if number < 3 else 7)
        assert tally.tagged == (5, 6, 0)[number % 3]


def test_one_image_is_read_alike_everywhere(model, tmp_path):
    """By the command's processes, and by a tagger from a path, from bytes and from memory."""
    data = encode(picture(), "PNG", icc_profile=icc.of_primaries(icc.P3, icc.gamma(1.8)))
    (tmp_path / "a.png").write_bytes(data)
    table = tmp_path / "t.jsonl"
    twlcli.tag_files([tmp_path / "a.png"], model=model, outputs=[table], threshold=0)
    written = json.loads(table.read_text())["labels"]
    tagger = twlcli.load_model(model, threshold=0)
    image = Image.open(tmp_path / "a.png")
    for prediction in tagger([tmp_path / "a.png", data, image]):
        assert prediction.to_dict() == pytest.approx(written, abs=1e-4)
    plain = tagger(encode(picture(), "PNG"))[0].to_dict()
    assert max(abs(plain[label] - written[label]) for label in written) > 0.01


def test_a_tagger_takes_damaged_images_where_it_is_told(model, tmp_path):
    cut = encode(picture(), "JPEG")[:-2]
    (tmp_path / "a.jpg").write_bytes(cut)
    assert "end marker" in str(twlcli.load_model(model)(cut)[0].error)
    tagger = twlcli.load_model(model, accept_damaged=True)
    assert [each.error for each in tagger([cut, tmp_path / "a.jpg"])] == [None, None]
    assert "too large" in str(twlcli.load_model(model, max_pixels=9)(cut)[0].error)
    with pytest.raises(TwlError, match="max_pixels is 0; expected a whole number of at least 1"):
        twlcli.load_model(model, max_pixels=0)
    with pytest.raises(TwlError, match="max_pixels is 0; expected a whole number of at least 1"):
        twlcli.tag_files([tmp_path], model=model, max_pixels=0)


def test_an_image_of_the_run_is_never_replaced(model, photos):
    before = (photos / "3.png").read_bytes()
    page = Gallery(photos / "3.png")
    with pytest.raises(TwlError, match=r"3\.png: is an image of this run, and cannot be an output"):
        twlcli.tag_files([photos], model=model, outputs=[page], force=True, journal=None)
    assert (photos / "3.png").read_bytes() == before
