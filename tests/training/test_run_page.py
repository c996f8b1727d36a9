import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.browser import Page, browse, needs_chromium, said
from tests.report.drawn import HOSTILE
from tests.scoring.drawn import draw_logits
from tests.training.test_trainer import ALONE, SMALL, Silent, stop_after
from twlcli import resume, train
from twlcli.annotations.annotations import Annotations
from twlcli.errors import DeviceError, DivergedError, InterruptedRunError
from twlcli.inference.scored import ScoredImages
from twlcli.inference.thumbnails import thumbnails
from twlcli.labels import LabelMatrix, Vocabulary
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import ModelSpec
from twlcli.pages.templates import digest
from twlcli.recipe import Recipe
from twlcli.runs.run_folder import Run
from twlcli.runs.states import read_state
from twlcli.scoring.average_precision import average_precision_per_label
from twlcli.scoring.report import percent
from twlcli.training import run_page
from twlcli.training.run_page import RunPage
from twlcli.training.trainer import Trainer
from twlcli.training.watcher import TrainStart

LABELS = ("cat", "dog", "bird", "car", "tree", "sky")


def begin(folder: Path, table: Path, *settings: str, watcher=None) -> Trainer:
    recipe = Recipe().with_settings([f"data.path={table}", *SMALL, *settings])
    run = Run.create(folder, recipe)
    return Trainer(run, ALONE, watcher or Silent(), writes_page=True)


def page_of(folder: Path) -> Page:
    return Page((folder / "report.html").read_text())


def status(page: Page) -> str:
    return " ".join(page.texts["status"][0].split())


def table(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(page.texts["data-table"][0])
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory, photographs) -> Trainer:
    trainer = begin(tmp_path_factory.mktemp("runs") / "run", photographs)
    trainer.train()
    return trainer


def test_the_page_of_a_training_that_has_ended(finished):
    page = page_of(finished.run.folder)
    history = finished.run.history()
    assert status(page).startswith("Ended: all 3 epochs are done. Written 20")
    best = max(history, key=lambda record: record["map_class"])
    values = page.texts["tiles"][0]
    assert "3 of 3" in values and percent(history[-1]["map_class"]) in values
    assert f"mAP@class: {100 * best['map_class']:.2f} in epoch {best['epoch']}" in "".join(
        page.texts["text"]
    )
    headings = [column["heading"] for column in table(page)["columns"]]
    assert headings == [
        "AP, epoch 3",
        "since epoch 2",
        f"AP, best epoch {best['epoch']}",
        "images",
        "trained on",
    ]
    scores = {name: values for name, *values in table(page)["labels"]}
    assert set(scores) == {"blue", "green", "red"}
    mean = np.mean([values[0] for values in scores.values()])
    assert mean == pytest.approx(100 * history[-1]["map_class"], abs=0.01)
    mean = np.mean([values[2] for values in scores.values()])
    assert mean == pytest.approx(100 * best["map_class"], abs=0.01)
    train_data, validation = finished.run.split_data()
    for column, name in enumerate(train_data.vocabulary):
        assert scores[name][3] == validation.labels.present_per_label()[column]
        assert scores[name][4] == train_data.labels.present_per_label()[column]
    facts = page.texts["dd"]
    assert any("shufflenet_v2_x0_5 at 32 pixels, beginning with random weights" in f for f in facts)
    assert "1 label has fewer than 10 training images: green 8" in page.texts["notes"][0]


def test_examples_have_the_picture_and_the_labels_of_their_image(finished):
    page = page_of(finished.run.folder)
    _, validation = finished.run.split_data()
    assert page.images and len(page.images) == len(page.texts["examples"][0].split("gets:")) - 1
    for image in page.images:
        assert str(image["src"]).startswith("data:image/jpeg;base64,")
        row = validation.images.index(image["alt"])
        names = [validation.vocabulary.names[c] for c in validation.labels.present(row)]
        assert f"has: {', '.join(names)}" in page.texts["labelled"]
    addresses = re.findall(
        r'<li>\n<a href="([^"]*)">', (finished.run.folder / "report.html").read_text()
    )
    for address in addresses:
        assert (finished.run.folder / address).is_file()


def test_the_page_is_one_file_that_loads_nothing(finished):
    text = (finished.run.folder / "report.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    style, script = (
        re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL) for tag in ("style", "script")
    )
    assert policy and style and script
    assert policy[1].replace("&#39;", "'") == (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"style-src {digest(style[1])}; script-src {digest(script[1])}"
    )
    assert text.count("<script") == 2
    assert not re.search(r" style=| on\w+=|https?://(?!www\.w3\.org/2000/svg)", text)
    assert 'http-equiv="refresh"' not in text


class Pages(Silent):
    """Keeps the pages as they are when it is told of an epoch."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.pages: list[Page] = []

    def epoch_began(self, epoch: int, steps: int, first: int) -> None:
        if epoch == 0:
            self.pages.append(page_of(self.folder))

    def epoch_ended(self, record, best) -> None:
        self.pages.append(page_of(self.folder))


def test_the_page_follows_the_training(tmp_path, photographs):
    watcher = Pages(tmp_path / "run")
    begin(tmp_path / "run", photographs, "schedule.validate_every=2", watcher=watcher).train()
    before, first, second, third = watcher.pages
    assert status(before).startswith("Going on: epoch 1 of 3 is under way.")
    assert [c["heading"] for c in table(before)["columns"]] == ["images", "trained on"]
    assert status(first).startswith("Going on: epoch 2 of 3 is under way.")
    assert [c["heading"] for c in table(first)["columns"]] == ["images", "trained on"]
    assert "expected end" in first.texts["dt"] and not first.images
    assert table(second)["columns"][0]["heading"] == "AP, epoch 2" and second.images
    assert table(third)["columns"][1]["heading"] == "since epoch 2"
    assert status(third).startswith("Ended")


def test_a_page_that_goes_on_loads_itself_again_without_javascript_too(tmp_path, photographs):
    trainer = begin(tmp_path / "run", photographs)
    with pytest.raises(InterruptedRunError):
        trainer.train(stop_after(5))
    assert trainer.page
    trainer.page._write_epochs(trainer.page._under_way())
    text = (tmp_path / "run" / "report.html").read_text()
    assert re.search(r'<noscript><meta http-equiv="refresh" content="\d+"></noscript>', text)


def test_an_interrupted_training_says_so_and_goes_on(tmp_path, photographs, finished):
    run = tmp_path / "the run"
    trainer = begin(run, photographs)
    with pytest.raises(InterruptedRunError):
        trainer.train(stop_after(9))  # in the third epoch
    page = page_of(run)
    assert status(page).startswith("Stopped early: 2 of 3 epochs are done; interrupted in epoch 3")
    assert f"twl train --resume '{run}'" in page.texts["code"][0]
    examples, scores = page.texts["examples"], table(page)
    again = Trainer(Run.open(run), ALONE, Silent(), resumed=True, writes_page=True)
    with pytest.raises(InterruptedRunError):
        again.train(stop_after(1))
    page = page_of(run)
    assert page.texts["examples"] == examples and page.images and table(page) == scores
    Trainer(Run.open(run), ALONE, Silent(), resumed=True, writes_page=True).train()
    whole = page_of(finished.run.folder)
    assert table(page_of(run)) == table(whole)
    assert page_of(run).texts["labelled"] == whole.texts["labelled"]


@pytest.mark.parametrize("odd", [{}, {"labels": {}, "examples": []}, {"labels": 1}, 7])
def test_a_state_without_the_page_s_part_is_resumed(tmp_path, photographs, odd):
    trainer = begin(tmp_path / "run", photographs, "schedule.epochs=1")
    trainer.train()
    page = RunPage(Silent(), trainer.train_data, trainer.validation_data)
    page.take_up(trainer.progress.history, odd)
    assert page.kept()["examples"] == [] and not page.kept()["labels"]["last"]["epoch"]


def test_a_page_that_cannot_be_written_is_said_once_and_ends_nothing(tmp_path, photographs):
    watcher = Silent()
    trainer = begin(tmp_path / "run", photographs, watcher=watcher)
    (tmp_path / "run" / "report.html").mkdir()
    trainer.train()
    told = [note for note in watcher.notes if "report.html" in note]
    assert len(told) == 1 and told[0].startswith("report.html cannot be written: ")
    assert told[0].endswith("; the training goes on without it")
    assert len(watcher.records) == 3 and (tmp_path / "run" / "model.safetensors").exists()


def test_whatever_is_wrong_with_a_page_ends_nothing(tmp_path, photographs, monkeypatch):
    def broken(*arguments, **options):
        raise ZeroDivisionError

    monkeypatch.setattr(run_page, "worst_examples", broken)
    watcher = Silent()
    begin(tmp_path / "run", photographs, "schedule.epochs=1", watcher=watcher).train()
    assert sum("ZeroDivisionError" in note for note in watcher.notes) == 1
    assert status(page_of(tmp_path / "run")).startswith("Ended")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (DeviceError("out of <b>memory</b>"), "out of <b>memory</b>."),
        (DivergedError("the loss became nan"), "the loss became nan."),
        (KeyboardInterrupt(), "KeyboardInterrupt()."),
    ],
)
def test_an_error_stands_in_the_page(tmp_path, photographs, error, words):
    asked = iter(range(100))

    def should_stop():
        if next(asked) == 5:  # in the second epoch
            raise error
        return False

    trainer = begin(tmp_path / "run", photographs)
    with pytest.raises(type(error)):
        trainer.train(should_stop)
    told = status(page_of(tmp_path / "run"))
    assert told.startswith(f"Stopped early: 1 of 3 epochs is done; {words}")
    assert ("--resume" in told) == (not isinstance(error, DivergedError))


def test_pictures_are_made_once(tmp_path, photographs, monkeypatch):
    asked: list[int] = []

    def counted(data, rows, *arguments, **options):
        asked.extend(rows)
        return thumbnails(data, rows, *arguments, **options)

    monkeypatch.setattr(run_page, "thumbnails", counted)
    begin(tmp_path / "run", photographs, "schedule.epochs=4").train()
    assert asked and len(asked) <= len(set(asked)) + 4  # those that come back after an epoch


def test_only_trainings_of_their_own_write_it(tmp_path, photographs):
    recipe = Recipe().with_settings([f"data.path={photographs}", *SMALL, "schedule.epochs=1"])
    Trainer(Run.create(tmp_path / "run", recipe), ALONE, Silent()).train()
    assert not (tmp_path / "run" / "report.html").exists()


@pytest.mark.slow
def test_the_first_of_several_ranks_writes_it(tmp_path, photographs):
    arguments = [f"--set={each}" for each in (*SMALL, "schedule.epochs=1")]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(
        [
            *torchrun,
            "-m",
            "twlcli",
            "train",
            photographs,
            "--out",
            tmp_path / "run",
            "--device",
            "cpu",
            *arguments,
        ],
        check=True,
        capture_output=True,
    )
    page = page_of(tmp_path / "run")
    assert status(page).startswith("Ended")
    assert "2 ranks" in "".join(page.texts["dd"])


# --- one function ---------------------------------------------------------------------------------


def test_a_function_is_called_with_the_record_of_each_epoch(tmp_path, photographs):
    records: list[dict[str, Any]] = []

    def on_epoch(record):
        assert status(page_of(tmp_path / "run")).startswith(
            "Going on: epoch 2" if not records else "Ended"
        )
        records.append(record.copy())
        record.clear()

    settings = [*SMALL, "schedule.epochs=2"]
    watcher = Silent()
    run = train(
        photographs, out=tmp_path / "run", settings=settings, watcher=watcher, on_epoch=on_epoch
    )
    assert tuple(records) == run.history() and [each["epoch"] for each in records] == [1, 2]
    assert watcher.records == records and watcher.counts == (20, 10) and watcher.steps
    resume(run.folder, settings={"schedule.epochs": 3}, on_epoch=records.append)
    assert [each["epoch"] for each in records] == [1, 2, 3]


def test_what_the_function_raises_ends_the_training_that_can_be_resumed(tmp_path, photographs):
    def on_epoch(record):
        raise ConnectionError("no server")

    with pytest.raises(ConnectionError):
        train(photographs, out=tmp_path / "run", settings=SMALL, on_epoch=on_epoch)
    assert "no server" in status(page_of(tmp_path / "run"))
    assert read_state(tmp_path / "run", ALONE.device).values["progress"]["epoch"] == 1


# --- frozen ---------------------------------------------------------------------------------------


def test_a_frozen_backbone_s_page_has_penalties(tmp_path, photographs, features):
    settings = [*SMALL[:4], "model.frozen=true", "model.backbone=resnet18"]
    settings[1] = "model.weights=none"
    run = train(photographs, out=tmp_path / "run", settings=settings, features=features)
    page = page_of(run.folder)
    assert status(page).startswith("Ended: the head is found.")
    assert [column["heading"] for column in table(page)["columns"]] == [
        *("AP, validation", "AP, cross-validated", "images", "trained on")
    ]
    best = max(run.history(), key=lambda record: record["map_class"])
    crossed = np.mean([values[2] for values in table(page)["labels"]])
    assert crossed == pytest.approx(100 * best["map_class"], abs=0.01)
    assert f"{best['penalty']:.3g}" in page.texts["tiles"][0]
    assert any("mAP@class" in text for text in page.texts["text"])
    assert page.images


# --- large and hostile ----------------------------------------------------------------------------


def drawn_page(folder: Path, labels=LABELS, images=40, notes=(), epochs=3, done=2) -> Path:
    """The page of a training that was not: drawn scores of small pictures."""
    logits, targets = draw_logits(images=images, labels=len(labels), unknown=0.1)
    names = tuple(f"{number:03}.png" for number in range(images))
    data = Annotations(
        source=folder / "labels.csv",
        format="csv",
        root=folder,
        images=names,
        labels=LabelMatrix.from_dense(targets),
        vocabulary=Vocabulary(tuple(labels)),
        splits=("",) * images,
    )
    for name in names[:40]:
        Image.new("RGB", (24, 16), (10, 90, 200)).save(folder / name, "PNG")
    recipe = Recipe().with_settings([f"schedule.epochs={epochs}", "data.path=x"])
    run = Run.create(folder / "run", recipe)
    page = RunPage(Silent(), data, data)
    page.began(TrainStart(run, "cpu", "float32", 1, None, 9, images, False, labels[0], False))
    for note in notes:
        page.noted(note)
    page._write_epochs(page._under_way())
    spec = ModelSpec(data.vocabulary, "drawn", Preprocessing(resize=16, crop=12))
    scored = ScoredImages(names, logits, targets)
    for epoch in range(1, done + 1):
        by_label = average_precision_per_label(scored.logits, targets)
        page.scored(scored, by_label / epoch, spec, epoch, best=epoch == 1)
        page.epoch_began(epoch - 1, 1, 0)
        score = float(np.nanmean(by_label)) / epoch
        record = {"epoch": epoch, "loss": 1.0, "map_class": score, "map_sample": 0.5}
        page.epoch_ended({**record, "images_per_second": 9.0}, best=epoch == 1)
    assert not page._has_failed
    return folder / "run" / "report.html"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    return drawn_page(tmp_path_factory.mktemp("drawn"))


def test_names_do_nothing(tmp_path):
    path = drawn_page(tmp_path, HOSTILE, notes=HOSTILE)
    text = path.read_text()
    page = Page(text)
    assert "<img src=x" not in text and text.count("<script") == 2
    assert "\u202e" not in text and "\x1b" not in text
    names = [row[0] for row in table(page)["labels"]]
    assert set(HOSTILE[:3]) < set(names) and max(map(len, names)) == 160
    assert len(text) < 300_000


@pytest.mark.slow
def test_a_page_of_very_many_labels_is_bounded(tmp_path):
    labels = [f"label number {number}, with words" for number in range(6000)]
    started = time.monotonic()
    path = drawn_page(tmp_path, labels, images=60)
    assert path.stat().st_size < 1_000_000
    assert time.monotonic() - started < 30
    page = Page(path.read_text())
    assert len(table(page)["labels"]) == 5000 and len(page.texts["row"]) == 200
    assert "Shown are the 5,000 of 6,000 labels" in " ".join(page.texts["how"])


# --- in a browser ---------------------------------------------------------------------------------


@needs_chromium
def test_the_table_sorts_and_finds(drawn):
    names = "const names = () => all('#rows .name').map((each) => each.textContent);\n"
    click = "const click = (n) => all('#headings button')[n].click();\n"
    labels = {name: values for name, *values in table(Page(drawn.read_text()))["labels"]}
    first, by_name, by_score, by_change, found, count = said(
        drawn,
        f"{names}{click}"
        "say(names()); click(0); say(names()); click(1); say(names());"
        "click(2); click(2); say(names());"
        "one('#find').value = 'R'; one('#find').dispatchEvent(new Event('input'));"
        "say(names().sort()); say(text('#found'));",
    )
    assert first == [row[0] for row in table(Page(drawn.read_text()))["labels"]]
    assert by_name == sorted(LABELS)
    assert by_score == sorted(first, key=lambda name: -labels[name][0])
    assert by_change == sorted(first, key=lambda name: labels[name][1])
    assert found == ["bird", "car", "tree"] and count == "3 of 6 labels"


@needs_chromium
def test_the_same_numbers_with_and_without_a_script(drawn):
    rows = "all('#rows tr').map((row) => [...row.children].map((cell) => cell.textContent))"
    (shown,) = said(drawn, f"say({rows});")
    static = re.findall(r'<tr class="row">(.*?)</tr>', drawn.read_text())
    without = [re.findall(r">([^<>]+)<", row) for row in static]
    assert shown == without


@needs_chromium
def test_a_run_that_has_been_silent_for_long_may_have_been_killed(drawn):
    assert "killed" not in "".join(browse(drawn).texts["status"])
    old = drawn.with_name("old.html")
    old.write_text(re.sub(r'data-written="\d+"', 'data-written="1000000000"', drawn.read_text()))
    page = browse(old)
    assert re.search(
        r", \d+ days ago.*: unless an epoch takes so long, it has been killed", status(page)
    )
    ended = drawn.with_name("ended.html")
    ended.write_text(old.read_text().replace('data-state="going on"', 'data-state="ended"'))
    assert "killed" not in status(browse(ended))


@needs_chromium
def test_what_was_chosen_outlasts_a_reload(drawn):
    """The first loading chooses and loads itself again; the second says what is left of it."""
    chosen = said(
        drawn,
        "if (view.find) { say([one('#find').value, text('#headings [aria-sort=descending]'),"
        " all('#rows tr').length]); }"
        "else { all('#headings button')[1].click(); one('#find').value = 'a';"
        " one('#find').dispatchEvent(new Event('input')); again(); }",
    )
    assert chosen == [["a", "AP, epoch 2▼", 2]]


@needs_chromium
def test_the_page_fits_a_phone(drawn):
    wide = said(
        drawn,
        "document.body.style.width = '390px';"
        "say(Math.max(...all('body > *, main > *').map((each) => each.scrollWidth)));",
    )
    assert wide[0] <= 390
