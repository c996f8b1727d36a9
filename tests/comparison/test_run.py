"""`compare`, from labels to pages, on a tiny network."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import twlcli
from tests.comparison.test_runner import SMALL, Listener
from twlcli.comparison.run import Compared, compare
from twlcli.errors import AnnotationError, InterruptedRunError, ModelError, TwlError
from twlcli.recipe import Recipe

FILES = {"compare.html", "compare.json", "compare.md", "compare.tex", "plots", "two-way", "bce"}


def compared(data: Path | Recipe, out: Path, **changes: Any) -> Compared:
    options: dict[str, Any] = {
        "losses": ["two-way", "bce"],
        "seeds": 2,
        "settings": [*SMALL, "schedule.epochs=2"],
        "device": "cpu",
    }
    return compare(data, out=out, **{**options, **changes})


@pytest.fixture(scope="module")
def found(tmp_path_factory, photographs) -> Compared:
    out = tmp_path_factory.mktemp("compared") / "out"
    return compared(photographs, out, command="twl compare it")


def test_all_is_written_and_nothing_is_printed(found, capfd):
    assert {path.name for path in found.folder.iterdir()} == FILES
    record = json.loads((found.folder / "compare.json").read_text("utf-8"))
    assert record["limit"] is None
    assert record["seeds"] == list(found.comparison.seeds) == [0, 1]
    names = [result.name for result in found.comparison.results]
    assert sorted(names) == ["bce", "two-way"]
    assert [candidate["name"] for candidate in record["candidates"]] == names
    page = (found.folder / "compare.html").read_text("utf-8")
    assert "twl compare it" in page
    assert "batches of 8; the last epoch" in page
    assert capfd.readouterr() == ("", "")


def test_runs_are_scored_after_each_epoch(found):
    record = json.loads((found.folder / "compare.json").read_text("utf-8"))
    for candidate in record["candidates"]:
        for run in candidate["runs"]:
            assert [each["epoch"] for each in run["validation"]] == [1, 2]
            assert run["validation"][-1]["map_class"] == pytest.approx(run["map_class"])


def test_plots_are_files_that_stand_alone(found):
    plots = sorted((found.folder / "plots").iterdir())
    assert [path.name for path in plots] == [
        "loss.svg",
        "rates.svg",
        "scores.svg",
        "validation.svg",
    ]
    for path in plots:
        root = ElementTree.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "bce" in (found.folder / "plots" / "rates.svg").read_text("utf-8")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of reportlab's own code
def test_plots_are_written_as_pdf_where_that_is_asked_for(found, photographs):
    pytest.importorskip("svglib")
    compared(photographs, found.folder, command="twl compare it", pdf=True)
    plots = found.folder / "plots"
    names = {path.stem for path in plots.glob("*.svg")}
    assert {path.stem for path in plots.glob("*.pdf")} == names
    compared(photographs, found.folder, command="twl compare it")
    assert not list(plots.glob("*.pdf"))  # those of another comparison would be left otherwise


def test_the_same_call_trains_nothing_and_writes_the_same(found, photographs):
    before = {path: path.read_bytes() for path in found.folder.rglob("*.*") if path.is_file()}
    listener = Listener()
    again = compared(photographs, found.folder, command="twl compare it", watcher=listener)
    assert not listener.trained
    assert len(listener.ended) >= 2 * (3 + 2)
    assert again.comparison.differences == found.comparison.differences
    after = {path: path.read_bytes() for path in found.folder.rglob("*.*") if path.is_file()}
    assert after == before


def test_plots_of_what_is_not_there_any_more_are_removed(found, photographs, tmp_path):
    options = {"same_rate": True, "losses": ["bce"], "seeds": 1}
    settings = [*SMALL, "optimizer.learning_rate=0.1"]
    recipe = Recipe().with_settings([f"data.path={photographs}", *settings])
    stale = tmp_path / "out" / "plots" / "rates.svg"
    stale.parent.mkdir(parents=True)
    stale.write_text("<svg/>")
    again = compared(recipe, tmp_path / "out", settings=(), **options)
    assert again.comparison.results[0].chosen == 0.1
    assert [path.name for path in stale.parent.iterdir()].count("rates.svg") == 0


def test_a_dry_run_goes_all_the_way_beside_the_real_one(photographs, tmp_path):
    changes = {"limit": 8, "seeds": 1, "settings": [*SMALL, "schedule.epochs=9"]}
    found = compared(photographs, tmp_path / "out", **changes)
    assert found.folder == tmp_path / "out-limit-8"
    assert [path.name for path in tmp_path.iterdir()] == ["out-limit-8"]
    assert {path.name for path in found.folder.iterdir()} == FILES
    assert found.comparison.images == 8
    record = json.loads((found.folder / "compare.json").read_text("utf-8"))
    assert record["limit"] == 8
    assert {len(run["loss"]) for each in record["candidates"] for run in each["runs"]} == {2}
    for name in ("compare.html", "compare.md", "compare.tex"):
        assert "A dry run on at most 8 training" in (found.folder / name).read_text("utf-8")


def test_an_interrupted_call_is_continued(photographs, tmp_path):
    asked = iter([False] * 4 + [True])
    with pytest.raises(InterruptedRunError) as stopped:
        compared(photographs, tmp_path / "out", should_stop=lambda: next(asked))
    assert stopped.value.folder.is_relative_to(tmp_path / "out")
    assert not (tmp_path / "out" / "compare.json").exists()


def test_it_is_public():
    assert twlcli.compare is compare


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"settings": ["model.weights=nosuch.pt"]}, ModelError, "nosuch.pt: no such weights file"),
        (
            {"grid": {"model.weights": ["none", "/no.pt"]}},
            ModelError,
            "/no.pt: no such weights",
        ),
        ({"resamples": 39}, TwlError, "39 resamples cannot show any of 1 differences"),
        ({"same_rate": True}, TwlError, "one learning rate for all"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    photographs, tmp_path, changes, error, message
):
    with pytest.raises(error, match=message):
        compared(photographs, tmp_path / "out", **changes)
    assert not list(tmp_path.iterdir())


def test_data_that_are_not_there(tmp_path):
    with pytest.raises(AnnotationError, match=r"nosuch.csv: no such file"):
        compared(tmp_path / "nosuch.csv", tmp_path / "out")


def test_mistakes_are_found_without_torch():
    code = (
        "import sys, twlcli\n"
        "for options in ({}, {'same_rate': True}, {'losses': ['x']}):\n"
        "    try: twlcli.compare('nosuch.csv', **options)\n"
        "    except twlcli.TwlError: pass\n"
        "print({'torch', 'rich', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
