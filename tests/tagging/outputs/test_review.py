"""The page of `twl review`: what is in it, and what somebody does in it."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.browser import browse, needs_chromium, said
from tests.images.encoded import encode
from tests.report.drawn import HOSTILE
from tests.tagging.models import SPEC, spec_with_labels, write_model
from twlcli.annotations.corrections import read_corrections
from twlcli.annotations.detect import read_labels
from twlcli.errors import ImageError, TwlError
from twlcli.images.image_file import ByteRange, ImageFile
from twlcli.model.decisions import given_in_rows, probabilities, thresholds_of
from twlcli.model.spec import Calibration, Thresholds
from twlcli.tagging.outputs.output import RunFacts
from twlcli.tagging.outputs.review import output as module
from twlcli.tagging.outputs.review.output import Review
from twlcli.tagging.run import tag_files
from twlcli.tagging.tags import Tags

COLOURS = {
    "red.png": (250, 10, 10),
    "green.png": (10, 250, 10),
    "a/teal.png": (20, 140, 130),
    "a/grey.png": (128, 128, 128),
}


def paint(folder: Path, names=COLOURS) -> Path:
    for name, colour in names.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(Image.new("RGB", (600, 300), colour), "PNG"))
    return folder


def data_in(path: Path) -> tuple[Any, Any]:
    """The images and labels of a page."""
    text = path.read_text("utf-8")

    def parsed(name: str) -> Any:
        found = re.search(rf'<script id="data-{name}"[^>]*>(.*?)</script>', text, re.DOTALL)
        assert found is not None
        return json.loads(found[1])

    return parsed("images"), parsed("labels")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("review")
    model = write_model(folder / "model.onnx")
    path = folder / "pages" / "review.html"
    path.parent.mkdir()
    tag_files([paint(folder / "photos")], model=model, outputs=[Review(path)], journal=None)
    return path


def test_the_page_shows_what_the_model_says(page):
    images, labels = data_in(page)
    assert labels == ["red", "green", "blue"]
    assert {name for name, *_ in images} == set(COLOURS)
    for name, address, picture, (column, _), labels_of, whole in images:
        assert address == f"../photos/{name}"
        assert picture.startswith("data:image/jpeg;base64,")
        assert whole is None
        assert column in (0, 1, 2)
        shares = [share for _, share, _ in labels_of]
        assert shares == sorted(shares, reverse=True)
    red = next(fields for name, *_, fields, _ in images if name == "red.png")
    assert red[0][0] == 0
    assert [given for _, _, given in red] == [1, 0, 0]
    grey = next(fields for name, *_, fields, _ in images if name == "a/grey.png")
    assert [share for _, share, _ in grey] == pytest.approx([0.55, 0.51, 0.51], abs=0.06)


def test_labelled_images_are_left_out_and_others_named_as_they_are(tmp_path):
    paint(tmp_path / "photos")
    (tmp_path / "labels.csv").write_text("image,labels\nphotos/red.png,red\nphotos/gone.png,\n")
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    for labelled, folder, expected in (
        (None, "photos", {"red.png", "green.png", "a/teal.png", "a/grey.png"}),
        ("labels.csv", "photos", {f"photos/{name}" for name in COLOURS} - {"photos/red.png"}),
        ("labels.csv", "link/a", {"photos/a/teal.png", "photos/a/grey.png"}),
    ):
        data = None if labelled is None else read_labels(tmp_path / labelled)
        review = Review(tmp_path / "review.html", labelled=data)
        model = write_model(tmp_path / "model.onnx")
        tag_files([tmp_path / folder], model=model, outputs=[review], journal=None, force=True)
        images, _ = data_in(review.file)
        assert {name for name, *_ in images} == expected
    elsewhere = read_labels(tmp_path / "labels.csv", images=paint(tmp_path / "elsewhere"))
    review = replace(review, labelled=elsewhere)
    tag_files([tmp_path / "photos"], model=model, outputs=[review], journal=None, force=True)
    images, _ = data_in(review.file)
    assert {name for name, *_ in images} == {str(tmp_path / "photos" / name) for name in COLOURS}


def rows(*images: str, spec=SPEC, seed=0):
    rng = np.random.default_rng(seed)
    thresholds = thresholds_of(spec, "best-f1")
    for image in images:
        logits = rng.normal(size=len(spec.vocabulary)).astype(np.float32)
        certain = probabilities(logits[None], spec.calibration)
        ((columns, shares),) = given_in_rows(certain, thresholds, None)
        names = tuple(spec.vocabulary.names[column] for column in columns)
        yield Tags(image, names, tuple(shares), logits)


def write(review: Review, images, *, spec=SPEC, part=None) -> Path:
    facts = RunFacts(spec.vocabulary, lambda: "digest", spec=spec)
    with review.open(facts) as sink:
        for row in rows(*images, spec=spec):
            sink.write(ImageFile(review.file.parent / row.image, row.image, byte_range=part), row)
    return review.file


def many_labels(count: int):
    spec = spec_with_labels(*(f"label {number}" for number in range(count)))
    return replace(
        spec,
        calibration=Calibration((1.0,) * count, (-3.0,) * count),
        thresholds=Thresholds((0.3,) * count, {}),
    )


def test_of_many_labels_the_likeliest_are_shown(tmp_path):
    spec = many_labels(100)
    images, labels = data_in(write(Review(tmp_path / "r.html"), ["1.jpg", "2.jpg"], spec=spec))
    assert len(labels) == 100
    for (name, address, picture, _, said_of, _), row in zip(
        sorted(images), rows("1.jpg", "2.jpg", spec=spec), strict=True
    ):
        assert (name, address, picture) == (row.image, row.image, "")  # there is no such file
        ranked = np.argsort(-row.logits, kind="stable")
        assert [column for column, _, _ in said_of] == ranked[: module.SHOWN].tolist()
        assert sum(given for _, _, given in said_of) == len(row.labels)


def test_images_that_no_table_can_name_are_failures(tmp_path):
    with pytest.raises(ImageError, match="lies in an archive"):
        write(Review(tmp_path / "r.html"), ["a.jpg"], part=ByteRange(0, 10, 0))
    with pytest.raises(ImageError, match="its name is not UTF-8"):
        write(Review(tmp_path / "r.html"), [os.fsdecode(b"caf\xe9.jpg")])
    assert (
        data_in(write(Review(tmp_path / "r.html"), ["caf\u00e9.jpg"]))[0][0][0] == "caf\u00e9.jpg"
    )


def test_only_a_page_of_its_own_is_written(tmp_path):
    with pytest.raises(TwlError, match=r"expected a name that ends in \.html"):
        Review(tmp_path / "labels.csv")
    table = tmp_path / "labels.html"
    table.write_text("image,labels\na.jpg,red\n")
    with pytest.raises(TwlError, match="is read by this run"):
        Review(table, labelled=read_labels(table, format="csv"))


def test_what_cannot_be_chosen_any_more_is_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_ROOM", 10)
    names = [f"{number}.jpg" for number in range(500)]
    review = Review(tmp_path / "r.html", count=4)
    facts = RunFacts(SPEC.vocabulary, lambda: "digest", spec=SPEC)
    with review.open(facts) as opened:
        sink: Any = opened
        for row in rows(*names):
            sink.write(ImageFile(tmp_path / row.image, row.image), row)
            assert len(sink._seen) <= 2 * (2 * 4 * 3 + 64) + 10
    assert len(data_in(review.file)[0]) == 4
    whole = Review(tmp_path / "all.html", count=4)
    monkeypatch.setattr(module, "_ROOM", 10_000)
    assert data_in(write(whole, names))[0] == data_in(review.file)[0]


def test_no_image_at_all(tmp_path):
    assert data_in(write(Review(tmp_path / "r.html"), []))[0] == []


@pytest.mark.parametrize("count", [0, 2001])
def test_a_count_that_no_page_holds_is_refused(count, tmp_path):
    with pytest.raises(TwlError, match="count is"):
        Review(tmp_path / "r.html", count=count)


# --- in a browser ---------------------------------------------------------------------------------

PRESS = """
const press = (target, key, more) => target.dispatchEvent(
  new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more }));
const boxes = (card) => [...card.querySelectorAll("input[type=checkbox]")];
const verdicts = (card) => [...card.querySelectorAll(".chip")].map((each) => each.dataset.verdict);
"""


def saved(tmp_path, table):
    path = tmp_path / "corrections.csv"
    path.write_text(table, newline="")
    return {(each.image, each.label): each.value for each in read_corrections(path)}


@needs_chromium
def test_what_is_done_is_said_of_every_label_and_kept(page, tmp_path):
    path = tmp_path / "review.html"
    path.write_bytes(page.read_bytes())
    script = (
        PRESS
        + """
    const [first, second] = all(".image");
    const name = (card) => card.querySelector(".file bdi").textContent;
    const given = (card) => boxes(card).map((each) => each.checked);
    say([text("#progress"), one("#corrections").hidden, verdicts(first), given(first)]);
    first.querySelector(".finish").click();
    const isNext = document.activeElement === boxes(second)[0];
    say([verdicts(first), first.className, text("#progress"), isNext]);
    boxes(second)[0].click();
    press(boxes(second)[1], "u"); press(boxes(second)[2], "y", { ctrlKey: true });
    say([verdicts(second), boxes(second)[1].indeterminate]);
    press(boxes(second)[2], "ArrowUp");
    say(boxes(second).indexOf(document.activeElement));
    press(boxes(second)[2], "Enter");
    say([verdicts(second), text("#progress"), [name(first), name(second)], given(second)]);
    say(correctionsTable());
    """
    )
    start, done, partly, focus, both, table = said(path, script)
    assert start[:3] == ["0 of 4 done", True, ["", "", ""]]
    words = {True: "present", False: "absent"}
    expected = [words[each] for each in start[3]]
    assert done == [expected, "image done", "1 of 4 done", True]
    assert partly[0][1:] == ["unknown", ""] and partly[0][0] in words.values() and partly[1]
    assert focus == 1
    assert both[0][:2] == partly[0][:2] and both[0][2] in words.values()
    assert both[1] == "2 of 4 done"
    values = saved(tmp_path, table)
    assert len(values) == 6
    assert {image for image, _ in values} == set(both[2])
    again = (
        PRESS
        + """
    const [first, second] = all(".image");
    say([verdicts(first), verdicts(second), text("#progress")]);
    first.querySelector(".finish").click();
    say([verdicts(first), text("#progress"), first.querySelector(".finish").textContent]);
    """
    )
    kept, undone = said(path, again)
    assert kept == [done[0], both[0], "2 of 4 done"]
    assert undone == [["", "", ""], "1 of 4 done", "Done"]


@needs_chromium
def test_a_label_that_is_not_listed_can_be_added(tmp_path):
    spec = many_labels(60)
    path = write(Review(tmp_path / "r.html"), ["1.jpg"], spec=spec)
    script = (
        PRESS
        + """
    const shown = one(".image"), field = shown.querySelector("[type=search]");
    const listed = () => [...shown.querySelectorAll(".chip")].map((each) => each.dataset.label);
    const before = listed();
    const other = labels.map((each) => each.name).find((each) => !before.includes(each));
    field.value = "no such label"; press(field, "Enter");
    say([field.validationMessage, listed().length]);
    field.value = other; press(field, "Enter");
    say([listed().at(-1) === other, field.value, shown.className]);
    field.value = before[3]; press(field, "Enter");
    say([listed().length, marks.size, all("#vocabulary option").length]);
    """
    )
    wrong, added, twice = said(path, script)
    assert wrong == ["The model has no such label.", module.SHOWN]
    assert added == [True, "", "image"]
    assert twice == [module.SHOWN + 1, 2, 60]
    (kept,) = said(path, "say([all('.chip').length, all('.chip.said').length]);")
    assert kept == [module.SHOWN + 1, 2]


@needs_chromium
def test_the_label_that_an_image_was_chosen_for_is_asked_about(tmp_path):
    rare = Calibration((1.0,) * 60, (0.0,) * 30 + (-9.0,) * 30)
    spec = replace(many_labels(60), calibration=rare)
    path = write(Review(tmp_path / "r.html"), [f"{n}.jpg" for n in range(50)], spec=spec)
    images, labels = data_in(path)
    columns = [column for _, _, _, (column, _), _, _ in images]
    listed = [{each for each, _, _ in most} for _, _, _, _, most, _ in images]
    assert any(column not in most for column, most in zip(columns, listed, strict=True))
    script = """
    say(all(".image").map((card) =>
      [...card.querySelectorAll(".chip")].map((each) => each.dataset.label)));
    """
    (shown,) = said(path, script)
    for column, names in zip(columns, shown, strict=True):
        assert labels[column] in names and len(set(names)) == len(names)


@needs_chromium
def test_hostile_names_are_text(tmp_path):
    names = [f"{name.replace('/', '_')}.png" for name in HOSTILE]
    count = len(HOSTILE)
    spec = replace(
        spec_with_labels(*HOSTILE),
        calibration=Calibration((1.0,) * count, (0.0,) * count),
        thresholds=Thresholds((0.5,) * count, {}),
    )
    path = write(Review(tmp_path / "r.html", title=HOSTILE[0]), names, spec=spec)
    script = 'for (const each of all(".finish")) each.click(); say(correctionsTable());'
    (table,) = said(path, script)
    values = saved(tmp_path, table)
    assert {label for _, label in values} == set(HOSTILE)
    assert {image for image, _ in values} == set(names)


@needs_chromium
def test_pictures_are_there_and_whole(page):
    found = browse(page)
    assert found.console == []
    sizes = said(
        page, "for (const each of all('img')) say([each.naturalWidth, each.naturalHeight]);"
    )
    assert sizes == [[400, 200]] * 4


@needs_chromium
def test_a_page_of_other_images_begins_anew(tmp_path):
    path = write(Review(tmp_path / "r.html"), ["1.jpg"])
    assert said(path, 'one(".finish").click(); say(marks.size);') == [3]
    assert said(path, "say(marks.size);") == [3]
    write(Review(tmp_path / "r.html"), ["2.jpg"])
    assert said(path, 'say([marks.size, one("#corrections").hidden]);') == [[0, True]]
